"""Counts by status code: exact whatever happens to the frames that carry them."""

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kongdp.controlplane import activity, groups
from kongdp.controlplane.activity_record import Scope, frame_span, record
from kongdp.controlplane.changes import Changes
from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import Database
from kongdp.controlplane.store.migrations import migrate
from kongdp.sync.messages import CounterFrame

NOW = 1_800_000_000.0
ROUTES = [f"00000000-0000-4000-8000-{number:012d}" for number in range(3)]
NODE = "1da9157f-c443-4b08-8355-c97520754c21"


def frame(seq: int, rows: list[tuple[str, int, str, int]], boot: str = "boot", at: float = NOW) -> CounterFrame:
    return CounterFrame(NODE, boot, seq, at, tuple(rows))


def counts(database: Database, routes: list[str] = ROUTES, span: str = "5m") -> dict[str, dict[int, int]]:
    with database.read() as connection:
        return record(connection, Scope(route_ids=tuple(routes)), frame_span(span, NOW)).routes


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[CounterFrame], Counter[tuple[str, int]]]:
    """Frames of several boots with growing totals, and what was really counted."""
    frames, truth = [], Counter[tuple[str, int]]()
    for boot in range(draw(st.integers(1, 3))):
        totals = Counter[tuple[str, int, str]]()
        for seq in range(draw(st.integers(1, 5))):
            for route in draw(st.lists(st.sampled_from(ROUTES), max_size=4)):
                code = draw(st.sampled_from([200, 404, 502]))
                source = draw(st.sampled_from(["kong", "service"]))
                amount = draw(st.integers(1, 1000))
                totals[route, code, source] += amount
                truth[route, code] += amount
            rows = [(route, code, source, total) for (route, code, source), total in totals.items()]
            frames.append(frame(seq, rows, f"boot {boot}", NOW - draw(st.integers(0, 60))))
    return frames, truth


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(story=stories(), data=st.data())
def test_counts_are_exact_when_frames_are_lost_repeated_and_reordered(
    story: tuple[list[CounterFrame], Counter[tuple[str, int]]], data: st.DataObject
) -> None:
    """As long as the last frame of each boot arrives at some time, the sums are the truth."""
    frames, truth = story
    last = {each.boot_id: each for each in frames}
    kept = [each for each in frames if data.draw(st.booleans())]
    repeated = [each for each in kept if data.draw(st.booleans())]
    arriving = data.draw(st.permutations([*kept, *repeated, *last.values()]))
    with tempfile.TemporaryDirectory() as directory:
        database = Database(f"sqlite:///{Path(directory, 'x.db')}")
        migrate(database)
        while arriving:
            size = data.draw(st.integers(1, len(arriving)))
            activity.add(database, arriving[:size], NOW)
            arriving = arriving[size:]
        counted = {(route, code): count for route, codes in counts(database).items() for code, count in codes.items()}
        database.close()
    assert counted == dict(truth)


def test_counts_of_one_frame_fall_into_the_step_of_its_time(database: Database) -> None:
    """Points tell when; a frame from the future counts as now, one from long ago is not lost."""
    route = ROUTES[0]
    activity.add(database, [frame(1, [(route, 200, "service", 5)], at=NOW - 25)], NOW)
    activity.add(database, [frame(2, [(route, 200, "service", 7)], at=NOW + 9_999)], NOW)
    with database.read() as connection:
        found = record(connection, Scope(route_ids=(route,)), frame_span("5m", NOW))
    assert found.points == [(int(NOW) - 30, 200, 5), (int(NOW), 200, 2)]
    activity.add(database, [frame(3, [(route, 200, "service", 8)], at=0.0)], NOW)
    with database.read() as connection:
        total = connection.exec_driver_sql("SELECT sum(count) FROM activity_buckets").scalar()
    assert total == 8


def test_rows_that_cannot_be_counters_do_not_stop_the_others(database: Database) -> None:
    """A node's mistake costs only that row."""
    rows = [("short", 200, "kong", 1), (ROUTES[0], 99, "kong", 1), (ROUTES[0], 200, "moon", 1)]
    rows += [(ROUTES[0], 200, "kong", 2**63), (ROUTES[0], 200, "kong", 4)]
    activity.add(database, [frame(1, rows)], NOW)
    assert counts(database) == {ROUTES[0]: {200: 4}}


def test_a_smaller_frame_shows_less_than_a_larger_one(database: Database) -> None:
    """Frames end now and reach back as far as their name says."""
    rows = [(ROUTES[0], 200, "kong", 4)]
    activity.add(database, [frame(1, rows, at=NOW - 3_000)], NOW)
    assert counts(database, span="15m") == {}
    assert counts(database, span="1h") == {ROUTES[0]: {200: 4}}


def test_a_frame_of_many_rows_is_stored_whole(database: Database) -> None:
    """More rows than one statement takes."""
    routes = [f"00000000-0000-4000-8000-{number:012d}" for number in range(1_300)]
    activity.add(database, [frame(1, [(route, 200, "service", 1) for route in routes])], NOW)
    with database.read() as connection:
        assert record(connection, Scope(route_ids=tuple(routes)), frame_span("5m", NOW)).codes == {200: 1_300}


def test_a_routes_counts_belong_to_its_services_version_also_after_it_has_gone(database: Database) -> None:
    """The follower notes whose a route is; deleting the route does not take its counts away."""
    group_id = groups.ensure_default(database)
    changes = Changes(database, followers=(activity.follow_routes,))
    service_id, version_id = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
    route: dict[str, Any] = {"id": ROUTES[0], "name": "r", "service": {"id": service_id}}
    with changes.store(group_id).write(actor="test", summary="") as writer:
        writer.put("routes", route)
    with database.write() as connection:
        connection.execute(sa.update(tables.activity_routes).values(version_id=version_id))
    activity.add(database, [frame(1, [(ROUTES[0], 200, "service", 2)])], NOW)
    with changes.store(group_id).write(actor="test", summary="") as writer:
        writer.delete("routes", ROUTES[0])
    with database.read() as connection:
        found = record(connection, Scope(version_ids=(version_id,)), frame_span("5m", NOW))
    assert found.routes == {ROUTES[0]: {200: 2}}
    assert found.ever == {200: 2}
