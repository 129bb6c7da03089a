"""Load whose every answer is counted by what was asked for and what came: for tests that hold counters against clients.

Raw asyncio protocols: one request at a time on each connection, no parsing beyond status and length, so that 20,000
requests cost a few seconds. `Scene` runs upstream, load and proxies on a loop in a thread of its own.
"""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar, cast

import uvloop

T = TypeVar("T")


class StatusUpstream(asyncio.Protocol):
    """Answers GET .../NNN with that status; .../close ends the connection without an answer."""

    def __init__(self, living: "set[StatusUpstream]") -> None:
        self.living = living

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._buffer = b""
        self.living.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.living.discard(self)

    def abort(self) -> None:
        """End the connection."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            wanted = self._buffer.split(b" ", 2)[1].rpartition(b"/")[2]
            self._buffer = self._buffer[end + 4 :]
            if wanted == b"close":
                self._transport.close()
                return
            body = b"" if wanted == b"204" else b"Content-Length: 5\r\n\r\nhello"
            self._transport.write(b"HTTP/1.1 " + wanted + b" Told\r\n" + (body or b"\r\n"))


class Tally:
    """What clients saw. `answers`: (name, status) -> count. `silent`: name -> requests without an answer."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self.silent: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """All requests that were sent."""
        return self.answers.total() + self.silent.total()


class _Client(asyncio.Protocol):
    """One connection: sends, waits for the whole answer, pauses, sends again. A new one takes its place when it ends."""

    def __init__(self, load: "CountedLoad") -> None:
        self._load = load
        self._asked: str | None = None
        self._buffer = b""
        self._left = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._load.clients.add(self)
        self.ask()

    def abort(self) -> None:
        """End the connection."""
        self._transport.abort()

    def ask(self) -> None:
        """The next request, if there is one and the connection still lives."""
        load = self._load
        if self._transport.is_closing():
            return
        if load.left == 0:
            self._transport.close()
            return
        load.left -= 1
        name, path = load.choose()
        self._asked = name
        self._transport.write(b"GET " + path + b" HTTP/1.1\r\nHost: counted\r\nAccept: application/json\r\n\r\n")
        if load.is_impatient():
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._left < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._buffer[:end].lower()
            at = head.find(b"content-length: ")
            length = int(head[at + 16 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            self._left = end + 4 + length
        if len(self._buffer) >= self._left:
            self._answered()

    def _answered(self) -> None:
        assert self._asked is not None
        status = int(self._buffer[9:12])
        is_last = b"\r\nconnection: close" in self._buffer[: self._buffer.find(b"\r\n\r\n")].lower()
        self._load.tally.answers[self._asked, status] += 1
        self._asked, self._buffer, self._left = None, b"", -1
        if is_last:
            self._transport.close()
        else:
            asyncio.get_running_loop().call_later(self._load.pause_s, self.ask)

    def connection_lost(self, error: Exception | None) -> None:
        self._load.clients.discard(self)
        if self._asked is not None:
            self._load.tally.silent[self._asked] += 1
        self._load.ended()


class CountedLoad:
    """`count` requests on `connections` connections, each drawn from `choices` (name, path)."""

    def __init__(
        self,
        port: int,
        choices: Sequence[tuple[str, str]],
        count: int,
        *,
        connections: int,
        pause_s: float,
        impatience: float = 0.0,
        seed: int = 0,
    ) -> None:
        """`impatience`: share of requests whose client leaves at once."""
        self._port = port
        self._choices = [(name, path.encode()) for name, path in choices]
        self._connections = connections
        self._impatience = impatience
        self._random = random.Random(seed)
        self._open = 0
        self._done = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.clients: set[_Client] = set()
        self.left = count
        self.pause_s = pause_s
        self.tally = Tally()

    def choose(self) -> tuple[str, bytes]:
        """What to ask next."""
        return self._random.choice(self._choices)

    def is_impatient(self) -> bool:
        """Whether the client that has just asked leaves."""
        return self._random.random() < self._impatience

    async def run(self) -> Tally:
        """Everything, to the end."""
        for _ in range(self._connections):
            self._open += 1
            self._begin()
        try:
            await self._done.wait()
        finally:
            for client in list(self.clients):
                client.abort()
        return self.tally

    def ended(self) -> None:
        """A connection is gone: another one, while there is something to ask."""
        if self.left > 0:
            self._begin()
            return
        self._open -= 1
        if self._open == 0:
            self._done.set()

    def _begin(self) -> None:
        task = asyncio.get_running_loop().create_task(self._connect())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(partial(_Client, self), "127.0.0.1", self._port)
        except OSError:
            await asyncio.sleep(0.02)
            self.ended()


class Scene:
    """A loop in a thread, for what the processes under test talk to."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servers: list[asyncio.Server] = []
        self._living: set[StatusUpstream] = set()

    def __enter__(self) -> "Scene":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self._finish)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def call(self, function: Callable[[], Awaitable[T]], timeout_s: float = 300) -> T:
        """Run a coroutine function on the loop and wait for its answer."""
        return self.start(function).result(timeout_s)

    def start(self, function: Callable[[], Awaitable[T]]) -> "asyncio.Future[T]":  # type: ignore[type-arg, unused-ignore]
        """The same without waiting: a concurrent future."""

        async def run() -> T:
            return await function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop)  # type: ignore[return-value]

    def upstream(self) -> int:
        """Serve a StatusUpstream; its port."""

        async def serve() -> int:
            server = await self._loop.create_server(partial(StatusUpstream, self._living), "127.0.0.1", 0)
            self._servers.append(server)
            return int(server.sockets[0].getsockname()[1])

        return self.call(serve)

    async def _finish(self) -> None:
        for server in self._servers:
            server.close()
        for connection in list(self._living):
            connection.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0.05)  # transports close in later turns of the loop
