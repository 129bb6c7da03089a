"""A page's socket belongs to the session that loaded the page.

NiceGUI finds a page by the random id in its HTML, whoever sends it. Here a socket must show, at its connection, the
session with which its page was loaded, and may then speak for this page only.
House rule: knows NiceGUI's handlers and nothing of screens. Cold.
"""

import hmac
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from nicegui import Client, core
from socketio.exceptions import ConnectionRefusedError as SocketRefusedError
from starlette.datastructures import Headers

from kongdp.controlplane.api.guard import session_of

# Where the door leaves the session's secret.
SESSION = "kongdp.console.session"
# Messages that name a page.
NAMING = ("event", "javascript_response", "ack", "log")


def bind() -> None:
    """Put the checks around NiceGUI's handlers. Safe to call again."""
    handlers: dict[str, Any] = core.sio.handlers["/"]
    if getattr(handlers["connect"], "is_bound", False):
        return
    handlers["connect"] = _bound_connect(handlers["connect"])
    handlers["handshake"] = _bound_handshake(handlers["handshake"])
    for name in NAMING:
        handlers[name] = _bound_message(handlers[name])


def _bound_connect(inner: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def connect(sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        named = parse_qs(environ.get("QUERY_STRING", "")).get("client_id", [""])[0]
        # A page that is gone, as all are after a restart, is NiceGUI's to refuse: at its word the browser loads it anew.
        if named in Client.instances and not is_own(environ, named):
            raise SocketRefusedError("this page belongs to another session")
        await inner(sid, environ, auth)

    connect.is_bound = True  # type: ignore[attr-defined]
    return connect


def _bound_handshake(inner: Callable[..., Awaitable[bool]]) -> Callable[..., Awaitable[bool]]:
    async def handshake(sid: str, message: Any) -> bool:
        named = message.get("client_id") if isinstance(message, dict) else None
        return is_own(core.sio.get_environ(sid), named) and await inner(sid, message)

    return handshake


def is_own(environ: dict[str, Any], page_id: Any) -> bool:
    """Whether a socket shows the session of a page."""
    client = Client.instances.get(page_id) if isinstance(page_id, str) else None
    if client is None:
        return False
    expected = str(client.request.scope.get(SESSION, ""))
    shown = session_of(Headers(scope=environ["asgi.scope"]))
    return bool(expected) and hmac.compare_digest(expected.encode(), shown.encode())


def _bound_message(inner: Callable[..., Any]) -> Callable[..., Any]:
    def receive(sid: str, message: dict[str, Any]) -> Any:
        if not isinstance(message, dict) or message.get("client_id") not in core.sio.rooms(sid):
            return None
        return inner(sid, message)

    return receive


def end(session: str) -> None:
    """Close every page of a session that was signed out."""
    for client in list(Client.instances.values()):
        if client.has_socket_connection and client.request.scope.get(SESSION) == session:
            client.run_javascript("location.replace('/sign-in')")
