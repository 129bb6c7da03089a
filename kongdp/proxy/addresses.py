"""Who the client is: trusted peers, the real address, and the forwarded fields that say so.

In: the peer's address, the request head, what is trusted.  Out: field lines for the upstream.
House rule: what an untrusted peer claims is never believed; only X-Forwarded-For is appended to whatever it says (Kong).
Hot: an untrusted peer without X-Forwarded-For costs a read of lines rendered once per connection.
Source: Kong's proxying contract, sections 1 and 1.2 (nginx realip).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from kongdp.http1.messages import Fields, RequestHead

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Trust:
    """Settings trusted_ips, real_ip_header, real_ip_recursive. `unix`: peers on a Unix socket are trusted."""

    networks: tuple[Network, ...] = ()
    unix: bool = False
    header: bytes = b"x-real-ip"
    recursive: bool = False

    @classmethod
    def build(cls, trusted: Sequence[str], header: str, *, recursive: bool) -> Trust:
        """From the settings' text forms, already validated."""
        networks = tuple(ipaddress.ip_network(entry, strict=False) for entry in trusted if entry != "unix:")
        return cls(networks, "unix:" in trusted, header.lower().encode(), recursive)

    def trusts(self, address: str) -> bool:
        """Whether the address (an IP literal, or "unix:") is one whose claims are believed."""
        if address == "unix:":
            return self.unix
        if not self.networks:
            return False
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        # a listener for both families shows IPv4 peers as ::ffff:a.b.c.d
        plain = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped else parsed
        return any(plain in network for network in self.networks if network.version == plain.version)

    def real_address(self, claims: Sequence[str]) -> str | None:
        """The client's address among those a trusted peer lists: the last, or with `recursive` the rightmost not trusted.

        What stands left of a member that is no address is not believed: nobody knows who put it there (nginx).
        """
        found = None
        for claim in reversed(claims):
            if not claim.strip():
                continue
            address = _bare(claim)
            if address is None:
                break
            found = address
            if not self.recursive or not self.trusts(address):
                break
        return found


def _bare(claim: str) -> str | None:
    """The IP literal in a list member that may carry a port; None when it is none."""
    claim = claim.strip()
    if "%" in claim:
        return None  # Python would take a scope, that is any text, for part of an address
    candidates = [claim]
    if claim.startswith("["):
        candidates = [claim[1:].partition("]")[0]]
    elif claim.count(":") == 1:
        candidates = [claim.partition(":")[0]]
    for candidate in candidates:
        try:
            return str(ipaddress.ip_address(candidate))
        except ValueError:
            continue
    return None


def _line_to_path(host: bytes) -> bytes:
    return b"X-Forwarded-Host: %b\r\nX-Forwarded-Path: " % host if host else b"X-Forwarded-Path: "


class ClientAddress:
    """One connection's peer and what follows from it, rendered once.

    `peer` is who the TCP connection came from, `source` who a PROXY preamble says is behind it (equal without one).
    """

    __slots__ = ("_host", "_lines_to_path", "_plain_lines", "peer", "port", "scheme", "source", "trusted")

    def __init__(self, peer: str, source: str, scheme: bytes, port: int, trust: Trust) -> None:
        self.peer = peer
        self.trusted = trust.trusts(peer)
        self.source = source if self.trusted and trust.header == b"proxy_protocol" else peer
        self.scheme = scheme
        self.port = port
        client = self.source.encode()
        self._plain_lines = (
            b"X-Forwarded-For: %b\r\nX-Real-IP: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Port: %d\r\n"
            % (client, client, scheme, port)
        )
        self._host: bytes | None = None
        self._lines_to_path = b""

    def client(self, head: RequestHead, trust: Trust) -> str:
        """The address the request counts as coming from, after real-ip processing."""
        if not self.trusted or trust.header == b"proxy_protocol":
            return self.source
        lines = Fields(head.raw).all(trust.header)
        claims = [claim for line in lines for claim in line.decode("latin-1").split(",")]
        return trust.real_address(claims) or self.source

    def forwarded_lines(self, head: RequestHead, host: bytes, raw_path: bytes, prefix: bytes, trust: Trust) -> bytes:
        """X-Forwarded-* and X-Real-IP for the upstream. `host`: the effective host without port, lower case."""
        if self.trusted:
            return self._trusted_lines(head, host, raw_path, prefix, trust)
        tail = b"\r\nX-Forwarded-Prefix: %b\r\n" % prefix if prefix else b"\r\n"
        if head.forwarded_for is None:
            return self.lines_to_path(host) + raw_path + tail
        return (
            b"X-Forwarded-For: %b, %b\r\nX-Real-IP: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Port: %d\r\n%b%b%b"
            % (
                head.forwarded_for,
                self.peer.encode(),
                self.source.encode(),
                self.scheme,
                self.port,
                _line_to_path(host),
                raw_path,
                tail,
            )
        )

    def lines_to_path(self, host: bytes) -> bytes:
        """The lines of an untrusted client that names nobody before it, up to the value of X-Forwarded-Path."""
        if host != self._host:
            # one client speaks to one host, mostly
            self._host = host
            self._lines_to_path = self._plain_lines + _line_to_path(host)
        return self._lines_to_path

    def _trusted_lines(self, head: RequestHead, host: bytes, raw_path: bytes, prefix: bytes, trust: Trust) -> bytes:
        client = self.client(head, trust).encode()
        forwarded_for = client if head.forwarded_for is None else b"%b, %b" % (head.forwarded_for, self.peer.encode())
        values = (
            (b"X-Forwarded-For", forwarded_for),
            (b"X-Real-IP", client),
            (b"X-Forwarded-Proto", head.forwarded_proto or self.scheme),
            (b"X-Forwarded-Port", head.forwarded_port or b"%d" % self.port),
            (b"X-Forwarded-Host", head.forwarded_host or host),
            (b"X-Forwarded-Path", head.forwarded_path or raw_path),
            (b"X-Forwarded-Prefix", head.forwarded_prefix or prefix),
        )
        return b"".join(b"%b: %b\r\n" % line for line in values if line[1])
