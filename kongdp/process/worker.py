"""A worker: one uvloop, its own sockets, pools and snapshot. All traffic passes here and nothing else does.

In: the spec that the supervisor hands down (settings, sockets, segment, lifeline).  Out: proxied traffic, counts in the segment.
House rules: no file is read or written in a request. Configurations arrive from the agent over the channel, are compiled in slices of
about a millisecond beside the live one, and swapped by one assignment. Automatic garbage collection is off: young generations are
collected by the once-a-second tick, tables are frozen after a swap. A worker that loses its supervisor drains and leaves.
Hot rim: `_sweep` walks the connections; the rest runs once a second, once a change, or once a life.
Source: architecture of the node, section 7; exit code 78 means that starting again cannot help.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Container, Generator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from time import monotonic
from typing import Any, TypeVar

import orjson
import uvloop

from kongdp.certs.store import CertificateStore, install
from kongdp.clock import Clock
from kongdp.plugins.base import Node
from kongdp.plugins.outbox import close_all
from kongdp.process import access_log_writer, worker_gauges, worker_settings
from kongdp.process.access_log_writer import AccessLogWriter
from kongdp.process.channel import ChannelClient
from kongdp.process.lifeline import Lifeline, LifelineWatch
from kongdp.process.logs import LogTargetError, configure_logs, reopen_logs
from kongdp.process.messages import Applied, Begin, Commit, Failed, Hello, Message, Slice, WantTable
from kongdp.process.spec import read_spec
from kongdp.proxy import deadlines, retirement
from kongdp.proxy.downstream import DownstreamConnection
from kongdp.proxy.environment import Environment
from kongdp.proxy.plan import Surroundings
from kongdp.proxy.snapshot import EMPTY_HASH, Edit, Entities, Snapshot, compile_steps, empty_snapshot, read_changes
from kongdp.proxy.tls_connection import TlsConnection
from kongdp.settings import Settings
from kongdp.telemetry.access_log import AccessLogError
from kongdp.telemetry.counters import NodeCounters, RouteCounters, UncountedRoute
from kongdp.telemetry.segment import Segment
from kongdp.upstream.dialer import Dialer
from kongdp.upstream.pool import Pools
from kongdp.upstream.resolver import Resolver

log = logging.getLogger("kongdp.worker")

COMPILE_SLICE_S = 0.001

T = TypeVar("T")

FULL_COLLECTION_IDLE_S = 30
FULL_COLLECTION_BUSY_S = 600
"""Seconds between full collections; they walk what is not frozen, about 100 ns an object."""

OUTBOX_GRACE_S = 3.0
"""How long the last entries of log plugins may take to be delivered when a worker leaves."""

IDLE_GRACE_S = 1.0
"""A drained worker keeps idle connections this long: a request that is on its way is still answered, with Connection: close. Closing at
once, as nginx does, meets such requests with a closed socket.
"""


FORGOTTEN_AT_ONCE = 1000
"""Rows looked at in one tick, about half a millisecond."""


class RouteRows(dict[str, RouteCounters]):
    """Route id -> its counter rows, made on first use and kept across snapshots, so that counts follow ids."""

    def __init__(self, segment: Segment, *, counts: bool = True) -> None:
        super().__init__()
        self._segment = segment
        self._make = RouteCounters if counts else UncountedRoute

    def __missing__(self, route_id: str) -> RouteCounters:
        row = self[route_id] = self._make(self._segment, route_id)
        return row

    def forget_some(self, configured: Container[str], count_configured: int) -> None:
        """Let go of rows of routes that are gone, a few at a time, once they are more than those that are configured.

        What they counted stays in the segment: a row that is made again for the same route counts on there.
        """
        if len(self) <= 2 * count_configured + FORGOTTEN_AT_ONCE:
            return
        for route_id in tuple(islice(self, FORGOTTEN_AT_ONCE)):
            row = self.pop(route_id)
            if route_id in configured:
                self[route_id] = row  # behind those that were not looked at yet


@dataclass(slots=True)
class Incoming:
    """A configuration on its way: what `begin` announced and the slices so far. `problem`: why it cannot be applied."""

    hash: str
    full: bool
    edits: list[Edit] = field(default_factory=list)
    problem: str = ""


class Worker:
    """The role. `run` lives as long as the process."""

    def __init__(self, spec: Mapping[str, Any], loop: asyncio.AbstractEventLoop) -> None:
        self._spec = spec
        self._loop = loop
        self._settings = settings = Settings.from_json(orjson.dumps(spec["settings"]))
        self._lifeline = Lifeline(spec["lifeline_fd"])
        self._clock = Clock()
        self._segment = segment = Segment.open(spec["segment_fd"])
        pools = Pools(worker_settings.pool_limits(settings))
        resolver = Resolver(loop, worker_settings.resolver_limits(settings))
        self._rows = rows = RouteRows(segment, counts=settings.kongdp_counters)
        self._around = Surroundings(
            pools,
            resolver,
            rows,
            settings.router_flavor,
            worker_settings.tls_defaults(settings),
            settings.route_match_calculation,
            Node(
                spec["node_id"],
                str(spec["prefix"]),
                loop,
                worker_settings.rates(spec),
                settings.kongdp_proxy_cache_bytes,
            ),
        )
        self._env = Environment(
            loop=loop,
            clock=self._clock,
            snapshot=empty_snapshot(self._around),
            pools=pools,
            resolver=resolver,
            dialer=Dialer(loop, worker_settings.UpstreamContexts(settings).context_for),
            counters=NodeCounters(segment),
            slots=segment.slots,
            row_of=rows.__getitem__,
            limits=worker_settings.limits(settings),
            stamps=worker_settings.stamps(settings),
            trust=worker_settings.trust(settings),
            pages=worker_settings.error_pages(settings),
            charset=worker_settings.charset(settings),
            retry_rules=worker_settings.retry_rules(settings),
            spill=worker_settings.spill_store(settings, loop),
            debug_header=settings.allow_debug_header,
        )
        self._env.now = monotonic()
        self._server_options = worker_settings.tls_options(settings)
        self._servers: list[asyncio.Server] = []
        self._incoming: Incoming | None = None
        self._applying: asyncio.Task[None] | None = None
        self._ready = False
        self._stopping = asyncio.Event()
        self._stop_signals = 0
        self._swapped = False
        self._seconds_since_full = 0
        self._access_log: AccessLogWriter | None = None
        self._watch = LifelineWatch(self._lifeline, loop, on_end=self._supervisor_gone)
        self._channel = ChannelClient(spec["run_dir_fd"], on_message=self._on_message, on_open=self._on_channel_open)

    async def run(self) -> None:
        """Connect to the agent, wait for the first configuration, accept, serve, drain."""
        for number in (signal.SIGTERM, signal.SIGQUIT):
            self._loop.add_signal_handler(number, self._on_stop_signal)
        self._loop.add_signal_handler(signal.SIGUSR1, self._reopen_logs)
        # the supervisor decides what Ctrl-C means, and shells start background jobs with it ignored
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            self._access_log = self._env.access_log = access_log_writer.build(self._settings, self._env)
        except (OSError, AccessLogError) as problem:
            self._lifeline.fail(f"proxy_access_log: {problem}")
        self._watch.start()
        self._channel.start()
        self._sweep()
        self._tick(monotonic())
        await self._stopping.wait()
        await self._drain()

    def _on_channel_open(self) -> None:
        self._incoming = None
        self._channel.send(Hello(self._spec["index"], self._spec["generation"], os.getpid(), self._env.snapshot.hash))

    def _on_message(self, message: Message) -> None:
        if isinstance(message, Begin):
            self._begin(message)
        elif isinstance(message, Slice):
            self._take(message)
        elif isinstance(message, Commit):
            self._commit(message)

    def _begin(self, message: Begin) -> None:
        """A newer configuration abandons an unfinished older one; a difference must start from what is live."""
        if self._applying is not None:
            self._applying.cancel()
            self._applying = None
        self._incoming = None
        if message.base_hash is not None and message.base_hash != self._env.snapshot.hash:
            self._channel.send(WantTable(self._env.snapshot.hash))
            return
        self._incoming = Incoming(message.hash, message.base_hash is None)

    def _take(self, message: Slice) -> None:
        incoming = self._incoming
        if incoming is None or incoming.problem:
            return
        try:
            incoming.edits.extend(read_changes(message.changes))
        except Exception as problem:  # as in _apply
            log.exception("configuration %s cannot be read", incoming.hash)
            incoming.problem = f"{type(problem).__name__}: {problem}"
            incoming.edits.clear()

    def _commit(self, message: Commit) -> None:
        incoming, self._incoming = self._incoming, None
        if incoming is None:
            if message.hash == self._env.snapshot.hash:
                self._applied(message.hash, 0.0)
            return
        if incoming.hash != message.hash:
            return
        if incoming.problem:
            self._channel.send(Failed(incoming.hash, incoming.problem))
        else:
            self._applying = self._loop.create_task(self._apply(incoming))

    async def _apply(self, incoming: Incoming) -> None:
        """Compile beside the live snapshot, a millisecond at a time, then swap, and let the old one go likewise."""
        began = monotonic()
        steps = compile_steps(
            self._env.snapshot, incoming.hash, incoming.edits, self._around, self._certificates, full=incoming.full
        )
        try:
            snapshot = await self._in_slices(steps)
        except Exception as problem:  # a worker must stay in service whatever a configuration does to its compiler
            log.exception("configuration %s was not applied", incoming.hash)
            self._channel.send(Failed(incoming.hash, f"{type(problem).__name__}: {problem}"))
            self._applying = None
            return
        previous = self._swap(snapshot)
        self._applying = None
        self._applied(incoming.hash, monotonic() - began)
        if incoming.full or len(incoming.edits) >= retirement.EDITS_MIN:
            steps_of_end = retirement.let_go(previous, incoming.edits)
            del previous
            await self._in_slices(steps_of_end)

    async def _in_slices(self, steps: Generator[None, None, T]) -> T:
        until = monotonic() + COMPILE_SLICE_S
        while True:
            try:
                next(steps)
            except StopIteration as end:
                outcome: T = end.value
                return outcome
            if monotonic() > until:
                await asyncio.sleep(0)
                until = monotonic() + COMPILE_SLICE_S

    def _swap(self, snapshot: Snapshot) -> Snapshot:
        """Serve from this one from now on; returns the one before."""
        previous, self._env.snapshot = self._env.snapshot, snapshot
        if previous.plugins is not snapshot.plugins:
            previous.plugins.close(snapshot.plugins)
        if self._access_log is not None:
            self._access_log.hide(snapshot.plugins.secrets.names)
        self._swapped = True
        self._env.sweep_period_s = deadlines.period_for(snapshot)
        return previous

    def _certificates(self, entities: Entities, previous: CertificateStore) -> CertificateStore:
        return CertificateStore.build(
            entities.all("certificates").values(), entities.all("snis").values(), self._server_options, previous
        )

    def _applied(self, hash_: str, seconds: float) -> None:
        slots, counters = self._env.slots, self._env.counters
        if hash_ != EMPTY_HASH:
            microseconds = int(seconds * 1e6)
            slots[counters.swaps] += 1
            slots[counters.swap_us] += microseconds
            slots[counters.swap_us_last] = microseconds
        self._channel.send(Applied(hash_, seconds))
        if not self._ready:
            self._ready = True
            self._loop.create_task(self._accept())

    async def _accept(self) -> None:
        """Listen on the sockets handed down; only now, so that no request meets an empty table by accident."""
        try:
            default = worker_settings.default_tls_context(self._settings, self._spec["prefix"], self._server_options)
            for listener in self._spec["listeners"]:
                await self._listen(listener, default)
        except Exception as problem:
            log.exception("cannot accept")
            self._lifeline.fail(f"worker cannot accept: {problem}")
        self._lifeline.ready(listeners=len(self._servers))

    async def _listen(self, listener: Mapping[str, Any], default: ssl.SSLContext | None) -> None:
        sock = socket.socket(fileno=listener["fd"])
        sock.setblocking(False)
        port = worker_settings.shown_port(self._settings, listener["port"])
        preamble, backlog = listener["proxy_protocol"], listener["backlog"]
        if listener["ssl"]:
            assert default is not None
            install(default, lambda: self._env.snapshot.certificates)
            make = partial(self._tls_client, port)
            factory: Any = partial(TlsConnection, self._env, default, make, proxy_protocol=preamble)
        else:
            factory = partial(DownstreamConnection, self._env, b"http", port, proxy_protocol=preamble)
        # create_server calls listen() again: without a backlog here it would shrink the supervisor's to 100
        create = self._loop.create_unix_server if sock.family == socket.AF_UNIX else self._loop.create_server
        self._servers.append(await create(factory, sock=sock, backlog=backlog))

    def _tls_client(self, port: int, *, plain: bool, source: str | None) -> DownstreamConnection:
        """The connection of a client of a TLS listener; `plain`: it spoke plain HTTP and is told so."""
        scheme = b"http" if plain else b"https"
        return DownstreamConnection(self._env, scheme, port, source=source, misplaced=plain)

    def _sweep(self) -> None:
        """Enforce deadlines, again and again: also after a fault of ours in one connection."""
        try:
            deadlines.sweep(self._env, monotonic())
        finally:
            self._loop.call_later(self._env.sweep_period_s, self._sweep)

    def _tick(self, expected: float) -> None:
        """Once a second: date, idle pools, gauges, garbage."""
        now = monotonic()
        self._loop.call_later(1.0, self._tick, now + 1.0)  # first: a fault below costs one tick and not all that follow
        env = self._env
        counters, slots = env.counters, env.slots
        self._clock.tick()
        slots[counters.ticks] += 1
        if self._access_log is not None:
            self._access_log.tick()
        env.pools.sweep(now)
        slots[counters.loop_lag_us] = max(0, int((now - expected) * 1e6))
        worker_gauges.note(env)
        routes = env.snapshot.entities.all("routes")
        self._rows.forget_some(routes, len(routes))
        if self._swapped:
            # the new tables live long: out of the collector's sight, so that no collection ever walks them
            self._swapped = False
            gc.freeze()
        self._collect(slots[counters.connections_writing])

    def _collect(self, busy: int) -> None:
        """Garbage by the clock: young objects each second, everything else when nobody waits or it cannot be put off.

        None while a configuration arrives: all of it is young, 200 ms of walking at 100,000 routes.
        """
        self._seconds_since_full += 1
        if self._incoming is not None or self._applying is not None:
            return
        wait = FULL_COLLECTION_IDLE_S if not busy else FULL_COLLECTION_BUSY_S
        if self._seconds_since_full >= wait:
            self._seconds_since_full = 0
            gc.collect()
        else:
            gc.collect(0)

    def _on_stop_signal(self) -> None:
        self._stop_signals += 1
        if self._stop_signals > 1:
            log.warning("second signal: leaving without waiting for %d connections", len(self._env.connections))
            os._exit(0)
        self._stopping.set()

    def _supervisor_gone(self) -> None:
        log.error("the supervisor is gone: draining")
        self._stopping.set()

    def _reopen_logs(self) -> None:
        reopen_logs()
        if self._access_log is not None:
            self._access_log.reopen()

    async def _drain(self) -> None:
        """Take what the kernel has queued, stop accepting, let exchanges finish up to the deadline, leave."""
        env = self._env
        # one more turn of the loop accepts what is in the queue already: closing first would reset those clients
        await asyncio.sleep(0.05)
        for server in self._servers:
            server.close()
        env.draining = True
        now = monotonic()
        until = now + self._settings.kongdp_drain_timeout_s
        idle_until = min(now + IDLE_GRACE_S, until)
        while env.connections and (now := monotonic()) < until:
            if now >= idle_until:
                for connection in list(env.connections):
                    connection.drain()
            await asyncio.sleep(0.02)
        if env.connections:
            log.warning("drain deadline reached with %d connections open", len(env.connections))
        for connection in list(env.connections):
            connection.abort()
        env.pools.close_idle()
        env.snapshot.plugins.close()
        await self._channel.close()
        if self._access_log is not None:
            await self._access_log.close()
        if env.spill is not None:
            env.spill.close()
        # log plugins deliver from threads
        await self._loop.run_in_executor(None, close_all, OUTBOX_GRACE_S)
        self._watch.stop()
        self._lifeline.close()


def main() -> None:
    """Entry point: `python -m kongdp.process.worker --spec-fd N`."""
    parser = argparse.ArgumentParser(prog="kongdp-worker")
    parser.add_argument("--spec-fd", type=int, required=True)
    spec = read_spec(parser.parse_args().spec_fd)
    settings = Settings.from_json(orjson.dumps(spec["settings"]))
    try:
        configure_logs(settings, f"worker {spec['index']}")
    except LogTargetError as problem:
        Lifeline(spec["lifeline_fd"]).fail(f"proxy_error_log: {problem}")
    worker_settings.bind_to_core(settings, spec["index"])
    gc.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:

        async def serve() -> None:
            await Worker(spec, asyncio.get_running_loop()).run()

        gc.freeze()
        runner.run(serve())
    sys.exit(0)


if __name__ == "__main__":
    main()
