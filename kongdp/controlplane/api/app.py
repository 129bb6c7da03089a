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
from starlette.types import Receive, Scope, Send

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
    problems,
    revisions,
    status,
)
from kongdp.controlplane.catalogue import Catalogue
from kongdp.controlplane.documents import Documents
from kongdp.controlplane.plane import Plane
from kongdp.controlplane.renderings import Renderings


def build_app(plane: Plane, make_admin: admin.Make, *, node_id: str, body_bytes_max: int) -> FastAPI:
    """The application over a started plane."""
    app = FastAPI(
        title="kongdp control plane",
        version=__version__,
        openapi_url="/v2/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    problems.install(app)
    app.include_router(status.make_router(plane, node_id))
    app.include_router(groups.make_router(plane))
    app.include_router(accounts.make_router(plane))
    app.include_router(certificates.make_router(plane))
    app.include_router(live.make_router(plane))
    app.include_router(revisions.make_router(plane))
    api = make_admin(plane.changes.store(plane.default_group_id))
    app.include_router(config.make_router(plane, api.schemas, body_bytes_max))
    app.include_router(core_entities.make_router(plane, make_admin, body_bytes_max))
    entries = Catalogue(plane.changes, partial(admin.call, make_admin), plane.clock)
    app.include_router(catalogue.make_router(entries, plane.database))
    texts = Documents(plane.database, plane.options.uploads, plane.clock)
    app.include_router(documents.make_router(entries, texts, Renderings(), plane.database))
    app.include_router(activity.make_router(entries, plane))
    endpoint = admin.AdminEndpoint(api, plane.database, body_bytes_max)

    async def anything_else(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        response = await endpoint.answer(request)
        await response(scope, receive, send)

    app.router.default = anything_else

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        """A method that one of Kong's paths does not have: Kong's words, from the Admin API."""
        if request.url.path.startswith("/v2/"):
            return problems.problem(error.status_code, str(error.detail))
        return await endpoint.answer(request)

    return app
