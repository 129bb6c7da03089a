"""Tries: what is tried again and what never, on which target, and what a client gets when nothing is left (Kong's rules)."""

import asyncio
import contextlib
import socket

import pytest

from kongdp.proxy.environment import Limits
from kongdp.proxy.failures import RetryRules
from tests.support.gateway import Gateway, running_gateway
from tests.support.loops import run
from tests.support.ports import free_port
from tests.support.raw_client import Seen, ask
from tests.support.scripted_upstream import Upstream, config, scripted_upstream

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
GET = b"GET /x HTTP/1.1\r\nHost: gw.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def request(method: bytes, body: bytes = b"", *, chunked: bool = False) -> bytes:
    """A request with a body, if any."""
    head = method + b" /x HTTP/1.1\r\nHost: gw.test\r\n"
    if not body:
        return head + b"\r\n"
    if chunked:
        return head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def with_targets(targets: list[tuple[str, int]], **service: object) -> dict[str, object]:
    """A service whose host names an upstream entity with these targets and weights."""
    loaded = config("http://pool", **service)
    rows = [{"target": target, "weight": weight} for target, weight in targets]
    return {**loaded, "upstreams": [{"name": "pool", "targets": rows}]}


async def closes(upstream: Upstream, reader: Reader, writer: Writer) -> None:
    """Reads a head and closes."""
    await upstream.read_head(reader)


async def closes_at_once(upstream: Upstream, reader: Reader, writer: Writer) -> None:
    """Closes."""


async def serves(upstream: Upstream, reader: Reader, writer: Writer) -> None:
    """Answers requests without bodies."""
    while True:
        await upstream.read_head(reader)
        writer.write(OK)


async def stalls(upstream: Upstream, reader: Reader, writer: Writer) -> None:
    """Says nothing."""
    await upstream.read_head(reader)
    await reader.read()


async def fails(upstream: Upstream, reader: Reader, writer: Writer) -> None:
    """Answers 503, as an application may."""
    while True:
        await upstream.read_head(reader)
        writer.write(b"HTTP/1.1 503 Sorry\r\nContent-Length: 0\r\n\r\n")


async def talks_nonsense(upstream: Upstream, reader: Reader, writer: Writer) -> None:
    """Sends what is no response."""
    await upstream.read_head(reader)
    writer.write(b"nonsense\r\n\r\n")


RETRIED = [
    # (what the upstream does, method, body, status, tries with retries=2)
    (closes, b"GET", b"", 502, 3),
    (closes, b"HEAD", b"", 502, 3),
    (closes, b"PUT", b"body", 502, 3),
    (closes, b"DELETE", b"", 502, 3),
    (closes, b"POST", b"body", 502, 1),
    (closes, b"POST", b"", 502, 1),
    (closes, b"PATCH", b"body", 502, 1),
    (closes, b"LOCK", b"", 502, 1),
    (stalls, b"GET", b"", 504, 3),
    (stalls, b"POST", b"body", 504, 1),
    (fails, b"GET", b"", 503, 1),
    (talks_nonsense, b"GET", b"", 502, 1),
]


@pytest.mark.parametrize(("script", "method", "body", "status", "tries"), RETRIED)
def test_request_when_its_upstream_fails(script: object, method: bytes, body: bytes, status: int, tries: int) -> None:
    """Closed and silent connections are retried for methods that may be repeated; statuses and nonsense never."""

    async def story() -> None:
        async with (
            scripted_upstream(script) as upstream,  # type: ignore[arg-type]
            running_gateway(config(upstream.url, retries=2, read_timeout=100)) as gateway,
        ):
            seen = await ask(gateway.port, request(method, body))
            assert seen.status == status
            assert upstream.connections == tries
            assert gateway.node("retries") == tries - 1

    run(story())


