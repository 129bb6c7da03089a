"""A whole configuration into a group and out of it: the declarative format against the store, in one transaction.

In: a configuration as files hold it (nested, names for references, no ids).  Out: what was created, updated and deleted;
the group then holds exactly what the configuration says. An entity without an id is the one that is there already with
its name (or its other distinguishing fields), so that importing a file again changes nothing. Cold; called off the event
loop. Source: the declarative format is Kong's (entities.declarative); replacing the whole at once is ours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kongdp.controlplane import managed, revisions
from kongdp.controlplane.changes import Changes, latest_revision
from kongdp.controlplane.store.repository import EntityChange, GroupReader
from kongdp.entities.declarative import difference, dump, load_config
from kongdp.entities.schema import Schema
from kongdp.entities.table import Row, Table

# Made anew for each export; never stored.
SYNTHETIC = ("parameters", "workspaces")
# How often to begin again when others write while a large file is being checked.
ATTEMPTS = 5

# Called with (stage, rows done, rows in all).
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, or would do: counts by collection, the newest revision afterwards, what was passed over."""

    revision: int
    created: Mapping[str, int]
    updated: Mapping[str, int]
    deleted: Mapping[str, int]
    warnings: tuple[str, ...]

    @property
    def total(self) -> int:
        """How many rows it wrote."""
        return sum(sum(counts.values()) for counts in (self.created, self.updated, self.deleted))


@dataclass(frozen=True, slots=True)
class _Prepared:
    base: int
    changes: list[EntityChange]
    warnings: tuple[str, ...]


def export_config(changes: Changes, group_id: str) -> tuple[int, dict[str, Any]]:
    """The newest revision and the configuration that it is, in the declarative format."""
    with changes.database.read() as connection:
        table = _table(GroupReader(connection, group_id))
        return latest_revision(connection, group_id), dump(table)


def import_config(
    changes: Changes,
    group_id: str,
    config: Mapping[str, Any],
    schemas: Mapping[str, Schema],
    *,
    actor: str,
    expected: int | None = None,
    is_trial: bool = False,
    on_progress: Progress = lambda stage, done, total: None,
) -> Imported:
    """Make the group's configuration this one. `is_trial`: only say what would change.

    What application registration manages stays as it is, whatever the configuration says.
    Raises DeclarativeError with every problem, StaleError when the newest revision is not `expected` (or others keep
    writing), UnknownGroupError, ManagedError where a plugin would be in the way of a managed one.
    """
    for _attempt in range(ATTEMPTS):
        prepared = _prepare(changes, group_id, config, schemas, expected, on_progress)
        if is_trial or not prepared.changes:
            return _report(prepared, prepared.base)
        total = len(prepared.changes)
        with changes.transaction(actor=actor, summary="import configuration") as transaction:
            writer = transaction.group(group_id)
            if latest_revision(transaction.connection, group_id) != prepared.base:
                continue
            writer.apply(prepared.changes, lambda done, total=total: on_progress("write", done, total))  # type: ignore[misc]
        with changes.database.read() as connection:
            return _report(prepared, latest_revision(connection, group_id))
    raise revisions.StaleError("others keep changing the configuration: try again", "")


def _prepare(
    changes: Changes,
    group_id: str,
    config: Mapping[str, Any],
    schemas: Mapping[str, Schema],
    expected: int | None,
    on_progress: Progress,
) -> _Prepared:
    with changes.database.read() as connection:
        base = latest_revision(connection, group_id)
        revisions.check_expected(base, expected)
        current = _table(GroupReader(connection, group_id))
    on_progress("check", 0, 0)
    named = _with_known_ids(config, current, schemas)
    loaded = load_config(named, schemas=schemas, previous=current, strict=True)
    wanted = {name: rows for name, rows in loaded.table.items() if name not in SYNTHETIC}
    _adopt_ids(current, wanted, schemas)
    _keep_times(current, wanted)
    found = difference(current, wanted)
    on_progress("check", len(found), len(found))
    steps = [EntityChange(name, id, current.get(name, {}).get(id), row) for name, id, row in found]
    # Creations and updates of one collection come mixed; apart, each is one statement.
    steps.sort(key=lambda step: (step.after is not None, step.before is None))
    kept = managed.spared(steps)
    warnings = loaded.warnings
    if len(kept) < len(steps):
        warnings = (*warnings, f"{len(steps) - len(kept)} entities of application registration were left as they are")
    return _Prepared(base, kept, warnings)


