"""The console's door: who may come in, and what every answer carries.

In: requests and sockets of `admin_gui_listen`.  Out: those of a signed-in person passed on with their session in the
scope; everybody else gets the sign-in form. Whatever changes something, and every socket, must come from a page of ours
(Origin), beside the session's SameSite cookie.
House rule: knows addresses and sessions, no screen. Cold. Source: OWASP's session and CSRF cheat sheets; CSP level 3.
"""

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import nicegui
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kongdp.controlplane import users
from kongdp.controlplane.access import SAFE
from kongdp.controlplane.api.actors import IDENTITY
from kongdp.controlplane.api.guard import session_of
from kongdp.controlplane.console.asking import Asking, Caller
from kongdp.controlplane.console.sockets import SESSION
from kongdp.controlplane.plane import Plane

ASK = "kongdp.console.ask"
PLACES = "kongdp.console.places"
SIGN_IN = "/sign-in"
SOCKETS = "/_nicegui_ws/"
# NiceGUI's files, whose addresses have its release in them.
VERSIONED = f"/_nicegui/{nicegui.__version__}/"
# Answered to anyone: the form, and files that are the same for everybody. Uploads are below /_nicegui/client.
OPEN = (SIGN_IN, "/auth/oidc/", "/static/", "/favicon.ico")
# Vue compiles templates in the browser ('unsafe-eval') and NiceGUI writes its start into the page ('unsafe-inline'), so
# scripts cannot be forbidden by policy; what is inserted is cleaned. Nothing may be loaded from or sent to another host.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
FIELDS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
# A strict cookie is not sent with a click on another site; a page of ours that asks again sends it.
BOUNCE = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0"><title>kongdp</title>'


@dataclass(frozen=True, slots=True)
class Place:
    """Where another listener of this control plane is; without `host` at the name by which the console was asked for."""

    scheme: str
    port: int
    host: str = ""

    def seen_from(self, host: str) -> str:
        """Its address for a browser that knows the control plane by a name."""
        return f"{self.scheme}://{self.host or host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Places:
    """The developer portal and the Admin API, as far as they have addresses."""

    portal: Place | None = None
    admin: Place | None = None


class Door:
    """ASGI middleware around the console. `api` is the guarded HTTP application that pages ask."""

    def __init__(self, app: ASGIApp, api: ASGIApp, plane: Plane, places: Places | None = None) -> None:
        self.app = app
        self._api = api
        self._plane = plane
        self._places = places or Places()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        sending = send if scope["type"] == "websocket" else _with_fields(send, scope["path"])
        if not _is_ours(scope, headers):
            await _refuse(scope, receive, sending, PlainTextResponse("this request comes from another site", 403))
            return
        session = session_of(headers)
        if not _is_open(scope["path"]):
            identity = None
            if session:
                identity = await self._plane.database.run(
                    users.try_session, self._plane.database, session, self._plane.clock()
                )
            if identity is None:
                await _refuse(scope, receive, sending, _to_sign_in(scope, headers, session))
                return
            scope[IDENTITY] = identity
        scope[SESSION] = session
        scope[PLACES] = self._places
        address = scope["client"][0] if scope.get("client") else "unix socket"
        scope[ASK] = Asking(self._api, Caller(session, address, scope.get("scheme") in ("https", "wss")))
        # NiceGUI would let it be part of every address in a page.
        scope["headers"] = [each for each in scope["headers"] if each[0] != b"x-forwarded-prefix"]
        await self.app(scope, receive, sending)


def _is_open(path: str) -> bool:
    if path.startswith("/_nicegui/") and "/client/" not in path:
        return True
    return any(path == each or (each.endswith("/") and path.startswith(each)) for each in OPEN)


def _is_ours(scope: Scope, headers: Headers) -> bool:
    """Whether a request that may change something comes from a page of this very address."""
    if scope["type"] == "http" and scope["method"] in SAFE and not scope["path"].startswith(SOCKETS):
        return True
    origin = headers.get("origin")
    if origin is None:
        # Browsers leave it out of same-origin GET, which long polling uses; they always send it with POST and sockets.
        return scope["type"] == "http" and scope["method"] in SAFE and headers.get("sec-fetch-site") == "same-origin"
    parsed = urlsplit(origin)
    is_tls = scope.get("scheme") in ("https", "wss")
    # Behind a proxy that ends TLS the browser says https and we see http; never the other way round.
    return parsed.scheme in (("https",) if is_tls else ("http", "https")) and parsed.netloc == headers.get("host", "")


def _to_sign_in(scope: Scope, headers: Headers, session: str) -> Response:
    path = scope["path"]
    if scope["type"] != "http" or path.startswith(("/_nicegui", SOCKETS)):
        return PlainTextResponse("the session is over", 401)
    if not session and headers.get("sec-fetch-site") == "cross-site" and scope["method"] == "GET":
        return HTMLResponse(BOUNCE)
    query = scope["query_string"].decode("latin-1")
    wanted = path + ("?" + query if query else "")
    if wanted == "/" or scope["method"] != "GET":
        return RedirectResponse(SIGN_IN, 303)
    return RedirectResponse(f"{SIGN_IN}?next={quote(wanted, safe='')}", 303)


async def _refuse(scope: Scope, receive: Receive, send: Send, response: Response) -> None:
    if scope["type"] == "websocket":
        # Before it was accepted: the server answers 403.
        await send({"type": "websocket.close", "code": 1008})
        return
    await response(scope, receive, send)


def _with_fields(send: Send, path: str) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            fields = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in FIELDS.items():
                fields[name] = value
            if path.startswith(VERSIONED) and "/dynamic_resources/" not in path and message["status"] == 200:
                fields["Cache-Control"] = "public, max-age=31536000, immutable"
            elif not _is_open(path):
                fields["Cache-Control"] = "no-store"
        await send(message)

    return sending
