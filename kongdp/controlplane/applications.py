"""Applications of developers, their keys, and their registrations with versions; and what of them is at the gateway.

In: what developers ask for and administrators decide.  Out: values; keys only once. The database says who may call what;
the group's entities follow it in the same transaction: an application that needs one has a consumer (with the
application's id), each key is a key-auth credential, each approved registration an acl group named after the version.
House rule: `_settle` alone writes those entities, and makes them what the rows say, whatever they were before.
Cold; called off the event loop. Source: walkthrough section 12.
"""

import re
import secrets
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from kongdp.controlplane import developers, groups, portal_settings
from kongdp.controlplane.catalogue_entries import (
    PAGE_SIZE,
    CatalogueError,
    check_edition,
    check_name,
    check_storable,
    check_text,
    find_service,
    find_version,
)
from kongdp.controlplane.changes import Changes, Transaction
from kongdp.controlplane.developers import APPROVED, PENDING, Developer, check_step
from kongdp.controlplane.gateway_calls import AdminCall, call
from kongdp.controlplane.managed import REGISTRATION_TAG
from kongdp.controlplane.store import tables
from kongdp.controlplane.store.repository import GroupReader, GroupWriter

REFERENCE_ID = re.compile(r"[A-Za-z0-9._~\-]{1,100}")
KEY_BYTES = 24
KEY_SHOWN = 4
KEYS_MAX = 10
APPLICATIONS_MAX = 50
TAGS = [REGISTRATION_TAG]


@dataclass(frozen=True, slots=True)
class Application:
    """An application; its id is also that of its consumer at the gateway."""

    id: str
    developer_id: str
    name: str
    reference_id: str
    description: str
    edition: int
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Key:
    """A key, as far as it is shown again: its last characters."""

    id: str
    ending: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Registration:
    """What an application was told when it asked for a version."""

    id: str
    application_id: str
    version_id: str
    status: str
    edition: int
    created_at: float
    updated_at: float


