"""Suspicious responses, trick by trick: what the client gets, and that a connection out of step is never used again.

Each row is sent whole and byte by byte. A body broken in its middle reaches the client as a cut connection when its head had left
already, as a 502 when all came in one piece with the head.
"""

import asyncio

import pytest

from tests.conformance.smuggling_responses import ROWS, Row
from tests.support.gateway import running_gateway
from tests.support.loops import run
from tests.support.raw_client import ask
from tests.support.scripted_upstream import Upstream, config, scripted_upstream

GET = b"GET /a HTTP/1.1\r\nHost: gw.test\r\n\r\n"


@pytest.mark.parametrize("trickled", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_response_when_it_could_be_read_in_two_ways(row: Row, trickled: bool) -> None:
    """Exactly one response reaches the client, or an error of ours; the next request gets its own."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                head = await upstream.read_head(reader)
                if b"/own" in head:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown")
                    continue
                for piece in [row.raw[n : n + 1] for n in range(len(row.raw))] if trickled else [row.raw]:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)

        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url, retries=0, read_timeout=2000)) as gateway,
        ):
            for _ in range(2):
                seen = await ask(gateway.port, GET)
                if row.status == "cut":
                    assert seen.status in ("cut", 502), seen
                else:
                    assert seen.status == row.status, seen
                    assert row.status == 502 or seen.body == row.body
                assert (await ask(gateway.port, GET.replace(b"/a", b"/own"))).body == b"own"
            if row.reused:
                assert upstream.connections == 1
            else:
                assert upstream.connections >= 2

    assert row.source
    run(story())
