"""The clients people use, through a gateway to a real server: curl, wrk, hey, h2load, Python's requests and aiohttp, Node's http.

The gateway runs in a process of its own; behind it stands an asyncio server that echoes. A client that is not installed is skipped with
that reason.
"""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
import requests

from tests.support.loops import run
from tests.support.run_gateway import GatewayProcess, gateway_process
from tests.support.scripted_upstream import Upstream, config, scripted_upstream

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
MIB = 1 << 20
CONNECTIONS = 1000


async def read_body(head: bytes, reader: Reader) -> bytes:
    """The body behind a request head."""
    named = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    named = {name.lower(): value for name, value in named.items()}
    if b"content-length" in named:
        return await reader.readexactly(int(named[b"content-length"]))
    body = b""
    if b"transfer-encoding" in named:
        while size := int((await reader.readuntil(b"\r\n"))[:-2], 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
    return body


async def serve(upstream: Upstream, reader: Reader, writer: Writer) -> None:
    """`/echo` gives the body back, `/size/N` N bytes, `/chunks/N` N chunks; everything else says hello."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        method, path, _ = head.split(b"\r\n")[0].split(b" ")
        body = await read_body(head, reader)
        count = int(path.rsplit(b"/", 1)[1]) if path.count(b"/") == 2 else 0
        if path.startswith(b"/chunks"):
            out = b"".join(b"%x\r\n%b\r\n" % (n + 1, b"c" * (n + 1)) for n in range(count)) + b"0\r\n\r\n"
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + out)
        else:
            answer = body if path == b"/echo" else b"s" * count if path.startswith(b"/size") else b"hello"
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(answer))
            writer.write(b"" if method == b"HEAD" else answer)
        await writer.drain()


@asynccontextmanager
async def fronted() -> AsyncIterator[GatewayProcess]:
    """The server and the gateway in front of it."""
    async with scripted_upstream(serve) as upstream:
        route = {"paths": ["/"], "strip_path": False}
        with gateway_process(config(upstream.url, route=route)) as gateway:
            yield gateway


def visit(story: Callable[[str], Awaitable[None]]) -> None:
    """Run a story with the gateway's URL."""

    async def whole() -> None:
        async with fronted() as gateway:
            await story(f"http://127.0.0.1:{gateway.port}")

    run(whole())


async def command(*arguments: str, stdin: bytes = b"") -> str:
    """Output of a command that must succeed; skips the test when it is not installed."""
    if shutil.which(arguments[0]) is None:
        pytest.skip(f"{arguments[0]} is not installed")
    done = await asyncio.to_thread(
        subprocess.run,
        arguments,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")
    return done.stdout.decode(errors="replace")


def test_curl_when_it_uses_what_it_has() -> None:
    """Keep-alive over several transfers, HEAD, uploads with and without 100-continue, chunks, HTTP/1.0."""

    async def story(url: str) -> None:
        assert await command("curl", "-sS", f"{url}/a", f"{url}/b", f"{url}/chunks/3") == "hellohellocccccc"
        verbose = await command("curl", "-sSv", "-o", "/dev/null", "-o", "/dev/null", f"{url}/a", f"{url}/b")
        assert "Re-using existing connection" in verbose
        assert "HTTP/1.1 200" in await command("curl", "-sSI", f"{url}/size/12345")
        big = b"u" * (3 * MIB)
        assert await command("curl", "-sS", "--data-binary", "@-", f"{url}/echo", stdin=big) == big.decode()
        expecting = ["-H", "Expect: 100-continue", "--expect100-timeout", "30"]
        assert await command("curl", "-sS", *expecting, "--data-binary", "@-", f"{url}/echo", stdin=big) == big.decode()
        chunked = ["-H", "Transfer-Encoding: chunked", "-X", "POST"]
        assert await command("curl", "-sS", *chunked, "--data-binary", "@-", f"{url}/echo", stdin=big) == big.decode()
        assert await command("curl", "-sS", "-T", "-", f"{url}/echo", stdin=b"put") == "put"
        assert await command("curl", "-sS", "--http1.0", f"{url}/chunks/3") == "cccccc"
        assert len(await command("curl", "-sS", f"{url}/size/{5 * MIB}")) == 5 * MIB

    visit(story)


def test_wrk_when_it_has_a_thousand_connections() -> None:
    """Not one error, not one status but 200."""

    async def story(url: str) -> None:
        out = await command("wrk", "-t2", f"-c{CONNECTIONS}", "-d3s", "--timeout", "30s", f"{url}/a")
        assert "Socket errors" not in out
        assert "Non-2xx" not in out
        found = re.search(r"(\d+) requests in", out)
        assert found is not None
        assert int(found[1]) > CONNECTIONS

    visit(story)


def test_hey_when_it_has_a_thousand_connections() -> None:
    """Every request answered with 200; hey also counts what it could not send."""

    async def story(url: str) -> None:
        out = await command("hey", "-n", "5000", "-c", str(CONNECTIONS), "-t", "60", f"{url}/size/300")
        assert re.findall(r"\[(\d+)\]\s+(\d+) responses", out) == [("200", "5000")]
        assert "Error distribution" not in out

    visit(story)


def test_h2load_when_it_speaks_http1() -> None:
    """`h2load --h1`: all succeed, bodies whole; a request body on each."""

    async def story(url: str) -> None:
        out = await command("h2load", "--h1", "-n", "5000", "-c", str(CONNECTIONS), f"{url}/size/1000")
        assert "5000 succeeded, 0 failed, 0 errored, 0 timeout" in out
        assert "status codes: 5000 2xx" in out
        assert "(5000000) data" in out
        out = await command("h2load", "--h1", "-n", "200", "-c", "20", "-d", __file__, f"{url}/echo")
        assert "200 succeeded, 0 failed, 0 errored, 0 timeout" in out

    visit(story)

    visit(story)


def test_requests_when_it_keeps_a_session() -> None:
    """Python's requests: a session, streamed uploads and downloads, HEAD."""

    def work(url: str) -> None:
        with requests.Session() as session:
            session.trust_env = False
            for number in range(20):
                assert session.get(f"{url}/size/{number * 1000}", timeout=30).content == b"s" * (number * 1000)
            assert session.post(f"{url}/echo", data=b"x" * MIB, timeout=30).content == b"x" * MIB
            pieces = (b"%d," % number for number in range(10000))
            assert session.post(f"{url}/echo", data=pieces, timeout=30).content.endswith(b"9999,")
            assert session.head(f"{url}/size/77", timeout=30).headers["Content-Length"] == "77"
            with session.get(f"{url}/chunks/200", stream=True, timeout=30) as answer:
                assert sum(len(piece) for piece in answer.iter_content(100)) == 200 * 201 // 2

    async def story(url: str) -> None:
        await asyncio.to_thread(work, url)

    visit(story)


def test_aiohttp_when_it_asks_at_once() -> None:
    """aiohttp: two hundred requests at a time over one session, uploads in chunks, a WebSocket that is refused."""

    async def story(url: str) -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=50)) as session:

            async def one(number: int) -> None:
                async with session.post(f"{url}/echo", data=b"%d" % number) as answer:
                    assert await answer.read() == b"%d" % number

            await asyncio.gather(*(one(number) for number in range(200)))

            async def pieces() -> AsyncIterator[bytes]:
                for _ in range(100):
                    yield b"p" * 10000

            async with session.post(f"{url}/echo", data=pieces()) as answer:
                assert len(await answer.read()) == 1_000_000
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await session.ws_connect(f"{url}/a")

    visit(story)


