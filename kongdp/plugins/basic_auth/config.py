"""Settings of the basic-auth plugin as an operator writes them.

Source: kong/plugins/basic-auth/schema.lua 3.9; GET /schemas/plugins/basic-auth of a live Kong 3.9.1.
"""

from kongdp.entities.schemas.common import boolean, string
from kongdp.entities.schemas.plugins import NO_CONSUMER, PROTOCOLS_HTTP, PluginSchema, config

SCHEMA = PluginSchema(
    "basic-auth",
    fields=(
        ("consumer", NO_CONSUMER),
        ("protocols", PROTOCOLS_HTTP),
        config(
            ("anonymous", string()),
            ("hide_credentials", boolean(required=True, default=False)),
            ("realm", string(required=True, default="service")),
        ),
    ),
)
