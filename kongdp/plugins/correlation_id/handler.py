"""correlation-id: one id that the client, the upstream and the logs share.

Hot for its routes. Source: spec of bundled plugins, section 5; Kong 3.9 plugins/correlation-id/handler.lua.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from itertools import count

from kongdp.entities.model import Plugin
from kongdp.plugins.base import Answer, ExchangeView, Handler, Node

_WORKER = str(uuid.uuid4()).encode()
_COUNTER = count(1)
"""Of this worker: all instances number together, as in Kong."""


class CorrelationId(Handler):
    """One instance of correlation-id."""

    PRIORITY = 100001

    def __init__(self, plugin: Plugin, node: Node) -> None:
        super().__init__(plugin, node)
        config = plugin.config
        self._name = (config.get("header_name") or "Kong-Request-ID").encode()
        self._lower = self._name.lower()
        self._generate: Callable[[ExchangeView], bytes] = getattr(self, _GENERATORS[config["generator"]])
        if not config["echo_downstream"]:
            self.phases = self.phases - {"header_filter"}

    def access(self, exchange: ExchangeView) -> Answer | None:
        """Keep the client's id, or make one."""
        found = exchange.request_fields.first(self._lower)
        if not found:
            found = self._generate(exchange)
            exchange.request_fields.set(self._name, found)
        exchange.notes["correlation_id"] = found
        return None

    def header_filter(self, exchange: ExchangeView) -> None:
        """Tell the client; also where the request never came to access."""
        found = exchange.notes.get("correlation_id") or exchange.request_fields.first(self._lower)
        exchange.response_fields.set(self._name, found or self._generate(exchange))

    def _uuid(self, exchange: ExchangeView) -> bytes:
        return str(uuid.uuid4()).encode()

    def _numbered(self, exchange: ExchangeView) -> bytes:
        return b"%b#%d" % (_WORKER, next(_COUNTER))

    def _tracker(self, exchange: ExchangeView) -> bytes:
        address, port, connection, requests = exchange.connection
        text = f"{address}-{port}-{self.node.pid}-{connection}-{requests}-{self.node.wall():.3f}"
        return text.encode()


_GENERATORS = {"uuid": "_uuid", "uuid#counter": "_numbered", "tracker": "_tracker"}

HANDLER = CorrelationId