BY_RULE = [
    # (proxy_next_upstream, proxy_next_upstream_tries, what the upstream does, method, tries with retries=3)
    ("error timeout", 0, closes, b"GET", 4),
    ("error timeout", 2, closes, b"GET", 2),
    ("error timeout", 1, closes, b"GET", 1),
    ("error timeout", 9, closes, b"GET", 4),
    ("off", 0, closes, b"GET", 1),
    ("error off", 0, closes, b"GET", 1),
    ("timeout", 0, closes, b"GET", 1),
    ("error", 0, stalls, b"GET", 1),
    ("timeout", 0, stalls, b"GET", 4),
    ("error non_idempotent", 0, closes, b"POST", 4),
    ("error invalid_header", 0, talks_nonsense, b"GET", 4),
    ("error invalid_header", 0, talks_nonsense, b"POST", 1),
]


@pytest.mark.parametrize(("conditions", "most", "script", "method", "tries"), BY_RULE)
def test_request_when_a_setting_says_what_is_tried_again(
    conditions: str, most: int, script: object, method: bytes, tries: int
) -> None:
    """nginx's proxy_next_upstream and proxy_next_upstream_tries; the service's retries stay a bound."""

    async def story() -> None:
        rules = RetryRules.read(conditions.split(), most)
        async with (
            scripted_upstream(script) as upstream,  # type: ignore[arg-type]
            running_gateway(config(upstream.url, retries=3, read_timeout=100), retry_rules=rules) as gateway,
        ):
            assert (await ask(gateway.port, request(method, b"body"))).status in (502, 504)
            assert upstream.connections == tries

    run(story())


