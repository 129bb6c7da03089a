"""The history of a group's configuration: which revisions there are, what two of them differ in, and going back to one.

In: a group and revision numbers; 0 stands for the beginning, when there was nothing.  Out: revisions, net changes, a
new revision.
House rule: history is never rewritten. To restore is to append one more revision whose rows are those of an older
one, so that a restore can itself be taken back. Cold; called off the event loop.
Source: ours.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from kongdp.controlplane import managed
from kongdp.controlplane.changes import Changes, changes_since, latest_revision
from kongdp.controlplane.store import tables
from kongdp.controlplane.store.repository import EntityChange
from kongdp.errors import KongdpError, Source


class UnknownRevisionError(KongdpError):
    """The group has no revision with this number."""

    source = Source.CLIENT


class StaleError(KongdpError):
    """The caller has decided on the ground of something that has changed since; `current` is what is true now."""

    source = Source.CLIENT

    def __init__(self, message: str, current: str) -> None:
        super().__init__(message)
        self.current = current


@dataclass(frozen=True, slots=True)
class Revision:
    """One committed change of a group; `count` is the number of rows it changed."""

    number: int
    group_id: str
    at: float
    actor: str
    summary: str
    count: int


def history(connection: sa.Connection, group_id: str, *, size: int, skip: int = 0) -> list[Revision]:
    """A page of the group's revisions, newest first."""
    revision = tables.revisions
    query = sa.select(revision).where(revision.c.group_id == group_id).order_by(revision.c.number.desc())
    rows = list(connection.execute(query.limit(size).offset(skip)))
    counts = _counts(connection, [row.number for row in rows])
    return [Revision(**row._mapping, count=counts.get(row.number, 0)) for row in rows]


def count(connection: sa.Connection, group_id: str) -> int:
    """How many revisions the group has."""
    revision = tables.revisions
    found = connection.scalar(sa.select(sa.func.count()).select_from(revision).where(revision.c.group_id == group_id))
    return found or 0


def find(connection: sa.Connection, group_id: str, number: int) -> Revision:
    """One revision. Raises UnknownRevisionError."""
    revision = tables.revisions
    query = sa.select(revision).where(revision.c.group_id == group_id, revision.c.number == number)
    row = connection.execute(query).first()
    if row is None:
        raise UnknownRevisionError(f"there is no revision {number} in this group")
    return Revision(**row._mapping, count=_counts(connection, [number]).get(number, 0))


def changes_of(connection: sa.Connection, number: int) -> list[EntityChange]:
    """The rows that one revision changed."""
    change = tables.revision_changes
    query = (
        sa.select(change.c.collection, change.c.entity_id, change.c.before, change.c.after)
        .where(change.c.number == number)
        .order_by(change.c.position)
    )
    return [EntityChange(*row) for row in connection.execute(query)]


def difference(connection: sa.Connection, group_id: str, old: int, new: int) -> list[EntityChange]:
    """What turns the configuration of revision `old` into that of `new`, each entity once.

    `new` may be the older one. Raises UnknownRevisionError.
    """
    for number in (old, new):
        if number != 0:
            find(connection, group_id, number)
    low, high = sorted((old, new))
    forward = _net(changes_since(connection, group_id, low, high))
    return forward if old <= new else [_reversed(change) for change in forward]


def restore(changes: Changes, group_id: str, number: int, *, actor: str, expected: int | None = None) -> Revision:
    """Make the group what it was at revision `number`, in one transaction; returns the newest revision afterwards.

    With `expected`, raises StaleError when the newest revision is another one by now. Nothing is appended when there is
    nothing to change; what application registration manages stays as it is. Raises UnknownRevisionError,
    UnknownGroupError, ManagedError.
    """
    with changes.transaction(actor=actor, summary=f"restore revision {number}") as transaction:
        writer = transaction.group(group_id)
        newest = latest_revision(transaction.connection, group_id)
        check_expected(newest, expected)
        for change in managed.spared(difference(transaction.connection, group_id, newest, number)):
            if change.after is None:
                writer.delete(change.collection, change.id)
            else:
                writer.put(change.collection, change.after)
    with changes.database.read() as connection:
        return find(connection, group_id, latest_revision(connection, group_id))


def check_expected(newest: int, expected: int | None) -> None:
    """Raise StaleError when the caller has seen another revision than the newest."""
    if expected is not None and expected != newest:
        raise StaleError(f"the configuration has changed: it is at revision {newest} now", str(newest))


def changed_fields(change: EntityChange) -> dict[str, tuple[Any, Any]]:
    """field -> (before, after) of a row that was there before and after; what a row's times say is left out."""
    before, after = change.before or {}, change.after or {}
    return {
        name: (before.get(name), after.get(name))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name) and name != "updated_at"
    }


def _counts(connection: sa.Connection, numbers: Sequence[int]) -> dict[int, int]:
    change = tables.revision_changes
    query = sa.select(change.c.number, sa.func.count()).where(change.c.number.in_(numbers)).group_by(change.c.number)
    return {number: rows for number, rows in connection.execute(query)}  # noqa: C416  # rows of the driver


def _net(changes: Iterable[EntityChange]) -> list[EntityChange]:
    """Each entity once, with its first "before" and its last "after"; those that end as they began are not in it."""
    net: dict[tuple[str, str], EntityChange] = {}
    for change in changes:
        known = net.get((change.collection, change.id))
        before = change.before if known is None else known.before
        net[change.collection, change.id] = EntityChange(change.collection, change.id, before, change.after)
    return [change for change in net.values() if change.before != change.after]


def _reversed(change: EntityChange) -> EntityChange:
    return EntityChange(change.collection, change.id, change.after, change.before)
