"""The agent's HTTP face: the Status API of every node, the Admin API of a DB-less one.

In: the parts of the agent (workers, pipeline, counters, sync, trust).  Out: answers about the node as it is at that
moment.
House rule: reads and renders only; nothing here decides or keeps what another part knows.
Cold. Source: shapes are status_api's and adminapi's; what stands in /status/sync and /status/certificates is ours.
"""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kongdp import KONG_VERSION
from kongdp.certs.contexts import Pair, server_context, server_options
from kongdp.certs.selfsigned import NAMES
from kongdp.entities.hashing import EMPTY_HASH
from kongdp.process.agent_servers import ApiServer
from kongdp.process.status_api import Readiness, StatusSources, status_api
from kongdp.process.target_health import TargetHealthWatch
from kongdp.process.upstream_status import UpstreamStatus
from kongdp.settings import Settings
from kongdp.telemetry.exposition import Exposition
from kongdp.telemetry.families import SHARED_DICTS, NodeFacts
from kongdp.telemetry.labels import LabelSets, label_sets
from kongdp.telemetry.node_metrics import node_registry, own_exposition, own_text
from kongdp.upstream.resolver import Resolver

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from kongdp.process.admin_app import AdminApp
    from kongdp.process.agent import Agent

CONFIG_BYTES_MAX = 128 * 1024 * 1024
"""Of a configuration that is posted: half a million routes and more."""

SERVER = f"kong/{KONG_VERSION}"
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Apis:
    """Serves both APIs; `start` when the agent can answer, `stop` at its end."""

    def __init__(self, agent: "Agent") -> None:
        self._agent = agent
        self._is_draining = False
        self._labels = LabelSets()
        self._has_labels = False
        self._is_labelling = False
        self._labelled_table: object = None
        self._exposition = Exposition(series_max=agent.settings.kongdp_metrics_series_max)
        counters = agent.counters
        self._registry = node_registry(counters.reader.totals, counters.samples, self._exposition)
        self._target_health = TargetHealthWatch(Resolver(asyncio.get_running_loop()), lambda: agent.pipeline.table)
        self._servers: list[ApiServer] = []
        self._admin_app: AdminApp | None = None

    async def start(self) -> None:
        """Listen. Raises ServeError or CertificateError."""
        agent = self._agent
        status, admin = agent.spec["status_listeners"], agent.spec["admin_listeners"]
        settings = agent.settings
        application = status_api(self.sources(), server=SERVER)
        if status:
            tls = _tls(settings, "status") if any(entry["ssl"] for entry in status) else None
            self._servers.append(ApiServer(application, status, tls, "status"))
        if admin:
            tls = _tls(settings, "admin") if any(entry["ssl"] for entry in admin) else None
            self._servers.append(ApiServer(self._admin(application), admin, tls, "Admin"))
        for server in self._servers:
            await server.start()

    async def stop(self) -> None:
        """Stop listening."""
        await asyncio.gather(*(server.stop() for server in self._servers))

    async def refresh(self) -> None:
        """The configuration has changed: reads of the Admin API see it, and names on /metrics follow (off the loop)."""
        if self._admin_app is not None:
            self._admin_app.refresh()
        if self._is_labelling:
            return  # whoever is at it looks again: two at once could end in the wrong order
        self._is_labelling = True
        try:
            while (table := self._agent.pipeline.table) is not self._labelled_table:
                await self._agent.count()  # a route that goes keeps its name only when something was counted for it
                self._labels = await asyncio.to_thread(
                    label_sets,
                    table,
                    self._labels,
                    status_codes=self._agent.settings.kongdp_metrics_status_codes,
                    is_counted=self._counted().__contains__,
                )
                self._labelled_table = table
        finally:
            self._is_labelling = False
        self._has_labels = True

    def _counted(self) -> frozenset[str]:
        """Ids of routes and consumers for which anything was counted."""
        routes = self._agent.counters.reader.totals.routes
        return frozenset(routes).union(*(each.consumers for each in routes.values() if each.consumers))

    def unconfigured(self) -> None:
        """There is no configuration to take names from: /metrics need not wait for one."""
        self._has_labels = True

    def _admin(self, status: "ASGIApp") -> "ASGIApp":
        from kongdp.process.admin_app import AdminApp, AdminNode  # only here: a data plane never loads it

        agent = self._agent
        node = AdminNode(
            node_id=agent.spec["node_id"],
            version=KONG_VERSION,
            hostname=socket.gethostname(),
            server=SERVER,
            configuration=agent.settings.masked(),
            plugins=agent.plugins,
            body_bytes_max=agent.settings.nginx_admin_client_max_body_size,
            config_bytes_max=_config_bytes_max(agent.settings),
            pids=lambda: {"master": os.getppid(), "workers": agent.workers.pids()},
            target_health=self._target_health.health,
        )
        self._admin_app = AdminApp(node, agent.pipeline, agent.pipeline.schemas, status)
        return self._admin_app

    def sources(self) -> StatusSources:
        """Where the Status API's answers come from."""
        return StatusSources(
            numbers=lambda: self._agent.counters.reader.totals.node,
            workers=self._workers,
            shared_dicts=lambda: {name: (0, capacity) for name, capacity in SHARED_DICTS.items()},
            readiness=self._readiness,
            is_draining=lambda: self._is_draining,
            drain=self._drain,
            metrics=self._metrics,
            own_metrics=lambda accept: own_exposition(self._registry, accept),
            sync=self._sync,
            certificates=self._certificates,
            dns=self._dns,
            upstreams=UpstreamStatus(self._agent.spec["node_id"], self._agent.pipeline, self._target_health),
        )

    def _dns(self) -> Mapping[str, Any] | None:
        """None, Kong's 501, unless the settings ask for the new client."""
        agent = self._agent
        if not agent.settings.new_dns_client:
            return None
        return dns_statistics(agent.counters.reader.totals.node, agent.workers.count_live())

    def _drain(self) -> None:
        self._is_draining = True

    def _workers(self) -> list[tuple[int, int]]:
        return [(pid, _resident_bytes(pid)) for pid in self._agent.workers.pids()]

    def _readiness(self) -> Readiness:
        agent = self._agent
        ready = agent.workers.count_ready()
        config_hash = self._hash()
        return Readiness(agent.spec["workers"], ready, ready, None if config_hash == EMPTY_HASH else config_hash)

    def _hash(self) -> str:
        """The configuration in force; right after the agent's start, before it has read its cache, what workers
        serve.
        """
        in_force = self._agent.pipeline.in_force
        return self._agent.workers.common_hash() if in_force == EMPTY_HASH else in_force

    def _metrics(self) -> Iterator[bytes] | None:
        # A new agent's first moments: without names a route's counters would show up as other series, and go again.
        if not self._has_labels:
            return None
        agent = self._agent
        agent.counters.refresh()
        identity = agent.trust.identity
        facts = NodeFacts(
            node_id=agent.spec["node_id"],
            version=KONG_VERSION,
            control_plane_connected=_is_connected(agent) if agent.is_data_plane else None,
            certificate_expiry=identity.validity.not_after if identity is not None else None,
            workers=self._workers(),
            target_health=self._target_health.states() if self._labels.upstream_health else (),
            own=own_text(self._registry),
        )
        return self._exposition.render(agent.counters.reader.totals, self._labels, facts)

    def _sync(self) -> Mapping[str, Any]:
        agent = self._agent
        rejection = agent.pipeline.last_rejection
        pending = agent.counters.samples.count_pending()
        return {
            "role": agent.settings.role,
            "control_plane": agent.settings.cluster_control_plane if agent.is_data_plane else None,
            "configuration_hash": self._hash(),
            "rejected": None
            if rejection is None
            else {"configuration_hash": rejection.config_hash, "name": rejection.name, "message": rejection.message},
            "sync": asdict(agent.sync.state) if agent.sync is not None else None,
            "counters": {
                **(asdict(agent.push.state) if agent.push is not None else {}),
                "samples_pending": pending,
            },
        }

    def _certificates(self) -> Mapping[str, Any]:
        trust = self._agent.trust
        identity = trust.identity
        if identity is None:
            return {"cluster": None, "last_error": trust.last_error}
        return {
            "cluster": {
                "source": "enrolled" if trust.enrols else "configured",
                "subject": identity.subject,
                "serial": identity.serial,
                "not_before": identity.validity.not_before,
                "not_after": identity.validity.not_after,
                "seconds_left": identity.validity.not_after - time.time(),
                "urgency": trust.urgency.value,
            },
            "last_error": trust.last_error,
        }


