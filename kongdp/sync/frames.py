"""WebSocket frames of a client, without I/O: bytes in, complete messages out, and the reverse.

House rules: what is sent is masked and never fragmented (a Kong control plane understands nothing else); what is
received may be fragmented, because a proxy in between may do that, but a message has a bound. Pings and pongs come
out with their payload.
Cold. wsproto cuts and masks. Source: RFC 6455 section 5; protocol notes 1.5.
"""

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason

from kongdp.errors import KongdpError, Source
from kongdp.sync.session import FrameKind

Message = tuple[FrameKind, bytes]
"""A complete message. For CLOSE the payload is what the peer said, as text."""


class FrameError(KongdpError):
    """The peer broke the framing or exceeded the largest message: the connection is of no further use."""

    source = Source.UPSTREAM


class Frames:
    """The framing of one connection after its upgrade."""

    __slots__ = ("_bytes_max", "_connection", "_is_text", "_pieces", "_size")

    def __init__(self, bytes_max: int) -> None:
        """`bytes_max`: largest message to accept, `cluster_max_payload`."""
        self._connection = Connection(ConnectionType.CLIENT)
        self._bytes_max = bytes_max
        self._pieces: list[bytes] = []
        self._size = 0

    def receive(self, data: bytes) -> list[Message]:
        """The messages that these bytes complete, in order. Raises FrameError; messages before the fault are lost
        with it.
        """
        if self._connection.state is ConnectionState.CLOSED:
            return []
        messages: list[Message] = []
        self._connection.receive_data(data)
        for event in self._connection.events():
            message = self._message(event)
            if message is not None:
                messages.append(message)
        return messages

    def binary(self, data: bytes) -> bytes:
        """One binary frame."""
        return self._send(BytesMessage(data))

    def text(self, data: bytes) -> bytes:
        """One text frame; `data` is UTF-8."""
        return self._send(TextMessage(data.decode()))

    def ping(self, payload: bytes) -> bytes:
        """A ping of at most 125 bytes."""
        return self._send(Ping(payload))

    def pong(self, payload: bytes) -> bytes:
        """A pong."""
        return self._send(Pong(payload))

    def _send(self, event: BytesMessage | TextMessage | Ping | Pong) -> bytes:
        """Nothing once a close frame was sent or has come: it may have come with the very message that is answered."""
        return self._connection.send(event) if self._connection.state is ConnectionState.OPEN else b""

    def close(self) -> bytes:
        """A close frame without code, as Kong sends it; nothing when one was sent before."""
        if self._connection.state not in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            return b""
        return self._connection.send(CloseConnection(CloseReason.NO_STATUS_RCVD))

    def _message(self, event: object) -> Message | None:
        match event:
            case BytesMessage(data=data):
                return self._piece(FrameKind.BINARY, bytes(data), event.message_finished)
            case TextMessage(data=text):
                return self._piece(FrameKind.TEXT, text.encode(), event.message_finished)
            case Ping(payload=payload):
                return FrameKind.PING, bytes(payload)
            case Pong(payload=payload):
                return FrameKind.PONG, bytes(payload)
            case CloseConnection(code=code, reason=reason):
                if self._connection.state is ConnectionState.OPEN:
                    raise FrameError(f"the control plane broke the WebSocket protocol: {reason}")
                said = "" if code == CloseReason.NO_STATUS_RCVD else f"code {int(code)} {reason or ''}".strip()
                return FrameKind.CLOSE, said.encode()
        return None

    def _piece(self, kind: FrameKind, data: bytes, is_last: bool) -> Message | None:
        self._size += len(data)
        if self._size > self._bytes_max:
            raise FrameError(f"exceeding max payload len: a message over {self._bytes_max} bytes (cluster_max_payload)")
        self._pieces.append(data)
        if not is_last:
            return None
        whole = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces, self._size = [], 0
        return kind, whole
