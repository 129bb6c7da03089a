"""One request and its response: states, who may write, retry, and the single way to end.

In: a request head and its body as it comes; what the upstream answers.  Out: bytes to both sides, counts, a log record.
House rules: an exchange keeps the snapshot it began with. `_finish` is the only end and runs exactly once, whatever happened. Counting
comes before the last write, so that whoever saw the answer finds it counted. Nothing here reads a setting or waits.
Hot: `begin`, `_send`, `response_begins`, `_finish`. Everything else is for bodies, tries and failures.
Source: Kong's proxying contract, sections 1 to 6.
"""

from __future__ import annotations

import math
from time import monotonic
from typing import TYPE_CHECKING, cast

from kongdp.http1 import target
from kongdp.http1.messages import Fields, RequestHead, ResponseHead
from kongdp.http1.writer import CHUNKED, CLOSE, KEEP_ALIVE, LAST_CHUNK, chunk, content_length_line
from kongdp.proxy import failures
from kongdp.proxy.environment import Environment
from kongdp.proxy.failures import Failure, Retry
from kongdp.proxy.forward import effective_host, request_head
from kongdp.proxy.plan import RoutePlan
from kongdp.proxy.relay import RequestBody
from kongdp.proxy.respond import JSON, negotiate, own_response, proxy_latencies, response_latency, type_for_nginx_error
from kongdp.proxy.tunnel import Tunnel
from kongdp.telemetry.counters import SOURCE_KONG, SOURCE_SERVICE
from kongdp.upstream.connection import UpstreamConnection
from kongdp.upstream.destination import Destination
from kongdp.upstream.dialer import DialError
from kongdp.upstream.pool import Pool
from kongdp.upstream.resolver import Outcome, Resolution

if TYPE_CHECKING:
    from kongdp.proxy.downstream import DownstreamConnection

NEVER = math.inf

CLIENT_CLOSED = 499
"""nginx's status for a client that left before its answer; counted and logged, never sent."""

NAMELESS = b"kong"

_HTTPS_LINES = b"Connection: Upgrade\r\nUpgrade: TLS/1.2, HTTP/1.1\r\n"


