"""One connection of a data plane to its control plane, without I/O: what came in -> what to do.

In: `connected`, `frame_received`, `tick`, and what became of a configuration (`applied`, `failed`), each with the
time.
Out: a list of outputs for the driver, in order: frames to send, a configuration to apply, a note for the log, the
end.
House rules: every rule about what may be sent, and when, lives here. This module knows neither sockets nor clocks nor
how a configuration is applied; `now` is any clock in seconds that never goes back.

The rules (protocol notes 2.1 to 2.9): basic_info first, then a ping with the hash in force at once, every 30 s and
after each apply; nothing else ever, except the error frame where it is welcome. Only the newest unread configuration
is kept while one is applied. A rejected configuration leaves the connection up and sends no ping. 45 s without a byte
end it.
Cold.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from kongdp.sync.messages import RENEW_CERTIFICATE, ErrorReport, encode_error, ping_payload

PING_INTERVAL_S = 30.0
SILENCE_MAX_S = 45.0
RECONNECT_S = (5, 10)
"""First and last of the whole seconds to wait before the next attempt, the same after any failure. Source: Kong
data_plane.lua.
"""


@dataclass(frozen=True, slots=True)
class SendBinary:
    """Send one unfragmented binary frame."""

    data: bytes


@dataclass(frozen=True, slots=True)
class SendPing:
    """Send a ping with this payload."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class SendPong:
    """Send a pong with this payload. A Kong control plane never asks for one; others may."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Apply:
    """Apply this frame, then call `applied` or `failed`. No second one comes before that."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """Something an operator may want to read."""

    text: str
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """Close the connection (with a close frame without code, which is Kong's way) and try again after a delay."""

    reason: str


@dataclass(frozen=True, slots=True)
class Renew:
    """The control plane asks for another certificate."""


Output = SendBinary | SendPing | SendPong | Apply | Renew | Note | End


class FrameKind(Enum):
    """What a complete message is."""

    BINARY = "binary"
    TEXT = "text"
    PING = "ping"
    PONG = "pong"
    CLOSE = "close"


class State(Enum):
    """Life of a connection: each happens once."""

    NEW = "new"
    OPEN = "open"
    ENDED = "ended"


class Session:
    """The data plane's end of one connection. Every method returns what to do now; after `End` nothing more comes."""

    __slots__ = (
        "_basic_info",
        "_errors_welcome",
        "_hash",
        "_heard_at",
        "_is_applying",
        "_is_ours",
        "_ping_at",
        "_waiting",
        "has_heard",
        "state",
    )

    def __init__(self, basic_info: bytes, hash_in_force: str, *, errors_welcome: bool = False) -> None:
        """`errors_welcome`: whether konnect_mode is on; the control plane may also welcome error frames when it
        connects.
        """
        self._basic_info = basic_info
        self._hash = hash_in_force
        self._errors_welcome = errors_welcome
        self._heard_at = 0.0
        self._ping_at = 0.0
        self._is_applying = False
        self._is_ours = False
        self._waiting: bytes | None = None
        self.state = State.NEW
        self.has_heard = False

    def connected(self, now: float, *, is_ours: bool = False) -> list[Output]:
        """The upgrade was accepted. `is_ours`: the answer announced our telemetry, so error frames are welcome too."""
        assert self.state is State.NEW, "a session serves one connection"
        self.state = State.OPEN
        self._is_ours = is_ours
        self._errors_welcome = self._errors_welcome or is_ours
        self._heard_at = now
        return [SendBinary(self._basic_info), self._ping(now)]

    def bytes_received(self, now: float) -> None:
        """The control plane is there, although no message is complete yet: a large configuration may take minutes to come,
        and pongs wait behind it.
        """
        self._heard_at = now

    def frame_received(self, kind: FrameKind, payload: bytes, now: float) -> list[Output]:
        """A complete message. A configuration may come as the very first one."""
        if self.state is not State.OPEN:
            return []
        self._heard_at = now
        self.has_heard = True
        match kind:
            case FrameKind.BINARY:
                return self._configuration(payload)
            case FrameKind.PONG:
                return []
            case FrameKind.PING:
                return [SendPong(payload)]
            case FrameKind.TEXT if self._is_ours and payload == RENEW_CERTIFICATE:
                return [Renew()]
            case FrameKind.TEXT:
                return [Note("ignored a text frame from the control plane", is_warning=True)]
            case FrameKind.CLOSE:
                text = payload.decode("utf-8", "replace")
                return self.end("the control plane closed the connection" + (f": {text}" if text else ""))

    def tick(self, now: float) -> list[Output]:
        """Time has passed. Call at least once a second."""
        if self.state is not State.OPEN:
            return []
        if now - self._heard_at >= SILENCE_MAX_S:
            return self.end(f"did not receive pong frame from control plane within {SILENCE_MAX_S:.0f} seconds")
        return [self._ping(now)] if now >= self._ping_at else []

    def applied(self, config_hash: str, now: float) -> list[Output]:
        """The configuration handed out is in force, or was so already; its hash is the acknowledgement."""
        self._hash = config_hash
        ping = [self._ping(now)] if self.state is State.OPEN else []
        return [*ping, *self._next_configuration()]

    def failed(self, report: ErrorReport, now: float) -> list[Output]:
        """The configuration handed out was rejected: the old hash stays, no ping, and a report only where it is
        welcome.
        """
        if self.state is not State.OPEN:
            return []
        outputs: list[Output] = [SendBinary(encode_error(report))] if self._errors_welcome else []
        return outputs + self._next_configuration()

    def skipped(self) -> list[Output]:
        """The frame handed out was no configuration, or a newer one took its place: nothing to say about it."""
        return self._next_configuration()

    def hash_changed(self, config_hash: str, now: float) -> list[Output]:
        """The configuration in force has this hash now, from wherever it came: says so when that is news."""
        if config_hash == self._hash:
            return []
        self._hash = config_hash
        return [self._ping(now)] if self.state is State.OPEN else []

    def end(self, reason: str) -> list[Output]:
        """This side ends the connection, or learns that it has ended."""
        if self.state is State.ENDED:
            return []
        self.state = State.ENDED
        self._waiting = None
        return [End(reason)]

    def _ping(self, now: float) -> Output:
        self._ping_at = now + PING_INTERVAL_S
        return SendPing(ping_payload(self._hash))

    def _configuration(self, frame: bytes) -> list[Output]:
        if self._is_applying:
            self._waiting = frame
            return []
        self._is_applying = True
        return [Apply(frame)]

    def _next_configuration(self) -> list[Output]:
        frame, self._waiting = self._waiting, None
        self._is_applying = frame is not None
        return [] if frame is None or self.state is not State.OPEN else [Apply(frame)]


def reconnect_delay_s(random: Callable[[], float]) -> int:
    """Whole seconds to wait before the next attempt, uniform over 5..10. `random` gives values in [0, 1)."""
    first, last = RECONNECT_S
    return min(first + int(random() * (last - first + 1)), last)
