"""The questions people ask of the activity: how often which status, whose, when.

In: a scope (version, Gateway service, route, runtime group, node, in any combination) and a span of time.  Out: a Record, or
its rows as CSV.
House rules: every count stands in exactly one bucket (`activity_rollup` moves them), so an answer is a plain sum over
buckets of all widths; a bucket counts where it begins. Nothing is written here.
Cold; called off the event loop. Source: frames and steps of Konnect's graphs (protocol notes 8.1), export as in the
walkthrough, section 10.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from kongdp.controlplane.activity import LATENCY_MS, OVERFLOW_ROUTE, WIDTHS
from kongdp.controlplane.store import tables
from kongdp.errors import KongdpError, Source

# What a graph may show: seconds back from now, and the width of a point.
FRAMES: dict[str, tuple[int, int]] = {
    "5m": (300, 10),
    "15m": (900, 10),
    "30m": (1_800, 60),
    "1h": (3_600, 60),
    "3h": (10_800, 60),
    "6h": (21_600, 600),
    "12h": (43_200, 600),
    "24h": (86_400, 600),
    "7d": (604_800, 3_600),
    "30d": (2_592_000, 3_600),
}
FRAME_DEFAULT = "6h"
STEPS = (10, 60, 600, 3_600, 86_400)
DAY_S = 86_400
# Steps of one answer; each may have a point for every status code.
STEPS_MAX = 5_000
# Routes named in one answer, those with most requests first.
ROUTES_MAX = 1_000
TIME_MAX = 253_402_300_799  # the end of the year 9999, the last that datetime knows


class SpanError(KongdpError):
    """A span of time that cannot be shown; `field` is what is wrong, the message says why."""

    source = Source.CLIENT

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.said = message


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` up to and without `end`, Unix time in s, in points of `step` seconds. `start` is a whole step."""

    start: int
    end: int
    step: int


def frame_span(frame: str, now: float, step: int | None = None) -> Span:
    """The span of a frame (a key of FRAMES) that ends now. Raises SpanError."""
    if frame not in FRAMES:
        raise SpanError("frame", f"must be one of {', '.join(FRAMES)}")
    seconds, usual = FRAMES[frame]
    return _checked(int(now) - seconds, int(now) + 1, step or usual)


def custom_span(start: str, end: str | None, now: float, step: int | None = None) -> Span:
    """From one moment to another (now, when there is none): Unix time, or ISO 8601, in UTC where no zone is said.

    A date alone as `end` means that the day belongs to the span. Raises SpanError.
    """
    first = read_moment("start", start, is_end=False)
    last = int(now) + 1 if end is None else read_moment("end", end, is_end=True)
    usual = next((each for each in STEPS if (last - first) / each <= 360), DAY_S)
    return _checked(first, last, step or usual)


def _checked(start: int, end: int, step: int) -> Span:
    if step not in STEPS:
        raise SpanError("step", f"must be one of {', '.join(map(str, STEPS))}")
    if end <= start:
        raise SpanError("end", "must be later than start")
    start = start // step * step
    if (end - start) / step > STEPS_MAX:
        raise SpanError("step", f"{step} s gives more than {STEPS_MAX} steps within {end - start} s")
    return Span(start, end, step)


