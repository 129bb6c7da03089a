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
    audit,
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
    api = make_admin(plane.changes.store(plane.default_group_id))
    rooms = rooms or open_rooms(plane, partial(admin.call, make_admin))
    for router in (
        status.make_router(plane, node_id),
        groups.make_router(plane),
        accounts.make_router(plane),
        audit.make_router(plane),
        certificates.make_router(plane),
        live.make_router(plane),
        revisions.make_router(plane),
        tester.make_router(plane),
        config.make_router(plane, api.schemas, body_bytes_max),
        core_entities.make_router(plane, make_admin, body_bytes_max),
        catalogue.make_router(rooms.catalogue, plane.database),
        documents.make_router(rooms.catalogue, rooms.documents, rooms.renderings, plane.database),
        portal.make_router(rooms),
        activity.make_router(rooms.catalogue, plane),
    ):
        # The routes as they are: `include_router` would read every endpoint's parameters a second time.
        app.router.routes += router.routes
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
