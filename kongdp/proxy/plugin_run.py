"""The plugins of one exchange at work: what handlers see (ExchangeView), and their phases run in order.

In: an exchange that has its plan, and the snapshot it began with.  Out: an answer in the upstream's place, or edits of the request;
later edits of the response, and word of the end.
House rules: made only for an exchange whose route (or, without one, whose configuration) has plugins; any other one has None here.
An error of a handler in access answers 500, anywhere else it is logged and passed over: a plugin boundary. Access runs at once, in
the callback that brought the request; only where a handler waits it runs in a task, which ends with the exchange.
Hot for routes with plugins. Source: Kong's proxying contract, sections 6 and 7; spec of bundled plugins, section 1.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from kongdp.http1.messages import NO_LENGTH, ResponseHead
from kongdp.plugins.base import ACCESS, BODY_FILTER, HEADER_FILTER, LOG, Answer, Handler, RequestFacts, error
from kongdp.plugins.entries import text
from kongdp.plugins.fields import REQUEST_FIXED, RESPONSE_FIXED, FieldLines
from kongdp.proxy import failures
from kongdp.proxy.plugin_chain import NO_HANDLERS, Chain, RoutePlugins

if TYPE_CHECKING:
    from kongdp.entities.model import Consumer, Route, Service
    from kongdp.plugins.base import Credential, Secrets
    from kongdp.plugins.identities import Identities
    from kongdp.proxy.answers import Answers
    from kongdp.proxy.exchange import Exchange
    from kongdp.proxy.snapshot import Snapshot
    from kongdp.routing.route import Captures, Match
    from kongdp.telemetry.counters import ConsumerCounters

log = logging.getLogger("kongdp.plugins")

CRASHED = error(500, failures.UNEXPECTED)
"""What the client gets when a handler fails in access."""

_START = b"HTTP/1.1 000\r\n"
"""Stands for a start line before response lines: what reads a head begins behind the first line."""


_NO_RESPONSE = FieldLines(_START, RESPONSE_FIXED)
"""What handlers of log see where there was none."""


class PluginRun:
    """One exchange's plugins. Attributes without underscore are the ExchangeView of handlers."""

    __slots__ = (
        "_body_limit",
        "_body_wanted",
        "_chain",
        "_exchange",
        "_match",
        "_task",
        "consumer",
        "credential",
        "groups",
        "host_line",
        "identities",
        "kept",
        "notes",
        "query",
        "request_fields",
        "response_fields",
        "snapshot",
        "tries",
        "upstream_path",
    )

    def __init__(self, exchange: Answers, snapshot: Snapshot, chain: Chain) -> None:
        head = exchange.head
        self._exchange = exchange
        self._chain = chain
        self._match: Match | None = None
        self._task: asyncio.Task[None] | None = None
        self._body_limit: tuple[int, Answer] | None = None
        self._body_wanted: asyncio.Future[None] | None = None
        self.query = exchange.query[1:]
        self.snapshot = snapshot
        self.identities: Identities = snapshot.identities
        self.consumer: Consumer | None = None
        self.credential: Credential | None = None
        self.groups: tuple[str, ...] | None = None
        self.notes: dict[str, Any] = {}
        self.tries: list[dict[str, Any]] = []
        self.request_fields = FieldLines(head.raw, REQUEST_FIXED)
        self.response_fields = _NO_RESPONSE
        self.upstream_path = b""
        # what the head for the upstream is made of
        self.kept = head.kept
        self.host_line = b""

    @property
    def facts(self) -> RequestFacts:
        """Numbers of the exchange."""
        return self._exchange

    @property
    def method(self) -> bytes:
        """The method sent to the upstream; a handler may set another one."""
        return self._exchange.method

    @method.setter
    def method(self, value: bytes) -> None:
        self._exchange.method = value

    @property
    def scheme(self) -> bytes:
        """b"http" or b"https": how the client came."""
        return self._exchange.client.scheme

    @property
    def host(self) -> bytes:
        """The Host without port, in lower case."""
        return self._exchange.host

    @property
    def port(self) -> int:
        """The port the client sees."""
        return self._exchange.client.port

    @property
    def path(self) -> bytes:
        """The normalised path."""
        return self._exchange.path

    @property
    def raw_path(self) -> bytes:
        """The path as the client sent it."""
        return self._exchange.raw_path

    @property
    def client_ip(self) -> str:
        """Where the request comes from, after real-ip processing."""
        exchange = self._exchange
        return exchange.client.address.client(exchange.head, exchange.env.trust)

    @property
    def request_id(self) -> bytes:
        """32 hexadecimal digits."""
        return self._exchange.request_id

    @property
    def secrets(self) -> Secrets:
        """What logs must not show."""
        return self.snapshot.plugins.secrets

    @property
    def connection(self) -> tuple[str, int, int, int]:
        """The node's address and port, the number of the client's connection, and how many requests it has had."""
        client = self._exchange.client
        name = client.transport.get_extra_info("sockname")
        address, port = (name[0], name[1]) if isinstance(name, tuple) else ("unix:", 0)
        return address, port, client.number, client.requests

    @property
    def target(self) -> bytes:
        """Path and query as the client sent them."""
        return self._exchange.raw_path + self._exchange.query

    @property
    def tls(self) -> dict[str, str] | None:
        """Version and cipher of the client's connection."""
        secure = self._exchange.client.transport.get_extra_info("ssl_object")
        if secure is None:
            return None
        cipher = secure.cipher()
        return {"version": secure.version() or "", "cipher": cipher[0] if cipher else "", "client_verify": "NONE"}

    @property
    def route(self) -> Route | None:
        """The route that was matched."""
        plan = self._exchange.plan
        return self.snapshot.entities.all("routes").get(plan.route_id) if plan is not None else None

    @property
    def service(self) -> Service | None:
        """Its service."""
        plan = self._exchange.plan
        return self.snapshot.entities.all("services").get(plan.service_id or "") if plan is not None else None

    @property
    def captures(self) -> dict[str, str]:
        """What the path's regular expression captured."""
        found = self._match.captures if self._match is not None else None
        return _captures(found) if found is not None else {}

    @property
    def status(self) -> int:
        """The response's status, from header_filter on."""
        return self._exchange.status

    def rewrite(self) -> None:
        """Run what global plugins do before routing."""
        for handler in self.snapshot.plugins.rewrites:
            try:
                handler.rewrite(self)
            except Exception:  # a plugin boundary
                _complain(handler, "rewrite")

    def enter(self, plugins: RoutePlugins, match: Match) -> bool:
        """Run access. Whether the exchange goes on from elsewhere: it was answered, or a handler waits."""
        exchange = cast("Exchange", self._exchange)
        self._match = match
        # the exchange's own upstream path ends with the query
        self.upstream_path = exchange.upstream_path[: len(exchange.upstream_path) - len(exchange.query)]
        if plugins.has_body_filters:
            exchange.chunks_as_payload = True
        if plugins.waits:
            if exchange.hold():
                self._task = exchange.env.loop.create_task(self._access_waiting(plugins))
            return True
        answer: Answer | None = None
        fixed = plugins.fixed
        if fixed is not None:
            self._chain = fixed
        for handler in self._turns(plugins) if fixed is None else fixed.access:
            if answer is None:
                try:
                    answer = handler.access(self)
                except Exception:  # a plugin boundary
                    answer = _crashed(handler)
        return not self._passes(answer)

    async def _access_waiting(self, plugins: RoutePlugins) -> None:
        """As `enter` where a handler waits. Cancelled when the exchange ends meanwhile."""
        answer: Answer | None = None
        for handler in self._turns(plugins):
            if answer is None:
                try:
                    answer = await handler.access_waiting(self) if handler.waits else handler.access(self)
                except Exception:  # a plugin boundary
                    answer = _crashed(handler)
        self._task = None
        if self._passes(answer):
            cast("Exchange", self._exchange).release()

    def _turns(self, plugins: RoutePlugins) -> Iterator[Handler]:
        """The handlers in order; where consumers have their own, the one known at that moment decides. To be taken to its end."""
        if plugins.fixed is not None:
            self._chain = plugins.fixed
            yield from plugins.fixed.access
            return
        found: list[Handler] = []
        for slot in plugins.slots:
            handler = slot.pick(self.consumer.id if self.consumer is not None else None)
            if handler is not None:
                found.append(handler)
                yield handler
        self._chain = Chain.of(found)

    def _passes(self, answer: Answer | None) -> bool:
        """Whether the request goes to its upstream; else it was answered."""
        exchange = self._exchange
        if answer is not None:
            self._answer(answer)
            return False
        if exchange.plan is not None and exchange.plan.unserved:
            exchange.respond(503, failures.NO_SERVICE)
            return False
        fields = self.request_fields
        if fields.edited:
            self.kept = fields.render(exchange.head.kept)
        if fields.host is not None:
            self.host_line = b"Host: %b\r\n" % fields.host
        exchange.upstream_path = self.upstream_path + b"?" + self.query if self.query else self.upstream_path
        return True

    def _answer(self, answer: Answer) -> None:
        exchange = self._exchange
        lines = b"".join([b"%b: %b\r\n" % line for line in answer.fields])
        if answer.message is not None:
            exchange.respond(answer.status, answer.message, lines=lines)
        else:
            exchange.respond_with(answer.status, answer.body, answer.content_type, lines, proxied=answer.proxied)

    async def body(self) -> bytes | None:
        """The whole request body, b"" where there is none; None when it is longer than what is held (body_buffer_bytes)."""
        body = self._exchange.request_body_held
        if body is None:
            return b""
        while not body.ended and not body.full:
            self._body_wanted = self._exchange.env.loop.create_future()
            await self._body_wanted
        return body.whole() if body.ended else None

    def replace_body(self, body: bytes) -> None:
        """Send this to the upstream instead of what the client sent."""
        self._exchange.replace_request_body(body)

    def limit_body(self, bytes_max: int, answer: Answer) -> None:
        """End the request with `answer` when more of its body has come."""
        if self._body_limit is None or bytes_max < self._body_limit[0]:
            self._body_limit = bytes_max, answer

    def body_is_too_long(self, count: int) -> bool:
        """Whether a body of `count` bytes so far ended the request."""
        limit = self._body_limit
        if limit is None or count <= limit[0]:
            return False
        self._answer(limit[1])
        return True

    def body_came(self) -> None:
        """More of the request's body is here; called while access waits."""
        wanted, self._body_wanted = self._body_wanted, None
        if wanted is not None and not wanted.done():
            wanted.set_result(None)

    def response_begins(self, head: ResponseHead, body: bytes, ended: bool) -> bytes:
        """Run header_filter over the upstream's head, in place, and body_filter over the body's beginning."""
        chain = self._chain
        if chain.header_filters:
            fields = self.response_fields = FieldLines(_START + head.kept, RESPONSE_FIXED)
            self._filter_header()
            if fields.edited:
                head.kept = fields.render(head.kept)
                if fields.takes_out:
                    head.has_server = head.has_server and b"server" in fields
                    head.has_date = head.has_date and b"date" in fields
        elif chain.logs:
            self.response_fields = FieldLines(_START + head.kept, RESPONSE_FIXED)
        if not chain.body_filters:
            return body
        if chain.alters_body:
            head.content_length = NO_LENGTH
        return self.filter_body(body, ended)

    def filter_own(self, body: bytes, content_type: bytes | None, lines: bytes) -> tuple[bytes, bytes]:
        """Run header_filter and body_filter over an answer of the gateway's own: the body, and all lines but the gateway's stamps."""
        lines = b"Content-Type: %b\r\n%b" % (content_type, lines) if content_type else lines
        fields = self.response_fields = FieldLines(_START + lines, RESPONSE_FIXED)
        self._filter_header()
        return self.filter_body(body, True), fields.render(lines)

    def _filter_header(self) -> None:
        for handler in self._chain.header_filters:
            try:
                handler.header_filter(self)
            except Exception:  # a plugin boundary
                _complain(handler, HEADER_FILTER)

    def filter_body(self, data: bytes, ended: bool) -> bytes:
        """One piece of the response's body, as handlers leave it."""
        for handler in self._chain.body_filters:
            try:
                data = handler.body_filter(self, data, ended)
            except Exception:  # a plugin boundary
                _complain(handler, BODY_FILTER)
        return data

    def tried(self, transport: asyncio.Transport) -> None:
        """The request goes upstream on this connection."""
        if self._chain.logs:
            address = transport.get_extra_info("peername")
            ip, port = (address[0], address[1]) if isinstance(address, tuple) else ("unix:", 0)
            self.tries.append({"ip": ip, "port": port, "balancer_start": int(self.snapshot.node.wall() * 1000)})

    def try_failed(self, status: int) -> None:
        """A try was answered with nothing; `status` is what the client would get for it."""
        if not self.tries or "state" in self.tries[-1]:
            self.tries.append({})  # it never came to a connection
        self.tries[-1] |= {"state": "failed", "code": status}

    def counted_consumer(self) -> ConsumerCounters | None:
        """The row that counts the exchange in place of its route's own, where that was asked for."""
        plan = self._exchange.plan
        if self.consumer is None or plan is None or not self._chain.counts_consumers:
            return None
        return plan.row.consumer(self.consumer.id)

    def ended(self) -> None:
        """The exchange is over: end what waits, and let handlers note it."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        for handler in self._chain.logs:
            try:
                handler.log(self)
            except Exception:  # a plugin boundary
                _complain(handler, LOG)


def for_own_answer(exchange: Answers) -> PluginRun | None:
    """The plugins of an exchange that never came to its route's access: those that are configured for everything."""
    snapshot = exchange.env.snapshot
    chain = snapshot.plugins.everywhere
    return PluginRun(exchange, snapshot, chain) if chain is not None else None


def for_request(exchange: Exchange, snapshot: Snapshot) -> PluginRun:
    """The plugins of an exchange that has its route, or comes to one; their chain is found in access."""
    return PluginRun(exchange, snapshot, snapshot.plugins.everywhere or NO_HANDLERS)


def _captures(found: Captures) -> dict[str, str]:
    groups = {str(number): group for number, group in enumerate(found.positional)}
    return {name: text(value) for name, value in (*groups.items(), *found.named.items()) if value is not None}


def _crashed(handler: Handler) -> Answer:
    _complain(handler, ACCESS)
    return CRASHED


def _complain(handler: Handler, phase: str) -> None:
    log.exception("plugin '%s' (%s) failed in %s", handler.plugin.name, handler.plugin.id, phase)
