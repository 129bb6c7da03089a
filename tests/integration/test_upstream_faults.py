"""Upstreams that reset, stall, flood, answer early or too late, and what is relayed of an answer without a body.

Together with test_faults. `running_gateway` asserts at its end that no client and no upstream connection is left; `at_rest` that no
exchange, waiter or dialling is.
"""

import asyncio
import contextlib
import socket

import pytest

from kongdp.proxy.environment import Limits
from kongdp.routing.shards import ShardedMap
from kongdp.upstream.pool import PoolLimits
from tests.support.faults import OK, Reader, Writer, at_rest, echo, reset, sweep_often, until
from tests.support.gateway import running_gateway
from tests.support.loops import run
from tests.support.raw_client import ask, parse
from tests.support.scripted_upstream import Upstream, config, scripted_upstream

GET = b"GET /x HTTP/1.1\r\nHost: gw.test\r\n\r\n"
HEAD = b"HEAD /x HTTP/1.1\r\nHost: gw.test\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 5\r\n\r\nhello"
MIB = 1 << 20


@pytest.mark.parametrize(
    "response", [OK, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
def test_upstream_when_it_resets_after_any_number_of_bytes(response: bytes) -> None:
    """RST at any byte: 502 before the head is whole (or what of the answer the reset overtook), else a cut connection."""

    async def story() -> None:
        cut = 0

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            writer.write(response[:cut])
            await asyncio.sleep(0.002)  # without it the reset overtakes the bytes
            reset(writer)

        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url, retries=0)) as gateway:
            for cut in range(len(response)):
                seen = await ask(gateway.port, POST)
                assert seen.status in (502, "cut"), (cut, seen)
            await at_rest(gateway)
            assert gateway.pools_open() == 0
            assert gateway.node("upstream_failures") == len(response)

    run(story())


@pytest.mark.parametrize(
    "phase", ["head", "in head", "in length body", "in chunk", "in close-delimited body", "after 103"]
)
def test_upstream_when_it_stalls_at_each_phase(phase: str) -> None:
    """read_timeout ends it: 504 while nothing was relayed, a cut connection after that."""

    async def story() -> None:
        sent = {
            "head": b"",
            "in head": b"HTTP/1.1 200 OK\r\nConte",
            "in length body": OK[:-1],
            "in chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
            "in close-delimited body": b"HTTP/1.1 200 OK\r\n\r\nhel",
            "after 103": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        }[phase]

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            writer.write(sent)
            await reader.read()

        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url, read_timeout=150, retries=0)) as gateway,
        ):
            seen = await ask(gateway.port, GET)
            assert seen.status == (504 if phase in ("head", "in head", "after 103") else "cut")
            assert gateway.node("timeouts") == 1
            await at_rest(gateway)
            assert gateway.pools_open() == 0

    run(story())


def test_upstream_when_it_takes_nothing_of_a_body() -> None:
    """write_timeout ends a request whose body the upstream does not read, although the client goes on sending: 504."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await upstream.read_head(reader)
            writer.transport.pause_reading()
            await asyncio.sleep(30)

        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url, write_timeout=200, read_timeout=60000, retries=2)) as gateway,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(
                b"POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: %d\r\n\r\n" % (64 * MIB) + b"x" * (64 * MIB)
            )
            assert (await asyncio.wait_for(reader.readuntil(b"\r\n"), 30)).startswith(b"HTTP/1.1 504")
            assert upstream.connections == 1
            writer.transport.abort()
            await at_rest(gateway)

    run(story())


def test_upstream_when_its_answer_begins_only_after_a_slow_body() -> None:
    """read_timeout counts from the last byte of the request, not from its first."""

    async def story() -> None:
        answer_after = 0.0

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            await reader.readexactly(10)
            await asyncio.sleep(answer_after)
            writer.write(OK)

        route = {"request_buffering": False}
        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url, read_timeout=400, route=route)) as gateway,
        ):
            answer_after = 0.25
            _, writer = opened = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(b"POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 10\r\n\r\n")
            for _ in range(9):
                writer.write(b"x")
                await asyncio.sleep(0.04)
            writer.write(b"x")
            assert (await opened[0].readuntil(b"hello")).startswith(b"HTTP/1.1 200")
            writer.close()

    run(story())


@pytest.mark.parametrize(
    "garbage",
    [
        b"x",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ],
)
def test_upstream_when_it_speaks_between_responses(garbage: bytes) -> None:
    """Bytes on an idle pooled connection end it: the next request gets its own answer, from a fresh connection."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            writer.write(OK)
            await asyncio.sleep(0.02)
            writer.write(garbage)
            await reader.read()

        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url)) as gateway:
            for _ in range(3):
                assert (await ask(gateway.port, POST)).body == b"hello"
                await until(lambda: gateway.pools_open() == 0)
            assert upstream.connections == 3

    run(story())


