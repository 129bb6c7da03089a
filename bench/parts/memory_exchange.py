"""A whole exchange without sockets: the proxy rooms as a worker wires them, between two transports of memory.

In: routes, counters on or off.  Out: a callable that carries one typical request and its response through.
What is left is what our own code costs; system calls and the loop are the whole bench's business.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from kongdp.proxy.downstream import DownstreamConnection
from kongdp.proxy.environment import Limits
from kongdp.telemetry.counters import RouteCounters, UncountedRoute
from kongdp.upstream.pool import PoolLimits
from tests.support import gateway as wiring
from tests.support.gateway import running_gateway

ENDLESS = 1 << 40
REQUEST = (
    b"GET /mock/anything?q=1 HTTP/1.1\r\nHost: gateway.test:8000\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\nCookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n"
    b"X-Trace-Id: 4bf92f3577b34da6a3ce929d0e0e4736\r\nAuthorization: Bearer " + b"e" * 110 + b"\r\n"
    b"Cache-Control: no-cache\r\nReferer: http://example.test/some/page\r\n\r\n"
)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Mon, 23 Nov 2026 12:00:00 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: 990\r\nConnection: keep-alive\r\nCache-Control: no-store\r\nX-Frame-Options: DENY\r\n"
    b'X-Content-Type-Options: nosniff\r\nETag: "abc123"\r\nVary: Accept-Encoding\r\nSet-Cookie: id=a3fWa; HttpOnly\r\n\r\n'
    + b"x"
    * 990
)


class Wire:
    """The side of a transport that our connections use. Keeps the last write."""

    def __init__(self) -> None:
        self.written: bytes = b""
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.written = data

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    abort = close

    def pause_reading(self) -> None:
        return None

    resume_reading = pause_reading

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return None

    def can_write_eof(self) -> bool:
        return True

    write_eof = close

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 40000) if name in ("peername", "sockname") else default


class Dialer:
    """Opens connections of memory at once."""

    def __init__(self) -> None:
        self.opened: list[Any] = []

    def start(self, dialling: Coroutine[Any, Any, None]) -> None:
        try:
            dialling.send(None)
        except StopIteration:
            return
        raise AssertionError("a dialler of memory has nothing to wait for")

    async def dial(self, endpoint: object, factory: Callable[[], Any], timeout_s: float) -> Any:
        connection = factory()
        connection.connection_made(Wire())
        self.opened.append(connection)
        return connection


def configuration(routes: int) -> dict[str, Any]:
    """So many routes; the last one is the measured one."""
    services = [
        {
            "name": f"s{i}",
            "url": "http://127.0.0.1:1/",
            "routes": [{"name": f"r{i}", "paths": [f"/team{i % 50}/svc{i}"]}],
        }
        for i in range(routes - 1)
    ]
    mock = {"name": "mock", "url": "http://127.0.0.1:1/", "routes": [{"name": "mock", "paths": ["/mock"]}]}
    return {"_format_version": "3.0", "services": [*services, mock]}


@asynccontextmanager
async def exchanger(
    routes: int = 1, *, counts: bool = True, more: Mapping[str, Any] | None = None
) -> AsyncIterator[Callable[[], None]]:
    """One exchange a call, on a kept-alive connection each side. The first has been made: plan and pool are warm.

    `more`: top-level lists of the configuration, plugins for instance.
    """
    wiring.RouteCounters = RouteCounters if counts else UncountedRoute  # type: ignore[attr-defined]
    try:
        limits, pools = Limits(keepalive_requests=ENDLESS), PoolLimits(requests_max=0)
        loaded = {**configuration(routes), **(more or {})}
        async with running_gateway(loaded, limits=limits, pool_limits=pools) as gateway:
            dialer, client = Dialer(), Wire()
            gateway.env.dialer = cast(Any, dialer)
            downstream = DownstreamConnection(gateway.env, b"http", 8000)
            downstream.connection_made(cast(Any, client))

            def exchange() -> None:
                client.written = b""
                downstream.data_received(REQUEST)
                dialer.opened[0].data_received(RESPONSE)
                assert client.written

            exchange()
            assert client.written.startswith(b"HTTP/1.1 200"), client.written[:200]
            assert b"X-Forwarded-For: 127.0.0.1" in dialer.opened[0].transport.written
            assert bool(gateway.counts().get(("mock", 200, 1))) is counts
            yield exchange
            assert len(dialer.opened) == 1, "the upstream connection was not used again"
            downstream.connection_lost(None)
            dialer.opened[0].connection_lost(None)
    finally:
        wiring.RouteCounters = RouteCounters  # type: ignore[attr-defined]
