"""A gateway with plugins in front of an upstream that says what it was asked.

`plugged(...)` gives a Plugged: `ask` sends one request and returns what the client saw; `plugged.upstream.heads` and `bodies` are what
came through. Configurations are Kong's: `plugins` of the route r (at /), `more` other top-level lists.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.gateway import Gateway, running_gateway
from tests.support.raw_client import Seen, ask
from tests.support.scripted_upstream import Upstream, scripted_upstream

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/x\r\nContent-Length: 5\r\n\r\nhello"


@dataclass
class Plugged:
    """A running gateway and its upstream. `answer` is what the upstream says to everything; then it leaves, if it `breaks`."""

    gateway: Gateway
    upstream: Upstream
    answer: bytes = ANSWER
    breaks: bool = False
    bodies: list[bytes] = field(default_factory=list)

    async def ask(
        self, path: str = "/", *, method: str = "GET", body: bytes | None = None, **fields: str | Sequence[str]
    ) -> Seen:
        """One request on a connection of its own; underscores in names of fields stand for hyphens."""
        lines = [f"{method} {path} HTTP/1.1", "Host: gw.test"]
        for name, value in fields.items():
            for each in [value] if isinstance(value, str) else value:
                lines.append(f"{name.replace('_', '-')}: {each}")
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        return await ask(self.gateway.port, "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))

    def passed(self) -> dict[str, list[str]]:
        """The fields of the last request that came to the upstream, by lower-case name; its request line under ""."""
        first, *lines = self.upstream.heads[-1].decode("latin-1").split("\r\n")[:-2]
        found = {"": [first]}
        for line in lines:
            name, _, value = line.partition(": ")
            found.setdefault(name.lower(), []).append(value)
        return found


@asynccontextmanager
async def plugged(
    *plugins: Mapping[str, Any],
    route: Mapping[str, Any] | None = None,
    more: Mapping[str, Any] | None = None,
    **gateway: Any,
) -> AsyncIterator[Plugged]:
    """A gateway whose one route has these plugins."""
    holder: list[Plugged] = []

    async def serve(upstream: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await upstream.read_head(reader)
            holder[0].bodies.append(await _body(head, reader))
            writer.write(holder[0].answer)
            if holder[0].breaks:
                return

    async with scripted_upstream(serve) as upstream:
        config = {
            "_format_version": "3.0",
            "services": [
                {
                    "name": "s",
                    "url": upstream.url,
                    "retries": 0,
                    "routes": [{"name": "r", "paths": ["/"], "plugins": list(plugins), **(route or {})}],
                }
            ],
            **(more or {}),
        }
        async with running_gateway(config, **gateway) as running:
            holder.append(Plugged(running, upstream))
            yield holder[0]


async def _body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    lower = head.lower()
    if b"\r\ncontent-length: " in lower:
        return await reader.readexactly(int(lower.split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0]))
    body = b""
    if b"\r\ntransfer-encoding: chunked" in lower:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
    return body
