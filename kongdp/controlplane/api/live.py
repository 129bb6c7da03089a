"""Endpoints of what happens right now: rates, errors and latencies of the last seconds, and how the nodes are.

In: HTTP.  Out: JSON of `pulse`'s rates and `nodes`' judgements; of the groups that the caller may see. Cold; asked once a
second by every open overview, so one reading a second is kept for all of them.
"""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from kongdp.controlplane import groups, nodes
from kongdp.controlplane.api.actors import may_see
from kongdp.controlplane.api.parameters import GroupName, find_group
from kongdp.controlplane.groups import Group
from kongdp.controlplane.nodes import Judgement, Node
from kongdp.controlplane.plane import Plane
from kongdp.controlplane.pulse import Rates

# Everybody who asks within it is told the same.
KEPT_S = 0.9


class LiveRates(BaseModel):
    """Rates of the last seconds. `latency_ms`: an upper bound of each percentile, null beyond the last bucket; `points`: (second,
    requests, 4xx, 5xx), oldest first.
    """

    requests_per_s: float
    client_error_share: float
    server_error_share: float
    latency_ms: dict[str, float | None]
    points: list[tuple[int, int, int, int]]


class Problem(BaseModel):
    """What is wrong with a node."""

    node: str
    hostname: str
    reason: str


class GroupNow(BaseModel):
    """A group: its rate, how many nodes it has and how they are."""

    id: str
    name: str
    requests_per_s: float
    nodes: int
    connected: int
    in_sync: int
    problems: list[Problem]


class Live(LiveRates):
    """All groups that the caller may see, together and each."""

    groups: list[GroupNow]


class LiveGroup(LiveRates):
    """One group, with the requests per second of each node."""

    nodes: dict[str, float]


class _Census:
    """Groups with their nodes and judgements, read at most once in KEPT_S."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._read_at = float("-inf")
        self._known: list[tuple[Group, list[tuple[Node, Judgement]]]] = []

    async def take(self) -> list[tuple[Group, list[tuple[Node, Judgement]]]]:
        """All groups, oldest first."""
        now = self._plane.clock()
        if not self._read_at <= now < self._read_at + KEPT_S:
            self._read_at = now
            self._known = await self._read(now)
        return self._known

    async def _read(self, now: float) -> list[tuple[Group, list[tuple[Node, Judgement]]]]:
        plane = self._plane

        def read() -> tuple[list[Group], list[Node]]:
            with plane.database.read() as connection:
                return groups.all_groups(connection), nodes.in_group(connection)

        found, members = await plane.database.run(read)
        taken = []
        for group in found:
            own = [node for node in members if node.group_id == group.id]
            expected = (await plane.hub.current(group.id)).config_hash if own else None
            taken.append((group, [(node, nodes.judge(node, expected, now)) for node in own]))
        return taken


def make_router(plane: Plane) -> APIRouter:
    """The endpoints over a running control plane."""
    router = APIRouter(prefix="/v2", tags=["live"])
    census = _Census(plane)

    @router.get("/live", response_model=Live)
    async def live(request: Request) -> dict[str, Any]:
        """All groups that the caller may see, together and each."""
        seen = [(group, members) for group, members in await census.take() if may_see(request, group.id)]
        now = plane.clock()
        everyone = [node.id for _group, members in seen for node, _judged in members]
        return {
            **_shown_rates(plane.pulse.rates(everyone, now)),
            "groups": [_shown_group(plane, group, members, now) for group, members in seen],
        }

    @router.get("/control-planes/{group}/live", response_model=LiveGroup)
    async def live_group(group: GroupName) -> dict[str, Any]:
        """One group, with the rate of each node."""
        found = await find_group(plane, group)
        members = next((members for each, members in await census.take() if each.id == found.id), [])
        now = plane.clock()
        return {
            **_shown_rates(plane.pulse.rates([node.id for node, _judged in members], now)),
            "nodes": {node.id: plane.pulse.requests_per_s(node.id, now) for node, _judged in members},
        }

    return router


def _shown_rates(rates: Rates) -> dict[str, Any]:
    return {
        "requests_per_s": round(rates.requests_per_s, 2),
        "client_error_share": round(rates.client_error_share, 5),
        "server_error_share": round(rates.server_error_share, 5),
        "latency_ms": {f"p{percent}": value for percent, value in rates.latency_ms.items()},
        "points": rates.points,
    }


def _shown_group(plane: Plane, group: Group, members: Sequence[tuple[Node, Judgement]], now: float) -> dict[str, Any]:
    return {
        "id": group.id,
        "name": group.name,
        "requests_per_s": round(plane.pulse.rates([node.id for node, _judged in members], now).requests_per_s, 2),
        "nodes": len(members),
        "connected": sum(judged.is_connected for _node, judged in members),
        "in_sync": sum(judged.is_in_sync for _node, judged in members),
        "problems": [
            {"node": node.id, "hostname": node.hostname or node.ip, "reason": judged.reason}
            for node, judged in members
            if judged.reason
        ][:20],
    }
