"""Load on an HTTP/1.1 server: closed loops, or requests that are due at fixed moments (an open loop).

In: a Plan.  Out: a Tally: latencies, statuses, errors.
The open loop avoids coordinated omission: request k is due at start + k / rate whatever the server does, its latency runs
from that moment, and when no connection is free it waits in line (a number, no queue). `service` is measured from the
moment of sending: the difference of the two is the waiting.
House rules: one process, one loop, no task per request; memory does not grow with requests.
"""

import asyncio
import contextlib
import ctypes
import os
import ssl
import struct
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import httptools

from bench.histogram import Histogram

SWEEP_S = 1.0
TICK_MIN_S = 0.0001  # of the open loop's timer: closer moments are served together
IDLE_MAX_S = 3.0  # of a connection of the open loop: servers close idle ones too, and a request may cross with that
GRACE_S = 2.0  # how long answers are waited for after the end


@dataclass(frozen=True)
class Plan:
    """What is sent where. `rate` 0 is the closed loop."""

    host: str
    port: int
    request: bytes
    method: str = "GET"
    connections: int = 10
    rate: float = 0.0
    seconds: float = 10.0
    timeout_s: float = 10.0
    tls: ssl.SSLContext | None = None
    server_name: str | None = None


@dataclass
class Second:
    """One second of the run, for the plot."""

    at: float
    requests: int
    p50_us: float
    p99_us: float
    max_us: float


@dataclass
class Tally:
    """What was seen. `unsent` were due within the time and never had a connection to go out on."""

    latency: Histogram = field(default_factory=Histogram)
    service: Histogram = field(default_factory=Histogram)
    statuses: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    seconds: list[Second] = field(default_factory=list)
    bytes: int = 0
    elapsed_s: float = 0.0
    unsent: int = 0


class Connection(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self, driver: "Driver") -> None:
        self._driver = driver
        self._is_head = driver.plan.method == "HEAD"
        self._bytes = 0
        self.due = 0.0
        self.sent = 0.0  # 0: idle
        self.idle_since = 0.0
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._parser = httptools.HttpResponseParser(self)
        self.is_open = True

    def ask(self, due: float) -> None:
        """Send the request that was due at that moment."""
        self.due = due
        self.sent = time.perf_counter()
        self._bytes = 0
        self._driver.sending()
        self._transport.write(self._driver.plan.request)

    def data_received(self, data: bytes) -> None:
        self._bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._driver.failed(self, "malformed answer")
            self.abort()

    def on_headers_complete(self) -> None:
        if self._is_head and self._parser.get_status_code() >= 200:
            self._answered()
            self._parser = httptools.HttpResponseParser(self)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() >= 200 and not self._is_head:
            self._answered()

    def _answered(self) -> None:
        if not self.sent:
            return
        keeps = self._parser.should_keep_alive()
        if not keeps:
            self.is_open = False
            self._transport.close()
        self._driver.answered(self, self._parser.get_status_code(), self._bytes)

    def abort(self) -> None:
        """Close at once."""
        self.is_open = False
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self.sent:
            self._driver.failed(self, "closed before the answer")


