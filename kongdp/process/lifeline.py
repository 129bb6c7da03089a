"""The lifeline: a socket pair between the supervisor and each of its children.

Child to supervisor: ready, a beat each second, or the reason why starting failed. Supervisor to child: small
messages, some with file descriptors (SCM_RIGHTS). End of file in a child means that the supervisor is gone: the child
drains and leaves, so nothing ever outlives its node. The pair is SOCK_SEQPACKET: one send is one message, so neither
side has to cut a stream.

In: the inherited descriptor.  Out: calls and callbacks.  Cold: one small send a second. Loads no event loop by
itself, because the supervisor, which has none, uses the same module.
Source: ours; the end-of-file rule is HAProxy's master-worker mode.
"""

import array
import json
import os
import select
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import asyncio

START_FAILED = 78  # EX_CONFIG of sysexits.h: starting again cannot help, the node must stop
MESSAGE_BYTES_MAX = 65536  # far below the default socket buffer (208 KiB): one always fits into an empty one
DESCRIPTORS_MAX = 250  # the kernel takes at most 253 in one message (SCM_MAX_FD)
REASON_CHARS_MAX = 4000
URGENT_SEND_TIMEOUT_S = 5.0  # ready and fail may wait this long for a busy supervisor; a beat never waits


class LifelineEnded(Exception):
    """The other side closed its end or died."""


@dataclass(frozen=True, slots=True)
class Received:
    """One message and the descriptors that came with it; the receiver owns them and closes them."""

    message: Mapping[str, Any]
    descriptors: tuple[int, ...]


class Lifeline:
    """A child's end. Every method may be called at any time; only `receive` reports that the supervisor is gone."""

    __slots__ = ("_socket",)

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)
        self._socket.set_inheritable(False)

    def fileno(self) -> int:
        """The descriptor, for a selector; -1 after close."""
        return self._socket.fileno()

    def ready(self, **facts: object) -> None:
        """Say once that everything handed in accepts connections; `facts` (small, JSON) reach the supervisor's log."""
        send(self._socket, {"type": "ready", **facts}, timeout_s=URGENT_SEND_TIMEOUT_S)

    def beat(self) -> None:
        """Say "alive". Call it once a second from the loop that does the work, from before `ready` on."""
        send(self._socket, {"type": "beat"})

    def fail(self, reason: str) -> NoReturn:
        """Report that this child can never start (its settings or its machine are wrong) and leave: the node stops
        with `reason`.
        """
        send(self._socket, {"type": "fail", "reason": reason[:REASON_CHARS_MAX]}, timeout_s=URGENT_SEND_TIMEOUT_S)
        raise SystemExit(START_FAILED)

    def receive(self) -> Received | None:
        """The next message of the supervisor, or None when there is none now; raises LifelineEnded when the
        supervisor is gone.
        """
        return receive(self._socket)

    def close(self) -> None:
        """Hang up; the supervisor takes the child for leaving."""
        self._socket.close()


class LifelineWatch:
    """Keeps a Lifeline on an event loop: beats at an interval and reports the supervisor's messages and its end.

    `on_message` gets each Received and owns its descriptors; without it they are closed. `on_end` is called once,
    then nothing more.
    """

    def __init__(
        self,
        lifeline: Lifeline,
        loop: "asyncio.AbstractEventLoop",
        *,
        on_end: Callable[[], None],
        on_message: Callable[[Received], None] | None = None,
        beat_interval_s: float = 1.0,
    ) -> None:
        self._lifeline = lifeline
        self._loop = loop
        self._on_end = on_end
        self._on_message = on_message
        self._beat_interval_s = beat_interval_s
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Beat now and at each interval, and listen."""
        self._loop.add_reader(self._lifeline.fileno(), self._on_readable)
        self._beat()

    def stop(self) -> None:
        """Neither beat nor listen any longer; may be called twice."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        self._loop.remove_reader(self._lifeline.fileno())

    def _beat(self) -> None:
        self._lifeline.beat()
        self._timer = self._loop.call_later(self._beat_interval_s, self._beat)

    def _on_readable(self) -> None:
        try:
            while (received := self._lifeline.receive()) is not None:
                self._deliver(received)
        except LifelineEnded:
            self.stop()
            self._on_end()

    def _deliver(self, received: Received) -> None:
        if self._on_message is not None:
            self._on_message(received)
            return
        for descriptor in received.descriptors:
            os.close(descriptor)


def pair() -> tuple[socket.socket, socket.socket]:
    """(supervisor's end, child's end), both close-on-exec and non-blocking."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


def send(
    end: socket.socket, message: Mapping[str, object], descriptors: Sequence[int] = (), *, timeout_s: float = 0.0
) -> bool:
    """Send one message; False when the peer is gone or took nothing for `timeout_s`. Never raises for the peer's
    state.
    """
    data = json.dumps(message, separators=(",", ":")).encode()
    if len(data) > MESSAGE_BYTES_MAX or len(descriptors) > DESCRIPTORS_MAX:
        raise ValueError(f"lifeline message of {len(data)} bytes and {len(descriptors)} descriptors is too large")
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    while True:
        try:
            end.sendmsg([data], rights)
            return True
        except BlockingIOError:
            if timeout_s <= 0 or not _becomes_writable(end, timeout_s):
                return False
            timeout_s = 0.0
        except OSError:
            return False


def receive(end: socket.socket) -> Received | None:
    """The next message, None when there is none now; raises LifelineEnded at end of file or when the peer died."""
    try:
        data, ancillary = _receive_one(end)
    except BlockingIOError:
        return None
    except OSError as error:
        raise LifelineEnded(str(error)) from None
    if not data:
        raise LifelineEnded("end of file")
    return Received(json.loads(data), _descriptors(ancillary))


def _receive_one(end: socket.socket) -> tuple[bytes, list[tuple[int, int, bytes]]]:
    """One message with its ancillary data.

    A peer that ends without having read everything leaves ECONNRESET in front of its own last messages; the error is
    reported once, and the reason why a child failed stands behind it.
    """
    space = socket.CMSG_SPACE(DESCRIPTORS_MAX * array.array("i").itemsize)
    try:
        return end.recvmsg(MESSAGE_BYTES_MAX, space, socket.MSG_CMSG_CLOEXEC)[:2]
    except ConnectionResetError:
        return end.recvmsg(MESSAGE_BYTES_MAX, space, socket.MSG_CMSG_CLOEXEC)[:2]


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, ...]:
    found = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(content[: len(content) - len(content) % found.itemsize])
    return tuple(found)


def _becomes_writable(end: socket.socket, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(end, select.POLLOUT)
    return bool(poll.poll(timeout_s * 1000))
