"""The node's totals: the rows of all its workers' segments, merged.

In: segment files (one for each worker slot and generation; counts of the same key are added over segments). Out:
Totals, and at each refresh the code rows that changed, so that looking each second costs what moved and not what is
configured. Segments of ended workers stay attached: their counters count for ever, their gauges no longer do. The
reader keeps no count of its own: a new agent that attaches the same segments has the same totals. Cold: the agent, once
a second and at each scrape. Source: ours.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from kongdp.telemetry.counters import (
    CODE_KIND,
    CONSUMER_KIND,
    CONSUMER_WIDTH,
    EGRESS,
    INGRESS,
    KONG_LATENCY,
    NODE_KIND,
    NODE_NUMBERS,
    REQUEST_LATENCY,
    ROUTE_KIND,
    ROUTE_WIDTH,
    SOURCES,
    UPSTREAM_LATENCY,
)
from kongdp.telemetry.segment import OVERFLOW_KEY, Reader, SegmentError

_KINDS = {number.name: number.kind for number in NODE_NUMBERS}


class CodeRow(NamedTuple):
    """How often a route answered with a status from a source ("kong" or "service") since the node's boot."""

    route_id: str
    code: int
    source: str
    total: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations by bucket (+Inf last, not cumulative) and their sum in ms; the count is the sum of the buckets."""

    buckets: tuple[int, ...]
    sum: int

    @property
    def count(self) -> int:
        """Number of observations."""
        return sum(self.buckets)


@dataclass(slots=True)
class ConsumerTotals:
    """Codes (status*2+source -> count) and bytes that were counted for one consumer on one route, or for none."""

    codes: dict[int, int] = field(default_factory=dict)
    parts: dict[int, tuple[int, ...]] = field(default_factory=dict)  # segment number -> latest row

    def merged(self, width: int) -> tuple[int, ...]:
        """The sum of the parts' rows; zeros when there is none."""
        if len(self.parts) == 1:
            return next(iter(self.parts.values()))
        return tuple(map(sum, zip(*self.parts.values(), strict=True))) if self.parts else (0,) * width

    def bandwidth(self) -> tuple[int, int]:
        """Bytes in and out."""
        row = self.merged(CONSUMER_WIDTH)
        return row[INGRESS], row[EGRESS]


@dataclass(slots=True)
class RouteTotals(ConsumerTotals):
    """One route's totals. Codes and bytes of requests that were counted for a consumer stand in `consumers` only."""

    consumers: dict[str, ConsumerTotals] = field(default_factory=dict)

    def total(self, code_source: int) -> int:
        """Requests with this status*2+source, those of consumers included."""
        own = self.codes.get(code_source, 0)
        return own + sum(each.codes.get(code_source, 0) for each in self.consumers.values())

    def histograms(self) -> tuple[Histogram, Histogram, Histogram]:
        """Latency of Kong, of the upstream, and of the whole request."""
        row = self.merged(ROUTE_WIDTH)
        return (
            Histogram(row[KONG_LATENCY : UPSTREAM_LATENCY - 1], row[UPSTREAM_LATENCY - 1]),
            Histogram(row[UPSTREAM_LATENCY : REQUEST_LATENCY - 1], row[REQUEST_LATENCY - 1]),
            Histogram(row[REQUEST_LATENCY : ROUTE_WIDTH - 1], row[ROUTE_WIDTH - 1]),
        )


@dataclass(slots=True)
class Totals:
    """What the node counted since its boot. A live view: each refresh brings it up to date.

    `routes` are in the order of their first request. `rows_refused` and `requests_overflowed` say how often a full
    segment had to refuse a row, and how many requests were counted without route and code because even the reserve was
    used up.
    """

    node: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_KINDS, 0))
    routes: dict[str, RouteTotals] = field(default_factory=dict)
    rows_refused: int = 0
    requests_overflowed: int = 0

    def route(self, route_id: str) -> RouteTotals:
        """The totals of a route, made when it is new."""
        found = self.routes.get(route_id)
        if found is None:
            found = self.routes[route_id] = RouteTotals()
        return found

    def code_rows(self) -> Iterator[CodeRow]:
        """Every route, code and source with its total."""
        for route_id, route in self.routes.items():
            codes = set(route.codes).union(*(each.codes for each in route.consumers.values()))
            for code_source in sorted(codes):
                yield _code_row(route_id, route, code_source)


def _code_row(route_id: str, route: RouteTotals, code_source: int) -> CodeRow:
    return CodeRow(route_id, code_source >> 1, SOURCES[code_source & 1], route.total(code_source))


# Takes a row's new values and the route and code it changed, if it is a code row.
_Sink = Callable[[tuple[int, ...]], tuple[str, int] | None]


