"""Counters: Kong's buckets, one row a route through all configurations, and no count lost when memory is full."""

import pytest

from kongdp.telemetry import counters as room
from kongdp.telemetry.counters import OVERFLOW_ROUTE, NodeCounters, RouteCounters
from kongdp.telemetry.segment import Segment, read
from tests.support.segments import memory

ROUTE = "11111111-1111-4111-8111-111111111111"
CONSUMER = "22222222-2222-4222-8222-222222222222"


@pytest.mark.parametrize(
    ("ms", "kong", "request_"),
    # Bucket bounds are inclusive; source: Kong 3.9.1 exporter.lua, conformance/data/metrics-3.9.1.txt.
    [
        *((0, 0, 0), (1, 0, 0), (2, 1, 0), (3, 2, 0), (25, 7, 0), (26, 7, 1), (1000, 14, 7), (1001, 15, 8)),
        *((6000, 16, 10), (6001, 17, 10), (60000, 17, 12), (60001, 17, 13), (10**9, 17, 13)),
    ],
)
def test_bucket_is_the_first_bound_not_below(ms: int, kong: int, request_: int) -> None:
    """Small values by table and large ones by search give the same kind of answer."""
    assert room.kong_latency_bucket(ms) == kong
    assert room.request_latency_bucket(ms) == request_


def test_count_fills_every_row_when_an_exchange_was_proxied() -> None:
    """One exchange moves its code, bytes, three buckets and three sums, and nothing else."""
    with memory() as fd:
        RouteCounters(Segment.open(fd), ROUTE).count(401, 100, 250, 3, 30, 1500)
        rows = dict(read(fd))
    assert rows[room.code_key(401, ROUTE.encode())] == (1,)
    row = rows[b"r1/" + ROUTE.encode()]
    assert len(row) == room.ROUTE_WIDTH
    moved = {index: value for index, value in enumerate(row) if value}
    assert moved == {
        room.INGRESS: 100,
        room.EGRESS: 250,
        room.KONG_LATENCY + 2: 1,
        room.KONG_LATENCY + room.KONG_LATENCY_SUM: 3,
        room.UPSTREAM_LATENCY + 1: 1,
        room.UPSTREAM_LATENCY + room.REQUEST_LATENCY_SUM: 30,
        room.REQUEST_LATENCY + 8: 1,
        room.REQUEST_LATENCY + room.REQUEST_LATENCY_SUM: 1500,
    }


def test_count_leaves_upstream_latency_alone_when_nothing_was_proxied() -> None:
    """-1 means no upstream was asked; bytes count only above 0."""
    with memory() as fd:
        RouteCounters(Segment.open(fd), ROUTE).count(404 * 2, 0, -1, 7000, -1, 70000)
        row = dict(read(fd))[b"r1/" + ROUTE.encode()]
    assert sum(row[room.UPSTREAM_LATENCY : room.REQUEST_LATENCY]) == 0
    assert row[:2] == (0, 0)
    assert row[room.KONG_LATENCY + 17] == 1
    assert row[room.REQUEST_LATENCY + 13] == 1


def test_route_takes_no_memory_when_it_has_no_traffic() -> None:
    """A configured route costs shared memory at its first request only."""
    with memory() as fd:
        segment = Segment.open(fd)
        before = segment.count_free_bytes()
        counters = RouteCounters(segment, ROUTE)
        assert segment.count_free_bytes() == before
        counters.open()
        assert counters.egress == counters.ingress + 1
        assert segment.count_free_bytes() < before
        with pytest.raises(AttributeError, match="nonsense"):
            _ = counters.nonsense


def test_counts_go_on_when_the_snapshot_is_compiled_again() -> None:
    """A second RouteCounters of the same route, or of the next worker, finds the same rows."""
    with memory() as fd:
        RouteCounters(Segment.open(fd), ROUTE).count(401, 1, 1, 1, 1, 1)
        segment = Segment.open(fd)
        RouteCounters(segment, ROUTE).count(401, 1, 1, 1, 1, 1)
        RouteCounters(segment, ROUTE).count(401, 1, 1, 1, 1, 1)
        assert dict(read(fd))[room.code_key(401, ROUTE.encode())] == (3,)


def test_consumer_takes_codes_and_bytes_when_counted_apart() -> None:
    """Counts of a consumer stand in its own rows; latencies stay with the route."""
    with memory() as fd:
        counters = RouteCounters(Segment.open(fd), ROUTE)
        counters.count(401, 5, 6, 1, 1, 1, counters.consumer(CONSUMER))
        assert counters.consumer(CONSUMER) is counters.consumer(CONSUMER)
        rows = dict(read(fd))
    assert rows[room.code_key(401, ROUTE.encode(), CONSUMER.encode())] == (1,)
    assert rows[f"b1/{ROUTE}/{CONSUMER}".encode()] == (5, 6)
    assert rows[b"r1/" + ROUTE.encode()][:2] == (0, 0)
    assert room.code_key(401, ROUTE.encode()) not in rows


def test_overflow_route_takes_counts_when_the_segment_is_full() -> None:
    """No count is lost and codes stay apart when there is no room for further routes."""
    with memory() as fd:
        segment = Segment.open(fd)
        for number in range(400):
            RouteCounters(segment, f"{number:036}").count(401 if number % 2 else 1004, 10, 0, 1, 1, 1)
        rows = dict(read(fd))
    codes = {key: values[0] for key, values in rows.items() if key.startswith(b"c/")}
    assert sum(codes.values()) == 400
    assert codes[room.code_key(401, OVERFLOW_ROUTE.encode())] > 0
    assert codes[room.code_key(1004, OVERFLOW_ROUTE.encode())] > 0
    assert sum(values[room.INGRESS] for key, values in rows.items() if key.startswith(b"r1/")) == 4000
    assert segment.count_refused() > 0


def test_gauges_start_again_when_a_writer_takes_over() -> None:
    """Open connections of a killed worker are gone; its counters are not."""
    with memory() as fd:
        segment = Segment.open(fd)
        node = NodeCounters(segment)
        segment.slots[node.connections_active] = 5
        segment.slots[node.requests_total] = 9
        NodeCounters(Segment.open(fd))
        rows = dict(read(fd))
    assert rows[b"n/connections_active"] == (0,)
    assert rows[b"n/requests_total"] == (9,)


def test_node_counters_have_an_attribute_for_every_number() -> None:
    """The table and the annotated attributes are the same names."""
    assert list(NodeCounters.__annotations__) == [number.name for number in room.NODE_NUMBERS]