class Applications:
    """Applications over the database and the group `default`."""

    def __init__(self, changes: Changes, admin: AdminCall, clock: Callable[[], float] = time.time) -> None:
        self._changes = changes
        self._database = changes.database
        self._admin = admin
        self._clock = clock

    # applications

    def of_developer(self, developer_id: str) -> list[Application]:
        """A developer's applications, by name."""
        table = tables.applications
        with self._database.read() as connection:
            rows = connection.execute(sa.select(table).where(table.c.developer_id == developer_id))
            return sorted((Application(**row._mapping) for row in rows), key=lambda each: each.name.lower())

    def page(self, *, size: int, skip: int = 0) -> tuple[list[Application], int]:
        """All applications by reference id, and how many there are."""
        table = tables.applications
        with self._database.read() as connection:
            rows = connection.execute(sa.select(table).order_by(table.c.reference_id).limit(size).offset(skip))
            found = [Application(**row._mapping) for row in rows]
            return found, connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0

    def get(self, application_id: str, owner: str | None = None) -> Application:
        """An application by id; with `owner`, only that developer's. Raises CatalogueError 404."""
        with self._database.read() as connection:
            return _application(connection, application_id, owner)

    def create(self, developer_id: str, name: str, reference_id: str, description: str = "") -> Application:
        """A new application. Raises CatalogueError."""
        if not REFERENCE_ID.fullmatch(reference_id):
            said = "must have 1 to 100 letters, digits and . _ ~ -"
            raise CatalogueError(400, f"reference_id: {said}", {"reference_id": said})
        _check_texts(name, description)
        now = self._clock()
        table = tables.applications
        with self._database.write() as connection:
            owner = developers.find(connection, developer_id, lock=True)
            _check_approved(owner)
            held = sa.select(sa.func.count()).select_from(table).where(table.c.developer_id == owner.id)
            if (connection.scalar(held) or 0) >= APPLICATIONS_MAX:
                raise CatalogueError(409, f"a developer may have at most {APPLICATIONS_MAX} applications")
            if connection.scalar(sa.select(table.c.id).where(table.c.reference_id == reference_id)) is not None:
                said = f"{reference_id} is taken, it must be unique"
                raise CatalogueError(409, f"reference_id: {said}", {"reference_id": said})
            made = Application(str(uuid.uuid4()), owner.id, name, reference_id, description, 1, now, now)
            connection.execute(sa.insert(table), _values(made))
        return made

    def update(
        self,
        application_id: str,
        *,
        owner: str | None = None,
        name: str | None = None,
        description: str | None = None,
        expected: int | None = None,
    ) -> Application:
        """Change name or description; the reference id stays. Raises CatalogueError."""
        table = tables.applications
        with self._database.write() as connection:
            old = _application(connection, application_id, owner, lock=True)
            check_edition(old.edition, expected)
            new = replace(
                old,
                name=old.name if name is None else name,
                description=old.description if description is None else description,
                edition=old.edition + 1,
                updated_at=self._clock(),
            )
            _check_texts(new.name, new.description)
            connection.execute(sa.update(table).where(table.c.id == old.id).values(_values(new)))
        return new

    def delete(self, application_id: str, *, actor: str, owner: str | None = None, expected: int | None = None) -> None:
        """Delete an application; its keys are refused from then on. Raises CatalogueError."""
        with self._transaction(actor, "delete application") as transaction:
            found = _application(transaction.connection, application_id, owner, lock=True)
            check_edition(found.edition, expected)
            table = tables.applications
            transaction.connection.execute(sa.delete(table).where(table.c.id == found.id))
            self._settle(transaction, found.id)

    # keys

    def keys(self, application_id: str, owner: str | None = None) -> list[Key]:
        """An application's keys, newest first, without their text. Raises CatalogueError."""
        with self._database.read() as connection:
            found = _application(connection, application_id, owner)
            reader = GroupReader(connection, _default(connection))
            rows = reader.page("keyauth_credentials", where={"consumer": found.id}, size=PAGE_SIZE)
        keys = [Key(row["id"], row["key"][-KEY_SHOWN:], float(row["created_at"])) for row in rows]
        return sorted(keys, key=lambda key: (-key.created_at, key.id))

    def generate_key(self, application_id: str, *, actor: str, owner: str | None = None) -> tuple[Key, str]:
        """A new key and its text, which nobody is shown again. Raises CatalogueError."""
        secret = secrets.token_urlsafe(KEY_BYTES)
        with self._transaction(actor, "generate credential") as transaction:
            connection = transaction.connection
            found = _application(connection, application_id, owner, lock=True)
            _check_approved(developers.find(connection, found.developer_id))
            writer = self._settle(transaction, found.id, is_needed=True)
            if writer.count("keyauth_credentials", where={"consumer": found.id}) >= KEYS_MAX:
                raise CatalogueError(409, f"an application may have at most {KEYS_MAX} keys: revoke one first")
            body = {"key": secret, "tags": TAGS}
            row = call(self._admin, writer, "POST", f"/consumers/{found.id}/key-auth", body, step="credential")
        return Key(row["id"], secret[-KEY_SHOWN:], float(row["created_at"])), secret

    def revoke_key(self, application_id: str, key_id: str, *, actor: str, owner: str | None = None) -> None:
        """Revoke a key. Raises CatalogueError 404."""
        with self._transaction(actor, "revoke credential") as transaction:
            found = _application(transaction.connection, application_id, owner)
            writer = transaction.group(_default(transaction.connection))
            row = writer.get("keyauth_credentials", key_id)
            if row is None or row["consumer"] != {"id": found.id}:
                raise CatalogueError(404, f"the application has no key {key_id!r}")
            call(self._admin, writer, "DELETE", f"/consumers/{found.id}/key-auth/{row['id']}", {}, step="credential")

    # registrations

    def registrations(self, application_id: str, owner: str | None = None) -> list[Registration]:
        """An application's registrations, oldest first. Raises CatalogueError."""
        table = tables.registrations
        with self._database.read() as connection:
            found = _application(connection, application_id, owner)
            query = sa.select(table).where(table.c.application_id == found.id).order_by(table.c.created_at)
            return [Registration(**row._mapping) for row in connection.execute(query)]

    def requests(self, *, status: str | None = None, size: int, skip: int = 0) -> tuple[list[Registration], int]:
        """Registrations of all applications, newest first, and how many there are."""
        table = tables.registrations
        wanted = [] if status is None else [table.c.status == status]
        query = sa.select(table).where(*wanted).order_by(table.c.created_at.desc(), table.c.id)
        with self._database.read() as connection:
            found = [Registration(**row._mapping) for row in connection.execute(query.limit(size).offset(skip))]
            return found, connection.scalar(sa.select(sa.func.count()).select_from(table).where(*wanted)) or 0

    def request_access(
        self, application_id: str, version_id: str, *, actor: str, owner: str | None = None
    ) -> Registration:
        """Register an application with a version: approved at once where that is set, else pending.

        Raises CatalogueError: 404 for a version that is not published, 409 where registration is not enabled or the
        application has asked before.
        """
        with self._transaction(actor, "request access") as transaction:
            connection = transaction.connection
            found = _application(connection, application_id, owner, lock=True)
            _check_approved(developers.find(connection, found.developer_id))
            approves = _approves(connection, version_id)
            table = tables.registrations
            taken = sa.select(table.c.status).where(
                table.c.application_id == found.id, table.c.version_id == version_id
            )
            known = connection.scalar(taken)
            if known is not None:
                raise CatalogueError(409, f"the application is registered with this version already: {known}")
            now = self._clock()
            status = APPROVED if approves else PENDING
            made = Registration(str(uuid.uuid4()), found.id, version_id, status, 1, now, now)
            connection.execute(sa.insert(table), _values(made))
            self._settle(transaction, found.id)
        return made

    def decide(self, registration_id: str, status: str, *, actor: str, expected: int | None = None) -> Registration:
        """Approve, reject or revoke a registration. Raises CatalogueError."""
        table = tables.registrations
        with self._transaction(actor, f"registration {status}") as transaction:
            old = _registration(transaction.connection, registration_id)
            check_edition(old.edition, expected)
            check_step(old.status, status)
            new = replace(old, status=status, edition=old.edition + 1, updated_at=self._clock())
            transaction.connection.execute(sa.update(table).where(table.c.id == old.id).values(_values(new)))
            self._settle(transaction, old.application_id)
        return new

    def withdraw(self, registration_id: str, *, actor: str, owner: str | None = None) -> None:
        """Delete a registration. Raises CatalogueError."""
        table = tables.registrations
        with self._transaction(actor, "delete registration") as transaction:
            old = _registration(transaction.connection, registration_id)
            _application(transaction.connection, old.application_id, owner)
            transaction.connection.execute(sa.delete(table).where(table.c.id == old.id))
            self._settle(transaction, old.application_id)

    # what developers' statuses mean for applications

    def decide_developer(self, developer_id: str, status: str, *, actor: str, expected: int | None = None) -> Developer:
        """Approve, reject or revoke a developer. A revoked one's keys are deleted; new ones are needed afterwards."""
        with self._transaction(actor, f"developer {status}") as transaction:
            connection = transaction.connection
            old = developers.find(connection, developer_id, lock=True)
            new = developers.decide(connection, old, status, self._clock(), expected)
            for application_id in _application_ids(connection, old.id):
                self._settle(transaction, application_id)
        return new

    def delete_developer(self, developer_id: str, *, actor: str) -> None:
        """Delete a developer with applications and keys. Raises CatalogueError."""
        with self._transaction(actor, "delete developer") as transaction:
            connection = transaction.connection
            found = developers.find(connection, developer_id, lock=True)
            ids = _application_ids(connection, found.id)
            connection.execute(sa.delete(tables.developers).where(tables.developers.c.id == found.id))
            for application_id in ids:
                self._settle(transaction, application_id)

    # inner parts

    def _transaction(self, actor: str, summary: str) -> Any:
        return self._changes.transaction(actor=actor, summary=f"portal: {summary}", may_manage=True)

    def _settle(self, transaction: Transaction, application_id: str, *, is_needed: bool = False) -> GroupWriter:
        """Make consumer and acl groups what the rows say. `is_needed`: a consumer also without a registration."""
        connection = transaction.connection
        writer = transaction.group(_default(connection))
        path = f"/consumers/{application_id}"
        consumer = writer.get("consumers", application_id)
        reference_id, wanted = _rights(connection, application_id)
        if reference_id is None:
            if consumer is not None:
                call(self._admin, writer, "DELETE", path, {}, step="consumer")
            return writer
        if consumer is None:
            if not wanted and not is_needed:
                return writer
            body = {"id": application_id, "username": f"application:{reference_id}", "custom_id": application_id}
            call(self._admin, writer, "POST", "/consumers", {**body, "tags": TAGS}, step="consumer")
        rows = writer.page("acls", where={"consumer": application_id}, size=PAGE_SIZE)
        have = {row["group"]: row["id"] for row in rows if REGISTRATION_TAG in (row.get("tags") or ())}
        for version_id in sorted(wanted - have.keys()):
            call(self._admin, writer, "POST", f"{path}/acls", {"group": version_id, "tags": TAGS}, step="acl group")
        for version_id in sorted(have.keys() - wanted):
            call(self._admin, writer, "DELETE", f"{path}/acls/{have[version_id]}", {}, step="acl group")
        return writer


