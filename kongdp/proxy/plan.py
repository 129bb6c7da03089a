"""RoutePlan: everything one route needs at request time, resolved when the configuration changed.

In: a route, its service, the upstream entity its host may name.  Out: a frozen plan of bytes, numbers and destinations.
House rule: a plan never looks an entity up. What outlives a snapshot (pools, counter rows) it only points to.
Hot attributes, cold construction: built at a route's first request after a change, so that a swap touches little.
Source: Kong's proxying contract, sections 1.1, 3 and 9; balancing contract, section 1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kongdp.balancer.round_robin import RoundRobin
from kongdp.certs.contexts import upstream_server_name
from kongdp.entities.model import Route, Service, Target, Upstream
from kongdp.http1.target import escape
from kongdp.plugins.base import Node
from kongdp.proxy.plugin_chain import RoutePlugins
from kongdp.routing.path_handling import UpstreamPath, compile_upstream_path
from kongdp.telemetry.counters import RouteCounters
from kongdp.upstream.destination import Destination
from kongdp.upstream.pool import Pool, Pools, TlsIdentity
from kongdp.upstream.resolver import Resolver

TARGET_PORT = 8000
"""Port of a target that names none (Kong)."""


class Targets:
    """The destinations of a service: one, or an upstream entity's in weighted turns (`balanced`)."""

    __slots__ = ("_destinations", "_turns", "balanced")

    def __init__(self, destinations: Sequence[Destination], weights: Sequence[int] | None) -> None:
        self._destinations = tuple(destinations)
        self._turns = RoundRobin(weights) if weights is not None else None
        self.balanced = weights is not None

    @property
    def sole(self) -> Destination | None:
        """The destination of a service that is not balanced, whose pick it always is."""
        return self._destinations[0] if self._turns is None else None

    def pick(self, tried: Collection[Destination], unusable: Collection[Destination] = ()) -> Destination | None:
        """The destination whose turn it is; never one that is unusable.

        After a failed try it is another one, as long as there is one that was not tried.
        """
        if self._turns is None:
            return self._destinations[0]
        if not tried and not unusable:
            index = self._turns.pick()
        else:
            index = self._turns.pick(self._indices((*tried, *unusable)))
            if index < 0:
                index = self._turns.pick(self._indices(unusable))
        return self._destinations[index] if index >= 0 else None

    def _indices(self, destinations: Collection[Destination]) -> set[int]:
        return {index for index, destination in enumerate(self._destinations) if destination in destinations}


@dataclass(eq=False)
class RoutePlan:
    """One route, ready. Times in seconds. `gated`: one of the rare checks before proxying applies."""

    route_id: str
    service_id: str | None
    route_name: str | None
    service_name: str | None
    row: RouteCounters
    upstream_path: UpstreamPath
    strip_path: bool
    preserve_host: bool
    request_buffering: bool
    response_buffering: bool
    gated: bool
    https_only: bool
    redirect_status: int
    grpc: bool
    unserved: bool
    targets: Targets | None
    sole: Destination | None  # of a service that is not balanced: what every pick would be
    connect_timeout_s: float
    write_timeout_s: float
    read_timeout_s: float
    retries: int
    debug_lines: bytes
    plugins: RoutePlugins | None

    def pick(self, tried: Collection[Destination], unusable: Collection[Destination]) -> Destination | None:
        """The destination for the next try, or None when there is none."""
        return self.targets.pick(tried, unusable) if self.targets is not None else None

    def pool_for_host(self, pool: Pool, host: bytes, pools: Pools) -> Pool:
        """With preserve_host the Host sent is also the TLS server name: its own pool (proxying contract, section 9)."""
        endpoint = pool.endpoint
        server_name = upstream_server_name(host.decode("latin-1").lower())
        if endpoint.tls is None or endpoint.tls.server_name == server_name:
            return pool
        return pools.get(replace(endpoint, tls=replace(endpoint.tls, server_name=server_name)))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What snapshots and plans are built with: collaborators that outlive them, the router's settings, and what counts towards
    TLS upstreams whose service does not say (`tls_defaults`).
    """

    pools: Pools
    resolver: Resolver
    row_of: Mapping[str, RouteCounters]
    flavor: str
    tls_defaults: TlsIdentity = field(default_factory=lambda: TlsIdentity(server_name=None))
    route_match_calculation: str = "original"
    node: Node = field(default_factory=Node)


def build_plan(
    route: Route,
    service: Service | None,
    upstream: Upstream | None,
    targets: Sequence[Target],
    tls: TlsIdentity | None,
    around: Surroundings,
    plugins: RoutePlugins | None = None,
) -> RoutePlan:
    """The plan of a route. `upstream`: the entity that the service's host names, with its targets; None: the host is a host.

    `tls`: the identity for https services, without server name; None for plain http.
    """
    protocols = route.protocols
    https_only = "https" in protocols and "http" not in protocols
    grpc = any(protocol.startswith("grpc") for protocol in protocols)
    path = (service.path if service else None) or "/"
    found = _targets(service, upstream, targets, tls, around)
    return RoutePlan(
        route_id=route.id,
        service_id=service.id if service else None,
        route_name=route.name,
        service_name=service.name if service else None,
        row=around.row_of[route.id],
        upstream_path=compile_upstream_path(
            escape(path.encode()), route.strip_path, route.path_handling, around.flavor
        ),
        strip_path=route.strip_path,
        preserve_host=route.preserve_host,
        request_buffering=route.request_buffering,
        response_buffering=route.response_buffering,
        gated=https_only or grpc or service is None,
        https_only=https_only,
        redirect_status=route.https_redirect_status_code,
        grpc=grpc,
        unserved=service is None,
        targets=found,
        sole=found.sole if found is not None else None,
        connect_timeout_s=service.connect_timeout / 1000 if service else 60.0,
        write_timeout_s=service.write_timeout / 1000 if service else 60.0,
        read_timeout_s=service.read_timeout / 1000 if service else 60.0,
        retries=service.retries if service else 0,
        debug_lines=_debug_lines(route, service),
        plugins=plugins,
    )


def _targets(
    service: Service | None,
    upstream: Upstream | None,
    targets: Sequence[Target],
    tls: TlsIdentity | None,
    around: Surroundings,
) -> Targets | None:
    if service is None:
        return None
    scheme = service.protocol
    host_header = upstream.host_header if upstream is not None else None

    def destination(host: str, port: int) -> Destination:
        return Destination(host, port, scheme, tls, around.pools, around.resolver, host_header=host_header)

    if upstream is None:
        return Targets((destination(service.host, service.port),), None)
    addresses = [split_target(target.target) for target in targets]
    return Targets([destination(*address) for address in addresses], [target.weight for target in targets])


def split_target(target: str) -> tuple[str, int]:
    """Host and port of a target's "host:port"."""
    if target.startswith("["):
        host, _, rest = target[1:].partition("]")
        return host, int(rest[1:]) if rest[1:] else TARGET_PORT
    host, colon, port = target.rpartition(":")
    return (host, int(port)) if colon else (target, TARGET_PORT)


def _debug_lines(route: Route, service: Service | None) -> bytes:
    values = [("Kong-Route-Id", route.id), ("Kong-Route-Name", route.name)]
    if service is not None:
        values += [("Kong-Service-Id", service.id), ("Kong-Service-Name", service.name)]
    return "".join(f"{name}: {value}\r\n" for name, value in values if value).encode()
