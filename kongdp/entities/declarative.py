"""The declarative format and tables: load, dump, difference.

In: a config_table, from a file (nested, names for references, no ids) or from the hybrid wire (flat, ids).  Out: a
Table, or DeclarativeError with every problem and its place. A row that equals that of a previous table is taken over
as the same object, and what is written as it was before is not even read (declarative_memory), so that
`difference` finds the changed rows by identity. Where files leave ids out they are derived as Kong derives them; what
Kong would number at random gets an id from its content here, so that loading a file again changes nothing.
Source: kong/db/schema/others/declarative_config.lua 3.9; hybrid protocol specification, section 3.
"""

import json
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

from kongdp.entities.declarative_errors import DeclarativeError, Place, error_of
from kongdp.entities.declarative_memory import Made, Memory, Reference, head_of, mark_of
from kongdp.entities.declarative_preparation import Preparation, preparation_of
from kongdp.entities.declarative_text import parse_text
from kongdp.entities.identity import derive_id
from kongdp.entities.schema import Schema
from kongdp.entities.schemas import SCHEMAS, build_schemas
from kongdp.entities.schemas.plugins import PluginSchema
from kongdp.entities.table import Change, Row, Table
from kongdp.entities.violations import ENTITY, REQUIRED, UNKNOWN, Problems

__all__ = ["KONG_COLLECTIONS", "DeclarativeError", "Loaded", "difference", "dump", "load", "load_config", "parse_text"]

FORMAT_VERSIONS = ("1.1", "2.1", "3.0")
DEFAULT_WORKSPACE_ID = "0dc6f45b-8f8d-40d2-a504-473544ee190b"

# Written by decK beside the entities; of no meaning to a node, except where they say what entities look like.
_DECK_KEYS = frozenset(("_info", "_konnect", "_workspace", "_plugin_configs"))
KONG_COLLECTIONS = frozenset(
    [
        "acme_storage",
        "consumer_group_consumers",
        "consumer_group_plugins",
        "consumer_groups",
        "custom_plugins",
        "degraphql_routes",
        "event_hooks",
        "filter_chains",
        "graphql_ratelimiting_cost_decorations",
        "licenses",
        "oauth2_authorization_codes",
        "oauth2_credentials",
        "oauth2_tokens",
        "partials",
        "rbac_endpoint_permissions",
        "rbac_roles",
        "sessions",
    ]
)
"""What Kong and decK may write that this node has no use for. Any other unknown name in an operator's document is a slip
of the pen, and to pass it over might leave out what protects a route.
"""

