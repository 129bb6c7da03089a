"""Pages of a developer's applications: My Apps, a new app, one app with its registrations and keys.

In: a visit of somebody who has signed in.  Out: pages; each asks only for what is the developer's own, so an id of
another's app is as unknown as any. A new key is in the answer that made it and nowhere else. Cold.
Source: walkthrough section 12.
"""

from dataclasses import dataclass

from starlette.responses import RedirectResponse, Response

from kongdp.controlplane.applications import Application, Key, Registration
from kongdp.controlplane.catalogue_entries import CatalogueError, find_service, find_version
from kongdp.controlplane.portal import reading
from kongdp.controlplane.portal.visit import Visit

FIELDS = ("name", "reference_id", "description")


@dataclass(frozen=True, slots=True)
class ShownRegistration:
    """A registration with the names of what it is for; `path` as reading.first_path."""

    registration: Registration
    service: str
    slug: str
    version: str
    path: str


@dataclass(frozen=True, slots=True)
class ApplicationPage:
    """An application with all that belongs to it."""

    application: Application
    keys: tuple[Key, ...]
    registrations: tuple[ShownRegistration, ...]


async def show_all(visit: Visit) -> Response:
    """My Apps."""
    developer = visit.member()
    applications = await visit.run(visit.rooms.applications.of_developer, developer.id)
    return visit.page("apps.html", applications=applications)


async def show_new(visit: Visit) -> Response:
    """The form of a new app."""
    visit.member()
    return visit.page("new_app.html", values=dict.fromkeys(FIELDS, ""), errors={}, problem="")


async def create(visit: Visit) -> Response:
    """Make an app."""
    developer = visit.member()
    values = {name: visit.form.get(name, "").strip() for name in FIELDS}
    try:
        made = await visit.run(
            visit.rooms.applications.create,
            developer.id,
            values["name"],
            values["reference_id"],
            values["description"],
        )
    except CatalogueError as error:
        problem = "" if error.fields else str(error)
        return visit.page("new_app.html", error.status, values=values, errors=error.fields, problem=problem)
    return RedirectResponse(f"/apps/{made.id}", 303)


async def show(visit: Visit) -> Response:
    """One app."""
    return visit.page("app.html", page=await _read(visit), new_key="", problem="")


async def generate_key(visit: Visit) -> Response:
    """Make a key and show it, once."""
    developer = visit.member()
    application_id = visit.request.path_params["application"]
    try:
        _key, text = await visit.run(
            visit.rooms.applications.generate_key, application_id, actor=visit.actor, owner=developer.id
        )
    except CatalogueError as error:
        if error.status == 404:
            raise
        return visit.page("app.html", error.status, page=await _read(visit), new_key="", problem=str(error))
    return visit.page("app.html", 201, page=await _read(visit), new_key=text, problem="")


async def revoke_key(visit: Visit) -> Response:
    """Revoke a key."""
    developer = visit.member()
    application_id = visit.request.path_params["application"]
    await visit.run(
        visit.rooms.applications.revoke_key,
        application_id,
        visit.request.path_params["key"],
        actor=visit.actor,
        owner=developer.id,
    )
    return RedirectResponse(f"/apps/{application_id}", 303)


async def delete(visit: Visit) -> Response:
    """Delete an app."""
    developer = visit.member()
    await visit.run(
        visit.rooms.applications.delete,
        visit.request.path_params["application"],
        actor=visit.actor,
        owner=developer.id,
    )
    return RedirectResponse("/apps", 303)


async def _read(visit: Visit) -> ApplicationPage:
    developer = visit.member()
    application_id = visit.request.path_params["application"]

    def read() -> ApplicationPage:
        applications = visit.rooms.applications
        found = applications.get(application_id, developer.id)
        keys = tuple(applications.keys(found.id))
        shown = tuple(_shown(visit, each) for each in applications.registrations(found.id))
        return ApplicationPage(found, keys, shown)

    return await visit.run(read)


def _shown(visit: Visit, registration: Registration) -> ShownRegistration:
    with visit.rooms.database.read() as connection:
        version = find_version(connection, registration.version_id)
        service = find_service(connection, version.service_id)
    path = reading.first_path(visit.rooms, version.id)
    return ShownRegistration(registration, service.name, service.slug, version.name, path)
