"""Request bodies that outgrow memory and may go to a file: whole, in order, within the budget, and nothing of them is left."""

import asyncio
import hashlib
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from kongdp.proxy.environment import Limits
from tests.support.faults import at_rest, until
from tests.support.gateway import running_gateway
from tests.support.loops import run
from tests.support.raw_client import ask, parse
from tests.support.scripted_upstream import Upstream, config, scripted_upstream

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
MIB = 1 << 20
HELD = Limits(body_buffer_bytes=100_000)
BODY = random.Random(5).randbytes(3 * MIB + 17)


def head(length: int, *, chunked: bool = False) -> bytes:
    """A PUT of so many bytes."""
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % length
    return b"PUT /x HTTP/1.1\r\nHost: gw.test\r\n" + framing + b"\r\n\r\n"


def framed(body: bytes, *, chunked: bool) -> bytes:
    """The body as it is sent."""
    if not chunked:
        return body
    pieces = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


async def digest(upstream: Upstream, reader: Reader, writer: Writer) -> None:
    """Answers with the length and the hash of each body."""
    while True:
        request = (await upstream.read_head(reader)).lower()
        if b"\r\ncontent-length: " in request:
            body = await reader.readexactly(int(request.split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0]))
        else:
            body = b""
            while size := int((await reader.readuntil(b"\r\n"))[:-2], 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        answer = b"%d %b" % (len(body), hashlib.sha256(body).hexdigest().encode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))


EXPECTED = b"%d %b" % (len(BODY), hashlib.sha256(BODY).hexdigest().encode())


@pytest.mark.parametrize("chunked", [False, True])
def test_body_when_it_outgrows_memory(tmp_path: Path, chunked: bool) -> None:
    """No upstream is asked before the body is whole; then it goes out with its length, and the connection serves on."""

    async def story() -> None:
        async with (
            scripted_upstream(digest) as upstream,
            running_gateway(config(upstream.url), limits=HELD, spill=(tmp_path / "spill", 64 * MIB)) as gateway,
        ):
            store = gateway.env.spill
            assert store is not None
            raw = framed(BODY, chunked=chunked)
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(head(len(BODY), chunked=chunked) + raw[:-1])
            await until(lambda: store.bytes_used > len(BODY) - 400_000)
            assert upstream.connections == 0
            writer.write(raw[-1:] + b"GET /next HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 0\r\n\r\n")
            first = parse(await reader.readexactly(1), "PUT", ended=False)
            assert first is None
            data = await reader.readuntil(EXPECTED)
            assert b" 200 OK" in data
            assert b"Content-Length: %d\r\n" % len(BODY) in upstream.heads[0]
            await reader.readuntil(b"0 " + hashlib.sha256(b"").hexdigest().encode())
            writer.close()
            await at_rest(gateway)
            assert store.bytes_used == 0
        assert os.listdir(tmp_path / "spill") == []

    run(story())


@pytest.mark.parametrize("chunked", [False, True])
def test_body_when_the_budget_ends_first(tmp_path: Path, chunked: bool) -> None:
    """It streams from there, whole and in order; with the client's length, or in chunks."""

    async def story() -> None:
        async with (
            scripted_upstream(digest) as upstream,
            running_gateway(config(upstream.url), limits=HELD, spill=(tmp_path / "spill", MIB)) as gateway,
        ):
            seen = await ask(gateway.port, head(len(BODY), chunked=chunked) + framed(BODY, chunked=chunked))
            assert (seen.status, seen.body) == (200, EXPECTED)
            assert (b"Transfer-Encoding: chunked" in upstream.heads[0]) is chunked
            # while one body has all of the budget, another one streams at once
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(head(2 * len(BODY)) + BODY)
            store = gateway.env.spill
            assert store is not None
            seen = await ask(gateway.port, head(len(BODY)) + BODY)
            assert (seen.status, seen.body) == (200, EXPECTED)
            assert store.bytes_used <= 2 * MIB
            writer.write(BODY)
            twice = await reader.readuntil(hashlib.sha256(BODY + BODY).hexdigest().encode())
            assert b" 200 OK" in twice
            writer.close()

    run(story())


