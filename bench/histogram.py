"""Latencies of any number of requests in bounded memory.

Values are counted in buckets whose width grows with the value: 128 to each doubling, so that a percentile is at most
0.8 % too high, whatever its size. (The idea is Gil Tene's HdrHistogram; this one has no limits to configure.)
"""

import math
from collections.abc import Iterator

PER_DOUBLING = 128


class Histogram:
    """Counts of values > 0. Smaller ones count as 1e-3."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.total = 0.0
        self.highest = 0.0

    def record(self, value: float) -> None:
        """Count one value."""
        mantissa, exponent = math.frexp(max(value, 1e-3))
        bucket = exponent * PER_DOUBLING + int((mantissa * 2 - 1) * PER_DOUBLING)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.count += 1
        self.total += value
        self.highest = max(self.highest, value)

    def merge(self, other: "Histogram") -> None:
        """Add what another one has counted."""
        for bucket, count in other._counts.items():
            self._counts[bucket] = self._counts.get(bucket, 0) + count
        self.count += other.count
        self.total += other.total
        self.highest = max(self.highest, other.highest)

    def steps(self) -> Iterator[tuple[float, int]]:
        """(upper end of a bucket, how many values it holds), ascending."""
        for bucket in sorted(self._counts):
            exponent, part = divmod(bucket, PER_DOUBLING)
            upper = math.ldexp(1 + (part + 1) / PER_DOUBLING, exponent - 1)
            yield min(upper, self.highest), self._counts[bucket]

    def percentile(self, share: float) -> float:
        """The value that at least `share` (0 to 1) of all do not exceed; 0 when nothing was counted."""
        wanted = max(1, math.ceil(share * self.count))
        seen = 0
        for upper, count in self.steps():
            seen += count
            if seen >= wanted:
                return upper
        return 0.0

    def mean(self) -> float:
        """The mean; 0 when nothing was counted."""
        return self.total / self.count if self.count else 0.0

    def summary(self, seconds: float, errors: int) -> dict[str, float]:
        """The figures every generator of the bench reports; values are microseconds."""
        return {
            "requests": self.count,
            "seconds": seconds,
            "errors": errors,
            "p50_us": self.percentile(0.5),
            "p90_us": self.percentile(0.9),
            "p99_us": self.percentile(0.99),
            "p999_us": self.percentile(0.999),
            "max_us": self.highest,
        }
