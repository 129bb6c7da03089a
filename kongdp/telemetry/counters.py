"""Counters of one worker: which row holds what, and how one finished exchange is counted.

In: the worker's Segment and entity ids. Out: slot indices in plain attributes, so that counting is `slots[index] += 1`.
Rows follow entity ids, not snapshots: a route keeps its counts through any number of configuration changes. A route
takes memory at its first request, not when it is configured. Keys begin with the layout: a later layout is another row.
`_count` of a histogram is the sum of its buckets and never stored: the two cannot disagree, whenever a reader looks.
Hot: the attributes and `RouteCounters.count`. Cold: making a row.
Source: metric families and bucket bounds of Kong 3.9.1 (plugins/prometheus/exporter.lua); the rest is ours.
"""

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

from kongdp.telemetry.segment import Segment

# Upper bounds in ms, inclusive; one more bucket (+Inf) follows.
KONG_LATENCY_BOUNDS: Final = (1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000)
REQUEST_LATENCY_BOUNDS: Final = (25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000)

# Bucket of each small latency; most requests end here with one look-up. 8 KiB each.
LATENCY_MS_SMALL: Final = 1001
KONG_LATENCY_INDEX: Final = tuple(bisect_left(KONG_LATENCY_BOUNDS, ms) for ms in range(LATENCY_MS_SMALL))
REQUEST_LATENCY_INDEX: Final = tuple(bisect_left(REQUEST_LATENCY_BOUNDS, ms) for ms in range(LATENCY_MS_SMALL))

# Offset of a histogram's sum behind its first slot: the buckets with +Inf come before it.
KONG_LATENCY_SUM: Final = len(KONG_LATENCY_BOUNDS) + 1
REQUEST_LATENCY_SUM: Final = len(REQUEST_LATENCY_BOUNDS) + 1

# A route's row: bytes in, bytes out, then the histograms (buckets, +Inf, sum). A consumer's row is its first two slots.
INGRESS: Final = 0
EGRESS: Final = 1
KONG_LATENCY: Final = 2
UPSTREAM_LATENCY: Final = KONG_LATENCY + KONG_LATENCY_SUM + 1
REQUEST_LATENCY: Final = UPSTREAM_LATENCY + REQUEST_LATENCY_SUM + 1
ROUTE_WIDTH: Final = REQUEST_LATENCY + REQUEST_LATENCY_SUM + 1
CONSUMER_WIDTH: Final = 2

# What a response is counted under: `status * 2 + source`.
SOURCE_KONG: Final = 0
SOURCE_SERVICE: Final = 1
SOURCES: Final = ("kong", "service")

# The route that takes the counts of routes for which the segment had no room.
OVERFLOW_ROUTE: Final = "00000000-0000-0000-0000-000000000000"

# Row kinds: the first field of a key; fields are separated by "/".
CODE_KIND: Final = b"c"  # c/<status*2+source>/<route id>[/<consumer id>], one slot
ROUTE_KIND: Final = b"r1"  # r1/<route id>, ROUTE_WIDTH slots
CONSUMER_KIND: Final = b"b1"  # b1/<route id>/<consumer id>, CONSUMER_WIDTH slots
NODE_KIND: Final = b"n"  # n/<name>, one slot


_SMALL = LATENCY_MS_SMALL
_KONG_INDEX, _KONG_SUM = KONG_LATENCY_INDEX, KONG_LATENCY_SUM
_INDEX, _SUM = REQUEST_LATENCY_INDEX, REQUEST_LATENCY_SUM


def kong_latency_bucket(ms: int) -> int:
    """Offset of the bucket for the time Kong itself took, in ms >= 0."""
    return KONG_LATENCY_INDEX[ms] if ms < LATENCY_MS_SMALL else bisect_left(KONG_LATENCY_BOUNDS, ms)


def request_latency_bucket(ms: int) -> int:
    """Offset of the bucket for an upstream or whole-request latency in ms >= 0."""
    return REQUEST_LATENCY_INDEX[ms] if ms < LATENCY_MS_SMALL else bisect_left(REQUEST_LATENCY_BOUNDS, ms)


