"""`kongdp run` and `kongdp control-plane run`: a role in the foreground, the entry points of containers.

In: arguments.  Out: the exit code of the role.  Cold.
With --notify-fd (given by `kongdp start`) the outcome of the start goes there as one line of JSON: {"ready":
[addresses]} or {"problems": [sentences]}.
"""

import argparse
import gc
import json
import logging
import os
from collections.abc import Sequence
from functools import partial

from kongdp.cli.console import fail, fail_all
from kongdp.cli.options import settings_of
from kongdp.settings import Settings, SettingsError

log = logging.getLogger(__name__)

CONTROL_PLANE_EXTRA = "sqlalchemy", "fastapi", "alembic", "nicegui", "argon2", "psycopg"


def run(arguments: argparse.Namespace) -> int:
    """Run the node that the settings describe until it ends."""
    try:
        settings = settings_of(arguments)
    except SettingsError as error:
        _notify(arguments, {"problems": error.problems})
        return fail_all(error.problems)
    if settings.role == "control_plane":
        return _serve_control_plane(settings)
    return _supervise(arguments, settings)


def run_control_plane(arguments: argparse.Namespace) -> int:
    """Run a control plane until it ends."""
    try:
        settings = settings_of(arguments, role="control_plane")
    except SettingsError as error:
        return fail_all(error.problems)
    return _serve_control_plane(settings)


def _serve_control_plane(settings: Settings) -> int:
    gc.disable()  # loading makes nothing that ends: looking for it took a fifth of the time
    try:
        return _load_and_serve(settings)
    finally:
        gc.enable()


def _load_and_serve(settings: Settings) -> int:
    try:
        from kongdp.controlplane.server import run as serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in CONTROL_PLANE_EXTRA:
            raise
        return fail(f"the control plane needs more packages ({error.name}): pip install 'kongdp[controlplane]'")
    return serve(settings, on_ready=_collect_from_now_on)


def _collect_from_now_on(_places: Sequence[str]) -> None:
    gc.freeze()
    gc.enable()


def _supervise(arguments: argparse.Namespace, settings: Settings) -> int:
    from kongdp.process import state
    from kongdp.process.logs import LogTargetError
    from kongdp.process.supervisor import Supervisor

    def on_ready() -> None:
        _notify(arguments, {"ready": [place for _setting, place in supervisor.places()]})

    start_logging = partial(_start_logging, is_foreground=arguments.notify_fd is None)
    try:
        state.prepare(settings.paths)
        start_logging(settings)
    except (state.StateError, LogTargetError) as error:
        _notify(arguments, {"problems": [str(error)]})
        return fail(str(error))
    supervisor = Supervisor(
        settings,
        read_settings=lambda: settings_of(arguments),
        on_ready=on_ready,
        on_settings=start_logging,
        settings_file=os.path.abspath(arguments.conf) if arguments.conf else None,
    )
    code = supervisor.run()
    _notify(arguments, {"problems": supervisor.problems})
    return fail_all(supervisor.problems) if supervisor.problems else code


def _start_logging(settings: Settings, *, is_foreground: bool) -> None:
    """The supervisor's log to its target, and in the foreground to the terminal as well."""
    from kongdp.process import logs

    logs.configure_logs(settings, "supervisor")
    if is_foreground and settings.proxy_error_log != "/dev/stderr":
        logs.echo_to_stderr(settings.log_level)
    for warning in settings.warnings:
        log.warning("%s", warning)


def _notify(arguments: argparse.Namespace, outcome: dict[str, list[str]]) -> None:
    """Tell `kongdp start` how it went, once."""
    fd, arguments.notify_fd = arguments.notify_fd, None
    if fd is None:
        return
    try:
        os.write(fd, json.dumps(outcome).encode() + b"\n")
        os.close(fd)
    except OSError:  # it did not wait for us; the node serves all the same
        pass
