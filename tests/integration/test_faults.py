"""Faulty upstreams and clients against a real gateway: the right status or close, nothing left behind, counts right.

`running_gateway` asserts at its end that no client and no upstream connection is left.
"""

import asyncio
import contextlib
import socket

import pytest

from kongdp.proxy.environment import Limits
from kongdp.upstream.pool import PoolLimits
from tests.support.gateway import Gateway, running_gateway
from tests.support.loops import run
from tests.support.raw_client import Seen, ask, parse
from tests.support.scripted_upstream import Upstream, config, scripted_upstream

GET = b"GET /x HTTP/1.1\r\nHost: gw.test\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 5\r\n\r\nhello"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


async def settle(gateway: Gateway) -> None:
    """Wait until no exchange is under way."""
    for _ in range(500):
        if all(connection.exchange is None for connection in gateway.env.connections):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(gateway.env.connections)


def test_upstream_when_it_refuses() -> None:
    """Every try is used up, then 502; the count says kong."""

    async def story() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}"
            async with running_gateway(config(url, retries=3)) as gateway:
                seen = await ask(gateway.port, POST)
                assert seen.status == 502
                assert gateway.counts() == {("r", 502, 0): 1}
                assert (gateway.node("retries"), gateway.node("upstream_failures")) == (3, 4)

    run(story())


@pytest.mark.parametrize("response", [OK, CHUNKED])
def test_upstream_when_it_closes_after_any_number_of_bytes(response: bytes) -> None:
    """Cut inside the head: 502. Cut inside the body: the client's connection is cut too, so that it can tell."""

    async def story() -> None:
        cut = 0

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            writer.write(response[:cut])
            await writer.drain()

        head = response.index(b"\r\n\r\n") + 4
        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url, retries=0)) as gateway,
        ):
            for cut in range(len(response)):
                seen = await ask(gateway.port, GET)
                if cut < head:
                    assert seen.status == 502, (cut, seen)
                else:
                    assert seen.status == "cut", (cut, seen)
            cut = len(response)
            assert (await ask(gateway.port, GET)).body == b"hello"
            await settle(gateway)
            counts = gateway.counts()
            assert counts["r", 502, 0] == head
            assert counts["r", 200, 1] == len(response) - head + 1

    run(story())


@pytest.mark.parametrize(
    "garbage",
    [
        b"not http at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40000 + b"\r\n\r\n",
        b"y" * 40000,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
def test_upstream_when_it_sends_garbage(garbage: bytes) -> None:
    """What cannot be trusted is a 502 and never a second try."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            writer.write(garbage)
            await reader.read()

        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url)) as gateway:
            assert (await ask(gateway.port, GET)).status == 502
            assert upstream.connections == 1

    run(story())


def test_upstream_when_bytes_follow_the_response() -> None:
    """The response is whole; the connection that sent more is never used again (response splitting)."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            while True:
                await upstream.read_head(reader)
                writer.write(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url)) as gateway:
            for _ in range(3):
                assert (await ask(gateway.port, GET)).body == b"hello"
            assert upstream.connections == 3

    run(story())


@pytest.mark.parametrize(("request_bytes", "status"), [(GET, 200), (POST, 502)])
def test_upstream_when_a_reused_connection_dies(request_bytes: bytes, status: int) -> None:
    """A pooled connection that dies under a request: an idempotent one is sent again on a fresh connection, a POST is not."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            first = upstream.connections == 1
            await upstream.read_head(reader)
            writer.write(OK)
            if first:
                await upstream.read_head(reader)  # dies with the second request in its hands
                return
            await reader.read()

        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url, retries=0)) as gateway,
        ):
            assert (await ask(gateway.port, GET)).status == 200
            assert (await ask(gateway.port, request_bytes)).status == status
            assert upstream.connections == (2 if status == 200 else 1)

    run(story())


def test_upstream_when_an_idle_connection_is_closed() -> None:
    """The end of an idle connection is noticed at once: the next request, even a POST, meets a fresh one."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            head = await upstream.read_head(reader)
            if head.startswith(b"POST"):
                await reader.readexactly(5)
            writer.write(OK)

        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url)) as gateway:
            for _ in range(3):
                assert (await ask(gateway.port, POST)).status == 200
                while gateway.pools_open():
                    await asyncio.sleep(0.01)
            assert upstream.connections == 3

    run(story())


def test_upstream_when_it_stalls() -> None:
    """Silence beyond read_timeout: 504 before the head, a cut connection inside the body; POST is not sent again."""

    async def story() -> None:
        sent = b""

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            writer.write(sent)
            await reader.read()

        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url, read_timeout=200, retries=1)) as gateway,
        ):
            assert (await ask(gateway.port, POST)).status == 504
            assert upstream.connections == 1
            assert (await ask(gateway.port, GET)).status == 504
            assert upstream.connections == 3
            sent = OK[:-2]
            assert (await ask(gateway.port, GET)).status == "cut"
            assert gateway.node("timeouts") == 4

    run(story())


