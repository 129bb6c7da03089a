"""Paths and hosts parsed: literal prefixes, translated groups, wildcards, ports, and what a regex consumes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kongdp.routing.pattern import (
    HostPattern,
    PatternError,
    Regex,
    literal_prefix,
    parse_host,
    split_host_port,
    translate,
)

LITERALS = [
    ("/users/(?<id>\\d+)/profile$", b"/users/"),
    ("/api/v[0-9]+/.*", b"/api/v"),
    ("/foo/\\d+", b"/foo/"),
    ("/.*\\.json$", b"/"),
    ("/a\\.b\\/c\\-d", b"/a.b/c-d"),
    ("/ab?c", b"/a"),
    ("/ab*c", b"/a"),
    ("/ab+c", b"/ab"),
    ("/ab{2}c", b"/a"),
    ("/a|/b", b""),
    ("/a(b|c)d", b"/a"),
    ("/a[|]b", b"/a"),
    ("/a[]|]b|c", b""),
    ("/a[[:alpha:]|]b", b"/a"),
    ("/a\\|b", b"/a|b"),
    ("(?i)/a", b""),
    ("/é?x", b"/"),
    ("/é+x", "/é".encode()),
    ("/a$", b"/a"),
    ("\\Q/a|b\\E", b""),
    ("/a\\x41", b"/a"),
    ("", b""),
]

HOSTS = [
    ("a.test", HostPattern("exact", b"a.test", None)),
    ("a.test:80", HostPattern("exact", b"a.test", 80)),
    ("*.a.test", HostPattern("suffix", b".a.test", None)),
    ("*.a.test:8443", HostPattern("suffix", b".a.test", 8443)),
    ("a.*", HostPattern("prefix", b"a.", None)),
    ("[::1]", HostPattern("exact", b"[::1]", None)),
]


@pytest.mark.parametrize(("pattern", "prefix"), LITERALS)
def test_literal_prefix_when_pattern_is_of_the_table(pattern: str, prefix: bytes) -> None:
    """The bytes every match begins with, and never one too many."""
    assert literal_prefix(pattern) == prefix


@given(st.text(st.sampled_from("ab/|()[]?*+{}2\\.^$é-"), max_size=10), st.text(st.sampled_from("ab/2.é"), max_size=6))
def test_every_match_begins_with_the_literal_prefix(pattern: str, path: str) -> None:
    """Whatever the pattern, the index loses no match by it."""
    try:
        consumed = Regex("^" + pattern).consume(path.encode())
    except PatternError:
        return
    if consumed is not None:
        assert path.encode().startswith(literal_prefix(pattern))


@pytest.mark.parametrize(("host", "pattern"), HOSTS)
def test_parse_host_when_host_is_of_the_table(host: str, pattern: HostPattern) -> None:
    """Wildcards are a suffix or a prefix; digits behind the first colon are a port."""
    assert parse_host(host) == pattern


@pytest.mark.parametrize("host", ["a.*.test", "*a.test", "a.test*", "*", "*.a.*"])
def test_parse_host_refuses_a_wildcard_that_is_no_outer_label(host: str) -> None:
    """Only the whole leftmost or rightmost label may be a wildcard."""
    with pytest.raises(PatternError, match=re.escape(host)):
        parse_host(host)


def test_split_host_port_when_the_port_is_no_number() -> None:
    """Only digits are a port."""
    assert split_host_port(b"a.test:80") == (b"a.test", 80)
    assert split_host_port(b"a.test:8x") == (b"a.test:8x", None)
    assert split_host_port(b"[::1]:80") == (b"[::1]:80", None)


def test_translate_spells_named_groups_as_re2_does() -> None:
    """Escaped parentheses and look-behind are left alone."""
    assert translate("(?<a>x)(?P<b>y)\\(?<c") == "(?P<a>x)(?P<b>y)\\(?<c"
    assert translate("(?<=a)(?<!b)") == "(?<=a)(?<!b)"


@pytest.mark.parametrize("pattern", ["(?<=a)b", "(?=a)", "(a)\\1", "(", "[", "a{2,1}", "*"])
def test_regex_is_refused_when_it_does_not_compile(pattern: str) -> None:
    """Look-around, back-references and broken syntax are refused with the pattern and the reason."""
    with pytest.raises(PatternError, match="does not compile: "):
        Regex(pattern)


def test_consume_tells_prefix_and_captures() -> None:
    """Positional groups with the whole match first, names beside them; a group without part is None and has no name."""
    consumed = Regex("^/users/(?<id>\\d+)(?<rest>/x)?").consume(b"/users/42/y")
    assert consumed is not None
    prefix, captures = consumed
    assert prefix == b"/users/42"
    assert captures is not None
    assert captures.positional == (b"/users/42", b"42", None)
    assert captures.named == {"id": b"42"}


def test_consume_has_no_captures_when_the_pattern_has_no_group() -> None:
    """Captures are kept only when there is a group beyond the whole match."""
    assert Regex("^/a+").consume(b"/aab") == (b"/aa", None)


def test_consume_of_a_traditional_path_stops_before_the_rest_of_the_line() -> None:
    """The group that takes the rest is not shown."""
    consumed = Regex("/a/(?<n>\\d)", as_pcre=True, path=True).consume(b"/a/12")
    assert consumed is not None
    prefix, captures = consumed
    assert prefix == b"/a/1"
    assert captures is not None
    assert captures.positional == (b"/a/12", b"1")
    assert captures.named == {"n": b"1"}


def test_regex_looks_at_bytes_when_read_as_pcre() -> None:
    """A path that is not UTF-8 can be matched in the traditional flavor, and not in the others."""
    assert Regex("/.$", as_pcre=True, path=True).search(b"/\xff")
    assert not Regex("^/.$").search(b"/\xff")
