"""How an exchange ends: answers of the gateway itself, the count, and the one `_finish`.

In: a status and a message, or word that a side has left.  Out: at most one whole answer to the client, one count, one log record.
House rules: `_finish` is the only end and runs exactly once, whatever happened. Counting comes before the last write, so that whoever
saw the answer finds it counted. The lowest layer of the exchange: it knows an upstream connection only to give it back or close it.
Hot: `take_on`, `_count`, `_finish`. Everything else is for answers that were not proxied.
Source: Kong's proxying contract, section 6.
"""

from __future__ import annotations

import asyncio
import math
from itertools import count
from typing import cast

from kongdp._monotonic import monotonic
from kongdp.http1.messages import Fields, RequestHead
from kongdp.proxy import failures
from kongdp.proxy.addresses import ClientAddress
from kongdp.proxy.environment import Environment
from kongdp.proxy.plan import RoutePlan
from kongdp.proxy.plugin_run import PluginRun, for_own_answer
from kongdp.proxy.relay import RequestBody
from kongdp.proxy.respond import (
    JSON,
    negotiate,
    nginx_page,
    own_response,
    proxy_latencies,
    response_latency,
    type_for_nginx_error,
)
from kongdp.proxy.spill import Spill
from kongdp.proxy.tunnel import Tunnel
from kongdp.proxy.ways import Way
from kongdp.telemetry.counters import SOURCE_KONG
from kongdp.upstream.connection import Receiver, UpstreamConnection
from kongdp.upstream.pool import Pool

NEVER = math.inf

CLIENT_CLOSED = 499
"""nginx's status for a client that left before its answer; counted and logged, never sent."""

NOT_TRYING, RESOLVING, QUEUED, DIALLING, SENT, HELD = range(6)
"""Where the current try stands (`_phase`); `tries` moves it. HELD: plugins have not let the request pass yet."""

_NUMBERS = count(1)


class Client:
    """The client's connection, as an exchange sees it. `port` and `scheme` are those shown to upstreams, `number` its place among all
    that this worker has had.

    `lingers`: the client may still be sending when we close, because closing is our wish and not its own.
    """

    __slots__ = (
        "address",
        "env",
        "exchange",
        "host",
        "host_field",
        "lingers",
        "number",
        "port",
        "reads_ahead",
        "requests",
        "scheme",
        "sni",
        "spill",
        "transport",
        "tunnel",
    )

    def __init__(self, env: Environment, scheme: bytes, port: int) -> None:
        self.env = env
        self.scheme = scheme
        self.port = port
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.address: ClientAddress = cast(ClientAddress, None)
        self.sni: bytes | None = None
        self.tunnel: Tunnel | None = None
        self.spill: Spill | None = None  # a request's body on its way through a file
        self.requests = 0
        self.number = next(_NUMBERS)
        self.host_field = b""  # the last Host, and what it means
        self.host = b""
        self.lingers = False
        self.reads_ahead = False
        self.exchange: Answers | None = None

    def may_keep_alive(self, head: RequestHead) -> bool:
        """Whether another request may follow on this connection, so that the answer can say so."""
        raise NotImplementedError

    def exchange_ended(self, keep: bool) -> None:
        """The exchange is over and its last byte was written."""
        raise NotImplementedError

    def read_ahead(self, wanted: bool) -> None:
        """How much of an answer may wait here for the client before the upstream's reading pauses (route.response_buffering)."""
        raise NotImplementedError

    def tunnel_opened(self) -> None:
        """Bytes pass both ways from now on; what was read ahead goes first."""
        raise NotImplementedError

    def pause_reading(self) -> None:
        """The upstream is slower than this client's body: the client's time stands still."""
        raise NotImplementedError

    def resume_reading(self) -> None:
        """The upstream caught up."""
        raise NotImplementedError

    def hold(self) -> None:
        """Nothing more can be taken of this client now."""
        raise NotImplementedError

    def release(self) -> None:
        """It can again."""
        raise NotImplementedError

    def abort(self) -> None:
        """Cut the connection: the client must see that its answer is not whole."""
        raise NotImplementedError


