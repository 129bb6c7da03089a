"""The traditional flavor's first look at a request: which fields of it are known to any route, and by which value.

In: the facts of every candidate.  Out: `Hits` of a request (the set of recognised fields, the first header name,
wildcard host and path in build order) and the size of a bucket, the candidates of a category that share such a value.
Whether some candidate matches all the way is not asked here: a route can be recognised by its path although its host
is another's. Kong walks lists; here counts and trees answer, so that the cost does not grow with the routes.
Everything is persistent, as the index is. Hot: `recognise`, `bucket`. Cold: the rest. Source: Kong 3.9
traditional.lua find_route, index_route_t, reduce.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kongdp.routing import radix
from kongdp.routing.candidate import Request
from kongdp.routing.index import wildcard_keys
from kongdp.routing.pattern import EXACT, HostPattern, Regex
from kongdp.routing.priority import HEADER, HOST, METHOD, SNI, URI
from kongdp.routing.radix import Node
from kongdp.routing.shards import ShardedMap

PORTED = 0x80  # beside the field bits: some host of some route names a port
_EVERYWHERE = 0  # in place of a category: counted over all routes
_BUCKETS = (HOST, HEADER, URI, METHOD, SNI)
_ORDER_BYTES = 64
_POSITION_BITS = 16

CountKey = tuple[int, int, bytes]
OrderKey = tuple[int, object]


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What one candidate (a route with one of its paths) is known by; `hosts` pairs each pattern with the written
    value.
    """

    category: int
    order: int
    hosts: tuple[tuple[HostPattern, bytes], ...]
    uri: bytes | None
    uri_prefix: bytes
    uri_regex: Regex | None
    values: Mapping[int, tuple[bytes, ...]]
    """By field bit: what buckets are keyed by (host values as written, header names, the path, methods, server
    names).
    """

    @property
    def is_ported(self) -> bool:
        """Whether a host names a port, so that the scheme's default port matters."""
        return any(b":" in value for _, value in self.hosts)


class Mark:
    """A value that stands in an order: the best-ranked candidate that has it decides where."""

    __slots__ = ("order", "regex", "value")

    def __init__(self, order: int, value: bytes, regex: Regex | None = None) -> None:
        self.order = order
        self.value = value
        self.regex = regex


@dataclass(slots=True)
class Hits:
    """The recognised fields as a category, and the values buckets are looked up by."""

    category: int = 0
    host: bytes | None = None
    header_name: bytes | None = None
    uri: bytes | None = None

    def value(self, bit: int, request: Request, raw_host: bytes) -> bytes | None:
        if bit == HOST:
            return self.host or raw_host
        if bit == METHOD:
            return request.method
        if bit == SNI:
            return request.sni
        return self.header_name if bit == HEADER else self.uri


