"""Which plugin instances a route has, worked out when the configuration changes.

In: Plugin entities.  Out: a PluginTable (handlers, and their scopes by plugin name) and for each route a Chain in order of priority.
House rules: one instance of a name runs for a request, the most specific one; settings are never merged. A handler is kept, with its
state, while its entity is unchanged. Consumers are looked at by request time alone, so credentials never touch a chain.
Cold: once for a change, once for a plan; `Slot.pick` is hot for routes with instances that belong to a consumer.
Source: Kong 3.9 runloop/plugins_iterator.lua (COMBO order).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kongdp.entities.model import Plugin
from kongdp.plugins.base import ACCESS, BODY_FILTER, HEADER_FILTER, LOG, REWRITE, Handler, Node, Secrets
from kongdp.plugins.registry import build
from kongdp.telemetry.access_log import SECRET_ARGUMENTS, Redaction

Scope = tuple[str | None, str | None, str | None]
"""Ids of route, service and consumer; None: any."""

HANDLERS_PER_STEP = 50
"""Handlers made between two yields; compiling regular expressions may take some microseconds each."""


@dataclass(frozen=True, slots=True)
class Chain:
    """The handlers of a request, or of all requests of a route, by phase and in order of priority."""

    access: tuple[Handler, ...]
    header_filters: tuple[Handler, ...]
    body_filters: tuple[Handler, ...]
    logs: tuple[Handler, ...]
    alters_body: bool
    counts_consumers: bool

    @property
    def is_idle(self) -> bool:
        """Whether no handler ever has anything to do."""
        return not (self.access or self.header_filters or self.body_filters or self.logs)

    @classmethod
    def of(cls, handlers: Iterable[Handler]) -> Chain:
        """The chain of these handlers, given in order of priority."""
        every = tuple(handlers)

        def having(phase: str) -> tuple[Handler, ...]:
            return tuple(handler for handler in every if phase in handler.phases)

        return cls(
            having(ACCESS),
            having(HEADER_FILTER),
            having(BODY_FILTER),
            having(LOG),
            any(handler.alters_body for handler in every),
            any(handler.counts_consumers for handler in every),
        )


NO_HANDLERS = Chain.of(())


@dataclass(slots=True)
class Scopes:
    """The instances of one plugin by scope."""

    priority: int
    handlers: dict[Scope, Handler] = field(default_factory=dict)
    of_consumers: bool = False

    def add(self, handler: Handler) -> None:
        """One more instance."""
        plugin = handler.plugin
        self.handlers[plugin.route_id, plugin.service_id, plugin.consumer_id] = handler
        self.of_consumers = self.of_consumers or plugin.consumer_id is not None

    def slot(self, route_id: str | None, service_id: str | None) -> Slot | None:
        """Where this plugin stands on a route, or None when no instance can ever apply."""
        scopes: list[Scope] = [(route_id, service_id, None), (route_id, None, None), (None, service_id, None)]
        found = [self.handlers[scope] for scope in (*scopes, (None, None, None)) if scope in self.handlers]
        if not found and not self.of_consumers:
            return None
        return Slot(self, route_id, service_id, found[0] if found else None)


@dataclass(frozen=True, slots=True)
class Slot:
    """One plugin on one route: `plain` is its instance for requests without consumer."""

    scopes: Scopes
    route_id: str | None
    service_id: str | None
    plain: Handler | None

    @property
    def is_fixed(self) -> bool:
        """Whether the consumer makes no difference."""
        return not self.scopes.of_consumers

    def pick(self, consumer_id: str | None) -> Handler | None:
        """The most specific instance: with consumer and route or service, route and service, consumer, route, service, global."""
        if consumer_id is None:
            return self.plain
        handlers, route_id, service_id = self.scopes.handlers, self.route_id, self.service_id
        for scope in (
            (route_id, service_id, consumer_id),
            (route_id, None, consumer_id),
            (None, service_id, consumer_id),
            (route_id, service_id, None),
            (None, None, consumer_id),
        ):
            if scope in handlers:
                return handlers[scope]
        return self.plain

    def candidates(self) -> list[Handler]:
        """Every instance that may be picked here."""
        mine = (None, self.route_id), (None, self.service_id)
        return [
            handler
            for (route_id, service_id, _), handler in self.scopes.handlers.items()
            if route_id in mine[0] and service_id in mine[1]
        ]


@dataclass(frozen=True, slots=True)
class RoutePlugins:
    """The plugins of one route. `fixed`: the chain, where no consumer changes it; else `slots` are picked for each request.

    `waits`: some handler that may be picked waits in access, so access runs in a task.
    """

    slots: tuple[Slot, ...]
    fixed: Chain | None
    waits: bool
    has_body_filters: bool


class PluginTable:
    """All plugins of one configuration."""

    __slots__ = ("_handlers", "_scopes", "everywhere", "rewrites", "secrets")

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers
        scopes: dict[str, Scopes] = {}
        for handler in handlers.values():
            name = handler.plugin.name
            if name not in scopes:
                scopes[name] = Scopes(handler.PRIORITY)
            scopes[name].add(handler)
        self._scopes = sorted(scopes.values(), key=lambda each: -each.priority)
        names = frozenset[bytes]().union(*(handler.secret_names for handler in handlers.values()))
        self.secrets = Secrets(names, Redaction(SECRET_ARGUMENTS | names))
        # what runs for requests that matched no route
        found = [each.handlers[None, None, None] for each in self._scopes if (None, None, None) in each.handlers]
        everywhere = Chain.of(found)
        self.everywhere = None if everywhere.is_idle else everywhere
        self.rewrites = tuple(handler for handler in found if REWRITE in handler.phases)

    def close(self, successor: PluginTable | None = None) -> None:
        """Tell the handlers that `successor` does not have any more."""
        kept = successor._handlers if successor is not None else {}
        for id_, handler in self._handlers.items():
            if kept.get(id_) is not handler:
                handler.close()

    def of_route(self, route_id: str, service_id: str | None) -> RoutePlugins | None:
        """The plugins of a route, None when it has none."""
        if not self._scopes:
            return None
        slots = tuple(slot for slot in (each.slot(route_id, service_id) for each in self._scopes) if slot is not None)
        if not slots:
            return None
        candidates = [handler for slot in slots for handler in slot.candidates()]
        fixed = None
        if all(slot.is_fixed for slot in slots):
            fixed = Chain.of(slot.plain for slot in slots if slot.plain is not None)
            if fixed.is_idle:
                return None
        return RoutePlugins(
            slots,
            fixed,
            waits=any(handler.waits for handler in candidates),
            has_body_filters=any(BODY_FILTER in handler.phases for handler in candidates),
        )

    def after(
        self, before: Mapping[str, Plugin], now: Mapping[str, Plugin], node: Node
    ) -> Generator[None, None, PluginTable]:
        """The table of `now`; handlers of entities that are the same objects in `before` are kept. Raises PluginError."""
        handlers: dict[str, Handler] = {}
        for count, (id_, plugin) in enumerate(now.items()):
            if count % HANDLERS_PER_STEP == HANDLERS_PER_STEP - 1:
                yield
            if plugin.enabled:
                kept = self._handlers.get(id_) if before.get(id_) is plugin else None
                handlers[id_] = kept or build(plugin, node)
        return PluginTable(handlers)


NO_PLUGINS = PluginTable({})


def touched(before: Mapping[str, Any], now: Mapping[str, Any], ids: Iterable[str]) -> tuple[set[str], set[str], bool]:
    """Ids of routes and of services whose plans the changed plugins `ids` concern, and whether it is every plan."""
    routes: set[str] = set()
    services: set[str] = set()
    for id_ in ids:
        for plugin in (before.get(id_), now.get(id_)):
            if plugin is None:
                continue
            if plugin.route_id is not None:
                routes.add(plugin.route_id)
            elif plugin.service_id is not None:
                services.add(plugin.service_id)
            else:
                return routes, services, True
    return routes, services, False
