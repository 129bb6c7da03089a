"""What a worker's connections and exchanges share: the current snapshot, pools, counters, limits and settings made ready for use.

House rule: values and collaborators only, no behaviour beyond handing out request ids. Built once by the worker; `now`, `snapshot` and
`draining` are the only attributes that change, each with one writer.
Hot.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from kongdp.clock import Clock
from kongdp.http1.parser import HeadLimits
from kongdp.proxy.addresses import Trust
from kongdp.proxy.failures import RetryRules
from kongdp.proxy.respond import ErrorPages, Stamps
from kongdp.proxy.spill import SpillStore
from kongdp.telemetry.counters import NodeCounters, RouteCounters
from kongdp.upstream.dialer import Dialer
from kongdp.upstream.pool import Pools
from kongdp.upstream.resolver import Resolver

if TYPE_CHECKING:
    from kongdp.proxy.downstream import DownstreamConnection
    from kongdp.proxy.exchange import Exchange
    from kongdp.proxy.snapshot import Snapshot
    from kongdp.proxy.tls_connection import TlsConnection


@dataclass(frozen=True)
class Limits:
    """Bounds of connections and bodies. Bytes, seconds, counts; 0 means none where a comment says so."""

    head: HeadLimits = field(default_factory=HeadLimits)
    body_bytes_max: int = 0  # client_max_body_size; 0: none
    body_buffer_bytes: int = 1 << 20  # held of a buffered request body before it streams
    response_buffer_bytes: int = 1 << 18  # read ahead of a slow client, of a buffered response
    stream_buffer_bytes: int = 65536  # held of a streamed body, either way, while the other side is slower
    pipeline_bytes_max: int = 65536  # read ahead while an exchange is under way
    linger_bytes_max: int = 1 << 20  # discarded of a body nobody wants, to keep the connection
    linger_s: float = 5.0  # nginx lingering_timeout: between two reads of what nobody wants
    linger_total_s: float = 30.0  # nginx lingering_time
    upstream_head_bytes_max: int = 32768
    header_timeout_s: float = 60.0
    body_timeout_s: float = 60.0
    send_timeout_s: float = 60.0
    keepalive_timeout_s: float = 75.0
    keepalive_requests: int = 10000
    connections_max: int = 0  # of clients, per worker; 0: none


class AccessLog(Protocol):
    """Takes finished exchanges; must not block."""

    def record(self, exchange: Exchange) -> None:
        """Remember one finished exchange."""


_IDS = 256


class RequestIds:
    """Request ids: 32 lower-case hexadecimal digits of randomness, made in batches because one system call each is too dear."""

    __slots__ = ("_batch", "_next")

    def __init__(self) -> None:
        self._batch = b""
        self._next = 0

    def take(self) -> bytes:
        """A new id."""
        position = self._next
        if position >= len(self._batch):
            self._batch = os.urandom(16 * _IDS).hex().encode()
            position = 0
        self._next = position + 32
        # PERF: compiled, a slice of a pointer, which makes no slice object: 830 -> 180 instructions, valgrind
        batch = self._batch
        return batch[position : position + 32]


@dataclass(eq=False)
class Environment:
    """Everything handed in to downstream connections and exchanges of one worker."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    snapshot: Snapshot
    pools: Pools
    resolver: Resolver
    dialer: Dialer
    counters: NodeCounters
    slots: memoryview
    row_of: Callable[[str], RouteCounters]
    limits: Limits
    stamps: Stamps
    trust: Trust
    pages: ErrorPages
    charset: bytes | None = b"UTF-8"
    retry_rules: RetryRules = field(default_factory=RetryRules)
    access_log: AccessLog | None = None
    spill: SpillStore | None = None
    debug_header: bool = False
    request_ids: RequestIds = field(default_factory=RequestIds)
    connections: set[DownstreamConnection | TlsConnection] = field(default_factory=set)
    now: float = 0.0  # monotonic, as of the last deadline sweep
    sweep_period_s: float = 1.0
    draining: bool = False
    # PERF: the slots that every exchange counts in, read here once
    requests_slot: int = field(init=False)
    reused_slot: int = field(init=False)

    def __post_init__(self) -> None:
        self.requests_slot = self.counters.requests_total
        self.reused_slot = self.counters.upstream_reused

    def deadline_in(self, seconds: float) -> float:
        """When a timeout of `seconds` that starts now is over; never early, at most two sweep periods late."""
        return self.now + seconds + self.sweep_period_s
