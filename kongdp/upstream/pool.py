"""Pools of upstream connections: one per endpoint, a LIFO stack of idle ones, with limits and bounded waiters.

In: requests for a connection, connections given back.  Out: an idle connection at once, or the word that one must be dialled.
House rules: no socket and no loop here; the pool decides, the caller dials and closes. Two requests share a pool only when every
identity attribute is equal (address, port, and for TLS: server name, verification, trust, client certificate).
Hot: `try_acquire` and `release` are O(1). The stack's top is the connection used last, so the bottom ages out (EdgeDB's pool).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakValueDictionary


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """What makes two TLS connections to one address different; `server_name` is the SNI and the name to verify."""

    server_name: str | None
    verify: bool = False
    verify_depth: int | None = None
    trust: str = ""  # PEM of the CA certificates to trust, in order
    client_certificate: str = ""  # PEM of certificate and key, empty for none


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address to connect to: IP literal, port, and the TLS identity or None for plain TCP."""

    address: str
    port: int
    tls: TlsIdentity | None = None


@dataclass(frozen=True)
class PoolLimits:
    """Kong's upstream_keepalive_*: idle connections kept, requests per connection (0 = any), idle seconds (0 = for ever).

    Ours: `connections_max` at once to one endpoint (0 = any) and `waiters_max` exchanges that may wait for one of them.
    """

    idle_max: int = 512
    requests_max: int = 10000
    idle_timeout_s: float = 60.0
    connections_max: int = 0
    waiters_max: int = 1024


class Poolable:
    """What a pool knows of a connection: how long it has been idle and how many requests it has served."""

    __slots__ = ("idle_since", "requests")

    def __init__(self) -> None:
        self.idle_since = 0.0
        self.requests = 0

    def close(self) -> None:
        """Close the connection; it leaves its pool by `forget`."""
        raise NotImplementedError


class Waiter(Protocol):
    """Who waits for a connection of a full pool."""

    def pool_has_room(self) -> None:
        """There may be a connection or room for one now: ask again."""


class Pool:
    """The connections to one endpoint. `count_open` = idle + busy + being dialled.

    Whoever dials holds the place it took with `dialling`, until the connection is there and takes it over: so each place is given
    back exactly once, by `forget`.
    """

    __slots__ = ("__weakref__", "_idle", "_limits", "_waiters", "count_open", "endpoint")

    def __init__(self, endpoint: Endpoint, limits: PoolLimits) -> None:
        self.endpoint = endpoint
        self.count_open = 0
        self._limits = limits
        self._idle: list[Poolable] = []
        self._waiters: deque[Waiter] = deque()

    def __repr__(self) -> str:
        waiters = f", {len(self._waiters)} waiting" if self._waiters else ""
        return f"<Pool {self.endpoint.address}:{self.endpoint.port} {self.count_open} open, {len(self._idle)} idle{waiters}>"

    @property
    def count_idle(self) -> int:
        """Connections nobody uses."""
        return len(self._idle)

    @property
    def count_waiting(self) -> int:
        """Exchanges in the queue."""
        return len(self._waiters)

    def try_acquire(self) -> Poolable | None:
        """The idle connection used last, or None when there is none."""
        return self._idle.pop() if self._idle else None

    def may_dial(self) -> bool:
        """Whether one more connection may be opened now; a caller that dials calls `dialling` first."""
        maximum = self._limits.connections_max
        return not maximum or self.count_open < maximum

    def dialling(self) -> None:
        """A connection is being opened: it counts from now on until `forget`."""
        self.count_open += 1

    def forget(self, connection: Poolable | None) -> None:
        """A connection (or, with None, an attempt to open one) is gone."""
        self.count_open -= 1
        if connection is not None:
            self.withdraw(connection)
        self._wake()

    def withdraw(self, connection: Poolable) -> None:
        """Nobody may acquire this connection any more, although it is not gone yet; safe to call for one that is not idle."""
        try:
            self._idle.remove(connection)
        except ValueError:
            pass

    def release(self, connection: Poolable, now: float) -> bool:
        """Give a connection back that may be used again; False: the pool does not want it, close it."""
        limits = self._limits
        if len(self._idle) >= limits.idle_max or (limits.requests_max and connection.requests >= limits.requests_max):
            return False
        connection.idle_since = now
        self._idle.append(connection)
        if self._waiters:
            self._wake()
        return True

    def try_wait(self, waiter: Waiter) -> bool:
        """Queue for a connection; False when the queue is full."""
        if len(self._waiters) >= self._limits.waiters_max:
            return False
        self._waiters.append(waiter)
        return True

    def stop_waiting(self, waiter: Waiter) -> None:
        """Leave the queue, if in it."""
        try:
            self._waiters.remove(waiter)
        except ValueError:
            pass

    def take_expired(self, now: float) -> list[Poolable]:
        """Idle connections whose time is over, oldest first; the caller closes them."""
        timeout = self._limits.idle_timeout_s
        if not timeout or not self._idle:
            return []
        count = 0
        for connection in self._idle:
            if now - connection.idle_since < timeout:
                break
            count += 1
        expired = self._idle[:count]
        del self._idle[:count]
        return expired

    def take_all_idle(self) -> list[Poolable]:
        """Every idle connection, for closing at shutdown."""
        idle, self._idle = self._idle, []
        return idle

    def _wake(self) -> None:
        if self._waiters:
            self._waiters.popleft().pool_has_room()


class Pools:
    """Endpoint -> Pool. A pool lives while a plan or a connection refers to it, so it outlives snapshots that keep its endpoint."""

    __slots__ = ("_by_endpoint", "_limits")

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._by_endpoint: WeakValueDictionary[Endpoint, Pool] = WeakValueDictionary()

    def get(self, endpoint: Endpoint) -> Pool:
        """The pool of the endpoint, made on first use."""
        pool = self._by_endpoint.get(endpoint)
        if pool is None:
            pool = self._by_endpoint[endpoint] = Pool(endpoint, self._limits)
        return pool

    def __iter__(self) -> Iterator[Pool]:
        return iter(list(self._by_endpoint.values()))

    def __len__(self) -> int:
        return len(self._by_endpoint)

    def sweep(self, now: float) -> None:
        """Close idle connections whose time is over; called once a second."""
        for pool in self:
            for connection in pool.take_expired(now):
                connection.close()

    def close_idle(self) -> None:
        """Close every idle connection, at shutdown."""
        for pool in self:
            for connection in pool.take_all_idle():
                connection.close()
