"""One connection to an upstream: writes requests, reads responses, one exchange at a time.

In: bytes of the upstream.  Out: calls on the exchange (Receiver): the response begins, goes on, ends, or fails.
House rules: a response is cut here and nowhere else (lengths, chunks, end of connection), so a connection is given back only after
exactly one whole response and not a byte more. Between exchanges the connection keeps reading: what comes then, even the end, makes
it unusable at once, so no request meets a dead connection that could have been known.
Hot. Plain callbacks, no task, no future.
Source: RFC 9112 sections 6.3 and 9.
"""

from __future__ import annotations

import asyncio
from typing import cast

from kongdp.http1.chunks import ChunkWalker
from kongdp.http1.messages import BadMessage, ResponseHead
from kongdp.http1.parser import try_response_head
from kongdp.upstream.pool import Pool, Poolable

_NOTHING, _HEAD, _LENGTH, _CHUNKS, _UNTIL_CLOSE, _TUNNEL = range(6)


COPIED_BYTES_MAX = 16384
"""PERF: a longer body that came with its head is given on as a view: 9.3 -> 7.6 us in process for an exchange with a reply of 64 KiB."""
_COPIED = COPIED_BYTES_MAX


class Receiver:
    """The exchange, as its upstream connection sees it."""

    __slots__ = ("chunks_as_payload", "method")

    method: bytes
    chunks_as_payload: bool

    def response_begins(self, head: ResponseHead, body: bytes | memoryview, ended: bool) -> None:
        """The head, the body bytes that came with it (a view where they are many), and whether that was all."""
        raise NotImplementedError

    def response_interim(self, head: ResponseHead) -> None:
        """A 1xx other than 101."""
        raise NotImplementedError

    def response_switches(self, head: ResponseHead, rest: bytes) -> None:
        """101: from now on the connection is a tunnel; `rest` is its first bytes."""
        raise NotImplementedError

    def response_goes_on(self, data: bytes, ended: bool) -> None:
        """More body; chunked bodies re-framed, or as payload when chunks_as_payload."""
        raise NotImplementedError

    def response_fails(self, detail: str, *, invalid: bool) -> None:
        """No (more) response will come. `invalid`: the upstream sent what cannot be trusted."""
        raise NotImplementedError

    def tunnel_data(self, data: bytes) -> None:
        """Opaque bytes of an upgraded connection."""
        raise NotImplementedError

    def tunnel_eof(self) -> bool:
        """The upstream ended its side; True keeps the other direction open."""
        raise NotImplementedError

    def upstream_writable(self, writable: bool) -> None:
        """The send buffer filled (False) or drained (True)."""
        raise NotImplementedError


