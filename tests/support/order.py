"""In which order the processes of a run take its tests.

pytest-xdist's `worksteal` cuts the list into one equal part for each process, and whoever has come to the end of its own takes
from the ends of the others. So a part begins with tests that mostly wait, for processes and browsers, while those of other parts
compute; and all parts end with small ones, which can be taken over to the last moment.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def in_shares(items: Sequence[T], count: int, *, waits: Callable[[T], bool], is_bound: Callable[[T], bool]) -> list[T]:
    """`items`, so that `count` processes get their shares of those that wait; `is_bound`: all for the same process, which
    gets no others of them.
    """
    quick = [item for item in items if not waits(item)]
    shares: list[list[T]] = [[] for _ in range(count)]
    free = shares[1:] or shares
    dealt = 0
    for item in filter(waits, items):
        if is_bound(item):
            shares[0].append(item)
        else:
            free[dealt % len(free)].append(item)
            dealt += 1
    ordered: list[T] = []
    for number, share in enumerate(shares):
        size = (len(items) - len(ordered)) // (count - number)
        filling = max(0, size - len(share))
        ordered += share + quick[:filling]
        del quick[:filling]
    return ordered + quick