def _config_bytes_max(settings: Settings) -> int:
    """Of a body at /config. Kong's 10 MiB for all bodies hold some 60,000 routes, so without an operator's word it is
    more.
    """
    given: int = settings.nginx_admin_client_max_body_size
    return given if "nginx_admin_client_max_body_size" in settings.given else max(given, CONFIG_BYTES_MAX)


def _is_connected(agent: "Agent") -> bool:
    return agent.sync is not None and agent.sync.state.is_connected


def _resident_bytes(pid: int) -> int:
    """Memory of a process; 0 when it has just ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0


def _tls(settings: Settings, name: str) -> ssl.SSLContext:
    """The context of an API's ssl listeners: its own certificates, or the node's self-signed pair."""
    certs, keys = getattr(settings, f"{name}_ssl_cert", ()), getattr(settings, f"{name}_ssl_cert_key", ())
    pairs = [Pair(cert.encode(), key.encode()) for cert, key in zip(certs, keys, strict=True)]
    if not pairs:
        stems = [settings.paths.ssl / stem for stem in NAMES.values()]
        pairs = [Pair(stem.with_suffix(".crt").read_bytes(), stem.with_suffix(".key").read_bytes()) for stem in stems]
    return server_context(pairs, server_options("intermediate"))


def dns_statistics(node: Mapping[str, int], workers: int) -> Mapping[str, Any]:
    """What /status/dns says: in Kong's frame, but of all workers' resolvers together and not by name."""
    names = ("queries", "found", "absent", "failures", "stale", "names")
    return {"worker": {"id": -1, "count": workers}, "stats": {name: node[f"dns_{name}"] for name in names}}