class Recognition:
    """What all candidates are known by. Changed only by the edit whose `owner` made it with `edited`."""

    __slots__ = ("_counts", "_orders", "_owner", "_prefixes", "_regexes", "wildcard_length_max")

    def __init__(self, owner: object = None) -> None:
        self._owner = owner
        self._counts: ShardedMap[CountKey, int] = ShardedMap(owner)
        self._orders: ShardedMap[OrderKey, Node[Mark]] = ShardedMap(owner)
        self._regexes: Node[Mark] = radix.build_root(owner)
        self._prefixes: Node[Mark] = radix.build_root(owner)
        self.wildcard_length_max = 0

    def edited(self, owner: object) -> "Recognition":
        copy = Recognition(owner)
        copy._counts = self._counts.edited(owner)
        copy._orders = self._orders.edited(owner)
        copy._regexes = self._regexes
        copy._prefixes = self._prefixes
        copy.wildcard_length_max = self.wildcard_length_max
        return copy

    def count(self, category: int, bit: int = 0, value: bytes = b"") -> int:
        """How many candidates of the category have this value (with `_EVERYWHERE`: of all categories)."""
        return self._counts.get((category, bit, value)) or 0

    def uses(self, bit: int) -> bool:
        """Whether any candidate is known by this field."""
        return self.count(_EVERYWHERE, bit) > 0

    def add(self, facts: Facts) -> None:
        self._change_counts(facts, 1)
        for key, order, value in _ordered_values(facts):
            tree = self._orders.get(key) or radix.build_root(self._owner)
            self._set_order(key, radix.insert(tree, order.to_bytes(_ORDER_BYTES), Mark(order, value), self._owner))
            if isinstance(key[1], HostPattern):
                self.wildcard_length_max = max(self.wildcard_length_max, len(key[1].text))
        if facts.uri is None:
            return
        if facts.uri_regex is not None:
            self._change_regex(facts, facts.uri, adding=True)
        elif self.count(_EVERYWHERE, URI, facts.uri) == 1:
            mark = Mark(0, facts.uri)
            self._prefixes = radix.insert(self._prefixes, facts.uri_prefix, mark, self._owner)

    def discard(self, facts: Facts) -> None:
        self._change_counts(facts, -1)
        for key, order, _ in _ordered_values(facts):
            tree = self._orders.get(key)
            assert tree is not None
            self._set_order(key, radix.remove(tree, order.to_bytes(_ORDER_BYTES), order, self._owner))
        if facts.uri is None:
            return
        if facts.uri_regex is not None:
            self._change_regex(facts, facts.uri, adding=False)
        elif not self.count(_EVERYWHERE, URI, facts.uri):
            self._prefixes = radix.remove(self._prefixes, facts.uri_prefix, 0, self._owner)

    def _change_counts(self, facts: Facts, by: int) -> None:
        self._change_count((facts.category, 0, b""), by)
        if facts.is_ported:
            self._change_count((_EVERYWHERE, PORTED, b""), by)
        for bit, values in facts.values.items():
            self._change_count((_EVERYWHERE, bit, b""), by)
            for value in values:
                self._change_count((facts.category, bit, value), by)
                # a regex is found by matching, not by looking its text up
                if bit != URI or facts.uri_regex is None:
                    self._change_count((_EVERYWHERE, bit, value), by)

    def _change_count(self, key: CountKey, by: int) -> None:
        count = (self._counts.get(key) or 0) + by
        if count:
            self._counts.set(key, count)
        else:
            self._counts.delete(key)

    def _set_order(self, key: OrderKey, tree: Node[Mark]) -> None:
        if tree.is_empty():
            self._orders.delete(key)
        else:
            self._orders.set(key, tree)

    def _change_regex(self, facts: Facts, text: bytes, *, adding: bool) -> None:
        """Keep one mark a regex text in the tree of regexes, at the order of the best candidate that has it."""
        key = (URI, text)
        tree = self._orders.get(key)
        before = radix.first(tree) if tree is not None else None
        if adding:
            mark = Mark(facts.order, text, facts.uri_regex)
            tree = radix.insert(
                tree or radix.build_root(self._owner), facts.order.to_bytes(_ORDER_BYTES), mark, self._owner
            )
        else:
            assert tree is not None
            tree = radix.remove(tree, facts.order.to_bytes(_ORDER_BYTES), facts.order, self._owner)
        self._set_order(key, tree)
        after = radix.first(tree)
        if before is not None and (after is None or after.order != before.order):
            self._regexes = radix.remove(self._regexes, facts.uri_prefix, before.order, self._owner)
        if after is not None and (before is None or after.order != before.order):
            self._regexes = radix.insert(self._regexes, facts.uri_prefix, after, self._owner)

    def recognise(self, request: Request, host_with_port: bytes) -> Hits:
        """The fields of the request that any route knows. `host_with_port` carries the scheme's port when none was
        written.
        """
        hits = Hits()
        if self.uses(HEADER):
            hits.header_name = self._header_name(request)
            hits.category |= HEADER if hits.header_name is not None else 0
        if self.uses(HOST) and request.host:
            self._recognise_host(hits, request, host_with_port)
        if self.uses(URI):
            hits.uri = self._uri(request.path)
            hits.category |= URI if hits.uri is not None else 0
        if self.count(_EVERYWHERE, METHOD, request.method):
            hits.category |= METHOD
        if request.sni is not None and self.count(_EVERYWHERE, SNI, request.sni):
            hits.category |= SNI
        return hits

    def _header_name(self, request: Request) -> bytes | None:
        """The name, of those the request has, that comes first in build order."""
        best: Mark | None = None
        for name in request.fields:
            tree = self._orders.get((HEADER, name))
            mark = radix.first(tree) if tree is not None else None
            if mark is not None and (best is None or mark.order < best.order):
                best = mark
        return best.value if best is not None else None

    def _recognise_host(self, hits: Hits, request: Request, host_with_port: bytes) -> None:
        counts = (self.count(_EVERYWHERE, HOST, host_with_port), self.count(_EVERYWHERE, HOST, request.host))
        if any(counts):
            hits.category |= HOST
            return
        best: Mark | None = None
        for kind, text in wildcard_keys(request.host, self.wildcard_length_max, empty_label=False):
            for port in (None, request.port):
                tree = self._orders.get((HOST, HostPattern(kind, text, port)))
                mark = radix.first(tree) if tree is not None else None
                if mark is not None and (best is None or mark.order < best.order):
                    best = mark
        if best is not None:
            hits.host = best.value
            hits.category |= HOST

    def _uri(self, path: bytes) -> bytes | None:
        """The first regex in build order that matches, else the longest prefix."""
        best: Mark | None = None
        for mark in radix.along(self._regexes, path):
            if (best is None or mark.order < best.order) and mark.regex is not None and mark.regex.search(path):
                best = mark
        if best is not None:
            return best.value
        prefixes = radix.along(self._prefixes, path)
        return prefixes[-1].value if prefixes else None

    def bucket(self, category: int, hits: Hits, request: Request, raw_host: bytes) -> tuple[int, bytes] | None:
        """The smallest bucket of the category as (field, value); one by header name is taken at once."""
        smallest: tuple[int, bytes] | None = None
        size_min = 0
        for bit in _BUCKETS:
            value = hits.value(bit, request, raw_host) if category & bit else None
            size = self.count(category, bit, value) if value is not None else 0
            if value is None or not size:
                continue
            if bit == HEADER:
                return bit, value
            if smallest is None or size < size_min:
                smallest, size_min = (bit, value), size
        return smallest


def _ordered_values(facts: Facts) -> Iterator[tuple[OrderKey, int, bytes]]:
    """What must be found in build order: wildcard hosts by pattern, header names by each name a request may use.

    Inside a route the value listed first goes first (Kong leaves the order of header names open).
    """
    for position, (pattern, value) in enumerate(facts.hosts):
        if pattern.kind != EXACT:
            yield (HOST, pattern), facts.order << _POSITION_BITS | position, value
    for position, name in enumerate(facts.values.get(HEADER, ())):
        for spelt in dict.fromkeys((name, name.replace(b"_", b"-"))):
            yield (HEADER, spelt), facts.order << _POSITION_BITS | position, name
