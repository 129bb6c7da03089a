"""A candidate: one way a route can match, and the checks that remain once host and path prefix were found in the index.

Most candidates have no guard: finding them is matching them. Methods are a bit mask; tokens outside the
table share one bit and are compared exactly. Header, SNI, port and address checks are small objects that read a
`Request`; it is made only when a candidate with checks is reached, and asks for header fields only when one of them
needs a value. A result that no check took part in depends on method, host and path alone, so the router may keep it.
Hot: `Check.holds` and the values of Request. Cold: building. Source: Kong 3.9 traditional.lua matchers,
transform.lua, fields.lua.
"""

from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Protocol

from kongdp.routing.pattern import Regex
from kongdp.routing.route import Match

Fields = Mapping[bytes, Sequence[bytes]]
"""Field names in lower case -> raw values, one for each line. The caller gives no more lines than routing may see."""

Endpoint = tuple[str, int]

METHOD_BITS: Mapping[bytes, int] = {
    name: 1 << at
    for at, name in enumerate(
        (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"PURGE", b"QUERY")
    )
}
OTHER_METHOD = 1 << 30
ANY_METHOD = -1

_NO_FIELDS: Fields = {}


class Request:
    """What a request brings to the checks; values that cost something are worked out when first asked for.

    `host` is without port; `port` is the one the Host field names, else what the flavor takes in its place.
    """

    __slots__ = (
        "_fields",
        "_lowered",
        "_read_fields",
        "destination",
        "host",
        "method",
        "path",
        "port",
        "query",
        "scheme",
        "sni",
        "source",
    )

    def __init__(
        self,
        method: bytes,
        host: bytes,
        path: bytes,
        read_fields: Callable[[], Fields] | None,
        scheme: bytes,
        sni: bytes | None,
        port: int,
        source: Endpoint | None,
        destination: Endpoint | None,
        query: bytes,
    ) -> None:
        self.method = method
        self.host = host
        self.path = path
        self.scheme = scheme
        self.sni = sni
        self.port = port
        self.source = source
        self.destination = destination
        self.query = query
        self._read_fields = read_fields
        self._fields: Fields | None = None
        self._lowered: dict[bytes, tuple[bytes, ...]] = {}

    @property
    def fields(self) -> Fields:
        if self._fields is None:
            self._fields = self._read_fields() if self._read_fields is not None else _NO_FIELDS
        return self._fields

    def lowered(self, name: bytes) -> tuple[bytes, ...]:
        """The values of a field in lower case; none when the request lacks it."""
        values = self._lowered.get(name)
        if values is None:
            values = self._lowered[name] = tuple([lower(value) for value in self.fields.get(name, ())])
        return values


def lower(value: bytes) -> bytes:
    """Lower case as Unicode has it where the bytes are UTF-8, else that of ASCII."""
    if value.isascii():
        return value.lower()
    try:
        return value.decode().lower().encode()
    except UnicodeDecodeError:
        return value.lower()


class Check(Protocol):
    """One test beyond host, path and method."""

    def holds(self, request: Request) -> bool: ...


class Evaluates(Protocol):
    """A test that takes the whole request and makes the Match itself (an expression)."""

    def match(self, request: Request) -> Match | None: ...


class Guard:
    """What remains to be checked of a candidate that the index found; candidates of one route share it."""

    __slots__ = ("_evaluator", "checks", "mask", "methods", "needs_request", "regex", "uses_path")

    def __init__(
        self,
        methods: Sequence[str] = (),
        regex: Regex | None = None,
        checks: tuple[Check, ...] = (),
        evaluator: Evaluates | None = None,
        *,
        uses_path: bool = False,
    ) -> None:
        tokens = [method.encode() for method in methods]
        self.mask = method_mask(tokens)
        self.methods = frozenset(tokens) if self.mask > 0 and self.mask & OTHER_METHOD else None
        self.regex = regex
        self.checks = checks
        self.needs_request = bool(checks) or evaluator is not None
        self.uses_path = uses_path or regex is not None
        self._evaluator = evaluator

    def takes(self, method: bytes) -> bool:
        """Whether a method outside the table is taken; methods in it are decided by `mask`."""
        return self.methods is None or method in self.methods

    def consume(self, match: Match, path: bytes) -> Match | None:
        """What a candidate with this guard and `match` answers for the path: a Match of its own when there is a
        regex.
        """
        if self.regex is None:
            return match
        consumed = self.regex.consume(path)
        if consumed is None:
            return None
        prefix, captures = consumed
        return Match(match.route_id, prefix, len(prefix), captures)

    def settle(self, request: Request, match: Match) -> Match | None:
        """What remains when method and regex agreed: the checks, and the evaluator's own Match if there is one."""
        for check in self.checks:
            if not check.holds(request):
                return None
        return match if self._evaluator is None else self._evaluator.match(request)


