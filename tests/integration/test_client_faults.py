"""Clients that stall, vanish, pipeline, trickle and read slowly, and what a drain does to them.

Together with test_faults. `running_gateway` asserts at its end that no client and no upstream connection is left; `at_rest` that no
exchange, waiter or dialling is.
"""

import asyncio
import contextlib

import pytest

from kongdp.proxy.environment import Limits
from tests.support.faults import OK, Reader, Writer, at_rest, echo, reset, sweep_often, until
from tests.support.gateway import running_gateway
from tests.support.loops import run
from tests.support.raw_client import ask
from tests.support.scripted_upstream import Upstream, config, scripted_upstream

GET = b"GET /x HTTP/1.1\r\nHost: gw.test\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 5\r\n\r\nhello"
MIB = 1 << 20


def test_client_when_its_body_waits_for_a_slow_upstream() -> None:
    """While we do not read from a client its time stands still: no 408 for what is the upstream's slowness."""

    async def story() -> None:
        release = asyncio.Event()

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            writer.transport.pause_reading()
            await release.wait()
            writer.transport.resume_reading()
            await reader.readexactly(32 * MIB)
            writer.write(OK)

        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url), limits=Limits(body_timeout_s=0.1)) as gateway,
        ):
            sweep_often(gateway)
            body = b"x" * (32 * MIB)
            asked = asyncio.create_task(
                ask(gateway.port, b"POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            )
            await until(lambda: any(connection._reading_paused for connection in gateway.env.connections))
            began = gateway.env.now
            await until(lambda: gateway.env.now > began + 0.4)
            assert not asked.done()
            release.set()
            assert (await asked).status == 200

    run(story())


def test_body_limit_when_crossed_after_the_answer_began() -> None:
    """A body that outgrows its limit while the answer streams cuts the connection: no second answer inside the first."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            await reader.read()

        route = {"request_buffering": False}
        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url, route=route), limits=Limits(body_bytes_max=10)) as gateway,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(b"POST /x HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            data = await reader.readuntil(b"5\r\nhello\r\n")
            writer.write(b"a\r\nhellohello\r\n")
            with contextlib.suppress(ConnectionError):
                data += await reader.read()
            assert data.count(b"HTTP/1.1") == 1
            assert not data.endswith(b"0\r\n\r\n")
            writer.close()

    run(story())


@pytest.mark.parametrize("size", [100_000, 3 * MIB])
@pytest.mark.parametrize("chunked", [False, True])
def test_client_when_it_vanishes_while_uploading(size: int, chunked: bool) -> None:
    """The upstream's request is aborted, whether it had begun or was still held; nothing is left."""

    async def story() -> None:
        ends: list[bytes] = []

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            with contextlib.suppress(ConnectionError):
                while piece := await reader.read(65536):
                    ends[:] = [piece[-5:]]
            ends.append(b"end")

        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url)) as gateway:
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (2 * size)
            writer.write(b"POST /x HTTP/1.1\r\nHost: gw.test\r\n" + framing + b"\r\n\r\n")
            writer.write((b"%x\r\n" % size if chunked else b"") + b"x" * size)
            await writer.drain()
            await until(lambda: any(connection.exchange for connection in gateway.env.connections))
            if size > MIB:
                await until(lambda: ends)
            reset(writer)
            await until(lambda: not gateway.env.connections)
            await at_rest(gateway)
            assert gateway.pools_open() == 0
            assert gateway.counts() == {("r", 499, 0): 1}
            if size > MIB:
                await until(lambda: ends[-1] == b"end")
                assert ends[0] != b"0\r\n\r\n"
            else:
                assert upstream.connections == 0

    run(story())


def test_client_when_it_leaves_while_the_connection_is_being_opened() -> None:
    """The connection that comes too late goes to the pool and serves the next request."""

    async def story() -> None:
        async with scripted_upstream(echo) as upstream, running_gateway(config(upstream.url)) as gateway:
            real = gateway.env.dialer.dial
            hold = asyncio.Event()

            async def late(*arguments: object) -> object:
                connection = await real(*arguments)  # type: ignore[arg-type]
                await hold.wait()
                return connection

            gateway.env.dialer.dial = late  # type: ignore[method-assign,assignment]
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(GET)
            await until(lambda: upstream.connections)
            reset(writer)
            await until(lambda: not gateway.env.connections)
            hold.set()
            await at_rest(gateway)
            assert (await ask(gateway.port, GET)).status == 200
            assert upstream.connections == 1

    run(story())


def test_client_when_it_reads_slowly() -> None:
    """A slow reader holds the upstream back: bounded memory, no timeout as long as it takes something, and the whole answer."""

    async def story() -> None:
        size = 24 * MIB
        sent = 0

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            nonlocal sent
            await upstream.read_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            while sent < size:
                writer.write(b"x" * 65536)
                await writer.drain()
                sent += 65536
            await reader.read()

        limits = Limits(send_timeout_s=0.3)
        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url, read_timeout=200), limits=limits) as gateway,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=65536)
            writer.write(GET)
            await reader.readuntil(b"\r\n\r\n")
            (client,) = gateway.env.connections
            await until(lambda: not client.writable)
            held = client.transport.get_write_buffer_size()
            assert held < MIB
            assert sent < size
            got = 0
            most = 0
            while got < size:
                got += len(await reader.read(1 << 18))
                most = max(most, client.transport.get_write_buffer_size())
                await asyncio.sleep(0.005 if got < 4 * MIB else 0)
            assert got == size
            assert most < MIB
            writer.close()
            await at_rest(gateway)

    run(story())


