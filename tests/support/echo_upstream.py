"""An upstream that tells what it received, as the recordings' upstream did.

Each request is answered with JSON: {"line", "headers": [[name, value], ...], "body_len", "trailers"}. In the path `/__status/NNN` chooses
the status, `/__delay/MS` waits first, `/__close` closes without an answer, `/__chunked` answers in chunks.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

STAMP = b"Content-Type: application/json\r\nX-Echo: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"


async def read_request(reader: asyncio.StreamReader) -> tuple[str, list[list[str]], bytes, list[str]]:
    """One request: line, fields in order, body, trailers. A plain reader on purpose: it must not share our parser's mistakes."""
    head = await reader.readuntil(b"\r\n\r\n")
    line, *rest = head[:-4].split(b"\r\n")
    fields = [[part.strip().decode("latin-1") for part in entry.split(b":", 1)] for entry in rest]
    named = {name.lower(): value for name, value in fields}
    body, trailers = b"", []
    if "chunked" in named.get("transfer-encoding", "").lower():
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        while (trailer := await reader.readuntil(b"\r\n")) != b"\r\n":
            trailers.append(trailer.strip().decode("latin-1"))
    elif "content-length" in named:
        body = await reader.readexactly(int(named["content-length"]))
    return line.decode("latin-1"), fields, body, trailers


def answer(line: str, fields: list[list[str]], body: bytes, trailers: list[str]) -> bytes:
    """The response to one request."""
    target = line.split(" ")[1]
    found = re.search(r"/__status/(\d+)", target)
    status = int(found[1]) if found else 200
    view = {"line": line, "headers": fields, "body_len": len(body), "trailers": trailers}
    out = json.dumps(view).encode()
    head = b"HTTP/1.1 %d Echo\r\n%b" % (status, STAMP)
    if status in (204, 304):
        return head + b"\r\n"
    if line.startswith("HEAD "):
        return head + b"Content-Length: %d\r\n\r\n" % len(out)
    if "/__chunked" in target:
        return head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(out), out)
    return head + b"Content-Length: %d\r\n\r\n" % len(out) + out


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, request after request."""
    try:
        while True:
            request = await read_request(reader)
            delay = re.search(r"/__delay/(\d+)", request[0])
            if delay:
                await asyncio.sleep(int(delay[1]) / 1000)
            if "/__close" in request[0]:
                break
            writer.write(answer(*request))
            await writer.drain()
    except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, ValueError):
        pass
    finally:
        writer.close()


@asynccontextmanager
async def echo_upstream() -> AsyncIterator[int]:
    """The echo upstream on a free port of loopback; yields the port."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
