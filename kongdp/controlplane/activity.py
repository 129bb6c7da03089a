"""Status-code activity on its way in: differences of data planes' totals, added to 10-second buckets.

In: counter frames, each with totals since a node's boot.  Out: rows; `activity_record` answers questions about them,
`activity_rollup` makes them fewer as they grow old.
House rule: per (node, boot, route, code, source) only what exceeds the highest total seen is counted, and total and
bucket change in one transaction. So a frame that is repeated, lost or late changes nothing, and a restart is a new
boot. Counts stay when their route goes; `activity_routes` remembers whose they were. Cold; called off the event loop.
Source: ours (protocol notes 8.3).
"""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from kongdp.controlplane.pulse import Gain
from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import Database, among, upsert
from kongdp.controlplane.store.repository import EntityChange
from kongdp.sync.messages import CounterFrame

LOG = logging.getLogger("kongdp.controlplane.activity")

# Widths of buckets. Counts arrive in the finest; `activity_rollup` moves them.
FINE_S, MINUTE_S, HOUR_S = WIDTHS = (10, 60, 3_600)
# A node whose clock is ahead must not write into the future, one that was away for ages not into what is swept soon.
PAST_S_MAX = 366 * 86_400
# Who answered; and the rows that count no requests but ms: what all of a route's requests have taken, under status 0.
LATENCY_MS = 2
SOURCES = {"kong": 0, "service": 1, "latency_ms": LATENCY_MS}
IDS_PER_QUERY = 500

# The route under which data planes count what their memory had no room for (as telemetry.counters has it).
OVERFLOW_ROUTE = "00000000-0000-0000-0000-000000000000"

_Key = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Boot:
    """A boot's number in the store. What a folded one sends is not counted any more."""

    number: int
    is_folded: bool


def add(database: Database, frames: Sequence[CounterFrame], now: float) -> list[Gain]:
    """Count what these frames say beyond what is known, in one transaction; returns what that was."""
    gains: list[Gain] = []
    by_boot: defaultdict[tuple[str, str], list[CounterFrame]] = defaultdict(list)
    for frame in frames:
        by_boot[frame.node_id, frame.boot_id[:64]].append(frame)
    with database.write() as connection:
        # In one order everywhere, so that two replicas that lock several boots do not wait for each other in a circle.
        for (node_id, boot_id), of_boot in sorted(by_boot.items()):
            boot = lock_boot(database, connection, node_id, boot_id, now)
            if boot.is_folded:
                LOG.error("node %s sends counters of boot %s, which ended too long ago to be counted", node_id, boot_id)
                continue
            gains += _add_boot(database, connection, node_id, boot.number, of_boot, now)
    return gains


def lock_boot(database: Database, connection: sa.Connection, node_id: str, boot_id: str, now: float) -> Boot:
    """A boot, made on first use; writers of one boot wait for each other from here on."""
    table = tables.activity_boots
    insert: Any = (sqlite if database.is_sqlite else postgresql).insert(table)
    row = {"node_id": node_id, "boot_id": boot_id, "last_at": now}
    statement = insert.values(row).on_conflict_do_update(
        index_elements=["node_id", "boot_id"], set_={"last_at": insert.excluded.last_at}
    )
    number, folded_at = connection.execute(statement.returning(table.c.number, table.c.folded_at)).one()
    return Boot(number, folded_at is not None)


def _add_boot(
    database: Database, connection: sa.Connection, node_id: str, boot: int, frames: Sequence[CounterFrame], now: float
) -> list[Gain]:
    known = _totals(connection, boot, {route for frame in frames for route, *_rest in frame.rows})
    raised: dict[_Key, int] = {}
    buckets: defaultdict[tuple[int, _Key], int] = defaultdict(int)
    gains: defaultdict[tuple[float, int], int] = defaultdict(int)
    for frame in frames:
        at = int(min(max(frame.at, now - PAST_S_MAX), now)) // FINE_S * FINE_S
        for key, total in _readable(frame):
            before = known.get(key, 0)
            if total > before:
                known[key] = raised[key] = total
                buckets[at, key] += total - before
                if key[2] != LATENCY_MS:
                    gains[frame.at, key[1]] += total - before
    if not raised:
        return []
    upsert(
        connection,
        tables.activity_totals,
        [
            {"boot": boot, "route_id": route, "code": code, "source": source, "total": total}
            for (route, code, source), total in raised.items()
        ],
    )
    common = {"node_id": node_id, "width": FINE_S}
    upsert(
        connection,
        tables.activity_buckets,
        [
            {**common, "route_id": route, "at": at, "code": code, "source": source, "count": count}
            # In one order everywhere, like the boots: two boots of a node share buckets.
            for (at, (route, code, source)), count in sorted(buckets.items())
        ],
        add=("count",),
    )
    return [Gain(node_id, at, code, count) for (at, code), count in gains.items()]


def _readable(frame: CounterFrame) -> Iterator[tuple[_Key, int]]:
    """The rows of a frame that can be a route's counter; others are a node's mistake and must not stop the rest."""
    for route_id, code, source, total in frame.rows:
        number = SOURCES.get(source)
        if number is None or len(route_id) != 36 or total >= 2**63:
            continue
        if code == 0 if number == LATENCY_MS else 100 <= code <= 999:
            yield (route_id, code, number), total


def _totals(connection: sa.Connection, boot: int, route_ids: set[str]) -> dict[_Key, int]:
    table = tables.activity_totals
    found: dict[_Key, int] = {}
    for condition in among(connection, table.c.route_id, sorted(route_ids)):
        query = sa.select(table.c.route_id, table.c.code, table.c.source, table.c.total)
        rows = connection.execute(query.where(table.c.boot == boot, condition))
        found.update({(route, code, source): total for route, code, source, total in rows})
    return found


def follow_routes(connection: sa.Connection, group_id: str, changes: Sequence[EntityChange]) -> None:
    """Remember whose each changed route is (a follower of `Changes`). A route that goes is not forgotten."""
    changed = [change.after for change in changes if change.collection == "routes" and change.after is not None]
    for start in range(0, len(changed), IDS_PER_QUERY):
        routes = changed[start : start + IDS_PER_QUERY]
        services = {route["id"]: (route.get("service") or {}).get("id") for route in routes}
        versions = _versions(connection, {id for id in services.values() if id is not None})
        rows = [
            {
                "route_id": route["id"],
                "group_id": group_id,
                "name": route.get("name"),
                "service_id": services[route["id"]],
                "version_id": versions.get(services[route["id"]]),
            }
            for route in routes
        ]
        upsert(connection, tables.activity_routes, rows)


def _versions(connection: sa.Connection, service_ids: set[str]) -> dict[str | None, str]:
    """The versions that Gateway services implement."""
    if not service_ids:
        return {}
    table = tables.implementations
    query = sa.select(table.c.gateway_service_id, table.c.version_id)
    rows = connection.execute(query.where(table.c.gateway_service_id.in_(sorted(service_ids))))
    return {row.gateway_service_id: row.version_id for row in rows}