def test_upstream_when_it_closes_idle_connections_at_the_worst_moment() -> None:
    """Each connection dies with its second request unread: with retries 0 every GET is still served, on a fresh connection."""

    async def story() -> None:
        stale = asyncio.Event()

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            writer.write(OK)
            await upstream.read_head(reader)
            if not stale.is_set():
                writer.write(OK)
            # else: dies with a request in its hands, like all its idle brothers

        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url, retries=0)) as gateway:
            seen = await asyncio.gather(*(ask(gateway.port, GET) for _ in range(8)))
            assert {one.status for one in seen} == {200}
            stale.set()
            for _ in range(8):
                assert (await ask(gateway.port, GET)).status == 200
            await at_rest(gateway)

    run(story())


def test_upstream_when_it_floods_interim_responses() -> None:
    """Thousands of 1xx heads are a 502 at the bound of a head, whether they come in one piece or trickle."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            head = await upstream.read_head(reader)
            kind = b"HTTP/1.1 100 Continue\r\n\r\n" if b"/100" in head else b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"
            writer.write(kind * 20000)
            await reader.read()

        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url)) as gateway:
            for path in (b"/100", b"/103"):
                assert (await ask(gateway.port, GET.replace(b"/x", path))).status == 502
            assert upstream.connections == 2
            await at_rest(gateway)

    run(story())


@pytest.mark.parametrize(("version", "relayed"), [(b"1.1", True), (b"1.0", False)])
def test_early_hints_when_the_client_speaks(version: bytes, relayed: bool) -> None:
    """103 reaches clients of HTTP/1.1, each time; 100 and 102... only what a client of that version knows."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" + b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2 + OK)
            await reader.read()

        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url)) as gateway:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(b"GET /x HTTP/%b\r\nHost: gw.test\r\nConnection: close\r\n\r\n" % version)
            data = await reader.read()
            assert data.count(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n") == (2 if relayed else 0)
            assert data.count(b"HTTP/1.1 100") == 0
            assert data.count(b"HTTP/1.1 200") == 1
            writer.close()

    run(story())


@pytest.mark.parametrize("keeps_sending", [True, False])
def test_upstream_when_it_answers_before_the_body_is_there(keeps_sending: bool) -> None:
    """An early answer is relayed at once; a client that goes on sending keeps its connection, the upstream's is not reused."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            writer.write(OK)
            await reader.read()

        route = {"request_buffering": False}
        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url, route=route)) as gateway:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(b"POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 100000\r\n\r\n" + b"x" * 10000)
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
            if keeps_sending:
                writer.write(b"x" * 90000 + GET)
                assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
                assert upstream.connections == 2
            writer.close()
            await at_rest(gateway)
            assert gateway.counts() == {("r", 200, 1): 1 + keeps_sending}

    run(story())


def test_upstream_when_it_answers_early_and_the_body_is_endless() -> None:
    """More than the bound of an unwanted body: the answer stands, then the connection closes; nothing is held."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            writer.write(OK)
            await reader.read()

        route = {"request_buffering": False}
        limits = Limits(linger_s=0.2, linger_total_s=0.5)
        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url, route=route), limits=limits) as gateway,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(b"POST /x HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n")
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
            chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(30):
                    while gateway.env.connections:
                        writer.write(chunk)
                        await writer.drain()
                        await asyncio.sleep(0)
            writer.close()
            await until(lambda: not gateway.env.connections)

    run(story())


