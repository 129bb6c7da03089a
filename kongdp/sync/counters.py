"""Pushes the node's counters to a control plane of ours, and hears which frames are stored.

In: a source of frames (telemetry.samples), and whether the control plane has announced that it takes them.  Out:
frames on wss `/v1/counters`, acknowledgements back to the source.
House rules: nothing is ever sent before the announcement (a Kong control plane would end the sync connection's twin
at the first such frame); what was sent and not acknowledged is the source's to send again. This module keeps no
count.
Cold: lives in the agent. Source: ours (protocol notes 8.3).
"""

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kongdp.sync.handshake import COUNTERS_PATH, NodeName
from kongdp.sync.link import Endpoint, Link, LinkError, open_link
from kongdp.sync.messages import MessageError, decode_ack
from kongdp.sync.session import FrameKind, reconnect_delay_s

log = logging.getLogger("kongdp.counters")

ACK_TIMEOUT_S = 15.0
"""A control plane stores a frame in milliseconds; one that takes longer is reconnected to, which loses nothing."""

ANSWER_BYTES_MAX = 64 * 1024


class Frame(Protocol):
    """One message of counters."""

    @property
    def seq(self) -> int: ...
    def to_json(self) -> bytes: ...


class FrameSource(Protocol):
    """What keeps counters until they are acknowledged (telemetry.samples.Samples)."""

    def next_frame(self) -> Frame | None: ...
    def acknowledge(self, seq: int) -> bool: ...
    def disconnected(self) -> None: ...


@dataclass(frozen=True, slots=True)
class CountersState:
    """What a status page shows."""

    is_connected: bool = False
    count_acknowledged: int = 0
    last_error: str | None = None


class CountersClient:
    """One node's counter push. `run` never returns by itself; cancel it to stop."""

    def __init__(
        self,
        endpoint: Endpoint,
        name: NodeName,
        source: FrameSource,
        *,
        context: Callable[[], ssl.SSLContext],
        ack_timeout_s: float = ACK_TIMEOUT_S,
        delay_s: Callable[[], float] = lambda: reconnect_delay_s(random.random),
    ) -> None:
        self._endpoint = endpoint
        self._name = name
        self._source = source
        self._context = context
        self._ack_timeout_s = ack_timeout_s
        self._delay_s = delay_s
        self._is_welcome = asyncio.Event()
        self._news = asyncio.Event()
        self._is_outdated = asyncio.Event()
        self._link: Link | None = None
        self._in_flight = 0
        self._progress_at = 0.0
        self.state = CountersState()

    def announced(self, is_welcome: bool) -> None:
        """The control plane said in its latest handshake whether it takes counters. False ends the push."""
        if is_welcome:
            self._is_welcome.set()
        else:
            self._is_welcome.clear()
            self.reconnect()

    def poke(self) -> None:
        """The source has something new."""
        self._news.set()

    def reconnect(self) -> None:
        """Drop the connection, for example because the certificate was renewed; the next one opens at once."""
        self._is_outdated.set()
        if self._link is not None:
            self._link.close()

    async def run(self) -> None:
        """Push whatever the source has, as long as it is welcome."""
        while True:
            await self._is_welcome.wait()
            self._is_outdated.clear()
            try:
                await self._push()
                error = None
            except LinkError as caught:
                error = str(caught)
            finally:
                self._link = None
                self._in_flight = 0
                self._source.disconnected()
            self.state = CountersState(False, self.state.count_acknowledged, error)
            if self._is_welcome.is_set() and not self._is_outdated.is_set():
                log.warning("counter push to %s: %s", self._endpoint.authority, error)
                await self._pause()

    async def _pause(self) -> None:
        """Wait before the next connection; a new certificate may be what the last one lacked."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._delay_s()):
                await self._is_outdated.wait()

    async def _push(self) -> None:
        link = await open_link(self._endpoint, COUNTERS_PATH, self._name, self._context(), bytes_max=ANSWER_BYTES_MAX)
        self._link = link
        if self._is_outdated.is_set():  # since the certificate that it was opened with was read
            link.close()
        self.state = CountersState(True, self.state.count_acknowledged)
        log.info("counter push to %s is open", self._endpoint.authority)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._send(link), name="counter frames")
                tasks.create_task(self._receive(link), name="counter answers")
        except* LinkError as group:
            raise LinkError(str(group.exceptions[0])) from None
        finally:
            link.close()

    async def _send(self, link: Link) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._news.clear()
            while (frame := self._source.next_frame()) is not None:
                if not self._in_flight:
                    self._progress_at = loop.time()
                self._in_flight += 1
                link.send(FrameKind.TEXT, frame.to_json())
            try:
                # A moment, not a span: news come each second, and would begin a span again and again.
                async with asyncio.timeout_at(self._progress_at + self._ack_timeout_s if self._in_flight else None):
                    await self._news.wait()
            except TimeoutError:
                raise LinkError(f"no acknowledgement within {self._ack_timeout_s:.0f} s") from None

    async def _receive(self, link: Link) -> None:
        while True:
            for kind, payload in await link.receive():
                match kind:
                    case FrameKind.TEXT | FrameKind.BINARY:
                        self._acknowledged(payload)
                    case FrameKind.PING:
                        link.send(FrameKind.PONG, payload)
                    case FrameKind.CLOSE:
                        raise LinkError(("the control plane closed the connection " + payload.decode()).rstrip())

    def _acknowledged(self, answer: bytes) -> None:
        try:
            seq = decode_ack(answer)
        except MessageError as error:
            raise LinkError(str(error)) from None
        if self._source.acknowledge(seq):
            self._in_flight -= 1
            self._progress_at = asyncio.get_running_loop().time()
            self.state = CountersState(True, self.state.count_acknowledged + 1)
            self._news.set()
