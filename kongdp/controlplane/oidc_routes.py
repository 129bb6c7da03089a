"""The two addresses of signing in by OpenID Connect, beside the console's sign-in form.

In: a browser.  Out: a redirect to the provider; a session's cookie. `/auth/oidc/start?next=/path` is what the form's button
leads to where `is_configured` says so. Coming back ends in a page of ours that moves on by itself, because a strict
cookie is not sent along the way that began at the provider.
Cold. Source: OWASP's session cheat sheet; cookies of the API's own sign-in (api.accounts).
"""

import asyncio
import logging
import secrets
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from kongdp.controlplane import audit
from kongdp.controlplane.api import guard
from kongdp.controlplane.plane import Plane

if TYPE_CHECKING:
    from kongdp.controlplane.oidc import OidcError, OidcSignIn

LOG = logging.getLogger("kongdp.controlplane.oidc")
START = "/auth/oidc/start"
CALLBACK = "/auth/oidc/callback"
BROWSER = "kongdp_oidc"
SIGN_IN = "/sign-in"
# Sign-ins that talk to the provider at the same time; further ones wait their turn.
CONCURRENT_MAX = 4
MOVE_ON = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={url}"><title>kongdp</title>'
PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    '<meta name="color-scheme" content="light dark"><title>Sign in · kongdp</title>'
    '<link rel="stylesheet" href="/static/console.css"><body class="sign-in-page"><main class="sign-in">'
    '<h1>You cannot sign in</h1><p class="problem" role="alert">{text}</p>'
    f'<p><a class="link" href="{SIGN_IN}">Back to sign-in</a></p></main></body></html>'
)


def is_configured(plane: Plane) -> bool:
    """Whether people can sign in by OpenID Connect."""
    return plane.oidc is not None


def make_router(plane: Plane) -> APIRouter:
    """The addresses; they are not found where nothing is configured."""
    router = APIRouter(include_in_schema=False)
    if plane.oidc is None:
        return router
    from kongdp.controlplane.oidc import OidcError  # there already where something is configured

    oidc = plane.oidc
    turns = asyncio.Semaphore(CONCURRENT_MAX)

    @router.get(START)
    async def start(request: Request) -> Response:
        browser = secrets.token_urlsafe(32)
        callback = str(request.url.replace(path=CALLBACK, query="", fragment=""))
        wanted = _inside(request.query_params.get("next", ""))
        try:
            async with turns:
                address = await asyncio.to_thread(oidc.start, browser, callback, wanted)
        except OidcError as error:
            return await _refused(plane, request, error)
        response = RedirectResponse(address, 303, {"Cache-Control": "no-store"})
        is_tls = request.url.scheme == "https"
        response.set_cookie(
            BROWSER, browser, max_age=600, path="/auth/oidc", secure=is_tls, httponly=True, samesite="lax"
        )
        return response

    @router.get(CALLBACK)
    async def callback(request: Request) -> Response:
        try:
            async with turns:
                return await _come_in(plane, oidc, request)
        except OidcError as error:
            return await _refused(plane, request, error)

    return router


async def _come_in(plane: Plane, oidc: "OidcSignIn", request: Request) -> Response:
    browser, address = request.cookies.get(BROWSER, ""), _address(request)
    old = guard.session_of(request.headers)
    entered = await asyncio.to_thread(oidc.finish, dict(request.query_params), browser, old, address)
    response = HTMLResponse(MOVE_ON.format(url=escape(entered.next or "/")))
    is_tls = request.url.scheme == "https"
    response.set_cookie(guard.COOKIE, entered.session, path="/", secure=is_tls, httponly=True, samesite="strict")
    response.delete_cookie(BROWSER, path="/auth/oidc")
    await _record(plane, request, entered.name, 200)
    return response


async def _refused(plane: Plane, request: Request, error: "OidcError") -> Response:
    LOG.warning("OpenID sign-in of %s refused: %s", _address(request), error.detail)
    await _record(plane, request, "sign-in", error.status)
    response = HTMLResponse(PAGE.format(text=escape(str(error))), error.status)
    response.delete_cookie(BROWSER, path="/auth/oidc")
    return response


async def _record(plane: Plane, request: Request, actor: str, status: int) -> None:
    # The path alone: the query has the provider's code.
    entry = audit.Entry(plane.clock(), actor, _address(request), f"GET {request.url.path}", status)
    await plane.database.run(audit.record, plane.database, entry)


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else "unix socket"


def _inside(address: str) -> str:
    """An address of the console, or "": nobody is sent anywhere else after signing in."""
    is_path = address.startswith("/") and not address.startswith(("//", "/\\", SIGN_IN, "/auth/"))
    return quote(address, safe="/?&=%+:@,~._-") if is_path and address.isprintable() else ""