class _Source:
    """One attached segment: its reader, and for each of its rows where the values go."""

    __slots__ = ("alive", "node", "number", "overflow", "reader", "sinks")

    def __init__(self, number: int, reader: Reader) -> None:
        self.number = number
        self.reader = reader
        self.alive = True
        self.node: dict[str, int] = {}
        self.overflow = (0, 0)
        self.sinks: list[_Sink] = []


class TotalsReader:
    """Reads attached segments into `totals`. One reader in a process; not to be shared between threads."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.errors: dict[tuple[int, int], str] = {}  # (worker index, generation) -> why its segment is not read
        self._sources: dict[tuple[int, int], _Source] = {}

    def attach(self, index: int, generation: int, fd: int) -> None:
        """Read this worker's segment from now on; a pair that is attached already is left alone. Raises SegmentError.

        The file may be closed after the call.
        """
        if (index, generation) not in self._sources:
            self._sources[index, generation] = _Source(len(self._sources), Reader(fd))

    def retire(self, index: int, generation: int) -> None:
        """The worker has ended: what it had open is gone. Its counts stay. Unknown pairs are ignored."""
        source = self._sources.get((index, generation))
        if source is not None:
            source.alive = False

    def refresh(self) -> list[CodeRow]:
        """Bring `totals` up to date; the code rows that changed since the last refresh (all at first), each once."""
        touched: dict[tuple[str, int], None] = {}
        for name, source in self._sources.items():
            try:
                changed = source.reader.changed()
            except SegmentError as error:
                self.errors[name] = str(error)
                continue
            keys, sinks = source.reader.keys, source.sinks
            for key in keys[len(sinks) :]:
                sinks.append(self._sink(source, key))
            for number, values in changed:
                touch = sinks[number](values)
                if touch is not None:
                    touched[touch] = None
        self._merge_node()
        routes = self.totals.routes
        return [_code_row(route_id, routes[route_id], code_source) for route_id, code_source in touched]

    def _merge_node(self) -> None:
        node = self.totals.node
        sources = self._sources.values()
        for name, kind in _KINDS.items():
            values = [source.node.get(name, 0) for source in sources if kind == "counter" or source.alive]
            node[name] = max(values, default=0) if kind == "peak" else sum(values)
        self.totals.rows_refused = sum(source.overflow[0] for source in sources)
        self.totals.requests_overflowed = sum(source.overflow[1] for source in sources)

    def _sink(self, source: _Source, key: bytes) -> _Sink:
        if key == OVERFLOW_KEY:
            return _overflow_sink(source)
        kind, _, rest = key.partition(b"/")
        make = _SINKS.get(kind)
        # A row of a later layout is not ours to understand.
        return make(self.totals, source, rest.decode()) if make else _ignore


def _ignore(values: tuple[int, ...]) -> None:
    return None


def _overflow_sink(source: _Source) -> _Sink:
    def take(values: tuple[int, ...]) -> None:
        source.overflow = (values[0], values[1])

    return take


def _node_sink(totals: Totals, source: _Source, name: str) -> _Sink:
    def take(values: tuple[int, ...]) -> None:
        source.node[name] = values[0]

    return take


def _code_sink(totals: Totals, source: _Source, rest: str) -> _Sink:
    code_text, route_id, *consumer = rest.split("/")
    code_source = int(code_text)
    route = totals.route(route_id)
    codes = _consumer(route, consumer[0]).codes if consumer else route.codes
    touch = (route_id, code_source)
    last = 0

    def take(values: tuple[int, ...]) -> tuple[str, int] | None:
        nonlocal last
        difference = values[0] - last
        if not difference:
            return None
        codes[code_source] = codes.get(code_source, 0) + difference
        last = values[0]
        return touch

    return take


def _route_sink(totals: Totals, source: _Source, route_id: str) -> _Sink:
    return _part_sink(totals.route(route_id), source)


def _consumer_sink(totals: Totals, source: _Source, rest: str) -> _Sink:
    route_id, _, consumer_id = rest.partition("/")
    return _part_sink(_consumer(totals.route(route_id), consumer_id), source)


def _part_sink(owner: ConsumerTotals, source: _Source) -> _Sink:
    # Kept by segment and added only when somebody asks: scrapes are rarer than refreshes.
    def take(values: tuple[int, ...]) -> None:
        owner.parts[source.number] = values

    return take


def _consumer(route: RouteTotals, consumer_id: str) -> ConsumerTotals:
    found = route.consumers.get(consumer_id)
    if found is None:
        found = route.consumers[consumer_id] = ConsumerTotals()
    return found


_SINKS: dict[bytes, Callable[[Totals, _Source, str], _Sink]] = {
    CODE_KIND: _code_sink,
    ROUTE_KIND: _route_sink,
    CONSUMER_KIND: _consumer_sink,
    NODE_KIND: _node_sink,
}