def test_client_when_it_stops_reading() -> None:
    """Nothing taken for send_timeout: the connection is cut, the upstream's with it."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MIB))
            with contextlib.suppress(ConnectionError):
                for _ in range(1024):
                    writer.write(b"x" * 65536)
                    await writer.drain()

        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url, read_timeout=200), limits=Limits(send_timeout_s=0.2)) as gateway,
        ):
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
            writer.write(GET)
            await until(lambda: gateway.counts())
            await until(lambda: not gateway.env.connections)
            assert gateway.pools_open() == 0
            assert gateway.counts() == {("r", 200, 1): 1}
            writer.transport.abort()

    run(story())


def test_pooled_connection_when_a_slow_client_paused_it() -> None:
    """The last bytes of an answer may fill a slow client's buffer; the pooled connection must read on all the same."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            while True:
                head = await upstream.read_head(reader)
                body = b"x" * (8 * MIB if b"/big" in head else 5)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url, read_timeout=1000)) as gateway,
        ):
            for _ in range(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
                writer.write(GET.replace(b"/x", b"/big"))
                await reader.readuntil(b"\r\n\r\n")
                left = 8 * MIB
                while left:
                    left -= len(await reader.read(4 * MIB))
                    await asyncio.sleep(0)
                await at_rest(gateway)
                assert (await ask(gateway.port, GET)).body == b"xxxxx"
                writer.close()
            assert upstream.connections == 1

    run(story())


def test_client_when_it_pipelines_and_does_not_read() -> None:
    """Answers nobody takes stop the next request from beginning: memory stays bounded whatever a client sends ahead."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            while True:
                await upstream.read_head(reader)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MIB + b"x" * MIB)
                await writer.drain()

        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url)) as gateway:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
            count = 200
            writer.write(GET * count)
            await until(lambda: any(not connection.writable for connection in gateway.env.connections))
            (client,) = gateway.env.connections
            for _ in range(50):
                await asyncio.sleep(0.002)
                assert client.transport.get_write_buffer_size() < 2 * MIB
            assert len(upstream.heads) < count
            got = 0
            while len(upstream.heads) < count or client.exchange is not None or not client.writable:
                got += len(await reader.read(MIB))
            assert got > (count - 20) * MIB
            writer.transport.abort()

    run(story())


def test_head_when_it_trickles_for_ever() -> None:
    """One deadline for a whole head, on the first request and on later ones: every byte more does not extend it."""

    async def story() -> None:
        async with (
            scripted_upstream(echo) as upstream,
            running_gateway(config(upstream.url), limits=Limits(header_timeout_s=0.3)) as gateway,
        ):
            sweep_often(gateway)
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(GET)
            await reader.readuntil(b"hello")
            answer = asyncio.create_task(reader.readuntil(b"\r\n"))
            writer.write(b"GET /")
            async with asyncio.timeout(30):
                while not answer.done():
                    writer.write(b"x")
                    await asyncio.sleep(0.02)
            assert (await answer).startswith(b"HTTP/1.1 408")
            assert gateway.node("timeouts") == 1
            writer.close()

    run(story())


def test_refusal_when_the_client_goes_on_sending() -> None:
    """A refused head is answered and the answer arrives, although megabytes follow it (no reset overtakes it)."""

    async def story() -> None:
        async with scripted_upstream(echo) as upstream, running_gateway(config(upstream.url)) as gateway:
            for raw, status in (
                (b"GET /" + b"x" * 9000, b"414"),
                (b"GET / HTTP/1.1\r\nHost: a\r\nA b\r\n\r\n", b"400"),
            ):
                reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
                writer.write(raw + b"y" * (4 * MIB))
                data = await asyncio.wait_for(reader.read(), 30)
                assert data.startswith(b"HTTP/1.1 " + status), data[:50]
                writer.close()

    run(story())


@pytest.mark.parametrize("buffered", [True, False])
def test_drain_when_exchanges_are_under_way(buffered: bool) -> None:
    """Idle connections close, busy ones get `Connection: close` on their last answer, new ones may ask once."""

    async def story() -> None:
        release = asyncio.Event()

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            while True:
                head = await upstream.read_head(reader)
                if b"/slow" in head:
                    await release.wait()
                writer.write(OK)

        route = {"response_buffering": buffered}
        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url, route=route)) as gateway:
            idle, idle_writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            idle_writer.write(GET)
            await idle.readuntil(b"hello")
            fresh, fresh_writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            busy, busy_writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            busy_writer.write(GET.replace(b"/x", b"/slow") + GET)
            await until(lambda: len(upstream.heads) == 2 and len(gateway.env.connections) == 3)
            gateway.env.draining = True
            for connection in list(gateway.env.connections):
                connection.drain()
            assert await asyncio.wait_for(idle.read(), 30) == b""
            fresh_writer.write(GET)
            release.set()
            for reader in (fresh, busy):
                data = await asyncio.wait_for(reader.read(), 30)
                assert data.count(b"HTTP/1.1 200") == 1
                assert b"\r\nConnection: close\r\n" in data
            for writer in (idle_writer, fresh_writer, busy_writer):
                writer.close()
            await until(lambda: not gateway.env.connections)

    run(story())


def test_drain_when_a_connection_never_asks() -> None:
    """A connection that has not asked anything gets a moment, then it is closed."""

    async def story() -> None:
        async with scripted_upstream(echo) as upstream, running_gateway(config(upstream.url)) as gateway:
            sweep_often(gateway)
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            await until(lambda: gateway.env.connections)
            gateway.env.draining = True
            for connection in gateway.env.connections:
                connection.drain()
            assert await asyncio.wait_for(reader.read(), 30) == b""
            writer.close()

    run(story())
