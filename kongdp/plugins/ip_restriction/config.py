"""Settings of the ip-restriction plugin as an operator writes them.

Source: kong/plugins/ip-restriction/schema.lua 3.9; GET /schemas/plugins/ip-restriction of a live Kong 3.9.1.
"""

from kongdp.entities.addresses import ip_or_cidr_problem
from kongdp.entities.checks import AtLeastOneOf
from kongdp.entities.schemas.common import PROTOCOLS, array, number, set_of, string
from kongdp.entities.schemas.plugins import PluginSchema, config

_PROTOCOLS = set_of(
    string(required=True, one_of=PROTOCOLS, len_min=1),
    required=True,
    default=["http", "https", "tcp", "tls", "grpc", "grpcs"],
)

SCHEMA = PluginSchema(
    "ip-restriction",
    fields=(
        ("protocols", _PROTOCOLS),
        config(
            ("allow", array(string(validator=ip_or_cidr_problem))),
            ("deny", array(string(validator=ip_or_cidr_problem))),
            ("status", number(required=False)),
            ("message", string(required=False)),
        ),
    ),
    checks=(AtLeastOneOf(("config.allow", "config.deny")),),
)
