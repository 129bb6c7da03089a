"""The chunk walker: whole, byte by byte, with trailing bytes; canonical out whatever comes in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kongdp.http1.chunks import LINE_BYTES_MAX, TRAILER_BYTES_MAX, ChunkWalker
from kongdp.http1.messages import BadMessage
from kongdp.http1.writer import LAST_CHUNK, chunk

NEXT = b"GET /next HTTP/1.1\r\n"


def three_ways(raw: bytes, *, payload: bool) -> list[tuple[bytes, int]]:
    """What comes out when `raw` and the next message's bytes come at once, byte by byte, and in halves."""
    stream = raw + NEXT
    results = []
    for size in (len(stream), 1, len(stream) // 2 + 1):
        walker = ChunkWalker(payload=payload)
        out, consumed = b"", 0
        for start in range(0, len(stream), size):
            piece, end = walker.feed(stream[start : start + size])
            out += piece
            if end >= 0:
                consumed = start + end
                break
        assert walker.done
        results.append((out, consumed))
    return results


def feed_in_pieces(raw: bytes, size: int) -> None:
    """Feed `raw` to a fresh walker, `size` bytes at a time."""
    walker = ChunkWalker(payload=True)
    for start in range(0, len(raw), size):
        walker.feed(raw[start : start + size])


GOOD = [
    # raw, payload, canonical (None: as it came)
    (b"0\r\n\r\n", b"", None),
    (b"5\r\nhello\r\n0\r\n\r\n", b"hello", None),
    (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world", None),
    (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", None),
    (b"a\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n" * 5, None),
    (b"5;a=b\r\nhello\r\n0\r\n\r\n", b"hello", b"5\r\nhello\r\n0\r\n\r\n"),
    (b"5\r\nhello\r\n0;x\r\n\r\n", b"hello", b"5\r\nhello\r\n0\r\n\r\n"),
    (b"005\r\nhello\r\n000\r\n\r\n", b"hello", b"5\r\nhello\r\n0\r\n\r\n"),
    (b"5\r\nhello\r\n0\r\nX-T: 1\r\nY: 2\r\n\r\n", b"hello", b"5\r\nhello\r\n0\r\n\r\n"),
]


@pytest.mark.parametrize(("raw", "payload", "canonical"), GOOD)
def test_feed_when_well_formed(raw: bytes, payload: bytes, canonical: bytes | None) -> None:
    """Payload and canonical framing come out the same however the stream is cut, and the next message is left alone."""
    assert three_ways(raw, payload=True) == [(payload, len(raw))] * 3
    assert three_ways(raw, payload=False) == [(raw if canonical is None else canonical, len(raw))] * 3


BAD = [
    b"xyz\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n0\r\n\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n",
    b" 5\r\nhello\r\n0\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n",
    b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\n0\n\n\r\n",
    b"5\r\nhelloXX0\r\n\r\n",
    b"5\r\nhello\r0\r\n\r\n",
    b"5\r\nhello\n\n0\r\n\r\n",
    b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    b"5;\x00\r\nhello\r\n0\r\n\r\n",
    b"\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\r\nno colon\r\n\r\n",
    b"5\r\nhello\r\n0\r\nA: b\n\r\n\r\n",
    b"5\r\nhello\r\n0\r\n A: b\r\n\r\n",
]


@pytest.mark.parametrize("raw", BAD)
@pytest.mark.parametrize("size", [1, 10000])
def test_feed_when_malformed(raw: bytes, size: int) -> None:
    """Framing that another parser could read differently is refused, whole or byte by byte."""
    with pytest.raises(BadMessage):
        feed_in_pieces(raw, size)


def test_feed_when_lines_outgrow_their_bounds() -> None:
    """Extensions and trailers are bounded."""
    with pytest.raises(BadMessage, match="chunk line longer"):
        ChunkWalker(payload=True).feed(b"5;" + b"a" * (LINE_BYTES_MAX + 1))
    line = b"A: " + b"b" * 1019 + b"\r\n"
    with pytest.raises(BadMessage, match="trailers longer"):
        feed_in_pieces(b"0\r\n" + line * (TRAILER_BYTES_MAX // len(line) + 1), len(line))


def test_feed_when_canonical_gives_on_the_object_that_came() -> None:
    """A canonical piece is not copied."""
    piece = b"5\r\nhello\r\n"
    assert ChunkWalker(payload=False).feed(piece)[0] is piece


@given(st.lists(st.binary(min_size=1, max_size=50)), st.data())
def test_feed_when_cut_anywhere(pieces: list[bytes], data: st.DataObject) -> None:
    """Any body in any chunks, cut anywhere, comes out whole."""
    stream = b"".join(map(chunk, pieces)) + LAST_CHUNK
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    payload, framed = ChunkWalker(payload=True), ChunkWalker(payload=False)
    out = again = b""
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        out += payload.feed(stream[start:end])[0]
        again += framed.feed(stream[start:end])[0]
    assert (out, again, payload.done, framed.done) == (b"".join(pieces), stream, True, True)
