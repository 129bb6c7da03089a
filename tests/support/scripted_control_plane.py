"""A control plane that does what a test tells it, over real mTLS: speaks /v1/outlet and /v1/counters, keeps every
frame.

Behaves as a Kong 3.9 control plane unless told otherwise: upgrades, reads basic_info, pushes at once, answers pings
with empty pongs. `announces` makes it one of ours.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from kongdp.certs.contexts import server_context, server_options
from tests.support.certificates import Made


def mutual_context(server: Made, anchor: Made) -> ssl.SSLContext:
    """A server context that demands a client certificate below `anchor`."""
    context = server_context([server.pair], server_options("intermediate"))
    context.load_verify_locations(cadata=anchor.pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@dataclass
class Arrival:
    """One connection as the control plane saw it, in order of arrival."""

    writer: asyncio.StreamWriter
    websocket: WSConnection = field(default_factory=lambda: WSConnection(ConnectionType.SERVER))
    head: bytes = b""
    binaries: list[bytes] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    pings: list[str] = field(default_factory=list)
    frames_raw: bytes = b""
    has_ended: bool = False
    client_certificate: bytes | None = None

    @property
    def path(self) -> str:
        return self.head.split(b" ")[1].split(b"?")[0].decode()

    def send(self, event: Any) -> None:
        if not self.has_ended:
            self.writer.write(self.websocket.send(event))


class ScriptedControlPlane:
    """Use as an async context manager; `port` is free, `arrivals` lists connections."""

    def __init__(self, context: ssl.SSLContext, *, announces: bool = False) -> None:
        self._context = context
        self.announces = announces
        self.pushes: list[bytes] = []
        self.pushes_first = False
        self.answers_pings = True
        self.acknowledges = True
        self.refusal: tuple[int, bytes] | None = None
        self.drops_silently = False
        self.arrivals: list[Arrival] = []
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> "ScriptedControlPlane":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Vanish: close the listener and all connections."""
        assert self._server is not None
        self._server.close()
        for arrival in self.arrivals:
            arrival.writer.transport.abort()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Wait until `condition` holds; fails with `what` after 10 s."""
        try:
            async with asyncio.timeout(30), self._changed:
                await self._changed.wait_for(condition)
        except TimeoutError:
            raise AssertionError(f"not within 10 s: {what or condition}") from None

    @property
    def outlets(self) -> list[Arrival]:
        return [arrival for arrival in self.arrivals if arrival.path == "/v1/outlet"]

    @property
    def counters(self) -> list[Arrival]:
        return [arrival for arrival in self.arrivals if arrival.path == "/v1/counters"]

    @property
    def counter_frames(self) -> list[dict[str, Any]]:
        return [orjson.loads(text) for arrival in self.counters for text in arrival.texts]

    def push(self, frame: bytes) -> None:
        """Send to every open outlet connection."""
        for arrival in self.outlets:
            arrival.send(BytesMessage(frame))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        arrival = Arrival(writer)
        tls = writer.get_extra_info("ssl_object")
        arrival.client_certificate = tls.getpeercert(binary_form=True)
        try:
            arrival.head = await reader.readuntil(b"\r\n\r\n")
            if self.drops_silently:
                return
            self.arrivals.append(arrival)
            arrival.websocket.receive_data(arrival.head)
            await self._take_events(arrival)
            while data := await reader.read(65536):
                arrival.frames_raw += data
                arrival.websocket.receive_data(data)
                await self._take_events(arrival)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            arrival.has_ended = True
            self._tasks.discard(task)
            writer.close()
            await self._tell()

    async def _take_events(self, arrival: Arrival) -> None:
        for event in arrival.websocket.events():
            self._take(arrival, event)
        await self._tell()

    def _take(self, arrival: Arrival, event: object) -> None:
        match event:
            case Request():
                self._upgrade(arrival)
            case BytesMessage(data=data):
                arrival.binaries.append(bytes(data))
                if len(arrival.binaries) == 1 and not self.pushes_first:
                    self._push_all(arrival)
            case Ping(payload=payload):
                arrival.pings.append(bytes(payload).decode())
                if self.answers_pings:
                    arrival.send(Pong(b""))
            case TextMessage(data=text):
                arrival.texts.append(text)
                if self.acknowledges:
                    arrival.send(TextMessage(orjson.dumps({"ack": orjson.loads(text)["seq"]}).decode()))
            case CloseConnection():
                arrival.has_ended = True

    def _upgrade(self, arrival: Arrival) -> None:
        if self.refusal is not None:
            status, body = self.refusal
            fields = [(b"content-length", str(len(body)).encode())]
            arrival.send(RejectConnection(status_code=status, headers=fields, has_body=True))
            arrival.send(RejectData(data=body, body_finished=True))
            return
        fields = [(b"X-Kongdp-Telemetry", b"1")] if self.announces else []
        arrival.send(AcceptConnection(extra_headers=fields))
        if self.pushes_first:
            self._push_all(arrival)

    def _push_all(self, arrival: Arrival) -> None:
        if arrival.path == "/v1/outlet":
            for frame in self.pushes:
                arrival.send(BytesMessage(frame))

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
