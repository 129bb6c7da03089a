"""The console's application: the sign-in form, static files, and NiceGUI's pages behind the door.

In: the control plane's guarded HTTP application and its plane.  Out: an ASGI application for `admin_gui_listen`.
House rules: once a process, since NiceGUI keeps its pages in module state; NiceGUI's own storage is not used, so there
is nothing to sign and no secret to keep. Imported only where the console listens: NiceGUI takes half a second. Cold.
Source: NiceGUI 3, ui.run_with.
"""

import os
from pathlib import Path

# NiceGUI looks for files of its own in the working directory while it is imported, which the console does not use.
os.environ.setdefault("NICEGUI_STORAGE_PATH", os.devnull + "/unused")

from fastapi import FastAPI
from nicegui import core, ui
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from kongdp.controlplane import oidc_routes
from kongdp.controlplane.console import sign_in, sockets
from kongdp.controlplane.console.door import Door, Places
from kongdp.controlplane.plane import Plane

STATIC = Path(__file__).parent / "static"
# How long a page is kept for a browser that has lost its connection.
RECONNECT_S = 10.0
# Messages kept for it meanwhile.
HISTORY_MAX = 200


def build_console(plane: Plane, api: ASGIApp, places: Places | None = None) -> ASGIApp:
    """The console over the HTTP application behind its guard (one that asks for credentials)."""
    from kongdp.controlplane.console import screens  # noqa: F401  # registers the pages

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(sign_in.make_router(has_oidc=oidc_routes.is_configured(plane)))
    app.include_router(oidc_routes.make_router(plane))
    app.add_route("/favicon.ico", lambda _request: FileResponse(STATIC / "mark.svg"))
    app.mount("/static", StaticFiles(directory=STATIC))
    ui.run_with(
        app,
        title="kongdp",
        dark=None,
        language="en-US",
        binding_refresh_interval=None,
        reconnect_timeout=RECONNECT_S,
        message_history_length=HISTORY_MAX,
        tailwind=False,
        show_welcome_message=False,
    )
    # A bar without a name, for requests that are none of the visitor's business.
    core.app.config.quasar_config["loadingBar"]["skipHijack"] = True
    # Ours do the same as its middlewares (compression here, caching in the door), without a task for each request, and
    # without an error in the log for each browser that goes away.
    core.app.user_middleware.clear()
    app.add_middleware(GZipMiddleware, minimum_size=1000)
    # Its default tells browsers that pages of every site may ask, and its own check knows no TLS: the door is the check.
    core.sio.eio.cors_allowed_origins = []
    sockets.bind()
    return Door(app, api, plane, places)
