"""One request and its response: routing, the response's way to the client, the tunnel after 101.

In: a request head and its body as it comes; what the upstream answers.  Out: bytes to both sides.
House rules: an exchange keeps the snapshot it began with. Three layers make one object: `answers` (how it ends), `tries` (how the
request gets to an upstream), and this one (what begins it, and the response). Nothing here reads a setting or waits.
Hot: `begin`, `response_begins`, `response_goes_on`. Everything else is for the rarer kinds of answers.
Source: Kong's proxying contract, sections 1 to 6 and 8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from kongdp._join import join
from kongdp._monotonic import monotonic
from kongdp.http1 import target
from kongdp.http1.head import is_host
from kongdp.http1.messages import Fields, RequestHead, ResponseHead
from kongdp.http1.writer import CHUNKED, CLOSE, KEEP_ALIVE, LAST_CHUNK, chunk, content_length_line
from kongdp.proxy import failures
from kongdp.proxy.answers import HELD, NEVER, NOT_TRYING, Client
from kongdp.proxy.environment import Environment
from kongdp.proxy.failures import Failure
from kongdp.proxy.forward import effective_host
from kongdp.proxy.plan import RoutePlan
from kongdp.proxy.plugin_run import for_request
from kongdp.proxy.relay import RequestBody
from kongdp.proxy.respond import proxy_latencies
from kongdp.proxy.tries import JOINED_BYTES_MAX, Tries
from kongdp.proxy.tunnel import Tunnel
from kongdp.proxy.ways import RouteTable, Way
from kongdp.telemetry.counters import SOURCE_SERVICE
from kongdp.upstream.connection import UpstreamConnection

if TYPE_CHECKING:
    from kongdp.proxy.plugin_chain import RoutePlugins
    from kongdp.proxy.snapshot import Snapshot
    from kongdp.routing.route import Match

NAMELESS = b"kong"

_JOINED = JOINED_BYTES_MAX

_REFUSED_METHODS = frozenset((b"TRACE", b"CONNECT"))
"""An answer to CONNECT begins a tunnel, wherever the upstream reads it so: nothing of it may be forwarded."""

_REQUEST_ID = b"X-Kong-Request-Id: "
_END = b"\r\n"
_HEAD_END = b"\r\n\r\n"
_HTTPS_LINES = b"Connection: Upgrade\r\nUpgrade: TLS/1.2, HTTP/1.1\r\n"


class Exchange(Tries):
    """One request and its response. Made by a DownstreamConnection; ends by telling it `exchange_ended`."""

    __slots__ = ("_until_close",)

    _until_close: bool

    @classmethod
    def refused(cls, env: Environment, client: Client, started: float, raw: bytes) -> Exchange:
        """The exchange of a head nobody can trust: it exists to be answered, counted and logged."""
        head = RequestHead(raw[: raw.find(b"\r\n\r\n") + 4] if b"\r\n\r\n" in raw else raw)
        head.method, _, rest = raw[:8192].partition(b"\r\n")[0].partition(b" ")
        head.target = rest.partition(b" ")[0] or b"/"
        head.kept = b""
        head.keep_alive = False
        exchange = cls.__new__(cls)
        exchange.take_on(env, client, head, started)
        exchange.raw_path, exchange.query = head.target, b""
        client.exchange = exchange
        return exchange

    def begin(self) -> None:
        """Route the request and start it on its way."""
        head = self.head
        client = self.client
        table = self.env.snapshot
        host = head.host
        if head.path:
            # PERF: no question about the target was left open: 61,800 -> 50,800 instructions an exchange, valgrind
            self.raw_path, self.query = head.path, head.query
            named = host
        else:
            authority = self._read_target()
            if authority is None:
                return
            named = authority or host
        if named is None:
            # a client of HTTP/1.0 may name no host; nginx's $host is the server's name then
            named = NAMELESS
        if named == client.host_field:
            # PERF: one client speaks to one host, mostly; this copy of its name has its hash already
            if host is not None and named is host:
                host = client.host_field
        else:
            effective = effective_host(named)
            if effective is None:
                self.refuse(400, "Bad request")
                return
            client.host_field, client.host = named, effective
        self.host = client.host
        way = table.ways.get((self.method, host or b"", self.raw_path))
        if way is None:
            if not head.is_plain and self._refuses_target():
                return
            self.path = self.raw_path if head.is_plain else target.normalize(self.raw_path)
        else:
            self.path = way.path
        if head.content_length > 0 and self._refuses_length():
            return
        if table.rewrites:
            self.plugins = for_request(self, table)
            self.plugins.rewrite()
        if way is None:
            way = self._find_way(table, host or b"")
            if way is None:
                return
        self.way = way
        self.plan = plan = way.plan
        self.upstream_path = way.upstream_path + self.query if self.query else way.upstream_path
        if plan.gated and self._gate(plan):
            return
        if plan.plugins is not None and self._enter_plugins(plan.plugins, table, way.match):
            return
        self._prepare_tries(plan)
        if head.has_body:
            self._await_body(plan)
        else:
            self._next_try()

    def _find_way(self, table: RouteTable, host: bytes) -> Way | None:
        """Match the request; None when it was answered because no route does."""
        head = self.head
        client = self.client
        path = self.path
        match = table.router.match(
            head.method, host, path, head.fields, scheme=client.scheme, sni=client.sni, port=client.port
        )
        if match is None:
            env = self.env
            env.slots[env.counters.unrouted_total] += 1
            self.respond(404, failures.NO_ROUTE)
            return None
        plan = table.plan(match.route_id)
        prefix = match.prefix if plan.strip_path and match.prefix != b"/" else b""
        upstream_path = target.escape(plan.upstream_path(path, match.prefix_length))
        way = Way(match, plan, path, prefix, upstream_path)
        table.remember(head.method, host, self.raw_path, way)
        return way

    def _read_target(self) -> bytes | None:
        """Take the request-target apart; the authority of one in absolute form, else b"", or None when it was refused."""
        head = self.head
        raw = head.target
        if raw[:1] == b"/":
            self.raw_path, self.query = target.split(raw)
            return b""
        parsed = target.parse(raw, head.method)
        self.raw_path, self.query = raw, b""
        if parsed is None or parsed.form is not target.Form.ABSOLUTE or not is_host(parsed.authority):
            self.refuse(400, "Bad request")
            return None
        self.raw_path, self.query = parsed.path, parsed.query
        return parsed.authority

    def _refuses_target(self) -> bool:
        """Whether the path or the method is one that is never routed; the request was answered then."""
        if target.is_refused(self.raw_path):
            self.refuse(400, "Bad request")
            return True
        if self.method in _REFUSED_METHODS:
            self.refuse(405, "Method not allowed")
            return True
        return False

    def _refuses_length(self) -> bool:
        """Whether the declared body is too large, wherever it would go: nginx looks before Kong routes. The request was answered then."""
        limit = self.env.limits.body_bytes_max
        if not limit or self.head.content_length <= limit:
            return False
        self.refuse(413, "Payload too large")
        return True

    def _await_body(self, plan: RoutePlan) -> None:
        """A body may come with its head, so wait for the rest of this read: `request_body` starts the way upstream."""
        head = self.head
        limits = self.env.limits
        bound = limits.body_buffer_bytes if plan.request_buffering else limits.stream_buffer_bytes
        self._body = RequestBody(-1 if head.chunked else head.content_length, bound)
        if not plan.request_buffering:
            self.env.loop.call_soon(self._start_streaming)

    def _enter_plugins(self, plugins: RoutePlugins, table: Snapshot, match: Match) -> bool:
        """Whether plugins answered the request, or hold it for now."""
        run = self.plugins
        if run is None:
            run = self.plugins = for_request(self, table)
        return run.enter(plugins, match)

    def hold(self) -> bool:
        """A plugin waits before it lets the request pass; meanwhile its body is held. False when it is over already."""
        plan = cast(RoutePlan, self.plan)
        self._prepare_tries(plan)
        self._phase = HELD
        if self.head.has_body:
            self._await_body(plan)
        return not self._finished

    def release(self) -> None:
        """Plugins let the request pass."""
        if self._finished:
            return
        self._phase = NOT_TRYING
        body = self._body
        if body is None or body.ended or body.full or not cast(RoutePlan, self.plan).request_buffering:
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
        if plan.unserved and plan.plugins is None:
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
        self.respond_with(plan.redirect_status, b"", b"text/html", location)

    def response_begins(self, head: ResponseHead, body: bytes | memoryview, ended: bool) -> None:
        """The upstream's head and the body bytes that came with it: one write to the client."""
        now = monotonic()
        self.status = head.status
        self.source = SOURCE_SERVICE
        if self.plugins is not None:
            body = self.plugins.response_begins(head, bytes(body), ended)
        client = self.client
        self._keep = client.may_keep_alive(self.head)
        framing, body = self._response_framing(head, body, ended)
        connection_line = KEEP_ALIVE if self._keep else CLOSE
        env = self.env
        stamps = env.stamps
        self.proxy_ms = proxy_ms = int((self._balanced - self.started) * 1000)
        self.upstream_ms = upstream_ms = int((now - self._balanced) * 1000)
        # PERF: a long body is not copied behind its head: the transport sends both with one system call
        count = len(body)
        apart = count > _JOINED
        identity = self.request_id if stamps.request_id else b""
        data = join(
            (
                head.line,
                head.kept,
                framing,
                connection_line,
                b"" if head.has_date else env.clock.date_line,
                b"" if head.has_server else stamps.server,
                proxy_latencies(stamps, proxy_ms, upstream_ms),
                stamps.via
                if head.via is None and not stamps.upstream_status and not env.debug_header
                else self._marks(head),
                _REQUEST_ID if identity else b"",
                identity,
                _HEAD_END if identity else _END,
                b"" if apart else body,
            )
        )
        self._begun = True
        self.head_bytes_out = len(data) if apart else len(data) - count
        self.bytes_out += self.head_bytes_out + count
        if ended:
            self._count()
            client.transport.write(data)
            if apart:
                client.transport.write(body)
            self._finish()
            return
        plan = self.plan
        assert plan is not None
        if not self._blocked:
            self.deadline = now + plan.read_timeout_s + env.sweep_period_s
        if client.reads_ahead is not plan.response_buffering:
            client.read_ahead(plan.response_buffering)
        client.transport.write(data)
        if apart:
            client.transport.write(body)

    def _marks(self, head: ResponseHead) -> bytes:
        """Via, and what is rarely switched on."""
        stamps = self.env.stamps
        via = stamps.via
        if head.via is not None:
            via = b"Via: %b, %b\r\n" % (head.via, stamps.via_value) if via else b"Via: %b\r\n" % head.via
        if stamps.upstream_status:
            via += b"X-Kong-Upstream-Status: %d\r\n" % head.status
        if self.env.debug_header:
            via += self._debug_lines()
        return via

    def _debug_lines(self) -> bytes:
        plan = self.plan
        if plan is None or Fields(self.head.raw).first(b"kong-debug") is None:
            return b""
        return plan.debug_lines

    def _response_framing(
        self, head: ResponseHead, body: bytes | memoryview, ended: bool
    ) -> tuple[bytes, bytes | memoryview]:
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
        return CHUNKED, chunk(bytes(body))

    def response_goes_on(self, data: bytes, ended: bool) -> None:
        """More of the body."""
        if self.plugins is not None:
            data = self.plugins.filter_body(data, ended)
        if self._until_close:
            data = chunk(data) + (LAST_CHUNK if ended else b"")
        self.bytes_out += len(data)
        client = self.client
        if ended:
            self._count()
            if data:
                client.transport.write(data)
            self._finish()
            return
        if not self._blocked:
            env, plan = self.env, self.plan
            assert plan is not None
            self.deadline = env.now + plan.read_timeout_s + 2 * env.sweep_period_s
        client.transport.write(data)

    def response_interim(self, head: ResponseHead) -> None:
        """103 and its like go to clients of HTTP/1.1 (ours: Kong swallows them); 100 was answered by us already."""
        if not self._blocked:
            self.deadline = self.env.deadline_in(cast(RoutePlan, self.plan).read_timeout_s)
        if head.status != 100 and self.head.minor == 1:
            data = head.line + head.kept + b"\r\n"
            self.bytes_out += len(data)
            self.client.transport.write(data)

    def response_switches(self, head: ResponseHead, rest: bytes) -> None:
        """101. Believed only when a WebSocket upgrade was asked for; then both connections become a tunnel."""
        agreed = (head.upgrade or b"").lower() == b"websocket"
        if not self.head.websocket or not agreed or (self._body is not None and not self._body.ended):
            self._try_failed(Failure.INVALID, "upstream switched protocols unasked")
            return
        env = self.env
        stamps = env.stamps
        self.status, self.source, self._begun, self._keep = 101, SOURCE_SERVICE, True, False
        self.proxy_ms = int((self._balanced - self.started) * 1000)
        self.upstream_ms = int((monotonic() - self._balanced) * 1000)
        if self.plugins is not None:
            self.plugins.response_begins(head, b"", True)
        data = b"%b%bUpgrade: %b\r\nConnection: upgrade\r\n%b%b%b%b%b\r\n" % (
            head.line,
            head.kept,
            head.upgrade or b"",
            b"" if head.has_date else env.clock.date_line,
            b"" if head.has_server else stamps.server,
            proxy_latencies(stamps, self.proxy_ms, self.upstream_ms),
            self._marks(head),
            b"X-Kong-Request-Id: %b\r\n" % self.request_id if stamps.request_id else b"",
        )
        self.bytes_out += len(data)
        self.head_bytes_out = len(data)
        self._count()
        self._switched = True
        upstream = cast(UpstreamConnection, self.upstream)
        # before the first write: backpressure must find the tunnel
        row = cast(RoutePlan, self.plan).row
        tunnel = self.client.tunnel = Tunnel(
            self.client.transport, upstream, self._tunnel_ended, env.slots, row.ingress, row.egress
        )
        self.deadline = env.deadline_in(cast(RoutePlan, self.plan).read_timeout_s)
        self.client.transport.write(data)
        self.client.tunnel_opened()
        if rest:
            tunnel.from_upstream(rest)

    def tunnel_data(self, data: bytes) -> None:
        """Opaque bytes of the upstream."""
        if self.client.tunnel is not None:
            self.client.tunnel.from_upstream(data)

    def tunnel_eof(self) -> bool:
        """The upstream ended its side of the tunnel."""
        return self.client.tunnel.upstream_eof() if self.client.tunnel is not None else False

    def _tunnel_ended(self) -> None:
        client = self.client
        if client.tunnel is not None:
            # the exchange was counted at its 101, the tunnel's bytes as they passed: these are for the log
            self.bytes_in += client.tunnel.bytes_in
            self.bytes_out += client.tunnel.bytes_out
            client.tunnel = None
        self._finish()

    def response_fails(self, detail: str, *, invalid: bool) -> None:
        """The upstream broke off, or sent what cannot be trusted."""
        if self._finished:
            return
        if self._switched:
            if self.client.tunnel is not None:
                self.client.tunnel.upstream_lost()
                self.deadline = self.env.deadline_in(cast(RoutePlan, self.plan).write_timeout_s)
            return
        self._try_failed(Failure.INVALID if invalid else Failure.CLOSED, detail)

    def client_writable(self, writable: bool) -> None:
        """The client's buffer filled or drained: the upstream's reading follows."""
        upstream = self.upstream
        if upstream is None:
            return
        if writable:
            upstream.resume_reading()
            if not self._blocked:
                self.deadline = self.env.deadline_in(cast(RoutePlan, self.plan).read_timeout_s)
        else:
            if not self._blocked:
                # a slow client is the client's deadline, not the upstream's
                self.deadline = NEVER
            upstream.pause_reading()

    def on_deadline(self) -> None:
        """Something took too long; called by the sweep."""
        self.deadline = NEVER
        tunnel = self.client.tunnel
        if tunnel is None:
            self._try_takes_too_long()
            return
        plan = cast(RoutePlan, self.plan)
        due = tunnel.idle_until(plan.read_timeout_s, plan.write_timeout_s)
        if due > self.env.now:
            self.deadline = due
        else:
            tunnel.abort()