def test_reused_connection_when_nothing_may_be_tried_again() -> None:
    """`off` also forbids the try that a connection which died while idle gives otherwise (nginx)."""

    async def story() -> None:
        async def once(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            writer.write(OK)
            await upstream.read_head(reader)

        rules = RetryRules.read(["off"], 0)
        async with (
            scripted_upstream(once) as upstream,
            running_gateway(config(upstream.url, retries=3), retry_rules=rules) as gateway,
        ):
            assert (await ask(gateway.port, GET)).status == 200
            assert (await ask(gateway.port, GET)).status == 502
            assert upstream.connections == 1

    run(story())


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_request_when_nobody_listens(method: bytes) -> None:
    """A refused connection is retried for every method: nothing was sent."""

    async def story() -> None:
        async with running_gateway(config(f"http://127.0.0.1:{free_port()}", retries=2)) as gateway:
            seen = await ask(gateway.port, request(method, b"body"))
            assert seen.status == 502
            assert "x-kong-upstream-latency" in seen.headers
            assert gateway.node("retries") == 2

    run(story())


def test_connecting_when_it_takes_too_long() -> None:
    """connect_timeout is a 504 after the tries, for POST too."""

    async def story() -> None:
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(0)
            port = deaf.getsockname()[1]
            fillers = []
            for _ in range(4):  # the queue of one that nobody accepts from is full then
                filler = socket.socket()
                filler.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    filler.connect(("127.0.0.1", port))
                fillers.append(filler)
            loaded = config(f"http://127.0.0.1:{port}", retries=1, connect_timeout=100)
            async with running_gateway(loaded) as gateway:
                assert (await ask(gateway.port, request(b"POST", b"body"))).status == 504
                assert gateway.node("retries") == 1
                assert gateway.pools_open() == 0
            for filler in fillers:
                filler.close()

    run(story())


@pytest.mark.parametrize(
    ("buffering", "size", "served"), [(True, 10_000, True), (True, 3_000_000, False), (False, 3_000_000, False)]
)
@pytest.mark.parametrize("chunked", [False, True])
def test_body_when_it_would_have_to_be_sent_again(buffering: bool, size: int, served: bool, chunked: bool) -> None:
    """A body that is held whole is sent again; one of which a part streamed is not (502)."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            first = upstream.connections == 1
            head = await upstream.read_head(reader)
            if first:
                return
            assert b"Content-Length: %d\r\n" % size in head
            assert await reader.readexactly(size) == b"b" * size
            writer.write(OK)

        route = {"request_buffering": buffering}
        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url, route=route, retries=1)) as gateway,
        ):
            seen: Seen = await ask(gateway.port, request(b"PUT", b"b" * size, chunked=chunked))
            assert seen.status == (200 if served else 502)

    run(story())


def test_buffered_chunks_when_they_are_complete() -> None:
    """A chunked body that is whole when the head leaves goes out with its length; a longer one in chunks; no trailers."""

    async def story() -> None:
        bodies: list[int] = []

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            head = await upstream.read_head(reader)
            if b"Content-Length: 1000\r\n" in head:
                bodies.append(len(await reader.readexactly(1000)))
            else:
                assert b"Transfer-Encoding: chunked\r\n" in head
                data = b""
                while not data.endswith(b"\r\n0\r\n\r\n"):
                    data += await reader.read(1 << 20)
                assert b"X-T" not in data
                bodies.append(data.count(b"b"))
            writer.write(OK)

        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url), limits=Limits(body_buffer_bytes=10_000)) as gateway,
        ):
            for size in (1000, 3_000_000):
                raw = request(b"POST", b"b" * size, chunked=True)[:-2] + b"X-T: 1\r\n\r\n"
                assert (await ask(gateway.port, raw)).status == 200
            assert bodies[0] == 1000
            assert bodies[1] >= 3_000_000

    run(story())


def test_unbuffered_body_when_it_trickles() -> None:
    """request_buffering false: each piece is upstream before the next is there; true: nothing before all is."""

    async def story() -> None:
        got: list[bytes] = []

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            for _ in range(4):
                got.append(await reader.readexactly(1))
            writer.write(OK)

        for buffering in (False, True):
            got.clear()
            async with (
                scripted_upstream(script) as upstream,
                running_gateway(config(upstream.url, route={"request_buffering": buffering})) as gateway,
            ):
                reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
                writer.write(request(b"POST", b"abcd")[:-4])
                for number in range(4):
                    writer.write(b"abcd"[number : number + 1])
                    await asyncio.sleep(0.02)
                    if number < 3:
                        assert len(got) == (0 if buffering else number + 1)
                assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
                writer.close()

    run(story())


async def statuses(gateway: Gateway, count: int, raw: bytes = GET) -> list[int | str]:
    """What several requests get, one after the other."""
    return [(await ask(gateway.port, raw)).status for _ in range(count)]


def test_targets_when_they_have_weights() -> None:
    """They get their share; weight 0 gets nothing; Host is the target's."""

    async def story() -> None:
        async with (
            scripted_upstream(serves) as first,
            scripted_upstream(serves) as second,
            scripted_upstream(serves) as third,
        ):
            targets = [
                (f"127.0.0.1:{first.port}", 100),
                (f"127.0.0.1:{second.port}", 300),
                (f"127.0.0.1:{third.port}", 0),
            ]
            async with running_gateway(with_targets(targets)) as gateway:
                assert set(await statuses(gateway, 40)) == {200}
                assert (len(first.heads), len(second.heads), len(third.heads)) == (10, 30, 0)
                assert b"\r\nHost: 127.0.0.1:%d\r\n" % first.port in first.heads[0]

    run(story())


def test_targets_when_one_refuses() -> None:
    """Each request finds the other target on its retry, with that target's Host; without retries half of them fail."""

    async def story() -> None:
        async with scripted_upstream(serves) as alive:
            targets = [(f"127.0.0.1:{free_port()}", 100), (f"127.0.0.1:{alive.port}", 100)]
            async with running_gateway(with_targets(targets, retries=1)) as gateway:
                assert set(await statuses(gateway, 10)) == {200}
                assert gateway.node("retries") == 5
                assert all(b"\r\nHost: 127.0.0.1:%d\r\n" % alive.port in head for head in alive.heads)
            async with running_gateway(with_targets(targets, retries=0)) as gateway:
                assert sorted(map(str, await statuses(gateway, 10))) == ["200"] * 5 + ["502"] * 5

    run(story())


@pytest.mark.parametrize("targets", [[], [("127.0.0.1:1", 0)], [("gone.invalid:80", 100)]])
def test_upstream_when_it_has_no_target(targets: list[tuple[str, int]]) -> None:
    """No target, none with weight, or none with an address: 503 from Kong's own code."""

    async def story() -> None:
        async with running_gateway(with_targets(targets)) as gateway:
            seen = await ask(gateway.port, GET)
            assert seen.status == 503
            assert b"failure to get a peer from the ring-balancer" in seen.body
            assert "x-kong-response-latency" in seen.headers

    run(story())


def test_targets_when_one_has_no_address() -> None:
    """A target whose name does not resolve is as good as absent, and costs no try."""

    async def story() -> None:
        async with scripted_upstream(serves) as alive:
            targets = [("gone.invalid:80", 1000), (f"up.localhost:{alive.port}", 1)]
            async with running_gateway(with_targets(targets, retries=0)) as gateway:
                assert set(await statuses(gateway, 6)) == {200}
                assert b"\r\nHost: up.localhost:%d\r\n" % alive.port in alive.heads[0]

    run(story())


@pytest.mark.parametrize(
    ("host", "status", "message"),
    [
        ("nowhere.invalid", 503, b"name resolution failed"),
        ("no-such-name.test", 503, b"name resolution failed"),
        ("failing.test", 500, b"failed the initial dns/balancer resolve for 'failing.test' with: "),
        ("slow.test", 500, b"failed the initial dns/balancer resolve for 'slow.test' with: "),
    ],
)
def test_name_when_it_cannot_be_resolved(host: str, status: int, message: bytes) -> None:
    """No such name 503, any other failure 500, both from Kong's own code; a silent resolver ends with connect_timeout."""

    async def story() -> None:
        async with running_gateway(config(f"http://{host}:80", connect_timeout=100, read_timeout=400)) as gateway:
            patch_lookups(gateway, {})
            seen = await ask(gateway.port, GET)
            assert (seen.status, message in seen.body) == (status, True), seen
            assert "x-kong-response-latency" in seen.headers

    run(story())


def patch_lookups(gateway: Gateway, addresses: dict[str, list[str]]) -> list[str]:
    """Answer look-ups without a network; returns the list of names asked for."""
    asked: list[str] = []

    class Loop:
        def __getattr__(self, name: str) -> object:
            return getattr(gateway.env.loop, name)

        async def getaddrinfo(self, name: str, *_: object, **__: object) -> list[object]:
            asked.append(name)
            if name == "slow.test":
                await asyncio.sleep(1)
            if name in addresses:
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses[name]]
            if name == "failing.test":
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    gateway.env.resolver._loop = Loop()  # type: ignore[assignment]
    return asked


