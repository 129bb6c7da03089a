"""proxy-cache through a gateway: what is kept, for whom, for how long, and what the client is told."""

import hashlib
from dataclasses import dataclass
from typing import Any

import pytest

from kongdp.plugins.base import Node
from kongdp.plugins.proxy_cache.cache import Entry, MemoryCache
from kongdp.plugins.proxy_cache.handler import _caches
from tests.support.loops import run
from tests.support.plugged import Plugged, plugged
from tests.support.raw_client import Seen

NOW = 1795515072.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Up: 1\r\nServer: up\r\nContent-Length: 2\r\n"
ROUTE = {"id": "92b3571a-cbb7-57b4-bc5c-991cbf85185b"}


@dataclass
class Wall:
    """A time of day that stands still."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def no_cache() -> None:
    """Each test begins with an empty one."""
    _caches.clear()


def cache(**config: Any) -> dict[str, Any]:
    """An instance."""
    return {"name": "proxy-cache", "config": {"strategy": "memory", **config}}


def node(wall: Wall) -> Node:
    """A node with room for a megabyte."""
    return Node(wall=wall)


def told(seen: Seen) -> str | None:
    """X-Cache-Status."""
    return seen.headers.get("x-cache-status", [None])[0]


async def answered(p: Plugged, *requests: dict[str, Any]) -> list[str | None]:
    """What each request is told."""
    return [told(await p.ask(**each)) for each in requests]


def test_answer_when_it_is_given_again() -> None:
    """Status, fields and body of the first; its age; Kong's fields of a proxied answer; counted as the gateway's."""

    async def story() -> None:
        wall = Wall()
        async with plugged(cache(), node=node(wall), route=ROUTE) as p:
            p.answer = HEAD + b"X-RateLimit-Remaining-Minute: 3\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n{}"
            first = await p.ask("/a?x=1")
            wall.now += 10
            second = await p.ask("/a?x=1")
            assert (told(first), told(second), len(p.upstream.heads)) == ("Miss", "Hit", 1)
            assert (second.status, second.body, second.headers["age"]) == (200, b"{}", ["10"])
            assert (second.headers["x-up"], second.headers["content-type"]) == (["1"], ["application/json"])
            assert not {"x-ratelimit-remaining-minute", "x-hop", "x-kong-response-latency"} & second.headers.keys()
            assert second.headers["via"] == ["1.1 kongdp/0"]
            assert {"x-kong-proxy-latency", "x-kong-upstream-latency"} <= second.headers.keys()
            assert second.headers["server"] == ["kongdp/0"]
            expected = hashlib.sha256(f"{ROUTE['id']}|GET|GET /a|x=1|".encode()).hexdigest()
            assert first.headers["x-cache-key"] == second.headers["x-cache-key"] == [expected]
            assert p.gateway.counts() == {("r", 200, 1): 1, ("r", 200, 0): 1}
            wall.now += 300
            assert await answered(p, {"path": "/a?x=1"}) == ["Miss"]

    run(story())


SAME_OR_NOT: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]] = [
    # (settings, a request, another one, what the second is told)
    ({}, {"path": "/a?x=1&y=2"}, {"path": "/a?y=2&x=1"}, "Hit"),
    ({}, {"path": "/a?x=1"}, {"path": "/a?x=2"}, "Miss"),
    # a client must not be able to put its answer under another request's key
    ({}, {"path": "/a?x=1%3Ay%3D2"}, {"path": "/a?x=1&y=2"}, "Miss"),
    ({}, {"path": "/a?x=1%2C2"}, {"path": "/a?x=1&x=2"}, "Miss"),
    ({}, {"path": "/a%7Cx=1?y=2"}, {"path": "/a?x=1%7Cy=2"}, "Miss"),
    ({}, {"path": "/a|x=1?y=2"}, {"path": "/a?x=1|y=2"}, "Miss"),
    ({"vary_headers": ["a", "b"]}, {"a": "1:b=2"}, {"a": "1", "b": "2"}, "Miss"),
    ({}, {"path": "/a?x=1&x=2"}, {"path": "/a?x=2&x=1"}, "Hit"),
    ({}, {"path": "/a"}, {"path": "/A"}, "Miss"),
    ({"ignore_uri_case": True}, {"path": "/a"}, {"path": "/A"}, "Hit"),
    ({"vary_query_params": ["x"]}, {"path": "/?x=1&y=1"}, {"path": "/?x=1&y=2"}, "Hit"),
    ({"vary_query_params": ["x"]}, {"path": "/?x=1"}, {"path": "/?x=2"}, "Miss"),
    ({}, {"accept": "a"}, {"accept": "b"}, "Hit"),
    ({"vary_headers": ["Accept"]}, {"accept": "a"}, {"accept": "b"}, "Miss"),
    ({"vary_headers": ["Accept"]}, {"accept": "a"}, {"accept": "a"}, "Hit"),
    ({}, {"method": "HEAD"}, {"method": "GET"}, "Miss"),
    ({}, {}, {"method": "POST"}, "Bypass"),
    ({"request_method": ["POST"]}, {"method": "POST"}, {"method": "POST"}, "Hit"),
    ({}, {}, {"cache_control": "no-cache"}, "Hit"),
    ({"cache_control": True}, {}, {"cache_control": "no-cache"}, "Bypass"),
    ({"cache_control": True}, {}, {"cache_control": "No-Store"}, "Bypass"),
    ({"cache_control": True}, {}, {"authorization": "x"}, "Bypass"),
    ({"cache_control": True}, {}, {"cache_control": "max-age=20"}, "Hit"),
    ({"cache_control": True}, {}, {"cache_control": "max-age=5"}, "Refresh"),
    ({"cache_control": True}, {}, {"cache_control": "min-fresh=95"}, "Refresh"),
    ({"cache_control": True}, {}, {"cache_control": "min-fresh=80"}, "Hit"),
    ({"cache_control": True, "storage_ttl": 900}, {}, {"cache_control": "max-stale=0"}, "Hit"),
]


@pytest.mark.parametrize(("config", "first", "second", "expected"), SAME_OR_NOT)
def test_second_request_when_it_is_the_same_or_not(
    config: dict[str, Any], first: dict[str, Any], second: dict[str, Any], expected: str
) -> None:
    """By the key of method, path, arguments and chosen fields; and by what the client will take, where it is listened to."""

    async def story() -> None:
        wall = Wall()
        async with plugged(cache(**config), node=node(wall)) as p:
            answer = HEAD + b"Cache-Control: max-age=100\r\n\r\n{}"
            p.answer = answer.removesuffix(b"{}") if first.get("method") == "HEAD" else answer
            assert await answered(p, first) == ["Miss"]
            p.answer = answer
            wall.now += 10
            assert await answered(p, second) == [expected]

    run(story())


KEPT_OR_NOT: list[tuple[dict[str, Any], bytes, bool]] = [
    # (settings, the upstream's answer, whether it is kept)
    ({}, b"200 OK\r\nContent-Type: text/plain", False),  # the charset that is appended makes it another type
    ({"content_type": ["text/plain; charset=UTF-8"]}, b"200 OK\r\nContent-Type: text/plain", True),
    ({}, b"200 OK\r\nContent-Type: application/json; charset=utf-8", False),
    ({"content_type": ["application/*"]}, b"200 OK\r\nContent-Type: application/json", True),
    ({"content_type": ["*/*"]}, b"200 OK\r\nContent-Type: image/png", True),
    ({}, b"200 OK\r\nContent-Type: image/png", False),
    ({}, b"200 OK", False),
    ({}, b"404 Not Found\r\nContent-Type: application/json", True),
    ({}, b"500 Oops\r\nContent-Type: application/json", False),
    ({"response_code": [500]}, b"500 Oops\r\nContent-Type: application/json", True),
    ({}, b"200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store", True),
    ({"cache_control": True}, b"200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store", False),
    ({"cache_control": True}, b"200 OK\r\nContent-Type: application/json\r\nCache-Control: private, max-age=9", False),
    ({"cache_control": True}, b"200 OK\r\nContent-Type: application/json", False),
    ({"cache_control": True}, b"200 OK\r\nContent-Type: application/json\r\nCache-Control: max-age=0", False),
    (
        {"cache_control": True},
        b"200 OK\r\nContent-Type: application/json\r\nCache-Control: max-age=0, s-maxage=9",
        True,
    ),
    (
        {"cache_control": True},
        b"200 OK\r\nContent-Type: application/json\r\nExpires: Tue, 24 Nov 2026 10:20:00 GMT",
        True,
    ),
    ({"cache_control": True}, b"200 OK\r\nContent-Type: application/json\r\nExpires: 0", False),
]


@pytest.mark.parametrize(("config", "answer", "kept"), KEPT_OR_NOT)
def test_answer_when_it_may_be_kept_or_not(config: dict[str, Any], answer: bytes, kept: bool) -> None:
    """By status and type; by what the upstream says, where it is listened to."""

    async def story() -> None:
        async with plugged(cache(**config), node=node(Wall())) as p:
            p.answer = b"HTTP/1.1 %b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n" % answer
            assert await answered(p, {}, {}) == (["Miss", "Hit"] if kept else ["Bypass", "Bypass"])
            assert (await p.ask()).body == b"abc"

    run(story())


def test_consumers_when_they_ask_for_the_same() -> None:
    """Nobody is given another one's answer."""

    async def story() -> None:
        consumers = [{"username": name, "keyauth_credentials": [{"key": name}]} for name in ("a", "b")]
        async with plugged(cache(), {"name": "key-auth"}, more={"consumers": consumers}, node=node(Wall())) as p:
            p.answer = HEAD + b"\r\n{}"
            told_each = await answered(p, {"apikey": "a"}, {"apikey": "b"}, {"apikey": "a"}, {"apikey": "no"})
            assert told_each == ["Miss", "Miss", "Hit", None]

    run(story())


