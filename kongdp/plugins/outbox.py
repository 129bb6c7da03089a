"""What log plugins have to deliver: entries collected on the loop, delivered by a thread in batches.

In: entries (bytes).  Out: calls of a `deliver` function in a thread of the outbox's own.
House rules: putting never blocks and never fails. What waits is bounded by count and bytes; beyond the bound the oldest is dropped and
counted, and the log says so once a minute at most. A delivery that fails is tried again, later each time, until its time is up. The
thread ends when nothing came for a while; an outbox that no handler holds any more delivers what it has and is gone.
Warm: one lock and one append for each entry. Source: Kong 3.9 tools/queue.lua and its settings.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from weakref import WeakSet, WeakValueDictionary

log = logging.getLogger("kongdp.plugins")

COMPLAINT_PERIOD_S = 60.0
"""Between two lines about the same outbox."""

IDLE_S = 10.0
"""How long a thread waits for more before it ends."""


class DeliveryError(Exception):
    """A batch was not taken; the message says why."""


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """Bounds and patience, in Kong's words. `bytes_max` 0: none. `retry_s` below 0: no second try."""

    batch_max: int = 1
    coalescing_s: float = 1.0
    entries_max: int = 10000
    bytes_max: int = 64 << 20
    retry_s: float = 60.0
    first_delay_s: float = 0.01
    delay_max_s: float = 60.0


class Outbox:
    """Delivers entries in order. `deliver` runs in the outbox's thread and raises DeliveryError; `close_idle` when the thread ends."""

    def __init__(
        self,
        name: str,
        deliver: Callable[[Sequence[bytes]], None],
        limits: OutboxLimits,
        close_idle: Callable[[], None] = lambda: None,
    ) -> None:
        self.dropped = 0
        self._name = name
        self._deliver = deliver
        self._limits = limits
        self._close_idle = close_idle
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._busy = False
        self._complained_at = -COMPLAINT_PERIOD_S
        _OUTBOXES.add(self)

    def put(self, entry: bytes) -> None:
        """Deliver this soon."""
        limits = self._limits
        with self._wake:
            self._waiting.append(entry)
            self._bytes += len(entry)
            while len(self._waiting) > limits.entries_max or (limits.bytes_max and self._bytes > limits.bytes_max):
                self._bytes -= len(self._waiting.popleft())
                self.dropped += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"outbox {self._name}", daemon=True)
                self._thread.start()
            elif len(self._waiting) in (1, limits.batch_max):
                self._wake.notify()

    def close(self, timeout_s: float) -> bool:
        """Deliver what waits without further patience; whether all of it went out in time."""
        until = time.monotonic() + timeout_s
        with self._wake:
            self._closing = True
            self._wake.notify()
            while (self._waiting or self._busy) and self._thread is not None:
                rest = until - time.monotonic()
                if rest <= 0 or not self._wake.wait(rest):
                    return False
        return True

    def _run(self) -> None:
        while batch := self._next():
            try:
                self._try_until_taken(batch)
            except Exception:  # a plugin boundary: a fault of ours must not end the thread for good
                log.exception("%s: %d entries are lost", self._name, len(batch))
            with self._wake:
                self._busy = False
                self._wake.notify_all()
        self._close_idle()

    def _next(self) -> list[bytes]:
        """The next batch; empty when nothing came for a while and the thread is to end."""
        limits = self._limits
        with self._wake:
            if not self._waiting and not self._closing:
                self._wake.wait(IDLE_S)
            if limits.batch_max > 1 and len(self._waiting) < limits.batch_max and self._waiting and not self._closing:
                self._wake.wait(limits.coalescing_s)
            count = min(limits.batch_max, len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(count)]
            self._bytes -= sum(map(len, batch))
            self._busy = bool(batch)
            if not batch:
                self._thread = None
                self._wake.notify_all()
            return batch

    def _try_until_taken(self, batch: Sequence[bytes]) -> None:
        limits = self._limits
        delay = limits.first_delay_s
        until = time.monotonic() + limits.retry_s
        while True:
            try:
                self._deliver(batch)
            except DeliveryError as problem:
                if self._closing or time.monotonic() + delay > until:
                    self._complain("%d entries are lost: %s", len(batch), problem)
                    return
                with self._wake:
                    self._wake.wait_for(lambda: self._closing, delay)
                delay = min(2 * delay, limits.delay_max_s)
                continue
            if self.dropped:
                self._complain("%d entries were dropped because too many waited", self.dropped)
            return

    def _complain(self, text: str, *arguments: object) -> None:
        now = time.monotonic()
        if now - self._complained_at >= COMPLAINT_PERIOD_S:
            self._complained_at = now
            log.error("%s: " + text, self._name, *arguments)


_OUTBOXES: WeakSet[Outbox] = WeakSet()
_SHARED: WeakValueDictionary[Hashable, Outbox] = WeakValueDictionary()


def shared(key: Hashable, make: Callable[[], Outbox]) -> Outbox:
    """The outbox of a destination: handlers that deliver to the same one share it while any of them lives."""
    found = _SHARED.get(key)
    if found is None:
        found = _SHARED[key] = make()
    return found


def close_all(timeout_s: float) -> None:
    """Deliver what waits everywhere, within `timeout_s` altogether; for the end of a process. Blocks."""
    until = time.monotonic() + timeout_s
    for outbox in list(_OUTBOXES):
        outbox.close(max(0.0, until - time.monotonic()))
