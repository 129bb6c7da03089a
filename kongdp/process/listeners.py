"""The supervisor's listening sockets: bound once, kept for its whole life, handed to children by descriptor.

Traffic addresses get one SO_REUSEPORT socket for each worker, so that the kernel spreads connections and a worker
that dies finds its queue again; Unix sockets and the agent's addresses have one. Sockets are bound here and begin to
listen when their first owner calls listen(), so an address refuses connections until somebody is there to take them.

In: Listener values by setting.  Out: descriptors and their descriptions for specs.  Raises ListenError naming each
address that cannot be had, and the setting that changes it.  Cold. Source: ours; flags mean what nginx's `listen`
makes of them.
"""

import errno
import os
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from kongdp.errors import KongdpError, Source
from kongdp.settings import Listener, environment_name

Wanted = Mapping[str, tuple[Listener, ...]]  # setting -> addresses

_ERRORS = {
    errno.EADDRINUSE: "{place} is already in use; stop the program that has it, or change {setting} ({variable})",
    errno.EACCES: "no permission to listen on {place}; use a port from 1024 up: change {setting} ({variable})",
    errno.EADDRNOTAVAIL: "{place} is no address of this machine; change {setting} ({variable})",
    errno.EAFNOSUPPORT: "this machine has no IPv6, so {place} cannot be used; change {setting} ({variable})",
}
_UNKNOWN_ERROR = "cannot listen on {place}: {reason}; change {setting} ({variable})"


class ListenError(KongdpError):
    """Addresses that cannot be listened on; `problems` has one sentence for each."""

    source = Source.OPERATOR

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(slots=True)
class _Bound:
    """One address with its sockets: one for each worker, or a single shared one."""

    setting: str
    listener: Listener
    is_shared: bool
    sockets: list[socket.socket] = field(default_factory=list)

    def describe(self, listener: Listener, index: int) -> dict[str, Any]:
        """The entry for a spec: the socket of worker `index` (any index for a shared one) and what its owner must
        know.
        """
        return {
            "fd": self.sockets[0 if self.is_shared else index].fileno(),
            "setting": self.setting,
            "address": listener.address,
            "port": self.listener.port,
            "path": listener.path,
            "ssl": listener.ssl,
            "http2": listener.http2,
            "proxy_protocol": listener.proxy_protocol,
            "backlog": listener.backlog,
        }

    def shrink(self, count: int) -> None:
        """Close sockets above `count`; the path of a Unix socket goes with it."""
        for surplus in self.sockets[count:]:
            surplus.close()
            if self.listener.path is not None:
                Path(self.listener.path).unlink(missing_ok=True)
        del self.sockets[count:]


class Listeners:
    """All bound addresses of a node. `per_worker` names the settings that workers serve; the agent serves the others."""

    def __init__(self, per_worker: tuple[str, ...] = ("proxy_listen",)) -> None:
        self._per_worker = per_worker
        self._bound: dict[_Key, _Bound] = {}

    def reserve(self, wanted: Wanted, workers: int) -> None:
        """Bind what `wanted` needs for `workers` workers and is not bound yet; closes nothing.

        All or nothing: when an address cannot be had, nothing has changed and ListenError lists every one of them.
        """
        fresh: list[tuple[_Bound, int]] = []
        problems: list[str] = []
        for key, listener in _keys(wanted):
            is_shared = key[0] not in self._per_worker or listener.path is not None
            bound = self._bound.setdefault(key, _Bound(key[0], listener, is_shared))
            fresh.append((bound, len(bound.sockets)))
            try:
                _fill(bound, 1 if is_shared else workers)
            except OSError as error:
                problems.append(_explain(error, key[0], listener))
        if not problems:
            return
        for bound, count in fresh:
            bound.shrink(count)
        self._bound = {key: bound for key, bound in self._bound.items() if bound.sockets}
        raise ListenError(problems)

    def keep_only(self, wanted: Wanted, workers: int) -> None:
        """Close the supervisor's descriptors of addresses and workers that are no longer wanted.

        What a child still holds stays open until it leaves.
        """
        keys = {key for key, _listener in _keys(wanted)}
        for key, bound in tuple(self._bound.items()):
            if key not in keys:
                bound.shrink(0)
                del self._bound[key]
            elif not bound.is_shared:
                bound.shrink(workers)

    def describe(self, wanted: Wanted, setting: str, index: int = 0) -> list[dict[str, Any]]:
        """Spec entries of one setting's addresses with their flags in `wanted`, for the agent or for worker `index`."""
        return [
            self._bound[key].describe(listener, index) for key, listener in _keys({setting: wanted.get(setting, ())})
        ]

    def places(self) -> list[tuple[str, str]]:
        """(setting, address) of everything bound, with the port that the kernel chose where 0 was asked for."""
        return [(bound.setting, bound.listener.place) for bound in self._bound.values()]


