"""Gateway entities of one runtime group as rows in the database: the Admin API's reader and writer over SQL.

In and out: rows (entities.table). Each row is one JSON text beside three indexes that are worked out from it: fields
one can look it up by, foreign keys, and tags. House rule: no entity is known by name here; a new collection needs no
change in this file. A writer remembers what it changed (`changes`), each entity once with its first "before" and its
last "after".
Cold. Called inside `Database.read` or `Database.write`, off the event loop.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from kongdp.adminapi.store import NAMING_FIELDS, NOWHERE, TagFilter
from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import insert_many
from kongdp.entities.table import Row

# Fields by which something in Kong's Admin API finds an entity; any other field is found by reading the collection.
LOOKUP_FIELDS = frozenset(
    (
        *("name", "username", "custom_id", "key", "prefix", "target", "instance_name", "cert_digest", "kid", "group"),
        *("client_id", "access_token"),
    )
)
# Longer values (keys, tokens) are indexed by digest: PostgreSQL refuses index entries beyond about 2,700 bytes.
INDEXED_LENGTH_MAX = 200
# Rows of one statement, and steps of progress.
BUNCH = 500
INDEXES = (tables.entity_keys, tables.entity_references, tables.entity_tags)

# PERF: what every write asks, made once: SQLAlchemy takes longer to build such a statement and find its text than SQLite to
# answer it (cProfile of PUT /routes/{id}: 2,500 calls, with what is made once 1,300).
_ROW = sa.select(tables.entities.c.row).where(
    tables.entities.c.group_id == sa.bindparam("group_id"),
    tables.entities.c.collection == sa.bindparam("collection"),
    tables.entities.c.id == sa.bindparam("id"),
)
_IDS_OF_VALUE = sa.select(tables.entity_keys.c.id).where(
    tables.entity_keys.c.group_id == sa.bindparam("group_id"),
    tables.entity_keys.c.collection == sa.bindparam("collection"),
    tables.entity_keys.c.field == sa.bindparam("field"),
    tables.entity_keys.c.value == sa.bindparam("value"),
)
_INSERT = {table: sa.insert(table) for table in (tables.entities, *INDEXES)}


@dataclass(frozen=True, slots=True)
class EntityChange:
    """One entity before and after a transaction; None means it did not, or does not, exist."""

    collection: str
    id: str
    before: Row | None
    after: Row | None


class GroupReader:
    """A consistent view of one group's rows (adminapi.store.Reader)."""

    def __init__(self, connection: sa.Connection, group_id: str) -> None:
        self._connection = connection
        self._group_id = group_id

    def get(self, collection: str, id: str) -> Row | None:
        """The row with this id, or None."""
        found: Row | None = self._connection.scalar(
            _ROW, {"group_id": self._group_id, "collection": collection, "id": id}
        )
        return found

    def find(self, collection: str, field: str, value: Any, where: Mapping[str, str] = NOWHERE) -> Row | None:
        """The row whose field equals the value, or None; of several the one with the lowest id."""
        for row in self._candidates(collection, field, value, where):
            if row.get(field) == value:
                return row
        return None

    def _candidates(self, collection: str, field: str, value: Any, where: Mapping[str, str]) -> Iterator[Row]:
        """Rows among which the one is: from the index of its field, or (fields without one) all."""
        if field in LOOKUP_FIELDS and isinstance(value, str):
            # Sorted here: asked for an order, SQLite walks the primary key instead of the index of values.
            for id in sorted(self._ids_of_value(collection, field, value, where)):
                row = self.get(collection, str(id))
                if row is not None:
                    yield row
            return
        after = None
        while rows := self.page(collection, where=where, size=BUNCH, after=after):
            yield from rows
            after = rows[-1]["id"]

    def _ids_of_value(self, collection: str, field: str, value: str, where: Mapping[str, str]) -> sa.ScalarResult[str]:
        values = {"group_id": self._group_id, "collection": collection, "field": field, "value": _indexed(value)}
        if not where:
            return self._connection.scalars(_IDS_OF_VALUE, values)
        keys = tables.entity_keys
        query = self._limited(keys, collection, where, None)
        return self._connection.scalars(query.where(keys.c.field == field, keys.c.value == values["value"]))

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
        """At most `size` rows in ascending order of id, after the id `after` and `skip` more."""
        query, base = self._ids(collection, where, tags, contains)
        if after is not None:
            query = query.where(base.c.id > after)
        query = query.order_by(base.c.id).limit(size).offset(skip)
        if base is tables.entities:
            return list(self._connection.scalars(query.with_only_columns(tables.entities.c.row)))
        ids = list(self._connection.scalars(query))
        rows: list[Row] = []
        for start in range(0, len(ids), BUNCH):
            table = tables.entities
            whole = sa.select(table.c.row).where(
                table.c.group_id == self._group_id,
                table.c.collection == collection,
                table.c.id.in_(ids[start : start + BUNCH]),
            )
            rows.extend(self._connection.scalars(whole.order_by(table.c.id)))
        return rows

    def count(
        self,
        collection: str,
        *,
        where: Mapping[str, str] = NOWHERE,
        tags: TagFilter | None = None,
        contains: str = "",
    ) -> int:
        """How many rows match."""
        query, _base = self._ids(collection, where, tags, contains)
        return self._connection.scalar(sa.select(sa.func.count()).select_from(query.subquery())) or 0

    def everything(self) -> Iterator[tuple[str, str, Row]]:
        """(collection, id, row) of all rows of the group, ordered by collection and id."""
        table = tables.entities
        query = (
            sa.select(table.c.collection, table.c.id, table.c.row)
            .where(table.c.group_id == self._group_id)
            .order_by(table.c.collection, table.c.id)
        )
        for collection, id, row in self._connection.execute(query):  # noqa: UP028  # rows of the driver are not tuples
            yield collection, id, row

    def _ids(
        self, collection: str, where: Mapping[str, str], tags: TagFilter | None, contains: str = ""
    ) -> tuple[sa.Select[tuple[str]], sa.FromClause]:
        """Ids of the rows that match, and the table they are read from: the index that narrows most.

        Which table drives the query is decided here and not left to a planner: right after a large import neither
        database has statistics, and a wrong guess reads the whole collection for each look-up.
        """
        if where:
            field, target_id = next(iter(where.items()))
            base: sa.FromClause = tables.entity_references
            rest = {name: id for name, id in where.items() if name != field}
            query = self._limited(base, collection, rest, tags, contains)
            return query.where(base.c.field == field, base.c.target_id == target_id), base
        if tags is not None and tags.every and tags.tags:
            base = tables.entity_tags
            query = self._limited(base, collection, NOWHERE, TagFilter(tags.tags[1:]), contains)
            return query.where(base.c.tag == _indexed(tags.tags[0])), base
        return self._limited(tables.entities, collection, where, tags, contains), tables.entities

    def _limited(
        self,
        base: sa.FromClause,
        collection: str,
        where: Mapping[str, str],
        tags: TagFilter | None,
        contains: str = "",
    ) -> sa.Select[tuple[str]]:
        """Ids in a table, of entities that have these parents, tags and names."""
        query = sa.select(base.c.id).where(base.c.group_id == self._group_id, base.c.collection == collection)

        def also(index: sa.Table, *conditions: Callable[[sa.FromClause], sa.ColumnElement[bool]]) -> Any:
            other = index.alias()
            same = (other.c.group_id == self._group_id, other.c.collection == collection, other.c.id == base.c.id)
            return sa.exists().where(*same, *(condition(other) for condition in conditions)).correlate(base)

        if contains:
            query = query.where(
                also(
                    tables.entity_keys,
                    lambda other: other.c.field.in_(NAMING_FIELDS),
                    lambda other: sa.func.lower(other.c.value).contains(contains.lower(), autoescape=True),
                )
            )
        for field, target_id in where.items():
            query = query.where(
                also(
                    tables.entity_references,
                    lambda other, field=field: other.c.field == field,  # type: ignore[misc]
                    lambda other, id=target_id: other.c.target_id == id,  # type: ignore[misc]
                )
            )
        if tags is None:
            return query
        names = [_indexed(name) for name in tags.tags]
        if not tags.every:
            return query.where(also(tables.entity_tags, lambda other: other.c.tag.in_(names)))
        for name in names:
            query = query.where(also(tables.entity_tags, lambda other, name=name: other.c.tag == name))  # type: ignore[misc]
        return query


