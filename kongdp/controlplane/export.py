"""A group's rows as the configuration that data planes get: config_table, hashes and the frame, made anew only where
rows changed.

In: rows (the whole group once, then what each revision changed).  Out: Payload.
A mirror of the group in memory keeps each row's JSON beside it, so that one edit among 10,000 costs one row, one pass
of compression and the hash of its section. Left out, as by Kong: services that are disabled with their routes and
plugins, disabled plugins, empty collections. Cold; called off the event loop, one export of a group at a time.
Source: protocol notes 2.3, 2.5, 3.1.
"""

import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from kongdp.controlplane import groups
from kongdp.controlplane.changes import UnknownGroupError, changes_since, latest_revision
from kongdp.controlplane.groups import Group
from kongdp.controlplane.store.database import Database
from kongdp.controlplane.store.repository import GroupReader
from kongdp.entities.hashing import hashes
from kongdp.entities.table import Row
from kongdp.sync.messages import GZIP_LEVEL

# Foreign fields whose parent may be disabled, by collection.
PARENTS = {"routes": ("service",), "plugins": ("service", "route")}


@dataclass(frozen=True, slots=True)
class Payload:
    """One configuration, ready to send. `frame` is the gzip of the reconfigure message; `revision` what it contains."""

    group_id: str
    revision: int
    config_hash: str
    hashes: Mapping[str, str]
    frame: bytes = field(repr=False)
    plugin_names: frozenset[str]
    exported_at: float


@dataclass(slots=True)
class _Mirror:
    """A group as it was at `revision`: collection -> id -> wire row."""

    group: Group
    revision: int
    rows: dict[str, dict[str, Row]]
    payload: Payload | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Exporter:
    """Payloads of all groups. Any thread may call it."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._mirrors: dict[str, _Mirror] = {}
        self._lock = threading.Lock()

    def export(self, group_id: str) -> Payload:
        """The newest configuration of a group. Raises UnknownGroupError."""
        with self._lock:
            mirror = self._mirrors.get(group_id)
            if mirror is None:
                mirror = self._mirrors[group_id] = self._load(group_id)
        with mirror.lock:
            revision = self._catch_up(mirror)
            if mirror.payload is None or mirror.revision != revision:
                mirror.revision = revision
                mirror.payload = self._render(mirror)
            return mirror.payload

    async def export_soon(self, group_id: str) -> Payload:
        """The same for the event loop."""
        return await self._database.run(self.export, group_id)

    def _load(self, group_id: str) -> _Mirror:
        rows: dict[str, dict[str, Row]] = {}
        with self._database.read() as connection:
            group = groups.find(connection, group_id)
            if group is None:
                raise UnknownGroupError(f"there is no runtime group {group_id}")
            revision = latest_revision(connection, group_id)
            for collection, id, row in GroupReader(connection, group_id).everything():
                rows.setdefault(collection, {})[id] = wire_row(row)
        return _Mirror(group, revision, rows)

    def _catch_up(self, mirror: _Mirror) -> int:
        """Apply what has changed since; returns the revision that the mirror now has."""
        with self._database.read() as connection:
            revision = latest_revision(connection, mirror.group.id)
            if revision == mirror.revision:
                return revision
            changes = changes_since(connection, mirror.group.id, mirror.revision)
        for change in changes:
            rows = mirror.rows.setdefault(change.collection, {})
            if change.after is None:
                rows.pop(change.id, None)
            else:
                rows[change.id] = wire_row(change.after)
        return revision

    def _render(self, mirror: _Mirror) -> Payload:
        now = self._clock()
        table = config_table(mirror.group, mirror.rows)
        computed = hashes(table)
        sections = {"config": computed.config, **computed.sections}
        message = {
            "type": "reconfigure",
            "timestamp": round(now, 3),
            "config_table": table,
            "config_hash": computed.config,
            "hashes": sections,
        }
        compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, wbits=31)
        return Payload(
            group_id=mirror.group.id,
            revision=mirror.revision,
            config_hash=computed.config,
            hashes=sections,
            frame=compressor.compress(orjson.dumps(message)) + compressor.flush(),
            plugin_names=frozenset(row["name"] for row in table.get("plugins", ())),
            exported_at=now,
        )


def wire_row(row: Row) -> Row:
    """A row as version 1 of the protocol writes it: foreign keys are bare ids."""
    return {key: value["id"] if _is_reference(value) else value for key, value in row.items()}


def config_table(group: Group, rows: Mapping[str, Mapping[str, Row]]) -> dict[str, Any]:
    """The declarative form of a group: what is enabled, ordered by id, beside the group's own identity."""
    table: dict[str, Any] = {
        "_format_version": "3.0",
        "_transform": False,
        # A table with nothing but workspaces would count as no configuration at all; parameters is always there.
        "parameters": [{"key": "cluster_id", "value": group.cluster_id, "created_at": None}],
        "workspaces": [_workspace(group)],
    }
    left_out: set[str] = set()
    for collection in ("services", "routes", "plugins", *sorted(rows.keys() - {"services", "routes", "plugins"})):
        kept = list(_kept(collection, rows.get(collection, {}), left_out))
        if kept:
            table[collection] = kept
    return table


def _kept(collection: str, rows: Mapping[str, Row], left_out: set[str]) -> Iterable[Row]:
    """The rows of a collection that are exported; ids of others are added to `left_out`, which the next collections
    ask.
    """
    parents = PARENTS.get(collection, ())
    for id in sorted(rows):
        row = rows[id]
        if row.get("enabled") is False or (left_out and any(row.get(parent) in left_out for parent in parents)):
            left_out.add(id)
        else:
            yield row


def _workspace(group: Group) -> Row:
    created_at = int(group.created_at)
    return {
        "id": group.workspace_id,
        "name": "default",
        "comment": None,
        "created_at": created_at,
        "updated_at": created_at,
        "meta": {},
        "config": {},
    }


def _is_reference(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"id"}
