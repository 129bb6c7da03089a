"""Host names, IP addresses and ports as Kong reads them.

In: text such as "example.com:80", "10.0.0.1", "[::1]:80".  Out: an Address, or the reason why it is none. An address's
kind is decided by its characters, not by its validity: digits and dots make an IPv4 address, two colons an IPv6 one.
Source: kong/tools/ip.lua 3.9, whose texts are Kong's answers.
"""

import ipaddress
import re
from dataclasses import dataclass

_IPV4 = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?::(\d+))?\Z", re.ASCII)
_IPV4_KIND = re.compile(r"[0-9.]+\Z")
_PORT_TAIL = re.compile(r":(\d+)\Z", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9\-._]+\Z")
_BRACKETS = re.compile(r"\[([^\[\]]*)\](?::(\d+))?\Z", re.ASCII)
PORT_MAX = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """`host` normalised (IPv4 without leading zeros, IPv6 in full and without brackets, names as written)."""

    kind: str
    host: str
    port: int | None

    def text(self, default_port: int | None = None) -> str:
        """The address as `host:port`, IPv6 in brackets."""
        port = self.port if self.port is not None else default_port
        host = f"[{self.host}]" if self.kind == "ipv6" else self.host
        return host if port is None else f"{host}:{port}"


def parse_address(text: str) -> Address | str:
    """The address, or the text that says why it is none."""
    without_colons = text.replace(":", "")
    if len(text) - len(without_colons) > 1:
        return _parse_ipv6(text)
    if _IPV4_KIND.match(without_colons):
        return _parse_ipv4(text)
    return _parse_name(text)


def _parse_ipv4(text: str) -> Address | str:
    found = _IPV4.match(text)
    if found is None or any(int(part) > 255 for part in found.groups()[:4]):
        return f"invalid ipv4 address: {text}"
    port = int(found[5]) if found[5] else None
    if port is not None and port > PORT_MAX:
        return "invalid port number"
    return Address("ipv4", ".".join(str(int(part)) for part in found.groups()[:4]), port)


def _parse_ipv6(text: str) -> Address | str:
    bracketed = _BRACKETS.match(text)
    inner, port_text = (bracketed[1], bracketed[2]) if bracketed else (text, None)
    try:
        host = ipaddress.IPv6Address(inner).exploded
    except ValueError:
        return f"invalid ipv6 address: {text}"
    port = int(port_text) if port_text else None
    if port is not None and port > PORT_MAX:
        return "invalid port number"
    return Address("ipv6", host, port)


def _parse_name(text: str) -> Address | str:
    name, port = text, None
    tail = _PORT_TAIL.search(text)
    if tail is not None:
        name, port = text[: tail.start()], int(tail[1])
        if port > PORT_MAX:
            return "invalid port number"
    if _NAME.match(name) is None:
        return f"invalid hostname: {text}"
    labels = name.split(".")
    if any(label.endswith("-") for label in labels) or "" in labels[:-1]:
        return f"invalid hostname: {text}"
    return Address("name", name, port)


def host_problem(text: str) -> str | None:
    """For `service.host`: a name or an address, no port."""
    address = parse_address(text)
    if address == "invalid port number":
        return "must not have a port"
    if isinstance(address, str):
        return f"invalid value: {text}"
    return "must not have a port" if address.port is not None else None


def host_with_port_problem(text: str) -> str | None:
    """For `upstream.host_header`: a name or an address, with or without port."""
    address = parse_address(text)
    return address if isinstance(address, str) else None


def wildcard_host_with_port_problem(text: str) -> str | None:
    """For `route.hosts`: as above, `*` standing for any label."""
    return host_with_port_problem(text.replace("*", "abc"))


def sni_problem(text: str) -> str | None:
    """For a server name: a host name, neither an address nor with a port."""
    address = parse_address(text)
    if address == "invalid port number":
        return "must not have a port"
    if isinstance(address, str):
        return f"invalid value: {text}"
    if address.kind != "name":
        return "must not be an IP"
    return "must not have a port" if address.port is not None else None


def wildcard_sni_problem(text: str) -> str | None:
    """For `snis.name` and `route.snis`: a server name, `*` allowed as first or last character."""
    position = text.find("*")
    if position < 0:
        return sni_problem(text)
    if position not in (0, len(text) - 1):
        return "wildcard must be leftmost or rightmost character"
    if text.count("*") > 1:
        return "only one wildcard must be specified"
    return sni_problem(text.replace("*", "wildcard"))


def ip_or_cidr_problem(text: str) -> str | None:
    """For `sources` and `destinations`."""
    ip, slash, prefix = text.partition("/")
    try:
        bits = ipaddress.ip_address(ip).max_prefixlen
    except ValueError:
        return f"invalid ip or cidr range: '{text}'"
    if slash and not (prefix.isascii() and prefix.isdigit() and str(int(prefix)) == prefix and int(prefix) <= bits):
        return f"invalid ip or cidr range: '{text}'"
    return None


def upstream_name_problem(text: str) -> str | None:
    """For `upstream.name`: a host name, neither an address nor with a port."""
    address = parse_address(text)
    if isinstance(address, str):
        return f"Invalid name ('{text}'); must be a valid hostname"
    if address.kind != "name":
        return f"Invalid name ('{text}'); no ip addresses allowed"
    return f"Invalid name ('{text}'); no port allowed" if address.port is not None else None
