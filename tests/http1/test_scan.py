"""The compiled kernel and its plain-Python twin: one contract."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kongdp.http1 import scan as scanning
from kongdp.http1.fields import REQUEST_FIELDS, RESPONSE_FIELDS, NameKinds
from kongdp.http1.messages import BadMessage
from kongdp.http1.parser import HeadLimits, parse_request_head

compiled = pytest.mark.skipif(not scanning.IS_COMPILED, reason="the native kernel was not built (no compiler)")

NAMES = st.one_of(
    st.sampled_from([*REQUEST_FIELDS, *RESPONSE_FIELDS]).flatmap(
        lambda name: st.sampled_from([name, name.title(), name.upper()])
    ),
    st.from_regex(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,40}", fullmatch=True),
)
VALUES = st.from_regex(rb"[ \t]{0,2}[\t\x20-\x7e\x80-\xff]{0,30}", fullmatch=True)
LINES = st.lists(st.tuples(NAMES, VALUES), max_size=20)


@compiled
@given(LINES, st.sampled_from([REQUEST_FIELDS, RESPONSE_FIELDS]))
@example([], REQUEST_FIELDS)
@example([(b"host", b"")] * 65, REQUEST_FIELDS)
def test_kernel_when_the_head_is_well_formed(lines: list[tuple[bytes, bytes]], names: dict[bytes, int]) -> None:
    """Both find the same, or the kernel leaves it to its twin (only where more than 64 fields have a meaning)."""
    start_line = b"GET / HTTP/1.1\r\n"
    raw = start_line + b"".join(name + b":" + value + b"\r\n" for name, value in lines) + b"\r\n"
    found = scanning.build_scanner(names)(raw, len(start_line))
    expected = scanning.scan(raw, len(start_line), NameKinds(names))
    if found is None:
        assert len(expected[1]) > 64
    else:
        assert found == expected


@compiled
@given(LINES, st.integers(0, 400), st.binary(min_size=1, max_size=3))
@example([(b"a", b"b")], 20, b"\n")
@example([(b"a", b"b")], 16, b" ")
@example([(b"a", b"b")], 19, b"\r")
def test_kernel_when_bytes_are_mutated(lines: list[tuple[bytes, bytes]], at: int, mutation: bytes) -> None:
    """Whatever the kernel accepts, llhttp accepts too; so no head passes that only one of them would let through."""
    start_line = b"GET / HTTP/1.1\r\n"
    fields = b"Host: a\r\n" + b"".join(name + b":" + value + b"\r\n" for name, value in lines) + b"\r\n"
    raw = start_line + fields[:at] + mutation + fields[at + len(mutation) :]
    if not raw.endswith(b"\r\n\r\n") or raw.find(b"\r\n\r\n") != len(raw) - 4:
        return
    if scanning.build_scanner(REQUEST_FIELDS)(raw, len(start_line)) is None:
        return
    refusal = refused(raw)
    # lengths and codings are judged by `framing`, with the same result
    assert "malformed field line" not in refusal or "Content-Length" in refusal, raw


def refused(raw: bytes) -> str:
    """Why the parser refuses a head; empty when it does not."""
    try:
        parse_request_head(raw, HeadLimits())
    except BadMessage as problem:
        return str(problem)
    return ""


@compiled
@pytest.mark.parametrize(
    "lines",
    [
        b"a\r\n",
        b": b\r\n",
        b" a: b\r\n",
        b"a : b\r\n",
        b"a: b\x00\r\n",
        b"a: b\n",
        b"a: b\r",
        b"a: b\rc\r\n",
        b"a\xff: b\r\n",
    ],
)
def test_kernel_when_a_line_is_malformed(lines: bytes) -> None:
    """Anything unusual is left to the plain way, which says what is wrong."""
    assert scanning.build_scanner(REQUEST_FIELDS)(b"GET / HTTP/1.1\r\n" + lines + b"\r\n", 16) is None
