"""Settings of the jwt plugin as an operator writes them.

Source: kong/plugins/jwt/schema.lua 3.9; GET /schemas/plugins/jwt of a live Kong 3.9.1.
"""

from kongdp.entities.checks import Conditional
from kongdp.entities.schemas.common import boolean, number, set_of, string
from kongdp.entities.schemas.plugins import NO_CONSUMER, PROTOCOLS_HTTP, PluginSchema, config

SCHEMA = PluginSchema(
    "jwt",
    fields=(
        ("consumer", NO_CONSUMER),
        ("protocols", PROTOCOLS_HTTP),
        config(
            ("uri_param_names", set_of(string(), default=["jwt"])),
            ("cookie_names", set_of(string(), default=[])),
            ("key_claim_name", string(default="iss")),
            ("secret_is_base64", boolean(required=True, default=False)),
            ("claims_to_verify", set_of(string(one_of=("exp", "nbf")))),
            ("anonymous", string()),
            ("run_on_preflight", boolean(required=True, default=True)),
            ("maximum_expiration", number(default=0, between=(0, 31536000))),
            ("header_names", set_of(string(), default=["authorization"])),
            ("realm", string(required=False)),
        ),
    ),
    checks=(Conditional("config.maximum_expiration", {"gt": 0}, "config.claims_to_verify", {"contains": "exp"}),),
)
