"""When pushes are due: soon after a first change, then spaced, with time that only the test moves."""

import itertools

import pytest

from kongdp.controlplane.schedule import SPACING_S, PushSchedule


def test_nothing_is_due_when_nothing_changed() -> None:
    """A fresh schedule waits for ever."""
    assert PushSchedule().due() is None


def test_the_first_change_is_due_after_a_tenth_of_a_second() -> None:
    """Changes that follow within that time do not put it off."""
    schedule = PushSchedule()
    schedule.changed(10.0)
    schedule.changed(10.09)
    assert schedule.due() == pytest.approx(10.1)


def test_pushes_are_a_second_apart_when_changes_keep_coming() -> None:
    """Edits every 10 ms for five seconds are pushed at most once a second, and the last of them is pushed."""
    schedule, pushes = PushSchedule(), []
    for tick in range(600):
        now = tick / 100
        if now < 5:
            schedule.changed(now)
        due = schedule.due()
        if due is not None and due <= now:
            schedule.begins(now)
            pushes.append(now)
    assert pushes[0] == pytest.approx(0.1)
    gaps = [later - earlier for earlier, later in itertools.pairwise(pushes)]
    assert min(gaps) >= SPACING_S - 1e-9
    assert pushes[-1] >= 5.0
    assert schedule.due() is None


def test_a_change_after_a_quiet_second_is_fast_again() -> None:
    """Spacing counts from the last push, not from the last change."""
    schedule = PushSchedule()
    schedule.changed(0.0)
    schedule.begins(0.1)
    schedule.changed(50.0)
    assert schedule.due() == pytest.approx(50.1)


def test_a_failed_export_is_tried_again_later_each_time() -> None:
    """The wait doubles up to its limit and is forgotten after a success."""
    schedule, waits, now = PushSchedule(), [], 0.0
    schedule.changed(now)
    for _ in range(9):
        due = schedule.due()
        assert due is not None
        waits.append(due - now)
        now = due
        schedule.begins(now)
        schedule.failed(now)
    assert waits[1:] == pytest.approx([SPACING_S, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0])
    schedule.succeeded()
    assert schedule.due() == pytest.approx(now + SPACING_S)
