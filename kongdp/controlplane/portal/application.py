"""The portal as an ASGI application: addresses, who may see what, the fields that every answer carries, errors.

In: HTTP.  Out: pages. A private portal shows nothing but sign-in and sign-up to whoever has not signed in; a public one
has no accounts at all. Cold. Source: walkthrough sections 11 and 12; CSP level 3.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kongdp.controlplane.catalogue_entries import CatalogueError
from kongdp.controlplane.plane import Plane
from kongdp.controlplane.portal import account_pages, application_pages, catalogue_pages
from kongdp.controlplane.portal.visit import LeaveError, Visit, begin
from kongdp.controlplane.portal_rooms import PortalRooms

Page = Callable[[Visit], Awaitable[Response]]

STATIC = Path(__file__).parent / "static"
# No script at all, nothing from elsewhere, no frame around it, forms to here alone.
FIELDS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
SERVICE = "/services/{service}"
VERSION = SERVICE + "/versions/{version}"
# (method, address, page, for whom): "anyone"; "reader": whoever may see the catalogue; "private": no public portal has it.
PAGES: tuple[tuple[str, str, Page, str], ...] = (
    ("GET", "/", catalogue_pages.show_catalogue, "reader"),
    ("GET", SERVICE, catalogue_pages.show_service, "reader"),
    ("GET", VERSION + "/spec", catalogue_pages.show_raw_spec, "reader"),
    ("GET", VERSION + "/register", catalogue_pages.show_register, "private"),
    ("POST", VERSION + "/register", catalogue_pages.register, "private"),
    ("GET", "/sign-in", account_pages.show_sign_in, "private"),
    ("POST", "/sign-in", account_pages.sign_in, "private"),
    ("GET", "/sign-up", account_pages.show_sign_up, "private"),
    ("POST", "/sign-up", account_pages.sign_up, "private"),
    ("POST", "/sign-out", account_pages.sign_out, "private"),
    ("GET", "/reset", account_pages.show_reset, "private"),
    ("POST", "/reset", account_pages.reset, "private"),
    ("GET", "/password", account_pages.show_password, "private"),
    ("POST", "/password", account_pages.change_password, "private"),
    ("GET", "/apps", application_pages.show_all, "private"),
    ("GET", "/apps/new", application_pages.show_new, "private"),
    ("POST", "/apps/new", application_pages.create, "private"),
    ("GET", "/apps/{application}", application_pages.show, "private"),
    ("POST", "/apps/{application}/delete", application_pages.delete, "private"),
    ("POST", "/apps/{application}/credentials", application_pages.generate_key, "private"),
    ("POST", "/apps/{application}/credentials/{key}/revoke", application_pages.revoke_key, "private"),
)


def build_portal(plane: Plane, rooms: PortalRooms) -> ASGIApp:
    """The application over a started plane."""
    routes: list[Route | Mount] = [
        Route(address, _endpoint(plane, rooms, page, audience), methods=[method])
        for method, address, page, audience in PAGES
    ]
    routes.append(Mount("/static", StaticFiles(directory=STATIC)))

    async def missing(scope: Scope, receive: Receive, send: Send) -> None:
        async def page(visit: Visit) -> Response:
            return visit.page("problem.html", 404, title="Not found", text="There is nothing here.")

        request = Request(scope, receive, send)
        if request.method not in ("GET", "HEAD"):
            await PlainTextResponse("not found", 404)(scope, receive, send)
            return
        response = await _endpoint(plane, rooms, page, "reader")(request)
        await response(scope, receive, send)

    portal = Starlette(routes=routes)
    portal.router.default = missing
    portal.router.redirect_slashes = False
    return _WithFields(portal)


def _endpoint(plane: Plane, rooms: PortalRooms, page: Page, audience: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            visit = await begin(request, plane, rooms)
        except LeaveError as leave:
            return leave.response
        response = await _answer(visit, page, audience)
        if request.method == "POST":
            await visit.record(response.status_code)
        return response

    return answer


async def _answer(visit: Visit, page: Page, audience: str) -> Response:
    try:
        if audience == "reader" and not visit.settings.is_public:
            visit.member()
        if audience == "private" and visit.settings.is_public:
            raise CatalogueError(404, "this portal is public and has no accounts")
        return await page(visit)
    except LeaveError as leave:
        return leave.response
    except CatalogueError as error:
        title = "Not found" if error.status == 404 else "This cannot be done"
        return visit.page("problem.html", error.status, title=title, text=str(error))


class _WithFields:
    """ASGI middleware: the security fields; pages are kept by no cache, the style sheet for an hour."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                fields = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in FIELDS.items():
                    fields[name] = value
                is_static = scope["path"].startswith("/static/")
                fields["Cache-Control"] = "max-age=3600" if is_static else "no-store"
            await send(message)

        await self._app(scope, receive, sending)
