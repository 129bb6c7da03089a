"""Framing: what we send is masked and whole, what comes may be cut anywhere, and everything is bounded."""

import struct

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason

from kongdp.sync.frames import FrameError, Frames
from kongdp.sync.session import FrameKind

LIMIT = 200_000


def server() -> Connection:
    return Connection(ConnectionType.SERVER)


def test_ping_is_kongs_bytes_when_sent() -> None:
    """2.2: `89 A0`, four bytes of mask, 32 masked bytes."""
    data = Frames(LIMIT).ping(b"0" * 32)
    assert data[:2] == b"\x89\xa0"
    assert bytes(byte ^ data[2 + place % 4] for place, byte in enumerate(data[6:])) == b"0" * 32


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 150_000])
def test_message_is_one_masked_frame_when_sent(size: int) -> None:
    """1.5: one message, one frame, final and masked, whatever the size."""
    data = Frames(LIMIT).binary(bytes(size))
    assert data[0] == 0x82
    assert data[1] & 0x80
    header = 2 + (0 if size < 126 else 2 if size < 65536 else 8)
    assert len(data) == header + 4 + size


def test_close_is_empty_when_sent() -> None:
    """1.5: Kong's close frame carries no code; a second one is not sent."""
    frames = Frames(LIMIT)
    assert frames.close()[:2] == b"\x88\x80"
    assert frames.close() == b""


def test_nothing_is_sent_when_the_peer_has_closed() -> None:
    """A close frame may come with the message that is being answered: the answer is dropped, and no error."""
    peer, frames = server(), Frames(LIMIT)
    assert [kind for kind, _ in frames.receive(peer.send(Ping(b"p")) + peer.send(CloseConnection(1000)))] == [
        FrameKind.PING,
        FrameKind.CLOSE,
    ]
    assert frames.pong(b"p") == frames.ping(b"0" * 32) == frames.binary(b"x") == frames.text(b"{}") == b""
    assert frames.close()[:1] == b"\x88"


MESSAGES = [
    (BytesMessage(b"x" * 70_000), (FrameKind.BINARY, b"x" * 70_000)),
    (TextMessage("{}"), (FrameKind.TEXT, b"{}")),
    (Ping(b"p"), (FrameKind.PING, b"p")),
    (Pong(b""), (FrameKind.PONG, b"")),
]


@pytest.mark.parametrize("step", [1, 7, 10**6])
def test_messages_are_whole_when_bytes_come_in_any_pieces(step: int) -> None:
    """Byte by byte, in small pieces, all at once: the same messages."""
    peer, frames = server(), Frames(LIMIT)
    data = b"".join(peer.send(event) for event, _ in MESSAGES)
    seen = [message for place in range(0, len(data), step) for message in frames.receive(data[place : place + step])]
    assert seen == [message for _, message in MESSAGES]


def test_fragments_are_joined_when_a_proxy_cut_them() -> None:
    """Kong's library cannot; a gateway behind somebody's proxy has to."""
    peer = server()
    data = peer.send(BytesMessage(b"a", message_finished=False)) + peer.send(BytesMessage(b"b"))
    assert Frames(LIMIT).receive(data) == [(FrameKind.BINARY, b"ab")]


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (CloseConnection(CloseReason.NO_STATUS_RCVD), b""),
        (CloseConnection(1001, "going away"), b"code 1001 going away"),
    ],
)
def test_close_tells_what_was_said_when_it_comes(event: CloseConnection, said: bytes) -> None:
    """With or without code."""
    assert Frames(LIMIT).receive(server().send(event)) == [(FrameKind.CLOSE, said)]


def test_large_frame_is_accepted_when_below_the_limit() -> None:
    """10.5 MiB: more than some libraries' default, less than Kong's 16 MiB."""
    frames = Frames(16 * 1024 * 1024)
    size = 10 * 1024 * 1024 + 512 * 1024
    data = server().send(BytesMessage(bytes(size)))
    seen = [
        message for place in range(0, len(data), 262144) for message in frames.receive(data[place : place + 262144])
    ]
    assert [len(payload) for _, payload in seen] == [size]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (server().send(BytesMessage(bytes(LIMIT + 1))), "exceeding max payload len"),
        (b"\xc2\x01x", "broke the WebSocket protocol"),
        (b"\x82\x81\0\0\0\0x", "broke the WebSocket protocol"),
        (b"\x83\x01x", "broke the WebSocket protocol"),
        (b"\x82\xff" + struct.pack("!Q", 2**63), "broke the WebSocket protocol"),
    ],
)
def test_connection_is_useless_when_framing_is_broken(data: bytes, text: str) -> None:
    """Too large, RSV bits, masked by a server, unknown opcode, impossible length."""
    with pytest.raises(FrameError, match=text):
        Frames(LIMIT).receive(data)
