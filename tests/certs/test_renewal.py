"""When to renew, and how loudly: tables over plain numbers."""

import pytest

from kongdp.certs.renewal import DAY_S, Attempts, Urgency, Validity, decide, retry_delay_s, urgency

HALF_YEAR = Validity(0.0, 183 * DAY_S)
MINUTE = Validity(0.0, 60.0)


@pytest.mark.parametrize(
    ("validity", "now", "renew"),
    [
        (HALF_YEAR, 0.0, False),
        (HALF_YEAR, 121.9 * DAY_S, False),
        (HALF_YEAR, 122.0 * DAY_S, True),
        (HALF_YEAR, 200 * DAY_S, True),
        (MINUTE, 39.0, False),
        (MINUTE, 40.0, True),
    ],
)
def test_renewal_is_due_when_two_thirds_have_passed(validity: Validity, now: float, renew: bool) -> None:
    """Whatever the life, the last third is left for trying."""
    assert decide(validity, now).renew is renew


def test_jitter_delays_when_many_nodes_were_issued_together() -> None:
    """The first attempt moves by less than a twentieth of the life."""
    assert not decide(MINUTE, 40.0, jitter=0.5).renew
    assert decide(MINUTE, 43.0, jitter=0.99).renew


@pytest.mark.parametrize(
    ("failures", "left_s", "delay_s"),
    [
        (1, 61 * DAY_S, 5.0),
        (2, 61 * DAY_S, 10.0),
        (5, 61 * DAY_S, 80.0),
        (50, 61 * DAY_S, 3600.0),
        (1, 20.0, 20.0 / 12),
        (1, 3.0, 1.0),
        (3, -100.0, 20.0),
        (50, -100.0, 60.0),
    ],
)
def test_retry_waits_longer_when_failures_repeat(failures: int, left_s: float, delay_s: float) -> None:
    """Doubling up to an hour, at most a twelfth of what is left or, when nothing is, a minute; never under a second."""
    assert retry_delay_s(failures, left_s) == pytest.approx(delay_s)


def test_next_attempt_is_named_when_one_has_just_failed() -> None:
    """After a failure the decision says when it will change."""
    after = decide(HALF_YEAR, 122 * DAY_S + 1, Attempts(failures=1, last_at=122 * DAY_S))
    assert not after.renew
    assert after.next_at == 122 * DAY_S + 5
    assert decide(HALF_YEAR, after.next_at, Attempts(failures=1, last_at=122 * DAY_S)).renew


def test_next_attempt_is_not_put_off_when_the_clock_was_set_back() -> None:
    """A clock that ran a year ahead saw an expired certificate and failed to renew it; corrected, it renews in time."""
    failed = Attempts(failures=1, last_at=500 * DAY_S)
    assert not decide(HALF_YEAR, 100 * DAY_S, failed).renew
    assert decide(HALF_YEAR, 122 * DAY_S, failed).renew


@pytest.mark.parametrize(
    ("validity", "left_s", "expected"),
    [
        (HALF_YEAR, 31 * DAY_S, Urgency.NONE),
        (HALF_YEAR, 30 * DAY_S, Urgency.WARNING),
        (HALF_YEAR, 7 * DAY_S, Urgency.ERROR),
        (HALF_YEAR, 0.0, Urgency.EXPIRED),
        (Validity(0.0, 3650 * DAY_S), 31 * DAY_S, Urgency.NONE),
        (Validity(0.0, 3650 * DAY_S), 30 * DAY_S, Urgency.WARNING),
        (MINUTE, 20.0, Urgency.NONE),
        (MINUTE, 5.0, Urgency.WARNING),
        (MINUTE, 1.0, Urgency.ERROR),
    ],
)
def test_urgency_grows_when_the_end_comes_near(validity: Validity, left_s: float, expected: Urgency) -> None:
    """30 and 7 days for half a year and more, in proportion below."""
    assert urgency(validity, validity.not_after - left_s) is expected