_Key: TypeAlias = tuple[
    str, str, int
]  # setting, address as configured, how many equal ones stood before it (only port 0)


def _keys(wanted: Wanted) -> Iterator[tuple[_Key, Listener]]:
    seen: Counter[tuple[str, str]] = Counter()
    for setting, listeners in wanted.items():
        for listener in listeners:
            seen[setting, listener.place] += 1
            yield (setting, listener.place, seen[setting, listener.place]), listener


def _fill(bound: _Bound, count: int) -> None:
    """Bind sockets until there are `count`. The first one of an address makes sure that nobody else listens there."""
    if bound.listener.path is not None:
        if not bound.sockets:
            bound.sockets.append(_bind_unix(bound.listener.path))
        return
    if not bound.sockets and bound.listener.port:
        _probe(bound.listener)
    while len(bound.sockets) < count:
        bound.sockets.append(_bind(bound.listener))
        if bound.listener.port == 0:
            bound.listener = replace(bound.listener, port=bound.sockets[0].getsockname()[1])


def _probe(listener: Listener) -> None:
    """Bind once without SO_REUSEPORT: with it the kernel would let us share the port with another node of the same
    user.
    """
    with _socket(listener) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((listener.address, listener.port))


def _bind(listener: Listener) -> socket.socket:
    bound = _socket(listener)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _set_options(bound, listener)
        bound.bind((listener.address, listener.port))
    except OSError:
        bound.close()
        raise
    return bound


def _socket(listener: Listener) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if listener.is_ipv6 else socket.AF_INET, socket.SOCK_STREAM)
    made.setblocking(False)
    if listener.is_ipv6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, listener.ipv6only is not False)
    return made


def _set_options(bound: socket.socket, listener: Listener) -> None:
    """Options that accepted connections inherit."""
    if listener.deferred:
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
    if listener.so_keepalive is None:
        return
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, listener.so_keepalive != "off")
    if ":" not in listener.so_keepalive:
        return
    options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    for option, value in zip(options, listener.so_keepalive.split(":"), strict=True):
        if value:
            bound.setsockopt(socket.IPPROTO_TCP, option, _seconds(value))


def _seconds(text: str) -> int:
    return int(text.rstrip("smh")) * {"m": 60, "h": 3600}.get(text[-1], 1)


def _bind_unix(path: str) -> socket.socket:
    _remove_stale(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bound.setblocking(False)
    try:
        bound.bind(path)
        os.chmod(path, 0o666)  # as nginx: the directory says who may connect
    except OSError:
        bound.close()
        raise
    return bound


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more; a live one raises EADDRINUSE. Anything else than a socket is
    left alone.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            if Path(path).is_socket():
                Path(path).unlink()
            return
        except OSError:
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _explain(error: OSError, setting: str, listener: Listener) -> str:
    text = _ERRORS.get(error.errno or 0, _UNKNOWN_ERROR)
    variable = environment_name(setting)
    return f"{setting}: " + text.format(place=listener.place, setting=setting, variable=variable, reason=error.strerror)
