"""Every limit at its bound: the last value that passes and the first that does not."""

import asyncio
from dataclasses import replace

import pytest

from kongdp.http1.parser import HeadLimits
from kongdp.proxy.environment import Limits
from kongdp.upstream.pool import PoolLimits
from tests.support.gateway import running_gateway
from tests.support.loops import run
from tests.support.raw_client import ask
from tests.support.scripted_upstream import Upstream, config, scripted_upstream

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
BEGIN = b"GET /x HTTP/1.1\r\nHost: gw.test\r\n"
GET = BEGIN + b"\r\n"


def line_of(size: int) -> bytes:
    """A request whose line, without its CRLF, has `size` bytes."""
    return b"GET /" + b"x" * (size - len(b"GET / HTTP/1.1")) + b" HTTP/1.1\r\nHost: gw.test\r\n\r\n"


def field_of(size: int) -> bytes:
    """A request with a field line of `size` bytes."""
    return BEGIN + b"X: " + b"y" * (size - 3) + b"\r\n\r\n"


def head_of(size: int) -> bytes:
    """A request whose head has `size` bytes in fields of 8,000."""
    left = size - len(BEGIN) - 2
    raw = BEGIN
    while left:
        line = min(left, 8000)
        if 0 < left - line < 10:
            line -= 100
        raw += b"X: " + b"y" * (line - 5) + b"\r\n"
        left -= line
    return raw + b"\r\n"


def fields_of(count: int) -> bytes:
    """A request with `count` field lines."""
    return BEGIN + b"A: b\r\n" * (count - 1) + b"\r\n"


def body_of(size: int, *, chunked: bool) -> bytes:
    """A request with a body of `size` bytes."""
    begin = BEGIN.replace(b"GET", b"POST")
    if chunked:
        half = size // 2
        pieces = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (half, b"x" * half, size - half, b"x" * (size - half))
        return begin + b"Transfer-Encoding: chunked\r\n\r\n" + pieces
    return begin + b"Content-Length: %d\r\n\r\n" % size + b"x" * size


LIMITS = Limits(body_bytes_max=1000, linger_s=0.2, linger_total_s=0.5)

REQUESTS = [
    # (name, request at the bound, status, request beyond it, status, message)
    ("request line", line_of(8192), 200, line_of(8193), 414, b"URI too long"),
    ("field", field_of(8192), 200, field_of(8193), 400, b"Request header or cookie too large"),
    ("head", head_of(32768), 200, head_of(32769), 400, b"Request header or cookie too large"),
    ("fields", fields_of(1000), 200, fields_of(1001), 400, b"Request header or cookie too large"),
    ("length", body_of(1000, chunked=False), 200, body_of(1001, chunked=False), 413, b"Payload too large"),
    ("chunks", body_of(1000, chunked=True), 200, body_of(1001, chunked=True), 413, b"Payload too large"),
]


async def serve(upstream: Upstream, reader: Reader, writer: Writer) -> None:
    """Answers any request, whatever its body."""
    while True:
        head = await upstream.read_head(reader)
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length: "):
                await reader.readexactly(int(line[16:]))
        writer.write(OK)


@pytest.mark.parametrize("trickled", [False, True], ids=["whole", "in pieces"])
@pytest.mark.parametrize(
    ("name", "at", "served", "beyond", "status", "message"), REQUESTS, ids=[row[0] for row in REQUESTS]
)
def test_request_when_at_its_limit(
    name: str, at: bytes, served: int, beyond: bytes, status: int, message: bytes, trickled: bool
) -> None:
    """The bound itself passes, one more is refused with Kong's status and message, whether it comes whole or in pieces."""

    async def story() -> None:
        async with (
            scripted_upstream(serve) as upstream,
            running_gateway(config(upstream.url), limits=LIMITS) as gateway,
        ):
            for raw, want in ((at, served), (beyond, status)):
                if trickled:
                    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
                    for start in range(0, len(raw), 1000):
                        writer.write(raw[start : start + 1000])
                        await asyncio.sleep(0)
                    line = await asyncio.wait_for(reader.readuntil(b"\r\n"), 30)
                    assert int(line[9:12]) == want, name
                    writer.close()
                else:
                    seen = await ask(gateway.port, raw)
                    assert seen.status == want, name
                    assert want == 200 or seen.body.startswith(message)
            assert len(upstream.heads) == 1

    run(story())


def test_endless_line_when_no_end_comes() -> None:
    """A line or a head that never ends is refused as soon as it is too long, not when it ends."""

    async def story() -> None:
        async with (
            scripted_upstream(serve) as upstream,
            running_gateway(config(upstream.url), limits=LIMITS) as gateway,
        ):
            assert (await ask(gateway.port, b"GET /" + b"x" * 8200)).status == 414
            assert (await ask(gateway.port, BEGIN + b"X: y\r\n" * 6000)).status == 400
            assert upstream.heads == []

    run(story())


def test_limits_when_they_are_set_otherwise() -> None:
    """They are settings."""

    async def story() -> None:
        head = HeadLimits(line_bytes_max=100, field_bytes_max=50, head_bytes_max=200, fields_max=3)
        limits = replace(LIMITS, head=head)
        async with (
            scripted_upstream(serve) as upstream,
            running_gateway(config(upstream.url), limits=limits) as gateway,
        ):
            assert (await ask(gateway.port, fields_of(3))).status == 200
            assert (await ask(gateway.port, fields_of(4))).status == 400
            assert (await ask(gateway.port, line_of(101))).status == 414
            assert (await ask(gateway.port, head_of(250))).status == 400

    run(story())


