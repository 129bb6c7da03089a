"""The memory of ways: a request that asks for what another asked for is treated as that one was."""

import asyncio
import re
from typing import Any, cast

import pytest

from bench.parts.memory_exchange import RESPONSE, Dialer, Wire
from kongdp.plugins.identities import NOBODY
from kongdp.proxy import ways
from kongdp.proxy.downstream import DownstreamConnection
from kongdp.proxy.plugin_chain import NO_PLUGINS
from kongdp.proxy.ways import RouteTable, Way
from kongdp.routing.router import build
from tests.support.gateway import Gateway, running_gateway
from tests.support.routes import make_route

CONFIG: dict[str, Any] = {
    "_format_version": "3.0",
    "services": [
        {
            "name": "s",
            "url": "http://127.0.0.1:1/base",
            "routes": [
                {"name": "stripped", "paths": ["/stripped"]},
                {"name": "kept", "paths": ["/kept"], "strip_path": False, "preserve_host": True},
                {"name": "regex", "paths": ["~/re/[0-9]+"]},
                {"name": "field", "paths": ["/field"], "headers": {"x-a": ["1"]}},
                {"name": "posted", "paths": ["/posted"], "methods": ["POST"]},
                {"name": "hosted", "hosts": ["hosted.test"]},
                {"name": "secure", "paths": ["/secure"], "protocols": ["https"]},
            ],
        }
    ],
}
HOST = b"Host: a.test\r\n"
REQUESTS = [
    b"GET /stripped/x?q=1 HTTP/1.1\r\n" + HOST,
    b"GET /stripped/x HTTP/1.1\r\n" + HOST,
    b"GET /stripped HTTP/1.1\r\n" + HOST,
    b"GET /stripped/%41%20b/../c HTTP/1.1\r\n" + HOST,
    b"GET /stripped/A HTTP/1.1\r\nHost: B.test:80\r\n",
    b"GET http://other.test/stripped/x?q HTTP/1.1\r\n" + HOST,
    b"GET /stripped/x HTTP/1.0\r\n",
    b"GET /kept/x?q=2 HTTP/1.1\r\nHost: B.test:80\r\n",
    b"GET /re/17/x HTTP/1.1\r\n" + HOST,
    b"GET /field HTTP/1.1\r\nX-A: 1\r\n" + HOST,
    b"GET /field HTTP/1.1\r\nX-A: 2\r\n" + HOST,
    b"POST /posted HTTP/1.1\r\nContent-Length: 0\r\n" + HOST,
    b"GET /posted HTTP/1.1\r\n" + HOST,
    b"GET /else HTTP/1.1\r\nHost: hosted.test\r\n",
    b"GET /else HTTP/1.1\r\n" + HOST,
    b"GET /secure HTTP/1.1\r\n" + HOST,
    b"TRACE /stripped/x HTTP/1.1\r\n" + HOST,
    b"GET /stripped/../../x HTTP/1.1\r\n" + HOST,
]
VARYING = re.compile(rb"(?:X-Kong-[A-Za-z-]+|Date): [^\r]*\r\n|[0-9a-f]{32}")


def ask(gateway: Gateway, request: bytes) -> tuple[bytes, bytes]:
    """What the upstream was sent and what the client got, without what differs each time."""
    dialer, client = Dialer(), Wire()
    gateway.env.dialer = cast(Any, dialer)
    downstream = DownstreamConnection(gateway.env, b"http", 8000)
    downstream.connection_made(cast(Any, client))
    downstream.data_received(request + b"\r\n")
    sent = b""
    if dialer.opened:
        sent = dialer.opened[0].transport.written
        dialer.opened[0].data_received(RESPONSE)
        dialer.opened[0].connection_lost(None)
    downstream.connection_lost(None)
    return VARYING.sub(b"", sent), VARYING.sub(b"", client.written)


def test_requests_are_treated_alike_when_they_are_asked_again() -> None:
    """Whatever came before: the first time, in another order, and the second time are the same."""
    first: list[tuple[bytes, bytes]] = []

    async def story() -> None:
        async with running_gateway(CONFIG) as gateway:
            first.extend(ask(gateway, request) for request in REQUESTS)
            again = [ask(gateway, request) for request in reversed(REQUESTS)]
            assert again[::-1] == first
            assert gateway.env.snapshot.ways

    asyncio.run(story())
    assert [client.split(b" ")[1] for _, client in first] == [
        *[b"200"] * 10, b"404", b"200", b"404", b"200", b"404", b"426", b"405", b"400",
    ]  # fmt: skip
    assert first[3][0].startswith(b"GET /base/c HTTP/1.1\r\n")
    assert b"X-Forwarded-Path: /stripped/%41%20b/../c\r\nX-Forwarded-Prefix: /stripped\r\n" in first[3][0]


def test_a_new_configuration_remembers_nothing() -> None:
    """A snapshot's memory goes with it: the route leads elsewhere at once."""

    async def story() -> None:
        async with running_gateway(CONFIG) as gateway:
            assert ask(gateway, REQUESTS[1])[0].startswith(b"GET /base/x ")
            service = {**CONFIG["services"][0], "url": "http://127.0.0.1:1/new"}
            gateway.load({**CONFIG, "services": [service]})
            assert ask(gateway, REQUESTS[1])[0].startswith(b"GET /new/x ")

    asyncio.run(story())


def test_memory_is_bounded_and_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths that never repeat fill it once; it rests then, and forgets them all after a while."""
    monkeypatch.setattr(ways, "WAYS_MAX", 3)
    monkeypatch.setattr(ways, "REST_MISSES", 4)
    router = build([make_route("r", paths=["/"])])
    table = RouteTable(router, NO_PLUGINS, NOBODY)

    def meet(path: bytes) -> None:
        match = router.match(b"GET", b"a.test", path)
        table.remember(b"GET", b"a.test", path, Way(match, cast(Any, None), path, b"", path))

    for number in range(6):
        meet(b"/%d" % number)
    assert [path for _, _, path in table.ways] == [b"/0", b"/1", b"/2"]
    meet(b"/6")
    assert not table.ways
    meet(b"/7")
    assert len(table.ways) == 1


def test_way_is_not_remembered_when_its_match_depends_on_a_field() -> None:
    """Only what the router itself may answer from memory."""
    router = build([make_route("r", paths=["/"], headers={"x-a": ["1"]})])
    table = RouteTable(router, NO_PLUGINS, NOBODY)
    match = router.match(b"GET", b"a.test", b"/", lambda: {b"x-a": [b"1"]})
    assert match is not None
    table.remember(b"GET", b"a.test", b"/", Way(match, cast(Any, None), b"/", b"", b"/"))
    assert not table.ways
