"""Activity grows old: buckets of 10 seconds become minutes, minutes become hours, hours are dropped; boots are folded.

In: the retention settings and the time.  Out: one small transaction a call, until nothing is due.
House rules: a count is in exactly one bucket at any moment: rows are taken out and added to the wider bucket in one
transaction, so a sum over all widths is the same before and after. Rows that arrive late for a time that was rolled up
already begin as 10 seconds again and follow later. No piece keeps other writers waiting for more than a moment.
Cold: once a minute. Source: ours; the three widths follow Vitals (protocol notes 8.1).
"""

from collections import defaultdict
from dataclasses import dataclass

import sqlalchemy as sa

from kongdp.controlplane.activity import FINE_S, HOUR_S, MINUTE_S, lock_boot
from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import Database, upsert

# Rows of one transaction: about 0.2 s on SQLite. All rows of one moment belong together, so it may be more.
PIECE_ROWS = 10_000
# The boot that keeps the totals of a node's boots that nobody will hear of again. No node can have it: ids are shorter.
FOLDED_BOOT = "boots that ended long ago, added up; what they still send is not counted"


@dataclass(frozen=True, slots=True)
class Retention:
    """For how long buckets of each width are kept, in s; then they become wider ones, at last nothing."""

    fine_s: float = 3_600
    minutes_s: float = 25 * 3_600
    hours_s: float = 366 * 86_400


def tidy(database: Database, retention: Retention, now: float) -> bool:
    """Do one piece of what is due; False when nothing was. Call it until then."""
    minute = int(now - retention.fine_s) // MINUTE_S * MINUTE_S
    hour = int(now - retention.minutes_s) // HOUR_S * HOUR_S
    return (
        _widen(database, FINE_S, MINUTE_S, minute)
        or _widen(database, MINUTE_S, HOUR_S, hour)
        or _widen(database, HOUR_S, None, int(now - retention.hours_s) // HOUR_S * HOUR_S)
        or _fold(database, now - retention.hours_s, now)
    )


def _widen(database: Database, width: int, wider: int | None, before: int) -> bool:
    """Move the oldest buckets that begin before a time into wider ones, or drop them when there is nothing wider."""
    table = tables.activity_buckets
    due = sa.and_(table.c.width == width, table.c.at < before)
    with database.write() as connection:
        last = connection.scalar(sa.select(table.c.at).where(due).order_by(table.c.at).offset(PIECE_ROWS).limit(1))
        if last is not None:
            due = sa.and_(due, table.c.at <= last)
        # Deleted and read in one statement: what a late frame adds meanwhile is either in the rows or stays behind.
        rows = connection.execute(sa.delete(table).where(due).returning(*table.c)).all()
        if rows and wider is not None:
            sums: defaultdict[tuple[str, int, str, int, int], int] = defaultdict(int)
            for route_id, _width, at, node_id, code, source, count in rows:
                sums[route_id, at // wider * wider, node_id, code, source] += count
            names = ("route_id", "at", "node_id", "code", "source")
            moved = [
                {"width": wider, **dict(zip(names, key, strict=True)), "count": added}
                for key, added in sorted(sums.items())
            ]
            upsert(connection, table, moved, add=("count",))
    return bool(rows)


def _fold(database: Database, before: float, now: float) -> bool:
    """Add up the totals of one boot that was not heard of for as long as anything is kept, and forget its rows.

    From then on its frames count nothing: without its totals nobody could tell what was counted before.
    """
    boots, totals = tables.activity_boots, tables.activity_totals
    with database.write() as connection:
        found = connection.execute(
            sa.select(boots.c.number, boots.c.node_id)
            .where(boots.c.last_at < before, boots.c.folded_at.is_(None))
            .order_by(boots.c.number)
            .limit(1)
            .with_for_update(skip_locked=True)
        ).first()
        if found is None:
            return False
        folded = lock_boot(database, connection, found.node_id, FOLDED_BOOT, now).number
        rows = connection.execute(sa.delete(totals).where(totals.c.boot == found.number).returning(*totals.c)).all()
        moved = [{**each._mapping, "boot": folded} for each in sorted(rows)]
        upsert(connection, totals, moved, add=("total",))
        done = boots.c.number.in_((found.number, folded))
        connection.execute(sa.update(boots).where(done).values(folded_at=now))
    return True
