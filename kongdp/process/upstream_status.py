"""GET /upstreams/{u}/... on the Status API: the Admin API's answers about upstreams, read from the configuration in force.

In: the pipeline with its table; a path and a query.  Out: what the Admin API would answer a GET, or None for what there
is not. House rules: the Admin API is loaded at the first such request, because most data planes never get one; it
answers in a thread. Cold. Source: Kong 3.9.1 status API (api/routes/upstreams.lua, read only).
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import orjson

from kongdp import KONG_VERSION
from kongdp.process.agent_pipeline import Pipeline
from kongdp.process.status_api import Answer
from kongdp.process.target_health import TargetHealthWatch

if TYPE_CHECKING:
    from kongdp.adminapi.api import AdminApi
    from kongdp.adminapi.memory import MemoryStore

NOT_FOUND = 404


class UpstreamStatus:
    """Answers for one node; a hook of StatusSources."""

    def __init__(self, node_id: str, pipeline: Pipeline, health: TargetHealthWatch | None = None) -> None:
        self._node_id = node_id
        self._pipeline = pipeline
        self._health = health
        self._table: object = None
        self._made: tuple[MemoryStore, AdminApi] | None = None

    async def __call__(self, name: str, view: str, query: Mapping[str, str]) -> Answer | None:
        """The answer for /upstreams/{name}/{view}."""
        if self._health is not None and view == "health":
            await self._health.settle(name)
        return await asyncio.to_thread(self._answer, name, view, query)

    def _answer(self, name: str, view: str, query: Mapping[str, str]) -> Answer | None:
        from kongdp.adminapi.messages import Request  # see the module's docstring

        path = f"/upstreams/{quote(name, safe='')}/{quote(view)}"
        answer = self._api().handle(Request(method="GET", path=path, query=urlencode(query), headers={}, body=b""))
        if answer.status == NOT_FOUND:
            return None
        body = orjson.loads(answer.body)
        return Answer(answer.status, body)

    def _api(self) -> "AdminApi":
        from kongdp.adminapi.api import AdminApi
        from kongdp.adminapi.context import NodeInfo
        from kongdp.adminapi.memory import MemoryStore

        if self._made is None:
            store = MemoryStore()
            health = self._health.health if self._health is not None else None
            info = NodeInfo(self._node_id, KONG_VERSION, target_health=health)
            self._made = store, AdminApi(store, self._pipeline.schemas, info)
        store, api = self._made
        table = self._pipeline.table
        if table is not self._table:
            self._table = table
            store.replace(table)
        return api