def test_body_when_the_upstream_reads_slowly(tmp_path: Path) -> None:
    """Reading back follows the upstream: what is on its way stays small."""

    async def story() -> None:
        go_on = asyncio.Event()

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            await go_on.wait()
            body = await reader.readexactly(8 * len(BODY))
            assert body == 8 * BODY
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url), limits=HELD, spill=(tmp_path, 64 * MIB)) as gateway,
        ):
            asked = asyncio.create_task(ask(gateway.port, head(8 * len(BODY)) + 8 * BODY))
            await until(lambda: upstream.heads)
            (client,) = gateway.env.connections
            assert client.exchange is not None
            await until(lambda: client.exchange is not None and client.exchange.upstream is not None)
            assert client.exchange.upstream is not None
            transport = client.exchange.upstream.transport
            await until(lambda: transport.get_write_buffer_size() > 65536)
            for _ in range(200):
                assert transport.get_write_buffer_size() < 4 * MIB
                await asyncio.sleep(0)
            go_on.set()
            assert (await asked).status == 200

    run(story())


LEAVINGS: list[tuple[str, Callable[[Writer], None]]] = [
    ("vanishes", lambda writer: writer.transport.abort()),
    ("sends nonsense", lambda writer: writer.write(b"zz\r\n")),
    ("sends too much", lambda writer: writer.write(b"600000\r\n" + bytes(0x600000))),
]


@pytest.mark.parametrize(("what", "leave"), LEAVINGS, ids=[what for what, _ in LEAVINGS])
def test_file_when_the_client_fails(tmp_path: Path, what: str, leave: Callable[[Writer], None]) -> None:
    """The file goes with the exchange, the budget is given back, and no upstream was asked."""

    async def story() -> None:
        limits = Limits(body_buffer_bytes=100_000, body_bytes_max=5 * MIB, linger_s=0.1, linger_total_s=0.2)
        async with (
            scripted_upstream(digest) as upstream,
            running_gateway(config(upstream.url), limits=limits, spill=(tmp_path, 64 * MIB)) as gateway,
        ):
            store = gateway.env.spill
            assert store is not None
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(head(0, chunked=True) + framed(BODY, chunked=True)[:-5])
            await until(lambda: store.bytes_used > 2 * MIB)
            leave(writer)
            await until(lambda: store.bytes_used == 0)
            if what != "vanishes":
                status = (await reader.readuntil(b"\r\n")).split(b" ")[1]
                assert status == (b"413" if what == "sends too much" else b"400")
                writer.close()
            assert upstream.connections == 0

    run(story())


def test_file_when_it_cannot_be_written(tmp_path: Path) -> None:
    """500 to the client and a line in the log, as nginx does; the node serves on."""

    async def story() -> None:
        (tmp_path / "occupied").write_text("a file where a directory should be")
        async with (
            scripted_upstream(digest) as upstream,
            running_gateway(config(upstream.url), limits=HELD, spill=(tmp_path / "occupied", 64 * MIB)) as gateway,
        ):
            seen = await ask(gateway.port, head(len(BODY)) + BODY)
            assert seen.status == 500
            seen = await ask(gateway.port, head(5) + b"small")
            assert seen.status == 200

    run(story())


def test_unbuffered_route_never_spills(tmp_path: Path) -> None:
    """request_buffering = false streams from the first byte."""

    async def story() -> None:
        async with (
            scripted_upstream(digest) as upstream,
            running_gateway(
                config(upstream.url, route={"request_buffering": False}), limits=HELD, spill=(tmp_path / "none", MIB)
            ) as gateway,
        ):
            seen = await ask(gateway.port, head(len(BODY)) + BODY)
            assert (seen.status, seen.body) == (200, EXPECTED)
        assert not (tmp_path / "none").exists()

    run(story())
