"""Runtime groups (Konnect's "control planes"): each has its own Gateway entities and its own data planes.

`default` always exists and can be neither renamed nor deleted. Cold; called off the event loop.
Source: konnect-style walkthrough, section 7.
"""

import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import Database
from kongdp.errors import KongdpError, Source

DEFAULT = "default"
NAME = re.compile(r"[^\x00-\x1f\x7f/]{1,200}")
DESCRIPTION_LENGTH_MAX = 2000
LABELS_MAX = 50
LABEL_LENGTH_MAX = 200


class GroupError(KongdpError):
    """A group cannot be made, changed or deleted; `status` is HTTP's, `field` names what is wrong, if something is."""

    source = Source.CLIENT

    def __init__(self, status: int, message: str, field: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.field = field


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
        group = _new(DEFAULT, "", {}, clock())
        insert: Any = (sqlite if database.is_sqlite else postgresql).insert(tables.groups)
        # Another replica may start at the same moment.
        connection.execute(insert.on_conflict_do_nothing(index_elements=["name"]), asdict(group))
        made: str = connection.execute(
            sa.select(tables.groups.c.id).where(tables.groups.c.name == DEFAULT)
        ).scalar_one()
        return made


def create(connection: sa.Connection, name: str, description: str, labels: Mapping[str, str], now: float) -> Group:
    """A new group. Raises GroupError."""
    group = _new(name, description, dict(labels), now)
    _check(group)
    _check_free(connection, group)
    connection.execute(sa.insert(tables.groups), asdict(group))
    return group


def update(
    connection: sa.Connection,
    group: Group,
    now: float,
    *,
    name: str | None = None,
    description: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Group:
    """Change what is given. Raises GroupError."""
    changed = replace(
        group,
        name=group.name if name is None else name,
        description=group.description if description is None else description,
        labels=group.labels if labels is None else dict(labels),
        updated_at=now,
    )
    if group.name == DEFAULT and changed.name != DEFAULT:
        raise GroupError(400, "the runtime group default cannot be renamed", "name")
    _check(changed)
    _check_free(connection, changed)
    connection.execute(sa.update(tables.groups).where(tables.groups.c.id == group.id).values(asdict(changed)))
    return changed


def delete(connection: sa.Connection, group: Group) -> None:
    """Delete a group with its entities, history, nodes, certificates, and what the catalogue has in it. Raises
    GroupError.
    """
    if group.name == DEFAULT:
        raise GroupError(400, "the runtime group default cannot be deleted")
    version = tables.catalogue_versions
    connection.execute(sa.delete(version).where(version.c.group_id == group.id))
    connection.execute(sa.delete(tables.groups).where(tables.groups.c.id == group.id))


def lock(connection: sa.Connection, id_or_name: str) -> Group | None:
    """The group, which nobody else writes to until the transaction ends."""
    found = find(connection, id_or_name)
    if found is None:
        return None
    query = sa.select(tables.groups).where(tables.groups.c.id == found.id).with_for_update()
    row = connection.execute(query).first()
    return None if row is None else Group(**row._mapping)


def _new(name: str, description: str, labels: dict[str, str], now: float) -> Group:
    ids = [str(uuid.uuid4()) for _ in range(3)]
    return Group(ids[0], name, description, labels, ids[1], ids[2], now, now)


def _check(group: Group) -> None:
    if not NAME.fullmatch(group.name) or group.name != group.name.strip():
        raise GroupError(400, "name: 1 to 200 characters without slashes, control characters and outer spaces", "name")
    if len(group.description) > DESCRIPTION_LENGTH_MAX:
        raise GroupError(400, f"description: at most {DESCRIPTION_LENGTH_MAX} characters", "description")
    too_long = any(len(text) > LABEL_LENGTH_MAX for pair in group.labels.items() for text in pair)
    if len(group.labels) > LABELS_MAX or too_long:
        raise GroupError(400, f"labels: at most {LABELS_MAX}, of at most {LABEL_LENGTH_MAX} characters each", "labels")
    # PostgreSQL's text has no NUL and no half characters.
    for text in (group.name, group.description, *(text for pair in group.labels.items() for text in pair)):
        if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise GroupError(400, "text that is not valid Unicode, or has NUL in it")


def _check_free(connection: sa.Connection, group: Group) -> None:
    table = tables.groups
    taken = sa.select(table.c.id).where(table.c.name == group.name, table.c.id != group.id)
    if connection.scalar(taken) is not None:
        raise GroupError(409, f"there is a runtime group {group.name!r} already", "name")


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
