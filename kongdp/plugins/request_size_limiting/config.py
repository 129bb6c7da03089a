"""Settings of the request-size-limiting plugin as an operator writes them.

Source: kong/plugins/request-size-limiting/schema.lua 3.9; GET /schemas/plugins/request-size-limiting of a live Kong
3.9.1.
"""

from kongdp.entities.schemas.common import boolean, integer, string
from kongdp.entities.schemas.plugins import PROTOCOLS_HTTP, PluginSchema, config

SCHEMA = PluginSchema(
    "request-size-limiting",
    fields=(
        ("protocols", PROTOCOLS_HTTP),
        config(
            ("allowed_payload_size", integer(default=128)),
            ("size_unit", string(required=True, default="megabytes", one_of=("megabytes", "kilobytes", "bytes"))),
            ("require_content_length", boolean(required=True, default=False)),
        ),
    ),
)