class GroupWriter(GroupReader):
    """The same inside a transaction, with writing (adminapi.store.Writer)."""

    def __init__(self, connection: sa.Connection, group_id: str) -> None:
        super().__init__(connection, group_id)
        self._changed: dict[tuple[str, str], tuple[Row | None, Row | None]] = {}
        # What was read last: a write asks three times whether its row is there.
        self._last: tuple[str, str, Row | None] | None = None

    def get(self, collection: str, id: str) -> Row | None:
        """The row with this id, or None. Nobody else writes to the group meanwhile."""
        if self._last is None or self._last[:2] != (collection, id):
            self._last = (collection, id, super().get(collection, id))
        return self._last[2]

    def put(self, collection: str, row: Row) -> None:
        """Insert the row, or replace the one with its id."""
        id = row["id"]
        before = self.get(collection, id)
        if before == row:
            return
        identity = {"group_id": self._group_id, "collection": collection, "id": id}
        table = tables.entities
        if before is None:
            self._connection.execute(_INSERT[table], {**identity, "row": row})
        else:
            self._connection.execute(sa.update(table).where(*_is(table, identity)).values(row=row))
        for index, entries in _indexes(row).items():
            self._reindex(index, identity, _indexes(before)[index] if before is not None else [], entries)
        self._note(collection, id, before, row)

    def delete(self, collection: str, id: str) -> None:
        """Remove the row with this id; silent when there is none."""
        before = self.get(collection, id)
        if before is None:
            return
        identity = {"group_id": self._group_id, "collection": collection, "id": id}
        self._connection.execute(sa.delete(tables.entities).where(*_is(tables.entities, identity)))
        self._note(collection, id, before, None)

    def apply(self, changes: Sequence[EntityChange], on_progress: Callable[[int], None] = lambda done: None) -> None:
        """Write many changes whose `before` is what is stored, a bunch of one kind at a time.

        The caller has read the rows in this transaction, or holds the group's lock since it did. `on_progress` hears
        how many are written.
        """
        done = 0
        for _kind, group in groupby(changes, lambda change: (change.collection, _kind_of(change))):
            for bunch in _bunches(list(group)):
                self._apply_bunch(bunch)
                done += len(bunch)
                on_progress(done)

    def _apply_bunch(self, changes: Sequence[EntityChange]) -> None:
        """Changes of one collection and one kind."""
        table = tables.entities
        collection = changes[0].collection
        ids = [change.id for change in changes]
        mine = (table.c.group_id == self._group_id, table.c.collection == collection)
        identities = [{"group_id": self._group_id, "collection": collection, "id": id} for id in ids]
        if _kind_of(changes[0]) == "delete":
            self._connection.execute(sa.delete(table).where(*mine, table.c.id.in_(ids)))
        elif _kind_of(changes[0]) == "create":
            rows = [{**identity, "row": change.after} for identity, change in zip(identities, changes, strict=True)]
            insert_many(self._connection, table, rows)
        else:
            statement = sa.update(table).where(*mine, table.c.id == sa.bindparam("of")).values(row=sa.bindparam("new"))
            self._connection.execute(statement, [{"of": change.id, "new": change.after} for change in changes])
            for index in INDEXES:
                of_group = (index.c.group_id == self._group_id, index.c.collection == collection)
                self._connection.execute(sa.delete(index).where(*of_group, index.c.id.in_(ids)))
        for index in INDEXES:
            entries = [
                identity | entry
                for identity, change in zip(identities, changes, strict=True)
                if change.after is not None
                for entry in _indexes(change.after)[index]
            ]
            insert_many(self._connection, index, entries)
        for change in changes:
            self._note(collection, change.id, change.before, change.after)

    @property
    def changes(self) -> list[EntityChange]:
        """What this transaction changed so far; an entity that ends as it began is not in it."""
        return [
            EntityChange(collection, id, before, after)
            for (collection, id), (before, after) in self._changed.items()
            if before != after
        ]

    def _note(self, collection: str, id: str, before: Row | None, after: Row | None) -> None:
        self._last = None
        first = self._changed.get((collection, id))
        self._changed[collection, id] = (before if first is None else first[0], after)

    def _reindex(
        self, index: sa.Table, identity: dict[str, str], old: list[dict[str, str]], new: list[dict[str, str]]
    ) -> None:
        for entry in old:
            if entry not in new:
                self._connection.execute(sa.delete(index).where(*_is(index, identity | entry)))
        added = [identity | entry for entry in new if entry not in old]
        if added:
            self._connection.execute(_INSERT[index], added)


