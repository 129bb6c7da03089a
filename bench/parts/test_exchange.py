"""A whole exchange without sockets: our own code for one typical request and its response.

Run: .ci/bench parts -k exchange. The cost of counting and of a large table are differences of rows here; exact ones come
from `python -m bench.parts.instructions` (instructions, not time).
"""

import pytest
import uvloop
from pytest_benchmark.fixture import BenchmarkFixture

from bench.parts.memory_exchange import exchanger


@pytest.mark.benchmark(group="exchange")
@pytest.mark.parametrize(
    ("routes", "counts"), [(1, True), (1, False), (10_000, True)], ids=["counted", "uncounted", "10000-routes"]
)
def test_exchange(benchmark: BenchmarkFixture, routes: int, counts: bool) -> None:
    """From the request's bytes to the response's bytes, both connections kept alive."""

    async def measure() -> None:
        async with exchanger(routes, counts=counts) as exchange:
            benchmark.pedantic(exchange, rounds=40, iterations=500, warmup_rounds=2)

    uvloop.run(measure())
