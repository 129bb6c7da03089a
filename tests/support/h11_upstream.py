"""An upstream that reads with h11, a parser that shares nothing with ours, and remembers exactly what it understood.

What h11 refuses ends its connection and is remembered as a complaint: the gateway must never give cause for one.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import h11


@dataclass(frozen=True)
class Understood:
    """One request as h11 read it. `fields` keep their order; names are lower case."""

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    trailers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass
class H11Upstream:
    """A running one. `requests` in the order they were complete; `complaints` are h11's words for what it refused."""

    port: int = 0
    requests: list[Understood] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    unfinished: int = 0

    @property
    def url(self) -> str:
        """Where a service points to."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request after request."""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        try:
            while await self._one(connection, reader, writer):
                connection.start_next_cycle()
        except h11.RemoteProtocolError as problem:
            self.complaints.append(str(problem))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _one(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        request: h11.Request | None = None
        body = b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                data = await reader.read(65536)
                if not data:
                    if request is not None:
                        self.unfinished += 1  # aborted by the gateway: never taken for a whole request
                    elif connection.trailing_data[0]:
                        self.complaints.append(f"bytes that are no request: {connection.trailing_data[0]!r}")
                    return False
                connection.receive_data(data)
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert request is not None
                fields = tuple((bytes(name), bytes(value)) for name, value in request.headers)
                trailers = tuple((bytes(name), bytes(value)) for name, value in event.headers)
                self.requests.append(Understood(bytes(request.method), bytes(request.target), fields, body, trailers))
                break
            else:
                return False
        head = h11.Response(status_code=200, headers=[("Content-Length", "2")])
        out = (connection.send(head) or b"") + (connection.send(h11.Data(data=b"ok")) or b"")
        if request.method == b"HEAD":
            out = connection.send(head) or b"" if connection.our_state is h11.SEND_RESPONSE else out
        writer.write(out + (connection.send(h11.EndOfMessage()) or b""))
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE


@asynccontextmanager
async def h11_upstream() -> AsyncIterator[H11Upstream]:
    """An h11 upstream on a free port of loopback."""
    upstream = H11Upstream()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await upstream.serve(reader, writer)
        tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
