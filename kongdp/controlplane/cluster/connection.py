"""One connection to a cluster listener: requests first (h11), then perhaps a WebSocket.

In: the transport's events.  Out: calls of the application (one at a time), its answers as bytes; after an upgrade
everything goes to `websocket`. House rules: bounds before anything else (head, body, time); nothing is read while a
request is being answered; who may do what is the application's affair. Cold.
"""

import asyncio
import base64
import hashlib
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ssl import SSLObject
from typing import cast

import h11

from kongdp.controlplane.cluster.requests import (
    Answer,
    Application,
    Drop,
    Limits,
    Request,
    Response,
    Session,
    Upgrade,
    message,
    split_target,
)
from kongdp.controlplane.cluster.websocket import WebSocket

LOG = logging.getLogger("kongdp.controlplane.cluster")
KEEPALIVE = (
    ((socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1),
    ((socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), 60),
    ((socket.IPPROTO_TCP, socket.TCP_KEEPINTVL), 10),
    ((socket.IPPROTO_TCP, socket.TCP_KEEPCNT), 3),
)
# RFC 6455 section 1.3
ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True, slots=True)
class Owner:
    """What a connection needs of its listener: what answers, within which bounds, and whom to tell that it is there
    or gone.
    """

    application: Application
    limits: Limits
    joined: Callable[["ClusterConnection"], bool]
    left: Callable[["ClusterConnection"], None]


