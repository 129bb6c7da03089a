"""The kernel and the plain way: one contract. What the kernel answers is what the plain way would have answered."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kongdp.http1 import _head
from kongdp.http1.fields import REQUEST_FIELDS, RESPONSE_FIELDS
from kongdp.http1.messages import BadMessage, RequestHead, ResponseHead
from kongdp.http1.parser import (
    HeadLimits,
    parse_request_head,
    parse_response_head,
    try_request_head,
    try_response_head,
)
from kongdp.http1.target import escape, normalize, split, try_normalize

compiled = pytest.mark.skipif(not _head.IS_COMPILED, reason="the native kernel was not built (no compiler)")

LIMITS = HeadLimits()
RESPONSE_BYTES_MAX = 32768

_KNOWN = sorted({*REQUEST_FIELDS, *RESPONSE_FIELDS})
NAMES = st.one_of(
    st.sampled_from(_KNOWN).flatmap(lambda name: st.sampled_from([name, name.title(), name.upper()])),
    st.from_regex(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,40}", fullmatch=True),
)
_WORDS = (
    b"close,keep-alive,Keep-Alive,CLOSE,upgrade,x-a,chunked,Chunked,gzip,0,5,007,+1,1e3,99999999999999999999,a.test,A.test:80,[::1]:80,a:b,"
    b"a:123456,a b,text/html,TEXT/HTML;charset=x,text/html ; a=b,text/htmlx,application/json,100-continue,websocket,trailers"
).split(b",")
VALUES = st.one_of(
    st.sampled_from(_WORDS).flatmap(lambda word: st.sampled_from([word, b" " + word, b"\t" + word + b" ", b""])),
    st.from_regex(rb"[ \t]{0,2}[\t\x20-\x7e\x80-\xff]{0,30}", fullmatch=True),
)
LINES = st.lists(st.tuples(NAMES, VALUES), max_size=12)
TARGETS = st.one_of(
    st.sampled_from(
        [
            b"/",
            b"/a/b?q=1",
            b"/a//b",
            b"/.",
            b"/a.b/..",
            b"/%41",
            b"*",
            b"http://a/b",
            b"/a?",
            b"?",
            b"/a#b",
            b"/a?b#c",
            b"/a#b?c",
        ]
    ),
    st.from_regex(rb"/[!-~\x80-\xff]{0,20}", fullmatch=True),
)
MUTATIONS = st.tuples(st.integers(0, 300), st.binary(max_size=3), st.integers(0, 3))


def request(method: bytes, target: bytes, lines: list[tuple[bytes, bytes]], minor: int = 1) -> bytes:
    """A request head of these lines."""
    begin = b"%b %b HTTP/1.%d\r\n" % (method, target, minor)
    return begin + b"".join(name + b":" + value + b"\r\n" for name, value in lines) + b"\r\n"


def response(status: bytes, lines: list[tuple[bytes, bytes]], minor: int = 1) -> bytes:
    """A response head of these lines."""
    begin = b"HTTP/1.%d %b\r\n" % (minor, status)
    return begin + b"".join(name + b":" + value + b"\r\n" for name, value in lines) + b"\r\n"


def by_kernel(raw: bytes, limits: HeadLimits = LIMITS) -> RequestHead | None:
    """What the kernel makes of a request."""
    return _head.read_request(
        raw, limits.line_bytes_max, limits.field_bytes_max, limits.head_bytes_max, limits.fields_max
    )


def values(head: RequestHead | ResponseHead, without: tuple[str, ...] = ()) -> dict[str, object]:
    """Everything a head says."""
    return {name: getattr(head, name) for name in type(head).__slots__ if name not in without}


def check_request(raw: bytes, trailing: bytes) -> None:
    """Either the kernel leaves the head alone, or both ways agree about all of it."""
    found = by_kernel(raw + trailing)
    if found is None:
        return
    assert found.raw == raw[: len(found.raw)]
    assert found.raw.endswith(b"\r\n\r\n")
    expected = parse_request_head(found.raw, LIMITS)
    mine = ("is_plain", "path", "query")
    assert values(found, mine) == values(expected, mine)
    if found.is_plain:
        path, query = split(found.target)
        assert (found.path, found.query) == (path, query)
        assert path == try_normalize(path) == normalize(path) == escape(path)


def check_response(raw: bytes, trailing: bytes, charset: bytes | None) -> None:
    """Either the kernel leaves the head alone, or both ways agree about all of it."""
    found = _head.read_response(raw + trailing, charset, RESPONSE_BYTES_MAX)
    if found is not None:
        assert values(found) == values(parse_response_head((raw + trailing)[: found.length], charset=charset))


@compiled
@given(
    st.sampled_from([b"GET", b"POST", b"PURGE", b"_M-S", b"M-S_1", b"get", b"G" * 33]),
    TARGETS,
    LINES,
    st.integers(0, 2),
)
def test_read_request_when_the_head_is_well_formed(
    method: bytes, target: bytes, lines: list[tuple[bytes, bytes]], minor: int
) -> None:
    """Both ways agree, with and without bytes of a next message behind the head."""
    raw = request(method, target, [(b"Host", b"a.test"), *lines], minor)
    check_request(raw, b"")
    check_request(raw, b"GET / ")
    check_request(request(method, target, lines, minor), b"")


@compiled
@given(LINES, MUTATIONS)
@example([(b"a", b"b")], (35, b"\n", 1))
@example([(b"a", b"b")], (31, b" ", 1))
@example([(b"a", b"b")], (34, b"\r", 1))
@example([(b"a", b"b")], (33, b"\0", 1))
def test_read_request_when_bytes_are_mutated(
    lines: list[tuple[bytes, bytes]], mutation: tuple[int, bytes, int]
) -> None:
    """Whatever the kernel accepts the plain way accepts too: no head passes that only one of them would let through."""
    raw = request(b"GET", b"/a?b", [(b"Host", b"a.test"), *lines])
    at, put, cut = mutation
    check_request(raw[:at] + put + raw[at + cut :], b"")


@compiled
@given(
    st.sampled_from([b"200 OK", b"200", b"204 No", b"304 ", b"100 C", b"101 S", b"599 \xff", b"099 x", b"2000 x"]),
    LINES,
    st.integers(0, 2),
    st.sampled_from([None, b"UTF-8"]),
)
def test_read_response_when_the_head_is_well_formed(
    status: bytes, lines: list[tuple[bytes, bytes]], minor: int, charset: bytes | None
) -> None:
    """Both ways agree, with and without a body behind the head."""
    raw = response(status, lines, minor)
    check_response(raw, b"", charset)
    check_response(raw, b"body\r\n\r\n", charset)


@compiled
@given(LINES, MUTATIONS)
def test_read_response_when_bytes_are_mutated(
    lines: list[tuple[bytes, bytes]], mutation: tuple[int, bytes, int]
) -> None:
    """Whatever the kernel accepts the plain way accepts too."""
    raw = response(b"200 OK", lines)
    at, put, cut = mutation
    check_response(raw[:at] + put + raw[at + cut :], b"", b"UTF-8")


@compiled
def test_kernel_when_heads_are_ordinary() -> None:
    """What browsers and services send does not go the plain way."""
    fields = [
        (b"Host", b"gateway.test:8000"),
        (b"Connection", b" keep-alive"),
        (b"Accept", b" */*"),
        (b"X-Long", b"v" * 500),
    ]
    found = by_kernel(request(b"GET", b"/a/b?c=d", fields) + b"rest")
    assert found is not None
    assert (found.host, found.keep_alive, found.kept) == (
        b"gateway.test:8000",
        True,
        b"Accept: */*\r\nX-Long:" + b"v" * 500 + b"\r\n",
    )
    assert by_kernel(request(b"POST", b"/", [(b"Host", b"a"), (b"Content-Length", b"5")])) is not None
    assert by_kernel(request(b"POST", b"/", [(b"Host", b"a"), (b"transfer-encoding", b"Chunked")])) is not None
    assert by_kernel(request(b"GET", b"/", [(b"Host", b"a"), (b"X-Forwarded-For", b"1.1.1.1, 2.2.2.2")])) is not None
    typical = [
        (b"Server", b" nginx"),
        (b"Date", b" now"),
        (b"Content-Type", b" text/html; charset=utf-8"),
        (b"Content-Length", b" 3"),
    ]
    for lines in (typical, [(b"Transfer-Encoding", b"chunked"), (b"Connection", b"close")], []):
        for status in (b"200 OK", b"404 Not Found", b"304 Not Modified"):
            assert _head.read_response(response(status, lines), b"UTF-8", RESPONSE_BYTES_MAX) is not None


@compiled
@pytest.mark.parametrize(
    ("limits", "fits"),
    [
        (HeadLimits(line_bytes_max=15, field_bytes_max=14, head_bytes_max=48, fields_max=2), True),
        (HeadLimits(line_bytes_max=14, field_bytes_max=14, head_bytes_max=48, fields_max=2), False),
        (HeadLimits(line_bytes_max=15, field_bytes_max=13, head_bytes_max=48, fields_max=2), False),
        (HeadLimits(line_bytes_max=15, field_bytes_max=14, head_bytes_max=47, fields_max=2), False),
        (HeadLimits(line_bytes_max=15, field_bytes_max=14, head_bytes_max=48, fields_max=1), False),
    ],
)
def test_read_request_when_at_a_limit(limits: HeadLimits, fits: bool) -> None:
    """A head at its limits is read, one beyond any of them is left to the plain way, which refuses it with words."""
    raw = request(b"GET", b"/a", [(b"Host", b"a.test"), (b"Accept", b"1234567")])
    assert (raw.find(b"\r\n"), len(b"Accept:1234567"), len(raw)) == (15, 14, 48)
    assert (by_kernel(raw, limits) is not None) is fits


def test_try_heads_when_they_come_in_pieces() -> None:
    """Nothing is answered before the empty line, and then the same as for the whole head, whatever follows it."""
    raw = request(b"GET", b"/a?b", [(b"Host", b"a.test"), (b"A", b"b")])
    back = response(b"200 OK", [(b"Content-Length", b"3"), (b"A", b"b")])
    for end in range(1, len(raw)):
        assert try_request_head(raw[:end], LIMITS) is None
    for end in range(1, len(back)):
        assert try_response_head(back[:end], None, RESPONSE_BYTES_MAX) is None
    for trailing in (b"", b"x"):
        head, answer = (
            try_request_head(raw + trailing, LIMITS),
            try_response_head(back + trailing, None, RESPONSE_BYTES_MAX),
        )
        assert head is not None
        assert answer is not None
        assert (head.raw, head.kept, head.host) == (raw, b"A:b\r\n", b"a.test")
        assert (answer.length, answer.kept, answer.content_length) == (len(back), b"A:b\r\n", 3)


@pytest.mark.parametrize("size", [200, 201])
def test_try_response_head_when_at_the_limit(size: int) -> None:
    """A response head beyond the limit is the upstream's fault, whether its end has come or not."""
    raw = response(b"200 OK", [(b"A", b"b" * (size - 23))])
    assert len(raw) == size
    if size == 200:
        assert try_response_head(raw, None, 200) is not None
        return
    for sent in (raw, raw[:-1] + b"c"):
        with pytest.raises(BadMessage, match="longer than 200 bytes"):
            try_response_head(sent, None, 200)
