"""A configuration of 10,000 routes: read, compared, compiled; one edit of it; a plan's look-up; what it weighs.

Run: .ci/bench parts -k configuration.
"""

import asyncio
import gc
import tracemalloc
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from kongdp.entities import declarative
from kongdp.entities.table import Table
from kongdp.proxy.plan import Surroundings
from kongdp.proxy.snapshot import Snapshot, compile_steps, empty_snapshot, read_changes
from kongdp.routing.router import finish
from kongdp.telemetry.segment import Segment
from kongdp.upstream.pool import PoolLimits, Pools
from kongdp.upstream.resolver import Resolver
from tests.support.gateway import Rows
from tests.support.segments import memory

ROUTES = 10_000
PLANS = 1000  # of a round


def document(extra: str | None = None) -> dict[str, Any]:
    """A service with a route each, as a declarative file has them."""
    names = [f"s{i}" for i in range(ROUTES)] + ([extra] if extra else [])
    return {
        "_format_version": "3.0",
        "services": [
            {
                "name": name,
                "url": f"http://{name}.test:8080/",
                "routes": [{"name": name, "paths": [f"/team{i % 50}/{name}"]}],
            }
            for i, name in enumerate(names)
        ],
    }


@pytest.fixture(scope="module")
def around() -> Iterator[Surroundings]:
    """Collaborators without any socket."""
    loop = asyncio.new_event_loop()
    with memory(16 << 20) as fd:
        yield Surroundings(Pools(PoolLimits()), Resolver(loop), Rows(Segment.open(fd)), "traditional_compatible")
    loop.close()


@pytest.fixture(scope="module")
def table() -> Table:
    """The rows of 10,000 routes."""
    return declarative.load(document(), now=1.0)


def compiled(around: Surroundings, previous: Snapshot, old: Table, new: Table) -> Snapshot:
    """The snapshot of `new`, from the difference to `old`."""
    edits = list(read_changes(declarative.difference(old, new)))
    steps = compile_steps(previous, "1" * 32, edits, around, lambda entities, store: store, full=not old)
    return finish(steps)  # type: ignore[arg-type,return-value]


@pytest.mark.benchmark(group="configuration of 10,000 routes")
def test_configuration_is_read_from_json(benchmark: BenchmarkFixture) -> None:
    """The text alone."""
    benchmark.pedantic(orjson.loads, args=(orjson.dumps(document()),), rounds=5)


@pytest.mark.benchmark(group="configuration of 10,000 routes")
def test_configuration_is_validated(benchmark: BenchmarkFixture) -> None:
    """Everything for the first time, in the agent."""
    benchmark.pedantic(declarative.load, args=(document(),), kwargs={"now": 1.0}, rounds=3)


@pytest.mark.benchmark(group="configuration of 10,000 routes")
def test_configuration_with_one_edit_is_validated(benchmark: BenchmarkFixture) -> None:
    """After the same with one route less: entities written as before are taken over."""
    schemas = declarative.build_schemas()
    first = declarative.load_config(document(), schemas=schemas, now=1.0)
    benchmark.pedantic(
        declarative.load_config,
        args=(document("new"),),
        kwargs={"schemas": schemas, "previous": first, "now": 1.0},
        rounds=5,
    )


@pytest.mark.benchmark(group="configuration of 10,000 routes")
def test_configuration_is_compiled(benchmark: BenchmarkFixture, around: Surroundings, table: Table) -> None:
    """Rows to a snapshot, as a worker does at its start."""
    snapshot = benchmark.pedantic(compiled, args=(around, empty_snapshot(around), {}, table), rounds=3)
    assert snapshot.router.match(b"GET", b"a.test", b"/team1/s1/x")
    benchmark.extra_info["µs per route"] = round(benchmark.stats.stats.min / ROUTES * 1e6, 1)


@pytest.mark.benchmark(group="configuration of 10,000 routes")
def test_configuration_with_one_edit_is_compiled(
    benchmark: BenchmarkFixture, around: Surroundings, table: Table
) -> None:
    """A difference of one service and its route over a live snapshot, as a worker does under traffic."""
    live = compiled(around, empty_snapshot(around), {}, table)
    edits = list(
        read_changes(declarative.difference(table, declarative.load(document("new"), now=1.0, previous=table)))
    )

    def swap() -> object:
        steps = compile_steps(live, "2" * 32, edits, around, lambda entities, store: store, full=False)
        return finish(steps)  # type: ignore[arg-type]

    benchmark.pedantic(swap, rounds=10, warmup_rounds=1)


@pytest.mark.benchmark(group="plan")
@pytest.mark.parametrize("kind", ["live", "first"])
def test_configuration_plan_is_looked_up(
    benchmark: BenchmarkFixture, around: Surroundings, table: Table, kind: str
) -> None:
    """The plan of a matched route: there already, or built at the route's first request."""
    snapshot = compiled(around, empty_snapshot(around), {}, table)
    ids = list(table["routes"])
    asked = [ids[i : i + PLANS] for i in range(0, PLANS * 10, PLANS)]
    if kind == "live":
        asked = asked[:1] * 10
        for route_id in asked[0]:
            snapshot.plan(route_id)
    rounds = iter(asked)

    def look_up(routes: list[str]) -> None:
        for route_id in routes:
            snapshot.plan(route_id)

    benchmark.pedantic(look_up, setup=lambda: ((next(rounds),), {}), rounds=10)
    benchmark.extra_info["µs per plan"] = round(benchmark.stats.stats.min / PLANS * 1e6, 2)


@pytest.mark.benchmark(group="memory of a configuration")
def test_configuration_weighs(benchmark: BenchmarkFixture, around: Surroundings, table: Table) -> None:
    """Bytes that a route and its service add to a worker: entities and router, and then the plan once it is asked for."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    snapshot = compiled(around, empty_snapshot(around), {}, table)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    for route_id in table["routes"]:
        snapshot.plan(route_id)
    planned = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    benchmark.extra_info["bytes per route and service"] = (after - before) // ROUTES
    benchmark.extra_info["bytes per plan in use"] = (planned - after) // ROUTES
    benchmark.pedantic(lambda: None, rounds=1)
