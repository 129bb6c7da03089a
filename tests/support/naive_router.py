"""Routing by the written rules, trying every route: the measure the compiled routers are held against.

Nothing of kongdp.routing is used but the shape of a route. Slow on purpose: lists are walked, numbers are written out
as the reference states them, regexes run in Python's own engine.
"""

import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tests.support.routes import StubRoute

SPLIT_NAMESPACE = uuid.UUID("7f145bf9-0dce-4f91-98eb-debbce4b9f6b")
U32, U64 = 2**32 - 1, 2**64 - 1


@dataclass(frozen=True, slots=True)
class NaiveRequest:
    method: str = "GET"
    host: str = "a.test"
    path: str = "/"
    headers: tuple[tuple[str, tuple[str, ...]], ...] = ()
    scheme: str = "http"
    sni: str | None = None
    port: int = 8000
    source: str | None = None
    query: str = ""

    def lines(self, name: str) -> list[str]:
        return [value for key, values in self.headers if key == name for value in values]


class Found(NamedTuple):
    route_id: str
    prefix: str


# traditional_compatible


def match_compatible(routes: Sequence[StubRoute], request: NaiveRequest, *, strict: bool = False) -> Found | None:
    matchers = [matcher for route in routes for matcher in split(route)]
    matchers.sort(key=lambda matcher: (priority(matcher[0], strict), uuid.UUID(matcher[1]).int), reverse=True)
    for route, _ in matchers:
        prefix = compatible_prefix(route, request, strict=strict)
        if prefix is not None:
            return Found(route.id, prefix)
    return None


def split(route: StubRoute) -> Iterator[tuple[StubRoute, str]]:
    groups: dict[int, list[str]] = {}
    for path in route.paths:
        groups.setdefault(0 if path.startswith("~") else len(path.encode()), []).append(path)
    if len(groups) <= 1:
        yield route, route.id
        return
    for number, paths in enumerate(groups.values(), 1):
        yield replace_paths(route, tuple(paths)), str(uuid.uuid5(SPLIT_NAMESPACE, f"{route.id}#{number}"))


def replace_paths(route: StubRoute, paths: tuple[str, ...]) -> StubRoute:
    values = {name: getattr(route, name) for name in StubRoute.__dataclass_fields__}
    return StubRoute(**(values | {"paths": paths}))


def priority(route: StubRoute, strict: bool) -> int:
    fields = (route.methods, route.hosts, route.headers, route.paths, route.snis)
    weight = sum(1 for field in fields if field)
    plain = bool(route.hosts) and all("*" not in host for host in route.hosts)
    regex = bool(route.paths) and route.paths[0].startswith("~")
    length = len(route.paths[0].encode()) if route.paths and not regex else 0
    regex_priority = route.regex_priority if regex else 0
    flags = (2**60 if plain else 0) | (2**51 if regex else 0)
    if strict:
        return (weight << 61 | len(route.headers) << 52 | regex_priority << 19) & U64 | flags | length
    low = (weight << 29 | len(route.headers) << 20 | regex_priority << 19) & U32
    if not flags and low >= 2**31:
        low |= U64 - U32
    return low | flags | length


def compatible_prefix(route: StubRoute, request: NaiveRequest, *, strict: bool) -> str | None:
    """The prefix consumed ("" when no path took part), or None when the route does not match."""
    exempt = not strict or "http" in route.protocols
    if route.snis and not (request.scheme != "https" and exempt):
        if request.scheme != "https" or request.sni is None:
            return None
        names = [sni.removesuffix(".") for sni in route.snis]
        if not any(wildcard_equal(name, request.sni) for name in names):
            return None
    if route.methods and request.method not in route.methods:
        return None
    if route.hosts and not any(compatible_host(host, request) for host in route.hosts):
        return None
    for name, values in route.headers:
        key = name.lower().replace("-", "_")
        lines = request.lines(key) or request.lines(key.replace("_", "-"))
        if not any(compatible_header(value.lower(), line.lower()) for value in values for line in lines):
            return None
    if not route.paths:
        return ""
    for path in route.paths:
        if not path.startswith("~"):
            if request.path.startswith(path):
                return path
            continue
        found = re.search("^" + path[1:].replace("(?<", "(?P<"), request.path)
        if found:
            return found[0]
    return None


