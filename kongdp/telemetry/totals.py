"""The node's totals: the rows of all its workers' segments, merged.

In: segment files (one for each worker slot and generation; counts of the same key are added over segments). Out:
Totals, and at each refresh the code rows that changed, so that looking each second costs what moved and not what is
configured. Segments of ended workers stay attached: their counters count for ever, their gauges no longer do. The
reader keeps no count of its own: a new agent that attaches the same segments has the same totals. Cold: the agent, once
a second and at each scrape. Source: ours.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from itertools import islice
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
    REQUEST_LATENCY_SUM,
    ROUTE_KIND,
    ROUTE_WIDTH,
    SOURCES,
    UPSTREAM_LATENCY,
)
from kongdp.telemetry.segment import OVERFLOW_KEY, Reader, SegmentError

# As long as the supervisor waits before it replaces a silent worker.
SILENCE_S = 5

_KINDS = {number.name: number.kind for number in NODE_NUMBERS}


# The source, and the number in place of a status and source, of the row that has a route's latencies added up.
LATENCY_SOURCE = "latency_ms"
_LATENCY = -1


class CodeRow(NamedTuple):
    """How often a route answered with a status from a source ("kong" or "service") since the node's boot; or, with status
    0 and the source LATENCY_SOURCE, how many ms all its requests together have taken.
    """

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

    route_id: str = ""
    consumers: dict[str, ConsumerTotals] = field(default_factory=dict)

    def consumer(self, consumer_id: str) -> ConsumerTotals:
        """The totals of a consumer on this route, made when it is new."""
        found = self.consumers.get(consumer_id)
        if found is None:
            found = self.consumers[consumer_id] = ConsumerTotals()
        return found

    def code_row(self, code_source: int) -> CodeRow:
        """The row of one status*2+source, or of _LATENCY."""
        if code_source == _LATENCY:
            return CodeRow(self.route_id, 0, LATENCY_SOURCE, sum(row[ROUTE_WIDTH - 1] for row in self.parts.values()))
        return CodeRow(self.route_id, code_source >> 1, SOURCES[code_source & 1], self.total(code_source))

    def total(self, code_source: int) -> int:
        """Requests with this status*2+source, those of consumers included."""
        own = self.codes.get(code_source, 0)
        if not self.consumers:
            return own
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

    `routes` are in the order of their first request; `latencies` are the buckets of all their requests together.
    `rows_refused` and `requests_overflowed` say how often a full segment had to refuse a row, and how many requests were
    counted without route and code because even the reserve was used up.
    """

    node: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_KINDS, 0))
    routes: dict[str, RouteTotals] = field(default_factory=dict)
    latencies: list[int] = field(default_factory=lambda: [0] * REQUEST_LATENCY_SUM)
    rows_refused: int = 0
    requests_overflowed: int = 0

    def route(self, route_id: str) -> RouteTotals:
        """The totals of a route, made when it is new."""
        found = self.routes.get(route_id)
        if found is None:
            found = self.routes[route_id] = RouteTotals(route_id=route_id)
        return found

    def code_rows(self) -> Iterator[CodeRow]:
        """Every route, code and source with its total."""
        for route in self.routes.values():
            codes = set(route.codes).union(*(each.codes for each in route.consumers.values()))
            for code_source in sorted(codes):
                yield route.code_row(code_source)


class _Source:
    """One attached segment: its reader, and for each of its rows where the values go."""

    __slots__ = ("node", "number", "overflow", "reader", "sinks", "ticked_at", "ticks")

    def __init__(self, number: int, reader: Reader) -> None:
        self.number = number
        self.reader = reader
        self.ticks = 0
        self.ticked_at = 0.0
        self.node: dict[str, int] = {}
        self.overflow = (0, 0)
        self.sinks: list[_Sink] = []

    def is_alive(self, now: float) -> bool:
        """Whether a worker ticks here, as far as one can tell."""
        ticks = self.node.get("ticks", 0)
        if ticks != self.ticks:
            self.ticks, self.ticked_at = ticks, now
        return not ticks or now - self.ticked_at < SILENCE_S


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

    def refresh(self, now: float = 0) -> list[CodeRow]:
        """Bring `totals` up to date; the code rows that changed since the last refresh (all at first), each once.

        `now` is monotonic time in s: gauges of a worker that has not ticked for SILENCE_S do not count. (A worker that has
        never ticked is believed.)
        """
        steps = self.refresh_steps(now)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                changed: list[CodeRow] = end.value
                return changed

    def refresh_steps(self, now: float = 0) -> Generator[None, None, list[CodeRow]]:
        """As `refresh`, pausing between slices: a new agent's first look at 100,000 routes takes seconds.

        One at a time. Totals are whole again when it has ended; in between some rows are newer than others.
        """
        touched: dict[tuple[str, int], RouteTotals] = {}
        for name, source in list(self._sources.items()):
            try:
                rows = source.reader.changed()
                while piece := list(islice(rows, _SLICE)):
                    self._grow(source, piece[-1][0])
                    for number, values in piece:
                        source.sinks[number].take(values, touched)
                    yield
            except SegmentError as error:
                self.errors[name] = str(error)
        self._merge_node(now)
        return [route.code_row(code_source) for (_, code_source), route in touched.items()]

    def _grow(self, source: _Source, number: int) -> None:
        """Make the sinks of rows up to this number."""
        for key in source.reader.keys[len(source.sinks) : number + 1]:
            source.sinks.append(_sink(self.totals, source, key))

    def _merge_node(self, now: float) -> None:
        node = self.totals.node
        sources = self._sources.values()
        living = [source for source in sources if source.is_alive(now)]
        for name, kind in _KINDS.items():
            values = [source.node.get(name, 0) for source in (sources if kind == "counter" else living)]
            node[name] = max(values, default=0) if kind == "peak" else sum(values)
        self.totals.rows_refused = sum(source.overflow[0] for source in sources)
        self.totals.requests_overflowed = sum(source.overflow[1] for source in sources)


