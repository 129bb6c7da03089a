"""Getting an exchange's request to an upstream: destination, name, connection, sending, and another try when one failed.

In: a request that has its plan, and its body as it comes.  Out: the request written to one upstream connection at a time.
House rules: each try has a number; a name or a connection that arrives for an older one is not used for this exchange. Whether another
try is safe is decided by `_may_retry` alone. What is held of a body is bounded; the slower side pauses the faster one.
Hot: `_next_try`, `pool_has_room`, `_send`. The rest is for bodies, new connections and failures.
Source: Kong's proxying contract, sections 3 to 5; balancing contract, section 1.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from kongdp._monotonic import monotonic
from kongdp.proxy import failures
from kongdp.proxy.answers import DIALLING, HELD, NEVER, NOT_TRYING, QUEUED, RESOLVING, SENT, Answers
from kongdp.proxy.failures import Failure, Retry
from kongdp.proxy.forward import request_head
from kongdp.proxy.plan import RoutePlan
from kongdp.proxy.relay import RequestBody
from kongdp.proxy.spill import Spill
from kongdp.upstream.connection import UpstreamConnection
from kongdp.upstream.destination import Destination
from kongdp.upstream.dialer import DialError
from kongdp.upstream.pool import Pool
from kongdp.upstream.resolver import Outcome, Resolution

if TYPE_CHECKING:
    from kongdp.proxy.exchange import Exchange


JOINED_BYTES_MAX = 16384
"""Of a body that came with its head: up to here copying it behind the head is cheaper than a second piece (one TLS record holds both)."""
_JOINED = JOINED_BYTES_MAX


class Tries(Answers):
    """The way of one request to its upstream."""

    __slots__ = (
        "_blocked",
        "_destination",
        "_fresh_only",
        "_reused",
        "_spare_try",
        "_tried",
        "_tries_left",
        "_unnamed",
        "_unsent_bytes",
    )

    _destination: Destination
    _reused: bool
    _unsent_bytes: int

    def _prepare_tries(self, plan: RoutePlan) -> None:
        self._tries_left = plan.retries
        self._spare_try = True
        self._fresh_only = False
        self._blocked = False  # the upstream takes no more of the request for now
        self._tried: tuple[Destination, ...] = ()
        self._unnamed: tuple[Destination, ...] = ()  # targets whose names do not resolve

    def request_body(self, data: bytes, ended: bool) -> None:
        """A piece of the request's body; called by the client's connection in order."""
        body = self._body
        self.bytes_in += len(data)
        if body is None or self._finished:
            return
        if self.refuses_length(len(data)):
            return
        env = self.env
        upstream = self.upstream
        if upstream is not None and not upstream.lost:
            if ended and not self._blocked:
                # only now does the upstream's time to answer begin
                plan = self.plan
                assert plan is not None
                self.deadline = env.deadline_in(plan.read_timeout_s)
            framed = body.pass_on(data, ended)
            if framed:
                upstream.transport.write(framed)
            return
        body.add(data, ended)
        if self._phase == NOT_TRYING:
            if ended or (body.full and not self._spills()):
                self._next_try()
        elif body.full and not ended:
            self.client.pause_reading()
        if self._phase == HELD and self.plugins is not None:
            self.plugins.body_came()

    def refuses_length(self, count: int) -> bool:
        """Whether `count` bytes more than have come ended the request."""
        body = cast(RequestBody, self._body)
        limit = self.env.limits.body_bytes_max
        if limit and body.received + count > limit:
            self.request_body_fails(413, "Payload too large")
            return True
        return self.plugins is not None and self.plugins.body_is_too_long(body.received + count)

    def _spills(self) -> bool:
        """Whether the rest of a body that memory does not hold goes to a file, before any upstream is asked."""
        store = self.env.spill
        if store is None or store.full or not cast(RoutePlan, self.plan).request_buffering:
            return False
        self.client.spill = Spill(store, self.client, cast("Exchange", self))
        self.client.release()
        return True

    def body_spilled(self, length: int) -> None:
        """The file has the body's other `length` bytes, or, with -1, what it may hold of them: on to the upstream."""
        if self._finished:
            return
        if length >= 0:
            body = cast(RequestBody, self._body)
            body.length = body.received + length
        self._next_try()

    def _start_streaming(self) -> None:
        """An unbuffered body goes on its way with whatever came together with the head."""
        if not self._finished and self._phase == NOT_TRYING:
            self._next_try()

    def request_body_fails(self, status: int, message: str) -> None:
        """The client's body cannot be trusted, is too long, or did not come in time."""
        # the peer is chosen before the body is read, so that Kong calls even such an answer proxied
        self.refuse(status, message, proxied=self._phase != HELD)

    def _next_try(self) -> None:
        """Choose a destination and get a connection to it."""
        plan = self.plan
        assert plan is not None
        self._attempt += 1
        destination = plan.sole
        if destination is None:
            destination = plan.pick(self._tried, self._unnamed)
        if destination is None:
            if self._tried:
                self.refuse(503, failures.UNAVAILABLE, proxied=True)
            else:
                self.respond(503, failures.NO_PEER)
            return
        self._destination = destination
        self._connect(self._attempt)

    def _connect(self, attempt: int) -> None:
        if self._finished or attempt != self._attempt:
            return
        env = self.env
        found = self._destination.next_pool(env.now, self._pool)
        if not isinstance(found, Pool):
            self._unresolved(found)
            return
        plan = self.plan
        assert plan is not None
        if plan.preserve_host and found.endpoint.tls is not None and self.head.host is not None:
            found = plan.pool_for_host(found, self.head.host, env.pools)
        self._pool = found
        self.pool_has_room()

    def _unresolved(self, name: Resolution) -> None:
        """Wait for the name, or do without the destination that cannot be found."""
        if name.outcome is Outcome.UNKNOWN:
            self._phase = RESOLVING
            self.deadline = self.env.deadline_in(cast(RoutePlan, self.plan).connect_timeout_s)
            name.wait(partial(self._connect, self._attempt))
            return
        self.deadline = NEVER
        plan = cast(RoutePlan, self.plan)
        if plan.targets is not None and plan.targets.balanced:
            # a target without address is as good as absent; the others serve (balancing contract, section 4)
            self._unnamed = (*self._unnamed, self._destination)
            self._next_try()
            return
        absent = name.outcome is Outcome.NOT_FOUND
        if self._tried:
            self.refuse(503 if absent else 500, failures.UNAVAILABLE if absent else failures.UNEXPECTED, proxied=True)
        elif absent:
            self.respond(503, failures.NO_NAME)
        else:
            self.respond(500, failures.NO_LOOKUP.format(name=name.name, error=name.error))

    def _resolving_too_long(self) -> None:
        message = failures.NO_LOOKUP.format(name=self._destination.host, error="no answer in time")
        if self._tried:
            self.refuse(500, failures.UNEXPECTED, proxied=True)
        else:
            self.respond(500, message)

    def pool_has_room(self) -> None:
        """Take an idle connection, or open one, or wait for either."""
        if self._finished:
            return
        pool = self._pool
        assert pool is not None
        env = self.env
        idle = None if self._fresh_only and pool.may_dial() else pool.try_acquire()
        if idle is not None:
            self._reused = True
            env.slots[env.reused_slot] += 1
            self._balanced = monotonic()
            self._send(idle)  # type: ignore[arg-type] # a pool holds what `_dial` made
        elif pool.may_dial():
            pool.dialling()
            self._reused = False
            self._phase = DIALLING
            self.deadline = NEVER  # the dialler keeps connect_timeout
            self._balanced = monotonic()
            env.dialer.start(self._dial(pool, self._attempt))
        elif pool.try_wait(self):
            if self._phase != QUEUED:
                self._phase = QUEUED
                self.deadline = env.deadline_in(cast(RoutePlan, self.plan).connect_timeout_s)
        else:
            self._try_failed(Failure.POOL_FULL, "every connection of the pool is busy and its queue is full")

    async def _dial(self, pool: Pool, attempt: int) -> None:
        """Open a connection for this exchange; the only task in its life, and only when no idle connection was there."""
        env = self.env
        plan = cast(RoutePlan, self.plan)
        try:
            connection = await env.dialer.dial(
                pool.endpoint,
                lambda: UpstreamConnection(pool, env.charset, env.limits.upstream_head_bytes_max),
                plan.connect_timeout_s,
            )
        except DialError as problem:
            pool.forget(None)
            if not self._finished and attempt == self._attempt:
                self._try_failed(Failure.CONNECT_TIMEOUT if problem.timed_out else Failure.CONNECT, str(problem))
            return
        except BaseException:
            pool.forget(None)
            raise
        env.slots[env.counters.upstream_opened] += 1
        wanted = not self._finished and attempt == self._attempt
        if not connection.adopt():
            pool.forget(None)
            if wanted:
                self._try_failed(Failure.CONNECT, "upstream closed the connection at once")
        elif wanted:
            self._send(connection)
        elif not pool.release(connection, env.now):
            connection.close()  # the client left meanwhile, and the pool has enough

    def _send(self, connection: UpstreamConnection) -> None:
        """Write the request's head, and as much of its body as is here, in one write."""
        env = self.env
        self.upstream = connection
        self._phase = SENT
        plan = self.plan
        assert plan is not None
        self.deadline = env.now + plan.read_timeout_s + 2 * env.sweep_period_s
        connection.begin(self)
        if self.plugins is not None:
            self.plugins.tried(connection.transport)
        body = self._body
        if body is None:
            connection.transport.write(request_head(self, plan, self._destination))
            return
        framing = body.framing_line()
        opening = body.opening()
        head = request_head(self, plan, self._destination, framing)
        if len(opening) > _JOINED:
            connection.transport.write(head)
            connection.transport.write(opening)
        else:
            connection.transport.write(head + opening)
        if not body.ended and not self._blocked:
            self.client.resume_reading()

    def _try_failed(self, failure: Failure, detail: str) -> None:
        """One try is over without an answer: another one, or the error."""
        env = self.env
        env.slots[env.counters.upstream_failures] += 1
        connection, self.upstream = self.upstream, None
        if self._phase == QUEUED:
            cast(Pool, self._pool).stop_waiting(self)
        self._attempt += 1
        self._blocked = False
        self.deadline = NEVER
        if self.plugins is not None:
            self.plugins.try_failed(failure.status)
        if connection is not None:
            connection.detach()
            connection.close()
        if failure.status == 504:
            env.slots[env.counters.timeouts] += 1
        if self._begun:
            self._abort_both()
        elif self._may_retry(failure, connection):
            env.slots[env.counters.retries] += 1
            self._next_try()
        else:
            self.refuse(failure.status, failure.message, proxied=True)

    def _may_retry(self, failure: Failure, connection: UpstreamConnection | None) -> bool:
        """Whether another try is safe and left. One that died on a reused connection costs none and gets a fresh one (nginx)."""
        rules = self.env.retry_rules
        if failure.condition not in rules.conditions:
            return False
        body = self._body
        if connection is not None:
            if failure.retry is Retry.IDEMPOTENT and self.method in rules.unsafe_methods:
                return False
            if body is not None and not body.replayable:
                return False
        if failure is Failure.CLOSED and self._reused and self._spare_try:
            self._spare_try = False
            self._fresh_only = True
            return True
        if self._tries_left <= 0 or 0 < rules.tries_max <= len(self._tried) + 1:
            return False
        self._tries_left -= 1
        self._tried = (*self._tried, self._destination)
        return True

    def upstream_writable(self, writable: bool) -> None:
        """The upstream's buffer filled or drained: the client's reading follows."""
        plan = cast(RoutePlan, self.plan)
        upstream = cast(UpstreamConnection, self.upstream)
        self._blocked = not writable
        tunnel = self.client.tunnel
        if tunnel is not None:
            tunnel.upstream_writable(writable)
        elif writable:
            self.deadline = self.env.deadline_in(plan.read_timeout_s)
            self.client.resume_reading()
        else:
            self._unsent_bytes = upstream.transport.get_write_buffer_size()
            self.deadline = self.env.deadline_in(plan.write_timeout_s)
            self.client.pause_reading()

    def _try_takes_too_long(self) -> None:
        """A deadline of the try has passed; called by the sweep through the exchange."""
        plan = cast(RoutePlan, self.plan)
        env = self.env
        if self._phase == RESOLVING:
            self._resolving_too_long()
            return
        if self._phase == QUEUED:
            self._try_failed(Failure.CONNECT_TIMEOUT, "no connection of the pool became free")
            return
        upstream = self.upstream
        if self._blocked and upstream is not None:
            unsent = upstream.transport.get_write_buffer_size()
            if unsent < self._unsent_bytes:
                # slow, but taking what we send: the timeout is between two writes
                self._unsent_bytes = unsent
                self.deadline = env.deadline_in(plan.write_timeout_s)
                return
            self._try_failed(Failure.TIMEOUT, "upstream took nothing of the request in time")
            return
        body = self._body
        if body is not None and not body.ended and not self._begun:
            # the upstream waits for a body that the client still sends: the client's deadline counts
            self.deadline = env.deadline_in(plan.read_timeout_s)
            return
        self._try_failed(Failure.TIMEOUT, "upstream sent nothing in time")
