"""Questions about the activity: whose, when, in what steps; and the answer as CSV."""

import pytest
import sqlalchemy as sa

from kongdp.controlplane import activity, activity_rollup
from kongdp.controlplane.activity_record import (
    FRAMES,
    ROUTES_MAX,
    STEPS_MAX,
    Record,
    Scope,
    Span,
    SpanError,
    csv_lines,
    custom_span,
    find_routes,
    frame_span,
    record,
)
from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import Database
from kongdp.sync.messages import CounterFrame
from kongdp.telemetry import counters

NOW = 1_800_000_000.0
NODES = ("1da9157f-c443-4b08-8355-c97520754c21", "2da9157f-c443-4b08-8355-c97520754c22")


def route(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def count(database: Database, node: str, rows: dict[str, int], at: float = NOW, code: int = 200) -> None:
    """A boot of its own that counts these routes."""
    frame = CounterFrame(node, f"{node} {at} {code}", 1, at, tuple((each, code, "kong", n) for each, n in rows.items()))
    activity.add(database, [frame], NOW)


def asked(database: Database, scope: Scope, span: Span | None = None) -> Record:
    with database.read() as connection:
        return record(connection, scope, span or frame_span("1h", NOW))


def own(database: Database, number: int, group: str, service: str | None = None, version: str | None = None) -> None:
    values = {"group_id": group, "service_id": service, "version_id": version, "name": f"name {number}"}
    with database.write() as connection:
        connection.execute(sa.insert(tables.activity_routes), {"route_id": route(number), **values})


def test_what_requests_take_on_average(database: Database, group_id: str) -> None:
    """Data planes add up the ms of a route's requests as they count them: no count, code or point of them is seen."""
    own(database, 1, group_id, "s1", "v1")
    boots = (("a", 0.0, 3, 300), ("a", 30.0, 5, 700), ("b", 0.0, 5, 200))
    for boot, ago, requests, ms in boots:
        rows = ((route(1), 200, "service", requests), (route(1), 0, "latency_ms", ms))
        gains = activity.add(database, [CounterFrame(NODES[0], boot, 1, NOW - ago, rows)], NOW)
        assert {gain.code for gain in gains} == {200}
    found = asked(database, Scope(version_ids=("v1",)))
    assert (found.codes, found.ever, found.routes) == ({200: 10}, {200: 10}, {route(1): {200: 10}})
    assert {code for _at, code, _count in found.points} == {200}
    assert found.latency_ms_mean == 90.0
    assert asked(database, Scope(version_ids=("v2",))).latency_ms_mean is None
    while activity_rollup.tidy(database, activity_rollup.Retention(fine_s=0, minutes_s=0), NOW + 7200):
        pass
    assert asked(database, Scope(version_ids=("v1",)), frame_span("3h", NOW)).latency_ms_mean == 90.0


def test_scopes_narrow_what_is_counted(database: Database, group_id: str) -> None:
    """By route, Gateway service, version, group, node, and any two of them; one group does not see another's routes."""
    own(database, 1, group_id, "s1", "v1")
    own(database, 2, group_id, "s1", "v2")
    own(database, 3, "other", "s3", "v3")
    for node in NODES:
        count(database, node, {route(1): 1, route(2): 10, route(3): 100})
    expected = {
        Scope(): 222,
        Scope(route_ids=(route(1),)): 2,
        Scope(route_ids=()): 0,
        Scope(service_id="s1"): 22,
        Scope(version_ids=("v1", "v3")): 202,
        Scope(version_ids=()): 0,
        Scope(group_id=group_id): 22,
        Scope(group_id="other"): 200,
        Scope(node_id=NODES[0]): 111,
        Scope(group_id=group_id, node_id=NODES[0]): 11,
        Scope(group_id=group_id, version_ids=("v3",)): 0,
    }
    for scope, total in expected.items():
        found = asked(database, scope)
        assert found.codes.get(200, 0) == total, scope
        assert found.ever == found.codes


def test_overflow_belongs_to_its_nodes_group(database: Database, group_id: str) -> None:
    """What a node counted without naming the route is not lost for the group; both rooms call that route the same."""
    assert activity.OVERFLOW_ROUTE == counters.OVERFLOW_ROUTE
    node = dict.fromkeys(("hostname", "ip", "version", "config_hash", "sync_status"), "")
    times = dict.fromkeys(("last_seen", "created_at", "updated_at"), NOW)
    with database.write() as connection:
        connection.execute(
            sa.insert(tables.nodes), {"id": NODES[0], "group_id": group_id, "labels": {}, **node, **times}
        )
    for each in NODES:
        count(database, each, {activity.OVERFLOW_ROUTE: 4})
    assert asked(database, Scope(group_id=group_id)).codes == {200: 4}


def test_every_frame_shows_its_own_stretch_in_its_own_steps(database: Database) -> None:
    """From 5 minutes to 30 days: one request just inside, one before it."""
    for frame, (seconds, step) in FRAMES.items():
        name = route(seconds)
        count(database, NODES[0], {name: 1}, NOW - seconds + 10)
        count(database, NODES[0], {name: 5}, NOW - seconds - step - 10)
        found = asked(database, Scope(route_ids=(name,)), frame_span(frame, NOW))
        assert found.codes == {200: 1}, frame
        assert found.points == [((int(NOW) - seconds + 10) // step * step, 200, 1)]
        assert found.ever == {200: 6}


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2026-01-01", "2026-01-01", Span(1767225600, 1767312000, 600)),
        ("2026-01-01T12:00:00Z", "2026-01-01T12:30:00Z", Span(1767268800, 1767270600, 10)),
        ("2026-01-01T12:00:00+01:00", "1767270600", Span(1767265200, 1767270600, 60)),
        ("2026-01-01", "2026-01-10", Span(1767225600, 1768089600, 3600)),
        ("2026-01-01", "2026-12-31", Span(1767225600, 1798761600, 86400)),
        ("1799999990", None, Span(1799999990, 1800000001, 10)),
    ],
)
def test_custom_spans_are_read_in_utc_and_get_a_fitting_step(start: str, end: str | None, expected: Span) -> None:
    """A date as the end is that whole day; steps are those of the graphs."""
    assert custom_span(start, end, NOW) == expected


@pytest.mark.parametrize(
    ("start", "end", "step", "field"),
    [
        ("yesterday", None, None, "start"),
        ("2026-01-01", "2025-01-01", None, "end"),
        ("2026-01-01", "99999999999999", None, "end"),
        ("-5", None, None, "start"),
        ("9" * 60, None, None, "start"),
        ("0001-01-01", None, None, "start"),
        ("2026-01-01", None, 7, "step"),
        ("2026-01-01", "2026-12-31", 10, "step"),
    ],
)
def test_custom_spans_are_refused_by_field(start: str, end: str | None, step: int | None, field: str) -> None:
    """The error names what is wrong."""
    with pytest.raises(SpanError, match=rf"^{field}: ") as caught:
        custom_span(start, end, NOW, step)
    assert caught.value.field == field


def test_spans_end_at_the_bound_of_steps() -> None:
    """As many steps as one answer may have, and not one more."""
    assert custom_span("1000000", str(1_000_000 + 10 * STEPS_MAX), NOW, 10).step == 10
    with pytest.raises(SpanError):
        custom_span("1000000", str(1_000_001 + 10 * STEPS_MAX), NOW, 10)


def test_busiest_routes_are_named_when_there_are_many(database: Database) -> None:
    """Beyond the bound the rest is told as a number; their counts are in the sums all the same."""
    count(database, NODES[0], {route(number): number for number in range(1, ROUTES_MAX + 3)})
    found = asked(database, Scope())
    assert (len(found.routes), found.count_routes_omitted) == (ROUTES_MAX, 2)
    assert route(2) not in found.routes
    assert found.codes == {200: sum(range(1, ROUTES_MAX + 3))}


def test_routes_are_found_by_id_or_name_within_their_group(database: Database) -> None:
    """A name may have had several owners one after the other."""
    own(database, 1, "g")
    own(database, 2, "h")
    with database.read() as connection:
        assert find_routes(connection, "g", "name 1") == find_routes(connection, "g", route(1)) == (route(1),)
        assert find_routes(connection, "g", "name 2") == ()


def test_csv_has_a_row_for_each_point() -> None:
    """Header first; times in UTC; lines end as RFC 4180 says."""
    found = Record(Span(0, 86_400, 3_600), {200: 3}, {}, [(0, 200, 1), (3_600, 200, 2)], {})
    assert list(csv_lines(found)) == [
        "start,seconds,status_code,requests\r\n",
        "1970-01-01T00:00:00Z,3600,200,1\r\n",
        "1970-01-01T01:00:00Z,3600,200,2\r\n",
    ]