class Driver:
    """What closed and open loop have in common: connections, the tally, the sweep."""

    def __init__(self, plan: Plan, progress: Callable[[Second], None] | None = None) -> None:
        self.plan = plan
        self.tally = Tally()
        self._progress = progress
        self._window = Histogram()
        self._open: set[Connection] = set()
        self._dialing: set[asyncio.Task[None]] = set()
        self._flying = 0  # requests without an answer yet
        self._landed: asyncio.Event | None = None
        self._until = 0.0

    async def run(self) -> Tally:
        """Load until the time is over and the last answers are in."""
        self._loop = asyncio.get_running_loop()
        self._began = time.perf_counter()
        self._until = self._began + self.plan.seconds
        self.begin()
        while (left := self._until - time.perf_counter()) > SWEEP_S / 10:
            await asyncio.sleep(min(SWEEP_S, left))
            self._sweep()
        await asyncio.sleep(max(0.0, left))
        self.end()
        if self._flying:
            self._landed = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._landed.wait(), GRACE_S)
        self.tally.elapsed_s = time.perf_counter() - self._began
        await self._close()
        return self.tally

    async def _close(self) -> None:
        for one in list(self._open):
            if one.sent:
                self.failed(one, "no answer at the end")
            one.abort()
        for task in self._dialing:
            task.cancel()
        await asyncio.gather(*self._dialing, return_exceptions=True)

    def begin(self) -> None:
        """Start sending."""
        raise NotImplementedError

    def end(self) -> None:
        """Stop sending."""

    def ready(self, connection: Connection) -> None:
        """The connection is free."""
        raise NotImplementedError

    def dial(self) -> None:
        """Open one more connection."""
        task = self._loop.create_task(self._dial())
        self._dialing.add(task)
        task.add_done_callback(self._dialing.discard)

    async def _dial(self) -> None:
        plan = self.plan
        try:
            async with asyncio.timeout(plan.timeout_s):
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self), plan.host, plan.port, ssl=plan.tls, server_hostname=plan.server_name
                )
        except (OSError, TimeoutError):
            self.tally.errors["connect"] += 1
            await asyncio.sleep(0.05)  # a server that refuses is not asked ten thousand times a second
            if time.perf_counter() < self._until:
                self.dial()
            return
        self._open.add(connection)
        self.ready(connection)

    def sending(self) -> None:
        """One more request is on its way."""
        self._flying += 1

    def _landed_one(self, connection: Connection) -> None:
        connection.sent = 0.0
        self._flying -= 1
        if not self._flying and self._landed is not None:
            self._landed.set()

    def answered(self, connection: Connection, status: int, size: int) -> None:
        """Count the answer, and use the connection again or replace it."""
        now = time.perf_counter()
        tally = self.tally
        latency = (now - connection.due) * 1e6
        tally.latency.record(latency)
        self._window.record(latency)
        tally.service.record((now - connection.sent) * 1e6)
        tally.statuses[status] += 1
        tally.bytes += size
        self._landed_one(connection)
        if connection.is_open:
            self.ready(connection)
        else:
            self.lost(connection)

    def failed(self, connection: Connection, why: str) -> None:
        """Count the failure and replace the connection."""
        self.tally.errors[why] += 1
        self._landed_one(connection)
        self.lost(connection)

    def lost(self, connection: Connection) -> None:
        """Another one for a connection that is gone."""
        self._open.discard(connection)
        if time.perf_counter() < self._until:
            self.dial()

    def _sweep(self) -> None:
        """Once a second: late answers, and the second's figures."""
        now, window = time.perf_counter(), self._window
        late = [one for one in self._open if one.sent and now - one.sent > self.plan.timeout_s]
        for one in late:
            self.failed(one, "timeout")
            one.abort()
        row = Second(now - self._began, window.count, window.percentile(0.5), window.percentile(0.99), window.highest)
        self.tally.seconds.append(row)
        self._window = Histogram()
        if self._progress is not None:
            self._progress(row)


class ClosedLoop(Driver):
    """Each connection asks again as soon as it was answered."""

    def begin(self) -> None:
        for _ in range(self.plan.connections):
            self.dial()

    def ready(self, connection: Connection) -> None:
        if (now := time.perf_counter()) < self._until:
            connection.ask(now)


class OpenLoop(Driver):
    """Requests are due at fixed moments; connections are opened as they are needed, up to the plan's number."""

    def begin(self) -> None:
        self._next = 0  # number of the next request to send
        self._idle: deque[Connection] = deque()  # the longest idle at the left
        self._timer = Ticker(self._loop, max(1 / self.plan.rate, TICK_MIN_S), self._tick)
        for _ in range(min(self.plan.connections, 1 + int(self.plan.rate / 200))):
            self.dial()

    def _due(self, number: int) -> float:
        return self._began + number / self.plan.rate

    def _tick(self) -> None:
        now = time.perf_counter()
        while self._idle and self._due(self._next) <= now:
            connection = self._idle.pop()
            if connection.is_open:
                self._send(connection)
            else:
                self.lost(connection)
        is_short = self._due(self._next) <= now and not self._dialing
        if is_short and len(self._open) < self.plan.connections:
            self.dial()

    def _send(self, connection: Connection) -> None:
        due = self._due(self._next)
        self._next += 1
        connection.ask(due)

    def ready(self, connection: Connection) -> None:
        if self._due(self._next) <= time.perf_counter() < self._until:
            self._send(connection)
        else:
            connection.idle_since = time.perf_counter()
            self._idle.append(connection)

    def _sweep(self) -> None:
        """As any loop's; and connections that nobody needed for a while are closed before the server does."""
        super()._sweep()
        oldest = time.perf_counter() - IDLE_MAX_S
        while self._idle and (self._idle[0].idle_since < oldest or not self._idle[0].is_open):
            connection = self._idle.popleft()
            self._open.discard(connection)
            connection.abort()

    def end(self) -> None:
        self._timer.stop()
        self.tally.unsent = max(0, int(self.plan.seconds * self.plan.rate) - self._next)


class Ticker:
    """Calls back at an interval, by a timerfd: the loop's own timers wake only at whole milliseconds."""

    _MONOTONIC, _NONBLOCK_CLOEXEC = 1, 0o2004000

    def __init__(self, loop: asyncio.AbstractEventLoop, interval_s: float, call: Callable[[], None]) -> None:
        self._loop = loop
        self._call = call
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.timerfd_create(self._MONOTONIC, self._NONBLOCK_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        each = divmod(round(interval_s * 1e9), 1_000_000_000)
        libc.timerfd_settime(self._fd, 0, struct.pack("qqqq", *each, *each), None)
        loop.add_reader(self._fd, self._fired)

    def _fired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return
        self._call()

    def stop(self) -> None:
        """No more calls."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)


def driver_of(plan: Plan, progress: Callable[[Second], None] | None = None) -> Driver:
    """The loop that the plan asks for."""
    return OpenLoop(plan, progress) if plan.rate else ClosedLoop(plan, progress)
