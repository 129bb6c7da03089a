"""What Kong's control plane tells about itself and its data planes: /status, /metrics, /clustering.

In: HTTP.  Out: Kong's shapes and metric names. Cold. Source: metrics notes 1.1, 2.1, 2.2; protocol notes 5.1.
"""

import asyncio
import os
import resource
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from pydantic import BaseModel

from kongdp import KONG_VERSION
from kongdp.adminapi import errors
from kongdp.adminapi.context import Context, Handler
from kongdp.adminapi.messages import Request as AdminRequest
from kongdp.adminapi.messages import Response as AdminResponse
from kongdp.controlplane import nodes
from kongdp.controlplane.nodes import Node
from kongdp.controlplane.plane import Plane


def _not_reached(_context: Context, _request: AdminRequest, _names: Mapping[str, str]) -> AdminResponse:
    raise errors.not_found()


CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
NODE_LABELS = ("node_id", "hostname", "ip")
# Paths of this module that the Admin API lists at /endpoints and answers other methods of; GET never gets there.
LISTED: Mapping[str, Mapping[str, Handler]] = {
    path: {"GET": _not_reached} for path in ("/status", "/metrics", "/clustering/data-planes", "/clustering/status")
}
DEPRECATED = {"Deprecation": "true"}
# Answered, and neither listed nor described: it says only that there is nothing.
DNS = "/status/dns"


class Health(BaseModel):
    """That somebody answers."""

    status: str


class Ready(BaseModel):
    """Whether this process can do its work, and what of it."""

    status: str
    database: bool
    listeners: bool


def make_router(plane: Plane, node_id: str) -> APIRouter:
    """The endpoints over a running control plane; `node_id` is the control plane's own."""
    router = APIRouter(tags=["status"])

    @router.get("/status")
    async def status() -> dict[str, Any]:
        """Connections, memory and the database."""
        return {
            "server": {
                "connections_accepted": plane.count_connections,
                "connections_active": plane.count_connections,
                "connections_handled": plane.count_connections,
                "connections_reading": 0,
                "connections_writing": plane.count_connections,
                "connections_waiting": 0,
                "total_requests": 0,
            },
            "memory": {
                "workers_lua_vms": [{"http_allocated_gc": _memory_text(), "pid": os.getpid()}],
                "lua_shared_dicts": {},
            },
            "database": {"reachable": await plane.is_database_reachable()},
        }

    @router.get(DNS, include_in_schema=False)
    async def dns() -> JSONResponse:
        """A control plane resolves no names for anybody."""
        return JSONResponse({"message": "not implemented with the legacy DNS client"}, 501)

    @router.get("/v2/health", response_model=Health)
    async def health() -> dict[str, str]:
        """That this process answers."""
        return {"status": "ok"}

    @router.get("/v2/ready", response_model=Ready, responses={503: {"model": Ready, "description": "not ready"}})
    async def ready() -> JSONResponse:
        """Whether this process can do its work: its database answers and its listeners take data planes."""
        checks = {"database": await plane.is_database_reachable(), "listeners": plane.is_listening}
        is_ready = all(checks.values())
        return JSONResponse({"status": "ready" if is_ready else "not ready", **checks}, 200 if is_ready else 503)

    @router.get("/metrics")
    async def metrics() -> Response:
        """Kong's metrics of a control plane, in Prometheus' text format."""
        rows = await _rows(plane)
        is_reachable = await plane.is_database_reachable()
        text = await asyncio.to_thread(render_metrics, rows, node_id, is_reachable, plane.count_connections)
        return Response(text, media_type=CONTENT_TYPE)

    @router.get("/clustering/data-planes")
    async def data_planes() -> dict[str, Any]:
        """The data planes that this control plane knows."""
        now, delay = plane.clock(), plane.options.purge_delay_s
        return {"data": [shown_data_plane(node, now, delay) for node in await _rows(plane)], "next": None}

    @router.get("/clustering/status")
    async def clustering_status() -> Response:
        """The same in the form before 2.3."""
        shown = {
            node.id: {
                "config_hash": node.config_hash,
                "hostname": node.hostname,
                "ip": node.ip,
                "last_seen": int(node.last_seen),
            }
            for node in await _rows(plane)
        }
        return JSONResponse(shown, headers=DEPRECATED)

    return router


