"""A group's rows as the configuration that data planes get: config_table, hashes and the frame, made anew only where
rows changed.

In: rows (the whole group once, then what each revision changed).  Out: Payload.
A mirror of the group in memory keeps each row's JSON beside it, and compressed runs of rows, so that one edit among 10,000
costs one row, one run and the hash of its section. Left out, as by Kong: services that are disabled with their routes and
plugins, disabled plugins, empty collections. Cold; called off the event loop, one export of a group at a time.
Source: protocol notes 2.3, 2.5, 3.1.
"""

import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from kongdp.controlplane import groups, gzip_pieces
from kongdp.controlplane.changes import UnknownGroupError, changes_since, latest_revision
from kongdp.controlplane.groups import Group
from kongdp.controlplane.store.database import Database
from kongdp.controlplane.store.repository import GroupReader
from kongdp.entities.declarative import wire_row
from kongdp.entities.hashing import SECTIONS, CanonicalText, canonical, combine, hash_value
from kongdp.entities.schemas import SCHEMAS
from kongdp.entities.table import Row

# Foreign fields whose parent may be disabled, and its collection, by collection; parents first.
PARENTS = {"routes": {"service": "services"}, "plugins": {"service": "services", "route": "routes"}}
# Rows compressed together, on average: longer runs compress better (512 of them within 2 % of all in one), and one is made
# anew for each edit.
RUN_ROWS = 512


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
    """One row as it goes out, beside the two texts that are made of it. `opens`: whether a run of rows begins with it."""

    row: Row
    json: bytes
    canonical: bytes
    opens: bool


@dataclass(frozen=True, slots=True)
class _Run:
    """Some rows of a collection that follow each other: their JSON, and it compressed."""

    entries: list[_Entry]
    is_first: bool
    json: bytes
    piece: bytes


@dataclass(frozen=True, slots=True)
class _Section:
    """One collection as it goes out: its rows, the runs they form, and (for the five that have one) its hash."""

    entries: list[_Entry]
    runs: dict[str, _Run]
    hash: str


@dataclass(slots=True)
class _Mirror:
    """A group as it was at `revision`, and what was made of it; `changed` names the collections to make anew.

    `disabled`: (collection, id) of rows that are switched off; `left_out`: these and what goes with them.
    """

    group: Group
    revision: int
    entries: dict[str, dict[str, _Entry]]
    changed: set[str]
    disabled: set[tuple[str, str]] = field(default_factory=set)
    sections: dict[str, _Section] = field(default_factory=dict)
    left_out: frozenset[tuple[str, str]] = frozenset()
    rest_hash: str = ""
    payload: Payload | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, collection: str, id: str, row: Row | None) -> None:
        """Take over a row that changed, or (None) has gone."""
        entries = self.entries.setdefault(collection, {})
        self.disabled.discard((collection, id))
        if row is None:
            entries.pop(id, None)
        else:
            entries[id] = _entry(collection, row)
            if row.get("enabled") is False:
                self.disabled.add((collection, id))
        self.changed.add(collection)


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
                # The number last: what could not be rendered is rendered again, and never taken for what it was before.
                mirror.payload = self._render(mirror, revision)
                mirror.revision = revision
            return mirror.payload

    async def export_soon(self, group_id: str) -> Payload:
        """The same for the event loop."""
        return await self._database.run(self.export, group_id)

    def forget(self, group_id: str) -> None:
        """Drop what is kept of a group that is gone."""
        with self._lock:
            self._mirrors.pop(group_id, None)

    def _load(self, group_id: str) -> _Mirror:
        with self._database.read() as connection:
            group = groups.find(connection, group_id)
            if group is None:
                raise UnknownGroupError(f"there is no runtime group {group_id}")
            mirror = _Mirror(group, latest_revision(connection, group_id), {}, set())
            for collection, id, row in GroupReader(connection, group_id).everything():
                mirror.put(collection, id, row)
        return mirror

    def _catch_up(self, mirror: _Mirror) -> int:
        """Apply what has changed since; returns the revision that the mirror now has."""
        with self._database.read() as connection:
            revision = latest_revision(connection, mirror.group.id)
            if revision == mirror.revision:
                return revision
            changes = changes_since(connection, mirror.group.id, mirror.revision)
        for change in changes:
            mirror.put(change.collection, change.id, change.after)
        return revision

    def _render(self, mirror: _Mirror, revision: int) -> Payload:
        now = self._clock()
        _render_sections(mirror)
        sections = {name: section for name, section in mirror.sections.items() if section.entries}
        computed = combine({name: sections[name].hash for name in SECTIONS if name in sections}, mirror.rest_hash)
        head = {
            "type": "reconfigure",
            "timestamp": round(now, 3),
            "config_hash": computed.config,
            "hashes": computed.to_wire(),
        }
        plugins = sections["plugins"].entries if "plugins" in sections else []
        return Payload(
            group_id=mirror.group.id,
            revision=revision,
            config_hash=computed.config,
            hashes=computed.to_wire(),
            frame=gzip_pieces.join(_texts(head, _identity(mirror.group), sections)),
            plugin_names=frozenset(entry.row["name"] for entry in plugins),
            exported_at=now,
        )


