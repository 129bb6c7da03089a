"""Keeps a data plane connected to its control plane: opens links, drives a session on each, applies what comes.

In: where and as whom, how to apply a frame, which hash is in force.  Out: configurations handed to `apply`, and
`state` for status pages.
House rules: the rules of the protocol are session.py's; this module owns tasks and links. A configuration that is
being applied goes on when its connection ends. With a renewed certificate the new connection opens and has heard its
first frame before the old one ends.
Cold: lives in the agent. Source: protocol notes 2.4, 2.9.
"""

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from kongdp.sync.handshake import OUTLET_PATH, NodeName
from kongdp.sync.link import Endpoint, Link, LinkError, open_link
from kongdp.sync.messages import ErrorReport
from kongdp.sync.session import (
    Apply,
    End,
    FrameKind,
    Note,
    Output,
    Renew,
    SendBinary,
    SendPing,
    SendPong,
    Session,
    State,
    reconnect_delay_s,
)

log = logging.getLogger("kongdp.sync")

TICK_S = 1.0
NOTICE = 25
"""nginx's level between info and warning, at which nodes log unless told otherwise."""

Outcome = str | ErrorReport | End | None
"""What became of a frame: the hash in force; why the configuration was rejected; End for bytes that are no
configuration; None for a message of another kind, or one that a newer configuration overtook.
"""


@dataclass(frozen=True, slots=True)
class SyncState:
    """What a status page shows. Times are epoch seconds; None: never."""

    is_connected: bool = False
    is_ours: bool = False
    connected_at: float | None = None
    last_heard_at: float | None = None
    count_connects: int = 0
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """What does not change while the node runs. `bytes_max` is cluster_max_payload."""

    endpoint: Endpoint
    name: NodeName
    basic_info: bytes
    bytes_max: int
    konnect_mode: bool = False


