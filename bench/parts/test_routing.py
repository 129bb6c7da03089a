"""Matching among many routes, building and changing a router, and what a route weighs.

    .ci/bench parts -k routing

Three kinds of traffic. `hot` asks for few paths again and again, as the result cache likes it. In `skewed` and
`uniform` no path ever repeats, so that every match walks the index; `skewed` draws the routes as traffic does, a few
of them most of the time (Zipf), `uniform` draws all alike, which also has the processor's caches miss at every step:
the worst case. Figures are per request, of the fastest round (extra_info). Must hold for prefix and host tables:
10,000 routes within twice, 100,000 within three times the smallest table.

Figures and plots stand in bench/RESULTS.md. What grows with the table are misses of the processor's caches, not steps of the
walk: jumping over levels of the tree did not help.
Regexes whose literal prefix the path does not begin with are never tried; those that share one (`shared`) are tried in
turn, 0.4 µs each.
"""

import gc
import random
import tracemalloc
from collections.abc import Callable, Iterator
from functools import cache
from itertools import accumulate
from typing import Any

import pytest

from kongdp.http1.target import escape, normalize
from kongdp.routing.router import Router, build, compile_steps, finish
from tests.support.routes import StubRoute, number_id

ASKED = 1000
SIZES = [10, 1_000, 10_000, 100_000]

Request = tuple[bytes, bytes, bytes]

TABLES: dict[str, Callable[[int], dict[str, Any]]] = {
    "prefix": lambda i: {"paths": (f"/api/v1/service-{i}/items",)},
    "host": lambda i: {"hosts": (f"svc-{i}.example.com",), "paths": ("/",)},
    "method": lambda i: {"paths": (f"/api/v1/service-{i // 2}",), "methods": ("GET",) if i % 2 else ("POST", "PUT")},
    "regex": lambda i: {"paths": (f"~/service-{i}/users/(?<id>\\d+)$",)},
    "shared": lambda i: {"paths": (f"~/[^/]+/service-{i}$",)},
}
REQUESTS: dict[str, Callable[[int, int], Request]] = {
    "prefix": lambda i, tail: (b"GET", b"a.test", b"/api/v1/service-%d/items/%d" % (i, tail)),
    "host": lambda i, tail: (b"GET", b"svc-%d.example.com" % i, b"/items/%d" % tail),
    "method": lambda i, tail: (b"POST", b"a.test", b"/api/v1/service-%d/%d" % (i // 2, tail)),
    "regex": lambda i, tail: (b"GET", b"a.test", b"/service-%d/users/%d" % (i, tail)),
    "shared": lambda i, tail: (b"GET", b"a.test", b"/%d/service-%d" % (tail, i)),
}


def make_routes(kind: str, count: int) -> Iterator[StubRoute]:
    for i in range(count):
        yield StubRoute(id=number_id(i + 1), **TABLES[kind](i))


@cache
def router_of(kind: str, count: int, flavor: str) -> Router:
    """A router, frozen as a worker freezes its snapshot: a collection over the table is not part of a match."""
    router = build(make_routes(kind, count), flavor)
    gc.collect()
    gc.freeze()
    return router


@pytest.mark.parametrize("traffic", ["hot", "skewed", "uniform"])
@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("kind", ["prefix", "host", "regex"])
def test_match(benchmark: Any, kind: str, count: int, traffic: str) -> None:
    run_match(benchmark, kind, count, "traditional_compatible", traffic)


@pytest.mark.parametrize("count", [10, 10_000])
def test_match_by_method(benchmark: Any, count: int) -> None:
    run_match(benchmark, "method", count, "traditional_compatible", "uniform")


@pytest.mark.parametrize("count", [10, 100])
def test_match_regexes_without_literal_prefix(benchmark: Any, count: int) -> None:
    run_match(benchmark, "shared", count, "traditional_compatible", "uniform")


@pytest.mark.parametrize("kind", ["prefix", "host"])
@pytest.mark.parametrize("flavor", ["traditional", "expressions"])
def test_match_of_other_flavors(benchmark: Any, flavor: str, kind: str) -> None:
    run_match(benchmark, kind, 10_000, flavor, "uniform")


def run_match(benchmark: Any, kind: str, count: int, flavor: str, traffic: str) -> None:
    router = router_of(kind, count, flavor)
    dice = random.Random(count)
    match = router.match
    weights = list(accumulate(1 / (rank + 1) for rank in range(count)))
    places = list(range(count))
    dice.shuffle(places)
    few = [REQUESTS[kind](dice.randrange(count), 1) for _ in range(20)]

    def requests_of_a_round() -> tuple[tuple[list[Request]], dict[str, Any]]:
        if traffic == "hot":
            # bytes of their own, as they come from a socket: no hash is known yet
            return ([(m, bytes(bytearray(h)), bytes(bytearray(p))) for m, h, p in dice.choices(few, k=ASKED)],), {}
        routes = dice.choices(places, cum_weights=weights if traffic == "skewed" else None, k=ASKED)
        return ([REQUESTS[kind](route, dice.randrange(10**9)) for route in routes],), {}

    def ask(requests: list[Request]) -> None:
        for method, host, path in requests:
            match(method, host, path)

    benchmark.group = f"{traffic} {kind} {flavor}"
    rounds = 3 if kind == "shared" else 40
    benchmark.pedantic(ask, setup=requests_of_a_round, rounds=rounds, warmup_rounds=2)
    benchmark.extra_info["ns per match (fastest round)"] = round(benchmark.stats.stats.min / ASKED * 1e9)


@pytest.mark.parametrize("kind", ["prefix", "host", "regex"])
@pytest.mark.parametrize("count", [10_000, 100_000])
def test_build(benchmark: Any, count: int, kind: str) -> None:
    routes = list(make_routes(kind, count))
    benchmark.group = "build"
    benchmark.pedantic(lambda: build(routes), rounds=2 if count > 10_000 else 5)
    benchmark.extra_info["µs per route"] = round(benchmark.stats.stats.min / count * 1e6, 1)
    benchmark.extra_info["steps"] = sum(1 for _ in compile_steps(routes[:1000])) * count // 1000


@pytest.mark.parametrize("kind", ["prefix", "host"])
@pytest.mark.parametrize("count", SIZES)
def test_change_one_route(benchmark: Any, count: int, kind: str) -> None:
    """A route removed and another added, by path copying."""
    router = router_of(kind, count, "traditional_compatible")
    added = StubRoute(id=number_id(10**9), **TABLES[kind](10**9))
    benchmark.group = "change one route"
    benchmark.pedantic(lambda: finish(router.with_changes([number_id(5)], [added])), rounds=50, warmup_rounds=5)


@pytest.mark.parametrize("kind", ["prefix", "host", "regex"])
def test_memory_of_a_route(benchmark: Any, kind: str) -> None:
    """Bytes that a route adds to a router of 10,000 (RE2 keeps some two kilobytes of its own for a regex, which
    Python does not see).
    """
    routes = list(make_routes(kind, 10_000))
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    router = build(routes)
    weight = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    benchmark.group = "memory"
    benchmark.extra_info["bytes per route"] = weight // len(router)
    benchmark.pedantic(len, args=(router,), rounds=1)


@pytest.mark.parametrize(
    "path", [b"/api/v1/items/42", b"/a%20b//c/./d/../e", "/über".encode()], ids=["clean", "dirty", "utf8"]
)
def test_normalize_and_escape(benchmark: Any, path: bytes) -> None:
    benchmark.group = "normalize and escape"
    benchmark(lambda: escape(normalize(path)))
