"""The channel: framed messages between the agent (server) and the workers (clients) over one Unix socket.

A frame is a 4-byte big-endian length and that many bytes of JSON (messages.py). The listening socket is made by the
supervisor and survives the agent: while no agent runs, workers' connections wait in its queue and the next agent
finds them there. Whoever reads something malformed, or has to keep more unsent bytes than the bound for a peer that
does not read, closes the connection; a worker then comes back and is brought up to date from its hash, so closing is
always safe.

In: descriptors and callbacks.  Out: callbacks with decoded messages.  Cold; the client side runs in workers, so it
does no disk work and decodes at most one socket read at a time.
Source: ours.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Final, cast

from kongdp.process import messages
from kongdp.process.messages import Message, MessageError

log = logging.getLogger(__name__)

SOCKET_NAME: Final = "agent.sock"
FRAME_BYTES_MAX: Final = 64 * 1024 * 1024  # a slice of 200 rows with large certificates stays far below
WRITE_BYTES_MAX: Final = 128 * 1024 * 1024  # unsent bytes kept for one peer before it is cut off
WRITE_BYTES_HIGH: Final = 1024 * 1024  # above this `drain` waits, so that a full table is sent at the reader's pace
ACCEPT_RETRY_S: Final = 1.0  # what an agent without free descriptors waits; workers wait in the queue
RETRY_DELAYS_S: Final[Sequence[float]] = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)  # then the last one again and again

_LENGTH_BYTES = 4


class FrameReader:
    """Cuts a byte stream into frames; sans-I/O."""

    __slots__ = ("_buffer", "_frame_bytes_max")

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._buffer = bytearray()
        self._frame_bytes_max = frame_bytes_max

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield each frame that `data` completes; raises MessageError for a length above the bound, before buffering
        it.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= _LENGTH_BYTES:
                length = int.from_bytes(buffer[start : start + _LENGTH_BYTES], "big")
                if length > self._frame_bytes_max:
                    raise MessageError(f"channel frame of {length} bytes is above the limit of {self._frame_bytes_max}")
                end = start + _LENGTH_BYTES + length
                if len(buffer) < end:
                    return
                frame = bytes(buffer[start + _LENGTH_BYTES : end])
                start = end
                yield frame
        finally:
            del buffer[:start]


def frame(message: Message, frame_bytes_max: int = FRAME_BYTES_MAX) -> bytes:
    """The bytes of `message` as they go over the socket; raises MessageError above the bound."""
    data = messages.encode(message)
    if len(data) > frame_bytes_max:
        raise MessageError(f"channel message of {len(data)} bytes is above the limit of {frame_bytes_max}")
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


class Peer(asyncio.Protocol):
    """One connection, the same on both sides. `context` is the owner's: the agent keeps there what it knows of the
    worker.
    """

    def __init__(
        self,
        on_open: "Callable[[Peer], None]",
        on_message: "Callable[[Peer, Message], None]",
        on_close: "Callable[[Peer], None]",
        write_bytes_max: int = WRITE_BYTES_MAX,
    ) -> None:
        self.context: object = None
        self._on_open = on_open
        self._on_message = on_message
        self._on_close = on_close
        self._write_bytes_max = write_bytes_max
        self._frames = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Whether messages can still be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, message: Message) -> bool:
        """Queue one message; False when the connection is closed, also because the peer left too much unread just
        now.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        transport.write(frame(message))
        if transport.get_write_buffer_size() > self._write_bytes_max:
            log.warning("channel: a peer left %d bytes unread, closing", transport.get_write_buffer_size())
            transport.abort()
            return False
        return True

    async def drain(self) -> bool:
        """Wait until the peer has read most of what was sent; False when the connection closed."""
        await self._writable.wait()
        return self.is_open

    def pause_reading(self) -> None:
        """Read nothing until resume_reading: backpressure for an owner that is busy with what it got."""
        if self.is_open and self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Undo pause_reading; may be called twice."""
        if self.is_open and self._transport is not None and not self._transport.is_reading():
            self._transport.resume_reading()

    def close(self) -> None:
        """Close after what was sent has left; may be called twice."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # cast, not an assertion: uvloop's transports do not derive from asyncio.Transport
        self._transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=WRITE_BYTES_HIGH)
        self._writable.set()
        self._on_open(self)

    def data_received(self, data: bytes) -> None:
        try:
            for content in self._frames.feed(data):
                message = messages.decode(content)
                if message is not None:
                    self._on_message(self, message)
        except MessageError as error:
            log.warning("channel: %s, closing", error)
            if self._transport is not None:
                self._transport.abort()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._writable.set()
        self._on_close(self)