def wildcard_equal(pattern: str, value: str) -> bool:
    if pattern.startswith("*"):
        return value.endswith(pattern[1:])
    if pattern.endswith("*"):
        return value.startswith(pattern[:-1])
    return pattern == value


def compatible_host(host: str, request: NaiveRequest) -> bool:
    def cut(text: str) -> tuple[str, str]:
        name, _, port = text.partition(":")
        return (name, port) if port.isdigit() else (text, "")

    name, port = cut(host)
    request_name, request_port = cut(request.host)
    if port and int(port) != int(request_port or request.port):
        return False
    return wildcard_equal(name, request_name)


def compatible_header(value: str, line: str) -> bool:
    return bool(re.search(value[2:], line)) if value.startswith("~*") else value == line


# traditional

HOST, HEADER, URI, METHOD, SNI = 0x40, 0x20, 0x10, 0x08, 0x04
FIELDS = (HOST, HEADER, URI, METHOD, SNI)


def match_traditional(routes: Sequence[StubRoute], request: NaiveRequest) -> Found | None:
    """Ties of age fall to the smaller id, then to the path listed first (Kong leaves them open)."""
    candidates = sorted(
        (replace_paths(route, (path,) if path else ()) for route in routes for path in route.paths or ("",)),
        key=build_key,
    )
    named, with_port = traditional_host(request)
    hits: dict[int, str] = {}
    recognise_header(candidates, request, hits)
    recognise_host(candidates, request, named, with_port, hits)
    recognise_path(candidates, request, hits)
    if any(request.method in upper(c.methods) for c in candidates):
        hits[METHOD] = request.method
    if request.sni is not None and any(request.sni in plain_snis(c) for c in candidates):
        hits[SNI] = request.sni
    if not hits:
        return None
    return walk(candidates, request, hits, sum(hits))


def build_key(route: StubRoute) -> tuple[object, ...]:
    regex = bool(route.paths) and route.paths[0].startswith("~")
    wildcards = [host for host in route.hosts if "*" in host]
    rank = (4 if any(":" in host for host in wildcards) else 0) | (1 if regex else 0)
    rank |= 2 if route.hosts and not wildcards else 0
    length = 0 if regex or not route.paths else len(route.paths[0].encode())
    age = route.created_at if route.created_at is not None else U64
    return (
        -rank,
        -len(route.headers),
        -route.regex_priority if regex else 0,
        -length,
        age,
        uuid.UUID(route.id).int,
    )


def category_of(route: StubRoute) -> int:
    used = (
        (HOST, route.hosts),
        (HEADER, route.headers),
        (URI, route.paths),
        (METHOD, route.methods),
        (SNI, route.snis),
    )
    return sum(bit for bit, values in used if values)


def walk(
    candidates: Sequence[StubRoute], request: NaiveRequest, hits: Mapping[int, str], recognised: int
) -> Found | None:
    categories = sorted({category_of(c) for c in candidates}, key=lambda bits: (-bits.bit_count(), -bits))
    start = categories.index(recognised) if recognised in categories else 0
    for category in categories[start:]:
        members = [c for c in candidates if category_of(c) == category]
        bucket = smallest_bucket(members, category, request, hits)
        for candidate in (*bucket, *members):
            prefix = traditional_prefix(candidate, request)
            if prefix is not None:
                return Found(candidate.id, prefix)
    return None


