"""One schema for each collection, in an order in which a collection comes after those it refers to.

SCHEMAS serves the default router flavour and judges plugins by no configuration schema; `build_schemas` makes the set
of a node.
"""

from collections.abc import Callable, Container, Mapping
from types import MappingProxyType
from typing import Any

from kongdp.entities.schema import Schema
from kongdp.entities.schemas.balancing import TARGETS, UPSTREAMS
from kongdp.entities.schemas.certificates import CA_CERTIFICATES, CERTIFICATES, SNIS
from kongdp.entities.schemas.cluster import PARAMETERS, WORKSPACES
from kongdp.entities.schemas.consumers import (
    ACLS,
    BASICAUTH_CREDENTIALS,
    CONSUMERS,
    HMACAUTH_CREDENTIALS,
    JWT_SECRETS,
    KEYAUTH_CREDENTIALS,
)
from kongdp.entities.schemas.gateway import ROUTES, SERVICES, routes_schema
from kongdp.entities.schemas.keys import KEY_SETS, KEYS, VAULTS
from kongdp.entities.schemas.plugins import PluginSchema, plugins_schema

ROUTER_FLAVORS = ("traditional_compatible", "traditional", "expressions")

_IN_ORDER = (
    WORKSPACES,
    PARAMETERS,
    CERTIFICATES,
    CA_CERTIFICATES,
    SNIS,
    SERVICES,
    ROUTES,
    CONSUMERS,
    UPSTREAMS,
    TARGETS,
    KEY_SETS,
    KEYS,
    VAULTS,
    plugins_schema(None),
    KEYAUTH_CREDENTIALS,
    BASICAUTH_CREDENTIALS,
    JWT_SECRETS,
    ACLS,
    HMACAUTH_CREDENTIALS,
)

SCHEMAS: Mapping[str, Schema] = MappingProxyType({schema.name: schema for schema in _IN_ORDER})


def build_schemas(
    *,
    router_flavor: str = "traditional_compatible",
    plugins: Mapping[str, PluginSchema] | Container[str] | None = None,
    judge_expression: Callable[[Mapping[str, Any]], str | None] | None = None,
) -> Mapping[str, Schema]:
    """The schemas of a node: its router flavour, its plugins (see plugins_schema), its judge of route expressions.

    Raises ValueError for a flavour that does not exist.
    """
    if router_flavor not in ROUTER_FLAVORS:
        raise ValueError(f"router flavor {router_flavor!r}: expected one of {', '.join(ROUTER_FLAVORS)}")
    schemas = dict(SCHEMAS)
    if router_flavor != "traditional_compatible":
        schemas["routes"] = routes_schema(router_flavor, judge_expression)
    schemas["plugins"] = plugins_schema(plugins)
    return MappingProxyType(schemas)