def _texts(
    head: Mapping[str, Any], identity: Mapping[str, Any], sections: Mapping[str, _Section]
) -> Iterator[tuple[bytes, bytes]]:
    """The message, text by text, each with its compressed piece."""
    members = [orjson.dumps(name) + b":" + orjson.dumps(value) for name, value in identity.items()]
    small = orjson.dumps(head)[:-1] + b',"config_table":{' + b",".join(members)
    for name, section in sections.items():
        small += b"," + orjson.dumps(name) + b":["
        yield small, gzip_pieces.piece(small)
        for run in section.runs.values():
            yield run.json, run.piece
        small = b"]"
    small += b"}}"
    yield small, gzip_pieces.piece(small)


def _render_sections(mirror: _Mirror) -> None:
    """Make anew the sections whose rows changed, or whose parents were switched on or off."""
    left_out = _left_out(mirror)
    changed = set(mirror.entries) if left_out != mirror.left_out else mirror.changed
    for name in changed:
        entries = mirror.entries.get(name, {})
        kept = [entries[id] for id in sorted(entries) if not left_out or (name, id) not in left_out]
        before = mirror.sections.get(name)
        runs = _runs(kept, before.runs if before is not None else {})
        mirror.sections[name] = _Section(kept, runs, _section_hash(kept) if name in SECTIONS else "")
    if not mirror.rest_hash or not changed <= set(SECTIONS):
        others = {
            name: section for name, section in mirror.sections.items() if name not in SECTIONS and section.entries
        }
        rest = {
            **_identity(mirror.group),
            **{name: [e.row for e in section.entries] for name, section in others.items()},
        }
        mirror.rest_hash = hash_value(rest)
    mirror.left_out = left_out
    mirror.changed = set()


def _left_out(mirror: _Mirror) -> frozenset[tuple[str, str]]:
    """Rows that are switched off, or whose parents are."""
    if not mirror.disabled:
        return frozenset()
    found = set(mirror.disabled)
    for name, parents in PARENTS.items():
        for id, entry in mirror.entries.get(name, {}).items():
            if any((of, entry.row.get(parent)) in found for parent, of in parents.items()):
                found.add((name, id))
    return frozenset(found)


def _runs(entries: Sequence[_Entry], before: Mapping[str, _Run]) -> dict[str, _Run]:
    """Rows in runs, by the id each begins with; a run of the same rows as before is the same run."""
    grouped: list[list[_Entry]] = []
    for entry in entries:
        if entry.opens or not grouped:
            grouped.append([])
        grouped[-1].append(entry)
    runs: dict[str, _Run] = {}
    for run in grouped:
        id = run[0].row["id"]
        known, is_first = before.get(id), not runs
        if known is None or known.is_first != is_first or known.entries != run:
            text = (b"" if is_first else b",") + b",".join(entry.json for entry in run)
            known = _Run(run, is_first, text, gzip_pieces.piece(text))
        runs[id] = known
    return runs


def _section_hash(entries: list[_Entry]) -> str:
    text = CanonicalText()
    text.entities(((entry.canonical, entry.row) for entry in entries), len(entries))
    return text.hexdigest()


def _entry(collection: str, row: Row) -> _Entry:
    wire = wire_row(SCHEMAS[collection], row) if collection in SCHEMAS else row
    # Whether a run begins depends on the id alone: a row that comes or goes changes the run around it and no other.
    opens = zlib.crc32(str(wire["id"]).encode()) % RUN_ROWS == 0
    return _Entry(wire, orjson.dumps(wire), canonical(wire), opens)


def _identity(group: Group) -> dict[str, Any]:
    """What every export of a group holds besides its entities."""
    return {
        "_format_version": "3.0",
        "_transform": False,
        # A table with nothing but workspaces would count as no configuration at all; parameters is always there.
        "parameters": [{"key": "cluster_id", "value": group.cluster_id, "created_at": None}],
        "workspaces": [_workspace(group)],
    }


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
