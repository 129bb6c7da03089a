"""prometheus: in a worker it only says whether requests are counted for their consumers.

Everything else is counted always, because it costs next to nothing; which families /metrics shows is worked out by the agent from the
same entities (telemetry/labels.py). So a route whose only plugin this is has no plugins to run at all.
Source: spec of metrics, section 2.4; Kong 3.9 plugins/prometheus/handler.lua (the log phase alone).
"""

from __future__ import annotations

from kongdp.entities.model import Plugin
from kongdp.plugins.base import Handler, Node


class Prometheus(Handler):
    """One instance of prometheus."""

    PRIORITY = 13

    def __init__(self, plugin: Plugin, node: Node) -> None:
        super().__init__(plugin, node)
        self.counts_consumers = bool(plugin.config.get("per_consumer"))


HANDLER = Prometheus
