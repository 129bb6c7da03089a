"""`kongdp start` and `kongdp restart`: a node in the background.

The node is a `kongdp run` process of its own session that outlives this command. It reports over a pipe: this command
returns 0 only when every listener accepts, and otherwise 1 with the node's own words.
In: arguments.  Out: an exit code.  Cold.
"""

import argparse
import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from kongdp.cli.console import complain, fail, fail_all, say
from kongdp.cli.options import as_command_line, settings_of
from kongdp.cli.stop import stop_running
from kongdp.process import children, state
from kongdp.settings import Settings, SettingsError

REPORT_BYTES_MAX: Final = 1 << 20
REPORT_MARGIN_S: Final = 15.0  # beyond kongdp_start_timeout_s, within which the node itself gives up
STREAMS: Final = ("/dev/stdout", "/dev/stderr")


def start(arguments: argparse.Namespace) -> int:
    """Start the node that the options choose."""
    try:
        settings = _loaded(arguments)
        state.prepare(settings.paths)
    except SettingsError as error:
        return fail_all(error.problems)
    except state.StateError as error:
        return fail(str(error))
    running = state.find_running(settings.paths)
    if running is not None:
        return fail(f"a node is already running in {settings.prefix} (pid {running.pid})")
    return _launch(arguments, settings)


def restart(arguments: argparse.Namespace) -> int:
    """Stop the node if it runs, and start it. Settings that are wrong leave the running node alone."""
    try:
        settings = _loaded(arguments)
        state.prepare(settings.paths)
    except SettingsError as error:
        return fail_all(error.problems)
    except state.StateError as error:
        return fail(str(error))
    if state.find_running(settings.paths) is not None:
        problem = stop_running(settings.paths)
        if problem is not None:
            return fail(problem)
    return _launch(arguments, settings)


def _loaded(arguments: argparse.Namespace) -> Settings:
    settings = settings_of(arguments)
    if settings.role == "control_plane":
        raise SettingsError(["role = control_plane: start it with `kongdp control-plane run`"])
    for warning in settings.warnings:
        complain(f"warning: {warning}")
    return settings


def _launch(arguments: argparse.Namespace, settings: Settings) -> int:
    read_end, write_end = os.pipe()
    command = [sys.executable, "-P", "-m", "kongdp", "run", "--notify-fd", str(write_end), *as_command_line(arguments)]
    with _error_log(settings) as stderr:
        node = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=None if settings.proxy_access_log.startswith(STREAMS) else subprocess.DEVNULL,
            stderr=None if settings.proxy_error_log in STREAMS else stderr,
            pass_fds=[write_end],
            env=children.environment(),
            start_new_session=True,
        )
    os.close(write_end)
    try:
        report = _read_report(read_end, settings.kongdp_start_timeout_s + REPORT_MARGIN_S)
    except KeyboardInterrupt:
        node.terminate()
        raise
    finally:
        os.close(read_end)
    if report is None:
        node.terminate()
        return fail(f"the node gave no report in time and was told to end; see {_log_name(settings)}")
    if "ready" in report:
        node.returncode = 0  # it lives on without us, and nobody is to wait for it
        say(f"started (pid {node.pid}), listening on {', '.join(report['ready'])}")
        return 0
    code = node.wait()
    if report.get("problems"):
        return fail_all(report["problems"])
    return fail(f"the node {children.end_reason(code)} before it was ready; see {_log_name(settings)}")


def _read_report(fd: int, timeout_s: float) -> dict[str, Any] | None:
    """The node's one line; {} when it ended without one, None when it said nothing in time."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if not poll.poll(timeout_s * 1000):
        return None
    with open(fd, "rb", closefd=False) as pipe:
        line = pipe.readline(REPORT_BYTES_MAX)
    report: dict[str, Any] = json.loads(line) if line else {}
    return report


def _error_log(settings: Settings) -> Any:
    """Where the node's stray words go (a traceback of the interpreter): its error log, if that is a file."""
    target = settings.proxy_error_log
    is_file = target not in STREAMS and target != "off" and not target.startswith("syslog:")
    path = Path(settings.prefix) / target.split()[0] if is_file else Path(os.devnull)
    try:
        return open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640), "ab")
    except OSError:  # the node says what is wrong with it
        return Path(os.devnull).open("ab")


def _log_name(settings: Settings) -> str:
    return str(Path(settings.prefix) / settings.proxy_error_log.split()[0])
