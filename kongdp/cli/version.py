"""`kongdp version`: what this installation is. In: nothing.  Out: four lines.  Cold."""

import argparse
import platform
from importlib.util import find_spec

import kongdp
from kongdp.cli.console import say


def version(arguments: argparse.Namespace) -> int:
    """Print the versions that a bug report needs."""
    kernel = "compiled" if find_spec("kongdp.http1._head") is not None else "plain Python (not compiled: slower)"
    say(f"kongdp {kongdp.__version__}")
    say(f"compatible with Kong {kongdp.KONG_VERSION}")
    say(f"Python {platform.python_version()}")
    say(f"head kernel {kernel}")
    return 0