# Rows a refresh takes between two pauses: some 5 ms.
_SLICE = 4096


class _Sink:
    """Where the values of one row go. This one is for rows of a later layout: they are not ours to understand."""

    __slots__ = ()

    def take(self, values: tuple[int, ...], touched: dict[tuple[str, int], RouteTotals]) -> None:
        """Note the row's values; a code row that moved enters `touched`."""


class _CodeSink(_Sink):
    __slots__ = ("_code_source", "_codes", "_last", "_route")

    def __init__(self, route: RouteTotals, owner: ConsumerTotals, code_source: int) -> None:
        self._route = route
        self._codes = owner.codes
        self._code_source = code_source
        self._last = 0

    def take(self, values: tuple[int, ...], touched: dict[tuple[str, int], RouteTotals]) -> None:
        value = values[0]
        if value != self._last:
            code_source, codes = self._code_source, self._codes
            codes[code_source] = codes.get(code_source, 0) + value - self._last
            self._last = value
            touched[self._route.route_id, code_source] = self._route


class _PartSink(_Sink):
    # Kept by segment and added only when somebody asks: scrapes are rarer than refreshes.
    __slots__ = ("_number", "_parts")

    def __init__(self, owner: ConsumerTotals, number: int) -> None:
        self._parts = owner.parts
        self._number = number

    def take(self, values: tuple[int, ...], touched: dict[tuple[str, int], RouteTotals]) -> None:
        self._parts[self._number] = values


class _RouteSink(_PartSink):
    # What this row's requests add to the node's latencies is kept up to date: nobody can add up 10,000 routes a second.
    __slots__ = ("_latencies", "_route")

    def __init__(self, totals: Totals, route: RouteTotals, number: int) -> None:
        super().__init__(route, number)
        self._latencies = totals.latencies
        self._route = route

    def take(self, values: tuple[int, ...], touched: dict[tuple[str, int], RouteTotals]) -> None:
        before = self._parts.get(self._number)
        for place, slot in enumerate(range(REQUEST_LATENCY, ROUTE_WIDTH - 1)):
            self._latencies[place] += values[slot] - (before[slot] if before is not None else 0)
        if values[ROUTE_WIDTH - 1] != (before[ROUTE_WIDTH - 1] if before is not None else 0):
            touched[self._route.route_id, _LATENCY] = self._route
        self._parts[self._number] = values


class _NodeSink(_Sink):
    __slots__ = ("_name", "_source")

    def __init__(self, source: _Source, name: str) -> None:
        self._source = source
        self._name = name

    def take(self, values: tuple[int, ...], touched: dict[tuple[str, int], RouteTotals]) -> None:
        if self._name:
            self._source.node[self._name] = values[0]
        else:
            self._source.overflow = (values[0], values[1])


def _sink(totals: Totals, source: _Source, key: bytes) -> _Sink:
    """The sink for a row; keys are described at the row kinds of `counters`."""
    kind, *ids = key.decode().split("/")
    if kind == _CODE:
        route = totals.route(ids[1])
        return _CodeSink(route, route.consumer(ids[2]) if len(ids) > 2 else route, int(ids[0]))
    if kind == _ROUTE:
        return _RouteSink(totals, totals.route(ids[0]), source.number)
    if kind == _CONSUMER:
        return _PartSink(totals.route(ids[0]).consumer(ids[1]), source.number)
    if kind == _NODE:
        return _NodeSink(source, ids[0])
    return _NodeSink(source, "") if key == OVERFLOW_KEY else _Sink()


_CODE, _ROUTE, _CONSUMER, _NODE = (kind.decode() for kind in (CODE_KIND, ROUTE_KIND, CONSUMER_KIND, NODE_KIND))
