"""`kongdp stop` and `kongdp quit`: the end of a running node.

`stop` asks once, asks again when the drain deadline has passed, and then forces; it returns when every process of the
node is gone, also those of a node whose supervisor was killed. `quit` asks once and forces nothing.
In: arguments.  Out: an exit code.  Cold.
"""

import argparse
import os
import select
import signal
import time
from collections.abc import Sequence
from typing import Any, Final

from kongdp.cli.console import fail, fail_all, say
from kongdp.cli.options import paths_of
from kongdp.cli.running import check_access, signal_node
from kongdp.process import state
from kongdp.process.reload import AGENT_STOP_S, DRAIN_GRACE_S
from kongdp.process.state import RunningNode, StateError
from kongdp.settings import Paths, SettingsError

DRAIN_TIMEOUT_S: Final = 30.0  # where the node's own setting cannot be read
MARGIN_S: Final = 3.0
FORCED_STOP_S: Final = 15.0
POLL_INTERVAL_S: Final = 0.05  # where the kernel has no pidfd


def stop(arguments: argparse.Namespace) -> int:
    """Stop the node that the options choose."""
    try:
        paths = paths_of(arguments)
        check_access(paths)
    except SettingsError as error:
        return fail_all(error.problems)
    except StateError as error:
        return fail(str(error))
    if state.find_running(paths) is None and not _children(paths):
        return fail(f"no node is running in {paths.prefix}")
    problem = stop_running(paths)
    if problem is not None:
        return fail(problem)
    say("stopped")
    return 0


def quit_node(arguments: argparse.Namespace) -> int:
    """Let the node finish; 1 when it has not in time."""
    try:
        paths = paths_of(arguments)
        check_access(paths)
    except SettingsError as error:
        return fail_all(error.problems)
    except StateError as error:
        return fail(str(error))
    node = state.find_running(paths)
    if node is None:
        return fail(f"no node is running in {paths.prefix}")
    limit_s = _drain_limit(paths) if arguments.timeout is None else arguments.timeout
    problem = signal_node(node, signal.SIGQUIT)
    if problem is not None:
        return fail(problem)
    if not wait_for_end([node], limit_s):
        return fail(f"the node (pid {node.pid}) is still draining after {limit_s:g} s")
    say("ended")
    return 0


def stop_running(paths: Paths) -> str | None:
    """End whatever runs in this prefix; the problem when that failed."""
    node = state.find_running(paths)
    processes = [*([node] if node is not None else []), *_children(paths)]
    # A second SIGTERM is fast; SIGKILL is for a supervisor that does not even answer that.
    steps = ((signal.SIGTERM, _drain_limit(paths)), (signal.SIGTERM, FORCED_STOP_S), (signal.SIGKILL, FORCED_STOP_S))
    for number, limit_s in steps:
        targets = [node] if node is not None and number != signal.SIGKILL else processes
        for process in targets:
            problem = signal_node(process, number)
            if problem is not None:
                return problem
        if wait_for_end(processes, limit_s):
            state.remove_pid(paths)
            return None
    pids = ", ".join(str(process.pid) for process in processes if process.is_alive)
    return f"processes {pids} did not end"


def wait_for_end(processes: Sequence[RunningNode], limit_s: float) -> bool:
    """Wait until all are gone, at most `limit_s`; whether they are."""
    deadline = time.monotonic() + limit_s
    for process in processes:
        while process.is_alive:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            _wait_for_one(process.pid, left_s)
    return True


def _wait_for_one(pid: int, limit_s: float) -> None:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except OSError:
        time.sleep(min(POLL_INTERVAL_S, limit_s))
        return
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.poll(limit_s * 1000)
    finally:
        os.close(fd)


def _children(paths: Paths) -> list[RunningNode]:
    """Living children by the state file: they outlast a supervisor that was killed, while they drain."""
    found: dict[str, Any] = state.read_state(paths) or {}
    known = [RunningNode(child["pid"], child["start_time"]) for child in found.get("children", [])]
    return [child for child in known if child.is_alive]


def _drain_limit(paths: Paths) -> float:
    found = state.read_state(paths) or {}
    return float(found.get("drain_timeout_s", DRAIN_TIMEOUT_S)) + DRAIN_GRACE_S + AGENT_STOP_S + MARGIN_S