def forget_version(transaction: Transaction, version_id: str) -> None:
    """Take the acl groups of a version that is about to be deleted from its applications' consumers."""
    table = tables.registrations
    ids = transaction.connection.scalars(
        sa.select(table.c.application_id).where(table.c.version_id == version_id)
    ).all()
    if not ids:
        return
    writer = transaction.group(_default(transaction.connection))
    for application_id in ids:
        for row in writer.page("acls", where={"consumer": application_id}, size=PAGE_SIZE):
            if row["group"] == version_id:
                writer.delete("acls", row["id"])


def _rights(connection: sa.Connection, application_id: str) -> tuple[str | None, set[str]]:
    """The application's reference id, None when it may nothing (any more), and the versions it may call."""
    app, person, registered = tables.applications, tables.developers, tables.registrations
    reference_id: str | None = connection.scalar(
        sa.select(app.c.reference_id)
        .join(person, person.c.id == app.c.developer_id)
        .where(app.c.id == application_id, person.c.status == APPROVED)
    )
    ids = connection.scalars(
        sa.select(registered.c.version_id).where(
            registered.c.application_id == application_id, registered.c.status == APPROVED
        )
    )
    return reference_id, set(ids)


def _approves(connection: sa.Connection, version_id: str) -> bool:
    """Whether a published version approves by itself. Raises CatalogueError where nobody can register."""
    version = find_version(connection, version_id)
    if not find_service(connection, version.service_id).published:
        raise CatalogueError(404, f"there is no version {version_id!r}")
    table, owner = tables.app_registrations, tables.implementations
    query = sa.select(table.c.auto_approve).join(owner, owner.c.id == table.c.implementation_id)
    found: bool | None = connection.scalar(query.where(owner.c.version_id == version.id))
    if found is None:
        raise CatalogueError(409, "application registration is not enabled for this version")
    return found or portal_settings.read(connection).auto_approve_applications


