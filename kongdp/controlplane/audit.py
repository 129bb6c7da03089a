"""The audit log: who signed in, who changed accounts, groups, certificates and the catalogue, and who was refused.

Gateway entities are not in it: each of their changes is a revision, which says more. Entries are never changed; they go
when they are a year old. In: what happened.  Out: entries. Cold; called off the event loop.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import Database

KEPT_S = 366 * 86_400.0
TEXT_LENGTH_MAX = 500


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened; `status` is the answer's."""

    at: float
    actor: str
    address: str
    action: str
    status: int


def record(database: Database, entry: Entry) -> None:
    """Append an entry."""
    values = {name: getattr(entry, name) for name in Entry.__slots__}
    for name in ("actor", "address", "action"):
        values[name] = _storable(values[name])
    with database.write() as connection:
        connection.execute(sa.insert(tables.audit), values)


def entries(connection: sa.Connection, *, size: int, skip: int = 0) -> list[Entry]:
    """A page of entries, newest first."""
    table = tables.audit
    columns = [table.c[name] for name in Entry.__slots__]
    query = sa.select(*columns).order_by(table.c.number.desc()).limit(size).offset(skip)
    return [Entry(**row._mapping) for row in connection.execute(query)]


def count(connection: sa.Connection) -> int:
    """How many entries there are."""
    return connection.scalar(sa.select(sa.func.count()).select_from(tables.audit)) or 0


def purge(connection: sa.Connection, now: float) -> None:
    """Delete what is too old."""
    connection.execute(sa.delete(tables.audit).where(tables.audit.c.at < now - KEPT_S))


def _storable(text: str) -> str:
    """Text that every database takes, of bounded length."""
    return text[:TEXT_LENGTH_MAX].encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
