"""Field lines under edit, and query arguments: what stays byte for byte, what is sanitised, what cannot be had."""

import runpy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kongdp.http1 import _lines
from kongdp.plugins.fields import REQUEST_FIXED, FieldLines, arguments, without_argument

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nx-one: 2\r\nConnection: close\r\nX-Two:  3 \r\n\r\n"
KEPT = b"X-One: 1\r\nx-one: 2\r\nX-Two:  3 \r\n"


def lines() -> FieldLines:
    """Those of HEAD."""
    return FieldLines(HEAD, REQUEST_FIXED)


def test_lines_when_nothing_or_something_is_edited() -> None:
    """They are the same object, or the same bytes but for what was edited."""
    found = lines()
    assert (found.first(b"x-one"), found.all(b"x-one"), found.first(b"x-two"), found.first(b"none")) == (
        b"1",
        [b"1", b"2"],
        b"3",
        None,
    )
    assert found.render(KEPT) is KEPT
    found.remove(b"none")
    assert not found.edited
    found.set(b"X-ONE", b"9")
    found.add(b"X-New", b"n")
    assert found.render(KEPT) == b"X-Two:  3 \r\nX-ONE: 9\r\nX-New: n\r\n"
    found.remove(b"x-one")
    assert found.render(KEPT) == b"X-Two:  3 \r\nX-New: n\r\n"


def test_lines_that_are_the_gateways() -> None:
    """Read, and edited for readers; never written. A Host is told apart."""
    found = lines()
    found.set(b"Connection", b"x")
    found.set(b"Host", b"b")
    found.remove(b"content-length")
    assert (found.first(b"connection"), found.host) == (b"x", b"b")
    assert found.render(KEPT) == KEPT


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"transfer-encoding ", b"a\r\nb", b"\xc3\xa9", b"a\0"])
def test_name_that_is_none(name: bytes) -> None:
    """It is an error, whoever asks for it."""
    with pytest.raises(ValueError, match="is not a name of a field"):
        lines().add(name, b"v")
    with pytest.raises(ValueError, match="is not a name of a field"):
        lines().set(name, b"v")


@given(st.binary(max_size=40))
@settings(deadline=None)
def test_value_stays_in_its_line(value: bytes) -> None:
    """Whatever it holds."""
    found = lines()
    found.add(b"X-New", value)
    written = found.render(b"")
    assert written.startswith(b"X-New: ")
    assert written.endswith(b"\r\n")
    assert not set(written[:-2]) & {0, 10, 13, 127}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (b"", []),
        (b"a=1&b=2", [(b"a", b"1"), (b"b", b"2")]),
        (b"a&b=", [(b"a", None), (b"b", b"")]),
        (b"a=%20+&%61=x", [(b"a", b"  "), (b"a", b"x")]),
        (b"&&=1&a=1=2", [(b"a", b"1=2")]),
        (b"a=%zz", [(b"a", b"%zz")]),
    ],
)
def test_arguments_of_a_query(query: bytes, found: list[tuple[bytes, bytes | None]]) -> None:
    """Decoded, in order; nameless ones are none."""
    assert arguments(query) == found


def test_arguments_are_bounded() -> None:
    """A thousand are looked at."""
    assert len(arguments(b"&".join([b"a=1"] * 5000))) == 1000


@given(st.binary(max_size=40))
@settings(deadline=None)
def test_query_without_an_argument_keeps_the_others(query: bytes) -> None:
    """Byte for byte."""
    rest = without_argument(query, b"a")
    assert b"a" not in [name for name, _ in arguments(rest)]
    kept = [part for part in query.split(b"&") if part in rest.split(b"&")]
    assert b"&".join(kept) == rest


PLAIN = runpy.run_path(str(Path(_lines.__file__).with_name("_lines.py")))["find_values"]
"""The values of a field as found where nothing was compiled."""


@given(
    st.lists(
        st.tuples(st.sampled_from([b"a", b"A", b"ab", b"X-One", b"x-one", b""]), st.binary(max_size=6)), max_size=6
    ),
    st.sampled_from([b"\r\n\r\n", b"\r\n", b"\r", b""]),
    st.sampled_from([b"a", b"ab", b"x-one"]),
)
def test_values_when_compiled_or_not(found: list[tuple[bytes, bytes]], end: bytes, name: bytes) -> None:
    """Whatever stands in a head, controls and cut ends too: the kernel finds what the plain way finds."""
    head = b"GET / HTTP/1.1\r\n" + b"\r\n".join([b"%b:%b" % line for line in found]) + end
    assert _lines.find_values(head, name) == PLAIN(head, name)
