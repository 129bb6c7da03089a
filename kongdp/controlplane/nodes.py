"""Rows of data planes: what each was last known to be, for the node list and for control planes that restart.

In: nodes as the hub sees them.  Out: rows, and the two judgements people ask for: is it connected, is it in sync (and
if not, why).
Cold; database functions are called off the event loop. Source: protocol notes 5.1, 7.5, 7.6.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa

from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import Database, upsert
from kongdp.entities.hashing import EMPTY_HASH

# Two ping intervals: one lost ping is no disconnection (Kong uses the same figure).
CONNECTED_S = 60.0

UNKNOWN = "unknown"
NORMAL = "normal"
VERSION_INCOMPATIBLE = "kong_version_incompatible"
PLUGIN_SET_INCOMPATIBLE = "plugin_set_incompatible"
PLUGIN_VERSION_INCOMPATIBLE = "plugin_version_incompatible"


@dataclass(frozen=True, slots=True)
class Node:
    """One data plane; times in epoch seconds. `last_error` is the last rejection it reported: {"name", "message",
    "config_hash", ...}.
    """

    id: str
    group_id: str
    hostname: str
    ip: str
    version: str
    config_hash: str
    sync_status: str
    labels: dict[str, str]
    cert_expiry: float | None
    last_error: dict[str, Any] | None
    last_seen: float
    link_id: str | None
    disconnected_at: float | None
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the node list says beside a node; `reason` is for people and empty when all is well."""

    is_connected: bool
    is_in_sync: bool
    last_ping_age_s: float
    reason: str


def judge(node: Node, expected_hash: str | None, now: float) -> Judgement:
    """Whether a node is connected and has the expected configuration, and in words what is amiss."""
    age = max(0.0, now - node.last_seen)
    is_connected = node.disconnected_at is None and age <= CONNECTED_S
    is_in_sync = is_connected and node.config_hash == expected_hash and node.config_hash != EMPTY_HASH
    return Judgement(
        is_connected, is_in_sync, age, "" if is_in_sync else _reason(node, expected_hash, is_connected, age)
    )


def _reason(node: Node, expected_hash: str | None, is_connected: bool, age: float) -> str:
    if node.sync_status == VERSION_INCOMPATIBLE:
        return f"version {node.version} is not compatible with this control plane"
    if not is_connected:
        return f"not connected, last ping {age:.0f} s ago"
    if node.sync_status in (PLUGIN_SET_INCOMPATIBLE, PLUGIN_VERSION_INCOMPATIBLE):
        return f"{node.sync_status.replace('_', ' ')}: a configured plugin is missing on the node or too new there"
    if node.last_error is not None and node.last_error.get("config_hash") == expected_hash:
        return f"rejected the configuration: {node.last_error.get('message') or node.last_error.get('name')}"
    if node.config_hash == EMPTY_HASH:
        return "has no configuration yet"
    return f"still has configuration {node.config_hash[:8]}, expected {(expected_hash or 'none')[:8]}"


def save(database: Database, nodes: Sequence[Node]) -> None:
    """Write the rows of nodes that are alive."""
    rows = [{field.name: getattr(node, field.name) for field in fields(Node)} for node in nodes]
    with database.write() as connection:
        # A node may outlive its group for a moment.
        known = set(connection.scalars(sa.select(tables.groups.c.id)))
        rows = [row for row in rows if row["group_id"] in known]
        upsert(connection, tables.nodes, rows, keep=("created_at",))


def save_disconnected(database: Database, links: Sequence[tuple[str, str, float]]) -> None:
    """Note that connections ended: (node id, link id, when). A node that a newer connection has taken over is left
    alone.
    """
    table = tables.nodes
    with database.write() as connection:
        for node_id, link_id, at in links:
            connection.execute(
                sa.update(table).where(table.c.id == node_id, table.c.link_id == link_id).values(disconnected_at=at)
            )


def in_group(connection: sa.Connection, group_id: str | None = None) -> list[Node]:
    """The nodes of a group, or of all, the one seen last first."""
    table = tables.nodes
    query = sa.select(table).order_by(table.c.last_seen.desc(), table.c.id)
    if group_id is not None:
        query = query.where(table.c.group_id == group_id)
    return [Node(**row._mapping) for row in connection.execute(query)]


def find(connection: sa.Connection, node_id: str) -> Node | None:
    """One node's row."""
    row = connection.execute(sa.select(tables.nodes).where(tables.nodes.c.id == node_id)).first()
    return None if row is None else Node(**row._mapping)


def forget(connection: sa.Connection, group_id: str, node_id: str) -> bool:
    """Delete a node's row; a live node simply reappears. False when there was none."""
    table = tables.nodes
    return connection.execute(sa.delete(table).where(table.c.group_id == group_id, table.c.id == node_id)).rowcount > 0


def purge(connection: sa.Connection, seen_before: float) -> int:
    """Delete the rows of nodes not seen since; returns how many."""
    return connection.execute(sa.delete(tables.nodes).where(tables.nodes.c.last_seen < seen_before)).rowcount
