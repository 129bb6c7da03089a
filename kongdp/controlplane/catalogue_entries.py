"""The catalogue's rows: what a service, a version and an implementation are, how one finds them, which names they may have.

In: an open connection, names as people gave them.  Out: values, or CatalogueError with what is wrong where.
House rule: reads and judges, writes nothing; the rules of changes are `catalogue`'s and those of its neighbours. Cold.
Source: walkthrough sections 2 to 6.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from kongdp.controlplane.store import tables
from kongdp.controlplane.store.repository import GroupReader
from kongdp.entities.table import Row
from kongdp.errors import KongdpError, Source

# The tag that links a Gateway service to the catalogue, as Konnect writes it.
TAG = "_KonnectService:"
SERVICE_NAME = re.compile(r"[A-Za-z0-9.\-_~:]+( [A-Za-z0-9.\-_~:]+)*")
SERVICE_NAME_RULE = "only letters, digits, single spaces and . - _ ~ : are allowed"
NAME_LENGTH_MAX = 200
TEXT_LENGTH_MAX = 10_000
LABELS_MAX = 50
LABEL_LENGTH_MAX = 200
PAGE_SIZE = 1000


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


def slug(name: str) -> str:
    """The name by which two services collide."""
    return name.replace(" ", "-")


def read_implementation(reader: GroupReader, version: Version, found: sa.Row[Any]) -> Implementation:
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


def find_service(connection: sa.Connection, id_or_name: str, *, lock: bool = False) -> Service:
    check_storable("service", id_or_name)
    table = tables.catalogue_services
    query = sa.select(table).where(sa.or_(table.c.id == id_or_name, table.c.slug == slug(id_or_name)))
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise CatalogueError(404, f"there is no service {id_or_name!r}")
    return Service(**row._mapping)


def versions_of(connection: sa.Connection, service_id: str) -> list[Version]:
    table = tables.catalogue_versions
    query = sa.select(table).where(table.c.service_id == service_id).order_by(table.c.created_at, table.c.id)
    return [Version(**row._mapping) for row in connection.execute(query)]


def find_version(connection: sa.Connection, version_id: str, *, lock: bool = False) -> Version:
    check_storable("version", version_id)
    query = sa.select(tables.catalogue_versions).where(tables.catalogue_versions.c.id == version_id)
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise CatalogueError(404, f"there is no version {version_id!r}")
    return Version(**row._mapping)


def try_implementation_row(connection: sa.Connection, version_id: str) -> sa.Row[Any] | None:
    table = tables.implementations
    return connection.execute(sa.select(table).where(table.c.version_id == version_id)).first()


def required_implementation(connection: sa.Connection, version: Version) -> sa.Row[Any]:
    table = tables.implementations
    query = sa.select(table).where(table.c.version_id == version.id)
    found = connection.execute(query.with_for_update()).first()
    if found is None:
        raise CatalogueError(404, "the version has no implementation")
    return found


def check_edition(edition: int, expected: int | None) -> None:
    """Refuse an edit of what has changed since the caller saw it."""
    if expected is not None and expected != edition:
        raise CatalogueError(412, f"it has changed since: it is at edition {edition} now")


def values_of(table: sa.Table, value: object) -> dict[str, Any]:
    return {column.name: getattr(value, column.name) for column in table.columns}


def given_tags(fields: Mapping[str, Any]) -> list[str]:
    """The tags a person gave; the catalogue's own are added, never taken."""
    tags = fields.get("tags")
    return [tag for tag in tags if not str(tag).startswith(TAG)] if isinstance(tags, list) else []


def check_service_name(name: str) -> None:
    check_name("name", name)
    if SERVICE_NAME.fullmatch(name) is None:
        raise CatalogueError(400, f"name: {SERVICE_NAME_RULE}", {"name": SERVICE_NAME_RULE})


def check_name(field: str, name: str) -> None:
    if not 0 < len(name) <= NAME_LENGTH_MAX or not name.isprintable() or name != name.strip():
        said = f"must have 1 to {NAME_LENGTH_MAX} printable characters, without blanks at its ends"
        raise CatalogueError(400, f"{field}: {said}", {field: said})


def check_text(field: str, text: str) -> None:
    if len(text) > TEXT_LENGTH_MAX:
        said = f"must have at most {TEXT_LENGTH_MAX} characters"
        raise CatalogueError(400, f"{field}: {said}", {field: said})
    check_storable(field, text)


def check_labels(labels: Mapping[str, str]) -> None:
    """Raise CatalogueError for labels that cannot be kept: too many, too long, or without a name."""
    too_long = any(not 0 < len(name) <= LABEL_LENGTH_MAX or len(labels[name]) > LABEL_LENGTH_MAX for name in labels)
    if len(labels) > LABELS_MAX or too_long:
        said = f"at most {LABELS_MAX} labels, each name and value of at most {LABEL_LENGTH_MAX} characters"
        raise CatalogueError(400, f"labels: {said}", {"labels": said})
    for text in (*labels, *labels.values()):
        check_storable("labels", text)


def check_storable(field: str, text: str) -> None:
    """Raise CatalogueError for text that PostgreSQL does not take: with NUL, or with half characters."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        said = "is not valid Unicode, or has NUL in it"
        raise CatalogueError(400, f"{field}: {said}", {field: said})


def check_unique_slug(connection: sa.Connection, service: Service) -> None:
    table = tables.catalogue_services
    query = sa.select(table.c.id).where(table.c.slug == service.slug, table.c.id != service.id)
    if connection.scalar(query) is not None:
        raise CatalogueError(409, f"name: there is a service {service.name!r} already", {"name": "must be unique"})


def check_unique_version(connection: sa.Connection, version: Version) -> None:
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
