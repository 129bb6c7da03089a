"""Latencies in bounded memory."""

import random

import pytest

from bench.histogram import PER_DOUBLING, Histogram
from bench.stats import percentile


def filled(values: list[float]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def test_percentiles_are_within_a_bucket_of_the_exact_ones() -> None:
    """From microseconds to seconds, never too low."""
    dice = random.Random(1)
    values = sorted(dice.lognormvariate(5, 2) for _ in range(20_000))
    histogram = filled(values)
    for share in (0.01, 0.5, 0.9, 0.99, 0.999, 1.0):
        exact = percentile(values, share)
        assert exact <= histogram.percentile(share) <= exact * (1 + 1 / PER_DOUBLING) + 1e-9


def test_memory_does_not_grow_with_the_number_of_values() -> None:
    """A second of microseconds to a minute: 26 doublings."""
    histogram = filled([1.0 + i * 37 % 60_000_000 for i in range(200_000)])
    assert sum(1 for _ in histogram.steps()) <= 26 * PER_DOUBLING


def test_merged_histograms_are_as_if_one_had_seen_all() -> None:
    """Two halves and the whole."""
    values = [float(i) for i in range(1, 1001)]
    first, second = filled(values[:400]), filled(values[400:])
    first.merge(second)
    whole = filled(values)
    assert list(first.steps()) == list(whole.steps())
    assert (first.count, first.highest, first.mean()) == (1000, 1000.0, pytest.approx(500.5))


def test_nothing_recorded_gives_zeros() -> None:
    """A run without an answer has a summary all the same."""
    summary = Histogram().summary(1.0, 3)
    assert (summary["requests"], summary["errors"], summary["p99_us"]) == (0, 3, 0.0)


def test_zero_and_negative_values_count_as_the_smallest() -> None:
    """Clocks that stand still are no reason to fail."""
    assert filled([0.0, -1.0]).percentile(1.0) <= 1e-3
