"""What a worker notes once a second: states of connections, pools, and what its resolver did."""

import asyncio
import os
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from kongdp.process.agent_apis import dns_statistics
from kongdp.process.worker_gauges import note
from kongdp.telemetry.counters import NODE_NUMBERS, NodeCounters
from kongdp.telemetry.segment import Segment
from kongdp.upstream.resolver import Resolver, ResolverLimits


@pytest.fixture
def segment() -> Iterator[Segment]:
    """A segment in memory."""
    fd = os.memfd_create("segment")
    os.posix_fallocate(fd, 0, 1 << 16)
    yield Segment.open(fd)
    os.close(fd)


def environment(segment: Segment, resolver: Any) -> Any:
    """Four connections (idle, idle, reading a head, at work) and two pools."""
    connections = [
        SimpleNamespace(exchange=exchange, is_reading=reading)
        for exchange, reading in ((None, False), (None, False), (None, True), (object(), False))
    ]
    pools = [
        SimpleNamespace(count_idle=2, count_open=5, count_waiting=1),
        SimpleNamespace(count_idle=1, count_open=1, count_waiting=3),
    ]
    return SimpleNamespace(
        connections=connections,
        pools=pools,
        resolver=resolver,
        counters=NodeCounters(segment),
        slots=segment.slots,
    )


def test_every_state_of_a_connection_and_a_pool_is_noted(segment: Segment) -> None:
    """Reading, writing and waiting add up to active; those who wait for an upstream connection are seen."""
    loop = asyncio.new_event_loop()
    env = environment(segment, Resolver(loop))
    note(env)
    loop.close()
    counters = env.counters
    states = ("active", "reading", "writing", "waiting")
    assert [env.slots[getattr(counters, f"connections_{state}")] for state in states] == [4, 1, 1, 2]
    assert [env.slots[getattr(counters, f"upstream_{state}")] for state in ("idle", "busy", "waiting")] == [3, 3, 4]


def test_what_the_resolver_did_is_added_once(segment: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found, absent and failed look-ups, a stale answer; noting twice adds nothing."""

    async def story() -> Any:
        loop = asyncio.get_running_loop()
        resolver = Resolver(loop, ResolverLimits(valid_ttl_s=0.0, not_found_ttl_s=60, error_ttl_s=60))

        async def getaddrinfo(name: str, port: object, **_: object) -> list[Any]:
            if name == "absent.test":
                raise socket.gaierror(socket.EAI_NONAME, "no such name")
            if name == "failing.test":
                raise socket.gaierror(socket.EAI_AGAIN, "try again")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 0))]

        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
        for name in ("a.test", "absent.test", "failing.test", "127.0.0.1"):
            resolver.lookup(name, loop.time())
        for _ in range(3):
            await asyncio.sleep(0)
        assert resolver.lookup("a.test", loop.time() + 1).addresses == ("10.0.0.1",)
        for _ in range(3):
            await asyncio.sleep(0)
        return resolver

    env = environment(segment, asyncio.run(story()))
    names = ("queries", "found", "absent", "failures", "stale", "names")
    for _ in range(2):
        note(env)
        assert [env.slots[getattr(env.counters, f"dns_{name}")] for name in names] == [4, 2, 1, 1, 1, 4]


def test_status_dns_shows_every_number_of_the_resolvers() -> None:
    """Each of the node's dns_ numbers is there under its name."""
    node = {number.name: at for at, number in enumerate(NODE_NUMBERS)}
    shown = dns_statistics(node, 2)
    assert shown["worker"] == {"id": -1, "count": 2}
    assert {f"dns_{name}": count for name, count in shown["stats"].items()} == {
        name: at for name, at in node.items() if name.startswith("dns_")
    }
