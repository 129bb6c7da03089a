"""What the portal's pages show of the catalogue: published services alone, and nothing that says where they run.

In: names and ids from addresses.  Out: frozen values, or CatalogueError 404. Called off the event loop. Cold.
"""

from dataclasses import dataclass

import sqlalchemy as sa
from markupsafe import Markup

from kongdp.controlplane import app_registration
from kongdp.controlplane.catalogue_entries import CatalogueError, Service, Version, find_service, versions_of
from kongdp.controlplane.documents import VersionSpec
from kongdp.controlplane.portal_rooms import PortalRooms
from kongdp.controlplane.store import tables

CARDS_MAX = 60
SUMMARY_LENGTH_MAX = 280


@dataclass(frozen=True, slots=True)
class Card:
    """One service of the catalogue page."""

    slug: str
    name: str
    summary: str
    version_count: int


@dataclass(frozen=True, slots=True)
class Shelf:
    """A page of cards, and how many services there are for the search."""

    cards: tuple[Card, ...]
    total: int
    number: int

    @property
    def has_more(self) -> bool:
        """Whether another page follows."""
        return self.number * CARDS_MAX < self.total


@dataclass(frozen=True, slots=True)
class ShownVersion:
    """A version with its spec; `path` is where its first route begins, "" where that cannot be said."""

    version: Version
    spec: VersionSpec | None
    takes_applications: bool
    path: str


@dataclass(frozen=True, slots=True)
class ServicePage:
    """A service with its versions and the one that is looked at, None when it has none."""

    service: Service
    document: Markup
    versions: tuple[Version, ...]
    chosen: ShownVersion | None


def shelf(rooms: PortalRooms, search: str, number: int) -> Shelf:
    """Published services whose name or description has the text, by name."""
    wanted = search.casefold()
    table, version = tables.catalogue_services, tables.catalogue_versions
    counts = (
        sa.select(version.c.service_id, sa.func.count().label("versions")).group_by(version.c.service_id).subquery()
    )
    query = (
        sa.select(
            table.c.slug, table.c.name, table.c.description, sa.func.coalesce(counts.c.versions, 0).label("versions")
        )
        .outerjoin(counts, counts.c.service_id == table.c.id)
        .where(table.c.published)
        .order_by(table.c.slug)
    )
    with rooms.database.read() as connection:
        rows = [
            row
            for row in connection.execute(query)
            if wanted in row.name.casefold() or wanted in row.description.casefold()
        ]
    start = (number - 1) * CARDS_MAX
    cards = (
        Card(row.slug, row.name, _summary(row.description), row.versions) for row in rows[start : start + CARDS_MAX]
    )
    return Shelf(tuple(cards), len(rows), number)


def service_page(rooms: PortalRooms, name: str, version_id: str = "") -> ServicePage:
    """A published service; without a version the newest one is looked at. Raises CatalogueError 404."""
    with rooms.database.read() as connection:
        service = find_service(connection, name)
        if not service.published:
            raise CatalogueError(404, f"there is no service {name!r}")
        versions = tuple(versions_of(connection, service.id))
        enabled = app_registration.enabled_versions(connection, service.id)
    chosen = next((each for each in versions if each.id == version_id), None)
    if version_id and chosen is None:
        raise CatalogueError(404, f"there is no version {version_id!r}")
    if chosen is None and versions:
        chosen = versions[-1]
    document = rooms.documents.try_document(service.id)
    html = Markup(rooms.renderings.html(document)) if document is not None else Markup()  # made safe there
    return ServicePage(service, html, versions, _shown(rooms, chosen, enabled))


def _shown(rooms: PortalRooms, version: Version | None, enabled: set[str]) -> ShownVersion | None:
    if version is None:
        return None
    return ShownVersion(
        version, rooms.documents.try_spec(version.id), version.id in enabled, first_path(rooms, version.id)
    )


def first_path(rooms: PortalRooms, version_id: str) -> str:
    """Where the version's first route with a plain path begins."""
    implementation = rooms.catalogue.try_implementation(version_id)
    for route in implementation.routes if implementation is not None else ():
        for path in route.get("paths") or ():
            if path.startswith("/"):
                return str(path)
    return ""


def _summary(text: str) -> str:
    first = text.strip().partition("\n\n")[0]
    return first if len(first) <= SUMMARY_LENGTH_MAX else f"{first[:SUMMARY_LENGTH_MAX].rstrip()}…"
