"""Answers that the gateway makes itself, on the wire: HEAD, keep-alive, 100-continue, PROXY preambles, both versions."""

import asyncio

import pytest

from kongdp.proxy.addresses import Trust
from kongdp.proxy.environment import Limits
from tests.support.gateway import running_gateway
from tests.support.loops import run
from tests.support.raw_client import ask
from tests.support.scripted_upstream import Upstream, config, scripted_upstream

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


async def serve(upstream: Upstream, reader: Reader, writer: Writer) -> None:
    """Closes without an answer under /x/502, says nothing under /x/504, else answers."""
    while True:
        head = await upstream.read_head(reader)
        if b"/502" in head:
            return
        if b"/504" in head:
            await reader.read()
        writer.write(OK)


STATUSES = [
    # (path, status, whether the connection goes on)
    (b"/nowhere", 404, True),
    (b"/x/502", 502, True),
    (b"/x/504", 504, True),
    (b"/x/%00", 400, False),
]


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("close", [False, True])
@pytest.mark.parametrize(("path", "status", "goes_on"), STATUSES)
def test_answer_when_it_is_ours(path: bytes, status: int, goes_on: bool, method: bytes, close: bool) -> None:
    """Framed so that the next request on the connection gets its own answer, for HEAD too; closed when the client or we say so."""

    async def story() -> None:
        route = {"paths": ["/x"]}
        loaded = config("http://PLACE", route=route, retries=0, read_timeout=100)
        async with scripted_upstream(serve) as upstream:
            loaded["services"][0]["url"] = upstream.url  # type: ignore[index]
            async with running_gateway(loaded, limits=Limits(linger_s=0.1)) as gateway:
                reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
                ask_to_close = b"Connection: close\r\n" if close else b""
                first = method + b" " + path + b" HTTP/1.1\r\nHost: gw.test\r\n" + ask_to_close + b"\r\n"
                writer.write(first + b"GET /x/ok HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n")
                data = await asyncio.wait_for(reader.read(), 30)
                head, _, rest = data.partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 %d " % status)
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                assert length > 20
                body = b"" if method == b"HEAD" else rest[:length]
                following = rest[len(body) :]
                if goes_on and not close:
                    assert b"\r\nConnection: keep-alive\r\n" in head
                    assert following.startswith(b"HTTP/1.1 200 OK\r\n")
                    assert following.endswith(b"hello")
                else:
                    assert b"\r\nConnection: close\r\n" in head
                    assert following == b""
                writer.close()

    run(story())


@pytest.mark.parametrize(
    ("lines", "continued", "status"),
    [
        (b"Content-Length: 5\r\nExpect: 100-continue\r\n", True, b"200"),
        (b"Content-Length: 5\r\nExpect: 100-CONTINUE\r\n", True, b"200"),
        (b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n", True, b"200"),
        (b"Content-Length: 5000\r\nExpect: 100-continue\r\n", False, b"413"),
    ],
)
def test_continue_when_expected(lines: bytes, continued: bool, status: bytes) -> None:
    """100 comes from us before the body, and not when the body is refused; the upstream never sees Expect."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            head = await upstream.read_head(reader)
            assert b"expect" not in head.lower()
            assert b"Content-Length: 5\r\n" in head
            await reader.readexactly(5)
            writer.write(OK)

        limits = Limits(body_bytes_max=100, linger_s=0.1)
        async with (
            scripted_upstream(script) as upstream,
            running_gateway(config(upstream.url), limits=limits) as gateway,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(b"POST /x HTTP/1.1\r\nHost: gw.test\r\n" + lines + b"\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
            if continued:
                assert head == b"HTTP/1.1 100 Continue\r\n\r\n"
                writer.write(b"5\r\nhello\r\n0\r\n\r\n" if b"chunked" in lines else b"hello")
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
            assert head[9:12] == status
            writer.close()

    run(story())


@pytest.mark.parametrize(
    ("preamble", "real"),
    [
        (b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n", b"192.0.2.7"),
        (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", b"2001:db8::1"),
        (b"PROXY UNKNOWN\r\n", b"127.0.0.1"),
        (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\x7f\0\0\1\0\1\0\2", b"192.0.2.7"),
        (b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", b"127.0.0.1"),
        (b"", None),
        (b"PROXY nonsense\r\n", None),
    ],
)
@pytest.mark.parametrize("trickled", [False, True])
def test_preamble_when_a_listener_asks_for_one(preamble: bytes, real: bytes | None, trickled: bool) -> None:
    """Read before the first request and only there; without one the connection is refused."""

    async def story() -> None:
        trust = Trust.build(["127.0.0.1"], "proxy_protocol", recursive=False)
        async with (
            scripted_upstream(serve) as upstream,
            running_gateway(config(upstream.url), trust=trust, proxy_protocol=True) as gateway,
        ):
            raw = preamble + b"GET /x HTTP/1.1\r\nHost: gw.test\r\n\r\n" * 2
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            for piece in [raw[n : n + 1] for n in range(len(raw))] if trickled else [raw]:
                writer.write(piece)
                await asyncio.sleep(0)
            line = await asyncio.wait_for(reader.readuntil(b"\r\n"), 30)
            assert line[9:12] == (b"400" if real is None else b"200")
            if real is not None:
                await reader.readuntil(b"hello")
                await reader.readuntil(b"hello")
                assert all(b"\r\nX-Real-IP: %b\r\n" % real in head for head in upstream.heads)
            writer.close()

    run(story())


def test_connection_when_http_1_0_asks_to_keep_it() -> None:
    """HTTP/1.0 closes after its answer unless the client asked to keep the connection."""

    async def story() -> None:
        async with scripted_upstream(serve) as upstream, running_gateway(config(upstream.url)) as gateway:
            seen = await ask(gateway.port, b"GET /x HTTP/1.0\r\n\r\n")
            assert seen.headers["connection"] == ["close"]
            seen = await ask(gateway.port, b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert seen.headers["connection"] == ["keep-alive"]

    run(story())
