"""WebSocket through the gateway, with a client and a server of the `websockets` library: messages, closings, stalls.

The distribution of CI's run and of the soak is the same: sizes log-uniform from 1 byte to 1 MiB, text and binary, both ways at once.
How much CI moves is MESSAGES_BYTES; the soak moves ten times the 256 MiB that a release must stand.
"""

import asyncio
import contextlib
import math
import random
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from kongdp.certs.contexts import load_pair
from kongdp.proxy import deadlines
from kongdp.proxy.exchange import Exchange
from tests.support.certificates import make
from tests.support.gateway import Gateway, running_gateway
from tests.support.loops import run
from tests.support.raw_client import ask
from tests.support.scripted_upstream import Upstream, config, scripted_upstream
from tests.support.tls_gateway import client_context, running_tls_gateway

MIB = 1 << 20
CI_BYTES = 256 * MIB
SOAK_BYTES = 2560 * MIB

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: gw.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
HOUR_MS = 3_600_000
AGREED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


@asynccontextmanager
async def websocket_upstream(
    handler: Callable[[ServerConnection], Awaitable[None]], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """A WebSocket server on a free port."""
    server = await serve(handler, "127.0.0.1", 0, ssl=tls, max_size=2 * MIB, compression=None, ping_interval=None)
    try:
        yield server
    finally:
        server.close(close_connections=True)
        await server.wait_closed()


def port_of(server: Server) -> int:
    """Where it listens."""
    return int(next(iter(server.sockets)).getsockname()[1])


def dial(gateway_port: int) -> connect:
    """A client of the gateway."""
    return connect(
        f"ws://127.0.0.1:{gateway_port}/ws", max_size=2 * MIB, compression=None, ping_interval=None, proxy=None
    )


async def until(condition: Callable[[], object]) -> None:
    """Give the loop turns until `condition` holds."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def at_rest(gateway: Gateway) -> None:
    """No tunnel and no connection of one is left."""
    await until(lambda: not gateway.env.connections)
    await until(lambda: gateway.pools_open() == 0)


class Sizes:
    """Message sizes, log-uniform from 1 byte to 1 MiB, until `total` bytes are used up."""

    def __init__(self, seed: int, total: int) -> None:
        self._random = random.Random(seed)
        self._left = total

    def __iter__(self) -> "Sizes":
        return self

    def __next__(self) -> int:
        if self._left <= 0:
            raise StopIteration
        size = int(math.exp(self._random.uniform(0, math.log(MIB))))
        self._left -= size
        return size


class Totals:
    """An access log that only adds up."""

    def __init__(self) -> None:
        self.bytes_in = self.bytes_out = 0

    def record(self, exchange: Exchange) -> None:
        """One finished exchange."""
        self.bytes_in += exchange.bytes_in
        self.bytes_out += exchange.bytes_out


async def exchange_messages(total: int) -> int:
    """Move `total` bytes, half each way at the same time; both ends check every message. Returns how many there were."""
    store = random.Random(7).randbytes(2 * MIB)
    text = "".join(chr(97 + byte % 26) for byte in store[:MIB])
    half = total // 2

    def message(number: int, size: int) -> str | bytes:
        return text[:size] if number % 3 == 0 else store[number % MIB : number % MIB + size]

    async def send(connection: ClientConnection | ServerConnection, seed: int) -> None:
        for number, size in enumerate(Sizes(seed, half)):
            await connection.send(message(number, size))

    async def receive(connection: ClientConnection | ServerConnection, seed: int) -> int:
        number = -1
        for number, size in enumerate(Sizes(seed, half)):
            assert await connection.recv() == message(number, size), (seed, number, size)
        return number + 1

    counts: list[int] = []

    async def handler(connection: ServerConnection) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(send(connection, 2))
            received = group.create_task(receive(connection, 1))
        counts.append(received.result())
        await connection.wait_closed()

    log = Totals()
    async with (
        websocket_upstream(handler) as server,
        running_gateway(config(f"http://127.0.0.1:{port_of(server)}"), access_log=log) as gateway,
    ):
        async with dial(gateway.port) as client, asyncio.TaskGroup() as group:
            group.create_task(send(client, 1))
            received = group.create_task(receive(client, 2))
        counts.append(received.result())
        await at_rest(gateway)
        assert gateway.counts() == {("r", 101, 1): 1}
    # every byte went through the gateway, which knows it: the messages and a few bytes of framing
    for moved in (log.bytes_in, log.bytes_out):
        assert half <= moved < half + 2 * MIB + 20 * sum(counts)
    return sum(counts)


def test_messages_when_both_sides_talk() -> None:
    """Thousands of messages of every size arrive whole and in order, both ways at once."""
    assert run(exchange_messages(CI_BYTES)) > 3000


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_messages_when_both_sides_talk_for_long() -> None:
    """Ten times as much."""
    assert run(exchange_messages(SOAK_BYTES)) > 30000


@pytest.mark.parametrize("closer", ["client", "server"])
@pytest.mark.parametrize("tls", ["neither", "client", "upstream", "both"])
def test_closing_handshake_when_either_side_begins(closer: str, tls: str) -> None:
    """Code and reason reach the other side; both connections end; TLS on either side changes nothing."""

    async def story() -> None:
        seen: list[tuple[int | None, str | None]] = []

        async def handler(connection: ServerConnection) -> None:
            await connection.send(b"x" * 100_000)
            if closer == "server":
                assert await connection.recv() == "go"
                await connection.close(4001, "enough")
                return
            await connection.wait_closed()
            seen.append((connection.close_code, connection.close_reason))

        context = None
        if tls in ("upstream", "both"):
            made = make("up")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            load_pair(context, made.pair)
        async with websocket_upstream(handler, tls=context) as server:
            scheme = "https" if context else "http"
            loaded = config(f"{scheme}://127.0.0.1:{port_of(server)}")
            if tls in ("client", "both"):
                async with running_tls_gateway(loaded) as front:
                    await talk(f"wss://127.0.0.1:{front.port}/ws", closer, seen, ssl=client_context())
                    await at_rest(front.gateway)
            else:
                async with running_gateway(loaded) as gateway:
                    await talk(f"ws://127.0.0.1:{gateway.port}/ws", closer, seen)
                    await at_rest(gateway)
        assert seen == [(4001, "enough")]

    run(story())


async def talk(url: str, closer: str, seen: list[tuple[int | None, str | None]], **options: object) -> None:
    """One client's visit: a message, then the closing handshake."""
    async with connect(url, compression=None, ping_interval=None, proxy=None, **options) as client:  # type: ignore[arg-type]
        assert len(await client.recv()) == 100_000
        if closer == "client":
            await client.close(4001, "enough")
            return
        await client.send("go")
        with contextlib.suppress(ConnectionClosed):
            await client.recv()
        seen.append((client.close_code, client.close_reason))


def test_upgrade_when_the_upstream_does_not_agree() -> None:
    """An upstream's 403 or 200 is an ordinary answer; the connection serves on; early bytes are the next request."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            while True:
                head = await upstream.read_head(reader)
                status = b"403 Forbidden" if b"/ws" in head else b"200 OK"
                writer.write(b"HTTP/1.1 %b\r\nContent-Length: 2\r\n\r\nno" % status)

        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url)) as gateway:
            with pytest.raises(InvalidStatus):
                async with dial(gateway.port):
                    pass
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(UPGRADE + b"GET /next HTTP/1.1\r\nHost: gw.test\r\n\r\n")
            assert (await reader.readuntil(b"no")).startswith(b"HTTP/1.1 403")
            assert (await reader.readuntil(b"no")).startswith(b"HTTP/1.1 200")
            assert b"Upgrade: websocket\r\n" in upstream.heads[-2]
            assert b"GET /next HTTP/1.1\r\n" in upstream.heads[-1]
            writer.close()

    run(story())


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_bytes_when_sent_before_the_agreement(version: bytes) -> None:
    """What a client sends with its upgrade waits for the 101; only then the upstream gets it. HTTP/1.0 is no reason to refuse."""

    async def story() -> None:
        early: list[bytes] = []

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    early.append(await reader.read(100))
            writer.write(AGREED + b"first")
            writer.write(await reader.readexactly(5))

        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url)) as gateway:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(UPGRADE.replace(b"1.1", version, 1) + b"hello")
            assert b"HTTP/1.1 101 " in await reader.readuntil(b"\r\n\r\n")
            assert await reader.read() == b"firsthello"
            assert early == []
            writer.close()
            await at_rest(gateway)

    run(story())


def test_bytes_of_a_tunnel_when_it_goes_on() -> None:
    """They are counted as they pass, not when it ends, which may be days away; and not twice."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            writer.write(AGREED)
            while data := await reader.read(1000):
                writer.write(data + data)

        log = Totals()
        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url), access_log=log) as gateway,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(UPGRADE)
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"hello")
            await reader.readexactly(10)
            (row,) = gateway.around.row_of.values()
            moved = (len(UPGRADE) + 5, len(head) + 10)
            assert (gateway.env.slots[row.ingress], gateway.env.slots[row.egress]) == moved
            writer.close()
            await at_rest(gateway)
            assert (gateway.env.slots[row.ingress], gateway.env.slots[row.egress]) == moved
            assert (log.bytes_in, log.bytes_out) == moved

    run(story())