def test_name_when_it_has_several_addresses() -> None:
    """All are used in turn; one look-up serves everybody; a refused address is followed by the next on a retry."""

    async def story() -> None:
        async with scripted_upstream(serves) as upstream:
            loaded = config(f"http://many.test:{upstream.port}", retries=1)
            async with running_gateway(loaded) as gateway:
                # nobody listens on 127.0.0.2 at that port
                asked = patch_lookups(gateway, {"many.test": ["127.0.0.1", "127.0.0.2"]})
                seen = await asyncio.gather(*(ask(gateway.port, GET) for _ in range(10)))
                assert {one.status for one in seen} == {200}
                assert asked == ["many.test"]
                assert gateway.node("retries") == 5

    run(story())


def test_body_when_its_name_is_still_looked_up() -> None:
    """Pieces of a body that come while the name is looked up do not begin a second try."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            await reader.readexactly(100_000)
            writer.write(OK)
            await reader.read()

        async with scripted_upstream(script) as upstream:
            loaded = config(f"http://slow.test:{upstream.port}", route={"request_buffering": False})
            async with running_gateway(loaded, limits=Limits(stream_buffer_bytes=1000)) as gateway:
                patch_lookups(gateway, {"slow.test": ["127.0.0.1"]})
                reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
                writer.write(b"POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 100000\r\n\r\n")
                for _ in range(100):
                    writer.write(b"x" * 1000)
                    await asyncio.sleep(0)
                assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
                assert upstream.connections == 1
                assert gateway.node("upstream_opened") == 1
                writer.close()

    run(story())