async def _rows(plane: Plane) -> list[Node]:
    await plane.hub.flush()

    def read() -> list[Node]:
        with plane.database.read() as connection:
            return nodes.in_group(connection)

    return await plane.database.run(read)


def shown_data_plane(node: Node, now: float, purge_delay_s: float) -> dict[str, Any]:
    """A row as Kong's Admin API shows it."""
    return {
        "id": node.id,
        "hostname": node.hostname,
        "ip": node.ip,
        "version": node.version,
        "config_hash": node.config_hash,
        "sync_status": node.sync_status,
        "labels": node.labels or None,
        "cert_details": None if node.cert_expiry is None else {"expiry_timestamp": int(node.cert_expiry)},
        "rpc_capabilities": [],
        "last_seen": int(node.last_seen),
        "created_at": int(node.created_at),
        "updated_at": int(node.updated_at),
        "ttl": max(0, int(node.last_seen + purge_delay_s - now)),
    }


def render_metrics(rows: list[Node], node_id: str, is_database_reachable: bool, count_connections: int) -> bytes:
    """The exposition of a control plane with these data planes."""
    registry = CollectorRegistry()
    registry.register(_Families(rows, node_id, is_database_reachable, count_connections))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Families:
    """prometheus-client asks it for families; made for one scrape."""

    def __init__(self, rows: list[Node], node_id: str, is_database_reachable: bool, count_connections: int) -> None:
        self._rows = rows
        self._node_id = node_id
        self._is_database_reachable = is_database_reachable
        self._count_connections = count_connections

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: the registry need not ask for everything to learn the names."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Kong's node and data plane gauges."""
        reachable = GaugeMetricFamily(
            "kong_datastore_reachable",
            "Datastore reachable from Kong, 0 is unreachable",
            float(self._is_database_reachable),
        )
        info = GaugeMetricFamily("kong_node_info", "Kong Node metadata information", labels=("node_id", "version"))
        info.add_metric((self._node_id, KONG_VERSION), 1)
        open_now = GaugeMetricFamily(
            "kongdp_cluster_connections",
            "Connections open at the cluster and telemetry listeners",
            self._count_connections,
        )
        return [reachable, info, open_now, *self._data_planes()]

    def _data_planes(self) -> Iterable[Metric]:
        seen = GaugeMetricFamily(
            "kong_data_plane_last_seen", "Last time data plane contacted control plane", labels=NODE_LABELS
        )
        config = GaugeMetricFamily(
            "kong_data_plane_config_hash", "Config hash numeric value of the data plane", labels=NODE_LABELS
        )
        compatible = GaugeMetricFamily(
            "kong_data_plane_version_compatible",
            "Version compatible status of the data plane, 0 is incompatible",
            labels=(*NODE_LABELS, "kong_version"),
        )
        for node in self._rows:
            labels = (node.id, node.hostname, node.ip)
            seen.add_metric(labels, int(node.last_seen))
            config.add_metric(labels, _hash_number(node.config_hash))
            is_compatible = node.sync_status != nodes.VERSION_INCOMPATIBLE
            compatible.add_metric((*labels, node.version), float(is_compatible))
        return [seen, config, compatible] if self._rows else []


def _hash_number(text: str) -> float:
    try:
        return float(int(text, 16))
    except ValueError:
        # A hash is opaque; only Kong's happens to be hexadecimal.
        return 0.0


def _memory_text() -> str:
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{kib / 1024:.2f} MiB"
