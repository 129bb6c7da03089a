"""A TCP proxy between a node and its control plane whose line can be cut, or made to lose the answers.

Losing answers and then cutting makes a sender repeat what had arrived: duplicates, end to end and through TLS.
Runs on the loop that made it; the methods that change the line may be called from any thread.
"""

import asyncio
from functools import partial
from typing import cast


class CutProxy:
    """Forwards connections on a free port of loopback to another port."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._sides: set[_Side] = set()
        self._swallows_answers = False
        self._server: asyncio.Server | None = None
        self._loop = asyncio.get_running_loop()
        self.port = 0
        self.count_connections = 0
        self.bytes_swallowed = 0

    async def start(self) -> None:
        """Listen."""
        self._server = await self._loop.create_server(partial(_Side, self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """End every connection at once; new ones are taken, and answered again."""
        self._loop.call_soon_threadsafe(self._cut)

    def lead_to(self, target_port: int) -> None:
        """From now on connections lead to another port; those that are open end."""
        self._loop.call_soon_threadsafe(self._lead_to, target_port)

    def _lead_to(self, target_port: int) -> None:
        self._target_port = target_port
        self._cut()

    def swallow_answers(self) -> None:
        """From now on, up to the next cut, nothing comes back from the other side; what is sent there arrives."""
        self._loop.call_soon_threadsafe(partial(setattr, self, "_swallows_answers", True))

    def _cut(self) -> None:
        self._swallows_answers = False
        for side in list(self._sides):
            side.abort()

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        self._cut()


class _Side(asyncio.Protocol):
    """One direction's end; `peer` is the connection on the other side of the proxy."""

    def __init__(self, proxy: CutProxy, peer: "_Side | None" = None) -> None:
        self.proxy = proxy
        self.peer = peer
        self.is_answering = peer is not None
        self.transport: asyncio.Transport | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.proxy._sides.add(self)
        if self.peer is None:
            self.proxy.count_connections += 1
            self._dialling = asyncio.ensure_future(self._dial())
        else:
            self.peer.connected(self)

    async def _dial(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(
                partial(_Side, self.proxy, self), "127.0.0.1", self.proxy._target_port
            )
        except OSError:
            self.abort()

    def connected(self, peer: "_Side") -> None:
        self.peer = peer
        for data in self._early:
            peer.write(data)
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        if self.is_answering and self.proxy._swallows_answers:
            self.proxy.bytes_swallowed += len(data)
        elif self.peer is None:
            self._early.append(data)
        else:
            self.peer.write(data)

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.proxy._sides.discard(self)
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.close()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()
