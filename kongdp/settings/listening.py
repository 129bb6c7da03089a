"""Addresses to listen on: Kong's `*_listen` values -> Listener values.

In: text such as `0.0.0.0:8000 reuseport backlog=16384, 0.0.0.0:8443 ssl`.  Out: a tuple of Listener; () for `off`.
Raises Invalid with Kong's message for bad syntax. Decides nothing about who binds; that is process/listeners.py.
Cold. Source: Kong 3.9 conf_loader/listeners.lua; flags are nginx's `listen` parameters.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from kongdp.settings.kinds import Invalid, Kind

BACKLOG_DEFAULT = 16384  # what Kong's shipped values ask for; the kernel caps it at net.core.somaxconn
_FORM = (
    "{name} must be of form: [off] | <ip>:<port> [ssl] [http2] [proxy_protocol] [deferred] [bind] [reuseport] "
    "[backlog=<n>] [ipv6only=on|off] [so_keepalive=on|off|[idle]:[interval]:[count]], [... next entry ...], "
    "got '{text}'"
)
_FLAGS = ("ssl", "http2", "proxy_protocol", "deferred", "bind", "reuseport")
_KEEPALIVE = re.compile(r"on|off|(\d+[smh]?)?:(\d+[smh]?)?:(\d+)?")


@dataclass(frozen=True, slots=True)
class Listener:
    """One address. Either `address` (an IP literal without brackets) and `port`, or `path` of a Unix socket.

    Port 0 lets the kernel choose (ours: nginx refuses it). `ipv6only` None means the default of nginx: on.
    `so_keepalive` is None, "on", "off" or "idle:interval:count" as written.
    """

    address: str = ""
    port: int = 0
    path: str | None = None
    ssl: bool = False
    http2: bool = False
    proxy_protocol: bool = False
    deferred: bool = False
    bind: bool = False
    reuseport: bool = False
    backlog: int = BACKLOG_DEFAULT
    ipv6only: bool | None = None
    so_keepalive: str | None = None

    @property
    def is_ipv6(self) -> bool:
        """Whether the address is an IPv6 literal."""
        return ":" in self.address

    @property
    def place(self) -> str:
        """The address as an operator writes it, without flags."""
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.address}]:{self.port}" if self.is_ipv6 else f"{self.address}:{self.port}"

    def to_json(self) -> dict[str, Any]:
        """Plain values for Settings.to_json and for specs of child processes."""
        return asdict(self)


def parse_listeners(name: str, text: str) -> tuple[Listener, ...]:
    """Every address of one setting, in order; the same address twice is refused."""
    if text.strip() == "off":
        return ()
    listeners = tuple(_parse_entry(name, entry.strip(), text) for entry in text.split(",") if entry.strip())
    seen: set[str] = set()
    for listener in listeners:
        if listener.place in seen and not listener.place.endswith(":0"):
            raise Invalid(f"{name} names {listener.place} twice")
        seen.add(listener.place)
    return listeners


def _parse_entry(name: str, entry: str, text: str) -> Listener:
    place, *flags = entry.split()
    fields = {**_parse_place(name, place, text)}
    for flag in flags:
        fields.update(_parse_flag(name, flag, text))
    return Listener(**fields)


def _parse_place(name: str, place: str, text: str) -> Mapping[str, Any]:
    if place.startswith("unix:"):
        path = place.removeprefix("unix:")
        if not path.startswith("/"):
            raise Invalid(f"{name}: a Unix socket needs an absolute path, got '{place}'")
        return {"path": path}
    host, colon, port = place.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    version = _ip_version(bare)
    is_bracketed = bare != host
    if not colon or not port.isdecimal() or int(port) > 65535 or version == 0 or is_bracketed != (version == 6):
        raise Invalid(_FORM.format(name=name, text=text))
    return {"address": bare, "port": int(port)}


def _ip_version(text: str) -> int:
    """4 or 6, or 0 for what is no IP literal."""
    try:
        return ipaddress.ip_address(text).version
    except ValueError:
        return 0


def _parse_flag(name: str, flag: str, text: str) -> Mapping[str, Any]:
    if flag in _FLAGS:
        return {flag: True}
    key, _, value = flag.partition("=")
    if key == "backlog" and value.isdecimal() and int(value) > 0:
        return {"backlog": int(value)}
    if key == "ipv6only" and value in ("on", "off"):
        return {"ipv6only": value == "on"}
    if key == "so_keepalive" and _KEEPALIVE.fullmatch(value):
        return {"so_keepalive": value}
    raise Invalid(_FORM.format(name=name, text=text))


LISTENERS: Kind[tuple[Listener, ...]] = Kind(
    "off | list of address:port or unix:path with flags",
    parse_listeners,
    lambda raw: tuple(Listener(**entry) for entry in raw),
    (),
)
