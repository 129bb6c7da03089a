"""Heads whose fields came before: read from memory, they say what reading them says."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kongdp.http1 import _head, known_heads
from kongdp.http1.known_heads import REQUESTS, RESPONSES, KnownHeads
from kongdp.http1.messages import BadMessage, RequestHead, ResponseHead
from kongdp.http1.parser import HeadLimits, parse_request_head, try_request_head, try_response_head
from kongdp.http1.target import split
from tests.http1.test_kernel import LINES, TARGETS, request, response, values

LIMITS = HeadLimits()
CUT = ("path", "query")  # the memory cuts a target, the plain way leaves that to the exchange

plain = pytest.mark.skipif(_head.IS_COMPILED, reason="the native kernel reads the heads")


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    """Each test begins and ends without a memory."""
    forget()
    yield
    forget()


def forget() -> None:
    """Nothing came before."""
    for memory in (REQUESTS, RESPONSES):
        memory.clear()
        memory._seen.clear()


def read(raw: bytes, limits: HeadLimits = LIMITS) -> RequestHead | tuple[int, str] | None:
    """The head, or why it was refused."""
    try:
        return try_request_head(raw, limits)
    except BadMessage as problem:
        return problem.status, problem.public


def told(found: RequestHead | ResponseHead | tuple[int, str] | None) -> object:
    """What a reading came to, for comparison."""
    return values(found, CUT) if isinstance(found, RequestHead | ResponseHead) else found


def make_known(raw: bytes) -> None:
    """Let this request head come often enough to be remembered."""
    read(raw)
    read(raw)


@plain
@given(st.sampled_from([b"GET", b"PUT", b"get", b"M-S_1"]), TARGETS, LINES, st.integers(0, 2), st.booleans())
def test_request_heads_say_the_same_when_their_fields_are_known(
    method: bytes, target: bytes, lines: list[tuple[bytes, bytes]], minor: int, has_host: bool
) -> None:
    """The third reading against the first; alone and with the next bytes of the connection behind it."""
    forget()
    if has_host:
        lines = [(b"Host", b" a.test"), *lines]
    raw = request(method, target, lines, minor)
    alone = told(read(raw))
    make_known(raw.replace(b" %b " % target, b" /other ", 1).replace(method, b"GET", 1))
    found = read(raw)
    assert told(found) == alone
    assert told(read(raw + b"GET / HTTP/1.1\r\n\r\n")) == alone
    if isinstance(found, RequestHead) and found.path:
        assert (found.path, found.query) == split(found.target)


@plain
@given(st.sampled_from([b"200 OK", b"204 No", b"304 ", b"599 x"]), LINES, st.integers(0, 1), st.binary(max_size=8))
def test_response_heads_say_the_same_when_they_are_known(
    status: bytes, lines: list[tuple[bytes, bytes]], minor: int, body: bytes
) -> None:
    """The third reading against the first, for both charsets."""

    def outcome(charset: bytes | None) -> object:
        try:
            return told(try_response_head(raw + body, charset, 32768))
        except BadMessage as problem:
            return problem.status

    forget()
    raw = response(status, lines, minor)
    alone = outcome(b"UTF-8")
    without = outcome(None)
    assert outcome(b"UTF-8") == alone
    assert outcome(None) == without
    assert outcome(b"UTF-8") == alone


@plain
def test_known_head_when_only_its_target_differs() -> None:
    """It is the memory that answers, with the target of its own."""
    fields = [(b"Host", b" a.test"), (b"Cookie", b" a=b")]
    make_known(request(b"GET", b"/one", fields))
    raw = request(b"DELETE", b"/two?x", fields)
    head = _head.read_request(raw, 8192, 8192, 32768, 1000)
    assert head is not None
    assert (head.method, head.target, head.path, head.query) == (b"DELETE", b"/two?x", b"/two", b"?x")
    assert (head.host, head.raw) == (b"a.test", raw)
    with_next = _head.read_request(raw + b"GET ", 8192, 8192, 32768, 1000)
    assert with_next is not None
    assert with_next.raw == raw
    for others in (
        request(b"GET", b"/one", fields[::-1]),
        request(b"GET", b"/a#b", fields),
        request(b"GET", b"/a?b#c", fields),
    ):
        assert _head.read_request(others, 8192, 8192, 32768, 1000) is None


@plain
def test_known_head_when_limits_are_smaller_than_it() -> None:
    """Limits are judged anew: what one listener took, another may refuse."""
    raw = request(b"GET", b"/" + b"a" * 100, [(b"Host", b" a.test"), (b"X", b" " + b"b" * 100), (b"Y", b" c")])
    make_known(raw)
    for limits in (
        HeadLimits(line_bytes_max=64, field_bytes_max=64),
        HeadLimits(field_bytes_max=64),
        HeadLimits(field_bytes_max=128, head_bytes_max=128),
        HeadLimits(fields_max=2),
    ):
        with pytest.raises(BadMessage) as said:
            parse_request_head(raw, limits)
        assert read(raw, limits) == (said.value.status, said.value.public)


@plain
def test_known_response_when_the_charset_is_another() -> None:
    """What is appended to a type is no part of the head's bytes."""
    raw = response(b"200 OK", [(b"Content-Type", b" text/html")])
    for charset in (b"UTF-8", b"UTF-8", b"ISO-8859-1", None):
        head = try_response_head(raw, charset, 1000)
        assert head is not None
        assert head.kept == b"Content-Type: text/html%b\r\n" % (b"; charset=" + charset if charset else b"")


@plain
def test_known_response_when_it_is_longer_than_allowed() -> None:
    """A response head too."""
    raw = response(b"200 OK", [(b"X", b" " + b"b" * 100)])
    for _ in range(3):
        assert try_response_head(raw, None, 1000) is not None
    with pytest.raises(BadMessage):
        try_response_head(raw, None, 100)


def test_memory_of_heads_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remembered at the second coming; long ones never; full, it starts anew, and so does the note of what came once."""
    monkeypatch.setattr(known_heads, "KNOWN_HEADS_MAX", 2)
    monkeypatch.setattr(known_heads, "KNOWN_HEAD_BYTES_MAX", 8)
    known: KnownHeads[None, tuple[()]] = KnownHeads()

    def come(raw: bytes) -> None:
        if known.came(raw):
            known[raw] = None, ()

    for raw in (b"a", b"a", b"b", b"b", b"long head", b"long head"):
        come(raw)
    assert list(known) == [b"a", b"b"]
    come(b"c")
    assert list(known) == [b"a", b"b"]
    come(b"c")
    assert list(known) == [b"c"]
    for number in range(100):
        come(b"%d" % number)
        assert len(known._seen) <= 8
    assert list(known) == [b"c"]
