"""Settings of the acl plugin as an operator writes them.

Source: kong/plugins/acl/schema.lua 3.9; GET /schemas/plugins/acl of a live Kong 3.9.1.
"""

from kongdp.entities.checks import AtLeastOneOf, OnlyOneOf
from kongdp.entities.schemas.common import array, boolean, string
from kongdp.entities.schemas.plugins import NO_CONSUMER, PROTOCOLS_HTTP, PluginSchema, config

_LISTS = ("config.allow", "config.deny")

SCHEMA = PluginSchema(
    "acl",
    fields=(
        ("consumer", NO_CONSUMER),
        ("protocols", PROTOCOLS_HTTP),
        config(
            ("allow", array(string())),
            ("deny", array(string())),
            ("hide_groups_header", boolean(required=True, default=False)),
            ("always_use_authenticated_groups", boolean(required=True, default=False)),
        ),
    ),
    checks=(OnlyOneOf(_LISTS), AtLeastOneOf(_LISTS)),
)
