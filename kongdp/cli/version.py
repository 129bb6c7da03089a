"""`kongdp version`: what this installation is. In: nothing.  Out: four lines.  Cold."""

import argparse
import platform

import kongdp
from kongdp import compiled
from kongdp.cli.console import say


def version(arguments: argparse.Namespace) -> int:
    """Print the versions that a bug report needs."""
    say(f"kongdp {kongdp.__version__}")
    say(f"compatible with Kong {kongdp.KONG_VERSION}")
    say(f"Python {platform.python_version()}")
    if compiled.why_not:
        say(f"request path plain Python, slower: {compiled.why_not}")
    else:
        say(f"request path compiled: {', '.join(name.removeprefix('kongdp.') for name in compiled.MODULES)}")
    return 0
