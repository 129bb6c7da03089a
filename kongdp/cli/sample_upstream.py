"""The quickstart's sample upstream: a small HTTP server that greets, and says what reached it.

In: a port.  Out: a running server whose answers name the method, path and Host that the gateway sent.
Cold. h11 frames the HTTP, so that kept-alive connections work as with any real upstream. Source: ours.
"""

import asyncio
import contextlib
import html

import h11

HOST = "127.0.0.1"
IDLE_TIMEOUT_S = 75.0
BODY_BYTES_MAX = 1024 * 1024

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>sample upstream</title></head>
<body>
<h1>Hello from behind the gateway</h1>
<p>This page is the sample upstream of the kongdp quickstart. This is what reached it:</p>
<pre>
method: {method}
path:   {path}
host:   {host}
</pre>
</body>
</html>
"""


class SampleUpstream:
    """Use `start`, then `url`; `stop` ends it with every connection."""

    def __init__(self, port: int = 0) -> None:
        """`port` 0: any free one."""
        self._port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self._port}"

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        self._server = await asyncio.start_server(self._serve, HOST, self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Hang up on everybody."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await _converse(reader, writer)
        except (OSError, h11.ProtocolError, TimeoutError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests of one connection until either side has enough."""
    connection = h11.Connection(h11.SERVER)
    while True:
        request = await _read(connection, reader)
        if request is None:
            return
        for piece in _answer(connection, request):
            writer.write(piece)
        await writer.drain()
        if connection.our_state is h11.MUST_CLOSE:
            return
        connection.start_next_cycle()


async def _read(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    """The next request with its body read and thrown away; None when there is none."""
    request: h11.Request | None = None
    size = 0
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            async with asyncio.timeout(IDLE_TIMEOUT_S):
                connection.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            size += len(event.data)
            if size > BODY_BYTES_MAX:
                return None
        elif isinstance(event, h11.EndOfMessage):
            return request
        else:
            return None


def _answer(connection: h11.Connection, request: h11.Request) -> list[bytes]:
    host = dict(request.headers).get(b"host", b"")
    shown = {"method": request.method, "path": request.target, "host": host}
    escaped = {name: html.escape(value.decode("latin-1")) for name, value in shown.items()}
    body = _PAGE.format(**escaped).encode()
    head = h11.Response(
        status_code=200,
        reason=b"OK",
        headers=[("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))],
    )
    events: list[h11.Event] = [head, h11.EndOfMessage()]
    if request.method != b"HEAD":
        events.insert(1, h11.Data(body))
    return [connection.send(event) or b"" for event in events]
