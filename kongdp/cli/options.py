"""What the options -p, -c and -v mean: which settings a command works with.

In: parsed arguments and the process's environment.  Out: Settings, or the prefix alone.  Raises SettingsError.  Cold.
"""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from kongdp.settings import Paths, Settings, find_prefix, load_settings

_VERBOSE_LEVELS = {1: "info", 2: "debug"}


def settings_of(arguments: argparse.Namespace, **overrides: str) -> Settings:
    """The settings of the node that the options choose; `overrides` win over everything."""
    return load_settings(arguments.conf, os.environ, {**_overrides(arguments), **overrides})


def paths_of(arguments: argparse.Namespace) -> Paths:
    """The paths of the node that the options choose, also when other settings are wrong."""
    return Paths(Path(find_prefix(arguments.conf, os.environ, _overrides(arguments))))


def as_command_line(arguments: argparse.Namespace) -> list[str]:
    """The same options for another kongdp process, wherever that runs."""
    options = ["-v"] * arguments.verbose
    if arguments.prefix is not None:
        options += ["-p", os.path.abspath(arguments.prefix)]
    if arguments.conf is not None:
        options += ["-c", os.path.abspath(arguments.conf)]
    return options


def _overrides(arguments: argparse.Namespace) -> Mapping[str, str]:
    overrides = {}
    if arguments.prefix is not None:
        overrides["prefix"] = os.path.abspath(arguments.prefix)
    if arguments.verbose:
        overrides["log_level"] = _VERBOSE_LEVELS.get(arguments.verbose, "debug")
    return overrides
