"""Request targets: forms, normal form, escaping, and what is refused.

Source of the tables: Kong kong/tools/uri.lua and its unit tests (normal form); vectors recorded from Kong 3.9.1
(refusals).
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kongdp.http1.target import Form, Target, escape, is_refused, normalize, parse, split, try_normalize

NORMALIZED = [
    (b"", b""),
    (b"/", b"/"),
    (b"/a/b", b"/a/b"),
    (b"/a//b", b"/a/b"),
    (b"//a///b//", b"/a/b/"),
    (b"/a/./b", b"/a/b"),
    (b"/a/../b", b"/b"),
    (b"/../x", b"/x"),
    (b"/../../x", b"/x"),
    (b"/a/..", b"/"),
    (b"/a/.", b"/a/"),
    (b"/.", b"/"),
    (b"/..", b"/"),
    (b"/a/b/..", b"/a/"),
    (b"/a/b/../", b"/a/"),
    (b"/a/b/../c", b"/a/c"),
    (b"/a/%2E%2E/b", b"/b"),
    (b"/a/%2e./b", b"/b"),
    (b"/..%2f", b"/..%2F"),
    (b"/a%2Fb", b"/a%2Fb"),
    (b"/a%2fb", b"/a%2Fb"),
    (b"/%61", b"/a"),
    (b"/a%20b", b"/a b"),
    (b"/a%3fb", b"/a%3Fb"),
    (b"/%C3%A9", "/é".encode()),
    (b"/a|b", b"/a|b"),
    (b"/a%22", b'/a"'),
    (b"/%2541", b"/%2541"),
    (b"/%25%34%31", b"/%2541"),
    (b"/a%2Gb", b"/a%2Gb"),
    (b"/a%", b"/a%"),
    (b"/.hidden", b"/.hidden"),
    (b"/..hidden/...", b"/..hidden/..."),
    (b"/a//../b", b"/b"),
    (b"/a/.//./b", b"/a/b"),
    (b"/a;v=1/B", b"/a;v=1/B"),
    (b"/%21%2A%27%28%29%3b%3A%40%26%3D%2B%24%2c", b"/%21%2A%27%28%29%3B%3A%40%26%3D%2B%24%2C"),
    (b"/%00%7f", b"/\x00\x7f"),
]

ESCAPED = [
    (b"/a b", b"/a%20b"),
    ("/é".encode(), b"/%C3%A9"),
    (b"/a|b", b"/a%7Cb"),
    (b'/a"', b"/a%22"),
    (b"/\\", b"/%5C"),
    (b"/<>^`{}\x00\x7f\xff", b"/%3C%3E%5E%60%7B%7D%00%7F%FF"),
    (b"/a%20b%2G%", b"/a%20b%2G%"),
    (b"/!#$&'()*+,:;=?@[]AZaz09-._~%", b"/!#$&'()*+,:;=?@[]AZaz09-._~%"),
]

REFUSED = [
    b"/a%2Gb",
    b"/%",
    b"/a%2",
    b"/%00",
    b"/.%2e/x",
    b"/../x",
    b"/..",
    b"/a/../../b",
    b"/a%2f..%2f../b",
    b"/..%2f",
]
ACCEPTED = [
    b"/",
    b"/a",
    b"/a/..",
    b"/a/%2e%2e/b",
    b"//a//../b",
    b"/a/./../b",
    b"/%25",
    b"/%2500",
    b"/a#/../..",
    b"/...",
    b"*",
]

PARSED = [
    (b"/a?x=1?y", b"GET", Target(Form.ORIGIN, b"/a", b"?x=1?y", b"")),
    (b"/a?", b"GET", Target(Form.ORIGIN, b"/a", b"?", b"")),
    (b"//a", b"GET", Target(Form.ORIGIN, b"//a", b"", b"")),
    (b"http://a.test/b?c", b"GET", Target(Form.ABSOLUTE, b"/b", b"?c", b"a.test")),
    (b"http://a.test:80", b"GET", Target(Form.ABSOLUTE, b"/", b"", b"a.test:80")),
    (b"HTTPS://a.test?c", b"GET", Target(Form.ABSOLUTE, b"/", b"?c", b"a.test")),
    (b"http:///b", b"GET", None),
    (b"*", b"OPTIONS", Target(Form.ASTERISK, b"*", b"", b"")),
    (b"*", b"GET", None),
    (b"a.test:443", b"CONNECT", Target(Form.AUTHORITY, b"", b"", b"a.test:443")),
    (b"a.test", b"CONNECT", None),
    (b"strip", b"GET", None),
    (b"", b"GET", None),
]


@pytest.mark.parametrize(("raw", "normal"), NORMALIZED)
def test_normalize_when_path_is_of_the_table(raw: bytes, normal: bytes) -> None:
    """Escapes are decoded once, slashes merged, dot segments removed."""
    assert normalize(raw) == normal


@pytest.mark.parametrize(("path", "escaped"), ESCAPED)
def test_escape_when_path_is_of_the_table(path: bytes, escaped: bytes) -> None:
    """Bytes that may not stand in a request line are encoded, all others left."""
    assert escape(path) == escaped


@pytest.mark.parametrize("path", REFUSED)
def test_path_is_refused_when_nginx_refuses_it(path: bytes) -> None:
    """Broken escapes, NUL and climbing above the root never reach the router."""
    assert is_refused(path)
    assert try_normalize(path) is None


@pytest.mark.parametrize("path", ACCEPTED)
def test_path_is_accepted_when_nginx_accepts_it(path: bytes) -> None:
    """Dot segments inside the tree and doubtful but whole escapes pass."""
    assert not is_refused(path)
    assert try_normalize(path) == normalize(path)


@pytest.mark.parametrize(("target", "method", "parsed"), PARSED)
def test_parse_when_target_is_of_the_table(target: bytes, method: bytes, parsed: Target | None) -> None:
    """The four forms are told apart and taken to parts."""
    assert parse(target, method) == parsed


def test_split_when_the_first_byte_is_a_question_mark() -> None:
    """The search for the query begins at the second byte."""
    assert split(b"?a?b") == (b"?a", b"?b")


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/a#b", b"/a#b", b""),
        (b"/a?b#c", b"/a", b"?b"),
        (b"/a?#c", b"/a", b""),
        (b"/a?b#c?", b"/a", b"?b"),
        (b"/a#b?c", b"/a#b", b""),
        (b"/a#b?", b"/a#b", b"?"),
    ],
)
def test_split_when_there_is_a_fragment(target: bytes, path: bytes, query: bytes) -> None:
    """nginx ends the query at "#" and sees none behind it; Kong's path goes on to the "?" (parse_complex_uri, handler.lua)."""
    assert split(target) == (path, query)


@given(st.binary(max_size=40))
def test_escape_and_normalize_settle_when_applied_again(path: bytes) -> None:
    """Escaped bytes are request-line safe, and a normal form without escapes is its own normal form."""
    escaped = escape(path)
    assert escape(escaped) == escaped
    assert not set(escaped) & set(b' "<>\\^`{|}\x00\x7f\xff')
    normal = normalize(b"/" + path.replace(b"%", b""))
    assert normalize(normal) == normal
    assert b"//" not in normal
    assert normal.startswith(b"/")


@given(st.lists(st.sampled_from([b"/", b".", b"..", b"a", b"%2e", b"%2F", b"%41", b"%zz"]), max_size=12))
def test_normalize_never_leaves_dot_segments(pieces: list[bytes]) -> None:
    """Whatever the spelling, no segment of the normal form is `.` or `..`."""
    segments = normalize(b"/" + b"".join(pieces)).split(b"/")
    assert b"." not in segments
    assert b".." not in segments