def _application(
    connection: sa.Connection, application_id: str, owner: str | None = None, *, lock: bool = False
) -> Application:
    check_storable("application", application_id)
    table = tables.applications
    query = sa.select(table).where(table.c.id == application_id)
    if owner is not None:
        query = query.where(table.c.developer_id == owner)
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise CatalogueError(404, f"there is no application {application_id!r}")
    return Application(**row._mapping)


def _application_ids(connection: sa.Connection, developer_id: str) -> list[str]:
    table = tables.applications
    return list(connection.scalars(sa.select(table.c.id).where(table.c.developer_id == developer_id)))


def _registration(connection: sa.Connection, registration_id: str) -> Registration:
    check_storable("registration", registration_id)
    table = tables.registrations
    row = connection.execute(sa.select(table).where(table.c.id == registration_id).with_for_update()).first()
    if row is None:
        raise CatalogueError(404, f"there is no registration {registration_id!r}")
    return Registration(**row._mapping)


def _default(connection: sa.Connection) -> str:
    group = groups.find(connection, groups.DEFAULT)
    assert group is not None, "always there"
    return group.id


def _check_approved(developer: Developer) -> None:
    if developer.status != APPROVED:
        raise CatalogueError(403, f"the developer {developer.email} is {developer.status}")


def _check_texts(name: str, description: str) -> None:
    check_name("name", name)
    check_storable("name", name)
    check_text("description", description)


def _values(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}
