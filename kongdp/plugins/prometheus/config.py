"""Settings of the prometheus plugin as an operator writes them.

Source: kong/plugins/prometheus/schema.lua 3.9; GET /schemas/plugins/prometheus of a live Kong 3.9.1.
"""

from kongdp.entities.schemas.common import boolean
from kongdp.entities.schemas.plugins import PROTOCOLS_ANY, PluginSchema, config

SCHEMA = PluginSchema(
    "prometheus",
    fields=(
        ("protocols", PROTOCOLS_ANY),
        config(
            ("per_consumer", boolean(default=False)),
            ("status_code_metrics", boolean(default=False)),
            ("ai_metrics", boolean(default=False)),
            ("latency_metrics", boolean(default=False)),
            ("bandwidth_metrics", boolean(default=False)),
            ("upstream_health_metrics", boolean(default=False)),
        ),
    ),
)
