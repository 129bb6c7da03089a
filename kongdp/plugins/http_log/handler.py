"""http-log: entries sent to an HTTP server, one object or an array of them in each request.

Instances with the same destination share an outbox, whose thread keeps one connection. Certificates are not verified, as in Kong.
Source: spec of bundled plugins, section 5; Kong 3.9 plugins/http-log/handler.lua.
"""

from __future__ import annotations

import base64
import http.client
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from kongdp.entities.model import Plugin
from kongdp.plugins.base import ExchangeView, Handler, Node, no_lua
from kongdp.plugins.log_entry import log_entry
from kongdp.plugins.outbox import DeliveryError, Outbox, OutboxLimits, shared


class HttpLog(Handler):
    """One instance of http-log."""

    PRIORITY = 12

    def __init__(self, plugin: Plugin, node: Node) -> None:
        super().__init__(plugin, node)
        no_lua(plugin)
        config = plugin.config
        limits = _limits(config.get("queue") or {})
        destination = Destination(config, is_batched=limits.batch_max > 1)
        names = ("http_endpoint", "method", "content_type", "timeout", "keepalive")
        key = ("http", *(config.get(name) for name in names), orjson.dumps(config.get("headers") or {}), limits)
        self._outbox = shared(
            key, lambda: Outbox(f"http-log {destination.host}", destination.send, limits, destination.close)
        )

    def log(self, exchange: ExchangeView) -> None:
        """One entry."""
        self._outbox.put(orjson.dumps(log_entry(exchange, self.node)))


def _limits(queue: Mapping[str, Any]) -> OutboxLimits:
    patience = queue.get("max_retry_time", 60)
    return OutboxLimits(
        batch_max=int(queue.get("max_batch_size") or 1),
        coalescing_s=float(queue.get("max_coalescing_delay") or 0),
        entries_max=int(queue.get("max_entries") or 10000),
        bytes_max=int(queue.get("max_bytes") or 64 << 20),
        retry_s=float(60 if patience is None else patience),
        first_delay_s=float(queue.get("initial_retry_delay") or 0.01),
        delay_max_s=float(queue.get("max_retry_delay") or 60),
    )


class Destination:
    """Where entries go; used by one thread."""

    def __init__(self, config: Mapping[str, Any], *, is_batched: bool) -> None:
        parts = urlsplit(config["http_endpoint"])
        self.host = parts.hostname or ""
        self._secure = parts.scheme == "https"
        self._port = parts.port
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._method = config.get("method") or "POST"
        self._timeout_s = float(config.get("timeout") or 10000) / 1000
        self._is_batched = is_batched
        self._fields = {
            "Content-Type": config.get("content_type") or "application/json",
            **(config.get("headers") or {}),
        }
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._fields["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        self._connection: http.client.HTTPConnection | None = None

    def send(self, entries: Sequence[bytes]) -> None:
        """One request. Raises DeliveryError for anything but success."""
        body = b"[" + b",".join(entries) + b"]" if self._is_batched else entries[0]
        try:
            connection = self._connection or self._open()
            connection.request(self._method, self._target, body, self._fields)
            with connection.getresponse() as response:
                response.read()
                status = response.status
        except (OSError, http.client.HTTPException) as problem:
            self.close()
            raise DeliveryError(f"{type(problem).__name__}: {problem}") from None
        if status >= 300:
            raise DeliveryError(f"it answers {status}")

    def _open(self) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self._connection = http.client.HTTPSConnection(
                self.host, self._port, timeout=self._timeout_s, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(self.host, self._port, timeout=self._timeout_s)
        return self._connection

    def close(self) -> None:
        """The connection, until the next entry."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


HANDLER = HttpLog
