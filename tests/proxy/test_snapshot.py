"""Snapshots: whole, as differences, and what is carried over."""

import asyncio
import gc
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from kongdp.entities import declarative
from kongdp.entities.model import Route, Service
from kongdp.entities.table import Table
from kongdp.proxy import retirement
from kongdp.proxy.plan import RoutePlan, Surroundings
from kongdp.proxy.snapshot import Snapshot, compile_steps, empty_snapshot, read_changes
from kongdp.routing.index import Placement
from kongdp.routing.radix import Node
from kongdp.routing.route import RouteError
from kongdp.telemetry.segment import Segment
from kongdp.upstream.pool import PoolLimits, Pools
from kongdp.upstream.resolver import Resolver
from tests.support.gateway import Rows


@pytest.fixture
def around() -> Iterator[Surroundings]:
    """Collaborators without any socket."""
    fd = os.memfd_create("segment")
    os.posix_fallocate(fd, 0, 1 << 16)
    segment = Segment.open(fd)
    os.close(fd)
    loop = asyncio.new_event_loop()
    yield Surroundings(Pools(PoolLimits()), Resolver(loop), Rows(segment), "traditional_compatible")
    loop.close()


def table(*services: Mapping[str, Any]) -> Table:
    """A validated table of services with their routes."""
    return declarative.load({"_format_version": "3.0", "services": list(services)}, plugins=None, now=1.0)


def service(name: str, **fields: Any) -> dict[str, Any]:
    """A service with a route of the same name at /name."""
    return {
        "name": name,
        "url": f"http://127.0.0.1/{name}",
        "routes": [{"name": name, "paths": [f"/{name}"]}],
        **fields,
    }


def applied(around: Surroundings, previous: Snapshot, old: Table, new: Table) -> Snapshot:
    """The snapshot after the difference from `old` to `new`, compiled over `previous`."""
    changes = declarative.difference(old, new)
    steps = compile_steps(
        previous, "1" * 32, read_changes(changes), around, lambda entities, store: store, full=not old
    )
    while True:
        try:
            next(steps)
        except StopIteration as end:
            snapshot: Snapshot = end.value
            return snapshot


def plan(snapshot: Snapshot, path: bytes) -> RoutePlan | None:
    """The plan for GET path, or None."""
    match = snapshot.router.match(b"GET", b"gw.test", path)
    return snapshot.plan(match.route_id) if match else None


def test_compile_when_a_difference_arrives(around: Surroundings) -> None:
    """Plans that stand on nothing changed are the same objects; changed ones are new; removed routes are gone."""
    first = table(service("a"), service("b"), service("c"))
    one = applied(around, empty_snapshot(around), {}, first)
    before = {path: plan(one, path) for path in (b"/a", b"/b", b"/c")}
    second = table(service("a"), service("b", read_timeout=400), service("d"))
    two = applied(around, one, first, second)
    assert plan(two, b"/a") is before[b"/a"]
    changed = plan(two, b"/b")
    assert changed is not None
    assert changed is not before[b"/b"]
    assert (changed.read_timeout_s, changed.row is before[b"/b"].row) == (0.4, True)  # type: ignore[union-attr]
    assert plan(two, b"/c") is None
    assert plan(two, b"/d") is not None
    assert (one.shortest_timeout_s, two.shortest_timeout_s) == (60.0, 0.4)
    assert plan(one, b"/c") is before[b"/c"]


def test_compile_when_a_service_is_switched(around: Surroundings) -> None:
    """Routes of a disabled service leave the router and come back with it, without any change of their own."""
    on, off = table(service("a")), table(service("a", enabled=False))
    one = applied(around, empty_snapshot(around), {}, on)
    two = applied(around, one, on, off)
    three = applied(around, two, off, on)
    assert [plan(snapshot, b"/a") is not None for snapshot in (one, two, three)] == [True, False, True]


def test_compile_when_a_route_cannot_be(around: Surroundings) -> None:
    """The error names the route, and the snapshot that serves is as it was."""
    first = table(service("a"))
    one = applied(around, empty_snapshot(around), {}, first)
    broken = {collection: dict(rows) for collection, rows in first.items()}
    row = dict(next(iter(first["routes"].values())), paths=["~/(a"])
    broken["routes"] = {row["id"]: row}
    with pytest.raises(RouteError, match="'a'"):
        applied(around, one, first, broken)
    assert plan(one, b"/a") is not None


def test_plan_when_the_host_names_an_upstream(around: Surroundings) -> None:
    """Targets take weighted turns, one that failed is not asked again, and the Host follows the target."""
    config = {
        "_format_version": "3.0",
        "services": [service("a", url="http://pool.internal/a")],
        "upstreams": [
            {
                "name": "pool.internal",
                "targets": [{"target": "10.0.0.1:80", "weight": 10}, {"target": "10.0.0.2:9000", "weight": 30}],
            }
        ],
    }
    one = applied(around, empty_snapshot(around), {}, declarative.load(config, plugins=None, now=1.0))
    found = plan(one, b"/a")
    assert found is not None
    picks = [found.pick((), ()) for _ in range(4)]
    assert sorted(pick.host for pick in picks if pick) == ["10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.2"]
    lines = {pick.host: pick.host_line for pick in picks if pick}
    assert lines == {"10.0.0.1": b"Host: 10.0.0.1\r\n", "10.0.0.2": b"Host: 10.0.0.2:9000\r\n"}
    tried = next(pick for pick in picks if pick and pick.host == "10.0.0.2")
    assert {pick.host for pick in (found.pick((tried,), ()) for _ in range(4)) if pick} == {"10.0.0.1"}


