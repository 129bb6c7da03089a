"""The declarative format and tables: load, dump, difference.

In: a config_table, from a file (nested, names for references, no ids) or from the hybrid wire (flat, ids).  Out: a
Table, or DeclarativeError with every problem and its place. What equals the row of a previous table is taken over
unvalidated, the same object: a large configuration in which one row differs costs a comparison for each of the others,
and `difference` finds the changed ones by identity. Where files leave ids out they are derived as Kong derives them;
what Kong would number at random gets an id from its content here, so that loading a file again changes nothing.
Source: kong/db/schema/others/declarative_config.lua 3.9; hybrid protocol specification, section 3.
"""

import json
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from kongdp.entities.declarative_errors import DeclarativeError, Place, error_of
from kongdp.entities.declarative_text import parse_text
from kongdp.entities.identity import derive_id
from kongdp.entities.paths import migrate_path
from kongdp.entities.schema import Schema
from kongdp.entities.schemas import SCHEMAS, build_schemas
from kongdp.entities.schemas.plugins import PluginSchema
from kongdp.entities.table import Change, Row, Table
from kongdp.entities.violations import ENTITY, REQUIRED, UNKNOWN, Problems

__all__ = ["DeclarativeError", "Loaded", "difference", "dump", "load", "load_config", "parse_text"]

FORMAT_VERSIONS = ("1.1", "2.1", "3.0")
DEFAULT_WORKSPACE_ID = "0dc6f45b-8f8d-40d2-a504-473544ee190b"

# Written by decK beside the entities; of no meaning to a node, except where they say what entities look like.
_DECK_KEYS = frozenset(("_info", "_konnect", "_workspace", "_plugin_configs"))
_HEAD_KEYS = frozenset(("_format_version", "_transform", "_comment", "_ignore"))
# Stands in for the target of a bad reference, so that its own reason is the only one.
_NOBODY = "00000000-0000-0000-0000-000000000000"
_NO_PLUGINS: Mapping[str, PluginSchema] = {}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A table, and what was passed over on the way to it."""

    table: Table
    warnings: tuple[str, ...]


@dataclass(slots=True)
class _Item:
    """One entity of the input, before it is a row. `raw` has no children in it."""

    place: Place
    raw: Mapping[str, Any]
    parent: "_Item | None" = None
    parent_field: str = ""
    id: str = ""


def load(
    data: Mapping[str, Any],
    *,
    router_flavor: str = "traditional_compatible",
    plugins: Mapping[str, PluginSchema] | Container[str] | None = _NO_PLUGINS,
    previous: Table | None = None,
    now: float | None = None,
) -> Table:
    """The table of a configuration. Raises DeclarativeError; see load_config."""
    return load_config(data, router_flavor=router_flavor, plugins=plugins, previous=previous, now=now).table


def load_config(
    data: Mapping[str, Any],
    *,
    router_flavor: str = "traditional_compatible",
    plugins: Mapping[str, PluginSchema] | Container[str] | None = _NO_PLUGINS,
    judge_expression: Callable[[Mapping[str, Any]], str | None] | None = None,
    schemas: Mapping[str, Schema] | None = None,
    previous: Table | None = None,
    strict: bool = False,
    now: float | None = None,
) -> Loaded:
    """The table of a configuration, with warnings. Raises DeclarativeError that lists every problem.

    `plugins`: the node's plugins (see plugins_schema); a plugin that is not among them refuses the configuration.
    `schemas` instead of the three parameters before it, where a caller has built them. `previous`: rows equal to one of
    its are that row. `strict`: collections nobody knows are a problem instead of a warning. `now`: epoch seconds for
    rows that bring no times.
    """
    if not isinstance(data, Mapping):
        raise DeclarativeError({"error": "failed parsing declarative configuration: expected an object"})
    known = schemas or build_schemas(router_flavor=router_flavor, plugins=plugins, judge_expression=judge_expression)
    loader = _Loader(known, data, previous or {}, time.time() if now is None else now)
    loader.read(strict)
    loader.build()
    if loader.failed():
        raise error_of(data, loader.head_problems, loader.problems)
    return Loaded(loader.table, tuple(loader.warnings))


@lru_cache(maxsize=1)
def _children() -> Mapping[str, Mapping[str, str]]:
    """parent collection -> child collection -> the child's foreign field."""
    children: dict[str, dict[str, str]] = {name: {} for name in SCHEMAS}
    for schema in SCHEMAS.values():
        for name, rule in schema.foreign.items():
            assert rule.reference is not None
            children[rule.reference].setdefault(schema.name, name)
    return children


