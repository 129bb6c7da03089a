"""rate-limiting through gateways: windows, fields, identities, scopes, and two workers of one node."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from kongdp.entities.model import Plugin
from kongdp.plugins.base import Node, PluginError
from kongdp.plugins.rate_limiting.handler import RateLimiting, window_start
from kongdp.plugins.rates import SharedRates, private_rates
from kongdp.plugins.redis import Redis, RedisServer
from kongdp.proxy.addresses import Trust
from tests.support.cluster import wait_for
from tests.support.loops import run
from tests.support.plugged import plugged
from tests.support.raw_client import Seen
from tests.support.scripted_upstream import Upstream, scripted_upstream


@dataclass
class Wall:
    """The time of day, as the test says: 2026-11-24 10:11:12 UTC first."""

    now: float = 1795515072.5

    def __call__(self) -> float:
        return self.now


def limiting(**config: Any) -> dict[str, Any]:
    """An instance."""
    return {"name": "rate-limiting", "config": config}


def node(wall: Wall, rates: SharedRates | None = None) -> Node:
    """A node whose time stands still."""
    return Node(wall=wall, rates=rates or private_rates())


def limits(seen: Seen) -> Mapping[str, str]:
    """The fields that tell of limits."""
    names = ("ratelimit", "retry-after")
    return {name: values[0] for name, values in seen.headers.items() if any(each in name for each in names)}


def test_limit_when_it_is_reached() -> None:
    """Counted down to a 429 that counts nothing and says when to come back; a new window begins on the minute."""

    async def story() -> None:
        wall = Wall()
        async with plugged(limiting(minute=2, hour=100), node=node(wall)) as p:
            for left in ("1", "0"):
                seen = await p.ask()
                assert (seen.status, limits(seen)) == (
                    200,
                    {
                        "x-ratelimit-limit-minute": "2",
                        "x-ratelimit-remaining-minute": left,
                        "x-ratelimit-limit-hour": "100",
                        "x-ratelimit-remaining-hour": str(98 + int(left)),
                        "ratelimit-limit": "2",
                        "ratelimit-remaining": left,
                        "ratelimit-reset": "48",
                    },
                )
            for _ in range(2):
                seen = await p.ask()
                assert seen.status == 429
                assert b'"message":"API rate limit exceeded"' in seen.body
                assert limits(seen)["retry-after"] == limits(seen)["ratelimit-reset"] == "48"
                assert limits(seen)["x-ratelimit-remaining-minute"] == "0"
                assert limits(seen)["x-ratelimit-remaining-hour"] == "98"
            assert p.gateway.counts() == {("r", 200, 1): 2, ("r", 429, 0): 2}
            wall.now += 48
            seen = await p.ask()
            assert (seen.status, limits(seen)["x-ratelimit-remaining-hour"]) == (200, "97")

    run(story())


@pytest.mark.parametrize(
    ("period", "now", "began"),
    [
        ("second", 1795515072.9, 1795515072),
        ("minute", 1795515072, 1795515060),
        ("hour", 1795515072, 1795514400),
        ("day", 1795515072, 1795478400),
        ("month", 1795515072, 1793491200),
        ("year", 1795515072, 1767225600),
    ],
)
def test_window_begins_with_the_calendar(period: str, now: float, began: int) -> None:
    """In UTC: at :00, at midnight, on the 1st, on New Year."""
    assert window_start(period, now) == began


CONSUMERS = {
    "consumers": [
        {"username": "bob", "keyauth_credentials": [{"key": "b1"}, {"key": "b2"}]},
        {"username": "eve", "keyauth_credentials": [{"key": "e"}]},
    ]
}
FROM = {"x_real_ip": "192.0.2.1"}, {"x_real_ip": "192.0.2.2"}


@pytest.mark.parametrize(
    ("config", "first", "same", "other"),
    [
        # a request, one that counts with it, one that does not
        ({"limit_by": "consumer"}, {"apikey": "b1"}, {"apikey": "b2", **FROM[0]}, {"apikey": "e"}),
        ({"limit_by": "credential"}, {"apikey": "b1"}, {"apikey": "b1", **FROM[0]}, {"apikey": "b2"}),
        ({"limit_by": "ip"}, {"apikey": "b1", **FROM[0]}, {"apikey": "e", **FROM[0]}, {"apikey": "b1", **FROM[1]}),
        (
            {"limit_by": "header", "header_name": "X-T"},
            {"apikey": "e", "x_t": "1"},
            {"apikey": "b1", "x_t": "1"},
            {"apikey": "e", "x_t": "2"},
        ),
        (
            {"limit_by": "path", "path": "/p"},
            {"apikey": "e", "path": "/p?x"},
            {"apikey": "b1", "path": "/p", **FROM[0]},
            {"apikey": "e", "path": "/q"},
        ),
    ],
)
def test_requests_that_count_together(
    config: dict[str, Any], first: dict[str, str], same: dict[str, str], other: dict[str, str]
) -> None:
    """By what the instance is told to count by; where that is missing, by address."""

    async def story() -> None:
        trust = Trust.build(["127.0.0.1"], "X-Real-IP", recursive=False)
        plugins = [{"name": "key-auth"}, limiting(minute=1, **config)]
        async with plugged(*plugins, more=CONSUMERS, node=node(Wall()), trust=trust) as p:
            assert [(await p.ask(**each)).status for each in (first, same, other)] == [200, 429, 200]

    run(story())


def test_service_limit_counts_over_its_routes_and_global_over_all() -> None:
    """The scope of counts is the instance's; a route's own instance counts for itself."""

    async def story() -> None:
        routes = [{"name": name, "paths": [f"/{name}"], "service": "s"} for name in ("a", "b")]
        more = {"routes": routes, "plugins": [{**limiting(minute=1), "service": "s"}]}
        async with plugged(limiting(minute=1), more=more, node=node(Wall())) as p:
            assert [(await p.ask(path)).status for path in ("/a", "/b", "/", "/")] == [200, 429, 200, 429]

    run(story())


def test_answer_when_it_is_configured_otherwise() -> None:
    """Another code and message, and no field at all when they are hidden."""

    async def story() -> None:
        config = {"minute": 1, "hide_client_headers": True, "error_code": 503, "error_message": "later"}
        async with plugged(limiting(**config), node=node(Wall())) as p:
            assert limits(await p.ask()) == {}
            seen = await p.ask()
            assert (seen.status, limits(seen)) == (503, {})
            assert b'"message":"later"' in seen.body

    run(story())


def test_two_workers_share_a_limit() -> None:
    """What one passed, the other has seen."""

    async def story() -> None:
        memory = memoryview(bytearray(2 * 4096))
        wall = Wall()
        nodes = [node(wall, SharedRates(memory, 2, lane)) for lane in range(2)]
        same_route = {"id": "92b3571a-cbb7-57b4-bc5c-991cbf85185b"}
        async with (
            plugged(limiting(minute=3), node=nodes[0], route=same_route) as one,
            plugged(limiting(minute=3), node=nodes[1], route=same_route) as two,
        ):
            statuses = [(await p.ask()).status for p in (one, two, one, two, one)]
            assert statuses == [200, 200, 200, 429, 429]

    run(story())


def test_policy_that_is_not_run_is_refused() -> None:
    """With what to do instead: a limit that several nodes should share must not be each node's own unnoticed."""
    config = {"minute": 1, "policy": "cluster"}
    with pytest.raises(PluginError, match=r"config\.policy is 'cluster', which needs Kong's own database: use 'local'"):
        RateLimiting(Plugin("1", "rate-limiting", None, None, None, None, (), True, config, ()), Node())


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A real server, with the password pw."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", "pw")
    process = subprocess.Popen(
        [program, *options], cwd=tmp_path_factory.mktemp("redis"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for("redis answers", lambda: _answers(port))
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


def shared(port: int, **config: Any) -> dict[str, Any]:
    """An instance that counts in a server."""
    server = {"host": "127.0.0.1", "port": port, "timeout": 5000, "password": "pw", "database": 1}
    return limiting(policy="redis", redis=server, **config)


def server(port: int) -> Redis:
    """The test's own line to it."""
    return Redis(RedisServer("127.0.0.1", port, 5.0, None, "pw", 1))


def test_nodes_share_a_limit_in_redis(redis_port: int) -> None:
    """Under Kong's keys, with Kong's expiry; a refused request is not counted."""

    async def story() -> None:
        wall = Wall()
        redis = server(redis_port)
        await redis.ask([(b"FLUSHDB",)])
        key = f"ratelimit:{ROUTE['id']}:{'0' * 8}-0000-0000-0000-{'0' * 12}:127.0.0.1:1795515060000:minute".encode()

        async def counted(expected: bytes) -> None:
            async with asyncio.timeout(30):
                while (await redis.ask([(b"GET", key)]))[0] != expected:
                    await asyncio.sleep(0.001)

        async with (
            plugged(shared(redis_port, minute=2), node=node(wall), route=ROUTE) as one,
            plugged(shared(redis_port, minute=2), node=node(wall), route=ROUTE) as two,
        ):
            seen = await one.ask()
            assert (seen.status, limits(seen)["x-ratelimit-remaining-minute"]) == (200, "1")
            await counted(b"1")
            assert (await two.ask()).status == 200
            await counted(b"2")
            assert [(await p.ask()).status for p in (one, two)] == [429, 429]
            assert await redis.ask([(b"GET", key)]) == [b"2"]
            assert 0 < (await redis.ask([(b"TTL", key)]))[0] <= 60
            wall.now += 60
            assert (await one.ask()).status == 200
        redis.close()

    run(story())


ROUTE = {"id": "92b3571a-cbb7-57b4-bc5c-991cbf85185b"}


@pytest.mark.parametrize("tolerant", [True, False])
def test_redis_when_it_cannot_be_asked(redis_port: int, tolerant: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong password, nobody there, another protocol: the request passes uncounted, or it is a 500. The log says why, once."""

    async def story() -> None:
        async with scripted_upstream(_speaks_http) as other:
            cases = [
                (shared(redis_port, minute=1, fault_tolerant=tolerant), {"password": "wrong"}, "WRONGPASS"),
                (shared(9, minute=1, fault_tolerant=tolerant), {}, "127.0.0.1:9: "),
                (shared(other.port, minute=1, fault_tolerant=tolerant), {}, "a reply that is none"),
                (
                    shared(other.port, minute=1, fault_tolerant=tolerant),
                    {"timeout": 1, "database": 0, "password": None},
                    "time",
                ),
            ]
            for plugin, change, reason in cases:
                plugin["config"]["redis"] |= change
                caplog.clear()
                async with plugged(plugin, node=node(Wall())) as p:
                    assert [(await p.ask()).status for _ in range(2)] == ([200] * 2 if tolerant else [500] * 2)
                assert caplog.text.count("rate-limiting") == 1
                assert reason in caplog.text

    run(story())


async def _speaks_http(upstream: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if b"AUTH" in await reader.read(1000):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await reader.read()


def test_redis_when_it_closes_an_idle_connection(redis_port: int) -> None:
    """The next question goes over a new one."""

    async def story() -> None:
        redis, other = server(redis_port), server(redis_port)
        name = (await redis.ask([(b"CLIENT", b"ID")]))[0]
        await other.ask([(b"CLIENT", b"KILL", b"ID", b"%d" % name)])
        async with asyncio.timeout(30):
            while not redis._idle[0].is_stale:
                await asyncio.sleep(0.001)
        assert (await redis.ask([(b"CLIENT", b"ID")]))[0] != name
        assert await redis.ask([(b"SET", b"k", b"a\r\nb"), (b"GET", b"k"), (b"GET", b"none")]) == [
            b"OK",
            b"a\r\nb",
            None,
        ]
        redis.close()
        other.close()

    run(story())
