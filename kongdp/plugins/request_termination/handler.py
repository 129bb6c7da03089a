"""request-termination: an answer instead of the upstream's.

Hot for its routes. Source: spec of bundled plugins, section 3; Kong 3.9 plugins/request-termination/handler.lua.
"""

from __future__ import annotations

from typing import Any

import orjson

from kongdp.entities.model import Plugin
from kongdp.plugins.base import JSON_TYPE, Answer, ExchangeView, Handler, Node, exit_json
from kongdp.plugins.bodies import read_body
from kongdp.plugins.entries import argument_table, entity, field_table
from kongdp.plugins.fields import arguments

MESSAGES = {
    401: "Unauthorized",
    404: "Not found",
    405: "Method not allowed",
    500: "An unexpected error occurred",
    502: "Bad Gateway",
    503: "Service unavailable",
}


class RequestTermination(Handler):
    """One instance of request-termination."""

    PRIORITY = 2

    def __init__(self, plugin: Plugin, node: Node) -> None:
        super().__init__(plugin, node)
        config = plugin.config
        self._status: int = config["status_code"]
        trigger = config.get("trigger")
        self._trigger = trigger.encode() if trigger else None
        self._echoes = self.waits = bool(config.get("echo"))
        self._message: str | None = config.get("message") or MESSAGES.get(self._status)
        body, content_type = config.get("body"), config.get("content_type")
        if body is not None:
            self._answer = Answer(
                self._status, body=body.encode(), content_type=content_type.encode() if content_type else None
            )
        elif self._message is not None:
            self._answer = exit_json(self._status, {"message": self._message})
        else:
            self._answer = Answer(self._status)

    def access(self, exchange: ExchangeView) -> Answer | None:
        """The answer, unless it waits for a trigger that is not there."""
        return self._answer if self._is_triggered(exchange) else None

    async def access_waiting(self, exchange: ExchangeView) -> Answer | None:
        """The answer that shows what was asked."""
        if not self._is_triggered(exchange):
            return None
        shown = self._shown(exchange, await exchange.body())
        return Answer(self._status, body=orjson.dumps(shown), content_type=JSON_TYPE)

    def _is_triggered(self, exchange: ExchangeView) -> bool:
        name = self._trigger
        if name is None or name.lower() in exchange.request_fields:
            return True
        return any(argument == name for argument, _ in arguments(exchange.query))

    def _shown(self, exchange: ExchangeView, body: bytes | None) -> dict[str, Any]:
        raw = (body or b"").decode("utf-8", "replace")
        form = read_body(exchange.request_fields.first(b"content-type"), body) if body else None
        return {
            "message": self._message,
            "kong": {"node_id": self.node.id, "worker_pid": self.node.pid, "hostname": self.node.hostname},
            "request": {
                "scheme": exchange.scheme.decode(),
                "host": exchange.host.decode("latin-1"),
                "port": exchange.port,
                "headers": field_table(exchange.request_fields),
                "query": argument_table(exchange.query),
                "body": form.as_table() if form is not None else {},
                "raw_body": raw,
                "method": exchange.method.decode("latin-1"),
                "path": exchange.raw_path.decode("latin-1"),
                "uri_captures": exchange.captures,
            },
            "matched_route": entity(exchange.route),
            "matched_service": entity(exchange.service),
        }


HANDLER = RequestTermination
