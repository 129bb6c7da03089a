"""What a request to the cluster listeners is, and what an application may answer: a response, an upgrade, or nothing
at all.

House rule: values only. `connection` makes requests from bytes; applications (`gate`, `est`) answer them.
Cold.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl

MESSAGES = {
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not found",
    405: "Method not allowed",
    413: "Payload too large",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `certificate` is the client's in DER when TLS verified one; field names are lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    fields: Mapping[bytes, bytes]
    body: bytes
    peer: str
    certificate: bytes | None

    def field(self, name: bytes) -> str:
        """A field's value, or "" when it is absent."""
        return self.fields.get(name, b"").decode("latin-1")


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; a connection adds framing fields by itself."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Answer 101 and hand the connection to `session`; `fields` go into the 101."""

    session: "Session"
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Drop:
    """Close without a byte, Kong's refusal (nginx 444): the only one that every data plane understands; the reason is
    logged.
    """

    reason: str


Answer = Response | Upgrade | Drop
Application = Callable[[Request], Awaitable[Answer]]


class Link(Protocol):
    """What a session may do with its WebSocket."""

    @property
    def peer(self) -> str:
        """The other end's address."""

    def send_binary(self, payload: bytes) -> None:
        """Send one binary frame; large ones go out at the pace of the network, later frames wait behind them."""

    def send_text(self, payload: bytes) -> None:
        """Send one text frame."""

    def send_pong(self, payload: bytes) -> None:
        """Send a pong."""

    @property
    def is_sending(self) -> bool:
        """Whether an earlier frame is still on its way out."""

    def pause(self) -> None:
        """Read nothing more from the peer until `resume`."""

    def resume(self) -> None:
        """Read again."""

    def close(self, reason: str) -> None:
        """Say why in a close frame, then close."""


class Session(Protocol):
    """One WebSocket's behaviour: called by the connection, answers through its link. All calls come from the event
    loop.
    """

    message_bytes_max: int

    def opened(self, link: Link) -> None:
        """The upgrade is complete; may send at once."""

    def binary_received(self, data: bytes) -> None:
        """A whole binary message."""

    def text_received(self, data: bytes) -> None:
        """A whole text message."""

    def ping_received(self, payload: bytes) -> None:
        """A ping."""

    def pong_received(self) -> None:
        """A pong."""

    def sent(self) -> None:
        """Everything handed to the link has left."""

    def tick(self, now: float) -> None:
        """Called about once a second with the loop's time."""

    def closed(self, reason: str) -> None:
        """The connection has ended; nothing may be sent. Called exactly once."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one listener. A data plane's first request is under 1 KiB; enrolment sends a few KiB."""

    connections_max: int = 16_384
    head_bytes_max: int = 16_384
    body_bytes_max: int = 65_536
    # From the end of the TLS handshake to a whole request, and between requests of one connection.
    request_timeout_s: float = 15.0
    handshake_timeout_s: float = 15.0
    # A peer that takes nothing for this long is gone, whatever it still sends (the protocol's own patience with
    # silence).
    stall_timeout_s: float = 45.0


def message(status: int, text: str | None = None, *fields: tuple[str, str]) -> Response:
    """A plain text answer that says what is wrong."""
    return Response(status, ((text or MESSAGES.get(status, "")) + "\n").encode(), fields=fields)


def split_target(target: str) -> tuple[str, dict[str, str]]:
    """Path and query of a request-target; of a repeated argument the first counts."""
    path, _, query = target.partition("?")
    arguments: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, max_num_fields=100):
        arguments.setdefault(name, value)
    return path, arguments
