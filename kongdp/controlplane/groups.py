"""Runtime groups (Konnect's "control planes"): each has its own Gateway entities and its own data planes.

`default` always exists and can be neither renamed nor deleted. Cold; called off the event loop.
Source: konnect-style walkthrough, section 7.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import Database

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Group:
    """One runtime group; `cluster_id` and `workspace_id` are what its exports carry."""

    id: str
    name: str
    description: str
    labels: dict[str, str]
    cluster_id: str
    workspace_id: str
    created_at: float
    updated_at: float


def ensure_default(database: Database, clock: Callable[[], float] = time.time) -> str:
    """The id of `default`, which is made when there is none yet."""
    with database.write() as connection:
        found: str | None = connection.scalar(sa.select(tables.groups.c.id).where(tables.groups.c.name == DEFAULT))
        if found is not None:
            return found
        id = str(uuid.uuid4())
        now = clock()
        row: dict[str, Any] = {
            "id": id,
            "name": DEFAULT,
            "description": "",
            "labels": {},
            "cluster_id": str(uuid.uuid4()),
            "workspace_id": str(uuid.uuid4()),
            "created_at": now,
            "updated_at": now,
        }
        connection.execute(sa.insert(tables.groups), row)
        return id


def all_groups(connection: sa.Connection) -> list[Group]:
    """Every group, oldest first."""
    rows = connection.execute(sa.select(tables.groups).order_by(tables.groups.c.created_at, tables.groups.c.id))
    return [Group(**row._mapping) for row in rows]


def find(connection: sa.Connection, id_or_name: str) -> Group | None:
    """The group with this id or, failing that, this name."""
    table = tables.groups
    for column in (table.c.id, table.c.name):
        row = connection.execute(sa.select(table).where(column == id_or_name)).first()
        if row is not None:
            return Group(**row._mapping)
    return None
