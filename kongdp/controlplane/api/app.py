"""The control plane's HTTP application: Konnect-shaped and catalogue endpoints, Kong's status, and the Admin API for
every other path.

In: a running plane and the Admin API.  Out: an ASGI application (and with it the OpenAPI document at /v2/openapi.json).
Cold.
"""

from functools import partial

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from kongdp import __version__
from kongdp.controlplane.api import (
    accounts,
    activity,
    admin,
    catalogue,
    certificates,
    config,
    core_entities,
    documents,
    groups,
    live,
    openapi,
    portal,
    problems,
    revisions,
    status,
    tester,
)
from kongdp.controlplane.api.limits import BodyLimit
from kongdp.controlplane.plane import Plane
from kongdp.controlplane.portal_rooms import PortalRooms, open_rooms


def build_app(
    plane: Plane, make_admin: admin.Make, *, node_id: str, body_bytes_max: int, rooms: PortalRooms | None = None
) -> FastAPI:
    """The application over a started plane. `rooms`: those that the portal uses too, else its own."""
    app = FastAPI(
        title="kongdp control plane",
        version=__version__,
        openapi_url="/v2/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    problems.install(app)
    app.add_middleware(BodyLimit, bytes_max=body_bytes_max)
    app.include_router(status.make_router(plane, node_id))
    app.include_router(groups.make_router(plane))
    app.include_router(accounts.make_router(plane))
    app.include_router(certificates.make_router(plane))
    app.include_router(live.make_router(plane))
    app.include_router(revisions.make_router(plane))
    app.include_router(tester.make_router(plane))
    api = make_admin(plane.changes.store(plane.default_group_id))
    app.include_router(config.make_router(plane, api.schemas, body_bytes_max))
    app.include_router(core_entities.make_router(plane, make_admin, body_bytes_max))
    rooms = rooms or open_rooms(plane, partial(admin.call, make_admin))
    app.include_router(catalogue.make_router(rooms.catalogue, plane.database))
    app.include_router(documents.make_router(rooms.catalogue, rooms.documents, rooms.renderings, plane.database))
    app.include_router(portal.make_router(rooms))
    app.include_router(activity.make_router(rooms.catalogue, plane))
    endpoint = admin.AdminEndpoint(api, plane.database, body_bytes_max)

    app.router.default = endpoint
    app.add_middleware(admin.KongPaths, endpoint=endpoint, ours=frozenset((*status.LISTED, status.DNS)))
    openapi.install(app, api, api.plugins)

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        """A method that one of Kong's paths does not have: Kong's words, from the Admin API."""
        if request.url.path.startswith("/v2/"):
            return problems.problem(error.status_code, str(error.detail))
        if error.status_code == 413:
            return admin.too_large()
        return await endpoint.answer(request)

    return app
