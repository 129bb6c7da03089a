"""`kongdp health` and `kongdp reload`: what a running node says of itself, and reading its settings again.

Both read the state file that the supervisor keeps (health also the pid file of a control plane); nothing is asked over the network.
In: arguments.  Out: an exit code.  Cold.
"""

import argparse
import fcntl
import os
import signal
import time
from typing import Any, Final

from kongdp.cli.console import complain, fail, fail_all, say
from kongdp.cli.options import paths_of
from kongdp.cli.running import check_access, signal_node
from kongdp.process import state
from kongdp.process.state import StateError
from kongdp.settings import Paths, SettingsError

POLL_INTERVAL_S: Final = 0.05
RELOAD_LIMIT_S: Final = 600.0  # a supervisor bounds each step itself; this bounds a broken one


def health(arguments: argparse.Namespace) -> int:
    """Print one line for each process; 0 when all serve."""
    try:
        paths = paths_of(arguments)
        check_access(paths)
    except SettingsError as error:
        return fail_all(error.problems)
    except StateError as error:
        return fail(str(error))
    node = state.find_running(paths)
    found = state.read_state(paths)
    if node is None or found is None:
        return _control_plane_health(paths)
    say(f"node {found['node_id']}: {found['phase']} (pid {node.pid}, generation {found['generation']})")
    for entry in found["listeners"]:
        say(f"{entry['setting']}: {entry['place']}")
    for child in found["children"]:
        say(f"{_name(child)}: {_condition(child)} (pid {child['pid']}, generation {child['generation']})")
    unwell = [_name(child) for child in found["children"] if not child["ready"]]
    if found["phase"] != "running":
        return fail(f"the node is {found['phase']}")
    return fail(f"not ready: {', '.join(unwell)}") if unwell else 0


def _control_plane_health(paths: Paths) -> int:
    """Where no data plane runs, a control plane may: it writes its pid once it serves and holds a lock as long as it lives."""
    directory = paths.prefix / "pids"
    try:
        pid = int((directory / "control-plane.pid").read_text())
        with (directory / "control-plane.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"control plane: serving (pid {pid})")
        return 0
    except (OSError, ValueError):
        pass
    return fail(f"no node is running in {paths.prefix}")


def reload(arguments: argparse.Namespace) -> int:
    """Let the node read its settings again and wait for the outcome."""
    try:
        paths = paths_of(arguments)
        check_access(paths)
    except SettingsError as error:
        return fail_all(error.problems)
    except StateError as error:
        return fail(str(error))
    node = state.find_running(paths)
    before = state.read_state(paths)
    if node is None or before is None:
        return fail(f"no node is running in {paths.prefix}")
    file = before.get("settings_file")
    if arguments.conf is not None and os.path.abspath(arguments.conf) != file:
        return fail(f"the running node reads {file or 'the default settings file'}; restart it to use another one")
    problem = signal_node(node, signal.SIGHUP)
    if problem is not None:
        return fail(problem)
    report = _wait_for_reload(paths, node, before["reload"]["count"])
    if report is None:
        return fail("the node did not finish the reload; see its error log")
    if report["problems"]:
        complain("the node goes on with its old settings:")
        return fail_all(report["problems"])
    say("reloaded")
    return 0


def _wait_for_reload(paths: Paths, node: state.RunningNode, count: int) -> dict[str, Any] | None:
    deadline = time.monotonic() + RELOAD_LIMIT_S
    while node.is_alive and time.monotonic() < deadline:
        report: dict[str, Any] = (state.read_state(paths) or {}).get("reload", {})
        if report.get("count", 0) > count:
            return report
        time.sleep(POLL_INTERVAL_S)
    return None


def _name(child: dict[str, Any]) -> str:
    return str(child["role"]) if child["role"] == "agent" else f"worker {child['index']}"


def _condition(child: dict[str, Any]) -> str:
    if child["leaving"]:
        return "draining"
    return "serving" if child["ready"] else "starting"
