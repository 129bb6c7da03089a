"""What plugins add to a whole exchange without sockets. A prometheus plugin alone must add nothing.

Run: .ci/bench parts -k plugins. The collector is off, as in workers.
"""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import uvloop
from pytest_benchmark.fixture import BenchmarkFixture

from bench.parts import memory_exchange
from bench.parts.memory_exchange import exchanger

CONSUMERS = [{"username": "bob", "keyauth_credentials": [{"key": "secret"}], "acls": [{"group": "a"}]}]
KEY_AUTH = {"name": "key-auth"}
ACL = {"name": "acl", "config": {"allow": ["a"]}}
LIMIT = {"name": "rate-limiting", "config": {"hour": 1_000_000_000}}
SETS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "prometheus": [{"name": "prometheus", "config": {"status_code_metrics": True}}],
    "key-auth": [KEY_AUTH],
    "key-auth-acl": [KEY_AUTH, ACL],
    "key-auth-acl-rate-limiting": [KEY_AUTH, ACL, LIMIT],
    "cors": [{"name": "cors"}],
    "correlation-id": [{"name": "correlation-id"}],
}


@pytest.fixture
def no_collector() -> Iterator[None]:
    """As in a worker."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.benchmark(group="plugins")
@pytest.mark.parametrize("name", SETS)
def test_plugins(benchmark: BenchmarkFixture, name: str, no_collector: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the request's bytes, with a key, to the response's bytes."""
    asked = memory_exchange.REQUEST.replace(b"Referer:", b"apikey: secret\r\nReferer:")
    monkeypatch.setattr(memory_exchange, "REQUEST", asked)

    async def measure() -> None:
        async with exchanger(more={"consumers": CONSUMERS, "plugins": SETS[name]}) as exchange:
            benchmark.pedantic(exchange, rounds=40, iterations=250, warmup_rounds=2)

    uvloop.run(measure())
