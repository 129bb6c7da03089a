"""WebSocket messages through a gateway: an echo server and a client that counts round trips.

    python -m bench.whole.websocket serve PORT CORE
    python -m bench.whole.websocket load http://127.0.0.1:8000/ws --connections 32 --seconds 2

Messages are of one size and both ends know it, so that neither needs to parse frames: what is measured is the tunnel.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import os
import re
import time
from urllib.parse import urlsplit

import uvloop

from bench.histogram import Histogram

PAYLOAD = b"m" * 100
QUESTION = b"\x81" + bytes([0x80 | len(PAYLOAD)]) + b"\0\0\0\0" + PAYLOAD  # masked with zeros
ANSWER = b"\x81" + bytes([len(PAYLOAD)]) + PAYLOAD
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = base64.b64encode(hashlib.sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
HEAD_END = b"\r\n\r\n"
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
)


class Echo(asyncio.Protocol):
    """Answers each message of the known size."""

    def __init__(self) -> None:
        self._head = b""
        self._open = False
        self._bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._open:
            self._head += data
            head, end, data = self._head.partition(HEAD_END)
            if not end:
                return
            key = re.search(rb"(?i)sec-websocket-key: *(\S+)", head)
            assert key is not None
            accept = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            self._transport.write(SWITCHING % accept)
            self._open = True
        self._bytes += len(data)
        count, self._bytes = divmod(self._bytes, len(QUESTION))
        if count:
            self._transport.write(ANSWER * count)


class Client(asyncio.Protocol):
    """Asks again when it was answered, until the time is over."""

    def __init__(self, target: str, host: str, until: float, seen: Histogram) -> None:
        self._request = (
            f"GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY.decode()}\r\n\r\n"
        ).encode()
        self._until = until
        self._seen = seen
        self._head = b""
        self._open = False
        self._bytes = 0
        self.failed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.closed = asyncio.get_running_loop().create_future()
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._open:
            self._head += data
            head, end, data = self._head.partition(HEAD_END)
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.failed = True
                self._transport.close()
                return
            self._open = True
            self._ask()
        self._bytes += len(data)
        if self._bytes >= len(ANSWER):
            self._bytes -= len(ANSWER)
            now = time.perf_counter()
            self._seen.record((now - self._began) * 1e6)
            if now > self._until:
                self._open = False
                self._transport.close()
            else:
                self._ask()

    def _ask(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(QUESTION)

    def connection_lost(self, exc: Exception | None) -> None:
        self.failed = self.failed or self._open
        self.closed.set_result(None)


async def serve(port: int) -> None:
    """Echo until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port)
    await server.serve_forever()


async def load(url: str, connections: int, seconds: float) -> dict[str, float]:
    """Round trips over all connections, as a Seen of bench.whole.loads."""
    parts = urlsplit(url)
    seen, began = Histogram(), time.perf_counter()
    clients = []
    for _ in range(connections):
        _, client = await asyncio.get_running_loop().create_connection(
            lambda: Client(parts.path, parts.netloc, began + seconds, seen), parts.hostname, parts.port
        )
        clients.append(client)
    await asyncio.gather(*(client.closed for client in clients))
    return seen.summary(time.perf_counter() - began, sum(client.failed for client in clients))


def main() -> None:
    """Serve or load."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    server = actions.add_parser("serve")
    server.add_argument("port", type=int)
    server.add_argument("core", type=int)
    client = actions.add_parser("load")
    client.add_argument("url")
    client.add_argument("--connections", type=int, default=32)
    client.add_argument("--seconds", type=float, default=2.0)
    client.add_argument("--json", action="store_true", help="accepted: the output always is")
    given = parser.parse_args()
    if given.action == "serve":
        os.sched_setaffinity(0, {given.core})
        uvloop.run(serve(given.port))
    else:
        print(json.dumps(uvloop.run(load(given.url, given.connections, given.seconds))))


if __name__ == "__main__":
    main()