class Answers(Receiver):
    """The state of one exchange and its ways to end. Fields without underscore are read by the log, the head writer and tests."""

    __slots__ = (
        "_attempt",
        "_balanced",
        "_begun",
        "_body",
        "_finished",
        "_keep",
        "_phase",
        "_pool",
        "_switched",
        "bytes_in",
        "bytes_out",
        "client",
        "deadline",
        "env",
        "head",
        "head_bytes_out",
        "host",
        "path",
        "plan",
        "plugins",
        "proxy_ms",
        "query",
        "raw_path",
        "request_id",
        "source",
        "started",
        "status",
        "upstream",
        "upstream_ms",
        "upstream_path",
        "way",
    )

    host: bytes
    path: bytes
    query: bytes
    raw_path: bytes
    upstream_path: bytes

    def take_on(self, env: Environment, client: Client, head: RequestHead, started: float) -> None:
        """Make a new object the exchange of this request.

        PERF: not `__init__`, which compiled code too calls by way of a tuple: 3,650 -> 1,500 instructions, valgrind.
        """
        self.env = env
        self.client = client
        self.head = head
        self.method = head.method
        self.started = started
        self.request_id = env.request_ids.take()
        self.chunks_as_payload = head.minor == 0
        self.deadline = NEVER
        self.way: Way | None = None
        self.plan: RoutePlan | None = None
        self.plugins: PluginRun | None = None
        self.upstream: UpstreamConnection | None = None
        self.status = 0
        self.source = SOURCE_KONG
        self.bytes_in = len(head.raw)
        self.bytes_out = 0
        self.head_bytes_out = 0
        self.proxy_ms = 0
        self.upstream_ms = -1  # nothing was proxied
        self._body: RequestBody | None = None
        self._begun = False  # response bytes were written to the client
        self._finished = False
        self._balanced = 0.0  # when the last try had its destination
        self._attempt = 0  # the try that late news (a name, a connection) must belong to
        self._phase = NOT_TRYING
        self._pool: Pool | None = None
        self._keep = False
        self._switched = False

    def begin(self) -> None:
        """Route the request and start it on its way."""
        raise NotImplementedError

    def request_body(self, data: bytes, ended: bool) -> None:
        """A piece of the request's body; called by the client's connection in order."""
        raise NotImplementedError

    def request_body_fails(self, status: int, message: str) -> None:
        """The client's body cannot be trusted, is too long, or did not come in time."""
        raise NotImplementedError

    def client_writable(self, writable: bool) -> None:
        """The client's buffer filled or drained: the upstream's reading follows."""
        raise NotImplementedError

    def on_deadline(self) -> None:
        """Something took too long; called by the sweep."""
        raise NotImplementedError

    def respond(self, status: int, message: str, *, lines: bytes = b"") -> None:
        """Answer as Kong's own code does (producer K): JSON unless Accept says otherwise."""
        media_type = negotiate(Fields(self.head.raw).all(b"accept")) or JSON
        self._respond_error(status, message, media_type, lines)

    def refuse(self, status: int, message: str, *, proxied: bool = False) -> None:
        """Answer as nginx's error page through Kong does (producer N); `proxied`: a peer had been chosen."""
        fields = Fields(self.head.raw)
        media_type = type_for_nginx_error(
            fields.all(b"accept"), fields.first(b"content-type"), self.env.pages.default_type
        )
        if (status < 500 or status in failures.NGINX_PAGES) and self.head.keep_alive:
            self.head.keep_alive = False
            self.client.lingers = True
        if status in failures.NGINX_PAGES or message is failures.PLAIN_ON_TLS:
            charset = self.env.charset
            content_type = b"text/html; charset=" + charset if charset else b"text/html"
            self.respond_with(status, nginx_page(status, message), content_type, b"", proxied=proxied)
            return
        if (fields.first(b"content-type") or b"").startswith(b"application/grpc"):
            # Kong's handler leaves the request id out for gRPC clients, whose errors travel in fields
            body = b'{"message":"%b"}' % message.encode()
            self.respond_with(status, body, b"application/json; charset=utf-8", b"", proxied=proxied)
            return
        self._respond_error(status, message, media_type, b"", proxied=proxied)

    def _respond_error(
        self, status: int, message: str, media_type: str, lines: bytes, *, proxied: bool = False
    ) -> None:
        body = self.env.pages.body(media_type, message, self.request_id)
        content_type = f"{media_type}; charset=utf-8".encode()
        self.respond_with(status, body, content_type, lines, proxied=proxied)

    def respond_with(
        self, status: int, body: bytes, content_type: bytes | None, lines: bytes, *, proxied: bool = False
    ) -> None:
        """Write a whole answer of ours and end. Never a second answer behind one that has begun: that one is cut."""
        if self._finished:
            return
        if self._begun:
            self._abort_both()
            return
        env = self.env
        self._drop_upstream()
        self.status, self.source = status, SOURCE_KONG
        run = self.plugins
        if run is None:
            run = self.plugins = for_own_answer(self)
        if run is not None:
            body, lines = run.filter_own(body, content_type, lines)
            content_type = None  # among the lines
        client = self.client
        self._keep = client.may_keep_alive(self.head)
        identity = b"X-Kong-Request-Id: %b\r\n" % self.request_id if env.stamps.request_id else b""
        data = own_response(
            status,
            body,
            content_type,
            date_line=env.clock.date_line,
            lines=b"".join(
                (
                    lines,
                    env.stamps.server,
                    self._latency_lines(proxied=proxied),
                    self._proxied_lines(status) if proxied else b"",
                    identity,
                )
            ),
            keep_alive=self._keep,
            head_only=self.method == b"HEAD",
        )
        self._begun = True
        self.bytes_out += len(data)
        self.head_bytes_out = len(data) - (0 if self.method == b"HEAD" else len(body))
        self._count()
        if not client.transport.is_closing():
            client.transport.write(data)
        self._finish()

    def _latency_lines(self, *, proxied: bool) -> bytes:
        stamps = self.env.stamps
        now = monotonic()
        if not proxied:
            self.proxy_ms = int((now - self.started) * 1000)
            return response_latency(self.proxy_ms) if stamps.response_latency else b""
        balanced = self._balanced or now
        self.proxy_ms = int((balanced - self.started) * 1000)
        upstream_ms = int((now - balanced) * 1000)
        if self._balanced:  # else it is the answer of an earlier exchange, and no upstream was waited for
            self.upstream_ms = upstream_ms
        return proxy_latencies(stamps, self.proxy_ms, upstream_ms)

    def _proxied_lines(self, status: int) -> bytes:
        """What an answer of ours in an upstream's place carries beside the latencies."""
        stamps = self.env.stamps
        if stamps.upstream_status and status >= 500:
            return b"%bX-Kong-Upstream-Status: %d\r\n" % (stamps.via, status)
        return stamps.via

    def client_gone(self) -> None:
        """The client left; its request is aborted upstream and counted as 499."""
        if self._finished:
            return
        env = self.env
        env.slots[env.counters.client_aborts] += 1
        if not self._begun:
            self.status, self.source = CLIENT_CLOSED, SOURCE_KONG
            self._latency_lines(proxied=bool(self._balanced))
        self._keep = False
        self._drop_upstream()
        self._count()
        self._finish()

    def _abort_both(self) -> None:
        """The answer broke off in its middle: cut the client's connection, so that it can tell."""
        self._keep = False
        self._drop_upstream()
        self._count()
        self.client.abort()
        self._finish()

    @property
    def request_body_held(self) -> RequestBody | None:
        """The request's body as far as it is here, for plugins; None for a request without one."""
        return self._body

    def replace_request_body(self, data: bytes) -> None:
        """Send this body to the upstream; what came is whole already."""
        body = self._body = RequestBody(len(data), len(data) + 1)
        body.add(data, True)

    def _drop_upstream(self) -> None:
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.detach()
            upstream.close()
        elif self._phase == QUEUED and self._pool is not None:
            self._pool.stop_waiting(self)

    def pool_has_room(self) -> None:
        """Take an idle connection, or open one, or wait for either."""
        raise NotImplementedError

    def _count(self) -> None:
        """Count the exchange, once, before its last byte leaves: status, bytes both ways, latencies."""
        plan = self.plan
        if plan is None or self._switched:
            return
        request_ms = int((monotonic() - self.started) * 1000)
        plan.row.count(
            self.status * 2 + self.source,
            self.bytes_in,
            self.bytes_out,
            self.proxy_ms,
            self.upstream_ms,
            request_ms,
            self.plugins.counted_consumer() if self.plugins is not None else None,
        )

    def _finish(self) -> None:
        """The only end: reached on success, failure and disconnect, exactly once."""
        if self._finished:
            return
        self._finished = True
        self.deadline = NEVER
        env = self.env
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            body = self._body
            usable = upstream.is_reusable() and (body is None or (body.ended and upstream.is_flushed()))
            upstream.detach()
            if not usable or not upstream.pool.release(upstream, env.now):
                upstream.close()
        if env.access_log is not None:
            env.access_log.record(self)  # type: ignore[arg-type] # an Answers is always an Exchange
        # it knows this exchange: together they would be a cycle, for the collector to find
        run, self.plugins = self.plugins, None
        if run is not None:
            run.ended()
        self._body = None
        self._pool = None
        client = self.client
        if client.exchange is self:
            client.exchange_ended(self._keep)
