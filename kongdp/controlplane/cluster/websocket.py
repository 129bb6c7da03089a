"""Frames of one WebSocket connection on the server's side: bytes in -> calls of a session, frames out.

In: bytes from the transport, whether it takes more.  Out: calls of `Session`; bytes to the transport. House rules:
never fragment, never ping, never compress (Kong's library understands none of them); a large frame goes out in pieces
at the pace of the network, so that a thousand slow data planes share one copy of a 16 MiB payload; small frames wait
behind it. Parsing is wsproto's. Cold. Source: RFC 6455; protocol notes 1.5.
"""

import asyncio
from collections import deque

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason

from kongdp.controlplane.cluster.requests import Session

TEXT, BINARY, CLOSE, PONG = 0x1, 0x2, 0x8, 0xA
POLICY_VIOLATION = 1008
# wsproto reports what it cannot read as if the peer had closed with one of these.
BROKEN = (CloseReason.PROTOCOL_ERROR, CloseReason.INVALID_FRAME_PAYLOAD_DATA)
# What one write hands to the transport: large enough that framing costs nothing, small enough to be no memory.
PIECE_BYTES = 262_144
# Small frames that wait behind a large one. Each is an answer to something, so more means a peer that floods.
WAITING_MAX = 64
CLOSE_REASON_BYTES_MAX = 123


class WebSocket:
    """One connection after its 101. The connection that owns it forwards the transport's events."""

    def __init__(self, transport: asyncio.Transport, session: Session, peer: str) -> None:
        self.peer = peer
        self._transport = transport
        self._session = session
        self._parser = Connection(ConnectionType.SERVER)
        self._pieces: list[bytes] = []
        self._received = 0
        self._sending: memoryview | None = None
        self._waiting: deque[bytes] = deque()
        self._is_paused = False
        self._is_closing = False
        self.progress_at = 0.0

    def feed(self, data: bytes) -> None:
        """Bytes from the peer."""
        if self._is_closing:
            return
        self._parser.receive_data(data)
        for event in self._parser.events():
            self._handle(event)

    def _handle(self, event: object) -> None:
        if self._is_closing:
            return
        session = self._session
        match event:
            case Ping():
                session.ping_received(bytes(event.payload))
            case Pong():
                session.pong_received()
            case BytesMessage() | TextMessage():
                self._collect(event)
            case CloseConnection(code=code, reason=reason) if code in BROKEN:
                self.close(f"not a WebSocket frame: {reason}")
            case CloseConnection():
                self._finish(frame(CLOSE, b""))

    def _collect(self, event: BytesMessage | TextMessage) -> None:
        """Put a message together; wsproto hands out its parts as they come."""
        is_text = isinstance(event, TextMessage)
        part = event.data.encode() if isinstance(event, TextMessage) else bytes(event.data)
        self._received += len(part)
        if self._received > self._session.message_bytes_max:
            self.close(f"message larger than {self._session.message_bytes_max} bytes")
            return
        self._pieces.append(part)
        if event.message_finished:
            whole = b"".join(self._pieces)
            self._pieces.clear()
            self._received = 0
            (self._session.text_received if is_text else self._session.binary_received)(whole)

    def send_binary(self, payload: bytes) -> None:
        """Send one binary frame."""
        self._send(BINARY, payload)

    def send_text(self, payload: bytes) -> None:
        """Send one text frame."""
        self._send(TEXT, payload)

    def send_pong(self, payload: bytes) -> None:
        """Send a pong."""
        self._send(PONG, payload)

    def close(self, reason: str) -> None:
        """Say why, then close. A frame that is half out cannot be followed by anything: then the connection just
        ends.
        """
        if self._is_closing:
            return
        text = reason.encode()[:CLOSE_REASON_BYTES_MAX].decode(errors="ignore").encode()
        self._finish(frame(CLOSE, POLICY_VIOLATION.to_bytes(2, "big") + text))

    @property
    def is_sending(self) -> bool:
        """Whether an earlier frame is still on its way out."""
        return self._sending is not None or self._is_paused

    def pause(self) -> None:
        """Read nothing more from the peer until `resume`."""
        self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def writing_paused(self) -> None:
        """The transport takes no more for now."""
        self._is_paused = True

    def writing_resumed(self) -> None:
        """The transport takes more."""
        self._is_paused = False
        self._pump()
        if not self.is_sending and not self._is_closing:
            self._session.sent()

    def is_stalled(self, now: float, timeout_s: float) -> bool:
        """Whether the peer has taken nothing for too long."""
        if not self.is_sending:
            self.progress_at = now
        return now - self.progress_at > timeout_s

    def _send(self, opcode: int, payload: bytes) -> None:
        if self._is_closing:
            return
        if self._sending is not None:
            if len(self._waiting) >= WAITING_MAX:
                self._finish(None)
                return
            self._waiting.append(frame(opcode, payload))
            return
        self._transport.write(head(opcode, len(payload)))
        if len(payload) <= PIECE_BYTES:
            self._transport.write(payload)
            return
        self._sending = memoryview(payload)
        self._pump()

    def _pump(self) -> None:
        """Hand the rest of the large frame to the transport for as long as it takes it, then what waited behind it."""
        while self._sending is not None and not self._is_paused:
            piece, rest = self._sending[:PIECE_BYTES], self._sending[PIECE_BYTES:]
            self._sending = rest if len(rest) else None
            self.progress_at = asyncio.get_running_loop().time()
            self._transport.write(piece)
        if self._sending is None:
            while self._waiting:
                self._transport.write(self._waiting.popleft())

    def _finish(self, last: bytes | None) -> None:
        self._is_closing = True
        if last is None or self._sending is not None:
            self._transport.abort()
            return
        self._transport.write(last)
        self._transport.close()


def head(opcode: int, length: int) -> bytes:
    """The head of a whole, unmasked frame (RFC 6455 section 5.2)."""
    if length < 126:
        return bytes((0x80 | opcode, length))
    if length < 65_536:
        return bytes((0x80 | opcode, 126)) + length.to_bytes(2, "big")
    return bytes((0x80 | opcode, 127)) + length.to_bytes(8, "big")


def frame(opcode: int, payload: bytes) -> bytes:
    """A whole small frame."""
    return head(opcode, len(payload)) + payload