@pytest.mark.parametrize("first", ["client", "upstream"])
def test_tunnel_when_one_side_ends_first(first: str) -> None:
    """Half-close: what the other side still has to say arrives, megabytes of it; then both are closed."""

    async def story() -> None:
        size = 8 * MIB
        got: list[bytes] = []

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            writer.write(AGREED)
            if first == "client":
                assert await reader.read() == b"last words"
                writer.write(b"x" * size)
                await writer.drain()
            else:
                writer.write(b"last words")
                writer.write_eof()
                got.append(await reader.read())

        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url)) as gateway:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            if first == "client":
                writer.write(b"last words")
                writer.write_eof()
                assert len(await reader.read()) == size
            else:
                assert await reader.read() == b"last words"
                writer.write(b"x" * size)
                await writer.drain()
                writer.write_eof()
                await until(lambda: got)
                assert len(got[0]) == size
            writer.close()
            await at_rest(gateway)

    run(story())


def test_last_words_when_the_client_closes_at_once() -> None:
    """A client that sends and closes without waiting: the upstream, which reads slowly, still gets every byte."""

    async def story() -> None:
        size = 4 * MIB
        got: list[int] = []

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            writer.write(AGREED)
            count = 0
            while piece := await reader.read(16384):
                count += len(piece)
                await asyncio.sleep(0)
            got.append(count)

        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url)) as gateway:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"x" * size)
            writer.close()
            await until(lambda: got)
            assert got == [size]
            await at_rest(gateway)

    run(story())