def smallest_bucket(
    members: Sequence[StubRoute], category: int, request: NaiveRequest, hits: Mapping[int, str]
) -> Sequence[StubRoute]:
    keys: dict[int, Callable[[StubRoute], Sequence[str]]] = {
        HOST: lambda c: c.hosts,
        HEADER: lambda c: [name.lower() for name, _ in c.headers],
        URI: lambda c: [path.removeprefix("~") for path in c.paths],
        METHOD: lambda c: upper(c.methods),
        SNI: plain_snis,
    }
    wanted = {
        HOST: hits.get(HOST) or request.host,
        HEADER: hits.get(HEADER),
        URI: hits.get(URI),
        METHOD: request.method,
        SNI: request.sni,
    }
    smallest: Sequence[StubRoute] = ()
    for bit in FIELDS:
        if not category & bit:
            continue
        bucket = [c for c in members if wanted[bit] in keys[bit](c)]
        if bucket and bit == HEADER:
            return bucket
        if bucket and (not smallest or len(bucket) < len(smallest)):
            smallest = bucket
    return smallest


def upper(methods: Sequence[str]) -> list[str]:
    return [method.upper() for method in methods]


def plain_snis(route: StubRoute) -> list[str]:
    return [sni.removesuffix(".") for sni in route.snis]


def traditional_host(request: NaiveRequest) -> tuple[str, str]:
    """(host without port, host with port; the scheme's own when none was written)"""
    name, colon, port = request.host.partition(":")
    if colon and port.isdigit():
        return name, request.host
    return name, f"{name}:{443 if request.scheme == 'https' else 80}"


def wildcard_regex(host: str) -> str:
    regex = host.replace(".", r"\.").replace("*", ".+")
    return regex + ("$" if re.search(r":\d+$", host) else r"(?::\d+)?$")


def recognise_header(candidates: Sequence[StubRoute], request: NaiveRequest, hits: dict[int, str]) -> None:
    for candidate in candidates:
        for name, _ in candidate.headers:
            if traditional_lines(name.lower(), request):
                hits.setdefault(HEADER, name.lower())


def recognise_host(
    candidates: Sequence[StubRoute], request: NaiveRequest, name: str, with_port: str, hits: dict[int, str]
) -> None:
    """HOST -> the wildcard that was hit, or "" for a plain one."""
    if not request.host:
        return
    plain = {host for c in candidates for host in c.hosts if "*" not in host}
    if with_port in plain or name in plain:
        hits[HOST] = ""
        return
    for host in (host for c in candidates for host in c.hosts if "*" in host):
        if re.match(wildcard_regex(host), with_port):
            hits.setdefault(HOST, host)


def recognise_path(candidates: Sequence[StubRoute], request: NaiveRequest, hits: dict[int, str]) -> None:
    paths = [path for c in candidates for path in c.paths]
    for path in paths:
        if path.startswith("~") and re.match(path[1:].replace("(?<", "(?P<"), request.path):
            hits.setdefault(URI, path[1:])
    if URI not in hits:
        prefixes = [path for path in paths if not path.startswith("~") and request.path.startswith(path)]
        if prefixes:
            hits[URI] = max(prefixes, key=len)


def traditional_lines(name: str, request: NaiveRequest) -> list[str]:
    return request.lines(name) or request.lines(name.replace("_", "-"))


def traditional_prefix(route: StubRoute, request: NaiveRequest) -> str | None:
    name, with_port = traditional_host(request)
    if route.hosts:
        wildcards = [host for host in route.hosts if "*" in host]
        plain = request.host in route.hosts or name in route.hosts
        if not plain and not any(re.match(wildcard_regex(host), with_port) for host in wildcards):
            return None
    for header, values in route.headers:
        lines = [line.lower() for line in traditional_lines(header.lower(), request)]
        regex = values[0][2:] if len(values) == 1 and values[0].startswith("~*") else None
        lowered = [value.lower() for value in values]
        if not any(line in lowered or (regex is not None and re.search(regex, line)) for line in lines):
            return None
    if route.methods and request.method not in upper(route.methods):
        return None
    if route.snis and request.scheme != "http" and request.sni not in plain_snis(route):
        return None
    if not route.paths:
        return ""
    path = route.paths[0]
    if not path.startswith("~"):
        return path if request.path.startswith(path) else None
    found = re.match(path[1:].replace("(?<", "(?P<") + "(?P<rest>.*)", request.path)
    if not found:
        return None
    return request.path[: len(request.path) - len(found["rest"])] if found["rest"] is not None else ""
