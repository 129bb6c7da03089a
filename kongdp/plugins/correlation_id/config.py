"""Settings of the correlation-id plugin as an operator writes them.

Source: kong/plugins/correlation-id/schema.lua 3.9; GET /schemas/plugins/correlation-id of a live Kong 3.9.1.
"""

from kongdp.entities.schemas.common import boolean, string
from kongdp.entities.schemas.plugins import PROTOCOLS_HTTP, PluginSchema, config

SCHEMA = PluginSchema(
    "correlation-id",
    fields=(
        ("protocols", PROTOCOLS_HTTP),
        config(
            ("header_name", string(default="Kong-Request-ID")),
            ("generator", string(required=True, default="uuid#counter", one_of=("uuid", "uuid#counter", "tracker"))),
            ("echo_downstream", boolean(required=True, default=False)),
        ),
    ),
)
