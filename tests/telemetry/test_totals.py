"""Totals: rows of several workers add up, counters of ended workers stay, and a refresh names what changed."""

import os

from kongdp.telemetry.counters import NodeCounters, RouteCounters
from kongdp.telemetry.segment import MAGIC_WORD, Segment
from kongdp.telemetry.totals import CodeRow, TotalsReader
from tests.support.segments import memory

ROUTE = "11111111-1111-4111-8111-111111111111"
OTHER = "33333333-3333-4333-8333-333333333333"
CONSUMER = "22222222-2222-4222-8222-222222222222"


def test_counts_are_added_when_several_workers_count_the_same_route() -> None:
    """The node's count is the sum over segments, and each change is named once with its total."""
    with memory() as one, memory() as two:
        first, second = RouteCounters(Segment.open(one), ROUTE), RouteCounters(Segment.open(two), ROUTE)
        reader = TotalsReader()
        reader.attach(0, 1, one)
        reader.attach(1, 1, two)
        reader.attach(1, 1, two)
        first.count(401, 10, 20, 1, 30, 40)
        second.count(401, 1, 2, 1, 30, 40)
        second.count(1004, 1, 2, 1, 30, 40)
        assert sorted(reader.refresh()) == [
            CodeRow(ROUTE, 0, "latency_ms", 120),
            CodeRow(ROUTE, 200, "service", 2),
            CodeRow(ROUTE, 502, "kong", 1),
        ]
        assert reader.refresh() == []
        second.count(1004, 1, 2, 7000, -1, 40)
        assert sorted(reader.refresh()) == [CodeRow(ROUTE, 0, "latency_ms", 160), CodeRow(ROUTE, 502, "kong", 2)]
        route = reader.totals.routes[ROUTE]
        assert route.bandwidth() == (13, 26)
        kong, upstream, request = route.histograms()
        assert (kong.count, kong.sum, kong.buckets[0], kong.buckets[-1]) == (4, 7003, 3, 1)
        assert (upstream.count, upstream.sum) == (3, 90)
        assert (request.count, request.sum) == (4, 160)
        assert list(reader.totals.code_rows()) == [CodeRow(ROUTE, 200, "service", 2), CodeRow(ROUTE, 502, "kong", 2)]


def test_latencies_are_those_of_all_routes_and_workers_together() -> None:
    """Kept up to date by what each row has gained, so that nobody adds up every route once a second."""
    with memory() as one, memory() as two:
        here, there = RouteCounters(Segment.open(one), ROUTE), RouteCounters(Segment.open(two), OTHER)
        reader = TotalsReader()
        reader.attach(0, 1, one)
        reader.attach(1, 1, two)
        here.count(401, 1, 1, 1, 10, 20)
        there.count(401, 1, 1, 1, 10, 60)
        reader.refresh()
        here.count(401, 1, 1, 1, 10, 90_000)
        here.count(401, 1, 1, 1, 10, 24)
        reader.refresh()
        whole = [route.histograms()[2].buckets for route in reader.totals.routes.values()]
        assert (
            reader.totals.latencies == [2, 0, 1, *[0] * 10, 1] == [sum(column) for column in zip(*whole, strict=True)]
        )


def test_totals_stay_when_a_worker_ends_and_another_agent_reads() -> None:
    """Counters of an ended worker are kept; its gauges count no longer when it stops ticking; a new agent agrees."""
    with memory() as one, memory() as two:
        living = (Segment.open(one).slots, 0)
        for fd, requests in ((one, 5), (two, 7)):
            segment = Segment.open(fd)
            node = NodeCounters(segment)
            segment.slots[node.requests_total] = requests
            segment.slots[node.connections_active] = requests
            segment.slots[node.loop_lag_us] = requests
            segment.slots[node.ticks] = 9
            living = living if fd == two else (segment.slots, node.ticks)
            RouteCounters(segment, ROUTE).count(401, 0, 0, 0, 0, 0)
        reader = TotalsReader()
        reader.attach(0, 1, one)
        reader.attach(0, 2, two)
        reader.refresh(100)
        assert (reader.totals.node["connections_active"], reader.totals.node["loop_lag_us"]) == (12, 7)
        slots, ticks = living
        slots[ticks] += 1
        reader.refresh(106)
        assert (reader.totals.node["connections_active"], reader.totals.node["loop_lag_us"]) == (5, 5)
        assert reader.totals.node["requests_total"] == 12
        again = TotalsReader()
        again.attach(0, 1, one)
        again.attach(0, 2, two)
        assert again.refresh() == [CodeRow(ROUTE, 200, "service", 2)]
        assert again.totals.node["requests_total"] == 12


def test_counts_of_consumers_are_in_the_totals_for_the_control_plane() -> None:
    """A row's total is over all consumers; the parts stay apart for exposition."""
    with memory() as fd:
        route = RouteCounters(Segment.open(fd), ROUTE)
        route.count(401, 1, 1, 1, 1, 1)
        route.count(401, 2, 3, 1, 1, 1, route.consumer(CONSUMER))
        reader = TotalsReader()
        reader.attach(0, 1, fd)
        assert sorted(reader.refresh()) == [CodeRow(ROUTE, 0, "latency_ms", 2), CodeRow(ROUTE, 200, "service", 2)]
        totals = reader.totals.routes[ROUTE]
        assert totals.codes == {401: 1}
        assert totals.bandwidth() == (1, 1)
        assert totals.consumers[CONSUMER].codes == {401: 1}
        assert totals.consumers[CONSUMER].bandwidth() == (2, 3)


def test_overflow_is_told_when_a_segment_is_full() -> None:
    """Refused rows are counted, and all requests are still in the code rows."""
    with memory() as fd:
        segment = Segment.open(fd)
        for number in range(400):
            RouteCounters(segment, f"{number:036}").count(401, 0, 0, 0, 0, 0)
        reader = TotalsReader()
        reader.attach(0, 1, fd)
        assert sum(row.total for row in reader.refresh()) == 400
        assert reader.totals.rows_refused > 0
        assert reader.totals.requests_overflowed == 0


def test_other_segments_are_read_when_one_is_damaged() -> None:
    """A segment that cannot be read is named and does not hide the others."""
    with memory() as bad, memory() as good:
        Segment.open(bad)
        RouteCounters(Segment.open(good), OTHER).count(401, 0, 0, 0, 0, 0)
        reader = TotalsReader()
        reader.attach(0, 1, bad)
        reader.attach(1, 1, good)
        os.pwrite(bad, b"\1" * 8, MAGIC_WORD * 8)
        assert reader.refresh() == [CodeRow(OTHER, 200, "service", 1)]
        assert "magic word" in reader.errors[0, 1]


def test_rows_of_a_later_layout_are_ignored() -> None:
    """An agent that is older than a worker reads what it knows."""
    with memory() as fd:
        segment = Segment.open(fd)
        segment.slots[segment.slot(b"r9/" + ROUTE.encode(), 60)] = 1
        reader = TotalsReader()
        reader.attach(0, 1, fd)
        assert reader.refresh() == []
        assert reader.totals.routes == {}
