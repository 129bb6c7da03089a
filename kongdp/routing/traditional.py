"""The traditional flavor: categories of routes, walked from the most fields down, with a bucket tried first in each.

In: routes.  Out: a router of the same interface as the others'.
A route with several paths is one candidate a path. A request is first recognised (see recognition); the walk starts
at the category equal to what was recognised, or at the top when no route has exactly that. In each category the
smallest bucket goes before the rest, so that a worse-ranked route of the bucket beats a better one outside it.
Instead of walking lists, the candidates that match all the way are taken from the index; the walk's rules then choose
among these few.
Hot: `_search`. Cold: the rest. Source: Kong 3.9 traditional.lua.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Self

from kongdp.routing.base import PLACEMENTS_A_STEP, TRADITIONAL, Router
from kongdp.routing.candidate import (
    METHOD_BITS,
    OTHER_METHOD,
    Addresses,
    Candidate,
    Check,
    DestinationPort,
    Endpoint,
    Fields,
    Guard,
    HeaderValues,
    Request,
    ServerName,
    build_guard,
)
from kongdp.routing.compatible import is_stream
from kongdp.routing.index import ANY_HOST, Placement
from kongdp.routing.pattern import (
    EXACT,
    HEADER_REGEX_MARK,
    REGEX_MARK,
    HostPattern,
    PatternError,
    Regex,
    literal_prefix,
    parse_host,
)
from kongdp.routing.priority import (
    DST,
    HEADER,
    HOST,
    METHOD,
    ORIGINAL,
    PLAIN_HOSTS_ONLY,
    REGEX_URI,
    SNI,
    SRC,
    URI,
    WILDCARD_HOST_PORT,
    category_rank,
    traditional_order,
)
from kongdp.routing.radix import Node
from kongdp.routing.recognition import PORTED, Facts, Recognition
from kongdp.routing.route import Match, RouteError, RouteLike

_RANK_SHIFT = 512  # above every bit of a build order


class TraditionalCandidate(Candidate):
    """A candidate with its category; ordered by category first, then by Kong's build order."""

    __slots__ = ("facts", "rank")

    def __init__(self, facts: Facts, match: Match, guard: Guard | None) -> None:
        self.rank = category_rank(facts.category)
        super().__init__(self.rank << _RANK_SHIFT | facts.order, match, guard)
        self.facts = facts


class TraditionalRouter(Router):
    """Routes compiled for matching by the rules of the traditional flavor."""

    __slots__ = ("_pure", "_recognition")

    flavor = TRADITIONAL

    def __init__(self, calculation: str = ORIGINAL) -> None:
        self._recognition = Recognition()
        self._pure = False
        super().__init__(calculation)

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
        name, with_port, to_port = split_port(host, 443 if scheme == b"https" else 80)
        request = Request(method, name, path, fields, scheme, sni, to_port, source, destination, query)
        hits = self._recognition.recognise(request, with_port)
        found: Match | None = None
        if hits.category:
            start = category_rank(hits.category) if self._recognition.count(hits.category) else 0
            walk = _Walk(start, lambda category: self._recognition.bucket(category, hits, request, host))
            for candidates in self._candidates(host, path):
                walk.take(candidates, request)
            found = walk.winner()
        if self._pure:
            self._remember(method, host, path, found)
        return found

    def _roots(self, host: bytes) -> list[Node[Candidate]]:
        """Hosts are looked up as written with their port, and without it."""
        name = split_port(host, 80)[0]
        roots = [root for text in dict.fromkeys((host, name)) if (root := self._index.exact.get(text)) is not None]
        if self._has_wildcards:
            roots.extend(self._index.wildcard_roots(name, empty_label=False))
        return roots

    def _edited(self, owner: object) -> Self:
        copy = super()._edited(owner)
        copy._recognition = self._recognition.edited(owner)
        return copy

    def _compile(self, route: RouteLike) -> Iterator[Placement]:
        return compile_traditional(route)

    def _add(self, route: RouteLike) -> Generator[None, None, None]:
        yield from super()._add(route)
        for count, facts in enumerate(_facts_of(self._placements.get(route.id) or ()), 1):
            self._recognition.add(facts)
            if count % PLACEMENTS_A_STEP == 0:
                yield

    def _remove(self, route_id: str) -> Generator[None, None, None]:
        for count, facts in enumerate(_facts_of(self._placements.get(route_id) or ()), 1):
            self._recognition.discard(facts)
            if count % PLACEMENTS_A_STEP == 0:
                yield
        yield from super()._remove(route_id)

    def _freeze(self) -> None:
        super()._freeze()
        # with these in use the answer depends on more than method, host and path (a host's default port on the scheme)
        self._pure = not any(self._recognition.uses(bit) for bit in (HEADER, SNI, SRC, DST, PORTED))