class Exchange:
    """One request and its response. Made by a DownstreamConnection; ends by telling it `exchange_ended`."""

    __slots__ = (
        "_balanced",
        "_begun",
        "_body",
        "_destination",
        "_finished",
        "_first_byte",
        "_keep",
        "_latencies",
        "_pool",
        "_reused",
        "_spare_try",
        "_switched",
        "_tried",
        "_tries_left",
        "_until_close",
        "bytes_in",
        "bytes_out",
        "chunks_as_payload",
        "client",
        "deadline",
        "env",
        "head",
        "head_bytes_out",
        "host",
        "method",
        "path",
        "plan",
        "prefix",
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
    )

    def __init__(self, env: Environment, client: DownstreamConnection, head: RequestHead, started: float) -> None:
        self.env = env
        self.client = client
        self.head = head
        self.method = head.method
        self.started = started
        self.request_id = env.request_ids.take()
        self.chunks_as_payload = head.minor == 0
        self.deadline = NEVER
        self.plan: RoutePlan | None = None
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
        self._balanced = 0.0  # when the last try had its connection
        self._first_byte = 0.0
        self._pool: Pool | None = None
        self._keep = False
        self._switched = False

    @classmethod
    def refused(cls, env: Environment, client: DownstreamConnection, started: float, raw: bytes) -> Exchange:
        """The exchange of a head nobody can trust: it exists to be answered, counted and logged."""
        head = RequestHead()
        head.method, _, rest = raw[:8192].partition(b"\r\n")[0].partition(b" ")
        head.target = rest.partition(b" ")[0] or b"/"
        head.minor, head.kept, head.raw = 1, b"", raw[: raw.find(b"\r\n\r\n") + 4] if b"\r\n\r\n" in raw else raw
        head.keep_alive = False
        exchange = cls(env, client, head, started)
        exchange.raw_path, exchange.query = head.target, b""
        client.exchange = exchange
        return exchange

    def begin(self) -> None:
        """Route the request and start it on its way."""
        head = self.head
        raw = head.target
        authority = b""
        if raw[:1] == b"/":
            self.raw_path, self.query = target.split(raw)
        else:
            parsed = target.parse(raw, head.method)
            self.raw_path, self.query = raw, b""
            if parsed is None or parsed.form is not target.Form.ABSOLUTE:
                self.refuse(400, "Bad request")
                return
            self.raw_path, self.query, authority = parsed.path, parsed.query, parsed.authority
        path = self.raw_path
        if target.is_refused(path):
            self.refuse(400, "Bad request")
            return
        if head.method == b"TRACE":
            self.refuse(405, "Method not allowed")
            return
        env = self.env
        client = self.client
        self.path = path = target.normalize(path)
        # a client of HTTP/1.0 may name no host; nginx's $host is the server's name then
        self.host = effective_host(authority or head.host or NAMELESS)
        snapshot = env.snapshot
        match = snapshot.router.match(
            head.method,
            head.host or b"",
            path,
            lambda: Fields(head.raw).as_mapping(),
            scheme=client.scheme,
            sni=client.sni,
            port=client.port,
        )
        if match is None:
            env.slots[env.counters.unrouted_total] += 1
            self.respond(404, failures.NO_ROUTE)
            return
        self.plan = plan = snapshot.plan(match.route_id)
        self.prefix = match.prefix if plan.strip_path and match.prefix != b"/" else b""
        self.upstream_path = target.escape(plan.upstream_path(path, match.prefix_length)) + self.query
        if plan.gated and self._gate(plan):
            return
        limit = env.limits.body_bytes_max
        if limit and head.content_length > limit:
            self.refuse(413, "Payload too large")
            return
        self._tries_left = plan.retries
        self._spare_try = True
        self._tried: tuple[Destination, ...] = ()
        if head.has_body:
            bound = env.limits.body_buffer_bytes if plan.request_buffering else env.limits.stream_buffer_bytes
            self._body = RequestBody(-1 if head.chunked else head.content_length, bound)
            # a body may come with its head, so wait for the rest of this read: request_body starts the way upstream
            if not plan.request_buffering:
                env.loop.call_soon(self._start_streaming)
            return
        self._next_try()

    def _gate(self, plan: RoutePlan) -> bool:
        """Answers that a route's protocols or the lack of a service give at once (Kong's router contract, section 8)."""
        head = self.head
        if plan.https_only:
            scheme = (
                head.forwarded_proto if self.client.address.trusted and head.forwarded_proto else self.client.scheme
            )
            if scheme != b"https":
                self._redirect(plan)
                return True
        if plan.grpc:
            content_type = Fields(head.raw).first(b"content-type") or b""
            if not content_type.startswith(b"application/grpc"):
                self.respond(415, "Non-gRPC request matched gRPC route")
            else:
                lines = b"Connection: Upgrade\r\nUpgrade: HTTP/2\r\n"
                self.respond(426, "Please use HTTP2 protocol", lines=lines)
            return True
        if plan.unserved:
            self.respond(503, failures.NO_SERVICE)
            return True
        return False

    def _redirect(self, plan: RoutePlan) -> None:
        if plan.redirect_status == 426:
            self.respond(426, "Please use HTTPS protocol", lines=_HTTPS_LINES)
            return
        head = self.head
        host = head.forwarded_host if self.client.address.trusted and head.forwarded_host else self.host
        location = b"Location: https://%b%b\r\n" % (host, self.raw_path + self.query)
        self._respond_bytes(plan.redirect_status, b"", None, location)

    def request_body(self, data: bytes, ended: bool) -> None:
        """A piece of the request's body; called by the client's connection in order."""
        body = self._body
        self.bytes_in += len(data)
        if body is None or self._finished:
            return
        limit = self.env.limits.body_bytes_max
        if limit and body.received + len(data) > limit:
            self.refuse(413, "Payload too large")
            return
        upstream = self.upstream
        if upstream is not None and self._balanced and not body.ended and not upstream.lost:
            framed = body.pass_on(data, ended)
            if framed:
                upstream.transport.write(framed)
            return
        body.add(data, ended)
        if ended or body.full:
            if self._pool is None and upstream is None and not self._begun:
                self._next_try()
            elif body.full:
                self.client.pause_reading()

    def _start_streaming(self) -> None:
        """An unbuffered body goes on its way with whatever came together with the head."""
        if not self._finished and self._pool is None and self.upstream is None:
            self._next_try()

    def request_body_fails(self, status: int, message: str) -> None:
        """The client's body cannot be trusted or did not come in time."""
        if self._begun:
            self._abort_both()
        else:
            self.refuse(status, message)

    def _next_try(self) -> None:
        """Choose a destination and get a connection to it."""
        plan = cast(RoutePlan, self.plan)
        destination = plan.pick(self._tried)
        if destination is None:
            if self._tried:
                self.refuse(503, failures.UNAVAILABLE, proxied=True)
            else:
                self.respond(503, failures.NO_PEER)
            return
        self._destination = destination
        self._connect()

    def _connect(self) -> None:
        if self._finished:
            return
        found = self._destination.next_pool(self.env.now)
        if isinstance(found, Resolution):
            self._unresolved(found)
            return
        plan = cast(RoutePlan, self.plan)
        if plan.preserve_host and found.endpoint.tls is not None:
            found = plan.pool_for_host(found, self.host, self.env.pools)
        self._pool = found
        self.pool_has_room()

    def _unresolved(self, name: Resolution) -> None:
        if name.outcome is Outcome.UNKNOWN:
            name.wait(self._connect)
        elif name.outcome is Outcome.NOT_FOUND:
            self.respond(503, failures.NO_NAME)
        else:
            self.respond(500, f"failed the initial dns/balancer resolve for '{name.name}' with: {name.error}")

    def pool_has_room(self) -> None:
        """Take an idle connection, or open one, or wait for either."""
        if self._finished:
            return
        pool = cast(Pool, self._pool)
        env = self.env
        idle = pool.try_acquire()
        if idle is not None:
            self._reused = True
            env.slots[env.counters.upstream_reused] += 1
            self._send(cast(UpstreamConnection, idle))
        elif pool.may_dial():
            pool.dialling()
            self._reused = False
            env.loop.create_task(self._dial(pool))
        elif pool.try_wait(self):
            self.deadline = env.deadline_in(cast(RoutePlan, self.plan).connect_timeout_s)
        else:
            self._try_failed(Failure.POOL_FULL, "every connection of the pool is busy and its queue is full")

    async def _dial(self, pool: Pool) -> None:
        """Open a connection for this exchange; the only task in its life, and only when no idle connection was there."""
        env = self.env
        plan = cast(RoutePlan, self.plan)
        self._balanced = monotonic()
        try:
            connection = await env.dialer.dial(
                pool.endpoint,
                lambda: UpstreamConnection(pool, env.charset, env.limits.upstream_head_bytes_max),
                plan.connect_timeout_s,
            )
        except DialError as problem:
            pool.forget(None)
            if not self._finished:
                self._try_failed(Failure.CONNECT_TIMEOUT if problem.timed_out else Failure.CONNECT, str(problem))
            return
        env.slots[env.counters.upstream_opened] += 1
        if self._finished or connection.lost:
            self._spare(connection, pool)
            return
        self._send(connection)

    def _spare(self, connection: UpstreamConnection, pool: Pool) -> None:
        """The connection came too late for this exchange, or is gone already."""
        if connection.lost:
            if not self._finished:
                self._try_failed(Failure.CLOSED, "upstream closed the connection")
        elif not pool.release(connection, self.env.now):
            connection.close()

    def _send(self, connection: UpstreamConnection) -> None:
        """Write the request's head, and as much of its body as is here, in one write."""
        env = self.env
        self.upstream = connection
        self._balanced = now = monotonic()
        plan = cast(RoutePlan, self.plan)
        self.deadline = now + plan.read_timeout_s + env.sweep_period_s
        connection.begin(self)
        body = self._body
        if body is None:
            connection.transport.write(request_head(self, plan, self._destination))
            return
        framing = body.framing_line()
        connection.transport.write(request_head(self, plan, self._destination, framing) + body.opening())
        if not body.ended:
            self.client.resume_reading()

    def _try_failed(self, failure: Failure, detail: str) -> None:
        """One try is over without an answer: another one, or the error."""
        env = self.env
        env.slots[env.counters.upstream_failures] += 1
        connection, self.upstream = self.upstream, None
        self._pool = None
        self.deadline = NEVER
        if connection is not None:
            connection.detach()
            connection.close()
        if failure.status == 504:
            env.slots[env.counters.timeouts] += 1
        if not self._begun and self._may_retry(failure, connection):
            env.slots[env.counters.retries] += 1
            self._next_try()
        elif self._begun:
            self._abort_both()
        else:
            self.refuse(failure.status, failure.message, proxied=True)

    def _may_retry(self, failure: Failure, connection: UpstreamConnection | None) -> bool:
        """Whether another try is safe and left. One that died on a reused connection costs none (nginx)."""
        if failure.retry is Retry.NEVER:
            return False
        body = self._body
        if connection is not None:
            if failure.retry is Retry.IDEMPOTENT and self.method in failures.IDEMPOTENT_UNSAFE:
                return False
            if body is not None and not body.replayable:
                return False
        if failure is Failure.CLOSED and self._reused and self._spare_try:
            self._spare_try = False
            return True
        if self._tries_left <= 0:
            return False
        self._tries_left -= 1
        self._tried = (*self._tried, self._destination)
        return True

    def response_begins(self, head: ResponseHead, body: bytes, ended: bool) -> None:
        """The upstream's head and the body bytes that came with it: one write to the client."""
        self._first_byte = now = monotonic()
        self.status = head.status
        self.source = SOURCE_SERVICE
        client = self.client
        self._keep = keep = client.may_keep_alive(self.head)
        framing, body = self._response_framing(head, body, ended)
        if not keep or not self._keep:
            connection_line = CLOSE
        else:
            connection_line = KEEP_ALIVE
        env = self.env
        stamps = env.stamps
        self.proxy_ms = proxy_ms = int((self._balanced - self.started) * 1000)
        self.upstream_ms = upstream_ms = int((now - self._balanced) * 1000)
        data = b"".join(
            (
                b"HTTP/1.1 %d" % head.status,
                head.reason,
                b"\r\n",
                head.kept,
                framing,
                connection_line,
                b"" if head.has_date else env.clock.date_line,
                b"" if head.has_server else stamps.server,
                proxy_latencies(stamps, proxy_ms, upstream_ms),
                self._extra_lines(head),
                body,
            )
        )
        self._begun = True
        self.bytes_out += len(data)
        self.head_bytes_out = len(data) - len(body)
        if ended:
            self._finish_counted()
            client.transport.write(data)
            self._finish()
            return
        self.deadline = now + cast(RoutePlan, self.plan).read_timeout_s + env.sweep_period_s
        client.transport.write(data)

    def _extra_lines(self, head: ResponseHead) -> bytes:
        """Via, request id, and what is rarely switched on; ends with the empty line."""
        stamps = self.env.stamps
        via = stamps.via
        if head.via is not None:
            via = b"Via: %b, %b\r\n" % (head.via, stamps.via_value) if via else b"Via: %b\r\n" % head.via
        identity = b"X-Kong-Request-Id: %b\r\n\r\n" % self.request_id if stamps.request_id else b"\r\n"
        if stamps.upstream_status:
            via += b"X-Kong-Upstream-Status: %d\r\n" % head.status
        if self.env.debug_header:
            via += self._debug_lines()
        return via + identity

    def _debug_lines(self) -> bytes:
        plan = self.plan
        if plan is None or Fields(self.head.raw).first(b"kong-debug") is None:
            return b""
        return plan.debug_lines

    def _response_framing(self, head: ResponseHead, body: bytes, ended: bool) -> tuple[bytes, bytes]:
        """How the client sees the body end, and the first of it framed that way (proxying contract, section 2)."""
        self._until_close = False
        if head.status in (204, 304) or self.method == b"HEAD":
            if head.content_length >= 0:
                return content_length_line(head.content_length), body
            return (CHUNKED if head.chunked and self.head.minor else b""), body
        if head.content_length >= 0:
            return content_length_line(head.content_length), body
        if head.chunked and not self.chunks_as_payload:
            return CHUNKED, body
        if ended:
            return content_length_line(len(body)), body
        if self.head.minor == 0:
            self._keep = False
            return b"", body
        self._until_close = True
        return CHUNKED, chunk(body)

    def response_goes_on(self, data: bytes, ended: bool) -> None:
        """More of the body."""
        if self._until_close:
            data = chunk(data) + (LAST_CHUNK if ended else b"")
        self.bytes_out += len(data)
        client = self.client
        if ended:
            self._finish_counted()
            if data:
                client.transport.write(data)
            self._finish()
            return
        env = self.env
        self.deadline = env.now + cast(RoutePlan, self.plan).read_timeout_s + 2 * env.sweep_period_s
        client.transport.write(data)

    def response_interim(self, head: ResponseHead) -> None:
        """103 and its like go to clients of HTTP/1.1 (ours: Kong swallows them)."""
        if self.head.minor == 1 and not self._begun:
            self.client.transport.write(b"HTTP/1.1 %d%b\r\n%b\r\n" % (head.status, head.reason, head.kept))

    def response_switches(self, head: ResponseHead, rest: bytes) -> None:
        """101. Believed only when a WebSocket upgrade was asked for; then both connections become a tunnel."""
        agreed = (head.upgrade or b"").lower() == b"websocket"
        if not self.head.websocket or not agreed or (self._body is not None and not self._body.ended):
            self._try_failed(Failure.INVALID, "upstream switched protocols unasked")
            return
        env = self.env
        upstream = cast(UpstreamConnection, self.upstream)
        self.status, self.source, self._begun, self._switched = 101, SOURCE_SERVICE, True, True
        self._keep = False
        stamps = env.stamps
        lines = proxy_latencies(
            stamps, int((self._balanced - self.started) * 1000), int((monotonic() - self._balanced) * 1000)
        )
        data = b"HTTP/1.1 101%b\r\n%bUpgrade: %b\r\nConnection: upgrade\r\n%b%b%b%b" % (
            head.reason,
            head.kept,
            head.upgrade or b"",
            b"" if head.has_date else env.clock.date_line,
            b"" if head.has_server else stamps.server,
            lines,
            self._extra_lines(head),
        )
        self.bytes_out += len(data)
        self._count()
        self.client.transport.write(data)
        tunnel = Tunnel(self.client.transport, upstream.transport, self._tunnel_ended)
        self.deadline = self._tunnel_deadline()
        self.client.open_tunnel(tunnel)
        if rest:
            tunnel.from_upstream(rest)

    def tunnel_data(self, data: bytes) -> None:
        """Opaque bytes of the upstream."""
        if self.client.tunnel is not None:
            self.client.tunnel.from_upstream(data)

    def tunnel_eof(self) -> bool:
        """The upstream ended its side of the tunnel."""
        return self.client.tunnel.upstream_eof() if self.client.tunnel is not None else False

    def _tunnel_deadline(self) -> float:
        plan = cast(RoutePlan, self.plan)
        return self.env.deadline_in(min(plan.read_timeout_s, plan.write_timeout_s))

    def _tunnel_ended(self) -> None:
        client = self.client
        if client.tunnel is not None:
            self.bytes_out += client.tunnel.bytes_out
            client.tunnel = None
        self._finish()

    def response_fails(self, detail: str, *, invalid: bool) -> None:
        """The upstream broke off, or sent what cannot be trusted."""
        if self._finished:
            return
        if self._switched:
            if self.client.tunnel is not None:
                self.client.tunnel.close()
            return
        self._try_failed(Failure.INVALID if invalid else Failure.CLOSED, detail)

    def client_writable(self, writable: bool) -> None:
        """The client's buffer filled or drained: the upstream's reading follows."""
        upstream = self.upstream
        if upstream is None or upstream.lost or upstream.transport.is_closing():
            return
        if writable:
            upstream.transport.resume_reading()
            self.deadline = self.env.deadline_in(cast(RoutePlan, self.plan).read_timeout_s)
        else:
            # a slow client is the client's deadline, not the upstream's
            self.deadline = NEVER
            upstream.transport.pause_reading()

    def upstream_writable(self, writable: bool) -> None:
        """The upstream's buffer filled or drained: the client's reading follows."""
        plan = cast(RoutePlan, self.plan)
        if self.client.tunnel is not None:
            self.client.tunnel.upstream_writable(writable)
        elif writable:
            self.deadline = self.env.deadline_in(plan.read_timeout_s)
            self.client.resume_reading()
        else:
            self.deadline = self.env.deadline_in(plan.write_timeout_s)
            self.client.pause_reading()

    def on_deadline(self) -> None:
        """The upstream took too long; called by the sweep."""
        self.deadline = NEVER
        tunnel = self.client.tunnel
        if tunnel is not None:
            if tunnel.active:
                tunnel.active = False
                self.deadline = self._tunnel_deadline()
            else:
                tunnel.abort()
            return
        if self.upstream is None:
            if self._pool is not None:
                self._pool.stop_waiting(self)
            self._try_failed(Failure.CONNECT_TIMEOUT, "no connection of the pool became free")
            return
        body = self._body
        if body is not None and not body.ended and not self._begun:
            # the upstream waits for a body that the client still sends: the client's deadline counts
            self.deadline = self.env.deadline_in(cast(RoutePlan, self.plan).read_timeout_s)
            return
        self._try_failed(Failure.TIMEOUT, "upstream sent nothing in time")

    def client_gone(self) -> None:
        """The client left; its request is aborted upstream and counted as 499."""
        if self._finished:
            return
        env = self.env
        env.slots[env.counters.client_aborts] += 1
        if not self._begun:
            self.status, self.source = CLIENT_CLOSED, SOURCE_KONG
        self._keep = False
        self._drop_upstream()
        self._finish_counted()
        self._finish()

    def _abort_both(self) -> None:
        """The answer broke off in its middle: cut the client's connection, so that it can tell."""
        self._keep = False
        self._drop_upstream()
        self._finish_counted()
        self.client.abort()
        self._finish()

    def _drop_upstream(self) -> None:
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.detach()
            upstream.close()
        elif self._pool is not None:
            self._pool.stop_waiting(self)

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
        if status < 500 or status in failures.NGINX_PAGES:
            self.head.keep_alive = False
        if (fields.first(b"content-type") or b"").startswith(b"application/grpc"):
            # Kong's handler leaves the request id out for gRPC clients, whose errors travel in fields
            body = b'{"message":"%b"}' % message.encode()
            self._respond_bytes(status, body, b"application/json; charset=utf-8", b"", proxied=proxied)
            return
        self._respond_error(status, message, media_type, b"", proxied=proxied)

    def _respond_error(
        self, status: int, message: str, media_type: str, lines: bytes, *, proxied: bool = False
    ) -> None:
        body = self.env.pages.body(media_type, message, self.request_id)
        content_type = f"{media_type}; charset=utf-8".encode()
        self._respond_bytes(status, body, content_type, lines, proxied=proxied)

    def _respond_bytes(
        self, status: int, body: bytes, content_type: bytes | None, lines: bytes, *, proxied: bool = False
    ) -> None:
        """Write a whole answer of ours and end."""
        if self._finished:
            return
        env = self.env
        stamps = env.stamps
        self._drop_upstream()
        self.status, self.source = status, SOURCE_KONG
        now = monotonic()
        if proxied:
            balanced = self._balanced or now
            self.proxy_ms = int((balanced - self.started) * 1000)
            self.upstream_ms = int((now - balanced) * 1000)
            latencies = proxy_latencies(stamps, self.proxy_ms, self.upstream_ms)
        else:
            self.proxy_ms = int((now - self.started) * 1000)
            latencies = response_latency(self.proxy_ms) if stamps.response_latency else b""
        identity = b"X-Kong-Request-Id: %b\r\n" % self.request_id if stamps.request_id else b""
        client = self.client
        self._keep = client.may_keep_alive(self.head)
        data = own_response(
            status,
            body,
            content_type,
            date_line=env.clock.date_line,
            lines=b"".join((lines, stamps.server, latencies, identity)),
            keep_alive=self._keep,
            head_only=self.method == b"HEAD",
        )
        self._begun = True
        self.bytes_out += len(data)
        self.head_bytes_out = len(data) - (0 if self.method == b"HEAD" else len(body))
        self._finish_counted()
        if not client.transport.is_closing():
            client.transport.write(data)
        self._finish()

    def _finish_counted(self) -> None:
        """Count the exchange, once, before its last byte leaves."""
        if not self._switched:
            self._count()

    def _count(self) -> None:
        plan = self.plan
        if plan is None:
            return
        env = self.env
        row = plan.row
        code_source = self.status * 2 + self.source
        index = row.codes.get(code_source)
        env.slots[row.add_code(code_source) if index is None else index] += 1

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
            usable = upstream.reusable and (body is None or body.ended)
            upstream.detach()
            if not usable or not upstream.pool.release(upstream, env.now):
                upstream.close()
        if env.access_log is not None:
            env.access_log.record(self)
        self._body = None
        self._pool = None
        client = self.client
        if client.exchange is self:
            client.exchange_ended(self._keep)