def test_pool_when_a_dial_is_given_up_for_a_wait() -> None:
    """A waiter that timed out and a dial that comes later do not serve one exchange twice."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            while True:
                head = await upstream.read_head(reader)
                if b"/hold" in head:
                    await given_up.wait()
                writer.write(OK)

        given_up = asyncio.Event()
        limits = PoolLimits(connections_max=1, waiters_max=10)
        async with (
            scripted_upstream(script) as upstream,
            running_gateway(
                config(upstream.url, connect_timeout=100, read_timeout=5000, retries=0), pool_limits=limits
            ) as gateway,
        ):
            sweep_often(gateway)
            held = asyncio.create_task(ask(gateway.port, GET.replace(b"/x", b"/hold")))
            await until(lambda: upstream.heads)
            waiting = [asyncio.create_task(ask(gateway.port, GET)) for _ in range(3)]
            assert {(await one).status for one in waiting} == {504}
            given_up.set()
            assert (await held).status == 200
            assert (await ask(gateway.port, GET)).status == 200
            await at_rest(gateway)
            assert len(upstream.heads) == 2

    run(story())


@pytest.mark.parametrize(
    ("raw", "answer", "status", "body"),
    [
        (HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, b""),
        (HEAD, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, b""),
        (GET, b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (GET, b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", 204, b""),
        (GET, b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 7\r\n\r\n', 304, b""),
        (GET, b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", 304, b""),
        (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b""),
    ],
)
def test_bodiless_answers_when_relayed(raw: bytes, answer: bytes, status: int, body: bytes) -> None:
    """They end with their head on both connections; a 204 never states a length; both connections serve on."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            while True:
                await upstream.read_head(reader)
                writer.write(answer)

        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url)) as gateway:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            for _ in range(3):
                writer.write(raw)
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
                assert head.startswith(b"HTTP/1.1 %d" % status)
                if status == 204:
                    assert b"content-length" not in head.lower()
                    assert b"transfer-encoding" not in head.lower()
            assert upstream.connections == 1
            writer.close()

    run(story())


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nT: v\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("trickled", [False, True])
def test_answers_when_the_client_speaks_either_version(answer: bytes, version: bytes, trickled: bool) -> None:
    """Every framing of an upstream reaches clients of both versions whole; HTTP/1.0 never sees chunks."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            if not trickled:
                writer.write(answer)
                return
            for byte in answer:
                writer.write(bytes((byte,)))
                await writer.drain()
                await asyncio.sleep(0)

        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url)) as gateway:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(b"GET /x HTTP/%b\r\nHost: gw.test\r\nConnection: close\r\n\r\n" % version)
            seen = parse(await asyncio.wait_for(reader.read(), 30), "GET", ended=True)
            assert seen is not None
            assert (seen.status, seen.body, seen.rest) == (200, b"hello", b"")
            if version == b"1.0":
                assert "transfer-encoding" not in seen.headers
            writer.close()

    run(story())


def test_plan_when_it_cannot_be_built() -> None:
    """An error of our own in one request is a 500 for it, logged, and the connection's end is orderly."""

    async def story() -> None:
        async with scripted_upstream(echo) as upstream, running_gateway(config(upstream.url)) as gateway:
            gateway.env.snapshot.entities.by_collection["routes"] = ShardedMap()
            seen = await ask(gateway.port, GET)
            assert seen.status == 500
            assert seen.body.startswith(b"An unexpected error occurred")

    run(story())