class _Walk:
    """The walk through the categories, fed with candidates in any order of nodes."""

    __slots__ = ("_best", "_bucket", "_bucket_of", "_in_bucket", "_matches", "_start")

    def __init__(self, start: int, bucket_of: Callable[[int], tuple[int, bytes] | None]) -> None:
        self._start = start
        self._bucket_of = bucket_of
        self._bucket: tuple[int, bytes] | None = None
        self._best: TraditionalCandidate | None = None
        self._in_bucket: TraditionalCandidate | None = None
        self._matches: dict[int, Match] = {}

    def take(self, candidates: Sequence[Candidate], request: Request) -> None:
        """Look through the candidates of one node, which stand by category and rank, as far as they can still win."""
        for candidate in candidates:
            assert isinstance(candidate, TraditionalCandidate)
            if candidate.rank < self._start:
                continue
            best, in_bucket = self._best, self._in_bucket
            if best is not None and candidate.rank > best.rank:
                return
            if in_bucket is not None and candidate.rank == in_bucket.rank and candidate.order >= in_bucket.order:
                return
            match = _match(candidate, request)
            if match is not None:
                self._matches[candidate.order] = match
                self._note(candidate)

    def _note(self, candidate: TraditionalCandidate) -> None:
        best = self._best
        if best is None or candidate.rank < best.rank:
            self._best, self._in_bucket = candidate, None
            self._bucket = self._bucket_of(candidate.facts.category)
        elif candidate.order < best.order:
            self._best = candidate
        if self._bucket is not None:
            bit, value = self._bucket
            if value in candidate.facts.values.get(bit, ()) and (
                self._in_bucket is None or candidate.order < self._in_bucket.order
            ):
                self._in_bucket = candidate

    def winner(self) -> Match | None:
        chosen = self._in_bucket or self._best
        return self._matches[chosen.order] if chosen is not None else None


def _match(candidate: Candidate, request: Request) -> Match | None:
    """The candidate's Match when everything the index does not know agrees too."""
    guard = candidate.guard
    if guard is None:
        return candidate
    bit = METHOD_BITS.get(request.method, OTHER_METHOD)
    if not guard.mask & bit or (bit == OTHER_METHOD and not guard.takes(request.method)):
        return None
    match = guard.consume(candidate, request.path)
    return None if match is None else guard.settle(request, match)


def _facts_of(placements: Sequence[Placement]) -> list[Facts]:
    """The facts of a route's candidates, once each (candidates that differ in ports only share them)."""
    facts: dict[Facts, None] = {}
    for placement in placements:
        assert isinstance(placement.candidate, TraditionalCandidate)
        facts[placement.candidate.facts] = None
    return list(facts)


def split_port(host: bytes, default: int) -> tuple[bytes, bytes, int]:
    """A Host field as (host without port, host with port, port); the default port is put where none was written.

    Brackets of an IPv6 literal are peeled off the first. What cannot be split stays whole.
    """
    if host.startswith(b"["):
        return _split_bracketed(host, default)
    name, colon, port = host.partition(b":")
    if not colon or not port:
        return name, b"%b:%d" % (name, default), default
    if not port.isdigit():
        return host, b"[%b]:%d" % (host, default), default
    return name, host, int(port)


def _split_bracketed(host: bytes, default: int) -> tuple[bytes, bytes, int]:
    if host.endswith(b"]"):
        return host[1:-1], b"%b:%d" % (host, default), default
    at = host.find(b"]:", 1)
    if at >= 0:
        port = host[at + 2 :]
        if not port:
            return host[1:at], b"%b%d" % (host, default), default
        if port.isdigit():
            return host[1:at], host, int(port)
    return host, b"%b:%d" % (host, default), default


def compile_traditional(route: RouteLike) -> Iterator[Placement]:
    """Placements of a route, a candidate for each path; none for a route that only takes streams."""
    if is_stream(route):
        return
    try:
        yield from _place(route)
    except (PatternError, ValueError) as error:
        raise RouteError(route, str(error)) from error