class UpstreamConnection(Poolable):
    """A connection of `pool`. `charset` and `head_bytes_max` (limit of a response head) come from settings."""

    __slots__ = (
        "_buffer",
        "_charset",
        "_head_bytes_max",
        "_interim_bytes",
        "_paused",
        "_peer_ended",
        "_receiver",
        "_remaining",
        "_reusable",
        "_state",
        "_walker",
        "adopted",
        "lost",
        "pool",
        "transport",
    )

    def __init__(self, pool: Pool, charset: bytes | None, head_bytes_max: int) -> None:
        super().__init__()
        # shared
        self.pool = pool
        self._charset = charset
        self._head_bytes_max = head_bytes_max
        # per connection
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.lost = False
        self.adopted = False  # counted by its pool as its own, no more as its dialler's
        self._paused = False
        self._peer_ended = False  # it said so: by FIN, over TLS by close_notify
        # per exchange
        self._receiver: Receiver | None = None
        self._state = _NOTHING
        self._buffer = b""
        self._remaining = 0
        self._interim_bytes = 0
        self._walker: ChunkWalker | None = None
        self._reusable = False

    def begin(self, receiver: Receiver) -> None:
        """The next response goes to `receiver`, which writes its request to `transport` itself."""
        self._receiver = receiver
        self._state = _HEAD
        self._buffer = b""
        self._interim_bytes = 0
        self._reusable = False
        self.requests += 1

    def adopt(self) -> bool:
        """The dialler hands its place in the pool over; False when the connection is lost already and takes nothing over."""
        self.adopted = not self.lost
        return self.adopted

    def detach(self) -> None:
        """The exchange is over with this connection; whatever still comes concerns nobody."""
        self._receiver = None
        if self._state != _NOTHING:
            self._reusable = False
            self._state = _NOTHING
        if self._paused:
            # a slow client may have paused it with the last bytes; an idle connection must notice its end
            self.resume_reading()

    def pause_reading(self) -> None:
        """The receiver cannot take more now."""
        if not self._paused and not self.lost and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """The receiver can go on."""
        if self._paused:
            self._paused = False
            if not self.lost and not self.transport.is_closing():
                self.transport.resume_reading()

    def is_reusable(self) -> bool:
        """Whether exactly one response was read and the connection may serve another."""
        return self._reusable and not self.lost and not self.transport.is_closing()

    def is_flushed(self) -> bool:
        """Whether the peer has taken (or its kernel) every byte written so far."""
        return not self.transport.get_write_buffer_size()

    def close(self) -> None:
        """Close at once without waiting for unsent bytes."""
        if not self.lost:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self.adopted:
            self.pool.forget(self)
        receiver = self._receiver
        if receiver is None:
            return
        if self._state == _UNTIL_CLOSE and exc is None and self._peer_ended:
            self._end(receiver, b"")
        elif self._state != _NOTHING:
            self._state = _NOTHING
            receiver.response_fails(str(exc) if exc else "upstream closed the connection", invalid=False)

    def eof_received(self) -> bool:
        # not called when a TLS connection ends without close_notify: anybody on the way could have cut that body off
        self._peer_ended = True
        if self._state == _TUNNEL and self._receiver is not None:
            return self._receiver.tunnel_eof()
        if self._receiver is None:
            # connection_lost comes a turn of the loop later; no request may take this connection in between
            self.pool.withdraw(self)
        return False

    def pause_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.upstream_writable(False)

    def resume_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.upstream_writable(True)

    def data_received(self, data: bytes) -> None:
        receiver = self._receiver
        state = self._state
        if receiver is None or state == _NOTHING:
            self._unasked()
        elif state == _HEAD:
            self._head(receiver, data)
        elif state == _LENGTH:
            self._length(receiver, data)
        elif state == _CHUNKS:
            self._chunks(receiver, data)
        elif state == _UNTIL_CLOSE:
            receiver.response_goes_on(data, False)
        else:
            receiver.tunnel_data(data)

    def _unasked(self) -> None:
        """Bytes between exchanges: an upstream that speaks unasked has lost its framing (or its mind)."""
        self._reusable = False
        self.pool.withdraw(self)
        self.close()

    def _head(self, receiver: Receiver, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        while data:
            try:
                head = try_response_head(data, self._charset, self._head_bytes_max)
            except BadMessage as problem:
                self._fail(receiver, str(problem))
                return
            if head is None:
                self._buffer = data
                return
            size = len(data)
            if head.status >= 200 and not head.chunked and size - head.length > _COPIED:
                self._body_begins(receiver, head, memoryview(data)[head.length :])
                return
            raw = data  # PERF: compiled, a pointer, whose slice makes no slice object
            rest = raw[head.length : size]
            if head.status >= 200:
                self._body_begins(receiver, head, rest)
                return
            if not self._interim(receiver, head, rest):
                return
            data = rest

    def _interim(self, receiver: Receiver, head: ResponseHead, rest: bytes) -> bool:
        """A 1xx. Whether another head is to follow on this connection for this receiver."""
        if head.status == 101:
            self._state = _TUNNEL
            receiver.response_switches(head, rest)
            return False
        # all interim heads together count as one head: a flood of them must not keep an exchange for ever
        self._interim_bytes += head.length
        if self._interim_bytes > self._head_bytes_max:
            self._fail(receiver, f"interim responses of more than {self._head_bytes_max} bytes")
            return False
        receiver.response_interim(head)
        return self._receiver is receiver and self._state == _HEAD

    def _body_begins(self, receiver: Receiver, head: ResponseHead, rest: bytes | memoryview) -> None:
        """Decide how the body ends (RFC 9112 section 6.3) and deliver its beginning with the head."""
        if receiver.method == b"HEAD" or head.status in (204, 304) or head.content_length == 0:
            self._deliver_last(receiver, head, b"", extra=bool(rest))
        elif head.chunked:
            self._walker = ChunkWalker(payload=receiver.chunks_as_payload)
            self._state = _CHUNKS
            try:
                body, end = self._walker.feed(cast(bytes, rest))
            except BadMessage as problem:
                self._fail(receiver, str(problem))
                return
            if end < 0:
                receiver.response_begins(head, body, False)
            else:
                self._deliver_last(receiver, head, body, extra=end != len(rest))
        elif head.content_length >= 0:
            count = len(rest)
            missing = head.content_length - count
            if not missing:
                # PERF: what `_deliver_last` does, for nearly every short response
                self._state = _NOTHING
                self._reusable = head.keep_alive
                receiver.response_begins(head, rest, True)
                return
            if missing > 0:
                self._state = _LENGTH
                self._remaining = missing
                # set before the call: the exchange may end this connection in it
                self._reusable = head.keep_alive
                receiver.response_begins(head, rest, False)
            else:
                self._deliver_last(receiver, head, rest[: head.content_length], extra=True)
        else:
            self._state = _UNTIL_CLOSE
            head.keep_alive = False
            receiver.response_begins(head, rest, False)
        if self._state in (_CHUNKS, _LENGTH):
            self._reusable = head.keep_alive

    def _deliver_last(self, receiver: Receiver, head: ResponseHead, body: bytes | memoryview, *, extra: bool) -> None:
        """The whole response is here; bytes beyond it poison the connection, not the response."""
        self._state = _NOTHING
        self._reusable = head.keep_alive and not extra
        receiver.response_begins(head, body, True)

    def _length(self, receiver: Receiver, data: bytes) -> None:
        missing = self._remaining - len(data)
        if missing > 0:
            self._remaining = missing
            receiver.response_goes_on(data, False)
            return
        if missing < 0:
            self._reusable = False
            data = data[: self._remaining]
        self._end(receiver, data)

    def _chunks(self, receiver: Receiver, data: bytes) -> None:
        assert self._walker is not None
        try:
            body, end = self._walker.feed(data)
        except BadMessage as problem:
            self._fail(receiver, str(problem))
            return
        if end < 0:
            if body:
                receiver.response_goes_on(body, False)
            return
        if end != len(data):
            self._reusable = False
        self._end(receiver, body)

    def _end(self, receiver: Receiver, data: bytes) -> None:
        self._state = _NOTHING
        self._walker = None
        receiver.response_goes_on(data, True)

    def _fail(self, receiver: Receiver, detail: str) -> None:
        self._state = _NOTHING
        self._reusable = False
        receiver.response_fails(detail, invalid=True)
