"""`kongdp check`, `kongdp config parse`, `kongdp config template`: files that operators write.

In: arguments.  Out: an exit code; every problem on stderr.  Cold.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kongdp.cli.console import complain, fail, fail_all, say
from kongdp.settings import Settings, SettingsError, environment_name, load_settings

if TYPE_CHECKING:
    from kongdp.entities.schemas.plugins import PluginSchema


def check(arguments: argparse.Namespace) -> int:
    """Whether a node could be started with this file and this environment."""
    overrides = {"role": "control_plane"} if _is_control_plane(arguments) else {}
    try:
        settings = load_settings(arguments.file, os.environ, overrides)
    except SettingsError as error:
        return fail_all(error.problems)
    if not overrides and (problems := _problems_of_a_node(settings)):
        return fail_all(problems)
    for warning in settings.warnings:
        complain(f"warning: {warning}")
    if arguments.verbose:
        _print_settings(settings)
    say(f"the settings{f' of {arguments.file}' if arguments.file else ''} are valid")
    return 0


def _problems_of_a_node(settings: Settings) -> list[str]:
    """What a node finds out about its settings only when it starts."""
    from kongdp.plugins.base import PluginError
    from kongdp.plugins.registry import enabled
    from kongdp.process.access_log_writer import read_line
    from kongdp.telemetry.access_log import AccessLogError

    problems = []
    try:
        enabled(settings.plugins)
    except PluginError as error:
        problems.append(f"plugins: {error}")
    try:
        read_line(settings)
    except AccessLogError as error:
        problems.append(f"proxy_access_log: {error}")
    return problems


def _is_control_plane(arguments: argparse.Namespace) -> bool:
    return os.environ.get(environment_name("role")) == "control_plane"


def _print_settings(settings: Settings) -> None:
    for name, value in settings.masked().items():
        mark = "*" if name in settings.given else " "
        say(f"{mark} {name} = {json.dumps(value)}")


def template(arguments: argparse.Namespace) -> int:
    """Print the commented settings file."""
    from kongdp.settings.document import render

    sys.stdout.write(render())
    return 0


def parse(arguments: argparse.Namespace) -> int:
    """Whether a declarative configuration could be loaded by a node with this environment's router flavor and plugins."""
    from kongdp.entities.declarative import KONG_COLLECTIONS, DeclarativeError, load_config, parse_text
    from kongdp.entities.declarative_lines import marks_of
    from kongdp.routing.router import judge

    router_flavor, plugins = _what_a_node_takes()
    try:
        content = sys.stdin.buffer.read() if arguments.file == "-" else Path(arguments.file).read_bytes()
    except OSError as error:
        return fail(f"cannot read {arguments.file}: {error.strerror}")
    try:
        loaded = load_config(
            parse_text(content, "" if arguments.file == "-" else arguments.file),
            router_flavor=router_flavor,
            plugins=plugins,
            judge_expression=lambda route: judge(route["expression"]),
            strict=KONG_COLLECTIONS,
        )
    except DeclarativeError as error:
        complain(f"{arguments.file} is not a valid configuration:")
        return fail_all(error.lines(marks_of(content)))
    for warning in loaded.warnings:
        complain(f"warning: {warning}")
    # The one workspace is there whether the file says so or not.
    counts = ", ".join(f"{len(rows)} {name}" for name, rows in loaded.table.items() if rows and name != "workspaces")
    say(f"parse successful: {counts or 'an empty configuration'}")
    return 0


def _what_a_node_takes() -> "tuple[str, Mapping[str, PluginSchema]]":
    """Router flavor and plugins; Kong's defaults where the settings are wrong, which is another command's to say."""
    from kongdp.plugins.base import PluginError
    from kongdp.plugins.configs import PLUGIN_SCHEMAS
    from kongdp.plugins.registry import enabled

    try:
        settings = load_settings(None, os.environ)
        return settings.router_flavor, {name: PLUGIN_SCHEMAS[name] for name in enabled(settings.plugins)}
    except (SettingsError, PluginError):
        return "traditional_compatible", PLUGIN_SCHEMAS
