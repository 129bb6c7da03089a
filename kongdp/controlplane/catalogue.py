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

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from kongdp.controlplane import groups
from kongdp.controlplane.activity_record import Record, Scope, Span, record
from kongdp.controlplane.applications import forget_version
from kongdp.controlplane.catalogue_entries import (
    PAGE_SIZE,
    TAG,
    CatalogueError,
    Implementation,
    Service,
    Version,
    check_edition,
    check_labels,
    check_name,
    check_service_name,
    check_text,
    check_unique_slug,
    check_unique_version,
    find_service,
    find_version,
    given_tags,
    read_implementation,
    required_implementation,
    slug,
    try_implementation_row,
    values_of,
    versions_of,
)
from kongdp.controlplane.changes import Changes, Transaction
from kongdp.controlplane.gateway_calls import AdminCall, call
from kongdp.controlplane.store import tables
from kongdp.controlplane.store.repository import EntityChange, GroupReader, GroupWriter


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
            return find_service(connection, id_or_name)

    def create_service(self, name: str, description: str = "", labels: Mapping[str, str] | None = None) -> Service:
        """A new service."""
        check_service_name(name)
        check_text("description", description)
        check_labels(labels or {})
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
            check_unique_slug(connection, service)
            connection.execute(sa.insert(tables.catalogue_services), values_of(tables.catalogue_services, service))
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
            old = find_service(connection, id_or_name, lock=True)
            check_edition(old.edition, expected)
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
            check_service_name(new.name)
            check_text("description", new.description)
            check_labels(new.labels)
            check_unique_slug(connection, new)
            table = tables.catalogue_services
            connection.execute(sa.update(table).where(table.c.id == old.id).values(values_of(table, new)))
            if new.slug != old.slug:
                self._retag(transaction, old, new)
        return new

    def publish(self, id_or_name: str, is_published: bool, *, expected: int | None = None) -> Service:
        """Show the service in the developer portal, with its document and the specs of all its versions, or no longer.

        Doing again what is done changes nothing.
        """
        table = tables.catalogue_services
        with self._database.write() as connection:
            old = find_service(connection, id_or_name, lock=True)
            check_edition(old.edition, expected)
            if old.published is is_published:
                return old
            new = replace(old, published=is_published, edition=old.edition + 1, updated_at=self._clock())
            connection.execute(sa.update(table).where(table.c.id == old.id).values(values_of(table, new)))
        return new

    def delete_service(self, id_or_name: str, *, actor: str, expected: int | None = None) -> None:
        """Delete a service with its versions, their implementations, routes and plugins, in one transaction."""
        with self._changes.transaction(
            actor=actor, summary="catalogue: delete service", may_manage=True
        ) as transaction:
            service = find_service(transaction.connection, id_or_name, lock=True)
            check_edition(service.edition, expected)
            for version in sorted(versions_of(transaction.connection, service.id), key=lambda each: each.group_id):
                forget_version(transaction, version.id)
                self._remove_implementation(transaction, version)
            table = tables.catalogue_services
            transaction.connection.execute(sa.delete(table).where(table.c.id == service.id))

    # versions

    def versions(self, service: str) -> list[Version]:
        """A service's versions, oldest first."""
        with self._database.read() as connection:
            return versions_of(connection, find_service(connection, service).id)

    def version(self, version_id: str) -> Version:
        """A version by id. Raises CatalogueError."""
        with self._database.read() as connection:
            return find_version(connection, version_id)

    def create_version(self, service: str, name: str, group: str) -> Version:
        """A new version in a group (id or name), where it stays."""
        check_name("name", name)
        now = self._clock()
        with self._database.write() as connection:
            found = groups.find(connection, group)
            if found is None:
                raise CatalogueError(400, f"there is no runtime group {group!r}", {"group": "no such runtime group"})
            version = Version(str(uuid.uuid4()), find_service(connection, service).id, found.id, name, 1, now, now)
            check_unique_version(connection, version)
            connection.execute(sa.insert(tables.catalogue_versions), values_of(tables.catalogue_versions, version))
        return version

    def rename_version(self, version_id: str, name: str, *, expected: int | None = None) -> Version:
        """Change a version's name."""
        check_name("name", name)
        table = tables.catalogue_versions
        with self._database.write() as connection:
            old = find_version(connection, version_id, lock=True)
            check_edition(old.edition, expected)
            new = Version(old.id, old.service_id, old.group_id, name, old.edition + 1, old.created_at, self._clock())
            check_unique_version(connection, new)
            connection.execute(sa.update(table).where(table.c.id == old.id).values(values_of(table, new)))
        return new

    def delete_version(self, version_id: str, *, actor: str, expected: int | None = None) -> None:
        """Delete a version with its implementation."""
        table = tables.catalogue_versions
        with self._changes.transaction(
            actor=actor, summary="catalogue: delete version", may_manage=True
        ) as transaction:
            version = find_version(transaction.connection, version_id, lock=True)
            check_edition(version.edition, expected)
            forget_version(transaction, version.id)
            self._remove_implementation(transaction, version)
            transaction.connection.execute(sa.delete(table).where(table.c.id == version.id))

    # implementations

    def try_implementation(self, version_id: str) -> Implementation | None:
        """A version's implementation, None while it has none. Raises CatalogueError for an unknown version."""
        with self._database.read() as connection:
            version = find_version(connection, version_id)
            found = try_implementation_row(connection, version.id)
            return (
                None
                if found is None
                else read_implementation(GroupReader(connection, version.group_id), version, found)
            )

    def create_implementation(
        self, version_id: str, service: Mapping[str, Any], route: Mapping[str, Any], *, actor: str
    ) -> Implementation:
        """Make a Gateway service and its first route, both or neither."""
        with self._changes.transaction(actor=actor, summary="catalogue: create implementation") as transaction:
            version = find_version(transaction.connection, version_id)
            if try_implementation_row(transaction.connection, version.id) is not None:
                raise CatalogueError(409, "the version has an implementation already")
            writer = transaction.group(version.group_id)
            tag = TAG + find_service(transaction.connection, version.service_id).slug
            tagged = {**service, "tags": [*(given_tags(service)), tag]}
            made = call(self._admin, writer, "POST", "/services", tagged, step="service")
            now = self._clock()
            row = {"id": str(uuid.uuid4()), "version_id": version.id, "gateway_service_id": made["id"]}
            transaction.connection.execute(
                sa.insert(tables.implementations), {**row, "edition": 1, "created_at": now, "updated_at": now}
            )
            call(self._admin, writer, "POST", f"/services/{made['id']}/routes", dict(route), step="route")
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
            version = find_version(transaction.connection, version_id)
            found = required_implementation(transaction.connection, version)
            check_edition(found.edition, expected)
            writer = transaction.group(version.group_id)
            if service:
                fields = dict(service)
                if "tags" in fields:
                    tag = TAG + find_service(transaction.connection, version.service_id).slug
                    fields["tags"] = [*(given_tags(fields)), tag]
                call(self._admin, writer, "PATCH", f"/services/{found.gateway_service_id}", fields, step="service")
            if route:
                self._update_route(writer, found.gateway_service_id, dict(route))
            self._raise_edition(transaction, found.id)
            return self._reread(transaction, version)

    def add_routes(self, version_id: str, routes: Sequence[Mapping[str, Any]], *, actor: str) -> Implementation:
        """Add routes (Kong's fields) to a version's Gateway service: all of them or none. Raises CatalogueError."""
        with self._changes.transaction(actor=actor, summary="catalogue: add routes") as transaction:
            version = find_version(transaction.connection, version_id)
            found = required_implementation(transaction.connection, version)
            writer = transaction.group(version.group_id)
            path = f"/services/{found.gateway_service_id}/routes"
            for fields in routes:
                call(self._admin, writer, "POST", path, dict(fields), step=f"route {fields.get('name', '')}")
            self._raise_edition(transaction, found.id)
            return self._reread(transaction, version)

    def taken_route_names(self, version_id: str, names: Iterable[str]) -> set[str]:
        """Which of these names a route of the version's group has already. Raises CatalogueError."""
        with self._database.read() as connection:
            reader = GroupReader(connection, find_version(connection, version_id).group_id)
            return {name for name in names if reader.find("routes", "name", name) is not None}

    def delete_implementation(self, version_id: str, *, actor: str, expected: int | None = None) -> None:
        """Remove the Gateway service with its routes and their plugins; the version stays."""
        with self._changes.transaction(actor=actor, summary="catalogue: delete implementation") as transaction:
            version = find_version(transaction.connection, version_id)
            found = required_implementation(transaction.connection, version)
            check_edition(found.edition, expected)
            self._remove_implementation(transaction, version)

    # the record

    def version_record(self, version_id: str, span: Span) -> Record:
        """Counts by status code of everything that was sent through the version's routes. Raises CatalogueError."""
        with self._database.read() as connection:
            version = find_version(connection, version_id)
            return record(connection, Scope(version_ids=(version.id,)), span)

    def service_record(self, service: str, span: Span, *, has_versions: bool = False) -> Record:
        """The same over all versions of a service; with `has_versions` also by version."""
        with self._database.read() as connection:
            versions = versions_of(connection, find_service(connection, service).id)
            scope = Scope(version_ids=tuple(version.id for version in versions))
            return record(connection, scope, span, has_versions=has_versions)

    # inner parts

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
        call(self._admin, writer, "PATCH", f"/routes/{route_id}", fields, step="route")

    def _remove_implementation(self, transaction: Transaction, version: Version) -> None:
        found = try_implementation_row(transaction.connection, version.id)
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
        for version in sorted(versions_of(transaction.connection, old.id), key=lambda each: each.group_id):
            found = try_implementation_row(transaction.connection, version.id)
            if found is None:
                continue
            writer = transaction.group(version.group_id)
            row = writer.get("services", found.gateway_service_id)
            if row is not None:
                kept = [tag for tag in row.get("tags") or () if tag != TAG + old.slug]
                writer.put("services", {**row, "tags": [*kept, TAG + new.slug]})

    def _raise_edition(self, transaction: Transaction, implementation_id: str) -> None:
        table = tables.implementations
        raised = {"edition": table.c.edition + 1, "updated_at": self._clock()}
        transaction.connection.execute(sa.update(table).where(table.c.id == implementation_id).values(raised))

    def _reread(self, transaction: Transaction, version: Version) -> Implementation:
        found = required_implementation(transaction.connection, version)
        return read_implementation(transaction.group(version.group_id), version, found)


def follow_services(connection: sa.Connection, group_id: str, changes: Sequence[EntityChange]) -> None:
    """Forget the implementation of a Gateway service that was deleted elsewhere (a follower of `Changes`)."""
    gone = [change.id for change in changes if change.collection == "services" and change.after is None]
    table = tables.implementations
    for service_id in gone:
        connection.execute(sa.delete(table).where(table.c.gateway_service_id == service_id))


def _delete_all(writer: GroupWriter, collection: str, where: Mapping[str, str]) -> None:
    while rows := writer.page(collection, where=where, size=PAGE_SIZE):
        for row in rows:
            writer.delete(collection, row["id"])
