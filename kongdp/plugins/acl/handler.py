"""acl: which groups may use a service.

Groups are the consumer's, or those that another plugin established (`exchange.groups`).
Hot for its routes. Source: spec of bundled plugins, section 2; Kong 3.9 plugins/acl/handler.lua.
"""

from __future__ import annotations

from kongdp.entities.model import Plugin
from kongdp.plugins.base import Answer, ExchangeView, Handler, Node, error

FORBIDDEN = "You cannot consume this service"

CONSUMER_GROUPS, AUTHENTICATED_GROUPS = b"X-Consumer-Groups", b"X-Authenticated-Groups"


class Acl(Handler):
    """One instance of acl."""

    PRIORITY = 950

    def __init__(self, plugin: Plugin, node: Node) -> None:
        super().__init__(plugin, node)
        config = plugin.config
        self._denies = bool(config.get("deny"))
        self._named = frozenset(config["deny"] if self._denies else config.get("allow") or ())
        self._hides = config["hide_groups_header"]
        self._established_only = config["always_use_authenticated_groups"]

    def access(self, exchange: ExchangeView) -> Answer | None:
        """Judge the groups, and tell the upstream which they are."""
        established = exchange.groups if exchange.credential is None or self._established_only else None
        if established is not None:
            groups, name = established, AUTHENTICATED_GROUPS
        elif exchange.consumer is None:
            return error(401)
        else:
            groups, name = exchange.identities.groups(exchange.consumer.id), CONSUMER_GROUPS
            if not groups and not self._denies and exchange.credential is None:
                return error(401)
        if self._named.isdisjoint(groups) is not self._denies:
            return error(403, FORBIDDEN)
        self._tell(exchange, name, groups)
        return None

    def _tell(self, exchange: ExchangeView, name: bytes, groups: tuple[str, ...]) -> None:
        fields = exchange.request_fields
        # what the client says of its groups must not pass for what we found out
        fields.remove(b"x-consumer-groups")
        fields.remove(b"x-authenticated-groups")
        if groups and not self._hides:
            fields.set(name, ", ".join(groups).encode())


HANDLER = Acl
