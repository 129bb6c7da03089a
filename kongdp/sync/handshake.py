"""The opening handshake of both WebSockets a data plane opens, without I/O: request bytes out, answer bytes in.

In: what the node says of itself, then bytes of the answer.  Out: `Accepted`, or HandshakeRefused with the status and
text.
House rules: exactly the fields that a Kong data plane sends, in its order, and no extension is ever offered; what the
control plane announces (`X-Kongdp-Telemetry: 1`) is noted here and nowhere else.
Cold. Source: RFC 6455 section 4; protocol notes 1.3 and 1.4 (Kong 3.9.1, lua-resty-websocket).
"""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

import h11

from kongdp.errors import KongdpError, Source

OUTLET_PATH = "/v1/outlet"
COUNTERS_PATH = "/v1/counters"
ANNOUNCEMENT = b"x-kongdp-telemetry"
REASON_CHARS_MAX = 300
BODY_BYTES_MAX = 64 * 1024
_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_UNSAFE = re.compile(r"[^A-Za-z0-9._~:-]")


class HandshakeRefused(KongdpError):
    """The control plane answered with something other than 101, or not at all."""

    source = Source.UPSTREAM

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class NodeName:
    """What a node says of itself in the request's query: a UUID, its host name, the Kong version it speaks as."""

    id: str
    hostname: str
    version: str

    def query(self) -> str:
        """The three arguments, in Kong's order and not percent-encoded; characters that would break the request
        become `_`.
        """
        values = (("node_id", self.id), ("node_hostname", self.hostname), ("node_version", self.version))
        return "&".join(f"{name}={_UNSAFE.sub('_', value)}" for name, value in values)


@dataclass(frozen=True, slots=True)
class Accepted:
    """101: whether the control plane is one of ours, and the first bytes of frames that came along."""

    is_ours: bool
    trailing: bytes


class Handshake:
    """One upgrade: `request` once, then `receive` until it returns Accepted or raises HandshakeRefused."""

    __slots__ = ("_connection", "_key", "_pieces", "_status", "request")

    def __init__(self, authority: str, path: str, name: NodeName, random_bytes: Callable[[int], bytes]) -> None:
        """`authority`: host:port, the port always present. `random_bytes(n)`: n unpredictable bytes (os.urandom)."""
        self._key = base64.b64encode(random_bytes(16))
        self._pieces: list[bytes] = []
        self._status = 0
        self._connection = h11.Connection(h11.CLIENT)
        fields = [
            (b"Upgrade", b"websocket"),
            (b"Host", authority.encode("ascii")),
            (b"Sec-WebSocket-Key", self._key),
            (b"Sec-WebSocket-Version", b"13"),
            (b"Connection", b"Upgrade"),
        ]
        head = self._connection.send(h11.Request(method=b"GET", target=f"{path}?{name.query()}", headers=fields))
        assert head is not None
        self._connection.send(h11.EndOfMessage())
        self.request = _as_given(head, fields)

    def receive(self, data: bytes) -> Accepted | None:
        """Bytes of the answer (empty at its end). None: more is needed."""
        try:
            self._connection.receive_data(data)
            return self._events()
        except h11.RemoteProtocolError as error:
            if not data and not self._status:
                raise HandshakeRefused(
                    "the control plane closed the connection without an answer"
                    " (a Kong control plane does so when it does not accept the node's certificate)"
                ) from None
            raise HandshakeRefused(f"the control plane did not answer in HTTP/1.1: {error}") from None

    def _events(self) -> Accepted | None:
        while True:
            event = self._connection.next_event()
            if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                return self._upgraded(event)
            if isinstance(event, h11.Response):
                self._status = event.status_code
            elif isinstance(event, h11.Data):
                self._pieces.append(bytes(event.data))
                if sum(map(len, self._pieces)) > BODY_BYTES_MAX:
                    raise self._refusal()
            elif isinstance(event, h11.EndOfMessage):
                raise self._refusal()
            elif event is h11.NEED_DATA or event is h11.PAUSED:
                return None

    def _upgraded(self, answer: h11.InformationalResponse) -> Accepted:
        fields = dict(answer.headers)
        expected = base64.b64encode(hashlib.sha1(self._key + _ACCEPT_GUID, usedforsecurity=False).digest())
        if fields.get(b"sec-websocket-accept") != expected:
            raise HandshakeRefused("the control plane's 101 does not answer this request (Sec-WebSocket-Accept)", 101)
        if b"sec-websocket-extensions" in fields:
            raise HandshakeRefused("the control plane's 101 chose a WebSocket extension that was not offered", 101)
        return Accepted(is_ours=fields.get(ANNOUNCEMENT) == b"1", trailing=bytes(self._connection.trailing_data[0]))

    def _refusal(self) -> HandshakeRefused:
        text = b"".join(self._pieces).decode("utf-8", "replace").strip()[:REASON_CHARS_MAX]
        reason = "".join(character if character.isprintable() else " " for character in text)
        return HandshakeRefused(
            f"unexpected HTTP response code: {self._status}" + (f": {reason}" if reason else ""), self._status
        )


def _as_given(head: bytes, fields: list[tuple[bytes, bytes]]) -> bytes:
    """h11 puts Host first; a Kong data plane does not. Same fields, our order."""
    request_line = head.partition(b"\r\n")[0]
    return b"\r\n".join([request_line, *(name + b": " + value for name, value in fields), b"", b""])
