"""The schema of plugins, made from the configuration schemas that a node's plugins hand in.

This room knows no plugin. Each plugin's `config.py` holds a PluginSchema; whoever knows which plugins exist collects
them in a mapping (name -> PluginSchema) and passes that along. A plugin outside the mapping is refused, never passed
over.
Source: kong/db/schema/entities/plugins.lua and plugin_loader.lua 3.9; texts of a live Kong 3.9.1.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kongdp.entities.checks import EntityCheck
from kongdp.entities.field import Field
from kongdp.entities.schema import Schema, Variants
from kongdp.entities.schemas.common import (
    HTTP_PROTOCOLS,
    PROTOCOLS,
    boolean,
    entity_id,
    foreign,
    name_problem,
    record,
    set_of,
    string,
    tags,
    timestamp,
)
from kongdp.entities.shape import Shape

NOT_ENABLED = "plugin '%s' not enabled; add it to the 'plugins' configuration property"

PROTOCOLS_ANY = set_of(string(required=True, one_of=PROTOCOLS, len_min=1), required=True, default=list(HTTP_PROTOCOLS))
PROTOCOLS_HTTP = set_of(
    string(required=True, one_of=HTTP_PROTOCOLS, len_min=1), required=True, default=list(HTTP_PROTOCOLS)
)
NO_CONSUMER = foreign("consumers", eq=None)
NO_SERVICE = foreign("services", eq=None)
NO_ROUTE = foreign("routes", eq=None)


@dataclass(frozen=True, slots=True)
class PluginSchema:
    """What one plugin changes about the schema of plugins.

    `fields`: its `config` record, and its own `protocols`, `consumer`, `service` or `route` where they differ
    (NO_CONSUMER: may not be set for a consumer). `checks` may name fields within the configuration ("config.policy").
    """

    name: str
    fields: Sequence[tuple[str, Field]]
    checks: Sequence[EntityCheck] = ()

    def describe(self) -> dict[str, Any]:
        """What GET /schemas/plugins/{name} shows."""
        return {"entity_checks": [], **self._own_shape().describe()}

    def _own_shape(self) -> Shape:
        return Shape(self.fields, self.checks)


def config(*fields: tuple[str, Field], shape: Shape | None = None, **rules: Any) -> tuple[str, Field]:
    """The `config` field of a plugin."""
    return "config", record(*fields, shape=shape, required=True, **rules)


_FIELDS: tuple[tuple[str, Field], ...] = (
    entity_id(),
    ("name", string(required=True, len_min=1)),
    ("instance_name", string(unique=True, len_min=1, validator=name_problem)),
    timestamp("created_at"),
    timestamp("updated_at"),
    ("route", foreign("routes", default=None, on_delete="cascade")),
    ("service", foreign("services", default=None, on_delete="cascade")),
    ("consumer", foreign("consumers", default=None, on_delete="cascade")),
    ("config", Field(type="record", abstract=True)),
    ("protocols", set_of(string(one_of=PROTOCOLS), required=True, default=list(HTTP_PROTOCOLS))),
    ("enabled", boolean(required=True, default=True)),
    tags(),
)


def _shape(plugin: PluginSchema) -> Shape:
    own = dict(plugin.fields)
    return Shape(tuple((name, own.get(name, field)) for name, field in _FIELDS), plugin.checks)


def plugins_schema(plugins: Mapping[str, PluginSchema] | Container[str] | None) -> Schema:
    """The schema of plugins for a node that has these.

    A mapping judges each plugin's configuration. A plain container of names only judges the name, and None not even
    that: for tools that reshape files; what they let through is judged by a node later.
    """
    shapes: Mapping[str, Shape] = {}
    opaque = None
    if isinstance(plugins, Mapping):
        shapes = {name: _shape(plugin) for name, plugin in plugins.items()}
    elif plugins is None:
        opaque = Shape(_FIELDS)
    else:
        shapes = _OpaqueShapes(plugins, Shape(_FIELDS))
    return Schema(
        name="plugins",
        endpoint_key="instance_name",
        cache_key=("name", "route", "service", "consumer"),
        fields=_FIELDS,
        variants=Variants("name", shapes, unknown=NOT_ENABLED, any_shape=opaque),
    )


class _OpaqueShapes(Mapping[str, Shape]):
    """The same shape for each name of a container; the names cannot be listed."""

    def __init__(self, names: Container[str], shape: Shape) -> None:
        self._names, self._shape = names, shape

    def __getitem__(self, name: str) -> Shape:
        if name not in self._names:
            raise KeyError(name)
        return self._shape

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0
