"""Kong's Admin API over the store, as ASGI sees it and as the catalogue calls it.

In: HTTP requests for every path that nothing else has taken; calls of the catalogue inside its transactions.
Out: adminapi's answers, unchanged. Cold; every call leaves the event loop, since it asks the database.
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kongdp.adminapi import messages
from kongdp.adminapi.api import AdminApi
from kongdp.adminapi.store import Store
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
    """The ASGI endpoint of the default group's Admin API."""

    def __init__(self, api: AdminApi, database: Database, body_bytes_max: int) -> None:
        self._handle = api.handle
        self._database = database
        self._body_bytes_max = body_bytes_max

    async def answer(self, request: Request) -> Response:
        """Answer any method on any path."""
        body = await read_body(request, self._body_bytes_max)
        if body is None:
            return too_large()
        answer = await self._database.run(
            self._handle,
            messages.Request(
                method=request.method,
                path=request.scope.get("raw_path", request.url.path.encode()).decode("latin-1"),
                query=request.scope["query_string"].decode("latin-1"),
                headers={name: ", ".join(request.headers.getlist(name)) for name in request.headers},
                body=body,
                actor=actor_of(request),
            ),
        )
        return Response(answer.body, answer.status, dict(answer.headers))


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
