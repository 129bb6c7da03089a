"""A node's files under its prefix: directories, lock, pid file, node id, and the state that `kongdp health` reads.

The supervisor is the one writer; the command line reads. A pid file counts only while the process it names is the one
that wrote it: pid and start time must both fit (a pid is reused after a while), and the supervisor also holds a lock
for its whole life.
In: Paths.  Out: values.  Raises StateError with a sentence for the operator.  Cold. Source: ours.
"""

import fcntl
import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kongdp.errors import KongdpError, Source
from kongdp.files import remove_abandoned, replace_file
from kongdp.settings import Paths, environment_name

DIRECTORIES_PRIVATE = ("run", "certificates", "counters", "ssl")
DIRECTORIES = ("pids", "logs")


class StateError(KongdpError):
    """The prefix cannot be used; the message says why and what to change."""

    source = Source.OPERATOR


@dataclass(frozen=True, slots=True)
class RunningNode:
    """A process of a node. `start_time` is in clock ticks since boot, as /proc tells it; None: it ended at once."""

    pid: int
    start_time: int | None

    @property
    def is_alive(self) -> bool:
        """Whether the same process still runs."""
        start_time = process_start_time(self.pid)
        return start_time is not None and start_time == self.start_time


def prepare(paths: Paths) -> None:
    """Make the directories that a node needs. Raises StateError."""
    try:
        paths.prefix.mkdir(parents=True, exist_ok=True)
        for name in DIRECTORIES:
            getattr(paths, name).mkdir(exist_ok=True)
        for name in DIRECTORIES_PRIVATE:
            directory: Path = getattr(paths, name)
            directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StateError(
            f"prefix: cannot write {error.filename or paths.prefix}: {error.strerror}; choose another prefix with -p or "
            f"{environment_name('prefix')}"
        ) from None


def lock(paths: Paths) -> int:
    """Take the prefix for this process until it ends, and clear away what a killed supervisor left half written; the
    descriptor of the lock. Raises StateError when a node has it.
    """
    try:
        fd = os.open(paths.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(f"prefix: cannot open {paths.lock_file}: {error.strerror}") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        node = find_running(paths)
        who = f" (pid {node.pid})" if node is not None else ""
        raise StateError(
            f"a node is already running in {paths.prefix}{who}; stop it with `kongdp stop -p {paths.prefix}` or choose "
            "another prefix with -p"
        ) from None
    remove_abandoned(paths.pid_file, paths.state_file, paths.node_id)
    return fd


def write_pid(paths: Paths) -> None:
    """Say that this process is the node's supervisor."""
    pid = os.getpid()
    replace_file(paths.pid_file, f"{pid}\n{process_start_time(pid)}\n".encode(), is_lasting=False)


def remove_pid(paths: Paths) -> None:
    """The node is gone."""
    for path in (paths.pid_file, paths.state_file):
        path.unlink(missing_ok=True)


def find_running(paths: Paths) -> RunningNode | None:
    """The node that runs in this prefix, or None; a stale pid file counts as none."""
    try:
        pid, start_time = (int(line) for line in paths.pid_file.read_text().split())
    except (OSError, ValueError):
        return None
    node = RunningNode(pid, start_time)
    return node if node.is_alive else None


def process_start_time(pid: int) -> int | None:
    """When a process was started, in clock ticks since boot; None when there is no such process or it is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name in parentheses may hold spaces and parentheses
    return None if fields[0] in ("Z", "X") else int(fields[19])


def node_identity(paths: Paths, configured: str | None) -> str:
    """The node's uuid: the configured one, else that of <prefix>/kong.id, else a new one that is kept there."""
    kept = _kept_identity(paths.node_id)
    if configured is None and kept is not None:
        return kept
    identity = configured or str(uuid.uuid4())
    if identity != kept:
        try:
            replace_file(paths.node_id, f"{identity}\n".encode())
        except OSError as error:
            raise StateError(f"prefix: cannot write {paths.node_id}: {error.strerror}") from None
    return identity


def _kept_identity(path: Path) -> str | None:
    try:
        return str(uuid.UUID(path.read_text().strip()))
    except (OSError, ValueError):
        return None


def write_state(paths: Paths, state: Mapping[str, Any]) -> None:
    """Publish what the supervisor knows about its node."""
    replace_file(paths.state_file, json.dumps(state, indent=1).encode(), is_lasting=False)


def read_state(paths: Paths) -> dict[str, Any] | None:
    """What the running supervisor last published; None when there is nothing readable."""
    try:
        state = json.loads(paths.state_file.read_bytes())
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) else None
