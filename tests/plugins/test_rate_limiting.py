"""rate-limiting through gateways: windows, fields, identities, scopes, and two workers of one node."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from kongdp.entities.model import Plugin
from kongdp.plugins.base import Node, PluginError
from kongdp.plugins.rate_limiting.handler import RateLimiting, window_start
from kongdp.plugins.rates import SharedRates, private_rates
from kongdp.proxy.addresses import Trust
from tests.support.loops import run
from tests.support.plugged import plugged
from tests.support.raw_client import Seen


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
    config = {"minute": 1, "policy": "redis"}
    with pytest.raises(
        PluginError, match=r"config\.policy is 'redis', and this node only counts by itself: use 'local'"
    ):
        RateLimiting(Plugin("1", "rate-limiting", None, None, None, None, (), True, config, ()), Node())
