"""Medians, spreads and paired ratios."""

import pytest

from bench.stats import paired_differences, paired_ratios, percentile, quartiles, spread


def test_spread_names_median_and_range() -> None:
    """The median of an even number lies between the middle two."""
    assert spread([4.0, 1.0, 3.0, 2.0]) == (2.5, 1.0, 4.0, 4)


def test_spread_of_nothing_is_refused() -> None:
    """A median of nothing would be a made-up figure."""
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_ratios_are_made_within_rounds() -> None:
    """A machine that is slow in the second round does not change the ratio; rounds without a pair are left out."""
    assert paired_ratios([12.0, 24.0, None, 5.0], [10.0, 20.0, 10.0, 0.0]) == [1.2, 1.2]


def test_differences_are_made_within_rounds() -> None:
    """As ratios; a base of zero is a value here."""
    assert paired_differences([12.0, None, 5.0], [10.0, 20.0, 0.0]) == [2.0, 5.0]


def test_quartiles_leave_outliers_out() -> None:
    """Half of the values lie between them."""
    assert quartiles([1.0, 2.0, 3.0, 4.0, 1000.0]) == (2.0, 4.0)
    assert quartiles([7.0]) == (7.0, 7.0)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 5), (0.9, 9), (0.99, 10), (1.0, 10), (0.0, 1)])
def test_percentile_is_a_value_that_was_seen(share: float, expected: float) -> None:
    """Nearest rank: never between two values."""
    assert percentile(range(1, 11), share) == expected
