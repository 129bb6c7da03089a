"""Opaque bytes both ways after 101: backpressure, half-close, idle timeout.

In: two connections that agreed to switch protocols.  Out: their bytes, crosswise, until both sides have ended.
House rule: a tunnel begins only after the upstream's 101; bytes a client sent before that were held as pipelined data and are its
first bytes. Framing is nobody's business any more.
Hot for WebSocket traffic.
Source: RFC 9110 section 7.8; Kong: read_timeout and write_timeout govern idle time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Tunnel:
    """Two transports joined. `deadline` (monotonic seconds) moves with every byte; the owner's sweep calls `abort` beyond it."""

    __slots__ = (
        "_client",
        "_client_ended",
        "_on_end",
        "_upstream",
        "_upstream_ended",
        "active",
        "bytes_in",
        "bytes_out",
        "closed",
    )

    def __init__(self, client: asyncio.Transport, upstream: asyncio.Transport, on_end: Callable[[], None]) -> None:
        self._client = client
        self._upstream = upstream
        self._on_end = on_end
        self._client_ended = False
        self._upstream_ended = False
        self.active = True  # set by traffic, cleared by the sweep
        self.bytes_in = 0
        self.bytes_out = 0
        self.closed = False

    def from_client(self, data: bytes) -> None:
        """Bytes of the client."""
        self.active = True
        self.bytes_in += len(data)
        self._upstream.write(data)

    def from_upstream(self, data: bytes) -> None:
        """Bytes of the upstream."""
        self.active = True
        self.bytes_out += len(data)
        self._client.write(data)

    def client_eof(self) -> bool:
        """The client ended its side; True keeps its transport open for the other direction."""
        self._client_ended = True
        return self._half_close(self._upstream, self._upstream_ended)

    def upstream_eof(self) -> bool:
        """The upstream ended its side."""
        self._upstream_ended = True
        return self._half_close(self._client, self._client_ended)

    def _half_close(self, other: asyncio.Transport, other_ended: bool) -> bool:
        if other_ended or not other.can_write_eof():
            # both sides are done, or TLS, which has no half-close: let what is buffered leave, then close
            self.close()
            return False
        other.write_eof()
        return True

    def client_writable(self, writable: bool) -> None:
        """The client's send buffer filled or drained: the upstream's reading follows."""
        _follow(self._upstream, writable)

    def upstream_writable(self, writable: bool) -> None:
        """The upstream's send buffer filled or drained: the client's reading follows."""
        _follow(self._client, writable)

    def close(self) -> None:
        """End both sides once their buffers are empty; safe to call twice."""
        if not self.closed:
            self.closed = True
            self._client.close()
            self._upstream.close()
            self._on_end()

    def abort(self) -> None:
        """End both sides now; safe to call twice."""
        if not self.closed:
            self.closed = True
            self._client.abort()
            self._upstream.abort()
            self._on_end()


def _follow(transport: asyncio.Transport, writable: bool) -> None:
    if transport.is_closing():
        return
    if writable:
        transport.resume_reading()
    else:
        transport.pause_reading()