class SyncClient:
    """One data plane's sync. `run` never returns by itself; cancel it to stop."""

    def __init__(
        self,
        options: SyncOptions,
        *,
        context: Callable[[], ssl.SSLContext],
        apply: Callable[[bytes], Awaitable[Outcome]],
        hash_in_force: Callable[[], str],
        on_announcement: Callable[[bool], None] = lambda is_ours: None,
        on_renewal_wanted: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        delay_s: Callable[[], float] = lambda: reconnect_delay_s(random.random),
    ) -> None:
        """`context` is asked for each connection, so that a renewed certificate is used by the next one. `apply`
        returns the hash in force or a report, and never raises. `on_announcement` tells for each connection whether
        the control plane is ours, `on_renewal_wanted` that such a one asks for a new certificate.
        """
        self._options = options
        self._context = context
        self._apply_frame = apply
        self._hash_in_force = hash_in_force
        self._on_announcement = on_announcement
        self._on_renewal_wanted = on_renewal_wanted
        self._monotonic = monotonic
        self._wall = wall
        self._delay_s = delay_s
        self._connections: list[_Connection] = []
        self._current: _Connection | None = None
        self._successor: _Connection | None = None
        self._applying: set[asyncio.Task[None]] = set()
        self._renewal: asyncio.Task[None] | None = None
        self._generation = 0
        self.state = SyncState()

    async def run(self) -> None:
        """Stay connected."""
        try:
            # A group: without ticks nobody would find out that a control plane is silent.
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._tick_forever(), name="sync ticks")
                while True:
                    await self._serve_one()
        finally:
            if self._renewal is not None:
                self._renewal.cancel()
            for connection in tuple(self._connections):
                self._perform(connection, connection.session.end("the node stops"))
            await asyncio.gather(*(connection.reading for connection in self._connections), return_exceptions=True)

    def hash_changed(self, config_hash: str) -> None:
        """Another configuration is in force on all workers, from wherever it came."""
        now = self._monotonic()
        for connection in tuple(self._connections):
            self._perform(connection, connection.session.hash_changed(config_hash, now))

    def renew(self) -> None:
        """The context has changed (a new certificate): replace the connection without a gap."""
        self._generation += 1
        self._begin_replacing()

    def _begin_replacing(self) -> None:
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._replace(), name="sync renewal")

    async def _serve_one(self) -> None:
        """One connection from its opening to its end, and the pause after it."""
        connection, self._successor = self._successor, None
        if connection is None or connection.session.state is State.ENDED:
            connection = await self._open()
        if connection is None:
            await asyncio.sleep(self._delay_s())
            return
        self._current = connection
        if connection.generation != self._generation:  # the certificate was renewed while it was being opened
            self._begin_replacing()
        reason = await connection.ended
        self._current = None
        if self._successor is None:
            log.warning("connection to control plane %s ended: %s", self._options.endpoint.authority, reason)
            await asyncio.sleep(self._delay_s())

    async def _replace(self) -> None:
        """Open connections until one with the newest context has heard its first frame, then end the old one."""
        while (old := self._current) is not None and old.generation != self._generation:
            fresh = await self._open()
            if fresh is not None and await fresh.heard:
                self._successor = fresh
                self._perform(old, old.session.end("replaced by a connection with the renewed certificate"))
                log.log(
                    NOTICE,
                    "connected to control plane %s with the renewed certificate",
                    self._options.endpoint.authority,
                )
                await old.ended
                await asyncio.sleep(0)
                continue
            await asyncio.sleep(self._delay_s())

    async def _open(self) -> "_Connection | None":
        generation = self._generation
        options = self._options
        try:
            link = await open_link(
                options.endpoint, OUTLET_PATH, options.name, self._context(), bytes_max=options.bytes_max
            )
        except LinkError as error:
            self._note(last_error=str(error))
            log.warning("connection to control plane %s failed: %s", options.endpoint.authority, error)
            return None
        session = Session(options.basic_info, self._hash_in_force(), errors_welcome=options.konnect_mode)
        connection = _Connection(link, session, generation)
        self._connections.append(connection)
        self._note(
            is_connected=True,
            is_ours=link.is_ours,
            connected_at=self._wall(),
            count_connects=self.state.count_connects + 1,
        )
        log.log(NOTICE, "connected to control plane %s", options.endpoint.authority)
        self._on_announcement(link.is_ours)
        self._perform(connection, session.connected(self._monotonic(), is_ours=link.is_ours))
        connection.reading = asyncio.create_task(self._read(connection), name="sync reader")
        return connection

    async def _read(self, connection: "_Connection") -> None:
        session = connection.session
        try:
            while session.state is State.OPEN:
                messages = await connection.link.receive()
                session.bytes_received(self._monotonic())
                for kind, payload in messages:
                    self._note(last_heard_at=self._wall())
                    self._perform(connection, session.frame_received(kind, payload, self._monotonic()))
                connection.settle_heard(session.has_heard)
        except LinkError as error:
            self._perform(connection, session.end(str(error)))

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for connection in tuple(self._connections):
                self._perform(connection, connection.session.tick(self._monotonic()))

    def _perform(self, connection: "_Connection", outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case SendBinary(data):
                    connection.link.send(FrameKind.BINARY, data)
                case SendPing(payload):
                    connection.link.send(FrameKind.PING, payload)
                case SendPong(payload):
                    connection.link.send(FrameKind.PONG, payload)
                case Apply(frame):
                    task = asyncio.create_task(self._apply(connection, frame), name="apply configuration")
                    self._applying.add(task)
                    task.add_done_callback(self._applying.discard)
                case Renew():
                    self._on_renewal_wanted()
                case Note(text, is_warning):
                    log.log(logging.WARNING if is_warning else logging.INFO, "%s", text)
                case End(reason):
                    self._end(connection, reason)

    async def _apply(self, connection: "_Connection", frame: bytes) -> None:
        outcome = await self._apply_frame(frame)
        now = self._monotonic()
        session = connection.session
        match outcome:
            case str():
                self._perform(connection, session.applied(outcome, now))
                self.hash_changed(outcome)
            case ErrorReport():
                self._perform(connection, session.failed(outcome, now))
            case End(reason):
                self._perform(connection, session.end(reason))
            case None:
                self._perform(connection, session.skipped())

    def _end(self, connection: "_Connection", reason: str) -> None:
        connection.link.close()
        if connection in self._connections:
            self._connections.remove(connection)
        connection.settle_heard(False)
        if not connection.ended.done():
            connection.ended.set_result(reason)
        if not self._connections:
            self._note(is_connected=False, last_error=reason)

    def _note(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)


class _Connection:
    """A link with its session. `ended` gets the reason; `heard` becomes True at the first frame, False when none
    came.
    """

    __slots__ = ("ended", "generation", "heard", "link", "reading", "session")

    def __init__(self, link: Link, session: Session, generation: int) -> None:
        loop = asyncio.get_running_loop()
        self.link = link
        self.session = session
        self.generation = generation
        self.ended: asyncio.Future[str] = loop.create_future()
        self.heard: asyncio.Future[bool] = loop.create_future()
        self.reading: asyncio.Task[None]

    def settle_heard(self, value: bool) -> None:
        """Decide `heard` once."""
        if not self.heard.done():
            self.heard.set_result(value)
