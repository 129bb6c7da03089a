"""What a route's series are called: labels and switches, worked out from the table when the configuration changes.

In: a table (collection -> id -> row in Kong's JSON shape). Out: LabelSets, plain values for `exposition` and for
whoever needs to know whether requests are counted by consumer. Per-route status counters are on without any plugin
(ours: they cost nothing here); the other groups follow the prometheus plugin's configuration as in Kong. Cold. Source:
Kong 3.9.1 plugins/prometheus/{schema,exporter}.lua; order of instances: runloop/plugins_iterator.lua.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kongdp.telemetry.counters import OVERFLOW_ROUTE

Row = Mapping[str, Any]
Table = Mapping[str, Mapping[str, Row]]

WORKSPACE = "default"
# Service and route name of the series that takes what has no series of its own.
OVERFLOW_NAME = "kongdp_overflow"


@dataclass(frozen=True, slots=True)
class Switches:
    """Which groups of per-route families are shown, and whether requests are counted by consumer."""

    status_codes: bool = True
    latency: bool = False
    bandwidth: bool = False
    per_consumer: bool = False


@dataclass(frozen=True, slots=True)
class RouteLabels:
    """Values of the labels `service` and `route`, and the route's switches."""

    service: str
    route: str
    switches: Switches = field(default_factory=Switches)


@dataclass(frozen=True, slots=True)
class LabelSets:
    """Labels of all routes and consumers. `plugin` says whether a prometheus plugin is configured anywhere."""

    routes: Mapping[str, RouteLabels] = field(default_factory=dict)
    consumers: Mapping[str, str] = field(default_factory=dict)
    plugin: bool = False
    upstream_health: bool = False
    workspace: str = WORKSPACE

    def route(self, route_id: str) -> RouteLabels:
        """Labels of a route; one that is not in any known table is called by its id."""
        return self.routes.get(route_id) or RouteLabels("", route_id)


def label_sets(
    table: Table,
    previous: LabelSets | None = None,
    *,
    status_codes: bool = True,
    is_counted: Callable[[str], bool] = lambda id_: True,
) -> LabelSets:
    """Labels and switches of every route of the table.

    Routes and consumers that `previous` knew and the table no longer holds keep their labels: a counter that vanishes
    would look like a restart, and Kong shows deleted routes until it restarts, too. Not so those of which nothing
    `is_counted`: a node may see any number of routes come and go. `status_codes` is the node's setting: whether they
    are shown where no plugin asks for them. Raises nothing for rows that passed validation.
    Time: O(routes + plugins).
    """
    instances = [row for row in table.get("plugins", {}).values() if row["name"] == "prometheus" and row["enabled"]]
    chooser = _Chooser(instances, status_codes)
    services, rows = table.get("services", {}), table.get("routes", {})
    overflow = {OVERFLOW_ROUTE: RouteLabels(OVERFLOW_NAME, OVERFLOW_NAME)}
    before = previous.routes if previous is not None else overflow
    # Deleted routes and the overflow follow the widest instance: which one was theirs can no longer be told.
    routes = {
        each: replace(labels, switches=chooser.any)
        for each, labels in before.items()
        if each not in rows and (each == OVERFLOW_ROUTE or is_counted(each))
    }
    for route_id, row in rows.items():
        service_id = _reference(row, "service")
        service = services.get(service_id or "")
        name = (service.get("name") or service.get("host") or "") if service else ""
        routes[route_id] = RouteLabels(name, row.get("name") or route_id, chooser.switches(route_id, service_id))
    known = previous.consumers if previous is not None else {}
    consumers = {each: name for each, name in known.items() if is_counted(each)}
    consumers.update((each, row.get("username") or "") for each, row in table.get("consumers", {}).items())
    health = any(row["config"].get("upstream_health_metrics") for row in instances)
    return LabelSets(routes, consumers, bool(instances), health)


def _reference(row: Row, name: str) -> str | None:
    value = row.get(name)
    return value["id"] if value else None


class _Chooser:
    """Which instance decides for a route: the most specific one that applies.

    A latency has no consumer label, so an instance that is bound to a consumer (or consumer group) cannot be told apart
    in the series: what it switches on is switched on for the routes it applies to.
    """

    def __init__(self, instances: Iterable[Row], status_codes: bool) -> None:
        self._status_codes = status_codes
        self._by_scope: dict[tuple[str | None, str | None], Switches] = {}
        self._of_consumers: list[tuple[str | None, str | None, Switches]] = []
        self.any = self._off = Switches(status_codes)
        for row in instances:
            switches = self._read(row["config"])
            scope = (_reference(row, "route"), _reference(row, "service"))
            self.any = _either(self.any, switches)
            if _reference(row, "consumer") or _reference(row, "consumer_group"):
                self._of_consumers.append((*scope, switches))
            else:
                self._by_scope[scope] = switches

    def switches(self, route_id: str, service_id: str | None) -> Switches:
        """The route's switches. Order: route and service, route, service, global."""
        scopes = ((route_id, service_id), (route_id, None), (None, service_id), (None, None))
        chosen = next((self._by_scope[scope] for scope in scopes if scope in self._by_scope), self._off)
        for route, service, switches in self._of_consumers:
            if route in (None, route_id) and service in (None, service_id):
                chosen = _either(chosen, switches)
        return chosen

    def _read(self, config: Row) -> Switches:
        return Switches(
            self._status_codes or bool(config.get("status_code_metrics")),
            latency=bool(config.get("latency_metrics")),
            bandwidth=bool(config.get("bandwidth_metrics")),
            per_consumer=bool(config.get("per_consumer")),
        )


def _either(one: Switches, other: Switches) -> Switches:
    return Switches(
        one.status_codes or other.status_codes,
        one.latency or other.latency,
        one.bandwidth or other.bandwidth,
        one.per_consumer or other.per_consumer,
    )
