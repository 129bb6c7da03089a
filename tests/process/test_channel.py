"""The channel: frames, and real Unix sockets between a server and clients, on both event loops."""

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from kongdp.process import channel
from kongdp.process.channel import SOCKET_NAME, ChannelClient, ChannelServer, FrameReader, Peer, frame
from kongdp.process.messages import Applied, Begin, Commit, Hello, Message, MessageError, Slice

EMPTY = "0" * 32
LIMIT_S = 60.0


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Runs a coroutine to its end on one of the two loops."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def runner(story: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as loop_runner:
            loop_runner.run(asyncio.wait_for(story, LIMIT_S))

    return runner


class Place:
    """A run directory with the listening socket that the supervisor would keep."""

    def __init__(self, directory: Path) -> None:
        self.run_dir_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(f"/proc/self/fd/{self.run_dir_fd}/{SOCKET_NAME}")
        self.listener.listen(16)

    def fd(self) -> int:
        """The descriptor as an agent inherits it."""
        return os.dup(self.listener.fileno())

    def close(self) -> None:
        self.listener.close()
        os.close(self.run_dir_fd)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


# -- frames


@given(st.lists(st.binary(max_size=200)), st.integers(1, 50))
def test_frames_come_out_whole_however_they_arrive(contents: list[bytes], step: int) -> None:
    """A stream cut anywhere gives the same frames."""
    stream = b"".join(len(content).to_bytes(4, "big") + content for content in contents)
    reader = FrameReader()
    found = [each for start in range(0, len(stream), step) for each in reader.feed(stream[start : start + step])]
    assert found == contents


def test_a_frame_above_the_bound_is_refused_before_it_is_buffered() -> None:
    """The length alone is enough."""
    reader = FrameReader(10)
    assert list(reader.feed(b"\0\0\0\x0a0123456789")) == [b"0123456789"]
    with pytest.raises(MessageError, match="frame of 11 bytes"):
        list(reader.feed(b"\0\0\0\x0b"))
    with pytest.raises(MessageError, match="above the limit of 5"):
        frame(Commit(EMPTY), 5)


# -- both sides


class Worker:
    """A client that says hello and keeps what it hears."""

    def __init__(self, place: Place, index: int = 0) -> None:
        self.heard: asyncio.Queue[Message] = asyncio.Queue()
        self.opened = 0
        self.client = ChannelClient(
            place.run_dir_fd, on_message=self.heard.put_nowait, on_open=self.on_open, retry_delays_s=(0.001,)
        )
        self.index = index

    def on_open(self) -> None:
        self.opened += 1
        assert self.client.send(Hello(self.index, 1, 1, EMPTY))


class Agent:
    """A server that keeps what it hears, with who said it."""

    def __init__(self, place: Place) -> None:
        self.heard: asyncio.Queue[tuple[Peer, Message]] = asyncio.Queue()
        self.closed: asyncio.Queue[Peer] = asyncio.Queue()
        self.server = ChannelServer(
            place.fd(),
            on_message=lambda peer, message: self.heard.put_nowait((peer, message)),
            on_close=self.closed.put_nowait,
        )
        self.server.start()


def test_messages_travel_both_ways(place: Place, run: Callable[..., None]) -> None:
    """Hello, a table, applied."""

    async def story() -> None:
        agent, worker = Agent(place), Worker(place)
        worker.client.start()
        peer, hello = await agent.heard.get()
        assert hello == Hello(0, 1, 1, EMPTY)
        sent = [Begin("a" * 32, None, 1), Slice((("routes", "x", {"paths": ["/"]}),)), Commit("a" * 32)]
        for message in sent:
            assert peer.send(message)
        assert await peer.drain()
        assert [await worker.heard.get() for _ in sent] == sent
        worker.client.send(Applied("a" * 32, 0.5))
        assert (await agent.heard.get())[1] == Applied("a" * 32, 0.5)
        await worker.client.close()
        assert await agent.closed.get() is peer
        assert not peer.send(Commit(EMPTY))
        assert not worker.client.send(Commit(EMPTY))
        agent.server.close()

    run(story())


