"""request-size-limiting: how long a request's body may be.

A body that states no length is measured as it passes; the moment it is too long the request ends, whatever of it went on.
Hot for its routes. Source: spec of bundled plugins, section 3; Kong 3.9 plugins/request-size-limiting/handler.lua (which reads the
whole body first).
"""

from __future__ import annotations

from kongdp.entities.model import Plugin
from kongdp.plugins.base import Answer, ExchangeView, Handler, Node, error

UNITS = {"megabytes": 1 << 20, "kilobytes": 1 << 10, "bytes": 1}

TOO_LONG = "Request size limit exceeded"


class RequestSizeLimiting(Handler):
    """One instance of request-size-limiting."""

    PRIORITY = 951

    def __init__(self, plugin: Plugin, node: Node) -> None:
        super().__init__(plugin, node)
        config = plugin.config
        self._bytes_max = int(config.get("allowed_payload_size") or 128) * UNITS[config["size_unit"]]
        self._needs_length = bool(config["require_content_length"])
        self._too_long = error(413, TOO_LONG)

    def access(self, exchange: ExchangeView) -> Answer | None:
        """By the stated length, or by what comes."""
        fields = exchange.request_fields
        stated = fields.first(b"content-length")
        if stated is not None:
            if int(stated) <= self._bytes_max:
                return None
            return error(417, TOO_LONG) if fields.first(b"expect") == b"100-continue" else self._too_long
        if self._needs_length and fields.first(b"transfer-encoding") != b"chunked":
            return error(411, "A valid Content-Length header is required")
        exchange.limit_body(self._bytes_max, self._too_long)
        return None


HANDLER = RequestSizeLimiting