_HEAD_KEYS = frozenset(("_format_version", "_transform", "_comment", "_ignore"))
# Stands in for the target of a bad reference, so that its own reason is the only one.
_NOBODY = "00000000-0000-0000-0000-000000000000"
_NO_PLUGINS: Mapping[str, PluginSchema] = {}
_Remembered: TypeAlias = dict[str, dict[bytes, tuple[Made, ...]]]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A table, and what was passed over on the way to it."""

    table: Table
    warnings: tuple[str, ...] = ()
    memory: Memory = field(default_factory=Memory)


@dataclass(slots=True)
class _Item:
    """One entity of the input, before it is a row. `raw` has no children in it; `root`: the top-level entity it is
    nested in. Items point upwards only: a load happens without garbage collection.
    """

    collection: str
    place: Place
    raw: Mapping[str, Any]
    parent: "_Item | None" = None
    parent_field: str = ""
    id: str = ""
    references: tuple[Reference, ...] = ()
    root: "_Item | None" = None


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
    previous: Table | Loaded | None = None,
    strict: bool | Container[str] = False,
    now: float | None = None,
) -> Loaded:
    """The table of a configuration, with warnings. Raises DeclarativeError that lists every problem.

    `plugins`: the node's plugins (see plugins_schema); a plugin that is not among them refuses the configuration.
    `schemas` instead of the three parameters before it, where a caller has built them. `previous`: rows equal to one of
    its are that row; when it is a Loaded of the same `schemas`, entities written as before are not read again.
    `strict`: collections nobody knows are a problem instead of a warning; where it holds names, all but those.
    `now`: epoch seconds for
    rows that bring no times.
    """
    if not isinstance(data, Mapping):
        raise DeclarativeError({"error": "failed parsing declarative configuration: expected an object"})
    known = schemas or build_schemas(router_flavor=router_flavor, plugins=plugins, judge_expression=judge_expression)
    before = previous if isinstance(previous, Loaded) else Loaded(previous or {})
    at = time.time() if now is None else now
    remembered = before.memory.usable(data, known)
    loader = _load(known, data, before.table, at, remembered, strict)
    if remembered and (loader.failed() or loader.in_doubt):
        # Only reading everything finds every problem and its place.
        loader = _load(known, data, before.table, at, {}, strict)
    if loader.failed():
        raise error_of(data, loader.head_problems, loader.problems)
    return Loaded(loader.table, tuple(loader.warnings), loader.memory())


def _load(
    schemas: Mapping[str, Schema],
    data: Mapping[str, Any],
    previous: Table,
    now: float,
    remembered: "_Remembered",
    strict: bool | Container[str],
) -> "_Loader":
    loader = _Loader(schemas, data, previous, now, remembered)
    loader.read(strict)
    loader.build()
    return loader


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
    """One load, in two steps: `read` flattens the input into items, `build` makes rows of them, parents first.

    `remembered` is what it may take over; `in_doubt` when something taken over does not fit what is new, and everything
    must be read.
    """

    schemas: Mapping[str, Schema]
    data: Mapping[str, Any]
    previous: Table
    now: float
    remembered: _Remembered
    transform: bool = True
    in_doubt: bool = False
    head_problems: Problems = field(default_factory=dict)
    problems: list[tuple[Place, Mapping[str, Any], Problems]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    items: dict[str, list[_Item | Made]] = field(default_factory=dict)
    taken: _Remembered = field(default_factory=dict)
    fresh: list[tuple[str, bytes, _Item]] = field(default_factory=list)
    table: Table = field(default_factory=dict)
    keys: dict[str, dict[Any, str]] = field(default_factory=dict)
    content_ids: set[str] = field(default_factory=set)

    def failed(self) -> bool:
        """Whether anything was wrong."""
        return bool(self.head_problems or self.problems)

    def read(self, strict: bool | Container[str]) -> None:
        """Check the top level and flatten what hangs below it."""
        self._read_head()
        skipped = []
        prepare = preparation_of(self.data)
        for name, value in self.data.items():
            if name in _HEAD_KEYS or name in _DECK_KEYS:
                continue
            if name not in self.schemas:
                if not isinstance(name, str) or name.startswith("_") or _is_refused(name, strict):
                    self.head_problems[str(name)] = UNKNOWN
                else:
                    skipped.append(name)
            elif value is not None:
                problem = self._read_top(name, value, prepare)
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

    def _read_top(self, name: str, value: Any, prepare: Preparation | None) -> str | None:
        """Take in a list of the top level: what is written as before is taken over, the rest is read."""
        if not isinstance(value, list):
            return None if value == {} else "expected an array"
        remembered = self.remembered.get(name, {})
        taken = self.taken.setdefault(name, {})
        items = self.items.setdefault(name, [])
        for position, raw in enumerate(value):
            mark = mark_of(raw)
            made = None if mark is None else remembered.pop(mark, None)
            if mark is not None and made is not None:
                taken[mark] = made
                for entry in made:
                    (items if entry.collection == name else self.items.setdefault(entry.collection, [])).append(entry)
                continue
            item = self._read_entity(name, raw, (None, name, position), prepare, None, "")
            if item is not None and mark is not None:
                self.fresh.append((name, mark, item))
        return None

    def _read_list(
        self, name: str, value: Any, prepare: Preparation | None, parent: _Item, parent_field: str
    ) -> str | None:
        """Take in a list of nested entities; returns what is wrong with the list itself."""
        if value == {}:
            return None
        if not isinstance(value, list):
            return "expected an array"
        self.items.setdefault(name, [])
        for position, raw in enumerate(value):
            entity = {"name": raw} if name == "snis" and isinstance(raw, str) else raw
            self._read_entity(name, entity, (parent.place, name, position), prepare, parent, parent_field)
        return None

    def _read_entity(
        self,
        name: str,
        raw: Any,
        place: Place,
        prepare: Preparation | None,
        parent: _Item | None,
        parent_field: str,
    ) -> _Item | None:
        if not isinstance(raw, dict):
            self.problems.append((place, {}, {ENTITY: ["expected a record"]}))
            return None
        if prepare is not None:
            raw = prepare.apply(name, raw)
        item = _Item(name, place, raw, parent, parent_field)
        if parent is not None:
            item.root = parent.root or parent
        self.items[name].append(item)
        children = _children()[name]
        if not raw.keys().isdisjoint(children):
            self._read_children(item, children, prepare)
        return item

    def _read_children(self, item: _Item, children: Mapping[str, str], prepare: Preparation | None) -> None:
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

    def _build_collection(self, schema: Schema, items: list[_Item | Made]) -> None:
        rows = self.table[schema.name]
        before = self.previous.get(schema.name, {})
        keys = self.keys.setdefault(schema.name, {})
        uniques = _uniques(schema, items)
        for item in items:
            if isinstance(item, Made):
                row, id = item.row, item.id
                if item.references and not self._still_refers(item):
                    self.in_doubt = True
            else:
                row, id = self._build_item(schema, item, before, rows, uniques)
            if schema.endpoint_key is not None:
                key = row.get(schema.endpoint_key)
                if isinstance(key, str):
                    keys.setdefault(key, id)
            # A wrong row stays findable, so that what refers to it is not called wrong as well.
            rows[id] = row
        if len(rows) != len(items):
            self.in_doubt = True

    def _build_item(
        self,
        schema: Schema,
        item: _Item,
        before: Mapping[str, Row],
        rows: Mapping[str, Row],
        uniques: dict[Any, set[Any]],
    ) -> tuple[Row, str]:
        problems: Problems = {}
        raw = self._with_references(schema, item, problems)
        id = item.id = self._identify(schema, item, raw)
        row = self._row(schema, raw, id, before.get(id), problems)
        if not problems:
            self._check_unique(schema, row, id, rows, uniques, problems)
        if problems:
            self.problems.append((item.place, item.raw, problems))
        return row, id

    def _still_refers(self, made: Made) -> bool:
        """Whether what a row refers to is there and is what it was."""
        return all(self._find(collection, written) == id for collection, written, id in made.references)

    def _expires(self, item: _Item) -> bool:
        """Whether a row's end counts from the moment it is loaded, so that it must be read each time."""
        return self.schemas[item.collection].expires and self.table[item.collection][item.id]["ttl"] is not None

    def memory(self) -> Memory:
        """What the next load may take over from this one, which was sound."""
        table = self.table
        families: dict[int, list[_Item]] = {}
        for items in self.items.values():
            for item in items:
                if isinstance(item, _Item):
                    families.setdefault(id(item.root or item), []).append(item)
        for name, mark, root in self.fresh:
            family = families[id(root)]
            if any(self._expires(item) for item in family):
                continue
            made = (Made(item.collection, item.id, table[item.collection][item.id], item.references) for item in family)
            self.taken[name][mark] = tuple(made)
        return Memory(head_of(self.data), self.schemas, self.taken)

    def _row(self, schema: Schema, raw: Mapping[str, Any], id: str, before: Row | None, problems: Problems) -> Row:
        """The row of one entity: the one of the previous table when they are equal."""
        if before is None:
            return self._fresh_row(schema, raw, id, problems)
        kept = {name: before[name] for name, _ in schema.autos if raw.get(name) is None and before[name] is not None}
        given = {**raw, **kept} if kept else raw
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
                continue
            item.references = (*item.references, Reference(rule.reference, value, id))
            if not (isinstance(value, dict) and len(value) == 1 and value.get("id") == id):
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
        for name in schema.unique:
            value = row[name]
            if value is not None and value in uniques.setdefault(name, set()):
                taken.append(f"with {name} set to '{value}'")
            uniques.setdefault(name, set()).add(value)
        if id in rows and not taken:
            # an id that follows from a name that is taken is the same problem
            taken.append(f"with primary key set to '{id}'")
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


def _is_refused(name: str, strict: bool | Container[str]) -> bool:
    """Whether a collection nobody knows is a problem."""
    return strict if isinstance(strict, bool) else name not in strict


def _uniques(schema: Schema, items: list[_Item | Made]) -> dict[Any, set[Any]]:
    """What rows that were taken over hold of unique values, for those that are new; nothing when none is new."""
    made = [item.row for item in items if isinstance(item, Made)]
    uniques: dict[Any, set[Any]] = {}
    if made and len(made) < len(items):
        for name in schema.unique:
            uniques[name] = {row[name] for row in made}
        if len(schema.cache_key) > 1:
            uniques[schema.cache_key] = {tuple([_key_part(row[name]) for name in schema.cache_key]) for row in made}
    return uniques


def _key_part(value: Any) -> Any:
    return value["id"] if isinstance(value, dict) else value


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), default=str)


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