@pytest.mark.parametrize("reset_by", ["client", "upstream"])
def test_tunnel_when_one_side_vanishes(reset_by: str) -> None:
    """A reset of one side ends the other; nothing is left."""

    async def story() -> None:
        ended = asyncio.Event()

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            writer.write(AGREED)
            if reset_by == "upstream":
                await reader.readexactly(1)
                writer.transport.abort()
                return
            with contextlib.suppress(ConnectionError):
                await reader.read()
            ended.set()

        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url)) as gateway:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            if reset_by == "client":
                writer.transport.abort()
                await asyncio.wait_for(ended.wait(), 30)
            else:
                writer.write(b"x")
                with contextlib.suppress(ConnectionError):
                    assert await asyncio.wait_for(reader.read(), 30) == b""
                writer.close()
            await at_rest(gateway)

    run(story())


def test_tunnel_when_nothing_moves() -> None:
    """read_timeout without a byte either way ends it; traffic one way keeps it. An hour that only the sweep is told of: a machine
    that stands still for a moment changes nothing.
    """

    async def story() -> None:
        got = bytearray()

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            writer.write(AGREED)
            while data := await reader.read(100):
                got.extend(data)

        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url, read_timeout=HOUR_MS, write_timeout=2 * HOUR_MS)) as gateway,
        ):
            env = gateway.env
            env.sweep_period_s = 0.0  # deadlines without the slack of a period
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            env.sweep_period_s = 1.0
            agreed_at = monotonic()
            writer.write(b"x")
            await until(lambda: got == b"x")
            deadlines.sweep(env, agreed_at + HOUR_MS / 1000)
            writer.write(b"y")
            await until(lambda: got == b"xy")
            deadlines.sweep(env, monotonic() + HOUR_MS / 1000)
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 30) == b""
            writer.close()
            await at_rest(gateway)

    run(story())


