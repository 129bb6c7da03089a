"""Settings of the proxy-cache plugin as an operator writes them.

Source: kong/plugins/proxy-cache/schema.lua 3.9; GET /schemas/plugins/proxy-cache of a live Kong 3.9.1.
"""

from kongdp.entities.checks import Custom
from kongdp.entities.schemas.common import array, boolean, integer, record, string
from kongdp.entities.schemas.plugins import PROTOCOLS_ANY, PluginSchema, config

_RESPONSE_HEADERS = record(
    ("age", boolean(default=True)),
    ("X-Cache-Status", boolean(default=True)),
    ("X-Cache-Key", boolean(default=True)),
    required=True,
)

SCHEMA = PluginSchema(
    "proxy-cache",
    fields=(
        ("protocols", PROTOCOLS_ANY),
        config(
            (
                "response_code",
                array(integer(between=(100, 900)), required=True, default=[200, 301, 404], len_min=1),
            ),
            (
                "request_method",
                array(string(one_of=("HEAD", "GET", "POST", "PATCH", "PUT")), required=True, default=["GET", "HEAD"]),
            ),
            ("content_type", array(string(), required=True, default=["text/plain", "application/json"])),
            ("cache_ttl", integer(default=300, gt=0)),
            ("strategy", string(required=True, one_of=("memory",))),
            ("cache_control", boolean(required=True, default=False)),
            ("ignore_uri_case", boolean(required=False, default=False)),
            ("storage_ttl", integer()),
            ("memory", record(("dictionary_name", string(required=True, default="kong_db_cache")), required=True)),
            ("vary_query_params", array(string())),
            ("vary_headers", array(string())),
            ("response_headers", _RESPONSE_HEADERS),
        ),
    ),
    # Kong looks here for the shared dictionary that the settings name; there are none on this node.
    checks=(Custom(("config",), lambda plugin: None),),
)
