"""The soak's verdict."""

import pytest

from bench.soak import Samples, judge


def samples(mib: list[float], before: int = 20, after: int = 21) -> Samples:
    return Samples([float(i) for i in range(len(mib))], mib, [30] * len(mib), before, after)


def test_growth_during_warm_up_is_no_growth() -> None:
    """The first fifth is not looked at."""
    found = judge("worker 0", samples([20, 30, 40, 40, 40, 40, 40, 40, 40, 40.5]))
    assert found.is_flat
    assert found.gave_back


@pytest.mark.parametrize("late", [42.5, 80.0])
def test_growth_after_warm_up_is_growth(late: float) -> None:
    """40 MiB may become 42.2."""
    assert not judge("worker 0", samples([40.0] * 8 + [late] * 2)).is_flat


def test_descriptors_that_stay_open_are_a_leak() -> None:
    """A few may belong to the changed configuration; more are not given back."""
    assert judge("worker 0", samples([40.0] * 10, before=20, after=24)).gave_back
    assert not judge("worker 0", samples([40.0] * 10, before=20, after=25)).gave_back
