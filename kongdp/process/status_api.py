"""The Status API of a data plane: /status, /status/ready, /metrics and their relatives, as one ASGI application.

In: StatusSources, plain callables and values of the agent. Out: an application for uvicorn; it keeps no state of its own.
Shapes, messages and codes are Kong's; /status/sync, /status/certificates and /metrics/kongdp are ours.
Cold: people, probes and Prometheus ask. A scrape of any size is sent in slices, with a turn of the loop between two.
Source: Kong 3.9.1 kong/status/*, kong/api/routes/health.lua, spec 02-integration/08-status_api.
"""

import asyncio
import inspect
import logging
import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any
from urllib.parse import parse_qs

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kongdp.telemetry.exposition import CONTENT_TYPE

log = logging.getLogger("kongdp.status")

EMPTY_HASH = "0" * 32

# What POST /status/ready may carry; the only thing to say is 15 bytes long.
_BODY_BYTES_MAX = 4096
# A scrape of 6.2 MB becomes 173 kB in 40 ms; level 6 saves 13 % of that and takes twice as long.
_GZIP_LEVEL = 1
# Most digits a number may be asked with (C's "%.99f", which Kong formats with).
_SCALE_MAX = 99

_UNITS = {"k": (10, "KiB"), "m": (20, "MiB"), "g": (30, "GiB")}

# Name in /status -> the node's number.
_SERVER = {
    "connections_accepted": "connections_accepted",
    "connections_active": "connections_active",
    "connections_handled": "connections_handled",
    "connections_reading": "connections_reading",
    "connections_writing": "connections_writing",
    "connections_waiting": "connections_waiting",
    "total_requests": "requests_total",
}


@dataclass(frozen=True, slots=True)
class Readiness:
    """How far the node is: of `workers`, how many have a router and plugins of the configuration in force.

    `configuration_hash` is None before any configuration is known, 32 zeros for the empty one.
    """

    workers: int
    routers_ready: int
    plugins_ready: int
    configuration_hash: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a hook answers: a status and a JSON object."""

    status: int
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StatusSources:
    """Where the answers come from. Every callable is called at a request, in the agent's loop, and must not block.

    `numbers` gives the node's numbers by name (telemetry.totals.Totals.node); `workers` (pid, resident bytes);
    `shared_dicts` name -> (used, capacity) in bytes; `metrics` begins a scrape and gives its chunks, of which some may be
    empty, or None while the names of what was counted are not known yet; `own_metrics` turns an Accept field into a body
    and its content type; `dns` statistics of the resolver, or None where it has none. `upstreams` answers
    GET /upstreams/{name}/{view} (view: "health", "targets", "targets/all" and so on) with the query, or None for what
    there is not. `sync` and `certificates` give the pages of that name.
    """

    numbers: Callable[[], Mapping[str, int]]
    workers: Callable[[], Iterable[tuple[int, int]]]
    shared_dicts: Callable[[], Mapping[str, tuple[int, int]]]
    readiness: Callable[[], Readiness]
    is_draining: Callable[[], bool]
    drain: Callable[[], None]
    metrics: Callable[[], Iterator[bytes] | None]
    own_metrics: Callable[[str], tuple[bytes, str]]
    sync: Callable[[], Mapping[str, Any]]
    certificates: Callable[[], Mapping[str, Any]]
    dns: Callable[[], Mapping[str, Any] | None] = lambda: None
    upstreams: Callable[[str, str, Mapping[str, str]], Awaitable[Answer | None] | Answer | None] = lambda *_: None


def status_api(
    sources: StatusSources,
    *,
    server: str,
    latency_tokens: bool = True,
    clock: Callable[[], float] = monotonic,
) -> ASGIApp:
    """The application. `server` is the Server field ("" for none), `latency_tokens` whether X-Kong-Admin-Latency is sent.

    Serve it with uvicorn's own server and date headers switched off for Server to be ours.
    """
    api = _StatusApi(sources)
    routes = [
        Route("/status", api.status),
        Route("/status/ready", api.ready, methods=["GET", "POST"]),
        Route("/status/dns", api.dns),
        Route("/status/sync", api.sync),
        Route("/status/certificates", api.certificates),
        Route("/metrics", api.metrics),
        Route("/metrics/kongdp", api.own_metrics),
        Route("/upstreams/{name}/{view:path}", api.upstreams),
    ]
    handlers: dict[Any, Any] = {HTTPException: _refuse, Exception: _fail}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return _Frame(app, server.encode("latin-1"), latency_tokens, clock)


class _StatusApi:
    """The handlers; one method a path."""

    def __init__(self, sources: StatusSources) -> None:
        self._sources = sources

    async def status(self, request: Request) -> Response:
        query = request.query_params
        try:
            size = _size_format(query.get("unit", "m"), query.get("scale", "2"))
        except ValueError as error:
            return _json(400, {"message": str(error)})
        sources = self._sources
        numbers = sources.numbers()
        dicts = sources.shared_dicts()
        return _json(
            200,
            {
                "memory": {
                    "workers_lua_vms": [
                        {"pid": pid, "http_allocated_gc": size(used)} for pid, used in sources.workers()
                    ],
                    "lua_shared_dicts": {
                        name: {"capacity": size(capacity), "allocated_slabs": size(used)}
                        for name, (used, capacity) in dicts.items()
                    },
                },
                "server": {shown: numbers[name] for shown, name in _SERVER.items()},
                "configuration_hash": sources.readiness().configuration_hash or EMPTY_HASH,
            },
        )

    async def ready(self, request: Request) -> Response:
        if request.method == "POST":
            if await _asked_status(request) != "draining":
                return Response(status_code=400)
            self._sources.drain()
            log.info("draining: readiness is answered with 503 until the node is started again")
            return Response(status_code=204)
        problem = "draining" if self._sources.is_draining() else why_unready(self._sources.readiness())
        return _json(503, {"message": problem}) if problem else _json(200, {"message": "ready"})

    async def dns(self, request: Request) -> Response:
        statistics = self._sources.dns()
        if statistics is None:
            return _json(501, {"message": "not implemented with the legacy DNS client"})
        return _json(200, statistics)

    async def sync(self, request: Request) -> Response:
        return _json(200, self._sources.sync())

    async def certificates(self, request: Request) -> Response:
        return _json(200, self._sources.certificates())

    async def metrics(self, request: Request) -> Response:
        headers = {"Content-Type": CONTENT_TYPE, "Vary": "Accept-Encoding"}
        chunks = self._sources.metrics()
        if chunks is None:
            return _json(503, {"message": "the configuration is being read"})
        if accepts_gzip(request.headers.get("accept-encoding", "")):
            headers["Content-Encoding"] = "gzip"
            chunks = _compressed(chunks)
        return StreamingResponse(_with_turns(chunks), headers=headers)

    async def own_metrics(self, request: Request) -> Response:
        body, content_type = self._sources.own_metrics(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    async def upstreams(self, request: Request) -> Response:
        name, view = request.path_params["name"], request.path_params["view"]
        answer = self._sources.upstreams(name, view, dict(request.query_params))
        if inspect.isawaitable(answer):
            answer = await answer
        if answer is None:
            raise HTTPException(404)
        return _json(answer.status, answer.body)


def why_unready(node: Readiness) -> str | None:
    """The message of the first check that fails, in Kong's order; None when the node is ready."""
    for what, subject, count in (
        ("router builds", "router", node.routers_ready),
        ("plugins iterator builds", "plugins iterator", node.plugins_ready),
    ):
        if count < node.workers:
            return f"{what} not yet complete, {subject} ready in {count} of {node.workers} workers"
    if node.configuration_hash is None:
        return "no configuration available (configuration hash is not initialized)"
    if node.configuration_hash == EMPTY_HASH:
        return "no configuration available (empty configuration present)"
    return None


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding field allows gzip (RFC 9110 section 12.5.3); absent means we do not compress."""
    weights: dict[str, float] = {}
    for entry in accept_encoding.lower().split(","):
        coding, _, parameters = entry.partition(";")
        weight = re.search(r"^\s*q\s*=\s*([0-9.]+)\s*$", parameters)
        try:
            weights[coding.strip()] = float(weight[1]) if weight else 1.0
        except ValueError:
            weights[coding.strip()] = 0.0
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def _size_format(unit: str, scale: str) -> Callable[[int], int | str]:
    """How to show a size in bytes. Raises ValueError with Kong's message for a bad unit or scale."""
    lower = unit.lower()
    if not re.fullmatch(r"[0-9]{1,9}", scale) or int(scale) > _SCALE_MAX:
        raise ValueError("scale must be equal or greater than 0")
    if lower == "b":
        return int
    if lower not in _UNITS:
        raise ValueError(f"invalid unit '{unit}' (expected 'k/K', 'm/M', or 'g/G')")
    bits, name = _UNITS[lower]
    return lambda size: f"{size / (1 << bits):.{int(scale)}f} {name}"


