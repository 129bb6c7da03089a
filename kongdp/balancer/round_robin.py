"""Weighted round robin, smooth: targets take turns in proportion to their weights without bursts.

In: targets with weights.  Out: the index of the next target; `skip` names those already tried.  Pure; no clock, no randomness.
Hot: one pick per request of a service that names an upstream. O(targets), the field's usual sizes are below a hundred.
Source: the algorithm nginx documents as smooth weighted round robin; weight 0 keeps a target but sends it nothing (Kong).
"""

from collections.abc import Collection, Sequence


class RoundRobin:
    """Turns among `weights` (whole numbers >= 0). `pick` returns an index, or -1 when nobody is eligible."""

    __slots__ = ("_current", "_weights")

    def __init__(self, weights: Sequence[int]) -> None:
        self._weights = tuple(weights)
        self._current = [0] * len(self._weights)

    def pick(self, skip: Collection[int] = ()) -> int:
        """The index whose turn it is among those with weight that are not in `skip`; -1 when there is none."""
        best = -1
        total = 0
        current = self._current
        for index, weight in enumerate(self._weights):
            if weight <= 0 or index in skip:
                continue
            total += weight
            current[index] += weight
            if best < 0 or current[index] > current[best]:
                best = index
        if best >= 0:
            current[best] -= total
        return best