class ChannelServer:
    """The agent's side: accepts workers on the listening socket that the supervisor made."""

    def __init__(
        self,
        listener_fd: int,
        *,
        on_message: Callable[[Peer, Message], None],
        on_open: Callable[[Peer], None] = lambda peer: None,
        on_close: Callable[[Peer], None] = lambda peer: None,
        write_bytes_max: int = WRITE_BYTES_MAX,
    ) -> None:
        self.peers: set[Peer] = set()
        self._write_bytes_max = write_bytes_max
        self._listener_fd = listener_fd
        self._on_message = on_message
        self._on_open = on_open
        self._on_close = on_close
        self._listener: socket.socket | None = None
        self._later: asyncio.TimerHandle | None = None
        self._opening: set[asyncio.Task[object]] = set()

    def start(self) -> None:
        """Accept from now on; must run inside the loop. The descriptor now belongs to this server."""
        self._listener = socket.socket(fileno=self._listener_fd)
        self._listener.setblocking(False)
        self._listener.set_inheritable(False)
        # Not create_unix_server: from Python 3.13 on it removes the path when it closes, but the path belongs to the
        # supervisor.
        self._accept(self._listener)

    def close(self) -> None:
        """Stop accepting and close every connection; workers come back to the next agent. May be called twice."""
        if self._later is not None:
            self._later.cancel()
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None
        for peer in tuple(self.peers):
            peer.close()

    def _accept(self, listener: socket.socket) -> None:
        asyncio.get_running_loop().add_reader(listener.fileno(), self._on_acceptable)

    def _on_acceptable(self) -> None:
        assert self._listener is not None
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # out of descriptors: the connection waits in the queue for a better moment
                log.error("channel: cannot accept: %s", error)
                loop.remove_reader(self._listener.fileno())  # or it would be called again at once, for ever
                self._later = loop.call_later(ACCEPT_RETRY_S, self._accept, self._listener)
                return
            connection.setblocking(False)
            task: asyncio.Task[object] = loop.create_task(self._open(connection))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._make_peer, connection)
        except OSError as error:
            log.debug("channel: %s", error)
            connection.close()

    def _make_peer(self) -> Peer:
        return Peer(self._opened, self._on_message, self._closed, self._write_bytes_max)

    def _opened(self, peer: Peer) -> None:
        self.peers.add(peer)
        self._on_open(peer)

    def _closed(self, peer: Peer) -> None:
        self.peers.discard(peer)
        self._on_close(peer)


class ChannelClient:
    """A worker's side: keeps one connection to the agent, for ever and with short delays.

    `on_open` is called on every new connection, before any message: send Hello there. Messages sent while there is no
    connection are refused (`send` returns False), because the next Hello tells the agent all it has to know.
    """

    def __init__(
        self,
        run_dir_fd: int,
        *,
        on_message: Callable[[Message], None],
        on_open: Callable[[], None],
        on_close: Callable[[], None] = lambda: None,
        retry_delays_s: Sequence[float] = RETRY_DELAYS_S,
    ) -> None:
        # /proc/self/fd keeps the path short whatever the prefix is: a Unix socket's path has at most 107 bytes.
        self._path = f"/proc/self/fd/{run_dir_fd}/{SOCKET_NAME}"
        self._on_message = on_message
        self._on_open = on_open
        self._on_close = on_close
        self._retry_delays_s = retry_delays_s
        self._peer: Peer | None = None
        self._closed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect now and whenever the connection is lost; must run inside the loop."""
        self._task = asyncio.get_running_loop().create_task(self._keep_connected(), name="channel")

    @property
    def is_open(self) -> bool:
        """Whether an agent can be told something now."""
        return self._peer is not None and self._peer.is_open

    def send(self, message: Message) -> bool:
        """Queue one message; False when there is no connection."""
        return self._peer is not None and self._peer.send(message)

    def pause_reading(self) -> None:
        """Take no further messages until resume_reading."""
        if self._peer is not None:
            self._peer.pause_reading()

    def resume_reading(self) -> None:
        """Undo pause_reading."""
        if self._peer is not None:
            self._peer.resume_reading()

    async def close(self) -> None:
        """Hang up and stop reconnecting."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._peer is not None:
            self._peer.close()

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            self._closed.clear()
            try:
                await loop.create_unix_connection(self._make_peer, self._path)
            except OSError as error:
                log.debug("channel: %s", error)
            else:
                attempt = 0
                await self._closed.wait()
            await asyncio.sleep(self._retry_delays_s[min(attempt, len(self._retry_delays_s) - 1)])
            attempt += 1

    def _make_peer(self) -> Peer:
        return Peer(self._opened, lambda peer, message: self._on_message(message), self._lost)

    def _opened(self, peer: Peer) -> None:
        self._peer = peer
        self._on_open()

    def _lost(self, peer: Peer) -> None:
        self._peer = None
        self._closed.set()
        self._on_close()