def test_client_when_it_leaves() -> None:
    """The upstream's request is aborted, 499 is counted."""

    async def story() -> None:
        gone = asyncio.Event()

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            with contextlib.suppress(ConnectionError):
                await reader.read()
            gone.set()

        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url)) as gateway:
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(GET)
            while not upstream.heads:
                await asyncio.sleep(0.01)
            writer.close()
            await asyncio.wait_for(gone.wait(), 30)
            await settle(gateway)
            assert gateway.counts() == {("r", 499, 0): 1}
            assert gateway.node("client_aborts") == 1

    run(story())


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /x HTTP/1.1\r\nHost: gw.te", 408),
        (b"POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 5\r\n\r\nhe", 408),
        (b"", "closed"),
    ],
)
def test_client_when_it_is_slow(raw: bytes, status: int | str) -> None:
    """A head or body that does not come in time is a 408; a client that never speaks is closed."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await reader.read()

        limits = Limits(header_timeout_s=0.1, body_timeout_s=0.1)
        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url, read_timeout=200), limits=limits) as gateway,
        ):
            assert (await ask(gateway.port, raw)).status == status

    run(story())


def test_client_when_it_trickles() -> None:
    """A request that comes byte by byte is served."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            await reader.readexactly(5)
            writer.write(OK)

        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url)) as gateway:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            for byte in POST:
                writer.write(bytes((byte,)))
                await asyncio.sleep(0)
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
            writer.close()

    run(story())


def test_client_when_it_pipelines() -> None:
    """Pipelined requests are answered in order, one at a time upstream, local answers among them."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            while True:
                head = await upstream.read_head(reader)
                path = head.split(b" ")[1]
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))

        route = {"paths": ["/yes"], "strip_path": False}
        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url, route=route)) as gateway:
            paths = [f"/yes/{n}" if n % 3 else f"/no/{n}" for n in range(50)]
            raw = b"".join(f"GET {path} HTTP/1.1\r\nHost: gw.test\r\n\r\n".encode() for path in paths)
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(raw)
            data, answers = b"", []
            while len(answers) < len(paths):
                data += await asyncio.wait_for(reader.read(65536), 30)
                while (seen := parse(data, "GET", ended=False)) is not None:
                    answers.append(seen)
                    data = seen.rest
            assert [seen.body.decode() if seen.status == 200 else "" for seen in answers] == [
                path if path.startswith("/yes") else "" for path in paths
            ]
            assert upstream.connections == 1
            assert gateway.node("unrouted_total") == sum(path.startswith("/no") for path in paths)
            writer.close()

    run(story())


def test_bodies_when_they_are_refused() -> None:
    """Too long by its length or as it comes: 413. Malformed chunks: 400. The upstream never sees a whole request."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            await reader.read()

        head = b"POST /x HTTP/1.1\r\nHost: gw.test\r\n"
        limits = Limits(body_bytes_max=10)
        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url), limits=limits) as gateway,
        ):
            assert (await ask(gateway.port, head + b"Content-Length: 11\r\n\r\nhello world")).status == 413
            chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
            assert (await ask(gateway.port, chunked + b"6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n")).status == 413
            assert (await ask(gateway.port, chunked + b"5\r\nhelloX")).status == 400
            assert upstream.heads == []

    run(story())


def test_expect_when_the_body_is_held_back() -> None:
    """100 Continue comes from us, at once; the upstream never sees Expect."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            await reader.readexactly(5)
            writer.write(OK)

        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url)) as gateway:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(POST[:-5].replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"hello")
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
            assert b"expect" not in upstream.heads[0].lower()
            writer.close()

    run(story())


def test_pool_when_its_endpoint_is_full() -> None:
    """With a bound on connections exchanges wait their turn; beyond the queue's bound they are answered 503."""

    async def story() -> None:
        release = asyncio.Event()

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            while True:
                await upstream.read_head(reader)
                await release.wait()
                writer.write(OK)

        limits = PoolLimits(connections_max=1, waiters_max=2)
        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url), pool_limits=limits) as gateway,
        ):
            asked = [asyncio.create_task(ask(gateway.port, GET)) for _ in range(4)]
            while not any(task.done() for task in asked):
                await asyncio.sleep(0.01)
            release.set()
            seen: list[Seen] = await asyncio.gather(*asked)
            assert sorted(str(answer.status) for answer in seen) == ["200", "200", "200", "503"]
            assert upstream.connections == 1

    run(story())


def test_connections_when_there_are_too_many() -> None:
    """Beyond the limit a client is closed at once and counted."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await reader.read()

        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url), limits=Limits(connections_max=2)) as gateway,
        ):
            held = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(2)]
            while len(gateway.env.connections) < 2:
                await asyncio.sleep(0.01)
            assert (await ask(gateway.port, GET)).status == "closed"
            assert gateway.node("connections_refused") == 1
            for _, writer in held:
                writer.close()

    run(story())
