"""A WebSocket to the control plane: TCP, perhaps a proxy's CONNECT, TLS, upgrade, then whole messages both ways.

In: an Endpoint, a TLS context, the node's name.  Out: an open `Link`, or LinkError in words that tell an operator
what to look at.
House rules: everything until the upgrade is under one deadline; foreign errors (OSError, ssl, framing) become
LinkError here and nowhere else. What is sent on a link is somebody else's decision (session.py, counters.py).
Cold. Source: protocol notes 1.2 to 1.5.
"""

import asyncio
import base64
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from kongdp.errors import KongdpError, Source
from kongdp.sync.frames import FrameError, Frames, Message
from kongdp.sync.handshake import Accepted, Handshake, HandshakeRefused, NodeName
from kongdp.sync.session import FrameKind

OPEN_DEADLINE_S = 15.0
READ_BYTES = 256 * 1024
PROXY_HEAD_BYTES_MAX = 16 * 1024

SHARED_SERVER_NAME = "kong_clustering"
"""What a shared-mode data plane asks for and verifies, whatever address it connects to."""


class LinkError(KongdpError):
    """The link cannot be opened or has ended. `status` is the HTTP status of a refusal."""

    source = Source.UPSTREAM

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class ProxyServer:
    """An HTTP proxy that reaches the control plane by CONNECT."""

    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect, and the name that is sent as SNI and verified."""

    host: str
    port: int
    server_name: str
    proxy: ProxyServer | None = None

    @property
    def authority(self) -> str:
        """host:port, the port always there."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Link:
    """An open WebSocket. `receive` is for one reader; the senders return at once."""

    __slots__ = ("_early", "_frames", "_reader", "_writer", "is_ours")

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, accepted: Accepted, bytes_max: int
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = Frames(bytes_max)
        self._early = accepted.trailing
        self.is_ours = accepted.is_ours

    async def receive(self) -> list[Message]:
        """Wait for bytes; the messages that they complete, none while a large one is on its way. Raises LinkError when the
        connection has ended.
        """
        data, self._early = self._early, b""
        try:
            data = data or await self._reader.read(READ_BYTES)
            if data:
                return self._frames.receive(data)
        except FrameError as error:
            raise LinkError(str(error)) from None
        except (OSError, EOFError) as error:
            raise LinkError(_words(error)) from None
        raise LinkError("the control plane closed the connection")

    def send(self, kind: FrameKind, payload: bytes) -> None:
        """Hand one unfragmented frame to the transport; a link that has ended takes it silently."""
        senders: dict[FrameKind, Callable[[bytes], bytes]] = {
            FrameKind.BINARY: self._frames.binary,
            FrameKind.TEXT: self._frames.text,
            FrameKind.PING: self._frames.ping,
            FrameKind.PONG: self._frames.pong,
        }
        if not self._writer.is_closing():
            self._writer.write(senders[kind](payload))

    def close(self) -> None:
        """Send a close frame and hang up; the answer is not awaited. May be called twice."""
        if not self._writer.is_closing():
            self._writer.write(self._frames.close())
            self._writer.close()

    def abort(self) -> None:
        """Hang up without a word."""
        self._writer.transport.abort()


async def open_link(endpoint: Endpoint, path: str, name: NodeName, context: ssl.SSLContext, *, bytes_max: int) -> Link:
    """Connect and upgrade. `bytes_max` bounds received messages. Raises LinkError."""
    try:
        async with asyncio.timeout(OPEN_DEADLINE_S):
            reader, writer = await _connect(endpoint, context)
            try:
                accepted = await _upgrade(reader, writer, Handshake(endpoint.authority, path, name, os.urandom))
            except BaseException:
                writer.transport.abort()
                raise
            return Link(reader, writer, accepted, bytes_max)
    except HandshakeRefused as error:
        raise LinkError(str(error), error.status) from None
    except TimeoutError:
        raise LinkError(f"no answer within {OPEN_DEADLINE_S:.0f} s") from None
    except (OSError, EOFError) as error:
        raise LinkError(_words(error)) from None


async def _connect(endpoint: Endpoint, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if endpoint.proxy is None:
        return await asyncio.open_connection(
            endpoint.host, endpoint.port, ssl=context, server_hostname=endpoint.server_name
        )
    reader, writer = await asyncio.open_connection(endpoint.proxy.host, endpoint.proxy.port)
    try:
        await _tunnel(reader, writer, endpoint, endpoint.proxy)
        await writer.start_tls(context, server_hostname=endpoint.server_name)
    except BaseException:
        writer.transport.abort()
        raise
    return reader, writer


async def _tunnel(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, endpoint: Endpoint, proxy: ProxyServer
) -> None:
    lines = [f"CONNECT {endpoint.authority} HTTP/1.1", f"Host: {endpoint.authority}"]
    if proxy.user is not None:
        secret = base64.b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode("ascii")
        lines.append(f"Proxy-Authorization: Basic {secret}")
    writer.write("\r\n".join([*lines, "", ""]).encode("ascii"))
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise LinkError(f"the proxy {proxy.host}:{proxy.port} did not answer in HTTP") from None
    status_line = head.split(b"\r\n", 1)[0].decode("latin-1")
    parts = status_line.split(" ", 2)
    if len(parts) < 2 or not parts[1].startswith("2"):
        raise LinkError(f"the proxy {proxy.host}:{proxy.port} refused: {status_line[:200]}")


async def _upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handshake: Handshake) -> Accepted:
    writer.write(handshake.request)
    while True:
        accepted = handshake.receive(await reader.read(READ_BYTES))
        if accepted is not None:
            return accepted


def _words(error: BaseException) -> str:
    """An operating system's or OpenSSL's error in words that name the cause."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the control plane's certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or str(error)).replace("_", " ").lower()
        if "alert" in reason or "unknown ca" in reason or "certificate" in reason:
            return f"the control plane does not accept the node's certificate: {reason}"
        return f"TLS: {reason}"
    if isinstance(error, socket.gaierror):
        return f"cannot resolve the host: {error.strerror}".lower()
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()  # asyncio's own text says only that the call failed
    return str(error) or type(error).__name__
