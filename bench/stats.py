"""Statistics of a bench: medians, spreads, and ratios of what was measured side by side.

In: numbers.  Out: numbers.  House rule: a ratio is made within a round, where both sides met the same machine, and only
then summed up; a ratio of two medians would mix good minutes with bad ones.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """A median with the least and the greatest value it stands for, and how many there were."""

    median: float
    low: float
    high: float
    count: int


def spread(values: Iterable[float]) -> Spread:
    """The median and the range of at least one value."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values to take a median of")
    return Spread(statistics.median(ordered), ordered[0], ordered[-1], len(ordered))


def quartiles(values: Iterable[float]) -> tuple[float, float]:
    """The first and third quartile: where half of the values lie, whatever the outliers did."""
    ordered = sorted(values)
    if len(ordered) < 2:
        return ordered[0], ordered[0]
    first, _, third = statistics.quantiles(ordered, n=4, method="inclusive")
    return first, third


def paired_ratios(values: Sequence[float | None], base: Sequence[float | None]) -> list[float]:
    """value / base of each round in which both were measured and the base is not zero."""
    pairs = zip(values, base, strict=False)
    return [value / other for value, other in pairs if value is not None and other]


def paired_differences(values: Sequence[float | None], base: Sequence[float | None]) -> list[float]:
    """value - base of each round in which both were measured."""
    pairs = zip(values, base, strict=False)
    return [value - other for value, other in pairs if value is not None and other is not None]


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the ordered values that at least `share` (0 to 1) of them do not exceed."""
    if not ordered:
        raise ValueError("no values to take a percentile of")
    return ordered[min(len(ordered), max(1, math.ceil(share * len(ordered)))) - 1]
