"""Settings of the file-log plugin as an operator writes them.

Source: kong/plugins/file-log/schema.lua 3.9; GET /schemas/plugins/file-log of a live Kong 3.9.1.
"""

from kongdp.entities.schemas.common import boolean, map_of, string
from kongdp.entities.schemas.plugins import PROTOCOLS_ANY, PluginSchema, config

SCHEMA = PluginSchema(
    "file-log",
    fields=(
        ("protocols", PROTOCOLS_ANY),
        config(
            ("path", string(required=True, match="^[^*&%%\\`]+$", err="not a valid filename")),
            ("reopen", boolean(required=True, default=False)),
            ("custom_fields_by_lua", map_of(string(len_min=1), string(len_min=1))),
        ),
    ),
)
