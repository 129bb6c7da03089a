"""Routes for tests and benches: a small builder, and routes read from a declarative configuration as Kong would read
it.

Ids that a configuration leaves out are derived from names as Kong derives them (uuid v5), so that ties fall as they
do there.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_IDS = uuid.UUID("fd02801f-0957-4a15-a55a-c8d9606f30b5")
_ROUTE_IDS = uuid.uuid5(_IDS, "routes")


@dataclass(frozen=True, slots=True)
class StubRoute:
    """A route with the attributes of routing.route.RouteLike and those the path table needs."""

    id: str
    name: str | None = None
    protocols: tuple[str, ...] = ("http", "https")
    methods: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    headers: tuple[tuple[str, tuple[str, ...]], ...] = ()
    snis: tuple[str, ...] = ()
    sources: tuple[Any, ...] = ()
    destinations: tuple[Any, ...] = ()
    regex_priority: int = 0
    created_at: int | None = None
    expression: str | None = None
    priority: int | None = None
    path_handling: str = "v0"
    strip_path: bool = True
    preserve_host: bool = False
    service_id: str | None = None
    service_path: str = "/"
    service_host: str = ""


def make_route(name: str, **fields: Any) -> StubRoute:
    """A route by name; its id follows from the name, lists may be given as such, headers as a mapping."""
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    if isinstance(given.get("headers"), Mapping):
        given["headers"] = tuple((key, tuple(values)) for key, values in given["headers"].items())
    given.setdefault("id", str(uuid.uuid5(_ROUTE_IDS, name)))
    return StubRoute(name=name, **given)


def number_id(number: int) -> str:
    """A uuid whose order among others is that of the number."""
    return str(uuid.UUID(int=number))


def routes_of_config(config: Mapping[str, Any]) -> list[StubRoute]:
    """The routes of a nested declarative configuration, each with its service's path and host:port."""
    return [make_route(**_fields(route, service)) for service, route in _nested(config)]


def _nested(config: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any] | None, Mapping[str, Any]]]:
    for service in config.get("services", ()):
        for route in service.get("routes", ()):
            yield service, route
    for route in config.get("routes", ()):
        yield None, route


def _fields(route: Mapping[str, Any], service: Mapping[str, Any] | None) -> dict[str, Any]:
    fields = {key: value for key, value in route.items() if key in StubRoute.__dataclass_fields__}
    if service is not None:
        url = urlsplit(service["url"])
        fields |= {"service_path": url.path or "/", "service_host": url.netloc}
    return fields


def ids(routes: Sequence[StubRoute]) -> dict[str, str]:
    """Names by id, to read results by."""
    return {route.id: route.name or route.id for route in routes}
