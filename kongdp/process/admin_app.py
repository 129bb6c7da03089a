"""The Admin API of a DB-less node as an ASGI application: entities read from the configuration in force, /config to
replace it.

In: ASGI requests.  Out: adminapi's answers; /status and /metrics are the Status API's.
House rules: the adapter reads the body up to a bound and translates, every rule is adminapi's. A request is answered
in a thread, because a YAML document of thousands of entities takes seconds to parse; the configuration itself still
goes through the one pipeline.
Cold. Source: Kong 3.9.1 (limits: nginx_admin_client_max_body_size).
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response as StarletteResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from kongdp.adminapi.api import AdminApi
from kongdp.adminapi.config_endpoint import load_in_progress, load_timed_out
from kongdp.adminapi.context import NodeInfo, TargetHealth
from kongdp.adminapi.errors import plain
from kongdp.adminapi.memory import MemoryStore
from kongdp.adminapi.messages import Request
from kongdp.entities.declarative import DeclarativeError
from kongdp.entities.schema import Schema
from kongdp.entities.table import Table
from kongdp.plugins.registry import PRIORITIES
from kongdp.process import agent_sources
from kongdp.process.agent_pipeline import PLUGIN_SOURCE, Applied, Pipeline, Rejected, Unreadable

LOAD_TIMEOUT_S = 60.0
RETRY_AFTER_S = 5
CONFIG_PATH = "/config"
STATUS_PATHS = frozenset(("/status", "/metrics"))


@dataclass(frozen=True, slots=True)
class AdminNode:
    """What the Admin API says about the node, and how much body it takes: of an entity, of a whole configuration."""

    node_id: str
    version: str
    hostname: str
    server: str
    configuration: Mapping[str, Any]
    plugins: Mapping[str, Any]
    body_bytes_max: int
    config_bytes_max: int
    pids: Callable[[], Mapping[str, Any]]
    target_health: TargetHealth | None = None


class AdminApp:
    """The application. `refresh` after each configuration, so that reads see it."""

    def __init__(self, node: AdminNode, pipeline: Pipeline, schemas: Mapping[str, Schema], status: ASGIApp) -> None:
        self._pipeline = pipeline
        self._status = status
        self._body_bytes_max = node.body_bytes_max
        self._config_bytes_max = node.config_bytes_max
        self._store = MemoryStore()
        self._loop = asyncio.get_running_loop()
        info = NodeInfo(
            node_id=node.node_id,
            version=node.version,
            hostname=node.hostname,
            server=node.server,
            plugins=node.plugins,
            plugin_versions={name: {"version": node.version, "priority": PRIORITIES[name]} for name in node.plugins},
            configuration=node.configuration,
            pids=node.pids(),
            target_health=node.target_health,
            apply_config=self._apply_config,
            config_hash=lambda: pipeline.in_force,
        )
        self._api = AdminApi(self._store, schemas, info)

    def refresh(self) -> None:
        """Answer from the configuration in force from now on."""
        self._store.replace(self._pipeline.table)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["path"].rstrip("/") in STATUS_PATHS:
            await self._status(scope, receive, send)
            return
        answer = await self._answer(StarletteRequest(scope, receive))
        await answer(scope, receive, send)

    async def _answer(self, request: StarletteRequest) -> StarletteResponse:
        is_config = request.url.path.rstrip("/") == CONFIG_PATH
        bytes_max = self._config_bytes_max if is_config else self._body_bytes_max
        body = bytearray()
        try:
            async for piece in request.stream():
                body += piece
                if len(body) > bytes_max:
                    return StarletteResponse(b'{"message":"Payload too large"}', 413, media_type="application/json")
        except ClientDisconnect:
            return StarletteResponse(status_code=400)
        asked = Request(
            method=request.method,
            path=request.scope.get("raw_path", b"").decode("latin-1") or request.url.path,
            query=request.url.query,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=bytes(body),
        )
        answer = await asyncio.to_thread(self._api.handle, asked)
        return StarletteResponse(answer.body, answer.status, dict(answer.headers))

    def _apply_config(self, config: Mapping[str, Any], config_hash: str) -> Table:
        """Called in a request's thread: try the configuration in the pipeline, wait, and give the table now in force."""
        if self._pipeline.is_busy:
            raise load_in_progress(RETRY_AFTER_S)
        candidate = agent_sources.from_document(config, "POST /config", config_hash)
        future = asyncio.run_coroutine_threadsafe(self._pipeline.submit(candidate), self._loop)
        try:
            outcome = future.result(LOAD_TIMEOUT_S)
        except TimeoutError:
            raise load_timed_out() from None
        match outcome:
            case Applied():
                return {name: rows for name, rows in self._pipeline.table.items() if rows}
            case Rejected(report, None):
                raise plain(400 if report.source == PLUGIN_SOURCE else 500, report.message)
            case Rejected(error=DeclarativeError(fields=fields, flattened_errors=flattened, unplaced=unplaced)):
                # not the error itself: its traceback would hold this frame, which holds the configuration, in a cycle
                raise DeclarativeError(fields, flattened, unplaced)
            case Unreadable(reason):
                raise plain(400, reason)
            case _:
                raise load_in_progress(RETRY_AFTER_S)
