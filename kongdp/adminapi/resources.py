"""What the Admin API does to entities: create, read, edit, replace, delete, list.

In: a collection, arguments and a reader or writer.  Out: rows as answers show them, or ApiError.
House rule: every rule that a single row cannot know is here and runs inside the transaction: uniqueness, references,
cascades, and what a few collections do besides (`extras`). The store is trusted with nothing but keeping rows.
Source: kong/db/dao/init.lua, kong/db/dao/*.lua, kong/api/endpoints.lua 3.9; answers of a live Kong 3.9.1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kongdp.adminapi import errors
from kongdp.adminapi.extras import EXTRAS, NO_EXTRAS, Extras
from kongdp.adminapi.paging import Page
from kongdp.adminapi.store import NOWHERE, Reader, Writer
from kongdp.entities.field import is_uuid
from kongdp.entities.lua_text import one_line
from kongdp.entities.schema import Schema
from kongdp.entities.table import Row
from kongdp.entities.violations import SchemaViolation

# Rows asked of the store at once where all children of an entity are visited.
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Resources:
    """The collections of a node. `clock` gives epoch seconds."""

    schemas: Mapping[str, Schema]
    clock: Callable[[], float]

    def extras(self, schema: Schema) -> Extras:
        """What this collection does besides the rules of all."""
        return EXTRAS.get(schema.name, NO_EXTRAS)

    def select(self, reader: Reader, schema: Schema, key: str, where: Mapping[str, str] = NOWHERE) -> Row | None:
        """The stored row with this id or endpoint key, or None. `where` limits it to the children of a parent."""
        row = self._find(reader, schema, key, where)
        if row is None or any((row.get(name) or {}).get("id") != id for name, id in where.items()):
            return None
        if schema.expires and row["ttl"] is not None and row["ttl"] <= self.clock():
            return None
        return row

    def _find(self, reader: Reader, schema: Schema, key: str, where: Mapping[str, str]) -> Row | None:
        if is_uuid(key):
            return reader.get(schema.name, key.lower())
        name = schema.endpoint_key or (schema.nested_key if where else None)
        if name is not None:
            return reader.find(schema.name, name, self.extras(schema).key(key), where)
        return self.extras(schema).find(reader, key)

    def shown(self, reader: Reader, schema: Schema, row: Row) -> Row:
        """A row as answers show it."""
        return self.extras(schema).shown(reader, row, self.clock())

    def page(
        self, reader: Reader, schema: Schema, page: Page, where: Mapping[str, str] = NOWHERE
    ) -> tuple[list[Row], list[Any] | None]:
        """The rows of a page, and what the offset of the next one holds, or None when this is the last."""
        rows = reader.page(schema.name, where=where, tags=page.tags, size=page.size + 1, after=page.after_id)
        last = [rows[page.size - 1]["id"]] if len(rows) > page.size else None
        if schema.expires:
            now = self.clock()
            rows = [row for row in rows[: page.size] if row["ttl"] is None or row["ttl"] > now]
        return [self.shown(reader, schema, row) for row in rows[: page.size]], last

    def create(self, writer: Writer, schema: Schema, arguments: Mapping[str, Any]) -> Row:
        """A new entity."""
        raw = self._resolved(writer, schema, arguments)
        raw = self.extras(schema).accepted(raw, self.clock())
        try:
            row = schema.insert(raw, self.clock())
        except SchemaViolation as violation:
            raise errors.schema_violation(violation) from None
        return self._store(writer, schema, row, None, raw)

    def update(self, writer: Writer, schema: Schema, previous: Row, edit: Mapping[str, Any]) -> Row:
        """An entity with some fields changed. Its id stays."""
        raw = self._resolved(writer, schema, edit)
        id = raw.get("id")
        if id is None or (isinstance(id, str) and is_uuid(id)):
            # Another is passed over; one that is none is refused by the schema.
            raw["id"] = previous["id"]
        raw = self.extras(schema).accepted(raw, self.clock())
        try:
            row = schema.update(raw, previous, self.clock())
        except SchemaViolation as violation:
            raise errors.schema_violation(violation) from None
        return self._store(writer, schema, row, previous, raw)

    def replace(
        self, writer: Writer, schema: Schema, key: str, arguments: Mapping[str, Any], where: Mapping[str, str] = NOWHERE
    ) -> Row:
        """The entity with this id or endpoint key, made or replaced whole.

        The key in the address counts; another in the arguments is overruled.
        """
        previous = self._find(writer, schema, key, where)
        raw = self._resolved(writer, schema, arguments)
        if is_uuid(key):
            raw["id"] = key
        else:
            raw = self._named(schema, raw, key)
            if previous is not None:
                raw["id"] = previous["id"]
        raw = self.extras(schema).accepted(raw, self.clock())
        try:
            row = schema.upsert(raw, previous, self.clock())
        except SchemaViolation as violation:
            raise errors.schema_violation(violation) from None
        return self._store(writer, schema, row, previous, raw)

    def _named(self, schema: Schema, raw: dict[str, Any], key: str) -> dict[str, Any]:
        """Arguments for the entity that is addressed by this key."""
        name = schema.endpoint_key or schema.nested_key
        named = {**raw, name: key} if name is not None else self.extras(schema).named(raw, key)
        if named is None:
            raise errors.coded(1, f"invalid primary key: '{one_line({'id': key})}'", {"id": "expected a valid UUID"})
        return named

    def _store(self, writer: Writer, schema: Schema, row: Row, previous: Row | None, given: Mapping[str, Any]) -> Row:
        extras = self.extras(schema)
        extras.check(writer, row, previous)
        if previous is None and writer.get(schema.name, row["id"]) is not None:
            raise errors.primary_key_violation({"id": row["id"]})
        self._check_unique(writer, schema, row)
        self._check_references(writer, schema, row, previous)
        stored = extras.stored(row)
        writer.put(schema.name, stored)
        for collection, child in extras.children(writer, stored, given, self.clock()):
            writer.put(collection, child)
        return self.shown(writer, schema, stored)

    def _resolved(self, reader: Reader, schema: Schema, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments with ids for references given by name: `service: {"name": "x"}`."""
        raw = dict(arguments)
        for name, rule in schema.foreign.items():
            value = raw.get(name)
            if not isinstance(value, dict) or len(value) != 1 or "id" in value:
                continue
            (field, wanted), *_ = value.items()
            assert rule.reference is not None
            target = self.schemas[rule.reference]
            if field not in target.unique or not isinstance(wanted, str):
                continue
            found = reader.find(rule.reference, field, wanted)
            if found is None:
                raise errors.foreign_key_unresolved(name, field, wanted, rule.reference)
            raw[name] = {"id": found["id"]}
        return raw

    def _check_unique(self, reader: Reader, schema: Schema, row: Row) -> None:
        for name in schema.unique:
            value = row[name]
            if value is not None:
                taken = reader.find(schema.name, name, value)
                if taken is not None and taken["id"] != row["id"]:
                    raise errors.unique_violation({name: value})
        if len(schema.cache_key) < 2:
            return
        if self._equal_key(reader, schema, row):
            raise errors.unique_violation({name: row[name] for name in sorted(schema.cache_key)})

    def _equal_key(self, reader: Reader, schema: Schema, row: Row) -> bool:
        """Whether another row has the same values in all fields of the cache key.

        The search goes through the children of one parent where the row has one, else through the whole collection.
        """
        texts = [name for name in schema.cache_key if isinstance(row[name], str)]
        if texts and reader.find(schema.name, texts[0], row[texts[0]]) is None:
            return False
        parents = [name for name in schema.cache_key if isinstance(row[name], dict)]
        where = {parents[0]: row[parents[0]]["id"]} if parents else {}
        key = [row[name] for name in schema.cache_key]
        after = None
        while rows := reader.page(schema.name, where=where, size=_BATCH, after=after):
            for other in rows:
                if other["id"] != row["id"] and [other[name] for name in schema.cache_key] == key:
                    return True
            after = rows[-1]["id"]
        return False

    def _check_references(self, reader: Reader, schema: Schema, row: Row, previous: Row | None) -> None:
        for name, rule in schema.foreign.items():
            key = row[name]
            if key is None or (previous is not None and previous[name] == key):
                continue
            assert rule.reference is not None
            if reader.get(rule.reference, key["id"]) is None:
                raise errors.foreign_key_violation(name, key, rule.reference)

    def delete(self, writer: Writer, schema: Schema, row: Row) -> None:
        """Remove an entity and what goes with it; refused while others refer to it."""
        self.extras(schema).check_delete(writer, row)
        doomed: list[tuple[str, str]] = []
        for child in self.schemas.values():
            for name, rule in child.foreign.items():
                if rule.reference != schema.name:
                    continue
                where = {name: row["id"]}
                if rule.on_delete == "cascade":
                    doomed.extend((child.name, id) for id in self._ids(writer, child.name, where))
                elif writer.page(child.name, where=where, size=1):
                    raise errors.still_referenced(schema.name, child.name)
        for collection, id in doomed:
            orphan = writer.get(collection, id)
            if orphan is not None:
                self.delete(writer, self.schemas[collection], orphan)
        writer.delete(schema.name, row["id"])

    def _ids(self, reader: Reader, collection: str, where: Mapping[str, str]) -> list[str]:
        ids: list[str] = []
        while rows := reader.page(collection, where=where, size=_BATCH, after=ids[-1] if ids else None):
            ids.extend(row["id"] for row in rows)
        return ids
