"""Application registration of a version: on or off, and the two plugins by which the gateway holds to it.

In: a version with an implementation in the group `default`.  Out: whether it is enabled, and how; or CatalogueError that says
what is in the way. Enabling adds key-auth and acl to the version's Gateway service: a request needs a key of an
application that is approved for this very version. Both carry the tags by which everyone else leaves them alone
(managed). Disabling removes them; registrations and keys stay for the next time.
Cold; called off the event loop. Source: walkthrough section 12.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from kongdp.controlplane import groups, portal_settings
from kongdp.controlplane.catalogue_entries import (
    PAGE_SIZE,
    CatalogueError,
    Version,
    check_edition,
    find_version,
    required_implementation,
)
from kongdp.controlplane.changes import Changes
from kongdp.controlplane.gateway_calls import AdminCall, call
from kongdp.controlplane.managed import PLUGIN_TAG, REGISTRATION_TAG, is_managed
from kongdp.controlplane.store import tables

KEY_AUTH = "key-auth"
KEY_NAME = "apikey"


@dataclass(frozen=True, slots=True)
class AppRegistration:
    """How applications register with a version."""

    version_id: str
    auth_type: str
    auto_approve: bool
    edition: int
    created_at: float
    updated_at: float


class AppRegistrations:
    """Registration of versions over the database and the Admin API."""

    def __init__(self, changes: Changes, admin: AdminCall, clock: Callable[[], float] = time.time) -> None:
        self._changes = changes
        self._database = changes.database
        self._admin = admin
        self._clock = clock

    def try_get(self, version_id: str) -> AppRegistration | None:
        """How applications register with a version; None where it is not enabled. Raises CatalogueError."""
        with self._database.read() as connection:
            return _found(connection, find_version(connection, version_id))

    def enable(
        self, version_id: str, *, actor: str, auto_approve: bool = False, expected: int | None = None
    ) -> AppRegistration:
        """Enable registration, or change whether it approves by itself. Raises CatalogueError."""
        with self._changes.transaction(
            actor=actor, summary="catalogue: enable app registration", may_manage=True
        ) as transaction:
            connection = transaction.connection
            version = find_version(connection, version_id)
            _check_possible(connection, version)
            implementation = required_implementation(connection, version)
            old = _found(connection, version)
            check_edition(0 if old is None else old.edition, expected)
            now = self._clock()
            edition, since = (1, now) if old is None else (old.edition + 1, old.created_at)
            new = AppRegistration(version.id, KEY_AUTH, auto_approve, edition, since, now)
            table = tables.app_registrations
            values = {
                "auth_type": KEY_AUTH,
                "auto_approve": auto_approve,
                "edition": edition,
                "created_at": since,
                "updated_at": now,
            }
            if old is not None:
                mine = table.c.implementation_id == implementation.id
                connection.execute(sa.update(table).where(mine).values(values))
                return new
            connection.execute(sa.insert(table), {"implementation_id": implementation.id, **values})
            writer = transaction.group(version.group_id)
            path = f"/services/{implementation.gateway_service_id}/plugins"
            for body in _plugins(version.id):
                call(self._admin, writer, "POST", path, body, step=f"plugin {body['name']}")
        return new

    def disable(self, version_id: str, *, actor: str, expected: int | None = None) -> None:
        """Disable registration: the version answers without a key again. Raises CatalogueError."""
        with self._changes.transaction(
            actor=actor, summary="catalogue: disable app registration", may_manage=True
        ) as transaction:
            connection = transaction.connection
            version = find_version(connection, version_id)
            old = _found(connection, version)
            if old is None:
                raise CatalogueError(404, "application registration is not enabled for this version")
            check_edition(old.edition, expected)
            implementation = required_implementation(connection, version)
            table = tables.app_registrations
            connection.execute(sa.delete(table).where(table.c.implementation_id == implementation.id))
            writer = transaction.group(version.group_id)
            where = {"service": implementation.gateway_service_id}
            for row in writer.page("plugins", where=where, size=PAGE_SIZE):
                if is_managed(row):
                    call(self._admin, writer, "DELETE", f"/plugins/{row['id']}", {}, step="plugin")


def enabled_versions(connection: sa.Connection, service_id: str) -> set[str]:
    """Ids of a service's versions with which applications can register."""
    version, owner, table = tables.catalogue_versions, tables.implementations, tables.app_registrations
    query = (
        sa.select(version.c.id)
        .join(owner, owner.c.version_id == version.c.id)
        .join(table, table.c.implementation_id == owner.c.id)
        .where(version.c.service_id == service_id)
    )
    return set(connection.scalars(query))


def _plugins(version_id: str) -> list[dict[str, Any]]:
    """The two plugins. The key does not go on to the upstream, nor do the names of acl groups."""
    tags = [PLUGIN_TAG, REGISTRATION_TAG]
    return [
        {"name": KEY_AUTH, "config": {"key_names": [KEY_NAME], "hide_credentials": True}, "tags": tags},
        {"name": "acl", "config": {"allow": [version_id], "hide_groups_header": True}, "tags": tags},
    ]


def _check_possible(connection: sa.Connection, version: Version) -> None:
    group = groups.find(connection, version.group_id)
    if group is None or group.name != groups.DEFAULT:
        raise CatalogueError(409, "only versions in the runtime group default can have application registration")
    if portal_settings.read(connection).is_public:
        raise CatalogueError(409, "the portal is public, and so has no application registration: make it private first")


def _found(connection: sa.Connection, version: Version) -> AppRegistration | None:
    table, owner = tables.app_registrations, tables.implementations
    columns = [table.c[name] for name in AppRegistration.__slots__[1:]]
    query = sa.select(*columns).join(owner, owner.c.id == table.c.implementation_id)
    row = connection.execute(query.where(owner.c.version_id == version.id)).first()
    return None if row is None else AppRegistration(version.id, **row._mapping)
