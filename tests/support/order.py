"""In which order the processes of a run take its tests.

pytest-xdist's `worksteal` cuts the list into one equal part for each process, and whoever has come to the end of its own takes
from the ends of the others. So a part begins with tests that mostly wait, for processes and browsers, while those of other parts
compute; and all parts end with small ones, which can be taken over to the last moment.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def in_shares(items: Sequence[T], count: int, *, waits: Callable[[T], bool], is_bound: Callable[[T], bool]) -> list[T]:
    """`items`, so that `count` processes begin with their shares of those that wait.

    `is_bound`: share what is costly to make, so that half of the processes take them, as they come, and the others the rest.
    """
    quick = [item for item in items if not waits(item)]
    bound = [item for item in items if waits(item) and is_bound(item)]
    free = [item for item in items if waits(item) and not is_bound(item)]
    if count == 1:
        return free + bound + quick
    half = count // 2 if free else count
    shares = [bound[len(bound) * n // half : len(bound) * (n + 1) // half] for n in range(half)] if bound else []
    others = count - len(shares)
    shares += [free[n::others] for n in range(others)]
    ordered: list[T] = []
    for number, share in enumerate(shares):
        size = (len(items) - len(ordered)) // (count - number)
        filling = max(0, size - len(share))
        ordered += share + quick[:filling]
        del quick[:filling]
    return ordered + quick
