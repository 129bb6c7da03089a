"""The compiled configuration: entities to Snapshot, whole or as a difference against the live one.

In: changes (collection, id, row or None), already validated elsewhere.  Out: a new Snapshot that shares with its predecessor whatever
did not change. Rows become entities as they arrive (`read_changes`), so that no worker ever holds a table twice.
House rules: a snapshot is never changed after it is returned; the worker swaps by one assignment. `compile_steps` is a generator that
yields between small pieces of work, so that a worker can let traffic through; tests run it to the end. Plans are built at a route's
first request and carried over while nothing they stand on has changed.
Cold, but for `router` and `plan`.
Source: ours; the rule of what is left out (disabled services) is Kong's (entities.md, service.enabled).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from kongdp.certs.store import EMPTY_STORE, CertificateStore
from kongdp.entities.model import (
    Acl,
    BasicAuthCredential,
    CACertificate,
    Certificate,
    Consumer,
    JwtSecret,
    KeyAuthCredential,
    Plugin,
    Route,
    Service,
    Sni,
    Target,
    Upstream,
)
from kongdp.plugins.base import Node
from kongdp.plugins.identities import NOBODY, Identities
from kongdp.proxy.plan import RoutePlan, Surroundings, build_plan
from kongdp.proxy.plugin_chain import NO_PLUGINS, PluginTable, touched
from kongdp.proxy.ways import RouteTable
from kongdp.routing.router import Router, build
from kongdp.routing.router import compile_steps as compile_router
from kongdp.routing.shards import ShardedMap
from kongdp.upstream.pool import TlsIdentity

Row = dict[str, Any]
Change = tuple[str, str, Row | None]
Edit = tuple[str, str, Any]
"""A change whose row has become an entity."""

EMPTY_HASH = "0" * 32

_MODELS: dict[str, Callable[[Row], Any]] = {
    "services": Service.from_row,
    "routes": Route.from_row,
    "upstreams": Upstream.from_row,
    "targets": Target.from_row,
    "certificates": Certificate.from_row,
    "snis": Sni.from_row,
    "ca_certificates": CACertificate.from_row,
    "plugins": Plugin.from_row,
    "consumers": Consumer.from_row,
    "keyauth_credentials": KeyAuthCredential.from_row,
    "basicauth_credentials": BasicAuthCredential.from_row,
    "jwt_secrets": JwtSecret.from_row,
    "acls": Acl.from_row,
}
"""Collections a worker serves from. Others are kept as rows for whoever asks."""

_BEHIND_MANY_PLANS = ("upstreams", "targets", "certificates", "ca_certificates")

LONGEST_SWEEP_TIMEOUT_S = 60.0
"""Timeouts beyond Kong's default do not make the deadline sweep any rarer."""

ROWS_PER_STEP = 500
"""Rows looked at between two yields: about a tenth of a millisecond."""


_NOTHING: Mapping[str, Any] = {}


@dataclass(slots=True)
class Entities:
    """Everything of one configuration by collection and id; a new one for each snapshot, sharing what did not change."""

    by_collection: dict[str, ShardedMap[str, Any]] = field(default_factory=dict)

    def all(self, collection: str) -> Mapping[str, Any]:
        """Id -> entity of a collection."""
        return self.by_collection.get(collection, _NOTHING)


@dataclass(frozen=True, slots=True)
class Balancing:
    """Upstreams as plans ask for them. Shared by snapshots between which no upstream or target changed."""

    upstreams: Mapping[str, Upstream] = field(default_factory=dict)
    """By name."""

    targets: Mapping[str, Sequence[Target]] = field(default_factory=dict)
    """By their upstream's id, in order of their own."""


NO_BALANCING = Balancing()


