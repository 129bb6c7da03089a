"""A destination: host, port and TLS identity of a service or target, and the pools that lead there.

In: what an entity says of its host.  Out: a Pool for the next try, or the Resolution to wait for.
Hot: `next_pool` for a literal address is a plain read, for a name a look-up in a small tuple.
Source: Kong's balancing contract, section 1 (every try picks the next address); proxying contract 1.1 (Host and its port rule).
"""

from __future__ import annotations

from dataclasses import replace

from kongdp.certs.contexts import upstream_server_name
from kongdp.upstream.pool import Endpoint, Pool, Pools, TlsIdentity
from kongdp.upstream.resolver import Outcome, Resolution, Resolver, without_query

_DEFAULT_PORTS = {"http": 80, "https": 443, "grpc": 80, "grpcs": 443}


def host_value(host: str, port: int, scheme: str) -> bytes:
    """The Host value for a target: its name, with the port unless it is the scheme's own, or `host` names one itself."""
    if host.count(":") == 1:
        return host.encode()
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return (shown if _DEFAULT_PORTS.get(scheme) == port else f"{shown}:{port}").encode()


class Destination:
    """Where a service or a target points to. `tls` None: plain TCP; its server name is that of the Host sent, see `host_line`.

    `host_header`: an upstream entity's own Host, in place of the target's name.
    """

    __slots__ = ("_addresses", "_next", "_pools", "_pools_of", "_resolver", "host", "host_line", "port", "tls")

    def __init__(
        self,
        host: str,
        port: int,
        scheme: str,
        tls: TlsIdentity | None,
        pools: Pools,
        resolver: Resolver,
        *,
        host_header: str | None = None,
    ) -> None:
        self.host = host
        self.port = port
        shown = host_header or host
        self.tls = replace(tls, server_name=upstream_server_name(shown)) if tls is not None else None
        self.host_line = b"Host: %b\r\n" % host_value(shown, port, scheme)
        self._pools = pools
        self._resolver = resolver
        self._next = 0
        self._addresses: tuple[str, ...] = ()
        self._pools_of: tuple[Pool, ...] = ()
        fixed = without_query(host)
        if fixed and _is_literal(host, fixed):
            self._addresses = fixed
            self._pools_of = self._pools_for(fixed)

    def next_pool(self, now: float, failed: Pool | None = None) -> Pool | Resolution:
        """The pool of the next address in turn; a Resolution when the name is not known (look at its outcome, or wait).

        `failed`: the pool of the try before, which is passed over when there is another: requests share the turns, so the next one
        may well be the same again.
        """
        pools = self._pools_of
        if len(pools) == 1 and self._addresses[0] == self.host:
            return pools[0]
        known = self._resolver.lookup(self.host, now) if not _is_literal(self.host, self._addresses) else None
        if known is not None:
            if known.outcome is not Outcome.FOUND:
                return known
            if known.addresses != self._addresses:
                self._addresses = known.addresses
                self._pools_of = self._pools_for(known.addresses)
        pools = self._pools_of
        self._next = (self._next + 1) % len(pools)
        if failed is not None and pools[self._next].endpoint.address == failed.endpoint.address:
            self._next = (self._next + 1) % len(pools)
        return pools[self._next]

    def _pools_for(self, addresses: tuple[str, ...]) -> tuple[Pool, ...]:
        return tuple(self._pools.get(Endpoint(address, self.port, self.tls)) for address in addresses)


def _is_literal(host: str, addresses: tuple[str, ...]) -> bool:
    return len(addresses) == 1 and addresses[0] == host.strip("[]")
