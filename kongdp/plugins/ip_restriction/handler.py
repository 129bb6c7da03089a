"""ip-restriction: which client addresses may pass.

Hot for its routes. Source: spec of bundled plugins, section 3; Kong 3.9 plugins/ip-restriction/handler.lua.
"""

from __future__ import annotations

import ipaddress

from kongdp.entities.model import Plugin
from kongdp.plugins.base import Answer, ExchangeView, Handler, Node, error

ADDRESSES_MAX = 1000
"""Addresses whose verdict is remembered, for each instance. PERF: reading one and looking it up in a range takes 3 us."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class IpRestriction(Handler):
    """One instance of ip-restriction."""

    PRIORITY = 990

    def __init__(self, plugin: Plugin, node: Node) -> None:
        super().__init__(plugin, node)
        config = plugin.config
        self._deny = networks(config.get("deny"))
        self._allow = networks(config.get("allow"))
        self._status = int(config.get("status") or 403)
        self._message: str | None = config.get("message")

        self._known: dict[str, Answer | None] = {}

    def access(self, exchange: ExchangeView) -> Answer | None:
        """Denied addresses first, then whether it is among the allowed ones."""
        text = exchange.client_ip
        known = self._known
        try:
            return known[text]
        except KeyError:
            if len(known) >= ADDRESSES_MAX:
                known.clear()
            answer = known[text] = self._judge(text)
            return answer

    def _judge(self, text: str) -> Answer | None:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            # a peer on a Unix socket has no address
            return error(403, "Cannot identify the client IP address, unix domain sockets are not supported.")
        if among(address, self._deny) or (self._allow and not among(address, self._allow)):
            return error(self._status, self._message or f"IP address not allowed: {text}")
        return None


def networks(entries: list[str] | None) -> tuple[Network, ...]:
    """Addresses and ranges, as validated."""
    return tuple(ipaddress.ip_network(entry, strict=False) for entry in entries or ())


def among(address: ipaddress.IPv4Address | ipaddress.IPv6Address, found: tuple[Network, ...]) -> bool:
    """Whether an address is in one of the networks."""
    return any(address.version == network.version and address in network for network in found)


HANDLER = IpRestriction
