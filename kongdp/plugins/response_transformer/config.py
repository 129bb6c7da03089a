"""Settings of the response-transformer plugin as an operator writes them.

Source: kong/plugins/response-transformer/schema.lua 3.9; GET /schemas/plugins/response-transformer of a live Kong
3.9.1.
"""

from kongdp.entities.field import Field
from kongdp.entities.schemas.common import array, record, string
from kongdp.entities.schemas.plugins import PROTOCOLS_HTTP, PluginSchema, config

_TYPES = ("boolean", "number", "string")


def _names() -> Field:
    return array(string(), required=True, default=[])


def _pairs() -> Field:
    return array(string(match="^[^:]+:.*$"), required=True, default=[])


def _typed_pairs() -> Field:
    return record(
        ("json", _pairs()),
        ("json_types", array(string(one_of=_TYPES), required=True, default=[])),
        ("headers", _pairs()),
        required=True,
    )


SCHEMA = PluginSchema(
    "response-transformer",
    fields=(
        ("protocols", PROTOCOLS_HTTP),
        config(
            ("remove", record(("json", _names()), ("headers", _names()), required=True)),
            ("rename", record(("json", _pairs()), ("headers", _pairs()), required=True)),
            ("replace", _typed_pairs()),
            ("add", _typed_pairs()),
            ("append", _typed_pairs()),
        ),
    ),
)