@dataclass(frozen=True, slots=True)
class NodeNumber:
    """One number of a worker that belongs to no route.

    `kind` says how several workers' values become the node's: "counter" (added, for ever), "gauge" (added over living
    workers) or "peak" (the largest of living workers). `metric` is our metric name without the kongdp_ prefix, "" where
    Kong's families show it. `unit` is 1 or what a stored unit is in the metric's unit (microseconds to seconds: 1e-6).
    """

    name: str
    kind: str
    metric: str
    help: str
    unit: float = 1


NODE_NUMBERS: Final = (
    NodeNumber("connections_accepted", "counter", "", "Connections accepted from clients"),
    NodeNumber("connections_handled", "counter", "", "Connections handled"),
    NodeNumber("connections_active", "gauge", "", "Connections open"),
    NodeNumber("connections_reading", "gauge", "", "Connections whose request is being read"),
    NodeNumber("connections_writing", "gauge", "", "Connections with a request in work"),
    NodeNumber("connections_waiting", "gauge", "", "Idle kept-alive connections"),
    NodeNumber(
        "connections_refused", "counter", "connections_refused", "Connections closed because the limit was reached"
    ),
    NodeNumber("requests_total", "counter", "", "Requests"),
    NodeNumber("unrouted_total", "counter", "requests_unrouted", "Requests that matched no route"),
    NodeNumber("bad_requests", "counter", "requests_refused", "Requests refused as malformed or beyond a limit"),
    NodeNumber("client_aborts", "counter", "client_aborts", "Exchanges that ended because the client went away"),
    NodeNumber("timeouts", "counter", "timeouts", "Deadlines that ended an exchange, of either side"),
    NodeNumber("retries", "counter", "upstream_retries", "Further tries after a failed one"),
    NodeNumber("upstream_failures", "counter", "upstream_failures", "Failed tries to get a response from an upstream"),
    NodeNumber("upstream_opened", "counter", "upstream_connections_opened", "Connections opened to upstreams"),
    NodeNumber(
        "upstream_reused", "counter", "upstream_connections_reused", "Exchanges that took an idle upstream connection"
    ),
    NodeNumber("upstream_idle", "gauge", "upstream_connections_idle", "Idle upstream connections in pools"),
    NodeNumber("upstream_busy", "gauge", "upstream_connections_busy", "Upstream connections with an exchange"),
    NodeNumber("upstream_waiting", "gauge", "upstream_waiters", "Exchanges waiting for an upstream connection"),
    NodeNumber("tls_handshakes", "counter", "tls_handshakes", "TLS handshakes completed with clients"),
    NodeNumber("tls_failures", "counter", "tls_handshake_failures", "TLS handshakes with clients that failed"),
    NodeNumber("swaps", "counter", "snapshot_swaps", "Configurations put in force by workers"),
    NodeNumber("swap_us", "counter", "snapshot_compile_seconds", "Time workers spent compiling configurations", 1e-6),
    NodeNumber(
        "swap_us_last", "peak", "snapshot_last_swap_seconds", "From receipt to use of the last configuration", 1e-6
    ),
    NodeNumber("loop_lag_us", "peak", "event_loop_lag_seconds", "Lateness of the last once-a-second tick", 1e-6),
    NodeNumber("ticks", "counter", "worker_ticks", "Once-a-second ticks of workers"),
    NodeNumber(
        "log_lines_dropped",
        "counter",
        "log_lines_dropped",
        "Access log lines dropped because the writer lagged or a write failed",
    ),
    NodeNumber("dns_queries", "counter", "dns_queries", "Names the system's resolver was asked for"),
    NodeNumber("dns_found", "counter", "dns_answers", "Look-ups of names that gave addresses"),
    NodeNumber("dns_absent", "counter", "dns_names_absent", "Look-ups of names that do not exist"),
    NodeNumber("dns_failures", "counter", "dns_failures", "Look-ups of names that failed"),
    NodeNumber("dns_stale", "counter", "dns_answers_stale", "Expired answers served while a new one was fetched"),
    NodeNumber("dns_names", "gauge", "dns_names", "Names kept by workers"),
)


