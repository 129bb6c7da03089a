"""Signing in and out: a plain form, so that nobody who has not signed in makes the control plane keep a page for them.

In: a browser's form.  Out: the session's cookie, as POST /v2/session of the API makes it. Cold.
"""

from html import escape
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from kongdp.controlplane.console import sockets
from kongdp.controlplane.console.asking import Asking, refused, waiting
from kongdp.controlplane.console.door import ASK, SIGN_IN
from kongdp.controlplane.oidc_routes import START

FORM_BYTES_MAX = 16_384
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Sign in · kongdp</title>
<link rel="icon" href="/static/mark.svg">
<link rel="stylesheet" href="/static/console.css">
</head>
<body class="sign-in-page">
<main class="sign-in">
<div class="brand"><span class="brand-mark"></span><span>kongdp</span></div>
<h1>Sign in</h1>
{problem}
<form method="post" action="/sign-in">
<input type="hidden" name="next" value="{next}">
<label for="name">User name</label>
<input id="name" name="name" autocomplete="username" autocapitalize="none" spellcheck="false" required {focus_name} value="{name}">
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required {focus_password}>
<button type="submit">Sign in</button>
</form>
{oidc}
<p class="hint">The first start of the control plane prints the password of <code>admin</code>, once.</p>
</main>
</body>
</html>
"""


def make_router(*, has_oidc: bool) -> APIRouter:
    """The form and what it is sent to. `has_oidc`: people may also come by the OpenID provider."""
    router = APIRouter(include_in_schema=False)

    @router.get(SIGN_IN)
    async def show(request: Request) -> Response:
        return HTMLResponse(_page(_inside(request.query_params.get("next", "")), has_oidc))

    @router.post(SIGN_IN)
    async def sign_in(request: Request) -> Response:
        form = await _form(request)
        name, wanted = form.get("name", ""), _inside(form.get("next", ""))
        ask: Asking = request.scope[ASK]
        answer = await ask.answer("POST", "/v2/session", {"name": name, "password": form.get("password", "")})
        if answer.status >= 400:
            error = refused(answer)
            wait = f": try again in {waiting(error.wait_s)}" if error.wait_s else ""
            status = answer.status if answer.status in (401, 429) else 400
            return HTMLResponse(_page(wanted, has_oidc, name, error.message + wait), status)
        response = RedirectResponse(wanted or "/", 303)
        response.raw_headers.append((b"set-cookie", answer.field(b"set-cookie").encode("latin-1")))
        return response

    @router.post("/sign-out")
    async def sign_out(request: Request) -> Response:
        ask: Asking = request.scope[ASK]
        answer = await ask.answer("DELETE", "/v2/session")
        sockets.end(request.scope[sockets.SESSION])
        response = RedirectResponse(SIGN_IN, 303)
        response.raw_headers.append((b"set-cookie", answer.field(b"set-cookie").encode("latin-1")))
        return response

    return router


def _page(wanted: str, has_oidc: bool, name: str = "", problem: str = "") -> str:
    shown = f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else ""
    link = f"{START}?next={quote(wanted, safe='')}"
    return PAGE.format(
        oidc=f'<p><a class="link" href="{link}">Sign in with your organisation</a></p>' if has_oidc else "",
        problem=shown,
        next=escape(wanted, quote=True),
        name=escape(name, quote=True),
        focus_name="" if name else "autofocus",
        focus_password="autofocus" if name else "",
    )


async def _form(request: Request) -> dict[str, str]:
    """The fields of a small urlencoded form; empty when it is none."""
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > FORM_BYTES_MAX:
            return {}
        pieces.append(piece)
    parsed = parse_qs(b"".join(pieces).decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=10)
    return {name: values[0] for name, values in parsed.items()}


def _inside(address: str) -> str:
    """An address of this console, or "": nobody is sent anywhere else after signing in."""
    is_path = address.startswith("/") and not address.startswith(("//", "/\\", SIGN_IN))
    return quote(address, safe="/?&=%+:@,;~._-") if is_path and address.isprintable() else ""