def _place(route: RouteLike) -> Iterator[Placement]:
    headers = [(name.lower(), values) for name, values in route.headers if name.lower() != "host"]
    methods = [method.upper() for method in route.methods]
    shared: dict[int, tuple[bytes, ...]] = {
        HOST: tuple(host.encode() for host in dict.fromkeys(route.hosts)),
        HEADER: tuple(name.encode() for name, _ in headers),
        METHOD: tuple(method.encode() for method in dict.fromkeys(methods)),
        SNI: tuple(_sni(sni) for sni in dict.fromkeys(route.snis)),
    }
    shared = {bit: values for bit, values in shared.items() if values}
    shared |= {bit: () for bit, records in ((SRC, route.sources), (DST, route.destinations)) if records}
    category = sum(shared) | (URI if route.paths else 0)
    if not category:
        raise PatternError("no field to match by: set at least one of methods, hosts, headers, paths, snis")
    hosts = tuple(_parse_hosts(route.hosts))
    checks = tuple(_field_checks(route, headers))
    for position, path in enumerate(dict.fromkeys(route.paths) or ("",)):
        is_regex = path.startswith(REGEX_MARK)
        text = path[1:] if is_regex else path
        regex = Regex(text, as_pcre=True, path=True) if is_regex else None
        prefix = literal_prefix(text) if is_regex else text.encode()
        length = 0 if is_regex else len(prefix)
        order = traditional_order(
            _sub_rank(hosts, is_regex),
            len(headers),
            route.regex_priority or 0,
            length,
            route.created_at,
            route.id,
            position,
        )
        values = {**shared, URI: (text.encode(),)} if path else shared
        facts = Facts(category, order, hosts, text.encode() if path else None, prefix, regex, values)
        match = Match(route.id) if is_regex else Match(route.id, prefix, length)
        yield from _place_path(facts, match, methods, regex, checks)


def _place_path(
    facts: Facts, match: Match, methods: Sequence[str], regex: Regex | None, checks: tuple[Check, ...]
) -> Iterator[Placement]:
    candidate = TraditionalCandidate(facts, match, build_guard(methods, regex, checks))
    if not facts.hosts:
        yield Placement(ANY_HOST, b"", facts.uri_prefix, candidate)
        return
    by_key: dict[tuple[str, bytes], set[int] | None] = {}
    for pattern, value in facts.hosts:
        if pattern.kind == EXACT:
            by_key[EXACT, value] = None
        elif pattern.port is None:
            by_key[pattern.kind, pattern.text] = None
        elif (ports := by_key.setdefault((pattern.kind, pattern.text), set())) is not None:
            ports.add(pattern.port)
    for (kind, text), ports in by_key.items():
        waiting = candidate
        if ports is not None:
            port_check = DestinationPort(frozenset(ports))
            waiting = TraditionalCandidate(facts, match, build_guard(methods, regex, (port_check, *checks)))
        yield Placement(kind, text, facts.uri_prefix, waiting)


def _parse_hosts(hosts: Sequence[str]) -> Iterator[tuple[HostPattern, bytes]]:
    """Wildcards are taken to parts; a plain host is compared as written, port included."""
    for host in dict.fromkeys(hosts):
        value = host.encode()
        yield (parse_host(host) if "*" in host else HostPattern(EXACT, value, None)), value


def _sub_rank(hosts: Sequence[tuple[HostPattern, bytes]], is_regex: bool) -> int:
    wildcards = [pattern for pattern, _ in hosts if pattern.kind != EXACT]
    rank = REGEX_URI if is_regex else 0
    if hosts and not wildcards:
        rank |= PLAIN_HOSTS_ONLY
    if any(pattern.port is not None for pattern in wildcards):
        rank |= WILDCARD_HOST_PORT
    return rank


def _sni(sni: str) -> bytes:
    """A server name less the dot that may end it."""
    return (sni[:-1] if len(sni) > 1 and sni.endswith(".") else sni).encode()


def _field_checks(route: RouteLike, headers: Sequence[tuple[str, Sequence[str]]]) -> Iterator[Check]:
    for name, values in headers:
        yield _header_check(name.encode(), values)
    if route.snis:
        yield ServerName(route.snis, wildcards=False)
    if route.sources:
        yield Addresses(route.sources, is_source=True)
    if route.destinations:
        yield Addresses(route.destinations, is_source=False)


def _header_check(name: bytes, values: Sequence[str]) -> HeaderValues:
    """A regex is one only when it is the single value; its letters keep their case although values are lowered."""
    names = tuple(dict.fromkeys((name, name.replace(b"_", b"-"))))
    regexes: tuple[Regex, ...] = ()
    if len(values) == 1 and values[0].startswith(HEADER_REGEX_MARK):
        regexes = (Regex(values[0][2:], as_pcre=True),)
    return HeaderValues(names, frozenset(value.lower().encode() for value in values), regexes)
