"""How commands speak: results on stdout, one line for each problem on stderr.

In: text.  Out: lines, and 1, so that `return fail(...)` ends a command.  Cold.
"""

import sys
from collections.abc import Iterable


def say(text: str) -> None:
    """A result or a piece of progress."""
    print(text, flush=True)


def complain(problem: str) -> None:
    """A problem or a warning, whole in one line."""
    print(f"kongdp: {problem}", file=sys.stderr, flush=True)


def fail(*problems: str) -> int:
    """Name every problem; the exit code of a command that failed."""
    return fail_all(problems)


def fail_all(problems: Iterable[str]) -> int:
    """The same for problems that are at hand as a list."""
    for problem in problems:
        complain(problem)
    return 1