async def _asked_status(request: Request) -> str | None:
    """The argument `status` of the query or of a body, which may be a form or JSON."""
    body = b""
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > _BODY_BYTES_MAX:
                return None
    except ClientDisconnect:
        return None
    try:
        if "json" in request.headers.get("content-type", ""):
            found = orjson.loads(body)
            return found.get("status") if isinstance(found, dict) else None
        form = parse_qs(body.decode())
    except ValueError:
        return None
    return form.get("status", [request.query_params.get("status")])[0]


def _json(status: int, body: Mapping[str, Any]) -> Response:
    return Response(orjson.dumps(body), status, headers={"Content-Type": "application/json; charset=utf-8"})


def _refuse(request: Request, error: HTTPException) -> Response:
    messages = {404: "Not found", 405: "Method not allowed"}
    answer = _json(error.status_code, {"message": messages.get(error.status_code, error.detail)})
    answer.headers.update(error.headers or {})
    return answer


def _fail(request: Request, error: Exception) -> Response:
    # The server that runs the application logs the error: Starlette raises it again after this answer.
    return _json(500, {"message": "An unexpected error occurred"})


def _compressed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    # 16 + 15: gzip's wrapper with the largest window.
    gzip = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 31)
    for chunk in chunks:
        yield gzip.compress(chunk)
    yield gzip.flush()


async def _with_turns(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        if chunk:
            yield chunk
        await asyncio.sleep(0)


class _Frame:
    """What every answer has: our fields; and paths may end in a slash, as Kong's may."""

    def __init__(self, app: ASGIApp, server: bytes, latency_tokens: bool, clock: Callable[[], float]) -> None:
        self._app = app
        self._server = server
        self._latency_tokens = latency_tokens
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = self._clock()

        async def send_framed(message: Message) -> None:
            if message["type"] == "http.response.start":
                fields = list(message["headers"])
                if self._server:
                    fields.append((b"server", self._server))
                if self._latency_tokens:
                    fields.append((b"x-kong-admin-latency", b"%d" % ((self._clock() - begun) * 1000)))
                message = {**message, "headers": fields}
            await send(message)

        path = scope["path"]
        await self._app({**scope, "path": path.rstrip("/") or "/"}, receive, send_framed)