class Snapshot(RouteTable):
    """One configuration, ready to serve. `hash` is the configuration's, 32 characters."""

    __slots__ = (
        "_around",
        "_balancing",
        "_plans",
        "certificates",
        "entities",
        "hash",
        "shortest_timeout_s",
    )

    def __init__(
        self,
        hash_: str,
        entities: Entities,
        router: Router,
        around: Surroundings,
        certificates: CertificateStore,
        shortest_timeout_s: float = LONGEST_SWEEP_TIMEOUT_S,
        balancing: Balancing = NO_BALANCING,
        plugins: PluginTable = NO_PLUGINS,
        identities: Identities = NOBODY,
    ) -> None:
        super().__init__(router, plugins, identities)
        self.hash = hash_
        self.entities = entities
        self.certificates = certificates
        # of any service's reading or writing; what the deadline sweep's period follows
        self.shortest_timeout_s = shortest_timeout_s
        self._around = around
        self._balancing = balancing
        self._plans: ShardedMap[str, RoutePlan] = ShardedMap()

    @property
    def node(self) -> Node:
        """What plugins may know of the node."""
        return self._around.node

    def plan(self, route_id: str) -> RoutePlan:
        """The plan of a route that the router named; built on first use."""
        plans = self._plans
        plan = plans.shards[hash(route_id) & plans.mask].get(route_id)
        if plan is None:
            plan = self._build(route_id)
            plans.set(route_id, plan)
        return plan

    def parts(self) -> Iterator[object]:
        """All that this snapshot is made of and may share with others, wholes before their parts (retirement)."""
        yield from self.router.parts()
        yield from self._plans.parts()
        for rows in self.entities.by_collection.values():
            yield from rows.parts()

    def _build(self, route_id: str) -> RoutePlan:
        route: Route = self.entities.all("routes")[route_id]
        service: Service | None = self.entities.all("services").get(route.service_id) if route.service_id else None
        upstream = self._balancing.upstreams.get(service.host) if service else None
        targets = self._balancing.targets.get(upstream.id, ()) if upstream else ()
        plugins = self.plugins.of_route(route_id, route.service_id)
        return build_plan(route, service, upstream, targets, self._tls(service, upstream), self._around, plugins)

    def _tls(self, service: Service | None, upstream: Upstream | None) -> TlsIdentity | None:
        """The TLS identity towards a service: the service's own values, else the upstream's, else the node's."""
        if service is None or service.protocol not in ("https", "grpcs", "tls"):
            return None
        certificates = self.entities.all("certificates")
        certificate: Certificate | None = certificates.get(service.client_certificate_id or "")
        if certificate is None and upstream is not None:
            certificate = certificates.get(upstream.client_certificate_id or "")
        authorities = self.entities.all("ca_certificates")
        trust = "\n".join(authorities[id_].cert for id_ in service.ca_certificates or () if id_ in authorities)
        unsaid = self._around.tls_defaults
        return TlsIdentity(
            server_name=None,
            verify=unsaid.verify if service.tls_verify is None else service.tls_verify,
            verify_depth=unsaid.verify_depth if service.tls_verify_depth is None else service.tls_verify_depth,
            trust=trust or unsaid.trust,
            client_certificate=f"{certificate.cert}\n{certificate.key}" if certificate else unsaid.client_certificate,
        )

    def carry_over(self, previous: Snapshot, changed: dict[str, set[str]]) -> Generator[None, None, None]:
        """Take the plans of `previous` that stand on nothing in `changed` (collection -> ids); yields between steps."""
        if any(changed.get(collection) for collection in _BEHIND_MANY_PLANS):
            return  # let them be built anew, each on its first use
        routes, services, every = touched(
            previous.entities.all("plugins"), self.entities.all("plugins"), changed.get("plugins", ())
        )
        if every:
            return
        before = previous.entities.all("services")
        for count, id_ in enumerate(changed.get("services", ())):
            if count % ROWS_PER_STEP == ROWS_PER_STEP - 1:
                yield
            if id_ in before:
                services.add(id_)
        plans = previous._plans.edited(object())
        of_services: set[str] = set()
        if services:
            of_services = yield from _routes_of(services, self.entities.all("routes"))
        for count, id_ in enumerate(chain(routes, changed.get("routes", ()), of_services)):
            if count % ROWS_PER_STEP == ROWS_PER_STEP - 1:
                yield
            plans.discard(id_)  # also of what `previous` plans for it meanwhile
        self._plans = plans


def empty_snapshot(around: Surroundings) -> Snapshot:
    """The snapshot of a node that has no configuration: routes nothing."""
    router = build((), around.flavor, around.route_match_calculation)
    return Snapshot(EMPTY_HASH, Entities(), router, around, EMPTY_STORE)


def read_changes(changes: Iterable[Change]) -> Iterator[Edit]:
    """Changes with entities in place of rows, about 5 µs each."""
    for collection, id_, row in changes:
        build = _MODELS.get(collection)
        yield collection, id_, build(row) if build and row is not None else row


def compile_steps(
    previous: Snapshot,
    hash_: str,
    edits: Iterable[Edit],
    around: Surroundings,
    build_certificates: Callable[[Entities, CertificateStore], CertificateStore],
    *,
    full: bool,
) -> Generator[None, None, Snapshot]:
    """Compile the configuration that `edits` make of `previous`, or with `full` of nothing; yields between steps.

    Raises RouteError when a route cannot be compiled; `previous` is untouched then.
    """
    entities = Entities({} if full else dict(previous.entities.by_collection))
    owner = object()
    changed: dict[str, set[str]] = {}
    for count, (collection, id_, entity) in enumerate(edits):
        if count % ROWS_PER_STEP == 0:
            yield
        if collection not in changed:
            before = entities.by_collection.get(collection) or ShardedMap[str, Any]()
            entities.by_collection[collection] = before.edited(owner)
            changed[collection] = set()
        held = entities.by_collection[collection]
        if entity is not None:
            held.set(id_, entity)
        else:
            held.discard(id_)
        changed[collection].add(id_)
    yield
    router = yield from _compile_router(previous, entities, changed, around, full=full)
    certificates = previous.certificates
    if full or changed.get("certificates") or changed.get("snis"):
        certificates = build_certificates(entities, previous.certificates)
    yield
    shortest = previous.shortest_timeout_s
    if full or changed.get("services"):
        gone = {} if full else previous.entities.all("services")
        shortest = yield from _shortest_timeout_s(entities, gone, changed.get("services", set()), shortest)
    balancing = previous._balancing
    if full or changed.get("upstreams") or changed.get("targets"):
        balancing = yield from _balancing(entities)
    plugins = NO_PLUGINS if full else previous.plugins
    if changed.get("plugins"):
        replaced = {} if full else previous.entities.all("plugins")
        plugins = yield from plugins.after(replaced, entities.all("plugins"), around.node)
    start, rows = (NOBODY, {}) if full else (previous.identities, previous.entities.by_collection)
    identities = yield from start.after(rows, entities.by_collection, changed)
    snapshot = Snapshot(hash_, entities, router, around, certificates, shortest, balancing, plugins, identities)
    if not full:
        yield from snapshot.carry_over(previous, changed)
    return snapshot