NODE = """
const http = require('http');
const [url] = process.argv.slice(1);
const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
function ask(method, path, body) {
  return new Promise((resolve, reject) => {
    const request = http.request(url + path, { method, agent }, (answer) => {
      let length = 0;
      answer.on('data', (piece) => { length += piece.length; });
      answer.on('end', () => resolve([answer.statusCode, length, request.reusedSocket]));
    });
    request.on('error', reject);
    if (body) { for (let at = 0; at < body.length; at += 10000) request.write(body.slice(at, at + 10000)); }
    request.end();
  });
}
(async () => {
  const found = [];
  for (let n = 0; n < 10; n++) found.push(await ask('GET', '/size/' + n));
  found.push(await ask('POST', '/echo', 'n'.repeat(100000)));
  found.push(await ask('HEAD', '/size/5'));
  found.push(await ask('GET', '/chunks/50'));
  found.push(...await Promise.all([...Array(100).keys()].map(() => ask('GET', '/a'))));
  agent.destroy();
  console.log(JSON.stringify(found));
})();
"""


def test_node_when_it_keeps_connections() -> None:
    """Node's http with a keep-alive agent: bodies both ways, HEAD, chunks, many at a time, sockets reused."""

    async def story(url: str) -> None:
        found = json.loads(await command("node", "-e", NODE, url))
        assert {status for status, _, _ in found} == {200}
        assert [length for _, length, _ in found[:13]] == [*range(10), 100_000, 0, 50 * 51 // 2]
        assert all(reused for _, _, reused in found[1:13])

    visit(story)


def test_urllib_when_it_asks() -> None:
    """The standard library's client, in a process without this one's packages."""

    async def story(url: str) -> None:
        script = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1] + '/size/10').read().decode())"
        assert (await command(sys.executable, "-I", "-c", script, url)).strip() == "s" * 10

    visit(story)
