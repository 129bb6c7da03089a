"""Request smuggling, trick by trick: what the client gets, and what an independent parser behind us reads (rows: smuggling_requests).

Each row is sent whole, byte by byte, and cut in two at every place where a parser could be caught between states. Behind an accepted
one the connection must still be in step: a marked request gets its own answer.
"""

import asyncio
import contextlib

import pytest

from kongdp.proxy.environment import Limits
from tests.conformance.smuggling_requests import HOST, ROWS, Row
from tests.support.gateway import Gateway, running_gateway
from tests.support.h11_upstream import H11Upstream, h11_upstream
from tests.support.loops import run
from tests.support.raw_client import parse
from tests.support.scripted_upstream import config

SENTINEL = b"GET /sentinel HTTP/1.1\r\n" + HOST + b"\r\n"


async def answers(reader: asyncio.StreamReader, count: int) -> tuple[list[int], bytes]:
    """The statuses of `count` final answers, or of as many as come before the end; and what is left over."""
    data = b""
    found: list[int] = []
    while len(found) < count:
        piece = await asyncio.wait_for(reader.read(65536), 30)
        data += piece
        while len(found) < count and (seen := parse(data, "GET", ended=False)) is not None:
            assert isinstance(seen.status, int)
            found.append(seen.status)
            data = seen.rest
        if not piece:
            break
    return found, data


async def send(writer: asyncio.StreamWriter, pieces: list[bytes]) -> None:
    """Each piece in a write of its own, and a turn of the loop between them."""
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)


async def try_one(gateway: Gateway, upstream: H11Upstream, row: Row, pieces: list[bytes]) -> None:
    """Send one row and compare."""
    upstream.requests.clear()
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        await send(writer, pieces)
        statuses, rest = await answers(reader, len(row.statuses))
        assert tuple(statuses) == row.statuses, row
        if row.statuses[-1] >= 400:
            with contextlib.suppress(ConnectionError):
                rest += await asyncio.wait_for(reader.read(), 30)
            assert rest == b"", row
        else:
            await send(writer, [SENTINEL])
            assert await answers(reader, 1) == ([200], b""), row
            assert upstream.requests.pop().target == b"/sentinel", row
        assert tuple((one.method, one.body) for one in upstream.requests) == row.forwarded, row
        assert not any(one.trailers for one in upstream.requests), row
        assert upstream.complaints == [], row
    finally:
        writer.close()


def ways(row: Row, limit: int) -> list[list[bytes]]:
    """The row whole, byte by byte when it is short, and cut in two at up to `limit` places."""
    raw = row.raw
    found = [[raw]]
    if len(raw) < 400:
        found.append([raw[n : n + 1] for n in range(len(raw))])
    step = max(1, len(raw) // limit)
    found += [[raw[:n], raw[n:]] for n in range(1, len(raw), step)]
    return found


def try_rows(rows: tuple[Row, ...], limit: int) -> None:
    """Every way of every row, one gateway for all."""

    async def story() -> None:
        limits = Limits(linger_s=0.2, linger_total_s=0.5)
        async with h11_upstream() as upstream, running_gateway(config(upstream.url), limits=limits) as gateway:
            for row in rows:
                for pieces in ways(row, limit):
                    await try_one(gateway, upstream, row, pieces)

    run(story())


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_trick_when_sent(row: Row) -> None:
    """Refused with the right status and nothing behind it answered, or forwarded as exactly what it means."""
    assert row.source
    try_rows((row,), 4)


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_trick_when_cut_anywhere(row: Row) -> None:
    """The same, cut in two behind every byte."""
    try_rows((row,), 10000)


def test_rows_when_listed() -> None:
    """Names are unique."""
    assert len({row.name for row in ROWS}) == len(ROWS)
