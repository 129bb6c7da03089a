"""A client that sends exactly the bytes it is given and reads one response without help of our own parser."""

import asyncio
import contextlib
from dataclasses import dataclass, field


@dataclass
class Seen:
    """What came back: `status` is a number, or "closed", "cut" (in its middle), "timeout" or "garbage"; `rest` are bytes after it."""

    status: int | str
    headers: dict[str, list[str]] = field(default_factory=dict)
    body: bytes = b""
    rest: bytes = b""


def parse(data: bytes, method: str, *, ended: bool) -> Seen | None:
    """The first final response in `data`, or None when it is not whole yet."""
    while True:
        head, separator, rest = data.partition(b"\r\n\r\n")
        if not separator:
            return (Seen("garbage", body=data) if data else Seen("closed")) if ended else None
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        if status >= 200 or status == 101:
            break
        data = rest
    headers: dict[str, list[str]] = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers.setdefault(name.lower(), []).append(value.strip())
    if method == "HEAD" or status in (101, 204, 304):
        return Seen(status, headers, b"", rest)
    if "content-length" in headers:
        length = int(headers["content-length"][0])
        return Seen(status, headers, rest[:length], rest[length:]) if len(rest) >= length else None
    if "chunked" in "".join(headers.get("transfer-encoding", [])).lower():
        return _chunked(status, headers, rest)
    return Seen(status, headers, rest) if ended else None


def _chunked(status: int, headers: dict[str, list[str]], rest: bytes) -> Seen | None:
    body = b""
    while True:
        size, separator, after = rest.partition(b"\r\n")
        if not separator:
            return None
        length = int(size.split(b";")[0], 16)
        if length == 0:
            end = after.find(b"\r\n")
            return Seen(status, headers, body, after[end + 2 :]) if end >= 0 else None
        if len(after) < length + 2:
            return None
        body += after[:length]
        rest = after[length + 2 :]


async def ask(port: int, raw: bytes, *, timeout_s: float = 30.0) -> Seen:
    """Send `raw` on a fresh connection and read the first final response."""
    method = raw.split(b" ", 1)[0].decode("latin-1")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = b""
    try:
        async with asyncio.timeout(timeout_s):
            writer.write(raw)
            while True:
                piece = await reader.read(65536)
                data += piece
                seen = parse(data, method, ended=not piece)
                if seen is not None:
                    return seen
                if not piece:
                    return Seen("cut", body=data)
    except TimeoutError:
        return Seen("timeout", body=data)
    except ConnectionError:
        return parse(data, method, ended=True) or Seen("cut", body=data)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
