"""The traditional_compatible flavor: classic route fields as candidates, ranked by Kong's 64-bit priority.

In: a route.  Out: its placements for the index; RouteError when it cannot be compiled.
A route's paths fall into groups, all regexes together and prefixes by length, and each group is a matcher of its own:
with its own priority and, when there are several, its own id derived from the route's. Inside a group of regexes the
first listed that matches decides. Classic routes of the expressions flavor are compiled here too. Cold.
Source: Kong 3.9 kong/router/transform.lua, compat.lua.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from kongdp.routing.candidate import Addresses, Candidate, Check, DestinationPort, HeaderValues, ServerName, build_guard
from kongdp.routing.index import ANY_HOST, Placement
from kongdp.routing.pattern import HEADER_REGEX_MARK, REGEX_MARK, PatternError, Regex, literal_prefix, parse_host
from kongdp.routing.priority import ORIGINAL, STRICT, Weight, compatible_order, compatible_priority, split_id
from kongdp.routing.route import Match, RouteError, RouteLike

STREAM_PROTOCOLS = frozenset({"tcp", "udp", "tls", "tls_passthrough"})
_PLAIN_PROTOCOLS = frozenset({"http", "grpc"})


class HostKey(NamedTuple):
    """Where a host is filed, and the ports that remain to be checked (None: any)."""

    kind: str
    text: bytes
    ports: frozenset[int] | None


def compile_compatible(
    route: RouteLike, calculation: str = ORIGINAL, extra_checks: tuple[Check, ...] = ()
) -> Iterator[Placement]:
    """Placements of a classic route, one by one; none for a route that only takes streams."""
    if is_stream(route):
        return
    try:
        yield from _place(route, calculation, extra_checks)
    except (PatternError, ValueError) as error:
        raise RouteError(route, str(error)) from error


def is_stream(route: RouteLike) -> bool:
    """Whether the route has nothing to do with HTTP."""
    return bool(route.protocols) and STREAM_PROTOCOLS.issuperset(route.protocols)


def _place(route: RouteLike, calculation: str, extra_checks: tuple[Check, ...]) -> Iterator[Placement]:
    fields = (route.methods, route.hosts, route.paths, route.headers, route.snis, route.sources, route.destinations)
    used = sum(1 for field in fields if field)
    if not used:
        raise PatternError("no field to match by: set at least one of methods, hosts, headers, paths, snis")
    hosts = host_keys(route.hosts)
    checks = (*_field_checks(route, calculation), *extra_checks)
    groups = group_paths(route.paths)
    for number, group in enumerate(groups, 1):
        matcher_id = route.id if len(groups) == 1 else split_id(route.id, number)
        is_regex = bool(group) and group[0].startswith(REGEX_MARK)
        weight = Weight(
            fields=used,
            headers=len(route.headers),
            plain_hosts=bool(route.hosts) and not any("*" in host for host in route.hosts),
            regex=is_regex,
            regex_priority=route.regex_priority or 0,
            length=len(group[0].encode()) if group and not is_regex else 0,
        )
        priority = compatible_priority(weight, calculation)
        for position, path in enumerate(group or [""]):
            order = compatible_order(priority, matcher_id, position)
            is_regex = path.startswith(REGEX_MARK)
            pattern = path_pattern(route.id, f"^{path[1:]}" if is_regex else path, is_regex=is_regex)
            yield from place_path(pattern, order, route.methods, hosts, checks)


class PathPattern(NamedTuple):
    """A path as the index takes it: the bytes it must begin with, the regex if it is one, and what it leaves as a
    Match.
    """

    prefix: bytes
    regex: Regex | None
    match: Match


def path_pattern(route_id: str, text: str, *, is_regex: bool) -> PathPattern:
    """A prefix ("" for a route without paths), or a regex in the engine's spelling, with its own `^`."""
    if not is_regex:
        prefix = text.encode()
        return PathPattern(prefix, None, Match(route_id, prefix, len(prefix)))
    prefix = literal_prefix(text[1:]) if text.startswith("^") else b""
    return PathPattern(prefix, Regex(text), Match(route_id))


def place_path(
    pattern: PathPattern, order: int, methods: Sequence[str], hosts: Sequence[HostKey], checks: tuple[Check, ...]
) -> Iterator[Placement]:
    """A candidate for a path under every host; hosts that differ in their ports need candidates of their own."""
    by_ports: dict[frozenset[int] | None, Candidate] = {}
    for kind, host, ports in hosts:
        candidate = by_ports.get(ports)
        if candidate is None:
            port_check = () if ports is None else (DestinationPort(ports),)
            candidate = Candidate(order, pattern.match, build_guard(methods, pattern.regex, port_check + checks))
            by_ports[ports] = candidate
        yield Placement(kind, host, pattern.prefix, candidate)


def group_paths(paths: Iterable[str]) -> list[list[str]]:
    """Paths by matcher: regexes together, prefixes of one length together, in order of first appearance."""
    groups: dict[int, list[str]] = {}
    for path in dict.fromkeys(paths):
        groups.setdefault(0 if path.startswith(REGEX_MARK) else len(path.encode()), []).append(path)
    return list(groups.values()) or [[]]


def host_keys(hosts: Iterable[str]) -> list[HostKey]:
    """The hosts without repetition; one that is listed with and without port takes any port."""
    ports: dict[tuple[str, bytes], set[int] | None] = {}
    for host in hosts:
        kind, text, port = parse_host(host)
        if port is None:
            ports[kind, text] = None
        elif (known := ports.setdefault((kind, text), set())) is not None:
            known.add(port)
    keys = [HostKey(*key, None if known is None else frozenset(known)) for key, known in ports.items()]
    return keys or [HostKey(ANY_HOST, b"", None)]


def _field_checks(route: RouteLike, calculation: str) -> Iterator[Check]:
    for name, values in route.headers:
        yield _header_check(name, values)
    if route.snis:
        exempt = calculation != STRICT or not _PLAIN_PROTOCOLS.isdisjoint(route.protocols)
        yield ServerName(route.snis, wildcards=True, exempt_http=exempt)
    if route.sources:
        yield Addresses(route.sources, is_source=True)
    if route.destinations:
        yield Addresses(route.destinations, is_source=False)


def _header_check(name: str, values: Sequence[str]) -> HeaderValues:
    """Any value of the list may be a regex; patterns are lower-cased as a whole, as Kong does (so `\\D` means
    `\\d`).
    """
    underscored = name.lower().replace("-", "_").encode()
    names = dict.fromkeys((underscored, underscored.replace(b"_", b"-")))
    lowered = [value.lower() for value in values]
    regexes = tuple(Regex(value[2:]) for value in lowered if value.startswith(HEADER_REGEX_MARK))
    exact = frozenset(value.encode() for value in lowered if not value.startswith(HEADER_REGEX_MARK))
    return HeaderValues(tuple(names), exact, regexes)
