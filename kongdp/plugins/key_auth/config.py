"""Settings of the key-auth plugin as an operator writes them.

Source: kong/plugins/key-auth/schema.lua 3.9; GET /schemas/plugins/key-auth of a live Kong 3.9.1.
"""

from kongdp.entities.schemas.common import array, boolean, header_name_problem, string
from kongdp.entities.schemas.plugins import NO_CONSUMER, PROTOCOLS_HTTP, PluginSchema, config

SCHEMA = PluginSchema(
    "key-auth",
    fields=(
        ("consumer", NO_CONSUMER),
        ("protocols", PROTOCOLS_HTTP),
        config(
            ("key_names", array(string(validator=header_name_problem), required=True, default=["apikey"])),
            ("hide_credentials", boolean(required=True, default=False)),
            ("anonymous", string()),
            ("key_in_header", boolean(required=True, default=True)),
            ("key_in_query", boolean(required=True, default=True)),
            ("key_in_body", boolean(required=True, default=False)),
            ("run_on_preflight", boolean(required=True, default=True)),
            ("realm", string(required=False)),
        ),
    ),
)