def _kind_of(change: EntityChange) -> str:
    return "create" if change.before is None else "delete" if change.after is None else "update"


def _bunches(changes: Sequence[EntityChange]) -> Iterator[Sequence[EntityChange]]:
    for start in range(0, len(changes), BUNCH):
        yield changes[start : start + BUNCH]


def _is(table: sa.Table, values: Mapping[str, str]) -> list[sa.ColumnElement[bool]]:
    return [table.c[name] == value for name, value in values.items()]


def _indexed(value: str) -> str:
    # PostgreSQL's texts cannot hold the character of number 0; JSON, which the row is, can.
    if len(value) <= INDEXED_LENGTH_MAX and "\0" not in value:
        return value
    return "sha256:" + hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()


def _indexes(row: Row) -> dict[sa.Table, list[dict[str, str]]]:
    """The entries that a row has in each of the three indexes."""
    keys = [
        {"field": field, "value": _indexed(row[field])}
        for field in LOOKUP_FIELDS.intersection(row)
        if isinstance(row[field], str)
    ]
    references = [
        {"field": field, "target_id": value["id"]}
        for field, value in row.items()
        if isinstance(value, dict) and value.keys() == {"id"} and isinstance(value["id"], str)
    ]
    tags = [{"tag": _indexed(tag)} for tag in dict.fromkeys(row.get("tags") or ())]
    return {tables.entity_keys: keys, tables.entity_references: references, tables.entity_tags: tags}
