"""response-transformer: edit what goes to the client: fields, and values at the top of a JSON body.

Each goes through remove, rename, replace, add and append, in this order. Runs over answers of the gateway itself, too.
Hot for its routes. A JSON body is held until it is whole, up to JSON_BYTES_MAX; a longer one, or one that is no JSON object, passes as
it came. Source: spec of bundled plugins, section 4; Kong 3.9 plugins/response-transformer/{header,body}_transformer.lua.
"""

from __future__ import annotations

import logging
from typing import Any

import orjson

from kongdp.entities.model import Plugin
from kongdp.plugins.base import BODY_FILTER, ExchangeView, Handler, Node

log = logging.getLogger("kongdp.plugins")

JSON_BYTES_MAX = 8 << 20
"""Held of a body to be edited, for each exchange."""

NOTE = "response-transformer"

Pairs = list[tuple[str, str]]


class ResponseTransformer(Handler):
    """One instance of response-transformer."""

    PRIORITY = 800
    alters_body = True

    def __init__(self, plugin: Plugin, node: Node) -> None:
        super().__init__(plugin, node)
        config = plugin.config
        self._remove = [name.encode() for name in config["remove"]["headers"]]
        self._rename, self._replace, self._add, self._append = (
            [(name.encode(), value.encode()) for name, value in _pairs(config[operation]["headers"])]
            for operation in ("rename", "replace", "add", "append")
        )
        self._json_remove: list[str] = config["remove"]["json"]
        self._json_rename = _pairs(config["rename"]["json"])
        self._json_replace, self._json_add, self._json_append = (
            _typed(config[operation]) for operation in ("replace", "add", "append")
        )
        edits = (self._json_remove, self._json_rename, self._json_replace, self._json_add, self._json_append)
        if not any(edits):
            self.phases = self.phases - {BODY_FILTER}
            self.alters_body = False

    def header_filter(self, exchange: ExchangeView) -> None:
        """Edit the fields, and note whether the body is to be."""
        fields = exchange.response_fields
        content_type = fields.first(b"content-type") or b""
        if BODY_FILTER in self.phases and b"application/json" in content_type.lower():
            exchange.notes[NOTE] = []
        for name in self._remove:
            fields.remove(name.lower())
        for name, fresh in self._rename:
            values = list(fields.all(name.lower()))
            fields.remove(name.lower())
            for value in values:
                fields.add(fresh, value)
        for name, value in self._replace:
            if name.lower() in fields:
                fields.set(name, value)
        for name, value in self._add:
            if name.lower() not in fields:
                fields.add(name, value)
        for name, value in self._append:
            fields.add(name, value)

    def body_filter(self, exchange: ExchangeView, data: bytes, ended: bool) -> bytes:
        """Hold a JSON body until it is whole, then edit it."""
        held: list[bytes] | None = exchange.notes.get(NOTE)
        if held is None:
            return data
        held.append(data)
        if ended:
            exchange.notes[NOTE] = None
            return self._edited(b"".join(held))
        if sum(map(len, held)) > JSON_BYTES_MAX:
            log.warning("response-transformer: a JSON body of more than %d bytes passes unchanged", JSON_BYTES_MAX)
            exchange.notes[NOTE] = None
            return b"".join(held)
        return b""

    def _edited(self, body: bytes) -> bytes:
        try:
            table = orjson.loads(body)
        except orjson.JSONDecodeError:
            return body
        if not isinstance(table, dict):
            return body
        for name in self._json_remove:
            table.pop(name, None)
        for name, fresh in self._json_rename:
            if name in table:
                table[fresh] = table.pop(name)
        for name, value in self._json_replace:
            if name in table:
                table[name] = value
        for name, value in self._json_add:
            table.setdefault(name, value)
        for name, value in self._json_append:
            held = table.get(name)
            before = held if isinstance(held, list) else [] if held is None else [held]
            table[name] = [*before, value]
        return orjson.dumps(table)


def _pairs(texts: list[str]) -> Pairs:
    return [(name, value) for name, _, value in (text.partition(":") for text in texts)]


def _typed(operation: dict[str, Any]) -> list[tuple[str, Any]]:
    """Names and values, each value of the type that stands at its place in json_types."""
    types = [*operation["json_types"], *["string"] * len(operation["json"])]
    return [(name, _cast(value, kind)) for (name, value), kind in zip(_pairs(operation["json"]), types, strict=False)]


def _cast(value: str, kind: str) -> Any:
    if kind == "boolean":
        return value == "true"
    if kind == "number":
        try:
            return int(value)
        except ValueError:
            pass
        try:
            return float(value)
        except ValueError:
            return None  # as Lua's tonumber
    return value


HANDLER = ResponseTransformer
