"""Opaque bytes both ways after 101: backpressure, half-close, idle timeout.

In: two connections that agreed to switch protocols.  Out: their bytes, crosswise, until both sides have ended.
House rules: a tunnel begins only after the upstream's 101; bytes a client sent before that were held as pipelined data and are its
first bytes. Framing is nobody's business any more. What one side sent before it ended still reaches the other: a tunnel ends when both
connections are gone, not when the first one is. TLS has no half-close here: the end of one side ends the other once it has everything.
Bytes are counted as they pass, because a tunnel may live for days.
Hot for WebSocket traffic.
Source: RFC 9110 section 7.8, RFC 6455 section 7; Kong: read_timeout without traffic either way, write_timeout for a peer that takes
nothing (nginx, proxying of upgraded connections).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from kongdp._monotonic import monotonic
from kongdp.upstream.connection import UpstreamConnection


class Tunnel:
    """A client's transport and an upstream connection, joined. `on_end` is called once, when both are gone.

    `ingress` and `egress` are the route's rows in `slots`, the worker's counters.
    """

    __slots__ = (
        "_client",
        "_client_ended",
        "_client_lost",
        "_closing",
        "_egress",
        "_ingress",
        "_on_end",
        "_slots",
        "_stalled",
        "_unsent_bytes",
        "_upstream",
        "_upstream_ended",
        "bytes_in",
        "bytes_out",
        "ended",
        "moved_at",
    )

    def __init__(
        self,
        client: asyncio.Transport,
        upstream: UpstreamConnection,
        on_end: Callable[[], None],
        slots: memoryview,
        ingress: int,
        egress: int,
    ) -> None:
        self._client = client
        self._upstream = upstream
        self._on_end = on_end
        self._slots = slots
        self._ingress = ingress
        self._egress = egress
        self._client_ended = False
        self._upstream_ended = False
        self._client_lost = False
        self._closing = False
        self._stalled = 0.0  # since when the upstream took nothing, 0 when it is not full
        self._unsent_bytes = 0
        self.moved_at = monotonic()
        self.bytes_in = 0
        self.bytes_out = 0
        self.ended = False

    def from_client(self, data: bytes) -> None:
        """Bytes of the client."""
        self.moved_at = monotonic()
        self.bytes_in += len(data)
        self._slots[self._ingress] += len(data)
        if not self._upstream.lost and not self._closing:
            self._upstream.transport.write(data)

    def from_upstream(self, data: bytes) -> None:
        """Bytes of the upstream."""
        self.moved_at = monotonic()
        self.bytes_out += len(data)
        self._slots[self._egress] += len(data)
        if not self._client_lost and not self._closing:
            self._client.write(data)

    def client_eof(self) -> bool:
        """The client ended its side; True keeps its transport open for the other direction."""
        self._client_ended = True
        return self._half_close(self._client, self._upstream.transport, self._upstream_ended)

    def upstream_eof(self) -> bool:
        """The upstream ended its side."""
        self._upstream_ended = True
        return self._half_close(self._upstream.transport, self._client, self._client_ended)

    def _half_close(self, ended: asyncio.Transport, other: asyncio.Transport, other_ended: bool) -> bool:
        if other_ended or not ended.can_write_eof() or not other.can_write_eof():
            self.close()
            return False
        other.write_eof()
        return True

    def client_writable(self, writable: bool) -> None:
        """The client's send buffer filled or drained: the upstream's reading follows."""
        if writable:
            self._upstream.resume_reading()
        else:
            self._upstream.pause_reading()

    def upstream_writable(self, writable: bool) -> None:
        """The upstream's send buffer filled or drained: the client's reading follows."""
        self._stalled = 0.0 if writable else monotonic()
        self._unsent_bytes = 0 if writable else self._upstream.transport.get_write_buffer_size()
        if self._client.is_closing():
            return
        if writable:
            self._client.resume_reading()
        else:
            self._client.pause_reading()

    def idle_until(self, idle_s: float, stall_s: float) -> float:
        """When the tunnel counts as dead unless something moves (monotonic seconds)."""
        if self._closing:
            return 0.0  # a second deadline after close: what is left does not leave
        due = self.moved_at + idle_s
        if self._stalled:
            unsent = self._upstream.transport.get_write_buffer_size()
            if unsent < self._unsent_bytes:
                self._unsent_bytes, self._stalled = unsent, monotonic()
            due = min(due, self._stalled + stall_s)
        return due

    def close(self) -> None:
        """End both sides once their buffers are empty; safe to call twice."""
        if not self._closing:
            self._closing = True
            self._client.close()
            if not self._upstream.lost:
                self._upstream.transport.close()

    def client_lost(self) -> None:
        """The client's connection is gone; the upstream still gets what is buffered for it."""
        self._client_lost = True
        self.close()
        if self._upstream.lost:
            self._end()

    def upstream_lost(self) -> None:
        """The upstream's connection is gone; the client still gets what is buffered for it."""
        self.close()
        if self._client_lost:
            self._end()

    def abort(self) -> None:
        """End both sides now; safe to call twice."""
        self._closing = True
        self._client.abort()
        self._upstream.close()
        self._end()

    def _end(self) -> None:
        if not self.ended:
            self.ended = True
            self._on_end()
