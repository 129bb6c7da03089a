"""A client's connection: bytes to requests, one exchange at a time, keep-alive, pipelining, deadlines.

In: bytes of the client.  Out: Exchanges, their request bodies, and their responses back to the client in order.
House rules: while an exchange is under way further bytes wait in a bounded buffer, and reading goes on until it is full, so that a
client's leaving is noticed. No request begins while the client does not take the answers it has. Every wait has a deadline; the
worker's sweep enforces it. A refused request ends the connection.
Hot. Plain callbacks, no task, no timer.
Source: RFC 9112 section 9; limits and statuses as Kong's nginx has them (proxying contract, sections 5 and 6).
"""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from kongdp._monotonic import monotonic
from kongdp.certs.store import requested_name
from kongdp.http1.chunks import ChunkWalker
from kongdp.http1.messages import BadMessage, RequestHead
from kongdp.http1.parser import try_request_head
from kongdp.http1.writer import CONTINUE
from kongdp.proxy import failures
from kongdp.proxy.addresses import ClientAddress
from kongdp.proxy.answers import NEVER, Client
from kongdp.proxy.environment import Environment
from kongdp.proxy.exchange import Exchange
from kongdp.proxy.proxy_protocol import PreambleError, read_preamble
from kongdp.proxy.tunnel import Tunnel

log = logging.getLogger(__name__)

DRAIN_GRACE_S = 1.0
"""How long a connection that has not asked anything yet may still do so when the node goes down: its request may be on its way."""

_NO_BODY, _LENGTH, _CHUNKS = range(3)


