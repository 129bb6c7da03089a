"""Buckets that grow old become wider, then go; no count changes on the way, and boots are folded without being doubled."""

import tempfile
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kongdp.controlplane import activity, activity_rollup
from kongdp.controlplane.activity_record import Scope, Span, frame_span, record
from kongdp.controlplane.activity_rollup import Retention, tidy
from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import Database
from kongdp.controlplane.store.migrations import migrate
from kongdp.sync.messages import CounterFrame

NOW = 1_800_000_000.0  # a whole hour
KEPT = Retention(fine_s=3_600, minutes_s=86_400, hours_s=30 * 86_400)
ROUTE = "5b5b3537-7bcb-4cca-9bf0-e9d43429d848"
NODE = "1da9157f-c443-4b08-8355-c97520754c21"
ALL = Span(0, int(NOW) + 1, 3_600)


def count(database: Database, at: float, total: int, boot: str = "boot", now: float = NOW) -> None:
    activity.add(database, [CounterFrame(NODE, boot, 1, at, ((ROUTE, 200, "service", total),))], now)


def tidy_all(database: Database, now: float = NOW) -> int:
    """Everything that is due; how many pieces it were."""
    pieces = 0
    while tidy(database, KEPT, now):
        pieces += 1
    return pieces


def buckets(database: Database) -> list[tuple[int, int, int]]:
    """(width, seconds before NOW, count), oldest first."""
    table = tables.activity_buckets
    with database.read() as connection:
        rows = connection.execute(sa.select(table.c.width, table.c.at, table.c.count).order_by(table.c.at))
        return [(width, int(NOW) - at, found) for width, at, found in rows]


def sums(database: Database) -> tuple[dict[int, int], dict[int, int]]:
    with database.read() as connection:
        found = record(connection, Scope(), ALL)
    return found.codes, found.ever


def test_buckets_become_wider_at_the_end_of_their_time(database: Database) -> None:
    """Whole minutes and whole hours only: a bucket is never half in one width and half in another."""
    for number, age in enumerate((3_550, 3_600, 3_610, 3_660, 86_300, 86_400, 86_410, 90_000), 1):
        count(database, NOW - age, 10, f"boot {number}")
    tidy_all(database)
    assert buckets(database) == [
        (3600, 90_000, 20),
        (60, 86_400, 10),
        (60, 86_340, 10),
        (60, 3_660, 20),
        (10, 3_600, 10),
        (10, 3_550, 10),
    ]
    assert sums(database) == ({200: 80}, {200: 80})
    assert tidy_all(database) == 0


def test_hours_go_at_the_end_and_the_total_stays(database: Database) -> None:
    """Retention takes the times away, never the number of requests ever counted."""
    count(database, NOW - 30 * 86_400 - 3_600, 7, "old")
    count(database, NOW - 30 * 86_400, 5, "new")
    tidy_all(database)
    assert buckets(database) == [(3600, 30 * 86_400, 5)]
    assert sums(database) == ({200: 5}, {200: 12})


def test_late_counts_join_what_was_rolled_up(database: Database) -> None:
    """A node that was away for hours delivers its samples: they end in the same buckets as if it had been there."""
    count(database, NOW - 7_200, 1)
    tidy_all(database)
    count(database, NOW - 7_200, 4)
    assert buckets(database) == [(10, 7_200, 3), (60, 7_200, 1)] or buckets(database) == [
        (60, 7_200, 1),
        (10, 7_200, 3),
    ]
    assert sums(database) == ({200: 4}, {200: 4})
    tidy_all(database)
    assert buckets(database) == [(60, 7_200, 4)]


def test_one_piece_is_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers wait for a piece, not for the whole; pieces add up in the same minute."""
    monkeypatch.setattr(activity_rollup, "PIECE_ROWS", 2)
    for number in range(6):
        count(database, NOW - 7_200 + 10 * number, 1, f"boot {number}")
    assert tidy(database, KEPT, NOW)
    assert buckets(database)[-1] == (10, 7_150, 1)
    assert sums(database)[0] == {200: 6}
    assert tidy_all(database) >= 1
    assert buckets(database) == [(60, 7_200, 6)]


def test_boots_are_folded_when_nobody_can_ask_about_them(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """Their totals stay, together; a frame of such a boot would be counted twice, so it is refused and logged."""
    later = NOW + 31 * 86_400
    count(database, NOW, 3, "one")
    count(database, NOW, 4, "two")
    tidy_all(database, later)
    count(database, later, 5, "one", later)
    count(database, later, 5, "three", later)
    table = tables.activity_totals
    with database.read() as connection:
        assert sorted(connection.scalars(sa.select(table.c.total))) == [5, 7]
        assert record(connection, Scope(node_id=NODE), frame_span("5m", later)).ever == {200: 12}
    assert "boot one, which ended too long ago" in caplog.text
    assert tidy_all(database, later) == 0
    tidy_all(database, later + 31 * 86_400)
    with database.read() as connection:
        assert list(connection.scalars(sa.select(table.c.total))) == [12]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("count"), st.integers(0, 2 * 86_400), st.integers(1, 100)),
            st.tuples(st.just("tidy"), st.integers(0, 20_000), st.just(0)),
        ),
        max_size=30,
    )
)
def test_sums_are_exact_whenever_buckets_are_rolled_up(steps: list[tuple[str, int, int]]) -> None:
    """Counts of any age between roll-ups at any time: the sum, and the sum by hour, are what was counted."""
    truth: Counter[int] = Counter()
    now, total = NOW, 0
    with tempfile.TemporaryDirectory() as directory:
        database = Database(f"sqlite:///{Path(directory, 'x.db')}")
        migrate(database)
        for kind, number, amount in steps:
            if kind == "tidy":
                now += number
                tidy_all(database, now)
                continue
            total += amount
            truth[int(now - number) // 3_600 * 3_600] += amount
            count(database, now - number, total, now=now)
        with database.read() as connection:
            found = record(connection, Scope(), Span(0, int(now) + 1, 3_600))
        database.close()
    assert {at: n for at, _code, n in found.points} == dict(truth)
    assert sum(found.ever.values()) == total