def _balancing(entities: Entities) -> Generator[None, None, Balancing]:
    """Upstreams by name and their targets in order."""
    grouped: dict[str, list[Target]] = {}
    for count, target in enumerate(entities.all("targets").values()):
        if count % ROWS_PER_STEP == 0:
            yield
        grouped.setdefault(target.upstream_id, []).append(target)
    for count, targets in enumerate(grouped.values()):
        if count % ROWS_PER_STEP == 0:
            yield
        targets.sort(key=lambda target: target.id)
    return Balancing({upstream.name: upstream for upstream in entities.all("upstreams").values()}, grouped)


def _shortest_timeout_s(
    entities: Entities, before: Mapping[str, Service], changed: Set[str], shortest_s: float
) -> Generator[None, None, float]:
    """The shortest timeout between two operations of any service, in seconds. All of them are looked at only when one
    of those that changed may have had the shortest.
    """
    now: Mapping[str, Service] = entities.all("services")
    longest = LONGEST_SWEEP_TIMEOUT_S * 1000
    shortest, ids = shortest_s * 1000, changed
    if not before or (shortest < longest and (yield from _has_timeout(shortest, before, changed))):
        shortest, ids = longest, now.keys()
    for count, id_ in enumerate(ids):
        if count % ROWS_PER_STEP == ROWS_PER_STEP - 1:
            yield
        if id_ in now:
            shortest = min(shortest, *_timeouts(now[id_]))
    return shortest / 1000


def _has_timeout(shortest: float, services: Mapping[str, Service], ids: Iterable[str]) -> Generator[None, None, bool]:
    """Whether one of these services had it, or a shorter one."""
    for count, id_ in enumerate(ids):
        if count % ROWS_PER_STEP == ROWS_PER_STEP - 1:
            yield
        if id_ in services and min(_timeouts(services[id_])) <= shortest:
            return True
    return False


def _timeouts(service: Service) -> tuple[int, int]:
    return service.read_timeout, service.write_timeout


def _compile_router(
    previous: Snapshot, entities: Entities, changed: dict[str, set[str]], around: Surroundings, *, full: bool
) -> Generator[None, None, Router]:
    """The router for `entities`: built anew, or with only the routes that changed (or whose service was switched)."""
    services: Mapping[str, Service] = entities.all("services")
    routes: Mapping[str, Route] = entities.all("routes")

    def served(route: Route) -> bool:
        service = services.get(route.service_id) if route.service_id else None
        return service is None or service.enabled

    if full:
        found = (route for route in routes.values() if served(route))
        return (yield from compile_router(found, around.flavor, around.route_match_calculation))
    touched = changed.get("routes", set())
    switched = yield from _switched(previous, services, routes, changed.get("services", set()))
    if switched:
        touched = touched | switched  # not in place: a copy of many takes its time, and most changes switch none
    if not touched:
        return previous.router
    added = (routes[id_] for id_ in touched if id_ in routes and served(routes[id_]))
    return (yield from previous.router.with_changes(touched, added))


def _switched(
    previous: Snapshot, services: Mapping[str, Service], routes: Mapping[str, Route], changed: set[str]
) -> Generator[None, None, set[str]]:
    """Ids of routes whose service was enabled or disabled."""
    before = previous.entities.all("services")
    toggled: set[str] = set()
    for count, id_ in enumerate(changed):
        if count % ROWS_PER_STEP == ROWS_PER_STEP - 1:
            yield
        if id_ in before and id_ in services and before[id_].enabled != services[id_].enabled:
            toggled.add(id_)
    if not toggled:
        return set()
    return (yield from _routes_of(toggled, routes))


def _routes_of(services: set[str], routes: Mapping[str, Route]) -> Generator[None, None, set[str]]:
    """Ids of the routes of these services."""
    found: set[str] = set()
    for count, (id_, route) in enumerate(routes.items()):
        if count % ROWS_PER_STEP == ROWS_PER_STEP - 1:
            yield
        if route.service_id in services:
            found.add(id_)
    return found
