"""bot-detection: refuse clients whose User-Agent says that they are robots.

Allowed patterns first, then denied ones, then names that robots give themselves. Expressions run in linear time (RE2), because the
text is the client's. Hot for its routes, with a bounded memory of what was judged before.
Source: spec of bundled plugins; Kong 3.9 plugins/bot-detection/handler.lua. The list of names is ours: words that crawlers' operators
publish; Kong's is taken from the ua-parser project.
"""

from __future__ import annotations

from typing import Any

from kongdp.entities.model import Plugin
from kongdp.entities.regex import compile_regex
from kongdp.plugins.base import Answer, ExchangeView, Handler, Node, error

ROBOTS = (
    r"(?i)(?:bot|spider|crawler|slurp|archiver|indexer)(?:-[a-z-]+)?/v?[0-9]",
    r"(?i)\bcompatible; *[a-z -]*(?:bot|spider|crawler|slurp)\b",
    r"\+https?://",  # the page on which an operator explains its robot
    r"(?i)\b(?:facebookexternalhit|ia_archiver|nutch|heritrix|scrapy|wget|libwww-perl|python-urllib|phantomjs|bingpreview)\b",
    r"(?i)google.*/\+/web/snippet",
)
"""What robots call themselves."""

AGENTS_MAX = 1000
"""User agents whose verdict is remembered, for each instance."""


class BotDetection(Handler):
    """One instance of bot-detection."""

    PRIORITY = 2500

    def __init__(self, plugin: Plugin, node: Node) -> None:
        super().__init__(plugin, node)
        self._allow = _compiled(plugin.config.get("allow") or ())
        self._deny = _compiled(plugin.config.get("deny") or ())
        self._known: dict[bytes, bool] = {}

    def access(self, exchange: ExchangeView) -> Answer | None:
        """Refuse a robot; a client that says nothing of itself passes."""
        agents = exchange.request_fields.all(b"user-agent")
        if not agents:
            return None
        if len(agents) > 1:
            return error(400, "Only one User-Agent header allowed")
        agent = agents[0].strip()
        refused = self._known.get(agent)
        if refused is None:
            if len(self._known) >= AGENTS_MAX:
                self._known.clear()
            refused = self._known[agent] = self._is_refused(agent.decode("utf-8", "replace"))
        return error(403) if refused else None

    def _is_refused(self, agent: str) -> bool:
        if any(pattern.search(agent) for pattern in self._allow):
            return False
        return any(pattern.search(agent) for pattern in (*self._deny, *_ROBOTS))


def _compiled(patterns: Any) -> tuple[Any, ...]:
    return tuple(compile_regex(pattern) for pattern in patterns)


_ROBOTS = _compiled(ROBOTS)

HANDLER = BotDetection