class ClusterConnection(asyncio.Protocol):
    """asyncio calls it; the listener's sweep calls `tick`."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._certificate: bytes | None = None
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=owner.limits.head_bytes_max)
        self._request: h11.Request | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._answering: asyncio.Task[None] | None = None
        self._waiting_since = 0.0
        self._websocket: WebSocket | None = None
        self._session: Session | None = None
        self._end = "connection lost"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TLS is established."""
        # cast, not an assertion: uvloop's transports do not derive from asyncio.Transport
        self._transport = transport = cast(asyncio.Transport, transport)
        address = transport.get_extra_info("peername")
        self._peer = str(address[0]) if address else ""
        tls: SSLObject | None = transport.get_extra_info("ssl_object")
        self._certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        self._waiting_since = asyncio.get_running_loop().time()
        sock: socket.socket | None = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            # A peer that vanished without a word is found within a minute and a half, also on a stream that may be
            # silent.
            for option, value in KEEPALIVE:
                sock.setsockopt(*option, value)
        if not self._owner.joined(self):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._owner.left(self)
        if self._answering is not None:
            self._answering.cancel()
        session, self._session, self._websocket = self._session, None, None
        if session is not None:
            session.closed(self._end if exc is None else f"{type(exc).__name__}: {exc}")

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer."""
        if self._websocket is not None:
            self._websocket.feed(data)
            return
        self._http.receive_data(data)
        self._read_request()

    def eof_received(self) -> bool:
        """The peer sends no more: so do we."""
        return False

    def pause_writing(self) -> None:
        """The transport takes no more for now."""
        if self._websocket is not None:
            self._websocket.writing_paused()

    def resume_writing(self) -> None:
        """The transport takes more."""
        if self._websocket is not None:
            self._websocket.writing_resumed()

    def tick(self, now: float) -> None:
        """Enforce the deadlines; called about once a second."""
        limits = self._owner.limits
        if self._websocket is not None and self._session is not None:
            self._session.tick(now)
            if self._websocket.is_stalled(now, limits.stall_timeout_s):
                self._drop(f"took nothing for {limits.stall_timeout_s:.0f} s")
        elif self._answering is None and now - self._waiting_since > limits.request_timeout_s:
            self._drop("no request in time")

    def shut_down(self, reason: str) -> None:
        """The control plane stops: end the connection in the politest way its state allows."""
        if self._websocket is not None:
            self._websocket.close(reason)
        elif self._transport is not None and self._answering is None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _read_request(self) -> None:
        try:
            while self._answering is None and self._transport is not None and not self._transport.is_closing():
                event = self._http.next_event()
                if event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                    return
                self._take(event)
        except h11.RemoteProtocolError as error:
            self._refuse(message(error.error_status_hint, str(error)))

    def _take(self, event: object) -> None:
        if isinstance(event, h11.Request):
            self._request, self._body, self._body_bytes = event, [], 0
            # h11 counts only heads that come in several pieces.
            size = len(event.target) + sum(len(name) + len(value) for name, value in event.headers)
            if size > self._owner.limits.head_bytes_max:
                self._refuse(message(431, f"head larger than {self._owner.limits.head_bytes_max} bytes"))
        elif isinstance(event, h11.Data):
            self._body_bytes += len(event.data)
            if self._body_bytes > self._owner.limits.body_bytes_max:
                self._refuse(message(413, f"body larger than {self._owner.limits.body_bytes_max} bytes"))
                return
            self._body.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            assert self._transport is not None
            assert self._request is not None
            self._transport.pause_reading()
            self._answering = asyncio.create_task(self._answer(self._build(self._request)))

    def _build(self, head: h11.Request) -> Request:
        path, query = split_target(head.target.decode("latin-1"))
        return Request(
            method=head.method.decode("latin-1"),
            path=path,
            query=query,
            fields=dict(head.headers),
            body=b"".join(self._body),
            peer=self._peer,
            certificate=self._certificate,
        )

    async def _answer(self, request: Request) -> None:
        try:
            answer: Answer = await self._owner.application(request)
        except Exception:
            # A boundary: one request must not take the listener down, and its peer must not wait for ever.
            LOG.exception("%s %s of %s failed", request.method, request.path, request.peer)
            answer = message(500, "An unexpected error occurred")
        self._answering = None
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if isinstance(answer, Drop):
            LOG.warning("%s %s of %s refused: %s", request.method, request.path, request.peer, answer.reason)
            transport.abort()
        elif isinstance(answer, Upgrade):
            self._upgrade(request, answer)
        else:
            self._respond(answer)

    def _respond(self, response: Response) -> None:
        assert self._transport is not None
        self._transport.write(self._render(response))
        if self._http.our_state is h11.MUST_CLOSE or self._http.their_state is not h11.DONE:
            self._transport.close()
            return
        self._http.start_next_cycle()
        self._waiting_since = asyncio.get_running_loop().time()
        self._transport.resume_reading()
        self._read_request()

    def _render(self, response: Response) -> bytes:
        fields = [
            ("Content-Type", response.content_type),
            ("Content-Length", str(len(response.body))),
            ("Cache-Control", "no-store"),
            *response.fields,
        ]
        pieces = (
            self._http.send(h11.Response(status_code=response.status, headers=fields)),
            # The framing of an answer to HEAD allows no body.
            self._http.send(h11.Data(data=response.body if not self._is_head() else b"")),
            self._http.send(h11.EndOfMessage()),
        )
        return b"".join(piece for piece in pieces if piece)

    def _is_head(self) -> bool:
        return self._request is not None and self._request.method == b"HEAD"

    def _refuse(self, response: Response) -> None:
        """Answer a request that cannot be read to its end, and close."""
        assert self._transport is not None
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._transport.write(
                self._render(Response(response.status, response.body, fields=(("Connection", "close"),)))
            )
        self._transport.close()

    def _upgrade(self, request: Request, upgrade: Upgrade) -> None:
        assert self._transport is not None
        key = request.fields.get(b"sec-websocket-key", b"")
        accept = base64.b64encode(hashlib.sha1(key + ACCEPT_GUID, usedforsecurity=False).digest()).decode()
        fields = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept),
            *upgrade.fields,
        ]
        early, _is_closed = self._http.trailing_data
        self._transport.write(self._http.send(h11.InformationalResponse(status_code=101, headers=fields)) or b"")
        websocket = WebSocket(self._transport, upgrade.session, self._peer)
        websocket.progress_at = asyncio.get_running_loop().time()
        self._websocket, self._session = websocket, upgrade.session
        self._transport.resume_reading()
        upgrade.session.opened(websocket)
        if early and self._websocket is not None:
            websocket.feed(early)

    def _drop(self, reason: str) -> None:
        assert self._transport is not None
        self._end = reason
        self._transport.abort()