def _table(reader: GroupReader) -> Table:
    table: Table = {}
    for collection, id, row in reader.everything():
        table.setdefault(collection, {})[id] = row
    return table


def _with_known_ids(config: Mapping[str, Any], current: Table, schemas: Mapping[str, Schema]) -> Mapping[str, Any]:
    """The configuration with the ids of entities that are there by name, at any depth."""
    keys = {
        name: {row[schema.endpoint_key]: id for id, row in current.get(name, {}).items()}
        for name, schema in schemas.items()
        if schema.endpoint_key is not None and schema.primary_key == "id"
    }
    return {
        name: [_identified(name, item, keys, schemas) for item in value] if isinstance(value, list) else value
        for name, value in config.items()
    }


def _identified(
    collection: str, item: Any, keys: Mapping[str, Mapping[Any, str]], schemas: Mapping[str, Schema]
) -> Any:
    schema = schemas.get(collection)
    if schema is None or not isinstance(item, dict):
        return item
    known = dict(item)
    key = known.get(schema.endpoint_key) if schema.endpoint_key is not None else None
    if known.get("id") is None and isinstance(key, str):
        id = keys.get(collection, {}).get(key)
        if id is not None:
            known["id"] = id
    for name, value in item.items():
        if name in schemas and isinstance(value, list) and name not in schema.shape.fields:
            known[name] = [_identified(name, child, keys, schemas) for child in value]
    return known


def _adopt_ids(current: Table, wanted: Table, schemas: Mapping[str, Schema]) -> None:
    """Give rows that only their content tells apart (plugins, targets, credentials) the ids of their predecessors.

    Only collections that nothing refers to: no other row then holds the id that is given up.
    """
    referred = {rule.reference for schema in schemas.values() for rule in schema.foreign.values()}
    for name, rows in wanted.items():
        schema = schemas[name]
        if name in referred or schema.primary_key != "id":
            continue
        before = {_content(schema, row): id for id, row in current.get(name, {}).items() if id not in rows}
        for id in [id for id in rows if id not in current.get(name, {})]:
            known = before.pop(_content(schema, rows[id]), None)
            if known is not None:
                row = rows.pop(id)
                rows[known] = {**row, "id": known}


def _content(schema: Schema, row: Row) -> Any:
    """What distinguishes a row of its collection."""
    names = schema.cache_key or schema.unique
    return repr([row.get(name) for name in names]) if names else row["id"]


def _keep_times(current: Table, wanted: Table) -> None:
    """Rows that differ in nothing but their times are the old ones."""
    for name, rows in wanted.items():
        before = current.get(name, {})
        for id, row in rows.items():
            old = before.get(id)
            if old is None or old is row:
                continue
            times: Row = {field: old[field] for field in ("created_at", "updated_at") if field in old and field in row}
            if {**row, **times} == old:
                rows[id] = old
            elif "created_at" in times:
                rows[id] = {**row, "created_at": old["created_at"]}


def _report(prepared: _Prepared, revision: int) -> Imported:
    counts: dict[str, dict[str, int]] = {"created": {}, "updated": {}, "deleted": {}}
    for change in prepared.changes:
        kind = "created" if change.before is None else "deleted" if change.after is None else "updated"
        counts[kind][change.collection] = counts[kind].get(change.collection, 0) + 1
    return Imported(revision, **counts, warnings=prepared.warnings)
