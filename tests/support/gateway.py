"""A gateway in this process: real sockets on port 0, the proxy rooms as a worker wires them, no settings and no agent.

`running_gateway(config)` serves a declarative-like list of services with routes; tests speak to `gateway.port`.
"""

import asyncio
import functools
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from kongdp.certs.contexts import Pair, ResumingContext, upstream_client_context
from kongdp.certs.store import EMPTY_STORE
from kongdp.clock import Clock
from kongdp.entities import declarative
from kongdp.plugins.base import Node
from kongdp.plugins.configs import PLUGIN_SCHEMAS
from kongdp.proxy import deadlines
from kongdp.proxy.addresses import Trust
from kongdp.proxy.downstream import DownstreamConnection
from kongdp.proxy.environment import AccessLog, Environment, Limits
from kongdp.proxy.failures import RetryRules
from kongdp.proxy.plan import Surroundings
from kongdp.proxy.respond import ErrorPages, Stamps
from kongdp.proxy.snapshot import compile_steps, empty_snapshot, read_changes
from kongdp.proxy.spill import SpillStore
from kongdp.routing.router import finish
from kongdp.telemetry.counters import NodeCounters, RouteCounters
from kongdp.telemetry.segment import Segment
from kongdp.upstream.dialer import Dialer
from kongdp.upstream.pool import PoolLimits, Pools, TlsIdentity
from kongdp.upstream.resolver import Resolver

SEGMENT_BYTES = 1 << 20

STAMPS = Stamps(
    server=b"Server: kongdp/0\r\n",
    via=b"Via: 1.1 kongdp/0\r\n",
    via_value=b"1.1 kongdp/0",
    request_via=b"Via: 1.1 kongdp/0\r\n",
)


DEFAULT_RULES = RetryRules()
NO_TLS_DEFAULTS = TlsIdentity(server_name=None)


class Rows(dict[str, RouteCounters]):
    """Counter rows on first use, as a worker has them."""

    def __init__(self, segment: Segment) -> None:
        super().__init__()
        self._segment = segment

    def __missing__(self, route_id: str) -> RouteCounters:
        row = self[route_id] = RouteCounters(self._segment, route_id)
        return row


def upstream_context(tls: TlsIdentity) -> ResumingContext:
    """A context towards an upstream."""
    pem = tls.client_certificate.encode()
    return upstream_client_context(
        verify=tls.verify, anchors=(tls.trust.encode(),) if tls.trust else (), pair=Pair(pem, pem) if pem else None
    )


@dataclass
class Gateway:
    """A running gateway. `counts()` is what its segment says of routes by name: {(route, status, source): count}."""

    env: Environment
    around: Surroundings
    port: int = 0
    names: dict[str, str] = field(default_factory=dict)

    def load(self, config: Mapping[str, Any]) -> None:
        """Put a declarative configuration in force."""
        table = declarative.load(config, plugins=PLUGIN_SCHEMAS)
        changes = [(collection, id_, row) for collection, rows in table.items() for id_, row in rows.items()]
        steps = compile_steps(
            self.env.snapshot,
            "1" * 32,
            read_changes(changes),
            self.around,
            lambda entities, previous: previous,
            full=True,
        )
        previous, self.env.snapshot = self.env.snapshot, finish(steps)  # type: ignore[arg-type,assignment]
        previous.plugins.close(self.env.snapshot.plugins)
        self.names = {id_: row["name"] for id_, row in table.get("routes", {}).items()}
        self.env.sweep_period_s = deadlines.period_for(self.env.snapshot)

    def counts(self) -> dict[tuple[str, int, int], int]:
        """Requests by route name, status and source (0 gateway, 1 upstream)."""
        found = {}
        for route_id, row in self.around.row_of.items():
            for code_source, index in row.codes.items():
                found[self.names.get(route_id, route_id), code_source // 2, code_source % 2] = self.env.slots[index]
        return found

    def node(self, name: str) -> int:
        """One of the node's own counters."""
        return int(self.env.slots[getattr(self.env.counters, name)])

    def pools_open(self) -> int:
        """Upstream connections that are open or being opened."""
        return sum(pool.count_open for pool in self.env.pools)


@asynccontextmanager
async def running_gateway(
    config: Mapping[str, Any],
    *,
    limits: Limits | None = None,
    pool_limits: PoolLimits | None = None,
    trust: Trust | None = None,
    stamps: Stamps = STAMPS,
    tls: ssl.SSLContext | None = None,
    proxy_protocol: bool = False,
    access_log: AccessLog | None = None,
    shown_port: int | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    retry_rules: RetryRules = DEFAULT_RULES,
    tls_defaults: TlsIdentity = NO_TLS_DEFAULTS,
    spill: tuple[Path, int] | None = None,
    node: Node | None = None,
) -> AsyncIterator[Gateway]:
    """A gateway serving `config` until the block ends; then every connection is closed and must be gone."""
    loop = asyncio.get_running_loop()
    fd = os.memfd_create("segment")
    os.posix_fallocate(fd, 0, SEGMENT_BYTES)
    segment = Segment.open(fd)
    os.close(fd)
    pools = Pools(pool_limits or PoolLimits())
    resolver = Resolver(loop)
    rows = Rows(segment)
    around = Surroundings(pools, resolver, rows, "traditional_compatible", tls_defaults, node=node or Node(loop=loop))
    env = Environment(
        loop=loop,
        clock=Clock(),
        snapshot=empty_snapshot(around),
        pools=pools,
        resolver=resolver,
        dialer=Dialer(loop, functools.cache(upstream_context)),
        counters=NodeCounters(segment),
        slots=segment.slots,
        row_of=rows.__getitem__,
        limits=limits or Limits(),
        stamps=stamps,
        trust=trust or Trust(),
        pages=ErrorPages(),
        access_log=access_log,
        retry_rules=retry_rules,
        spill=SpillStore(loop, *spill) if spill else None,
    )
    env.now = monotonic()
    assert env.snapshot.certificates is EMPTY_STORE
    gateway = Gateway(env, around)
    gateway.load(config)
    sweeper = loop.create_task(_sweep(env))
    server = await loop.create_server(
        lambda: DownstreamConnection(
            env, b"https" if tls else b"http", shown_port or gateway.port, proxy_protocol=proxy_protocol
        ),
        host,
        port,
        ssl=tls,
        backlog=1024,
    )
    gateway.port = server.sockets[0].getsockname()[1]
    try:
        yield gateway
    finally:
        server.close()
        for connection in list(env.connections):
            connection.abort()
        pools.close_idle()
        env.snapshot.plugins.close()
        sweeper.cancel()
        await asyncio.gather(sweeper, return_exceptions=True)
        for _ in range(1000):
            if not env.connections and not gateway.pools_open():
                break
            await asyncio.sleep(0.01)
            pools.close_idle()  # a connection that was still being opened has come to its pool
        assert not env.connections, env.connections
        if env.spill is not None:
            assert env.spill.bytes_used == 0
            env.spill.close()
        assert not gateway.pools_open(), list(env.pools)


async def _sweep(env: Environment) -> None:
    """The worker's deadline sweep."""
    while True:
        deadlines.sweep(env, monotonic())
        await asyncio.sleep(env.sweep_period_s)