class DownstreamConnection(Client):
    """One client. `scheme` is b"http" or b"https", `port` the one the listener (or port_maps) shows to upstreams.

    `source`: the client behind the peer, where a PROXY preamble was read before; with `proxy_protocol` it is read here. `misplaced`:
    plain HTTP on a TLS port, which is refused whatever it asks.
    """

    __slots__ = (
        "_body",
        "_body_remaining",
        "_buffer",
        "_discarding",
        "_ending",
        "_expects_preamble",
        "_head_begun",
        "_linger_until",
        "_lost",
        "_misplaced",
        "_processing",
        "_reading_paused",
        "_source",
        "_unsent_bytes",
        "_walker",
        "deadline",
        "writable",
    )

    def __init__(
        self,
        env: Environment,
        scheme: bytes,
        port: int,
        *,
        proxy_protocol: bool = False,
        source: str | None = None,
        misplaced: bool = False,
    ) -> None:
        super().__init__(env, scheme, port)
        # per connection
        self.writable = True
        self._buffer = b""
        self._reading_paused = False
        self._processing = False
        self._ending = False
        self._lost = False
        self._misplaced = misplaced
        self._expects_preamble = proxy_protocol
        self._source = source
        # timeouts
        self.deadline = NEVER
        self._head_begun = True  # the first head's time begins with the connection
        self._linger_until = 0.0
        self._unsent_bytes = 0
        # per request
        self._body = _NO_BODY
        self._body_remaining = 0
        self._walker: ChunkWalker | None = None
        self._discarding = 0

    def __repr__(self) -> str:
        state = "tunnel" if self.tunnel else "ending" if self._ending else "exchange" if self.exchange else "idle"
        return f"<client {self.address.peer if self.address else '?'} {state}, {self.requests} requests>"

    @property
    def is_reading(self) -> bool:
        """Whether part of a head has come and the rest is awaited."""
        return self._head_begun and self.exchange is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        env = self.env
        counters = env.counters
        env.slots[counters.connections_accepted] += 1
        maximum = env.limits.connections_max
        if maximum and len(env.connections) >= maximum:
            env.slots[counters.connections_refused] += 1
            self._ending = True
            self.transport.abort()
            return
        env.slots[counters.connections_handled] += 1
        env.connections.add(self)
        peer = transport.get_extra_info("peername")
        self._set_address(peer[0] if isinstance(peer, tuple) else "unix:", self._source)
        if self.scheme == b"https":
            env.slots[counters.tls_handshakes] += 1
            name = requested_name(transport.get_extra_info("ssl_object"))
            self.sni = name.lower().encode() if name else None
        self.read_ahead(True)
        self.deadline = env.deadline_in(env.limits.header_timeout_s)

    def _set_address(self, peer: str, source: str | None = None) -> None:
        self.address = ClientAddress(peer, source or peer, self.scheme, self.port, self.env.trust)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ending = True
        self._lost = True
        self._buffer = b""
        self.deadline = NEVER
        tunnel = self.tunnel
        if tunnel is not None:
            tunnel.client_lost()
            return  # stays among the connections, under its exchange's deadline, until the upstream has what is buffered
        self.env.connections.discard(self)
        exchange = self.exchange
        if exchange is not None:
            exchange.client_gone()

    def eof_received(self) -> bool:
        if self.tunnel is not None:
            return self.tunnel.client_eof()
        # nginx (proxy_ignore_client_abort off) takes the end of a client's stream for its leaving
        return False

    def pause_writing(self) -> None:
        self.writable = False
        self._rearm()
        if self.tunnel is not None:
            self.tunnel.client_writable(False)
        elif self.exchange is not None:
            self.exchange.client_writable(False)

    def resume_writing(self) -> None:
        self.writable = True
        self._rearm()
        if self.tunnel is not None:
            self.tunnel.client_writable(True)
        elif self.exchange is not None:
            self.exchange.client_writable(True)
        else:
            self._process()

    def read_ahead(self, wanted: bool) -> None:
        """How much of an answer may wait here for the client before the upstream's reading pauses (route.response_buffering)."""
        self.reads_ahead = wanted
        limits = self.env.limits
        high = limits.response_buffer_bytes if wanted else limits.stream_buffer_bytes
        self.transport.set_write_buffer_limits(high, high // 4)

    def _rearm(self) -> None:
        """The deadline of whatever is waited for now. Hot transitions that know it set it themselves."""
        limits = self.env.limits
        if not self.writable:
            self._unsent_bytes = self.transport.get_write_buffer_size()
            seconds = limits.send_timeout_s
        elif self._ending:
            seconds = limits.linger_s
        elif self.tunnel is not None or self._reading_paused:
            seconds = NEVER
        elif self._body != _NO_BODY:
            seconds = limits.body_timeout_s if self.exchange is not None else limits.linger_s
        elif self.exchange is not None:
            seconds = NEVER
        else:
            seconds = limits.header_timeout_s if self._head_begun else limits.keepalive_timeout_s
        self.deadline = self.env.deadline_in(seconds)

    def data_received(self, data: bytes) -> None:
        if self.tunnel is not None:
            self.tunnel.from_client(data)
        elif self._ending:
            # bytes after the last answer are ignored, never answered
            if self._linger_until and self.writable:
                self.deadline = min(self.env.deadline_in(self.env.limits.linger_s), self._linger_until)
        elif self._body != _NO_BODY and not self._buffer:
            self._body_data(data)
        else:
            self._buffer = self._buffer + data if self._buffer else data
            if self.exchange is None and self.writable:
                self._process()
            elif len(self._buffer) > self.env.limits.pipeline_bytes_max:
                self._pause()

    def _process(self) -> None:
        """Start requests from the buffer until one is under way, or more bytes are needed."""
        if self._processing:
            return  # an answer made at once came back here: the loop below goes on
        self._processing = True
        try:
            while self._buffer and self.writable and not self._ending and self.tunnel is None:
                if self._body != _NO_BODY:
                    data, self._buffer = self._buffer, b""
                    self._body_data(data)
                    if self._body != _NO_BODY:
                        return
                elif self.exchange is not None or not self._start_request():
                    return
        finally:
            self._processing = False

    def _start_request(self) -> bool:
        """Cut one head off the buffer and begin its exchange; False when it is not complete or was refused."""
        started = monotonic()
        env = self.env
        try:
            if self._expects_preamble and not self._preamble():
                return False
            if self._misplaced:
                raise BadMessage(400, failures.PLAIN_ON_TLS, "plain HTTP on a TLS port")
            buffer = self._buffer
            if buffer[0] == 13:
                # RFC 9112 section 2.2: empty lines before a request line are ignored, two of them and no more
                buffer = self._buffer = buffer.removeprefix(b"\r\n").removeprefix(b"\r\n")
            head = try_request_head(buffer, env.limits.head)
            if head is None:
                if buffer and not self._head_begun:
                    # one deadline for the whole head, however it trickles in (slowloris)
                    self._head_begun = True
                    self.deadline = env.deadline_in(env.limits.header_timeout_s)
                return False
            self._buffer = b"" if len(head.raw) == len(buffer) else buffer[len(head.raw) :]
        except BadMessage as problem:
            self._refuse(problem, started)
            return False
        self.deadline = NEVER
        self._head_begun = False
        self.requests += 1
        env.slots[env.requests_slot] += 1
        self._begin(head, started)
        return True

    def _preamble(self) -> bool:
        """Read the PROXY preamble a listener asks for; False until it is complete. Raises BadMessage."""
        try:
            found = read_preamble(self._buffer)
        except PreambleError as problem:
            raise BadMessage(400, "Bad request", str(problem)) from None
        if found is None:
            return False
        source, end = found
        self._expects_preamble = False
        self._buffer = self._buffer[end:]
        if source is not None:
            self._set_address(self.address.peer, source)
        return bool(self._buffer)

    def _begin(self, head: RequestHead, started: float) -> None:
        exchange = Exchange.__new__(Exchange)
        exchange.take_on(self.env, self, head, started)
        self.exchange = exchange
        if head.chunked:
            self._body = _CHUNKS
            self._walker = ChunkWalker(payload=True)
        elif head.content_length > 0:
            self._body = _LENGTH
            self._body_remaining = head.content_length
        try:
            exchange.begin()
        except Exception:  # a request must get its answer, and the others their turn, whatever a plan or a route does
            log.exception("request %s failed", exchange.request_id.decode())
            exchange.refuse(500, failures.UNEXPECTED)
        if self._body == _NO_BODY or self.exchange is not exchange:
            return
        if self._buffer:
            data, self._buffer = self._buffer, b""
            self._body_data(data)
        if self._body != _NO_BODY and self.exchange is exchange:
            if head.expect_continue and head.minor == 1:
                self.transport.write(CONTINUE)
            self._rearm()

    def _body_data(self, data: bytes) -> None:
        """Cut request body bytes off `data`; what follows them is the next request."""
        exchange = self.exchange
        try:
            if self._body == _LENGTH:
                take = self._body_remaining
                if len(data) <= take:
                    piece, rest = data, b""
                else:
                    piece, rest = data[:take], data[take:]
                self._body_remaining = take - len(piece)
                ended = not self._body_remaining
            else:
                assert self._walker is not None
                piece, end = self._walker.feed(data)
                ended = end >= 0
                rest = data[end:] if ended else b""
        except BadMessage as problem:
            self._bad_body(problem)
            return
        if ended:
            self.deadline = NEVER
            self._body = _NO_BODY
            self._walker = None
        elif self.writable:
            self.deadline = self.env.deadline_in(self.env.limits.body_timeout_s)
        if rest:
            self._buffer = rest
        if exchange is not None:
            if self.spill is None:
                exchange.request_body(piece, ended)
            else:
                self.spill.write(piece, ended)
        elif self._discarding:
            self._discard(len(piece), ended)

    def _discard(self, count: int, ended: bool) -> None:
        """A body nobody wants any more: read it to keep the connection, within bounds."""
        if ended:
            self._discarding = 0
            self._next_request()
            return
        self._discarding -= count
        if self._discarding <= 0:
            self.end()

    @property
    def body_unread(self) -> int:
        """Bytes of the current request's body that have not come; -1 when their number is unknown, 0 for none."""
        if self._body == _NO_BODY:
            return 0
        return self._body_remaining if self._body == _LENGTH else -1

    def may_keep_alive(self, head: RequestHead) -> bool:
        """Whether another request may follow on this connection, so that the answer can say so."""
        if not head.keep_alive:
            return False
        env = self.env
        limits = env.limits
        if (
            env.draining
            or self._ending
            or self.requests >= limits.keepalive_requests
            or (self._body != _NO_BODY and (head.expect_continue or self.body_unread > limits.linger_bytes_max))
            or self.transport.is_closing()
        ):
            self.lingers = True
            return False
        return True

    def exchange_ended(self, keep: bool) -> None:
        """The exchange is over and its last byte was written."""
        self.exchange = None
        if self.spill is not None:
            self.spill.close()
            self.spill = None
        if self._lost:
            self.env.connections.discard(self)
        elif not keep:
            self.end()
        elif self._body != _NO_BODY:
            self._discarding = self.env.limits.linger_bytes_max
            self._resume()
            self._rearm()
        else:
            self._next_request()

    def _next_request(self) -> None:
        if self.writable:
            self.deadline = self.env.deadline_in(self.env.limits.keepalive_timeout_s)
        self._resume()
        # not ended while draining either: keep-alive was promised, so the next request gets the answer that says "close"
        if self._buffer:
            self._process()

    def end(self) -> None:
        """No more requests: let the answer leave, then close without cutting it off (lingering close, RFC 9112 section 9.6)."""
        if self._ending:
            return
        self._ending = True
        transport = self.transport
        # closing with unread bytes in the socket would reset the connection and lose the answer on its way
        lingers = self.lingers or self._body != _NO_BODY or bool(self._buffer)
        self._body = _NO_BODY
        self._buffer = b""
        if not lingers:
            transport.close()
            self._unsent_bytes = transport.get_write_buffer_size()
            self.deadline = self.env.deadline_in(self.env.limits.send_timeout_s)
            return
        if transport.can_write_eof():
            transport.write_eof()  # over TLS the answer's length must tell the client that it is whole
        self._resume()
        self._linger_until = self.env.deadline_in(self.env.limits.linger_total_s)
        self._rearm()

    def abort(self) -> None:
        """Cut the connection: the client must see that its answer is not whole."""
        self._ending = True
        if self.tunnel is not None:
            self.tunnel.abort()
        self.transport.abort()

    def tunnel_opened(self) -> None:
        """Bytes pass both ways from now on; what was read ahead goes first."""
        tunnel = cast(Tunnel, self.tunnel)
        buffer, self._buffer = self._buffer, b""
        if buffer:
            tunnel.from_client(buffer)
        self._resume()
        self._rearm()

    def pause_reading(self) -> None:
        """The upstream is slower than this client's body: the client's time stands still."""
        if self.spill is None:
            self.hold()
        else:
            self.spill.pause()

    def resume_reading(self) -> None:
        """The upstream caught up."""
        if self.spill is None:
            self.release()
        else:
            self.spill.resume()

    def hold(self) -> None:
        """Nothing more can be taken of this client now."""
        self._pause()
        self._rearm()

    def release(self) -> None:
        """It can again."""
        self._resume()
        self._rearm()

    def _pause(self) -> None:
        if not self._reading_paused and not self.transport.is_closing():
            self._reading_paused = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        if self._reading_paused and not self.transport.is_closing():
            self._reading_paused = False
            self.transport.resume_reading()

    def _refuse(self, problem: BadMessage, started: float) -> None:
        """Answer a head nobody can trust, then close: what follows cannot be told apart from it."""
        env = self.env
        env.slots[env.counters.bad_requests] += 1
        self.lingers = True
        self.requests += 1
        env.slots[env.counters.requests_total] += 1
        Exchange.refused(env, self, started, self._buffer).refuse(problem.status, problem.public)

    def _bad_body(self, problem: BadMessage) -> None:
        self.env.slots[self.env.counters.bad_requests] += 1
        exchange = self.exchange
        if exchange is None:
            self.end()
            return
        exchange.request_body_fails(problem.status, problem.public)

    def on_deadline(self) -> None:
        """A wait took too long; called by the sweep."""
        self.deadline = NEVER
        exchange = self.exchange
        if not self.writable or (self._ending and not self._linger_until):
            unsent = self.transport.get_write_buffer_size()
            if 0 < unsent < self._unsent_bytes:
                # slow, but taking its answer: the timeout is between two writes
                self._unsent_bytes = unsent
                self.deadline = self.env.deadline_in(self.env.limits.send_timeout_s)
            else:
                self.abort()
        elif self._ending:
            self.abort()
        elif exchange is not None:
            if self._body != _NO_BODY:
                self.env.slots[self.env.counters.timeouts] += 1
                exchange.request_body_fails(408, "Request timeout")
        elif self._buffer and self._body == _NO_BODY:
            self.env.slots[self.env.counters.timeouts] += 1
            self._refuse(BadMessage(408, "Request timeout", "head not complete in time"), monotonic())
        else:
            self._ending = True
            self.transport.close()
            self.deadline = self.env.deadline_in(self.env.limits.send_timeout_s)

    def drain(self) -> None:
        """The node is going down: an idle connection closes now, a busy one after its answer."""
        if (
            self.tunnel is not None
            or self.exchange is not None
            or self._buffer
            or self._body != _NO_BODY
            or self._ending
        ):
            return
        if not self.requests:
            self.deadline = min(self.deadline, self.env.deadline_in(DRAIN_GRACE_S))
            return
        self._ending = True
        self.transport.close()
        self.deadline = self.env.deadline_in(self.env.limits.send_timeout_s)