class NodeCounters:
    """Slot indices of a worker's own numbers, one attribute for each name of NODE_NUMBERS.

    Gauges and peaks start at 0 for each writer: what a killed worker had open is gone with it. A worker adds 1 to `ticks`
    once a second: that is how a reader tells a living one's gauges from those that a killed one left.
    """

    __slots__ = tuple(number.name for number in NODE_NUMBERS)

    connections_accepted: int
    connections_handled: int
    connections_active: int
    connections_reading: int
    connections_writing: int
    connections_waiting: int
    connections_refused: int
    requests_total: int
    unrouted_total: int
    bad_requests: int
    client_aborts: int
    timeouts: int
    retries: int
    upstream_failures: int
    upstream_opened: int
    upstream_reused: int
    upstream_idle: int
    upstream_busy: int
    upstream_waiting: int
    tls_handshakes: int
    tls_failures: int
    swaps: int
    swap_us: int
    swap_us_last: int
    loop_lag_us: int
    ticks: int
    log_lines_dropped: int
    dns_queries: int
    dns_found: int
    dns_absent: int
    dns_failures: int
    dns_stale: int
    dns_names: int

    def __init__(self, segment: Segment) -> None:
        for number in NODE_NUMBERS:
            index = segment.slot(NODE_KIND + b"/" + number.name.encode())
            setattr(self, number.name, index)
            if number.kind != "counter":
                segment.slots[index] = 0


class Coded:
    """Slots of whoever has codes and bytes counted: a route, or a consumer on it."""

    __slots__ = ("codes", "egress", "ingress")

    def __init__(self) -> None:
        self.codes: dict[int, int] = {}
        self.ingress = self.egress = -1

    def add_code(self, code_source: int) -> int:
        """Slot index for a status*2+source seen for the first time; remembered in `codes`."""
        raise NotImplementedError


