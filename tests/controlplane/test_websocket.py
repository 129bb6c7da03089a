"""The server's side of one WebSocket over a transport that the test holds back."""

import asyncio
from collections.abc import Callable

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong

from kongdp.controlplane.cluster.websocket import PIECE_BYTES, WAITING_MAX, WebSocket


class Transport(asyncio.Transport):
    """Keeps what is written; `room` says how many more writes it takes before it asks to pause."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.room = 1 << 30
        self.pause: Callable[[], None] = lambda: None
        self.is_closed = self.is_aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data
        self.room -= 1
        if self.room == 0:
            self.pause()

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_aborted = True

    def is_closing(self) -> bool:
        return self.is_closed or self.is_aborted


class Session:
    """Remembers what it was handed."""

    message_bytes_max = 1000

    def __init__(self) -> None:
        self.got: list[object] = []

    def opened(self, link: object) -> None: ...

    def binary_received(self, data: bytes) -> None:
        self.got.append(data)

    def text_received(self, data: bytes) -> None:
        self.got.append(data.decode())

    def ping_received(self, payload: bytes) -> None:
        self.got.append(("ping", payload))

    def pong_received(self) -> None:
        self.got.append("pong")

    def sent(self) -> None:
        self.got.append("sent")

    def tick(self, now: float) -> None: ...

    def closed(self, reason: str) -> None: ...


class Peer:
    """Both ends."""

    def __init__(self) -> None:
        self.transport, self.session = Transport(), Session()
        self.socket = WebSocket(self.transport, self.session, "peer")
        self.transport.pause = self.socket.writing_paused
        self.client = Connection(ConnectionType.CLIENT)

    def receive(self) -> list[object]:
        """What the client makes of the bytes written so far."""
        self.client.receive_data(bytes(self.transport.written))
        self.transport.written.clear()
        return list(self.client.events())


def in_loop(check: Callable[[Peer], None]) -> None:
    async def main() -> None:
        check(Peer())

    asyncio.run(main())


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
def test_a_message_is_one_frame_whatever_its_size(size: int) -> None:
    """No fragment, ever: Kong's library knows none."""

    def check(peer: Peer) -> None:
        payload = bytes(size)
        peer.socket.send_binary(payload)
        events = peer.receive()
        assert all(isinstance(event, BytesMessage) for event in events)
        assert b"".join(event.data for event in events) == payload  # type: ignore[attr-defined]
        assert sum(event.frame_finished for event in events) == 1  # type: ignore[attr-defined]

    in_loop(check)


def test_a_large_frame_waits_for_the_network_and_small_ones_wait_behind_it() -> None:
    """Nothing is copied into the transport beyond what it takes; then everything follows in order."""

    def check(peer: Peer) -> None:
        payload = bytes(5 * PIECE_BYTES)
        peer.transport.room = 3
        peer.socket.send_binary(payload)
        peer.socket.send_pong(b"")
        assert len(peer.transport.written) < 3 * PIECE_BYTES
        assert peer.socket.is_sending
        for _ in range(3):
            peer.transport.room = 2
            peer.socket.writing_resumed()
        *parts, pong = peer.receive()
        assert b"".join(part.data for part in parts) == payload  # type: ignore[attr-defined]
        assert isinstance(pong, Pong)
        peer.transport.room = 1 << 30
        peer.socket.writing_resumed()
        assert peer.session.got[-1] == "sent"

    in_loop(check)


def test_a_peer_that_floods_while_it_takes_nothing_is_dropped() -> None:
    """Answers that wait are bounded."""

    def check(peer: Peer) -> None:
        peer.transport.room = 1
        peer.socket.send_binary(bytes(2 * PIECE_BYTES))
        for _ in range(WAITING_MAX + 1):
            peer.socket.send_pong(b"")
        assert peer.transport.is_aborted

    in_loop(check)


def test_a_message_in_parts_is_put_together_and_bounded() -> None:
    """Other clients may fragment; more than the bound closes with a reason."""

    def check(peer: Peer) -> None:
        peer.socket.feed(peer.client.send(BytesMessage(data=b"ab", message_finished=False)))
        peer.socket.feed(peer.client.send(Ping(payload=b"p")))
        peer.socket.feed(peer.client.send(BytesMessage(data=b"cd")))
        assert peer.session.got == [("ping", b"p"), b"abcd"]
        peer.socket.feed(peer.client.send(BytesMessage(data=bytes(1001))))
        (end,) = peer.receive()
        assert isinstance(end, CloseConnection)
        assert end.reason == "message larger than 1000 bytes"
        assert peer.transport.is_closed
        peer.socket.feed(b"\x89\x80\0\0\0\0")
        assert peer.session.got == [("ping", b"p"), b"abcd"]

    in_loop(check)


@pytest.mark.parametrize("code", [None, 1000])
def test_a_close_frame_is_answered_and_the_connection_closed(code: int | None) -> None:
    """Also one without a code, as Kong sends it."""

    def check(peer: Peer) -> None:
        payload = b"" if code is None else code.to_bytes(2, "big")
        peer.socket.feed(bytes((0x88, 0x80 | len(payload), 0, 0, 0, 0)) + payload)
        assert bytes(peer.transport.written) == b"\x88\x00"
        assert peer.transport.is_closed

    in_loop(check)


def test_a_reason_longer_than_a_control_frame_is_cut_between_characters() -> None:
    """125 bytes with the code, and still UTF-8."""

    def check(peer: Peer) -> None:
        peer.socket.close("é" * 200)
        (end,) = peer.receive()
        assert isinstance(end, CloseConnection)
        assert end.reason == "é" * 61

    in_loop(check)


def test_a_peer_that_takes_nothing_is_stalled_after_its_time() -> None:
    """Progress starts the time anew; an idle connection never stalls."""

    def check(peer: Peer) -> None:
        assert not peer.socket.is_stalled(10_000.0, 45.0)
        peer.transport.room = 1
        peer.socket.send_binary(bytes(2 * PIECE_BYTES))
        at = asyncio.get_running_loop().time()
        peer.socket.progress_at = at
        assert not peer.socket.is_stalled(at + 44, 45.0)
        assert peer.socket.is_stalled(at + 46, 45.0)

    in_loop(check)
