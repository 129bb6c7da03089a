"""The router every flavor shares: index, cache, and changes in steps.

In: routes.  Out: a Router whose `match` finds the winner in O(path length + candidates), however many routes there are.
A Router never changes. `with_changes` makes a new one that shares what did not change, in steps of well under a
millisecond, so that a configuration change among 100,000 routes costs what it touches and stalls nobody; a full build
is the same from the empty router. Two steps to an answer. The index yields, for the request's host and path, the few
candidates whose literal parts agree; candidates of a node stand in order of preference, so that each node is left at
the first that matches or can no longer win. In front stands a bounded cache of results that depend on method, host
and path alone. When it is full it rests: it still answers, takes nothing in for a while, and starts anew after that.
Paths that never repeat therefore pay one lookup and no bookkeeping.
Hot: `match` and what it calls. Cold: all else. Source: ours; the rules are those of Kong's three flavors (compatible,
traditional, expressions).
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Self

from kongdp.routing.candidate import METHOD_BITS, OTHER_METHOD, Candidate, Endpoint, Fields, Request
from kongdp.routing.compatible import compile_compatible
from kongdp.routing.index import Index, Placement
from kongdp.routing.pattern import split_host_port
from kongdp.routing.priority import ORIGINAL
from kongdp.routing.radix import Node
from kongdp.routing.route import Match, RouteLike
from kongdp.routing.shards import ShardedMap

TRADITIONAL_COMPATIBLE = "traditional_compatible"
TRADITIONAL = "traditional"
EXPRESSIONS = "expressions"

CACHE_ENTRIES_MAX = 2048
CACHE_REST_MISSES = 8 * CACHE_ENTRIES_MAX
CACHE_PATH_BYTES_MAX = 256  # bounds the cache at about a megabyte, whatever is asked for
PLACEMENTS_A_STEP = 32  # some 15 µs each at worst: half a millisecond

UNKNOWN = Match("")
"""What `recall` answers when only a search can tell."""


class Router:
    """Routes compiled for matching, in the traditional_compatible flavor. Made by `build`, `compile_steps` or
    `with_changes`.
    """

    __slots__ = (
        "_cache",
        "_calculation",
        "_exact_mask",
        "_exact_shards",
        "_has_hosts",
        "_has_wildcards",
        "_index",
        "_path_users",
        "_placements",
        "_rest",
    )

    flavor = TRADITIONAL_COMPATIBLE

    def __init__(self, calculation: str = ORIGINAL) -> None:
        self._calculation = calculation
        self._index = Index()
        self._placements: ShardedMap[str, tuple[Placement, ...]] = ShardedMap()
        self._path_users = 0
        self._cache: dict[tuple[bytes, bytes, bytes], Match | None] = {}
        self._rest = 0
        self._exact_shards: list[dict[bytes, Node[Candidate]]] = []
        self._exact_mask = 0
        self._has_hosts = False
        self._has_wildcards = False
        self._freeze()

    def __len__(self) -> int:
        return len(self._placements)

    def count_cached(self) -> int:
        """How many results the cache holds."""
        return len(self._cache)

    def __contains__(self, route_id: str) -> bool:
        return self._placements.get(route_id) is not None

    def recall(self, method: bytes, host: bytes, path: bytes) -> Match | None:
        """What `match` would answer, if the cache knows it; else UNKNOWN."""
        return self._cache.get((method, host, path), UNKNOWN)

    def match(
        self,
        method: bytes,
        host: bytes,
        path: bytes,
        fields: Callable[[], Fields] | None = None,
        *,
        scheme: bytes = b"http",
        sni: bytes | None = None,
        port: int = 0,
        source: Endpoint | None = None,
        destination: Endpoint | None = None,
        query: bytes = b"",
    ) -> Match | None:
        """Find the route for a request, or None when no route matches (the caller answers 404).

        `host` is the raw Host field, empty when there is none; `path` is normalised (http1.target). `fields` is
        called at most once, and only when a route's headers matter: lower-case names to raw values, of the first 100
        lines as Kong counts them. `port` is where the request arrived (after port_maps); a port in `host` goes before
        it. Never raises.
        """
        found = self.recall(method, host, path)
        if found is not UNKNOWN:
            return found
        return self._search(method, host, path, fields, scheme, sni, port, source, destination, query)

    def _search(
        self,
        method: bytes,
        host: bytes,
        path: bytes,
        fields: Callable[[], Fields] | None,
        scheme: bytes,
        sni: bytes | None,
        port: int,
        source: Endpoint | None,
        destination: Endpoint | None,
        query: bytes,
    ) -> Match | None:
        if not path.isascii() and not self._accepts(path):
            return None
        best: Match | None = None
        best_order = 0
        bit = 0
        request: Request | None = None
        for candidates in self._candidates(host, path):
            for candidate in candidates:
                if best is not None and candidate.order >= best_order:
                    break
                match: Match | None = candidate
                guard = candidate.guard
                if guard is not None:
                    bit = bit or METHOD_BITS.get(method, OTHER_METHOD)
                    if not guard.mask & bit or (bit == OTHER_METHOD and not guard.takes(method)):
                        continue
                    match = guard.consume(candidate, path)
                    if match is None:
                        continue
                    if guard.needs_request:
                        if request is None:
                            name, host_port = split_host_port(host)
                            to_port = port if host_port is None else host_port
                            request = Request(
                                method, name, path, fields, scheme, sni, to_port, source, destination, query
                            )
                        match = guard.settle(request, match)
                        if match is None:
                            continue
                best = match
                best_order = candidate.order
                break
        if request is None:
            self._remember(method, host, path, best)
        return best

    def _accepts(self, path: bytes) -> bool:
        """Kong's engine takes only UTF-8 where any route looks at the path; a path that is not finds no route."""
        if not self._path_users:
            return True
        try:
            path.decode()
        except UnicodeDecodeError:
            return False
        return True

    def _candidates(self, host: bytes, path: bytes) -> list[Sequence[Candidate]]:
        """The candidates of every node on the way to `path`, the most specific host and the longest prefix first.

        PERF: the walk stands here rather than in radix, with the tree's fields in locals (bench/parts/test_routing.py).
        """
        roots = self._roots(host) if self._has_hosts else None
        node = self._index.any_host
        found: list[Sequence[Candidate]] = []
        length = len(path)
        while True:
            at = 0
            if node.lone is not None:
                found.append((node.lone,))
            elif node.candidates is not None:
                found.append(node.candidates)
            children = node.children
            while at < length and children is not None:
                child = children.get(path[at])
                if child is None:
                    break
                if child.rest is not None and not path.startswith(child.rest, at + 1):
                    break
                at = child.depth
                if child.lone is not None:
                    found.append((child.lone,))
                elif child.candidates is not None:
                    found.append(child.candidates)
                children = child.children
            if not roots:
                break
            node = roots.pop()
        found.reverse()
        return found

    def _roots(self, host: bytes) -> list[Node[Candidate]]:
        """The trees of the hosts that this one satisfies, least specific last (`_candidates` pops and reverses)."""
        if b":" in host:
            host = split_host_port(host)[0]
        exact = self._exact_shards[hash(host) & self._exact_mask].get(host)
        roots = [] if exact is None else [exact]
        if self._has_wildcards:
            roots.extend(self._index.wildcard_roots(host))
        return roots

    def _remember(self, method: bytes, host: bytes, path: bytes, match: Match | None) -> None:
        cache = self._cache
        if len(cache) < CACHE_ENTRIES_MAX:
            if len(path) + len(host) <= CACHE_PATH_BYTES_MAX:
                cache[method, host, path] = match
            return
        self._rest += 1
        if self._rest == CACHE_REST_MISSES:
            self._rest = 0
            self._cache = {}

    def with_changes(self, removed_ids: Iterable[str], added: Iterable[RouteLike]) -> Generator[None, None, Self]:
        """Compile a changed router in steps: yields between slices of work, returns the new router; this one stays as
        it is.

        A removed id that is not there is passed over; an added route replaces one of the same id. RouteError names
        the first route that cannot be compiled, and nothing comes of the change.
        """
        owner = object()
        changed = self._edited(owner)
        for route_id in removed_ids:
            yield from changed._remove(route_id)
            yield
        for route in added:
            yield from changed._remove(route.id)
            yield from changed._add(route)
            yield
        changed._freeze()
        return changed

    def parts(self) -> Iterator[object]:
        """All that this router is made of and may share with others, wholes before their parts."""
        yield self._cache
        yield from tuple(self._cache.values())
        yield from self._index.parts()
        yield from self._placements.parts()

    def _edited(self, owner: object) -> Self:
        copy = object.__new__(type(self))
        copy._calculation = self._calculation
        copy._index = self._index.edited(owner)
        copy._placements = self._placements.edited(owner)
        copy._path_users = self._path_users
        return copy

    def _compile(self, route: RouteLike) -> Iterator[Placement]:
        return compile_compatible(route, self._calculation)

    def _add(self, route: RouteLike) -> Generator[None, None, None]:
        placed: list[Placement] = []
        for placement in self._compile(route):
            self._index.add(placement)
            placed.append(placement)
            if len(placed) % PLACEMENTS_A_STEP == 0:
                yield
        placements = tuple(placed)
        self._placements.set(route.id, placements)
        self._path_users += _uses_path(placements)

    def _remove(self, route_id: str) -> Generator[None, None, None]:
        placements = self._placements.get(route_id)
        if placements is None:
            return
        for count, placement in enumerate(placements, 1):
            self._index.discard(placement)
            if count % PLACEMENTS_A_STEP == 0:
                yield
        self._placements.delete(route_id)
        self._path_users -= _uses_path(placements)

    def _freeze(self) -> None:
        """Make what `match` reads; the router is complete after this."""
        self._cache = {}
        self._rest = 0
        exact = self._index.exact
        self._exact_shards = exact.shards
        self._exact_mask = exact.mask
        self._has_wildcards = self._index.has_wildcards
        self._has_hosts = bool(exact.count) or self._has_wildcards


def _uses_path(placements: Sequence[Placement]) -> int:
    return any(placement.candidate.uses_path for placement in placements)
