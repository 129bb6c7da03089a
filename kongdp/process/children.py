"""Child processes of the supervisor: starting one, and what is known of it while it lives.

In: a command, a spec.  Out: a Child.  Decides nothing: when a child starts, is replaced or is killed is the
supervisor's business.
Cold. Source: ours.
"""

import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kongdp
from kongdp.process import lifeline
from kongdp.process.segments import CounterSegment
from kongdp.process.spec import descriptors, write_spec
from kongdp.settings import Settings

AGENT = "agent"
WORKER = "worker"

MALLOC = {
    "MALLOC_TRIM_THRESHOLD_": str(16 << 20),
    "MALLOC_TOP_PAD_": str(1 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
}
"""glibc's allocator keeps up to 16 MiB that are free for what comes next, unless the environment says otherwise.

PERF: by itself it gives back more than 128 KiB, so that, as the heap happened to lie, bodies of 64 KB took a page fault for each page of
each copy, again and again: bench/whole post-64k 1.1 to 1.9 times nginx, 12,600 requests/s; 17,400 with this.
"""


@dataclass(frozen=True, slots=True)
class Generation:
    """The settings that children of one reload have in common."""

    number: int
    settings: Settings


@dataclass(slots=True, eq=False)
class Child:
    """One process. Times are monotonic seconds; `last_heard` None until its first sign of life."""

    role: str
    index: int
    generation: Generation
    process: subprocess.Popen[bytes]
    start_ticks: int | None
    line: socket.socket
    segment: CounterSegment | None
    started_at: float
    last_heard: float | None = None
    ready_at: float | None = None
    failure: str | None = None
    is_leaving: bool = False
    kill_at: float | None = None
    line_ended: bool = False

    @property
    def name(self) -> str:
        """How logs call it."""
        return AGENT if self.role == AGENT else f"{WORKER} {self.index}"

    @property
    def is_ready(self) -> bool:
        """Whether it said that it accepts connections."""
        return self.ready_at is not None

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens when it has ended."""
        self.process.send_signal(number)

    def leave(self, kill_at: float) -> None:
        """Ask it to drain and end; it is killed at `kill_at`."""
        self.is_leaving = True
        self.kill_at = kill_at
        self.signal(signal.SIGTERM)

    def describe(self) -> dict[str, Any]:
        """For the state file."""
        return {
            "role": self.role,
            "index": self.index,
            "pid": self.process.pid,
            "start_time": self.start_ticks,
            "generation": self.generation.number,
            "ready": self.is_ready,
            "leaving": self.is_leaving,
        }


def spawn(command: Sequence[str], spec: Mapping[str, Any], line: socket.socket) -> subprocess.Popen[bytes]:
    """Start a child that inherits exactly the descriptors of its spec and its end of the lifeline. Raises OSError."""
    spec_fd = write_spec({**spec, "lifeline_fd": line.fileno()})
    inherited = {spec_fd, line.fileno(), *descriptors(spec)}
    try:
        return subprocess.Popen(
            [*command, "--spec-fd", str(spec_fd)],
            stdin=subprocess.DEVNULL,
            pass_fds=sorted(inherited),
            env=environment(),
            # A group of its own: Ctrl-C, Ctrl-\ and the hang-up of a terminal go to whole groups, and a worker would
            # take one of them and the supervisor's SIGTERM for "first drain, then at once".
            process_group=0,
        )
    finally:
        os.close(spec_fd)


def end_reason(status: int) -> str:
    """How a process ended, in words."""
    if status >= 0:
        return f"ended with exit code {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was ended by {name}"


def poll_line(child: Child, now: float) -> None:
    """Take in everything the child said since the last time: signs of life, readiness, failure, the end of its
    lifeline.
    """
    while True:
        try:
            received = lifeline.receive(child.line)
        except lifeline.LifelineEnded:
            child.line_ended = True
            return
        if received is None:
            return
        child.last_heard = now
        for descriptor in received.descriptors:
            os.close(descriptor)
        kind = received.message.get("type")
        if kind == "ready" and child.ready_at is None:
            child.ready_at = now
        elif kind == "fail":
            child.failure = f"{child.name}: {received.message.get('reason')}"


def environment() -> dict[str, str]:
    """The child's environment: it imports the very code that its supervisor runs, wherever that was started."""
    root = str(Path(kongdp.__file__).resolve().parent.parent)
    inherited = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry and entry != root]
    return {**MALLOC, **os.environ, "PYTHONPATH": os.pathsep.join([root, *inherited])}
