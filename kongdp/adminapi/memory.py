"""A store over a table in memory: what a node without a database answers from (read-only), and what tests write to.

In: a table.  Out: the Reader, Writer and Store of `adminapi.store`. Pages are in order of id; the order of a collection
is worked out once for each table, look-ups by a unique field are served from an index made on first use. Replacing the
table (`replace`) is one assignment: a reader that has begun goes on with the one it has.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kongdp.adminapi.store import NAMING_FIELDS, NOWHERE, TagFilter
from kongdp.entities.table import Row, Table


class _View:
    """Reads of one table that does not change."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._ordered: dict[str, list[str]] = {}
        self._indexes: dict[tuple[str, str], dict[Any, str]] = {}

    def get(self, collection: str, id: str) -> Row | None:
        """See store.Reader."""
        return self.table.get(collection, {}).get(id)

    def find(self, collection: str, field: str, value: Any, where: Mapping[str, str] = NOWHERE) -> Row | None:
        """See store.Reader."""
        if where:
            rows = self.table.get(collection, {}).values()
            return next((row for row in rows if row.get(field) == value and _below(row, where)), None)
        index = self._indexes.get((collection, field))
        if index is None:
            rows_by_id = self.table.get(collection, {})
            index = {row[field]: id for id, row in rows_by_id.items() if isinstance(row.get(field), str)}
            self._indexes[collection, field] = index
        id = index.get(value) if isinstance(value, str) else None
        return None if id is None else self.table[collection][id]

    def page(
        self,
        collection: str,
        *,
        where: Mapping[str, str] = NOWHERE,
        tags: TagFilter | None = None,
        contains: str = "",
        size: int,
        after: str | None = None,
        skip: int = 0,
    ) -> list[Row]:
        """See store.Reader."""
        ids = self._ordered.get(collection)
        if ids is None:
            ids = self._ordered[collection] = sorted(self.table.get(collection, {}))
        rows = self.table.get(collection, {})
        found: list[Row] = []
        for position in range(0 if after is None else bisect_right(ids, after), len(ids)):
            row = rows[ids[position]]
            if _is_wanted(row, where, tags, contains):
                found.append(row)
                if len(found) == size + skip:
                    break
        return found[skip:]

    def count(
        self,
        collection: str,
        *,
        where: Mapping[str, str] = NOWHERE,
        tags: TagFilter | None = None,
        contains: str = "",
    ) -> int:
        """See store.Reader."""
        return sum(_is_wanted(row, where, tags, contains) for row in self.table.get(collection, {}).values())


def _is_wanted(row: Row, where: Mapping[str, str], tags: TagFilter | None, contains: str) -> bool:
    if not _below(row, where) or (tags is not None and not tags.accepts(row.get("tags"))):
        return False
    wanted = contains.lower()
    return not wanted or any(wanted in str(row.get(name) or "").lower() for name in NAMING_FIELDS)


def _below(row: Row, where: Mapping[str, str]) -> bool:
    return all((row.get(name) or {}).get("id") == id for name, id in where.items())


class _Transaction(_View):
    """A view of copied collections; copies are made when a collection is first written."""

    def __init__(self, table: Table) -> None:
        super().__init__(dict(table))
        self._copied: set[str] = set()

    def put(self, collection: str, row: Row) -> None:
        """See store.Writer."""
        self._own(collection)[row["id"]] = row

    def delete(self, collection: str, id: str) -> None:
        """See store.Writer."""
        self._own(collection).pop(id, None)

    def _own(self, collection: str) -> dict[str, Row]:
        if collection not in self._copied:
            self.table[collection] = dict(self.table.get(collection, {}))
            self._copied.add(collection)
        self._ordered.pop(collection, None)
        for key in [key for key in self._indexes if key[0] == collection]:
            del self._indexes[key]
        return self.table[collection]


class MemoryStore:
    """A store whose rows live in this process and end with it."""

    def __init__(self, table: Table | None = None, *, writable: bool = False) -> None:
        self._view = _View(table or {})
        self._writable = writable

    @property
    def writable(self) -> bool:
        """See store.Store."""
        return self._writable

    @property
    def table(self) -> Table:
        """The rows; not to be modified."""
        return self._view.table

    def replace(self, table: Table) -> None:
        """Answer from another table from now on."""
        self._view = _View(table)

    @contextmanager
    def read(self) -> Iterator[_View]:
        """See store.Store."""
        yield self._view

    @contextmanager
    def write(self, *, actor: str, summary: str) -> Iterator[_Transaction]:
        """See store.Store."""
        transaction = _Transaction(self._view.table)
        yield transaction
        self.replace(transaction.table)
