"""A request body on its way: held until it is complete or the bound is reached, then streamed with backpressure.

In: pieces of payload as they come.  Out: what to send with the head, and whether the body can be sent again for another try.
House rule: what is held is bounded; a body that was only streamed can never be replayed.
Hot for requests with bodies; a request without one has no RequestBody.
Source: Kong's proxying contract, section 5. Difference from Kong: a buffered body that outgrows the bound streams on from memory
instead of going to a file, unless a setting lets it (`spill`).
"""

from __future__ import annotations

from kongdp.http1.writer import LAST_CHUNK, chunk


class RequestBody:
    """The body of one request. `length` is the stated Content-Length or -1 for chunked; sizes in bytes."""

    __slots__ = ("_bound", "_held", "ended", "held_bytes", "length", "received", "replayable", "streamed_chunked")

    def __init__(self, length: int, bound: int) -> None:
        self.length = length
        self._bound = bound
        self._held: list[bytes] = []
        self.held_bytes = 0
        self.received = 0
        self.ended = False
        self.replayable = True
        self.streamed_chunked = False

    def add(self, data: bytes, ended: bool) -> None:
        """Hold one more piece."""
        if data:
            self._held.append(data)
            self.held_bytes += len(data)
            self.received += len(data)
        self.ended = ended

    @property
    def full(self) -> bool:
        """Whether no more may be held: time to stream, or to stop reading."""
        return self.held_bytes >= self._bound

    def whole(self) -> bytes:
        """All of an ended body that is held."""
        return b"".join(self._held)

    def framing_line(self) -> bytes:
        """The field that frames what will be sent: a length when it is known, as Kong sends it, else chunked."""
        if self.length >= 0:
            return b"Content-Length: %d\r\n" % self.length
        if self.ended:
            return b"Content-Length: %d\r\n" % self.received
        self.streamed_chunked = True
        return b"Transfer-Encoding: chunked\r\n"

    def opening(self) -> bytes:
        """What goes out with the head. Afterwards the held pieces stay only if the whole body is among them."""
        held = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        if self.ended and self.replayable:
            self._held = [held] if held else []
        else:
            self._held = []
            self.held_bytes = 0
            self.replayable = False
        return chunk(held) + (LAST_CHUNK if self.ended else b"") if self.streamed_chunked else held

    def pass_on(self, data: bytes, ended: bool) -> bytes:
        """Framed bytes for one more piece that is streamed."""
        self.received += len(data)
        self.ended = ended
        if not self.streamed_chunked:
            return data
        return chunk(data) + (LAST_CHUNK if ended else b"")
