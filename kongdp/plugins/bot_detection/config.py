"""Settings of the bot-detection plugin as an operator writes them.

Source: kong/plugins/bot-detection/schema.lua 3.9; GET /schemas/plugins/bot-detection of a live Kong 3.9.1.
"""

from kongdp.entities.schemas.common import array, string
from kongdp.entities.schemas.plugins import NO_CONSUMER, PROTOCOLS_HTTP, PluginSchema, config

SCHEMA = PluginSchema(
    "bot-detection",
    fields=(
        ("consumer", NO_CONSUMER),
        ("protocols", PROTOCOLS_HTTP),
        config(
            ("allow", array(string(is_regex=True), default=[])),
            ("deny", array(string(is_regex=True), default=[])),
        ),
    ),
)
