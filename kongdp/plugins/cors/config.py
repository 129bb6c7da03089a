"""Settings of the cors plugin as an operator writes them.

Source: kong/plugins/cors/schema.lua 3.9; GET /schemas/plugins/cors of a live Kong 3.9.1.
"""

from kongdp.entities.regex import regex_problem
from kongdp.entities.schemas.common import array, boolean, number, string
from kongdp.entities.schemas.plugins import NO_CONSUMER, PROTOCOLS_HTTP, PluginSchema, config

METHODS = ("GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT")


def _origin_problem(origin: str) -> str | None:
    """An origin is text or a regular expression; `*` stands for all."""
    if origin == "*" or regex_problem(origin) is None:
        return None
    return f"'{origin}' is not a valid regex"


SCHEMA = PluginSchema(
    "cors",
    fields=(
        ("consumer", NO_CONSUMER),
        ("protocols", PROTOCOLS_HTTP),
        config(
            ("origins", array(string(validator=_origin_problem))),
            ("headers", array(string())),
            ("exposed_headers", array(string())),
            ("methods", array(string(one_of=METHODS), default=list(METHODS))),
            ("max_age", number()),
            ("credentials", boolean(required=True, default=False)),
            ("private_network", boolean(required=True, default=False)),
            ("preflight_continue", boolean(required=True, default=False)),
        ),
    ),
)
