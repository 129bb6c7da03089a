"""Konnect's own objects: services of the catalogue, their versions, and implementations that make Gateway entities of
them.

In: names and fields as people gave them.  Out: values, or CatalogueError with what is wrong where. Rules (walkthrough
sections 2 to 6): a service's name is unique, a space counting as "-"; a version's name is unique within its service
and group, and its group is fixed; a version has at most one implementation, which is one Gateway service with its
routes. What belongs together is written in one transaction: a service without its route never exists. Gateway
entities are validated by the Admin API itself, inside that transaction. Deleting goes downwards: service, versions,
implementations, routes, plugins.
Cold; called off the event loop.
"""

import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from kongdp.adminapi.store import Store
from kongdp.controlplane import groups
from kongdp.controlplane.activity_record import Record, Scope, Span, record
from kongdp.controlplane.changes import Changes, JoinedStore, Transaction
from kongdp.controlplane.store import tables
from kongdp.controlplane.store.repository import EntityChange, GroupReader, GroupWriter
from kongdp.entities.table import Row
from kongdp.errors import KongdpError, Source

# The tag that links a Gateway service to the catalogue, as Konnect writes it.
TAG = "_KonnectService:"
SERVICE_NAME = re.compile(r"[A-Za-z0-9.\-_~:]+( [A-Za-z0-9.\-_~:]+)*")
SERVICE_NAME_RULE = "only letters, digits, single spaces and . - _ ~ : are allowed"
NAME_LENGTH_MAX = 200
TEXT_LENGTH_MAX = 10_000
PAGE_SIZE = 1000

# Calls the Admin API over a store: (store, method, path, JSON body) -> (status, JSON answer).
AdminCall = Callable[[Store, str, str, Mapping[str, Any] | None], tuple[int, Any]]


