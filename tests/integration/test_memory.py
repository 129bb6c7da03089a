"""Memory of a gateway in a process of its own: bodies far larger than any buffer, and thousands of idle clients.

The bounds are the product's promise: a 1 GiB body either way moves less than 16 MiB of resident memory, 5,000 idle kept-alive clients fit
in 150 MiB. CI streams CI_BYTES, the soak SOAK_BYTES; buffers fill within the first megabytes, so both see the same peak.
"""

import asyncio
import resource

import pytest

from tests.support.loops import run
from tests.support.run_gateway import GatewayProcess, gateway_process
from tests.support.scripted_upstream import Upstream, config, scripted_upstream

MIB = 1 << 20
CI_BYTES = 1024 * MIB
SOAK_BYTES = 8192 * MIB
MOVED_MAX = 16 * MIB
IDLE_CLIENTS = 5000
IDLE_MAX = 150 * MIB

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
PIECE = b"x" * (256 * 1024)


async def pour(writer: Writer, size: int, *, chunked: bool) -> None:
    """`size` bytes of body."""
    framed = b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if chunked else PIECE
    for _ in range(size // len(PIECE)):
        writer.write(framed)
        await writer.drain()
    if chunked:
        writer.write(b"0\r\n\r\n")
    await writer.drain()


async def drink(reader: Reader, size: int, *, chunked: bool = False) -> int:
    """At least `size` bytes, or all up to the last chunk; five times the reader is away for a while, so that buffers fill."""
    count = pieces = 0
    while count < size or chunked:
        piece = await reader.read(MIB)
        count += len(piece)
        pieces += 1
        if not piece or (chunked and piece.endswith(b"0\r\n\r\n")):
            break
        if pieces % 500 == 0 and pieces <= 2500:
            await asyncio.sleep(0.05)
    return count


def framing(size: int, *, chunked: bool) -> bytes:
    """The field that frames it."""
    return b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Content-Length: %d\r\n\r\n" % size


async def moved(way: str, size: int, *, chunked: bool, buffered: bool) -> int:
    """The most memory that streaming one body took, beyond what the gateway had after a first small one."""

    async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
        while True:
            head = await upstream.read_head(reader)
            want = size if b"/big" in head else 16 * len(PIECE)
            if head.startswith(b"POST"):
                assert await drink(reader, want, chunked=chunked) >= want
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
                return
            writer.write(b"HTTP/1.1 200 OK\r\n" + framing(want, chunked=chunked))
            await pour(writer, want, chunked=chunked)

    async def one(gateway: GatewayProcess, path: bytes, want: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=2 * MIB)
        method = b"POST" if way == "request" else b"GET"
        writer.write(method + b" " + path + b" HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n")
        if way == "request":
            writer.write(framing(want, chunked=chunked))
            await pour(writer, want, chunked=chunked)
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
        else:
            writer.write(b"\r\n")
            await reader.readuntil(b"\r\n\r\n")
            assert await drink(reader, 1 << 62) >= want
        writer.close()

    async with scripted_upstream(script) as upstream:
        route = {"request_buffering": buffered, "response_buffering": buffered}
        with gateway_process(config(upstream.url, route=route)) as gateway:
            await one(gateway, b"/small", 16 * len(PIECE))
            before = gateway.memory_bytes()
            gateway.reset_peak()
            await one(gateway, b"/big", size)
            return gateway.memory_bytes("VmHWM") - before


@pytest.mark.parametrize("way", ["request", "response"])
@pytest.mark.parametrize("buffered", [True, False], ids=["buffered", "streamed"])
def test_memory_when_a_large_body_passes(way: str, buffered: bool) -> None:
    """1 GiB with a stated length, either way, moves less than 16 MiB."""
    assert run(moved(way, CI_BYTES, chunked=False, buffered=buffered)) < MOVED_MAX


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("way", ["request", "response"])
def test_memory_when_a_very_large_body_passes(way: str, chunked: bool) -> None:
    """8 GiB, also in chunks."""
    assert run(moved(way, SOAK_BYTES, chunked=chunked, buffered=True)) < MOVED_MAX


@pytest.mark.parametrize("way", ["request", "response"])
def test_memory_when_a_large_body_passes_in_chunks(way: str) -> None:
    """Chunked bodies too."""
    assert run(moved(way, CI_BYTES, chunked=True, buffered=True)) < MOVED_MAX


def test_memory_when_thousands_of_clients_are_idle() -> None:
    """5,000 kept-alive clients that have each had an answer fit in 150 MiB, the whole process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = 2 * IDLE_CLIENTS + 500
    if hard != resource.RLIM_INFINITY and hard < need:
        pytest.skip(f"needs {need} file descriptors, the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, need), hard))

    async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
        while True:
            await upstream.read_head(reader)
            upstream.heads.clear()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def visit(port: int) -> Writer:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /x HTTP/1.1\r\nHost: gw.test\r\n\r\n")
        await reader.readuntil(b"ok")
        return writer

    async def story() -> tuple[int, int]:
        async with scripted_upstream(script) as upstream:
            with gateway_process(config(upstream.url)) as gateway:
                before = gateway.memory_bytes()
                writers: list[Writer] = []
                for _ in range(IDLE_CLIENTS // 100):
                    writers += await asyncio.gather(*(visit(gateway.port) for _ in range(100)))
                full = gateway.memory_bytes()
                for writer in writers:
                    writer.close()
                return before, full

    try:
        before, full = run(story())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert full < IDLE_MAX
    assert (full - before) / IDLE_CLIENTS < 20_000