def read_moment(field: str, text: str, *, is_end: bool) -> int:
    """Unix time of a moment as people write it; a date alone as an end means that the day belongs to it. Raises SpanError."""
    try:
        if text.isascii() and text.isdigit():
            found = int(text)
        else:
            read = datetime.fromisoformat(text)
            found = int((read if read.tzinfo is not None else read.replace(tzinfo=UTC)).timestamp())
            found += DAY_S if is_end and len(text) <= len("2026-01-01") else 0
    except (ValueError, OverflowError):
        found = -1
    if not 0 <= found <= TIME_MAX:
        raise SpanError(field, "must be Unix time in seconds, or ISO 8601 such as 2026-01-31 or 2026-01-31T12:00:00Z")
    return found


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose counts: each value that is not None narrows it. Routes that have gone belong to it as they did before.

    `version_ids` are versions of the catalogue, `service_id` a Gateway service. A group has its nodes' overflow besides
    its routes.
    """

    group_id: str | None = None
    version_ids: tuple[str, ...] | None = None
    service_id: str | None = None
    route_ids: tuple[str, ...] | None = None
    node_id: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """Counts of a span: `codes` in all, `routes` by route, `points` as (start of the step, code, count).

    `ever` are the counts since the scope's first request, whatever the span. `count_routes_omitted` says how many routes
    with fewer requests than those in `routes` there are. `latency_ms_mean` is None without requests. `version_points` are
    (start of the step, id of a version, count), where they were asked for.
    """

    span: Span
    codes: dict[int, int]
    routes: dict[str, dict[int, int]]
    points: list[tuple[int, int, int]]
    ever: dict[int, int]
    count_routes_omitted: int = 0
    latency_ms_mean: float | None = None
    version_points: tuple[tuple[int, str, int], ...] = ()


def record(connection: sa.Connection, scope: Scope, span: Span, *, has_versions: bool = False) -> Record:
    """Counts of a scope within a span; with `has_versions` also by version."""
    table = tables.activity_buckets
    within_span = sa.and_(
        table.c.width.in_(WIDTHS), table.c.at >= span.start, table.c.at < span.end, *_conditions(scope, table)
    )
    within = sa.and_(within_span, table.c.source != LATENCY_MS)
    points = _points(connection, within, span)
    codes: defaultdict[int, int] = defaultdict(int)
    for _at, code, count in points:
        codes[code] += count
    routes, count_omitted = _by_route(connection, within)
    total_ms = connection.scalar(sa.select(sa.func.sum(table.c.count)).where(within_span, table.c.source == LATENCY_MS))
    return Record(
        span,
        dict(sorted(codes.items())),
        routes,
        points,
        _ever(connection, scope),
        count_omitted,
        float(total_ms or 0) / sum(codes.values()) if codes else None,
        _version_points(connection, within, span) if has_versions else (),
    )


def _points(connection: sa.Connection, within: Any, span: Span) -> list[tuple[int, int, int]]:
    table = tables.activity_buckets
    at = (table.c.at - table.c.at % span.step).label("step")
    query = sa.select(at, table.c.code, sa.func.sum(table.c.count)).where(within).group_by(at, table.c.code)
    # A bucket that began before its span's first step cannot be among them: `start` is a whole step.
    return sorted((int(moment), code, int(count)) for moment, code, count in connection.execute(query))


def _version_points(connection: sa.Connection, within: Any, span: Span) -> tuple[tuple[int, str, int], ...]:
    # An alias: the scope's conditions ask the same table.
    table, routes = tables.activity_buckets, tables.activity_routes.alias()
    at = (table.c.at - table.c.at % span.step).label("step")
    query = (
        sa.select(at, routes.c.version_id, sa.func.sum(table.c.count))
        .select_from(table.join(routes, table.c.route_id == routes.c.route_id))
        .where(within, routes.c.version_id.is_not(None))
        .group_by(at, routes.c.version_id)
    )
    return tuple(sorted((int(moment), version, int(count)) for moment, version, count in connection.execute(query)))


def _by_route(connection: sa.Connection, within: Any) -> tuple[dict[str, dict[int, int]], int]:
    table = tables.activity_buckets
    query = (
        sa.select(table.c.route_id, table.c.code, sa.func.sum(table.c.count))
        .where(within)
        .group_by(table.c.route_id, table.c.code)
        .order_by(table.c.route_id, table.c.code)
    )
    routes: defaultdict[str, dict[int, int]] = defaultdict(dict)
    for route_id, code, count in connection.execute(query):
        routes[route_id][code] = int(count)
    if len(routes) <= ROUTES_MAX:
        return dict(routes), 0
    busiest = sorted(routes, key=lambda each: (-sum(routes[each].values()), each))[:ROUTES_MAX]
    return {each: routes[each] for each in sorted(busiest)}, len(routes) - ROUTES_MAX


def _ever(connection: sa.Connection, scope: Scope) -> dict[int, int]:
    table, boots = tables.activity_totals, tables.activity_boots
    source = table.join(boots, table.c.boot == boots.c.number)
    query = (
        sa.select(table.c.code, sa.func.sum(table.c.total))
        .select_from(source)
        .where(table.c.source != LATENCY_MS, *_conditions(scope, table))
        .group_by(table.c.code)
        .order_by(table.c.code)
    )
    return {code: int(count) for code, count in connection.execute(query)}


def _conditions(scope: Scope, table: sa.Table) -> Iterator[Any]:
    """The scope as conditions on buckets, or on totals joined with their boots."""
    routes = tables.activity_routes
    node_id = table.c.node_id if "node_id" in table.c else tables.activity_boots.c.node_id
    if scope.route_ids is not None:
        yield table.c.route_id.in_(scope.route_ids)
    if scope.version_ids is not None:
        yield table.c.route_id.in_(sa.select(routes.c.route_id).where(routes.c.version_id.in_(scope.version_ids)))
    if scope.service_id is not None:
        yield table.c.route_id.in_(sa.select(routes.c.route_id).where(routes.c.service_id == scope.service_id))
    if scope.node_id is not None:
        yield node_id == scope.node_id
    if scope.group_id is not None:
        members = sa.select(tables.nodes.c.id).where(tables.nodes.c.group_id == scope.group_id)
        yield sa.or_(
            table.c.route_id.in_(sa.select(routes.c.route_id).where(routes.c.group_id == scope.group_id)),
            sa.and_(table.c.route_id == OVERFLOW_ROUTE, node_id.in_(members)),
        )


def find_routes(connection: sa.Connection, group_id: str, id_or_name: str) -> tuple[str, ...]:
    """The routes of a group with this id or name, those that have gone included: a name may have had several owners."""
    table = tables.activity_routes
    query = sa.select(table.c.route_id).where(
        table.c.group_id == group_id, sa.or_(table.c.route_id == id_or_name, table.c.name == id_or_name)
    )
    return tuple(connection.scalars(query.order_by(table.c.route_id)))


def csv_lines(record: Record) -> Iterator[str]:
    """A record's points as CSV (RFC 4180): start of the step in UTC, its length, status code, requests."""
    yield "start,seconds,status_code,requests\r\n"
    for at, code, count in record.points:
        yield f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ},{record.span.step},{code},{count}\r\n"