class CatalogueError(KongdpError):
    """Something in a request cannot be done: `status` is HTTP's, `fields` names what is wrong where."""

    source = Source.CLIENT

    def __init__(self, status: int, message: str, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.fields = dict(fields or {})


@dataclass(frozen=True, slots=True)
class Service:
    """One entry of the catalogue; it carries no traffic itself. `edition` counts its changes."""

    id: str
    name: str
    slug: str
    description: str
    labels: dict[str, str]
    published: bool
    edition: int
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a service, in exactly one group."""

    id: str
    service_id: str
    group_id: str
    name: str
    edition: int
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Implementation:
    """What a version runs on: a Gateway service and its routes, as the Admin API shows them."""

    id: str
    version_id: str
    group_id: str
    service: Row
    routes: list[Row]
    edition: int
    created_at: float
    updated_at: float


class Catalogue:
    """The catalogue over the database and the Admin API."""

    def __init__(self, changes: Changes, admin: AdminCall, clock: Callable[[], float] = time.time) -> None:
        self._changes = changes
        self._database = changes.database
        self._admin = admin
        self._clock = clock

    # services

    def services(self) -> list[Service]:
        """All services, by name."""
        with self._database.read() as connection:
            query = sa.select(tables.catalogue_services).order_by(tables.catalogue_services.c.slug)
            return [Service(**row._mapping) for row in connection.execute(query)]

    def service(self, id_or_name: str) -> Service:
        """A service by id or name. Raises CatalogueError."""
        with self._database.read() as connection:
            return _service(connection, id_or_name)

    def create_service(self, name: str, description: str = "", labels: Mapping[str, str] | None = None) -> Service:
        """A new service."""
        _check_service_name(name)
        _check_text("description", description)
        now = self._clock()
        service = Service(
            str(uuid.uuid4()),
            name,
            slug(name),
            description,
            dict(labels or {}),
            False,
            1,
            created_at=now,
            updated_at=now,
        )
        with self._database.write() as connection:
            _check_unique_slug(connection, service)
            connection.execute(sa.insert(tables.catalogue_services), _values(tables.catalogue_services, service))
        return service

    def update_service(
        self,
        id_or_name: str,
        *,
        actor: str,
        name: str | None = None,
        description: str | None = None,
        labels: Mapping[str, str] | None = None,
        expected: int | None = None,
    ) -> Service:
        """Change what is given. A new name goes into the tags of the service's Gateway services too."""
        with self._changes.transaction(actor=actor, summary="catalogue: update service") as transaction:
            connection = transaction.connection
            old = _service(connection, id_or_name, lock=True)
            _check_edition(old.edition, expected)
            new = Service(
                old.id,
                old.name if name is None else name,
                old.slug if name is None else slug(name),
                old.description if description is None else description,
                old.labels if labels is None else dict(labels),
                old.published,
                old.edition + 1,
                old.created_at,
                self._clock(),
            )
            _check_service_name(new.name)
            _check_text("description", new.description)
            _check_unique_slug(connection, new)
            table = tables.catalogue_services
            connection.execute(sa.update(table).where(table.c.id == old.id).values(_values(table, new)))
            if new.slug != old.slug:
                self._retag(transaction, old, new)
        return new

    def delete_service(self, id_or_name: str, *, actor: str, expected: int | None = None) -> None:
        """Delete a service with its versions, their implementations, routes and plugins, in one transaction."""
        with self._changes.transaction(actor=actor, summary="catalogue: delete service") as transaction:
            service = _service(transaction.connection, id_or_name, lock=True)
            _check_edition(service.edition, expected)
            for version in sorted(_versions(transaction.connection, service.id), key=lambda each: each.group_id):
                self._remove_implementation(transaction, version)
            table = tables.catalogue_services
            transaction.connection.execute(sa.delete(table).where(table.c.id == service.id))

    # versions

    def versions(self, service: str) -> list[Version]:
        """A service's versions, oldest first."""
        with self._database.read() as connection:
            return _versions(connection, _service(connection, service).id)

    def version(self, version_id: str) -> Version:
        """A version by id. Raises CatalogueError."""
        with self._database.read() as connection:
            return _version(connection, version_id)

    def create_version(self, service: str, name: str, group: str) -> Version:
        """A new version in a group (id or name), where it stays."""
        _check_name("name", name)
        now = self._clock()
        with self._database.write() as connection:
            found = groups.find(connection, group)
            if found is None:
                raise CatalogueError(400, f"there is no runtime group {group!r}", {"group": "no such runtime group"})
            version = Version(str(uuid.uuid4()), _service(connection, service).id, found.id, name, 1, now, now)
            _check_unique_version(connection, version)
            connection.execute(sa.insert(tables.catalogue_versions), _values(tables.catalogue_versions, version))
        return version

    def rename_version(self, version_id: str, name: str, *, expected: int | None = None) -> Version:
        """Change a version's name."""
        _check_name("name", name)
        table = tables.catalogue_versions
        with self._database.write() as connection:
            old = _version(connection, version_id, lock=True)
            _check_edition(old.edition, expected)
            new = Version(old.id, old.service_id, old.group_id, name, old.edition + 1, old.created_at, self._clock())
            _check_unique_version(connection, new)
            connection.execute(sa.update(table).where(table.c.id == old.id).values(_values(table, new)))
        return new

    def delete_version(self, version_id: str, *, actor: str, expected: int | None = None) -> None:
        """Delete a version with its implementation."""
        table = tables.catalogue_versions
        with self._changes.transaction(actor=actor, summary="catalogue: delete version") as transaction:
            version = _version(transaction.connection, version_id, lock=True)
            _check_edition(version.edition, expected)
            self._remove_implementation(transaction, version)
            transaction.connection.execute(sa.delete(table).where(table.c.id == version.id))

    # implementations

    def try_implementation(self, version_id: str) -> Implementation | None:
        """A version's implementation, None while it has none. Raises CatalogueError for an unknown version."""
        with self._database.read() as connection:
            version = _version(connection, version_id)
            found = _implementation_row(connection, version.id)
            return None if found is None else _read(GroupReader(connection, version.group_id), version, found)

    def create_implementation(
        self, version_id: str, service: Mapping[str, Any], route: Mapping[str, Any], *, actor: str
    ) -> Implementation:
        """Make a Gateway service and its first route, both or neither."""
        with self._changes.transaction(actor=actor, summary="catalogue: create implementation") as transaction:
            version = _version(transaction.connection, version_id)
            if _implementation_row(transaction.connection, version.id) is not None:
                raise CatalogueError(409, "the version has an implementation already")
            writer = transaction.group(version.group_id)
            tag = TAG + _service(transaction.connection, version.service_id).slug
            tagged = {**service, "tags": [*(_tags(service)), tag]}
            made = self._call(writer, "POST", "/services", tagged, step="service")
            now = self._clock()
            row = {"id": str(uuid.uuid4()), "version_id": version.id, "gateway_service_id": made["id"]}
            transaction.connection.execute(
                sa.insert(tables.implementations), {**row, "edition": 1, "created_at": now, "updated_at": now}
            )
            self._call(writer, "POST", f"/services/{made['id']}/routes", dict(route), step="route")
            return self._reread(transaction, version)

    def update_implementation(
        self,
        version_id: str,
        service: Mapping[str, Any],
        route: Mapping[str, Any],
        *,
        actor: str,
        expected: int | None = None,
    ) -> Implementation:
        """Change fields of the Gateway service, of a route (by `id`; the only one needs none), or both."""
        with self._changes.transaction(actor=actor, summary="catalogue: update implementation") as transaction:
            version = _version(transaction.connection, version_id)
            found = _required_implementation(transaction.connection, version)
            _check_edition(found.edition, expected)
            writer = transaction.group(version.group_id)
            if service:
                fields = dict(service)
                if "tags" in fields:
                    tag = TAG + _service(transaction.connection, version.service_id).slug
                    fields["tags"] = [*(_tags(fields)), tag]
                self._call(writer, "PATCH", f"/services/{found.gateway_service_id}", fields, step="service")
            if route:
                self._update_route(writer, found.gateway_service_id, dict(route))
            table = tables.implementations
            raised = {"edition": table.c.edition + 1, "updated_at": self._clock()}
            transaction.connection.execute(sa.update(table).where(table.c.id == found.id).values(raised))
            return self._reread(transaction, version)

    def delete_implementation(self, version_id: str, *, actor: str, expected: int | None = None) -> None:
        """Remove the Gateway service with its routes and their plugins; the version stays."""
        with self._changes.transaction(actor=actor, summary="catalogue: delete implementation") as transaction:
            version = _version(transaction.connection, version_id)
            found = _required_implementation(transaction.connection, version)
            _check_edition(found.edition, expected)
            self._remove_implementation(transaction, version)

    # the record

    def version_record(self, version_id: str, span: Span) -> Record:
        """Counts by status code of everything that was sent through the version's routes. Raises CatalogueError."""
        with self._database.read() as connection:
            version = _version(connection, version_id)
            return record(connection, Scope(version_ids=(version.id,)), span)

    def service_record(self, service: str, span: Span) -> Record:
        """The same over all versions of a service."""
        with self._database.read() as connection:
            versions = _versions(connection, _service(connection, service).id)
            return record(connection, Scope(version_ids=tuple(version.id for version in versions)), span)

    # inner parts

    def _call(self, writer: GroupWriter, method: str, path: str, body: dict[str, Any], *, step: str) -> Row:
        """One call of the Admin API inside the transaction; an error answer ends the transaction."""
        status, answer = self._admin(JoinedStore(writer), method, path, body)
        if status >= 400:
            message = answer.get("message", "") if isinstance(answer, dict) else str(answer)
            fields = answer.get("fields") or {} if isinstance(answer, dict) else {}
            raise CatalogueError(status, f"{step}: {message}", {step: fields})
        row: Row = answer
        return row

    def _update_route(self, writer: GroupWriter, service_id: str, fields: dict[str, Any]) -> None:
        routes = {row["id"] for row in writer.page("routes", where={"service": service_id}, size=PAGE_SIZE)}
        route_id = fields.pop("id", None)
        if route_id is None and len(routes) == 1:
            (route_id,) = routes
        if route_id not in routes:
            said = "needed, the implementation has several routes" if route_id is None else "no route of this version"
            raise CatalogueError(400, f"route: id: {said}", {"route": {"id": said}})
        if fields.get("service", {"id": service_id}) != {"id": service_id}:
            raise CatalogueError(400, "route: service: cannot be changed here", {"route": {"service": "fixed"}})
        self._call(writer, "PATCH", f"/routes/{route_id}", fields, step="route")

    def _remove_implementation(self, transaction: Transaction, version: Version) -> None:
        found = _implementation_row(transaction.connection, version.id)
        if found is None:
            return
        writer = transaction.group(version.group_id)
        service_id = found.gateway_service_id
        while routes := writer.page("routes", where={"service": service_id}, size=PAGE_SIZE):
            for route in routes:
                _delete_all(writer, "plugins", {"route": route["id"]})
                writer.delete("routes", route["id"])
        _delete_all(writer, "plugins", {"service": service_id})
        writer.delete("services", service_id)
        table = tables.implementations
        transaction.connection.execute(sa.delete(table).where(table.c.id == found.id))

    def _retag(self, transaction: Transaction, old: Service, new: Service) -> None:
        for version in sorted(_versions(transaction.connection, old.id), key=lambda each: each.group_id):
            found = _implementation_row(transaction.connection, version.id)
            if found is None:
                continue
            writer = transaction.group(version.group_id)
            row = writer.get("services", found.gateway_service_id)
            if row is not None:
                kept = [tag for tag in row.get("tags") or () if tag != TAG + old.slug]
                writer.put("services", {**row, "tags": [*kept, TAG + new.slug]})

    def _reread(self, transaction: Transaction, version: Version) -> Implementation:
        found = _required_implementation(transaction.connection, version)
        return _read(transaction.group(version.group_id), version, found)


def slug(name: str) -> str:
    """The name by which two services collide."""
    return name.replace(" ", "-")


def follow_services(connection: sa.Connection, group_id: str, changes: Sequence[EntityChange]) -> None:
    """Forget the implementation of a Gateway service that was deleted elsewhere (a follower of `Changes`)."""
    gone = [change.id for change in changes if change.collection == "services" and change.after is None]
    table = tables.implementations
    for service_id in gone:
        connection.execute(sa.delete(table).where(table.c.gateway_service_id == service_id))


def _read(reader: GroupReader, version: Version, found: sa.Row[Any]) -> Implementation:
    service = reader.get("services", found.gateway_service_id)
    return Implementation(
        id=found.id,
        version_id=version.id,
        group_id=version.group_id,
        service=service or {"id": found.gateway_service_id},
        routes=reader.page("routes", where={"service": found.gateway_service_id}, size=PAGE_SIZE),
        edition=found.edition,
        created_at=found.created_at,
        updated_at=found.updated_at,
    )


def _delete_all(writer: GroupWriter, collection: str, where: Mapping[str, str]) -> None:
    while rows := writer.page(collection, where=where, size=PAGE_SIZE):
        for row in rows:
            writer.delete(collection, row["id"])


def _service(connection: sa.Connection, id_or_name: str, *, lock: bool = False) -> Service:
    table = tables.catalogue_services
    query = sa.select(table).where(sa.or_(table.c.id == id_or_name, table.c.slug == slug(id_or_name)))
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise CatalogueError(404, f"there is no service {id_or_name!r}")
    return Service(**row._mapping)


def _versions(connection: sa.Connection, service_id: str) -> list[Version]:
    table = tables.catalogue_versions
    query = sa.select(table).where(table.c.service_id == service_id).order_by(table.c.created_at, table.c.id)
    return [Version(**row._mapping) for row in connection.execute(query)]


def _version(connection: sa.Connection, version_id: str, *, lock: bool = False) -> Version:
    query = sa.select(tables.catalogue_versions).where(tables.catalogue_versions.c.id == version_id)
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise CatalogueError(404, f"there is no version {version_id!r}")
    return Version(**row._mapping)


def _implementation_row(connection: sa.Connection, version_id: str) -> sa.Row[Any] | None:
    table = tables.implementations
    return connection.execute(sa.select(table).where(table.c.version_id == version_id)).first()


def _required_implementation(connection: sa.Connection, version: Version) -> sa.Row[Any]:
    table = tables.implementations
    query = sa.select(table).where(table.c.version_id == version.id)
    found = connection.execute(query.with_for_update()).first()
    if found is None:
        raise CatalogueError(404, "the version has no implementation")
    return found


def _check_edition(edition: int, expected: int | None) -> None:
    """Refuse an edit of what has changed since the caller saw it."""
    if expected is not None and expected != edition:
        raise CatalogueError(412, f"it has changed since: it is at edition {edition} now")


def _values(table: sa.Table, value: object) -> dict[str, Any]:
    return {column.name: getattr(value, column.name) for column in table.columns}


def _tags(fields: Mapping[str, Any]) -> list[str]:
    """The tags a person gave; the catalogue's own are added, never taken."""
    tags = fields.get("tags")
    return [tag for tag in tags if not str(tag).startswith(TAG)] if isinstance(tags, list) else []


def _check_service_name(name: str) -> None:
    _check_name("name", name)
    if SERVICE_NAME.fullmatch(name) is None:
        raise CatalogueError(400, f"name: {SERVICE_NAME_RULE}", {"name": SERVICE_NAME_RULE})


def _check_name(field: str, name: str) -> None:
    if not 0 < len(name) <= NAME_LENGTH_MAX or not name.isprintable() or name != name.strip():
        said = f"must have 1 to {NAME_LENGTH_MAX} printable characters, without blanks at its ends"
        raise CatalogueError(400, f"{field}: {said}", {field: said})


def _check_text(field: str, text: str) -> None:
    if len(text) > TEXT_LENGTH_MAX:
        said = f"must have at most {TEXT_LENGTH_MAX} characters"
        raise CatalogueError(400, f"{field}: {said}", {field: said})


def _check_unique_slug(connection: sa.Connection, service: Service) -> None:
    table = tables.catalogue_services
    query = sa.select(table.c.id).where(table.c.slug == service.slug, table.c.id != service.id)
    if connection.scalar(query) is not None:
        raise CatalogueError(409, f"name: there is a service {service.name!r} already", {"name": "must be unique"})


def _check_unique_version(connection: sa.Connection, version: Version) -> None:
    table = tables.catalogue_versions
    rivals = sa.select(table.c.id).where(
        table.c.service_id == version.service_id,
        table.c.group_id == version.group_id,
        table.c.name == version.name,
        table.c.id != version.id,
    )
    if connection.scalar(rivals) is not None:
        said = "must be unique within the service and group"
        raise CatalogueError(409, f"name: there is a version {version.name!r} already", {"name": said})
