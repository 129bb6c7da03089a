"""What tests of faults ask of a gateway and its upstream: rest, quick deadlines, a reset, an ordinary echo."""

import asyncio
import socket
import struct
from collections.abc import Callable
from time import monotonic

from kongdp.proxy import deadlines
from tests.support.gateway import Gateway
from tests.support.scripted_upstream import Upstream

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello"


async def until(condition: Callable[[], object]) -> None:
    """Give the loop turns until `condition` holds."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def at_rest(gateway: Gateway) -> None:
    """Wait until nothing is under way, then nothing may be left of it."""
    env = gateway.env
    await until(lambda: all(connection.exchange is None for connection in env.connections))
    await until(lambda: all(pool.count_open == pool.count_idle and not pool.count_waiting for pool in env.pools))


def sweep_often(gateway: Gateway) -> None:
    """Deadlines are enforced every few milliseconds from now on."""
    env = gateway.env
    env.sweep_period_s = 0.02

    def again() -> None:
        deadlines.sweep(env, monotonic())
        if env.loop.is_running():
            env.loop.call_later(0.02, again)

    again()


def reset(writer: Writer) -> None:
    """Close with RST."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def echo(upstream: Upstream, reader: Reader, writer: Writer) -> None:
    """Answers every request that has no body or one of five bytes."""
    while True:
        head = await upstream.read_head(reader)
        if b"content-length: 5" in head.lower():
            await reader.readexactly(5)
        writer.write(OK)