@dataclass(slots=True)
class _Loader:
    """One load, in two steps: `read` flattens the input into items, `build` makes rows of them, parents first."""

    schemas: Mapping[str, Schema]
    data: Mapping[str, Any]
    previous: Table
    now: float
    transform: bool = True
    head_problems: Problems = field(default_factory=dict)
    problems: list[tuple[Place, Mapping[str, Any], Problems]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    items: dict[str, list[_Item]] = field(default_factory=dict)
    table: Table = field(default_factory=dict)
    keys: dict[str, dict[Any, str]] = field(default_factory=dict)
    content_ids: set[str] = field(default_factory=set)

    def failed(self) -> bool:
        """Whether anything was wrong."""
        return bool(self.head_problems or self.problems)

    def read(self, strict: bool) -> None:
        """Check the top level and flatten what hangs below it."""
        self._read_head()
        skipped = []
        prepare = self._preparation()
        for name, value in self.data.items():
            if name in _HEAD_KEYS or name in _DECK_KEYS:
                continue
            if name not in self.schemas:
                if strict or not isinstance(name, str) or name.startswith("_"):
                    self.head_problems[str(name)] = UNKNOWN
                else:
                    skipped.append(name)
            elif value is not None:
                problem = self._read_list(name, value, prepare, None, "")
                if problem:
                    self.head_problems[name] = problem
        if skipped:
            self.warnings.append(f"passed over what this node does not know: {', '.join(sorted(skipped))}")

    def _read_head(self) -> None:
        version = self.data.get("_format_version")
        if version is None:
            self.head_problems["_format_version"] = REQUIRED
        elif not isinstance(version, str):
            self.head_problems["_format_version"] = "expected a string"
        elif version not in FORMAT_VERSIONS:
            self.head_problems["_format_version"] = f"expected one of: {', '.join(FORMAT_VERSIONS)}"
        transform = self.data.get("_transform")
        if transform is not None and not isinstance(transform, bool):
            self.head_problems["_transform"] = "expected a boolean"
        self.transform = transform is not False

    def _preparation(self) -> "_Preparation | None":
        """What must be done to raw entities, or None in the usual case of nothing."""
        info = self.data.get("_info")
        defaults = info.get("defaults") if isinstance(info, dict) else None
        plugin_configs = self.data.get("_plugin_configs")
        migrate = self.data.get("_format_version") in ("1.1", "2.1")
        if not (migrate or isinstance(defaults, dict) or isinstance(plugin_configs, dict)):
            return None
        return _Preparation(
            migrate,
            defaults if isinstance(defaults, dict) else {},
            plugin_configs if isinstance(plugin_configs, dict) else {},
        )

    def _read_list(
        self, name: str, value: Any, prepare: "_Preparation | None", parent: _Item | None, parent_field: str
    ) -> str | None:
        """Take in a list of entities; returns what is wrong with the list itself."""
        if value == {}:
            return None
        if not isinstance(value, list):
            return "expected an array"
        children = _children()[name]
        items = self.items.setdefault(name, [])
        parent_place = parent.place if parent is not None else None
        for position, raw in enumerate(value):
            place = (parent_place, name, position)
            if not isinstance(raw, dict):
                raw = {"name": raw} if name == "snis" and parent is not None and isinstance(raw, str) else raw
                if not isinstance(raw, dict):
                    self.problems.append((place, {}, {ENTITY: ["expected a record"]}))
                    continue
            if prepare is not None:
                raw = prepare.apply(name, raw)
            item = _Item(place, raw, parent, parent_field)
            items.append(item)
            if not raw.keys().isdisjoint(children):
                self._read_children(item, children, prepare)
        return None

    def _read_children(self, item: _Item, children: Mapping[str, str], prepare: "_Preparation | None") -> None:
        own = dict(item.raw)
        item.raw = own
        problems: Problems = {}
        for name in children.keys() & own.keys():
            value = own.pop(name)
            if value is not None:
                problem = self._read_list(name, value, prepare, item, children[name])
                if problem:
                    problems[name] = problem
        if problems:
            self.problems.append((item.place, own, problems))

    def build(self) -> None:
        """Make rows, collection by collection in order of dependency."""
        for name, schema in self.schemas.items():
            items = self.items.get(name)
            if items:
                self.table[name] = {}
                self._build_collection(schema, items)
            elif name in self.data:
                self.table[name] = {}
        self._add_default_workspace()

    def _build_collection(self, schema: Schema, items: list[_Item]) -> None:
        rows = self.table[schema.name]
        before = self.previous.get(schema.name, {})
        keys = self.keys.setdefault(schema.name, {})
        uniques: dict[Any, set[Any]] = {}
        for item in items:
            problems: Problems = {}
            raw = self._with_references(schema, item, problems)
            id = self._identify(schema, item, raw)
            row = self._row(schema, raw, id, before.get(id), problems)
            item.id = id
            if not problems:
                self._check_unique(schema, row, id, rows, uniques, problems)
            if schema.endpoint_key is not None:
                key = row.get(schema.endpoint_key)
                if isinstance(key, str):
                    keys.setdefault(key, id)
            if problems:
                self.problems.append((item.place, item.raw, problems))
            # A wrong row stays findable, so that what refers to it is not called wrong as well.
            rows[id] = row

    def _row(self, schema: Schema, raw: Mapping[str, Any], id: str, before: Row | None, problems: Problems) -> Row:
        """The row of one entity: the one of the previous table when they are equal."""
        if before is None:
            return self._fresh_row(schema, raw, id, problems)
        kept = {name: before[name] for name, _ in schema.autos if raw.get(name) is None and before[name] is not None}
        given = {**raw, **kept} if kept else raw
        plain = schema.shape.expand(given, {}) if schema.shorthands else given
        if {**schema.shape.template, **plain} == before:
            return before
        row = self._fresh_row(schema, given, id, problems)
        if row == before:
            return before
        if "updated_at" in kept and not problems:
            row["updated_at"] = schema.stamp("updated_at", self.now)
        return row

    def _fresh_row(self, schema: Schema, raw: Mapping[str, Any], id: str, problems: Problems) -> Row:
        if schema.primary_key == "id" and raw.get("id") is None:
            raw = {**raw, "id": id}
        row = schema.load(raw, problems, self.now)
        if not problems and self.transform and schema.transform is not None:
            row = schema.transform(row)
        return row

    def _with_references(self, schema: Schema, item: _Item, problems: Problems) -> Mapping[str, Any]:
        """The raw entity with {"id": ...} for every foreign key, and its parent's where it is nested."""
        raw = item.raw
        for name, rule in schema.foreign.items():
            value = raw.get(name)
            if value is None:
                if name == item.parent_field and item.parent is not None:
                    raw = {**raw, name: {"id": item.parent.id}}
                continue
            assert rule.reference is not None
            id = self._find(rule.reference, value)
            if id is None:
                shown = value if isinstance(value, str) else _json(value)
                text = f"invalid reference '{name}: {shown}' (no such entry in '{rule.reference}')"
                problems.setdefault(ENTITY, []).append(text)
                raw = {**raw, name: {"id": _NOBODY}}
            elif not (isinstance(value, dict) and len(value) == 1 and value.get("id") == id):
                raw = {**raw, name: {"id": id}}
        return raw

    def _find(self, collection: str, value: Any) -> str | None:
        """The id of the entity that a reference means: a name or id, or an object with one of them."""
        schema = self.schemas[collection]
        if isinstance(value, dict):
            value = value.get("id") or value.get(schema.endpoint_key or "id")
        if not isinstance(value, str):
            return None
        found = self.keys.get(collection, {}).get(value)
        if found is None and value.lower() in self.table.get(collection, {}):
            found = value.lower()
        return found

    def _identify(self, schema: Schema, item: _Item, raw: Mapping[str, Any]) -> str:
        if schema.primary_key != "id":
            return str(raw.get(schema.primary_key))
        id = raw.get("id")
        if isinstance(id, str):
            return id.lower()
        parent_id = item.parent.id if item.parent is not None else None
        return derive_id(schema, item.raw, item.parent_field, parent_id, self.content_ids)

    def _check_unique(
        self,
        schema: Schema,
        row: Row,
        id: str,
        rows: Mapping[str, Row],
        uniques: dict[Any, set[Any]],
        problems: Problems,
    ) -> None:
        taken: list[str] = []
        if id in rows:
            taken.append(f"with primary key set to '{id}'")
        for name in schema.unique:
            value = row[name]
            if value is not None and value in uniques.setdefault(name, set()):
                taken.append(f"with {name} set to '{value}'")
            uniques.setdefault(name, set()).add(value)
        if len(schema.cache_key) > 1:
            parts = tuple(_key_part(row[name]) for name in schema.cache_key)
            if parts in uniques.setdefault(schema.cache_key, set()) and not taken:
                words = ", ".join(f"{name} set to '{part}'" for name, part in zip(schema.cache_key, parts, strict=True))
                taken.append(f"with {words}")
            uniques[schema.cache_key].add(parts)
        for words in taken:
            text = f"uniqueness violation: '{schema.name}' entity {words} already declared"
            problems.setdefault(ENTITY, []).append(text)

    def _add_default_workspace(self) -> None:
        workspaces = self.table.setdefault("workspaces", {})
        if any(row.get("name") == "default" for row in workspaces.values()):
            return
        raw = {"id": DEFAULT_WORKSPACE_ID, "name": "default"}
        before = self.previous.get("workspaces", {}).get(DEFAULT_WORKSPACE_ID)
        workspaces[DEFAULT_WORKSPACE_ID] = self._row(self.schemas["workspaces"], raw, DEFAULT_WORKSPACE_ID, before, {})


def _key_part(value: Any) -> Any:
    return value["id"] if isinstance(value, dict) else value


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), default=str)


