"""A TLS listener with bounds: accepts connections, sweeps their deadlines once a second, ends them politely.

In: a bound socket, a TLS context, an application.  Out: nothing; the application is called. Cold.
"""

import asyncio
import errno
import logging
import socket
import ssl
from pathlib import Path

from kongdp.controlplane.cluster.connection import ClusterConnection, Owner
from kongdp.controlplane.cluster.requests import Application, Limits
from kongdp.errors import KongdpError, Source

LOG = logging.getLogger("kongdp.controlplane.cluster")
BACKLOG = 1024
SWEEP_S = 1.0
# What peers get to take the last frames when the listener stops.
FAREWELL_S = 2.0


class ListenError(KongdpError):
    """An address cannot be listened on; the message names the setting."""

    source = Source.OPERATOR


def bind(setting: str, address: str, port: int) -> socket.socket:
    """A bound TCP socket that listens. Raises ListenError.

    Without SO_REUSEPORT: with it, a port that another process uses would be shared silently instead of being reported.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        # Only listening finds out that another socket listens on a wildcard of the same port.
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ListenError(f"{setting}: cannot listen on {address}:{port}: {error.strerror}") from None
    sock.setblocking(False)
    return sock


def bind_unix(setting: str, path: str) -> socket.socket:
    """A bound Unix socket that listens; one that a dead process left behind is replaced. Raises ListenError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_abandoned(path):
            Path(path).unlink()
        sock.bind(path)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ListenError(f"{setting}: cannot listen on unix:{path}: {error.strerror or error}") from None
    sock.setblocking(False)
    return sock


def _is_abandoned(path: str) -> bool:
    if not Path(path).is_socket():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) == errno.ECONNREFUSED


class ClusterListener:
    """One listening socket and its connections."""

    def __init__(
        self, name: str, sock: socket.socket, context: ssl.SSLContext, application: Application, limits: Limits
    ) -> None:
        self.name = name
        self.port: int = sock.getsockname()[1]
        self._socket = sock
        self._context = context
        self._limits = limits
        self._owner = Owner(application, limits, self._joined, self._left)
        self._connections: set[ClusterConnection] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    async def start(self) -> None:
        """Accept connections."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: ClusterConnection(self._owner),
            sock=self._socket,
            ssl=self._context,
            backlog=BACKLOG,
            ssl_handshake_timeout=self._limits.handshake_timeout_s,
            ssl_shutdown_timeout=FAREWELL_S,
        )
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop(self, reason: str) -> None:
        """Accept no more, tell everyone why, and leave when they have gone or after a moment."""
        if self._server is not None:
            self._server.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._connections):
            connection.shut_down(reason)
        try:
            async with asyncio.timeout(FAREWELL_S):
                await self._is_empty.wait()
        except TimeoutError:
            for connection in list(self._connections):
                connection.abort()

    @property
    def count_connections(self) -> int:
        """Connections that are open now."""
        return len(self._connections)

    def _joined(self, connection: ClusterConnection) -> bool:
        if len(self._connections) >= self._limits.connections_max:
            LOG.error("%s: more than %d connections, refused one", self.name, self._limits.connections_max)
            return False
        self._connections.add(connection)
        self._is_empty.clear()
        return True

    def _left(self, connection: ClusterConnection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._is_empty.set()

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            now = loop.time()
            for connection in list(self._connections):
                connection.tick(now)