@pytest.mark.parametrize("deaf", ["client", "upstream"])
def test_tunnel_when_a_peer_does_not_read(deaf: str) -> None:
    """The other side is held back: bounded memory, however much it would send; what then moves arrives whole."""

    async def story() -> None:
        size = 48 * MIB
        release = asyncio.Event()
        sent = 0
        got: list[int] = []

        async def pour(writer: Writer) -> None:
            nonlocal sent
            while sent < size:
                writer.write(b"x" * 65536)
                await writer.drain()
                sent += 65536

        async def drink(reader: Reader) -> None:
            await release.wait()
            count = 0
            while count < size:
                count += len(await reader.read(MIB))
            got.append(count)

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            writer.write(AGREED)
            await (pour(writer) if deaf == "client" else drink(reader))
            await reader.read()

        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url)) as gateway:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=65536)
            writer.write(UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            ours = asyncio.create_task(drink(reader) if deaf == "client" else pour(writer))
            (client,) = gateway.env.connections
            other = client.exchange.upstream.transport if client.exchange and client.exchange.upstream else None
            assert other is not None
            before = -1
            while before != sent:  # until nothing moves any more
                before = sent
                await asyncio.sleep(0.1)
            assert 0 < sent < size
            for transport in (client.transport, other):
                assert transport.get_write_buffer_size() < MIB
            release.set()
            await ours
            await until(lambda: got)
            assert got == [size]
            writer.close()
            await at_rest(gateway)

    run(story())


def test_tunnel_when_a_peer_never_reads() -> None:
    """An upstream that takes nothing for write_timeout ends the tunnel, although the client's side is lively."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            writer.write(AGREED)
            writer.transport.pause_reading()
            while True:
                writer.write(b"alive")
                await asyncio.sleep(0.02)

        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url, write_timeout=300, read_timeout=1000)) as gateway,
        ):
            sock = socket.create_connection(("127.0.0.1", gateway.port))
            sock.setblocking(False)
            reader, writer = await asyncio.open_connection(sock=sock)
            writer.write(UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"x" * (32 * MIB))
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(30):
                    while await reader.read(65536):
                        pass
            writer.transport.abort()
            await at_rest(gateway)

    run(story())


def test_drain_when_a_tunnel_is_open() -> None:
    """Draining leaves tunnels alone until the deadline; then abort ends both sides."""

    async def story() -> None:
        async def handler(connection: ServerConnection) -> None:
            with contextlib.suppress(ConnectionClosedError):
                async for message in connection:
                    await connection.send(message)

        async with (
            websocket_upstream(handler) as server,
            running_gateway(config(f"http://127.0.0.1:{port_of(server)}")) as gateway,
        ):
            async with dial(gateway.port) as client:
                gateway.env.draining = True
                for connection in list(gateway.env.connections):
                    connection.drain()
                await client.send("still there")
                assert await client.recv() == "still there"
                for connection in list(gateway.env.connections):
                    connection.abort()
                with pytest.raises(ConnectionClosedError):
                    await client.recv()
            await at_rest(gateway)

    run(story())


def test_ordinary_requests_when_they_follow_on_the_same_upstream() -> None:
    """A connection that was a tunnel never serves another request."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            head = await upstream.read_head(reader)
            if b"/ws" in head:
                writer.write(AGREED)
                await reader.read()
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await reader.read()

        async with scripted_upstream(script) as upstream, running_gateway(config(upstream.url)) as gateway:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            writer.close()
            await at_rest(gateway)
            assert (await ask(gateway.port, b"GET /x HTTP/1.1\r\nHost: gw.test\r\n\r\n")).status == 200
            assert upstream.connections == 2

    run(story())