class RouteCounters(Coded):
    """One route's rows in one worker. `codes` maps status*2+source to a slot index; a miss is answered by `add_code`.

    `ingress` and `egress` are slot indices; `kong_latency`, `upstream_latency` and `request_latency` are the first
    slots of histograms (bucket + kong_latency_bucket(ms), sum at + KONG_LATENCY_SUM or REQUEST_LATENCY_SUM). They are
    -1 until the first count: a configured route without traffic takes no shared memory.
    """

    __slots__ = ("_consumers", "_id", "_segment", "_slots", "kong_latency", "request_latency", "upstream_latency")

    def __init__(self, segment: Segment, route_id: str) -> None:
        super().__init__()
        self._segment = segment
        self._slots = segment.slots
        self._id = route_id.encode()
        self._consumers: dict[str, ConsumerCounters] = {}
        self.kong_latency = self.upstream_latency = self.request_latency = -1

    def open(self) -> None:
        """Take the slots of this row; the first count does."""
        first = self._segment.slot(_route_key(self._id), ROUTE_WIDTH, _route_key(_OVERFLOW_ID))
        self.ingress, self.egress = first + INGRESS, first + EGRESS
        self.kong_latency, self.upstream_latency = first + KONG_LATENCY, first + UPSTREAM_LATENCY
        self.request_latency = first + REQUEST_LATENCY

    def add_code(self, code_source: int) -> int:
        """Slot index for a status*2+source seen for the first time; remembered in `codes`."""
        index = self._segment.slot(code_key(code_source, self._id), 1, code_key(code_source, _OVERFLOW_ID))
        self.codes[code_source] = index
        return index

    def consumer(self, consumer_id: str) -> "ConsumerCounters":
        """The rows that count codes and bytes instead of the route's own where counts per consumer are asked for."""
        counters = self._consumers.get(consumer_id)
        if counters is None:
            counters = self._consumers[consumer_id] = ConsumerCounters(self._segment, self._id, consumer_id)
        return counters

    def count(
        self,
        code_source: int,
        bytes_in: int,
        bytes_out: int,
        kong_ms: int,
        upstream_ms: int,
        request_ms: int,
        consumer: "ConsumerCounters | None" = None,
    ) -> None:
        """Count one finished exchange. Latencies are whole ms >= 0; `upstream_ms` is -1 when nothing was proxied.

        Source: kong/plugins/prometheus/exporter.lua log(): bytes only when above 0, upstream latency only when there
        was one.
        """
        if self.ingress < 0:
            self.open()
        slots = self._slots
        who: Coded = self if consumer is None else consumer
        index = who.codes.get(code_source)
        slots[who.add_code(code_source) if index is None else index] += 1
        if bytes_in > 0:
            slots[who.ingress] += bytes_in
        if bytes_out > 0:
            slots[who.egress] += bytes_out
        # PERF: the look-ups stand here instead of three calls: 1.05 -> 0.80 us (bench/parts/test_counters.py).
        first = self.kong_latency
        bucket = _KONG_INDEX[kong_ms] if kong_ms < _SMALL else bisect_left(KONG_LATENCY_BOUNDS, kong_ms)
        slots[first + bucket] += 1
        if kong_ms:
            slots[first + _KONG_SUM] += kong_ms
        if upstream_ms >= 0:
            first = self.upstream_latency
            bucket = _INDEX[upstream_ms] if upstream_ms < _SMALL else bisect_left(REQUEST_LATENCY_BOUNDS, upstream_ms)
            slots[first + bucket] += 1
            slots[first + _SUM] += upstream_ms
        first = self.request_latency
        bucket = _INDEX[request_ms] if request_ms < _SMALL else bisect_left(REQUEST_LATENCY_BOUNDS, request_ms)
        slots[first + bucket] += 1
        slots[first + _SUM] += request_ms


class UncountedRoute(RouteCounters):
    """A route whose exchanges are not counted: the other side of the pair that measures what counting costs."""

    __slots__ = ()

    def count(
        self,
        code_source: int,
        bytes_in: int,
        bytes_out: int,
        kong_ms: int,
        upstream_ms: int,
        request_ms: int,
        consumer: "ConsumerCounters | None" = None,
    ) -> None:
        """Count nothing."""


class ConsumerCounters(Coded):
    """Codes and bytes of one consumer on one route; latencies have no consumer and stay with the route."""

    __slots__ = ("_consumer_id", "_route_id", "_segment")

    def __init__(self, segment: Segment, route_id: bytes, consumer_id: str) -> None:
        super().__init__()
        self._segment = segment
        self._route_id = route_id
        self._consumer_id = consumer_id.encode()
        key = b"/".join((CONSUMER_KIND, route_id, self._consumer_id))
        first = segment.slot(key, CONSUMER_WIDTH, b"/".join((CONSUMER_KIND, _OVERFLOW_ID, b"")))
        self.ingress, self.egress = first + INGRESS, first + EGRESS

    def add_code(self, code_source: int) -> int:
        """Slot index for a status*2+source seen for the first time; remembered in `codes`."""
        key = code_key(code_source, self._route_id, self._consumer_id)
        index = self._segment.slot(key, 1, code_key(code_source, _OVERFLOW_ID))
        self.codes[code_source] = index
        return index


_OVERFLOW_ID = OVERFLOW_ROUTE.encode()


def code_key(code_source: int, route_id: bytes, consumer_id: bytes = b"") -> bytes:
    """Key of the row that counts one status and source of a route, or of a consumer on it."""
    tail = b"/" + consumer_id if consumer_id else b""
    return b"%b/%d/%b%b" % (CODE_KIND, code_source, route_id, tail)


def _route_key(route_id: bytes) -> bytes:
    return ROUTE_KIND + b"/" + route_id