def test_fields_when_they_are_switched_off() -> None:
    """Nothing tells of the cache, but to a client that debugs; only-if-cached is 504 for what is not there."""

    async def story() -> None:
        off = {"age": False, "X-Cache-Status": False, "X-Cache-Key": False}
        async with plugged(cache(response_headers=off, cache_control=True), node=node(Wall())) as p:
            p.answer = HEAD + b"Cache-Control: max-age=9\r\n\r\n{}"
            assert (await p.ask(cache_control="only-if-cached")).status == 504
            for _ in range(2):
                seen = await p.ask()
                assert not {"age", "x-cache-status", "x-cache-key"} & seen.headers.keys()
            assert (await p.ask(kong_debug="1")).headers["x-cache-status"] == ["Hit"]
            assert (await p.ask(cache_control="only-if-cached")).status == 200

    run(story())


def test_answer_when_it_breaks_off_or_is_too_large() -> None:
    """It is not kept; what is too large passes whole."""

    async def story() -> None:
        async with plugged(cache(), node=node(Wall())) as p:
            p.answer, p.breaks = HEAD.replace(b"Length: 2", b"Length: 9") + b"\r\n{}", True
            assert (await p.ask()).status == "cut"
            p.breaks = False
            body = b"x" * (1 << 18)
            p.answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
                len(body),
                body,
            )
            for _ in range(2):
                seen = await p.ask()
                assert (told(seen), seen.body == body) == ("Miss", True)

    run(story())


def test_cache_is_bounded() -> None:
    """By bytes; the least recently used goes first, ended ones are as if they were not there."""

    def entry(size: int, until: float = 100) -> Entry:
        return Entry(200, (), b"x" * size, 0, 100, until)

    found = MemoryCache(80_000)
    for number in range(8):
        assert found.put(str(number), entry(9_000))
    assert found.get("0", 1) is not None
    assert found.put("8", entry(9_000))
    assert [number for number in range(9) if found.get(str(number), 1) is None] == [1]
    assert not found.put("9", entry(10_000))
    assert found.get("9", 1) is None
    assert found.put("2", entry(1, until=5))
    assert (found.get("2", 4) is None, found.get("2", 5) is None) == (False, True)
    assert found.bytes <= 80_000