@pytest.mark.parametrize(("beyond", "status"), [(0, 200), (1, 502)])
@pytest.mark.parametrize("trickled", [False, True], ids=["whole", "in pieces"])
def test_response_head_when_at_its_limit(beyond: int, status: int, trickled: bool) -> None:
    """32 KiB pass, one byte more is a 502."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            start = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: "
            head = start + b"y" * (32768 + beyond - len(start) - 4) + b"\r\n\r\n"
            for at in range(0, len(head), 4000 if trickled else len(head)):
                writer.write(head[at : at + (4000 if trickled else len(head))])
                await writer.drain()
                await asyncio.sleep(0)
            await reader.read()

        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url)) as gateway:
            assert (await ask(gateway.port, GET)).status == status

    run(story())


def test_client_when_it_is_idle() -> None:
    """After keepalive_timeout without a request the connection closes, without a word."""

    async def story() -> None:
        async with (
            scripted_upstream(serve) as upstream,
            running_gateway(config(upstream.url, read_timeout=400), limits=Limits(keepalive_timeout_s=0.2)) as gateway,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(GET)
            await reader.readuntil(b"hello")
            assert await asyncio.wait_for(reader.read(), 30) == b""
            writer.close()

    run(story())


def test_connection_when_it_had_its_requests() -> None:
    """The last request of keepalive_requests is answered with Connection: close."""

    async def story() -> None:
        async with (
            scripted_upstream(serve) as upstream,
            running_gateway(config(upstream.url), limits=Limits(keepalive_requests=3)) as gateway,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(GET * 5)
            data = await asyncio.wait_for(reader.read(), 30)
            assert data.count(b"HTTP/1.1 200") == 3
            assert data.count(b"Connection: close") == 1
            writer.close()

    run(story())


@pytest.mark.parametrize(
    ("limits", "connections"),
    [
        (PoolLimits(), 1),
        (PoolLimits(idle_max=0), 6),
        (PoolLimits(requests_max=2), 3),
        (PoolLimits(requests_max=0), 1),
    ],
)
def test_upstream_connections_when_their_use_is_limited(limits: PoolLimits, connections: int) -> None:
    """upstream_keepalive_pool_size and upstream_keepalive_max_requests decide how many connections six requests take."""

    async def story() -> None:
        async with (
            scripted_upstream(serve) as upstream,
            running_gateway(config(upstream.url), pool_limits=limits) as gateway,
        ):
            for _ in range(6):
                assert (await ask(gateway.port, GET)).status == 200
            assert upstream.connections == connections
            assert all(b"Connection: keep-alive\r\n" in head for head in upstream.heads)

    run(story())


def test_upstream_connections_when_idle_too_long() -> None:
    """upstream_keepalive_idle_timeout closes them at the sweep that follows."""

    async def story() -> None:
        limits = PoolLimits(idle_timeout_s=60)
        async with (
            scripted_upstream(serve) as upstream,
            running_gateway(config(upstream.url), pool_limits=limits) as gateway,
        ):
            assert (await ask(gateway.port, GET)).status == 200
            gateway.env.pools.sweep(gateway.env.now + 59)
            assert gateway.pools_open() == 1
            gateway.env.pools.sweep(gateway.env.now + 61)
            async with asyncio.timeout(30):
                while gateway.pools_open():
                    await asyncio.sleep(0.005)
            assert (await ask(gateway.port, GET)).status == 200
            assert upstream.connections == 2

    run(story())


@pytest.mark.parametrize(("length", "kept"), [(1000, True), (1001, False)])
@pytest.mark.parametrize("chunked", [False, True])
def test_connection_when_an_unwanted_body_is_left(length: int, kept: bool, chunked: bool) -> None:
    """After an early answer up to kongdp_linger_bytes_max of the body is read and dropped; one byte more costs the connection."""

    async def story() -> None:
        limits = Limits(linger_bytes_max=1000, linger_s=0.1, linger_total_s=0.2)
        async with running_gateway(config("http://127.0.0.1:1", route={"paths": ["/only"]}), limits=limits) as gateway:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % length
            writer.write(b"POST /x HTTP/1.1\r\nHost: gw.test\r\n" + framing + b"\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 404 ")
            assert (b"Connection: keep-alive" in head) is (kept or chunked)
            body = b"x" * length
            writer.write(
                b"%x\r\n%b\r\n0\r\n\r\n" % (length, body)
                if chunked and kept
                else b"fff\r\n" + body
                if chunked
                else body
            )
            writer.write(b"GET /only HTTP/1.1\r\nHost: gw.test\r\n\r\n")
            rest = await asyncio.wait_for(reader.read() if not kept else reader.readuntil(b"HTTP/1.1 502"), 30)
            assert (b"HTTP/1.1 502" in rest) is kept
            writer.close()

    run(story())


def test_pipeline_when_an_answer_takes_its_time() -> None:
    """No more than kongdp_pipeline_bytes_max, and what one read brings, is taken of a client meanwhile; then it must wait."""

    async def story() -> None:
        answers = asyncio.Event()

        async def script(upstream: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await upstream.read_head(reader)
            await answers.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url), limits=Limits(pipeline_bytes_max=2000)) as gateway,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(GET + bytes(64 << 20))
            transport = writer.transport
            left = -1
            while transport.get_write_buffer_size() != left:
                left = transport.get_write_buffer_size()
                for _ in range(500):  # turns of the loop that the gateway runs on as well
                    await asyncio.sleep(0)
            assert left > 32 << 20
            answers.set()
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")
            assert (await reader.readuntil(b"\r\n")).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 414 "))
            transport.abort()

    run(story())
