"""Pages of the catalogue: cards and search, a service with its versions and spec, registering an app with a version.

In: a visit.  Out: pages. Rules are `reading`'s and `applications`'. Cold. Source: walkthrough sections 11 and 12.
"""

import asyncio
from dataclasses import dataclass
from urllib.parse import quote

from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from kongdp.controlplane.applications import Application, Registration
from kongdp.controlplane.catalogue_entries import CatalogueError
from kongdp.controlplane.portal import reading
from kongdp.controlplane.portal.reading import ServicePage
from kongdp.controlplane.portal.visit import TEMPLATES, LeaveError, Visit
from kongdp.controlplane.portal_rooms import PortalRooms

SEARCH_LENGTH_MAX = 100
PAGES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class _Own:
    """A developer's app and its registration with the version that is looked at."""

    application: Application
    registration: Registration | None


async def show_catalogue(visit: Visit) -> Response:
    """Cards of published services."""
    query = visit.request.query_params
    search = query.get("q", "")[:SEARCH_LENGTH_MAX].strip()
    text = query.get("page", "1")
    number = int(text) if text.isascii() and text.isdigit() and 0 < int(text[:6]) < PAGES_MAX else 1
    shelf = await visit.run(reading.shelf, visit.rooms, search, number)
    return visit.page("catalogue.html", shelf=shelf, search=search)


async def show_service(visit: Visit) -> Response:
    """A service: its document, the versions, the spec of one of them."""
    name = visit.request.path_params["service"]
    version = visit.request.query_params.get("version", "")[:64]

    def read() -> tuple[ServicePage, Markup]:
        page = reading.service_page(visit.rooms, name, version)
        return page, _spec(visit.rooms, page)

    # Making a large spec's page takes a while: not in one of the few threads that the database has.
    page, spec = await asyncio.to_thread(read)
    return visit.page("service.html", page=page, spec=spec)


def _spec(rooms: PortalRooms, page: ServicePage) -> Markup:
    """The part of the page that shows the spec, made once for each of its editions."""
    spec = page.chosen.spec if page.chosen is not None else None
    if spec is None:
        return Markup()
    view = rooms.renderings.view(spec)
    template = TEMPLATES.get_template("spec.html")
    key = ("portal", spec.version_id, spec.edition, spec.updated_at)
    return rooms.renderings.once(key, lambda: Markup(template.render(view=view, spec=spec)))  # escaped


async def show_raw_spec(visit: Visit) -> Response:
    """The spec as it was uploaded, to keep."""
    service, version = visit.request.path_params["service"], visit.request.path_params["version"]
    page = await visit.run(reading.service_page, visit.rooms, service, version)
    spec = page.chosen.spec if page.chosen is not None else None
    if spec is None:
        raise CatalogueError(404, "this version has no spec")
    name = quote(spec.name, safe="")
    fields = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
    return Response(spec.content, 200, fields, "application/octet-stream")


async def show_register(visit: Visit) -> Response:
    """Choose an app for a version."""
    page, own = await _registering(visit)
    return visit.page("register.html", page=page, own=own, problem="")


async def register(visit: Visit) -> Response:
    """Request access for the chosen app."""
    developer = visit.member()
    page, own = await _registering(visit)
    assert page.chosen is not None, "found by its id"
    application = visit.form.get("application", "")[:64]
    try:
        await visit.run(
            visit.rooms.applications.request_access,
            application,
            page.chosen.version.id,
            actor=visit.actor,
            owner=developer.id,
        )
    except CatalogueError as error:
        return visit.page("register.html", error.status, page=page, own=own, problem=str(error))
    return RedirectResponse(f"/apps/{quote(application, safe='')}", 303)


async def _registering(visit: Visit) -> tuple[ServicePage, list[_Own]]:
    developer = visit.member()
    service, version = visit.request.path_params["service"], visit.request.path_params["version"]

    def read() -> tuple[ServicePage, list[_Own]]:
        page = reading.service_page(visit.rooms, service, version)
        own = []
        for application in visit.rooms.applications.of_developer(developer.id):
            known = visit.rooms.applications.registrations(application.id)
            own.append(_Own(application, next((each for each in known if each.version_id == version), None)))
        return page, own

    page, own = await visit.run(read)
    if page.chosen is None or not page.chosen.takes_applications:
        raise LeaveError(
            visit.page(
                "problem.html", 404, title="No registration", text="Apps cannot be registered with this version."
            )
        )
    return page, own