def build_guard(
    methods: Sequence[str] = (), regex: Regex | None = None, checks: tuple[Check, ...] = ()
) -> Guard | None:
    """The guard of a route's field values; None when the index alone decides."""
    return Guard(methods, regex, checks) if methods or regex is not None or checks else None


class Candidate(Match):
    """One way a route can match, and the Match it answers with when no regex has a say. Never changed once it is in
    an index.

    `order` ranks it among all candidates (smaller wins; unique). Without a guard, finding it is matching it. PERF:
    candidate and Match are one object, so that a match among 100,000 touches that and no other.
    """

    __slots__ = ("guard", "order")

    def __init__(self, order: int, match: Match, guard: Guard | None = None) -> None:
        super().__init__(match.route_id, match.prefix, match.prefix_length)
        self.order = order
        self.guard = guard

    @property
    def uses_path(self) -> bool:
        """Whether a request's path decides about this candidate."""
        return bool(self.prefix) or (self.guard is not None and self.guard.uses_path)


def method_mask(methods: Sequence[bytes]) -> int:
    """The bits of the methods; every bit when the list is empty."""
    if not methods:
        return ANY_METHOD
    mask = 0
    for method in methods:
        mask |= METHOD_BITS.get(method, OTHER_METHOD)
    return mask


class HeaderValues:
    """Some line of the field has one of the values, or matches one of the regexes (both against lower case).

    `names` are looked up in turn and the first one present decides, so that `x_a` may also be spelt `x-a`.
    """

    __slots__ = ("_names", "_regexes", "_values")

    def __init__(self, names: Sequence[bytes], values: frozenset[bytes], regexes: tuple[Regex, ...]) -> None:
        self._names = names
        self._values = values
        self._regexes = regexes

    def holds(self, request: Request) -> bool:
        for name in self._names:
            lines = request.lowered(name)
            if lines:
                return self._any(lines)
        return False

    def _any(self, lines: tuple[bytes, ...]) -> bool:
        values = self._values
        for line in lines:
            if line in values:
                return True
        return any(regex.search(line) for regex in self._regexes for line in lines)


class DestinationPort:
    """The request arrived for one of these ports."""

    __slots__ = ("_ports",)

    def __init__(self, ports: frozenset[int]) -> None:
        self._ports = ports

    def holds(self, request: Request) -> bool:
        return request.port in self._ports


class ServerName:
    """The TLS server name is one of the configured; `exempt_http` lets requests without TLS pass (Kong issue 6425)."""

    __slots__ = ("_exact", "_exempt_http", "_prefixes", "_suffixes")

    def __init__(self, snis: Sequence[str], *, wildcards: bool, exempt_http: bool = True) -> None:
        names = [sni[:-1] if len(sni) > 1 and sni.endswith(".") else sni for sni in snis]
        self._exempt_http = exempt_http
        self._suffixes = tuple(name[1:].encode() for name in names if wildcards and name.startswith("*"))
        self._prefixes = tuple(name[:-1].encode() for name in names if wildcards and name.endswith("*"))
        self._exact = frozenset(name.encode() for name in names if not wildcards or "*" not in name)

    def holds(self, request: Request) -> bool:
        if request.scheme != b"https":
            return self._exempt_http
        sni = request.sni
        if sni is None:
            return False
        return sni in self._exact or sni.endswith(self._suffixes) or sni.startswith(self._prefixes)


class Scheme:
    """The connection's scheme is one of these."""

    __slots__ = ("_schemes",)

    def __init__(self, schemes: frozenset[bytes]) -> None:
        self._schemes = schemes

    def holds(self, request: Request) -> bool:
        return request.scheme in self._schemes


class Addresses:
    """Some record agrees with the connection's address: each record names an address or network, a port, or both."""

    __slots__ = ("_is_source", "_records")

    def __init__(self, records: Sequence[Any], *, is_source: bool) -> None:
        self._is_source = is_source
        self._records = tuple(_parse_record(record) for record in records)

    def holds(self, request: Request) -> bool:
        endpoint = request.source if self._is_source else request.destination
        if endpoint is None:
            return False
        address = parse_address(endpoint[0])
        if address is None:
            return False
        return any(
            (network is None or address in network) and (port is None or port == endpoint[1])
            for network, port in self._records
        )


Network = IPv4Network | IPv6Network


def _parse_record(record: Any) -> tuple[Network | None, int | None]:
    """A `{ip, port}` record, given as a mapping or an object; ValueError for an address that is none."""
    ip, port = (record.get("ip"), record.get("port")) if isinstance(record, Mapping) else (record.ip, record.port)
    return (ip_network(ip, strict=False) if ip is not None else None), port


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """An address, or None for a peer that has none (a Unix socket)."""
    try:
        return ip_address(text)
    except ValueError:
        return None
