"""Counters, totals and exposition: what an exchange, a look each second and a scrape cost.

Run: .ci/bench parts -k counters. Figures of the commit that added this file (2-core machine, Python 3.11): one exchange
counted 0.8 us; a look at 10,000 unchanged routes 0.6 ms; a scrape of 10,000 routes x 5 codes 28 ms (the first, which
sorts, 70 ms), with all histograms (590,000 lines) 225 ms.
"""

from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from kongdp.telemetry.counters import NodeCounters, RouteCounters
from kongdp.telemetry.exposition import Exposition
from kongdp.telemetry.families import NodeFacts
from kongdp.telemetry.labels import label_sets
from kongdp.telemetry.segment import Segment
from kongdp.telemetry.totals import TotalsReader
from tests.support.segments import memory
from tests.support.tables import prometheus, routes, services

ROUTES = {f"{number:08x}-1111-4111-8111-{number:012x}": f"route-{number}" for number in range(10_000)}
CODES = (401, 403, 809, 1004, 1008)
GROUPS = ("latency_metrics", "bandwidth_metrics")


@pytest.fixture(scope="module")
def reader() -> Iterator[TotalsReader]:
    """10,000 routes with five codes each."""
    with memory(16 << 20) as fd:
        segment = Segment.open(fd)
        NodeCounters(segment)
        for route_id in ROUTES:
            route = RouteCounters(segment, route_id)
            for code_source in CODES:
                route.count(code_source, 100, 200, 1, 30, 40)
        found = TotalsReader()
        found.attach(0, 1, fd)
        found.refresh()
        yield found


def test_count_one_exchange(benchmark: BenchmarkFixture) -> None:
    """What the request path pays."""
    with memory() as fd:
        route = RouteCounters(Segment.open(fd), next(iter(ROUTES)))
        benchmark(route.count, 401, 640, 1400, 0, 3, 5)


def test_refresh_without_change(benchmark: BenchmarkFixture, reader: TotalsReader) -> None:
    """What the agent pays each second while nothing moves."""
    assert benchmark(reader.refresh) == []


@pytest.mark.parametrize("groups", [(), GROUPS], ids=["codes", "everything"])
def test_render(benchmark: BenchmarkFixture, reader: TotalsReader, groups: tuple[str, ...]) -> None:
    """A scrape; issue: 10,000 routes with five codes in at most 300 ms."""
    table = {"services": services({"s": "svc"}), "routes": routes(dict(ROUTES), "s")}
    labels = label_sets({**table, "plugins": prometheus(config=groups)} if groups else table)
    exposition, facts = Exposition(), NodeFacts("n", "3.9.1")
    chunks = benchmark(lambda: list(exposition.render(reader.totals, labels, facts)))
    assert sum(chunk.count(b"kong_http_requests_total{") for chunk in chunks) == len(ROUTES) * len(CODES)
