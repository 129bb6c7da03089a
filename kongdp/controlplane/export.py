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
from kongdp.entities.declarative import wire_row
from kongdp.entities.hashing import SECTIONS, CanonicalText, canonical, combine, hash_value
from kongdp.entities.schemas import SCHEMAS
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


@dataclass(frozen=True, slots=True)
class _Entry:
    """One row as it goes out, beside the two texts that are made of it."""

    row: Row
    json: bytes
    canonical: bytes


@dataclass(frozen=True, slots=True)
class _Section:
    """One collection as it goes out: its rows, their JSON, and (for the five that have one) its hash."""

    entries: list[_Entry]
    json: bytes
    hash: str


@dataclass(slots=True)
class _Mirror:
    """A group as it was at `revision`, and what was made of it; `changed` names the collections to make anew."""

    group: Group
    revision: int
    entries: dict[str, dict[str, _Entry]]
    changed: set[str]
    sections: dict[str, _Section] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()
    rest_hash: str = ""
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

    def forget(self, group_id: str) -> None:
        """Drop what is kept of a group that is gone."""
        with self._lock:
            self._mirrors.pop(group_id, None)

    def _load(self, group_id: str) -> _Mirror:
        entries: dict[str, dict[str, _Entry]] = {}
        with self._database.read() as connection:
            group = groups.find(connection, group_id)
            if group is None:
                raise UnknownGroupError(f"there is no runtime group {group_id}")
            revision = latest_revision(connection, group_id)
            for collection, id, row in GroupReader(connection, group_id).everything():
                entries.setdefault(collection, {})[id] = _entry(collection, row)
        return _Mirror(group, revision, entries, set(entries))

    def _catch_up(self, mirror: _Mirror) -> int:
        """Apply what has changed since; returns the revision that the mirror now has."""
        with self._database.read() as connection:
            revision = latest_revision(connection, mirror.group.id)
            if revision == mirror.revision:
                return revision
            changes = changes_since(connection, mirror.group.id, mirror.revision)
        for change in changes:
            entries = mirror.entries.setdefault(change.collection, {})
            if change.after is None:
                entries.pop(change.id, None)
            else:
                entries[change.id] = _entry(change.collection, change.after)
            mirror.changed.add(change.collection)
        return revision

    def _render(self, mirror: _Mirror) -> Payload:
        now = self._clock()
        _render_sections(mirror)
        sections = {name: section for name, section in mirror.sections.items() if section.entries}
        computed = combine({name: sections[name].hash for name in SECTIONS if name in sections}, mirror.rest_hash)
        identity = _identity(mirror.group)
        table = [
            *(orjson.dumps(name) + b":" + orjson.dumps(value) for name, value in identity.items()),
            *(orjson.dumps(name) + b":" + section.json for name, section in sections.items()),
        ]
        head = {
            "type": "reconfigure",
            "timestamp": round(now, 3),
            "config_hash": computed.config,
            "hashes": computed.to_wire(),
        }
        message = orjson.dumps(head)[:-1] + b',"config_table":{' + b",".join(table) + b"}}"
        compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, wbits=31)
        plugins = sections["plugins"].entries if "plugins" in sections else []
        return Payload(
            group_id=mirror.group.id,
            revision=mirror.revision,
            config_hash=computed.config,
            hashes=computed.to_wire(),
            frame=compressor.compress(message) + compressor.flush(),
            plugin_names=frozenset(entry.row["name"] for entry in plugins),
            exported_at=now,
        )


def _render_sections(mirror: _Mirror) -> None:
    """Make anew the sections whose rows changed, or whose parents were switched on or off."""
    left_out: set[str] = set()
    first = ("services", "routes", "plugins")
    kept = {
        name: list(_kept(name, mirror.entries.get(name, {}), left_out))
        for name in (*first, *sorted(mirror.entries.keys() - set(first)))
    }
    changed = set(kept) if frozenset(left_out) != mirror.left_out else mirror.changed
    for name in changed:
        entries = kept.get(name, [])
        text = b"[" + b",".join(entry.json for entry in entries) + b"]"
        mirror.sections[name] = _Section(entries, text, _section_hash(entries) if name in SECTIONS else "")
    if not mirror.rest_hash or not changed <= set(SECTIONS):
        others = {
            name: section for name, section in mirror.sections.items() if name not in SECTIONS and section.entries
        }
        rest = {
            **_identity(mirror.group),
            **{name: [e.row for e in section.entries] for name, section in others.items()},
        }
        mirror.rest_hash = hash_value(rest)
    mirror.left_out = frozenset(left_out)
    mirror.changed = set()


def _section_hash(entries: list[_Entry]) -> str:
    text = CanonicalText()
    text.entities(((entry.canonical, entry.row) for entry in entries), len(entries))
    return text.hexdigest()


def _entry(collection: str, row: Row) -> _Entry:
    wire = wire_row(SCHEMAS[collection], row) if collection in SCHEMAS else row
    return _Entry(wire, orjson.dumps(wire), canonical(wire))


def _identity(group: Group) -> dict[str, Any]:
    """What every export of a group holds besides its entities."""
    return {
        "_format_version": "3.0",
        "_transform": False,
        # A table with nothing but workspaces would count as no configuration at all; parameters is always there.
        "parameters": [{"key": "cluster_id", "value": group.cluster_id, "created_at": None}],
        "workspaces": [_workspace(group)],
    }


def _kept(collection: str, entries: Mapping[str, _Entry], left_out: set[str]) -> Iterable[_Entry]:
    """The rows of a collection that are exported, by id; ids of the others go into `left_out`, which later ones ask."""
    parents = PARENTS.get(collection, ())
    for id in sorted(entries):
        row = entries[id].row
        if row.get("enabled") is False or (left_out and any(row.get(parent) in left_out for parent in parents)):
            left_out.add(id)
        else:
            yield entries[id]


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
