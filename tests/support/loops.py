"""Running a test's coroutine on the loop that workers use."""

from collections.abc import Coroutine
from typing import Any

import uvloop


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end on uvloop; warnings are errors, so forgotten tasks and sockets fail the test."""
    return uvloop.run(coroutine)
