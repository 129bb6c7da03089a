"""Kong's Admin API over the store, as ASGI sees it and as the catalogue calls it.

In: HTTP requests for every path that nothing else has taken; calls of the catalogue inside its transactions.
Out: adminapi's answers, unchanged. Cold; every call leaves the event loop, since it asks the database.
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from kongdp.adminapi import messages
from kongdp.adminapi.api import AdminApi
from kongdp.adminapi.store import Store
from kongdp.controlplane.api import problems
from kongdp.controlplane.api.actors import actor_of
from kongdp.controlplane.store.database import Database

# Makes the Admin API over a store: cheap, so that each transaction of the catalogue gets its own.
Make = Callable[[Store], AdminApi]


def call(make: Make, store: Store, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, Any]:
    """One call with a JSON body; status and answer (None when it is empty)."""
    raw = b"" if body is None else orjson.dumps(body)
    headers = {"content-type": "application/json"} if body is not None else {}
    response = make(store).handle(
        messages.Request(method=method, path=path, headers=headers, body=raw, actor="catalogue")
    )
    return response.status, orjson.loads(response.body) if response.body else None


class AdminEndpoint:
    """The ASGI application of the default group's Admin API: any method on any path."""

    def __init__(self, api: AdminApi, database: Database, body_bytes_max: int) -> None:
        self._handle = api.handle
        self._database = database
        self._body_bytes_max = body_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; errors, too, in Kong's words."""
        request = Request(scope, receive)
        try:
            response = await self.answer(request)
        except ClientDisconnect:
            return
        except Exception as error:
            # A boundary: the client gets no inner words, the log gets all of them.
            status, message, _fields = problems.described(error)
            response = JSONResponse({"message": message}, status)
        await response(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        """The answer to a request."""
        body = await read_body(request, self._body_bytes_max)
        if body is None:
            return too_large()
        scope = request.scope
        answer = await self._database.run(
            self._handle,
            messages.Request(
                method=request.method,
                path=scope.get("raw_path", scope["path"].encode()).decode("latin-1"),
                query=scope["query_string"].decode("latin-1"),
                headers=_fields(scope),
                body=body,
                actor=actor_of(request),
            ),
        )
        return Response(answer.body, answer.status, dict(answer.headers))


class KongPaths:
    """ASGI middleware: every path but ours goes straight to the Admin API.

    PERF: our router asks its 150 routes in turn before it gives up on a path: two thirds of what the event loop did for a
    PUT (py-spy under bench.whole.control_plane).
    """

    def __init__(self, app: ASGIApp, endpoint: AdminEndpoint, ours: frozenset[str]) -> None:
        self._app = app
        self._endpoint = endpoint
        self._ours = ours

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        path = scope.get("path", "")
        # As in Kong, one slash at the end is forgiven.
        plain = path.removesuffix("/")
        if scope["type"] == "http" and not path.startswith("/v2/") and plain not in self._ours:
            await self._endpoint(scope, receive, send)
            return
        if plain in self._ours:
            scope = {**scope, "path": plain}
        if scope.get("method") == "HEAD":
            # FastAPI's routes know GET alone; the server leaves the body out, for it goes by the scope that it made.
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)


def _fields(scope: Scope) -> dict[str, str]:
    """The request's fields; those of one name joined."""
    fields: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def too_large() -> Response:
    """The answer to a body beyond the limit."""
    return JSONResponse({"message": "request body too large"}, 413)


async def read_body(request: Request, bytes_max: int) -> bytes | None:
    """The whole body, or None when it is larger than allowed."""
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > bytes_max:
            return None
        pieces.append(piece)
    return b"".join(pieces)