@dataclass(frozen=True, slots=True)
class _Preparation:
    """What older formats and decK ask for before an entity is read."""

    migrate: bool
    defaults: Mapping[str, Any]
    plugin_configs: Mapping[str, Any]

    def apply(self, collection: str, raw: dict[str, Any]) -> dict[str, Any]:
        """The entity with defaults, shared plugin configuration and paths in today's form."""
        defaults = self.defaults.get(collection.removesuffix("s"))
        if isinstance(defaults, dict):
            raw = {**defaults, **raw}
        if collection == "plugins" and isinstance(raw.get("_config"), str):
            raw = dict(raw)
            shared, own = self.plugin_configs.get(raw["_config"]), raw.get("config")
            if isinstance(shared, dict) and (own is None or isinstance(own, dict)):
                del raw["_config"]
                raw["config"] = {**shared, **(own or {})}
        if self.migrate and collection == "routes" and isinstance(raw.get("paths"), list):
            paths = [migrate_path(path) if isinstance(path, str) else path for path in raw["paths"]]
            raw = {**raw, "paths": paths}
        return raw


def dump(table: Table) -> dict[str, Any]:
    """The configuration of a table in the form of the hybrid wire: flat, bare ids for foreign keys, nothing left to
    transform."""
    config: dict[str, Any] = {"_format_version": "3.0", "_transform": False}
    for name, schema in SCHEMAS.items():
        rows = table.get(name)
        if rows:
            config[name] = [wire_row(schema, row) for row in rows.values()]
    return config


def wire_row(schema: Schema, row: Row) -> Row:
    """A row with bare ids for foreign keys."""
    if not schema.foreign:
        return row
    wire = dict(row)
    for name in schema.foreign:
        key = wire.get(name)
        if isinstance(key, dict):
            wire[name] = key["id"]
    return wire


def difference(old: Table, new: Table) -> list[Change]:
    """What turns `old` into `new`: deletions, children first, then new and changed rows, parents first."""
    changes: list[Change] = []
    names: Sequence[str] = [*SCHEMAS, *sorted({*old, *new} - SCHEMAS.keys())]
    for name in reversed(names):
        kept = new.get(name, {})
        changes.extend((name, id, None) for id in old.get(name, {}) if id not in kept)
    for name in names:
        changes.extend(_changed(name, old.get(name, {}), new.get(name, {})))
    return changes


def _changed(name: str, old: Mapping[str, Row], new: Mapping[str, Row]) -> Iterator[Change]:
    for id, row in new.items():
        before = old.get(id)
        if before is not row and before != row:
            yield name, id, row