def test_workers_come_back_to_the_next_agent(place: Place, run: Callable[..., None]) -> None:
    """The listening socket survives the agent: connections made meanwhile wait in its queue."""

    async def story() -> None:
        worker = Worker(place)
        worker.client.start()
        for generation in (1, 2):
            agent = Agent(place)
            _peer, hello = await agent.heard.get()
            assert hello == Hello(0, 1, 1, EMPTY)
            assert worker.opened >= generation
            agent.server.close()
            await agent.closed.get()
        await worker.client.close()

    run(story())


def test_a_client_waits_for_a_socket_that_is_not_there_yet(
    tmp_path: Path, run: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """No agent socket is not an error, only a reason to try again."""

    async def story() -> None:
        run_dir_fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
        opened = asyncio.Event()
        client = ChannelClient(run_dir_fd, on_message=lambda _: None, on_open=opened.set, retry_delays_s=(0.001,))
        client.start()
        with caplog.at_level("DEBUG"):
            while not caplog.records:
                await asyncio.sleep(0)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"/proc/self/fd/{run_dir_fd}/{SOCKET_NAME}")
        listener.listen()
        await opened.wait()
        await client.close()
        listener.close()
        os.close(run_dir_fd)

    run(story())


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\0\0\0\x02{]"])
def test_a_peer_that_talks_nonsense_is_cut_off(place: Place, run: Callable[..., None], data: bytes) -> None:
    """A length above the bound, or no JSON."""

    async def story() -> None:
        agent = Agent(place)
        reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{place.run_dir_fd}/{SOCKET_NAME}")
        writer.write(data)
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            pass
        await agent.closed.get()
        writer.close()
        agent.server.close()

    run(story())


def test_the_agent_takes_a_pause_when_it_has_no_descriptor_left(
    place: Place, run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection waits in the queue, and the loop does not spin over it."""
    asked: list[socket.socket] = []

    def accept(listener: socket.socket) -> None:
        asked.append(listener)
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(channel, "ACCEPT_RETRY_S", 3600.0)

    async def story() -> None:
        server = ChannelServer(place.fd(), on_message=lambda *_: None)
        with monkeypatch.context() as patch, socket.socket(socket.AF_UNIX) as worker:
            patch.setattr(socket.socket, "accept", accept)
            server.start()
            worker.connect(f"/proc/self/fd/{place.run_dir_fd}/{SOCKET_NAME}")
            for _ in range(100):
                await asyncio.sleep(0)
        server.close()
        assert len(asked) == 1

    run(story())


def test_a_peer_that_does_not_read_is_cut_off_at_the_bound(place: Place, run: Callable[..., None]) -> None:
    """Unsent bytes are bounded; the worker comes back and is brought up to date from its hash."""

    async def story() -> None:
        peers: asyncio.Queue[Peer] = asyncio.Queue()
        server = ChannelServer(
            place.fd(), on_message=lambda *_: None, on_open=peers.put_nowait, write_bytes_max=1_000_000
        )
        server.start()
        _reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{place.run_dir_fd}/{SOCKET_NAME}")
        writer.transport.pause_reading()
        peer = await peers.get()
        large = Slice((("routes", "x", {"name": "n" * 100_000}),))
        sent = 0
        while peer.send(large):
            sent += 1
            assert sent < 1000
        assert not peer.is_open
        assert not await peer.drain()
        writer.close()
        server.close()

    run(story())


def test_backpressure_holds_the_sender_until_the_reader_goes_on(place: Place, run: Callable[..., None]) -> None:
    """drain waits while a paused reader's share is unsent, and everything arrives in the end."""

    async def story() -> None:
        agent, worker = Agent(place), Worker(place)
        worker.client.start()
        peer, _hello = await agent.heard.get()
        worker.client.pause_reading()
        worker.client.pause_reading()
        count = 60
        for number in range(count):
            assert peer.send(Slice((("routes", str(number), {"name": "n" * 100_000}),)))
        waiting = asyncio.ensure_future(peer.drain())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        worker.client.resume_reading()
        assert await waiting
        ids = []
        while len(ids) < count:
            message = await worker.heard.get()
            assert isinstance(message, Slice)
            ids.append(message.changes[0][1])
        assert ids == [str(number) for number in range(count)]
        await worker.client.close()
        agent.server.close()

    run(story())
