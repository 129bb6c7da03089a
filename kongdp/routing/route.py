"""What routing asks of a route, what it answers with, and how it refuses one.

Any object with the attributes of `RouteLike` can be routed; entities.model.Route is the usual one. `Match` is the
answer: prebuilt once for each path of a route, so that a request allocates nothing unless a regex consumed part of
its path.
Cold but for the attributes of Match. Source: Kong 3.9 entity `routes`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from kongdp.errors import KongdpError, Source


class RouteLike(Protocol):
    """The attributes routing reads; absent lists are empty."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str | None: ...
    @property
    def protocols(self) -> Sequence[str]: ...
    @property
    def methods(self) -> Sequence[str]: ...
    @property
    def hosts(self) -> Sequence[str]: ...
    @property
    def paths(self) -> Sequence[str]: ...
    @property
    def headers(self) -> Sequence[tuple[str, Sequence[str]]]: ...
    @property
    def snis(self) -> Sequence[str]: ...
    @property
    def sources(self) -> Sequence[Any]: ...
    @property
    def destinations(self) -> Sequence[Any]: ...
    @property
    def regex_priority(self) -> int: ...
    @property
    def created_at(self) -> int | None: ...
    @property
    def expression(self) -> str | None: ...
    @property
    def priority(self) -> int | None: ...


class RouteError(KongdpError):
    """A route that cannot be compiled: the operator's mistake, found before any worker serves with it."""

    source = Source.OPERATOR

    def __init__(self, route: RouteLike, reason: str) -> None:
        self.route_id = route.id
        self.route_name = route.name
        self.reason = reason
        label = f"{route.name!r} ({route.id})" if route.name else route.id
        super().__init__(f"route {label}: {reason}")


class Captures(Protocol):
    """Groups of the regex that matched."""

    @property
    def positional(self) -> tuple[bytes | None, ...]:
        """By number; 0 is the whole match, a group that took no part is None."""

    @property
    def named(self) -> Mapping[str, bytes]:
        """By name; a group that took no part is absent."""


class Match:
    """The route of a request and what its path pattern consumed. Shared between requests: never changed after it is
    made.

    `prefix` is the configured prefix or the text a regex consumed, empty when no path took part; `prefix_length` is
    its length.
    """

    __slots__ = ("captures", "prefix", "prefix_length", "route_id")

    def __init__(
        self, route_id: str, prefix: bytes = b"", prefix_length: int = 0, captures: Captures | None = None
    ) -> None:
        self.route_id = route_id
        self.prefix = prefix
        self.prefix_length = prefix_length
        self.captures = captures

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.route_id}, prefix={self.prefix!r})"