def test_upstreams_are_shared_when_none_of_them_changes(around: Surroundings) -> None:
    """A change of something else indexes no upstream anew; a change of a target reaches the plans that balance over it."""
    upstream = {"name": "up", "targets": [{"target": "127.0.0.1:1"}, {"target": "127.0.0.1:2"}]}

    def config(*names: str, weight: int) -> Table:
        targets = [{**upstream["targets"][0], "weight": weight}, upstream["targets"][1]]  # type: ignore[dict-item]
        services = [{**service(name), "url": "http://up/"} for name in names]
        data = {"_format_version": "3.0", "services": services, "upstreams": [{"name": "up", "targets": targets}]}
        return declarative.load(data, plugins=None, now=1.0)

    tables = [config("a", weight=100), config("a", "b", weight=100), config("a", "b", weight=0)]
    one = applied(around, empty_snapshot(around), {}, tables[0])
    two = applied(around, one, tables[0], tables[1])
    three = applied(around, two, tables[1], tables[2])
    assert two._balancing is one._balancing
    picked = []
    for snapshot in (two, three):
        found = plan(snapshot, b"/b")
        assert found is not None
        picked.append({found.pick((), ()).port for _ in range(4)})  # type: ignore[union-attr]
    assert picked == [{1, 2}, {2}]


def test_ranking_follows_the_setting_when_it_is_strict(around: Surroundings) -> None:
    """As shipped, a plain host goes before more fields; as meant, after (router specification, section 5)."""
    routes = [{"name": "host", "hosts": ["gw.test"]}, {"name": "two", "paths": ["/x"], "methods": ["GET"]}]
    loaded = declarative.load({"_format_version": "3.0", "routes": routes}, plugins=None, now=1.0)
    names = {}
    for calculation in ("original", "strict"):
        surroundings = replace(around, route_match_calculation=calculation)
        snapshot = applied(surroundings, empty_snapshot(surroundings), {}, loaded)
        match = snapshot.router.match(b"GET", b"gw.test", b"/x")
        assert match is not None
        names[calculation] = loaded["routes"][match.route_id]["name"]
    assert names == {"original": "host", "strict": "two"}


def test_one_change_among_many_takes_few_steps_and_shares_the_rest(around: Surroundings) -> None:
    """Entities and plans are persistent: a swap among a thousand routes touches what changed, in a handful of steps."""
    services = [service(f"s{number}") for number in range(1000)]
    old = table(*services)
    snapshot = applied(around, empty_snapshot(around), {}, old)
    kept, stale = plan(snapshot, b"/s500"), plan(snapshot, b"/s501")
    changed = [*services, service("new")]
    changed[501] = service("s501", read_timeout=5000)
    new = declarative.load({"_format_version": "3.0", "services": changed}, plugins=None, now=1.0, previous=old)
    steps = compile_steps(
        snapshot,
        "2" * 32,
        read_changes(declarative.difference(old, new)),
        around,
        lambda _, store: store,
        full=False,
    )
    count = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            after: Snapshot = end.value
            break
        count += 1
        # planned while the new one is compiled: not carried over, because it stands on what changed
        stale = plan(snapshot, b"/s501")
    assert count < 20
    assert plan(after, b"/s500") is kept
    assert plan(after, b"/s501") is not stale
    assert plan(after, b"/new") is not None
    assert after.shortest_timeout_s == 5.0
    shared = list(after.entities.by_collection["routes"].shards)
    before = snapshot.entities.by_collection["routes"].shards
    assert sum(shard is other for shard, other in zip(shared, before, strict=True)) >= len(before) - 2


def test_deadline_sweep_slows_down_when_the_shortest_timeout_goes(around: Surroundings) -> None:
    """All services are looked at again when the one with the shortest timeout is gone or was changed."""
    tables = [
        table(service("a"), service("b", read_timeout=3000), service("c", write_timeout=2000)),
        table(service("a"), service("b", read_timeout=3000), service("c")),
        table(service("a"), service("c", read_timeout=9000)),
        table(service("a"), service("c", read_timeout=9000), service("d")),
        table(),
    ]
    snapshot, old, seen = empty_snapshot(around), {}, []
    for new in tables:
        snapshot = applied(around, snapshot, old, new)
        old = new
        seen.append(snapshot.shortest_timeout_s)
    assert seen == [2.0, 3.0, 9.0, 9.0, 60.0]


def test_let_go_when_everything_was_replaced(around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old snapshot's objects end a few in each step, all of them by the last; the new one is whole."""
    monkeypatch.setattr(retirement, "PARTS_PER_STEP", 10)
    old = table(*(service(f"a{number}") for number in range(100)))
    new = table(*(service(f"b{number}") for number in range(100)))
    live = applied(around, empty_snapshot(around), {}, old)
    for number in range(100):
        assert plan(live, b"/a%d" % number)
    edits = list(read_changes(declarative.difference(old, new)))
    replacing = applied(around, live, old, new)
    kinds = (Node, Placement, Route, Service, RoutePlan)

    def alive() -> int:
        return sum(type(thing) in kinds for thing in gc.get_objects())

    gc.collect()
    counts = [alive()]
    steps = retirement.let_go(live, edits)
    del live, edits
    counts.extend(alive() for _ in steps)
    ended = [before - after for before, after in pairwise(counts)]
    assert sum(ended) >= 4 * 100
    assert max(ended) <= 2 * 10  # a node or row for itself, or a placement in its tuple
    assert plan(replacing, b"/b7")
