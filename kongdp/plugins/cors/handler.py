"""cors: which origins a browser may let read the answers (Fetch standard, CORS protocol).

Hot for its routes. Source: spec of bundled plugins, section 3; Kong 3.9 plugins/cors/handler.lua.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from kongdp.entities.model import Plugin
from kongdp.entities.regex import compile_regex
from kongdp.plugins.base import Answer, ExchangeView, Handler, Line, Node

_PLAIN = re.compile(r"[A-Za-z0-9.:/-]+\Z")
_DEFAULT_PORTS = {"http": 80, "https": 443}

ORIGIN, CREDENTIALS = b"Access-Control-Allow-Origin", b"Access-Control-Allow-Credentials"
VARY: Line = (b"Vary", b"Origin")
_ANYBODY: list[Line] = [(ORIGIN, b"*")]


class _Origin:
    """One of several allowed origins: text, or a regular expression that must match the whole."""

    def __init__(self, entry: str) -> None:
        self._by_origin = ":" in entry
        self._text = None
        if _PLAIN.match(entry):
            self._text = normalized(entry)
        else:
            self._regex: Any = compile_regex(entry)

    def allows(self, origin: str, host: str) -> bool:
        """Whether a request's origin is this one; a regular expression without ":" looks at the host alone."""
        if self._text is not None:
            return self._text == origin
        return self._regex.fullmatch(origin if self._by_origin else host) is not None


class Cors(Handler):
    """One instance of cors."""

    PRIORITY = 2000

    def __init__(self, plugin: Plugin, node: Node) -> None:
        super().__init__(plugin, node)
        config = plugin.config
        origins = config.get("origins") or []
        self._any = not origins or origins == ["*"]
        self._only = origins[0].encode() if len(origins) == 1 and not self._any and _PLAIN.match(origins[0]) else None
        self._several = [_Origin(entry) for entry in origins if entry != "*"]
        self._any_among = "*" in origins
        self._credentials = bool(config["credentials"])
        self._continues = bool(config["preflight_continue"])
        self._private = bool(config["private_network"])
        self._answers_absent = config.get("allow_origin_absent", True)
        self._headers = ",".join(config.get("headers") or ()).encode()
        self._methods = ",".join(config.get("methods") or ()).encode()
        self._exposed = ",".join(config.get("exposed_headers") or ()).encode()
        age = config.get("max_age")
        self._max_age = None if age is None else b"%d" % age if age == int(age) else str(age).encode()

    def access(self, exchange: ExchangeView) -> Answer | None:
        """Answer a preflight, unless the upstream is to do it."""
        asked = exchange.request_fields
        if exchange.method != b"OPTIONS" or b"origin" not in asked or b"access-control-request-method" not in asked:
            return None
        exchange.notes["cors"] = "preflight"
        if self._continues:
            return None
        lines = [line for line in self._origin_lines(exchange) if line[1]]
        allowed = self._headers or asked.first(b"access-control-request-headers")
        if allowed:
            lines.append((b"Access-Control-Allow-Headers", allowed))
        lines.append((b"Access-Control-Allow-Methods", self._methods))
        if self._max_age is not None:
            lines.append((b"Access-Control-Max-Age", self._max_age))
        if self._private and asked.first(b"access-control-request-private-network") == b"true":
            lines.append((b"Access-Control-Allow-Private-Network", b"true"))
        return Answer(200, fields=lines)

    def header_filter(self, exchange: ExchangeView) -> None:
        """Tell the browser who may read this answer."""
        if "cors" in exchange.notes or (not self._answers_absent and b"origin" not in exchange.request_fields):
            return
        fields = exchange.response_fields
        for name, value in self._origin_lines(exchange):
            if name == b"Vary":
                fields.add(name, value)
            elif value:
                fields.set(name, value)
            else:
                fields.remove(name.lower())
        if self._exposed:
            fields.set(b"Access-Control-Expose-Headers", self._exposed)

    def _origin_lines(self, exchange: ExchangeView) -> list[Line]:
        """The fields that depend on the origin; an empty value takes the field away."""
        if self._any and not self._credentials:
            return _ANYBODY
        asked = exchange.request_fields.first(b"origin")
        if self._any:
            return [(ORIGIN, asked), VARY, (CREDENTIALS, b"true")] if asked else _ANYBODY
        allowed = self._only if self._only is not None else self._allowed(asked)
        lines = [(ORIGIN, allowed), VARY]
        return [*lines, (CREDENTIALS, b"true")] if self._credentials else lines

    def _allowed(self, asked: bytes | None) -> bytes:
        """The request's origin where it is one of several, else nothing."""
        if not asked:
            return b""
        origin = normalized(asked.decode("latin-1"))
        host = _host(origin)
        found = self._any_among or any(each.allows(origin, host) for each in self._several)
        return origin.encode("latin-1") if found else b""


def normalized(origin: str) -> str:
    """An origin in lower case without the port its scheme has anyway."""
    lower = origin.lower()
    try:
        parts = urlsplit(lower)
        port = parts.port
    except ValueError:
        return lower
    if not parts.hostname or port is None or port != _DEFAULT_PORTS.get(parts.scheme):
        return lower
    return lower.removesuffix(f":{port}")


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).hostname or origin
    except ValueError:
        return origin


HANDLER = Cors
