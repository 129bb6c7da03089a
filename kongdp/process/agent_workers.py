"""Brings one configuration to every worker, and knows which worker serves which.

In: the configuration in force as a table, its successor as a difference, and what workers say on the channel.  Out:
messages to workers, and `settled`: what became of the newest configuration on all live workers.
House rules: a worker that serves the base of a difference gets the difference, any other one the whole table; sending
waits for slow readers and gives the loop a turn after each slice, so that a large table stops neither pings nor
beats. A worker that died counts no longer; one that comes later is brought up to date by its hello. Nothing is sent
before the agent knows what is in force (`open`).
Cold: a configuration change at a time. Source: ours (architecture, section 6).
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

from kongdp.entities.hashing import EMPTY_HASH
from kongdp.entities.table import Change, Table
from kongdp.process.channel import Peer
from kongdp.process.messages import (
    SLICE_ROWS_MAX,
    Applied,
    Begin,
    Commit,
    Failed,
    Hello,
    Message,
    Slice,
    WantTable,
)

log = logging.getLogger("kongdp.agent")


@dataclass(slots=True)
class Target:
    """What workers shall serve: the whole table, and how to come to it from `base_hash`."""

    hash: str
    table: Table
    base_hash: str | None = None
    changes: tuple[Change, ...] = ()


@dataclass(slots=True)
class _Worker:
    """One connected worker. `serves`: the hash it last confirmed; `refused`: the one it could not apply, and why."""

    hello: Hello
    serves: str
    refused: str | None = None
    reason: str = ""
    was_offered_whole: bool = False
    sending: asyncio.Task[None] | None = None


class Workers:
    """The agent's picture of its workers. `on_change` is called whenever a worker came, went or answered."""

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self._on_change = on_change
        self._workers: dict[Peer, _Worker] = {}
        self._target = Target(EMPTY_HASH, {})
        self._is_open = False
        self._settled: asyncio.Future[str | None] | None = None

    @property
    def target_hash(self) -> str:
        """The hash that workers shall serve."""
        return self._target.hash

    def open(self, target: Target | None = None) -> None:
        """From now on answer hellos: with `target` (a configuration of an earlier run), or with what was set
        meanwhile.
        """
        if target is not None:
            self._target = target
        self._is_open = True
        for peer in tuple(self._workers):
            self._bring_up_to_date(peer)

    def set_target(self, target: Target) -> None:
        """Bring a newer configuration to everybody; what was on its way before is abandoned."""
        self._target = target
        self._is_open = True
        for peer, worker in self._workers.items():
            worker.refused = None
            worker.was_offered_whole = False
            self._bring_up_to_date(peer)

    async def settled(self) -> str | None:
        """Wait until every live worker (at least one) serves the target: None. Or the reason of the first that
        cannot.
        """
        self._settled = asyncio.get_running_loop().create_future()
        self._judge()
        try:
            return await self._settled
        finally:
            self._settled = None

    def count_serving(self) -> int:
        """Live workers that serve the target."""
        return sum(worker.serves == self._target.hash for worker in self._workers.values())

    def count_live(self) -> int:
        """Workers that are connected and have said who they are."""
        return len(self._workers)

    def count_ready(self) -> int:
        """Workers that take traffic with some configuration, or have been told that there is none."""
        is_none = self._is_open and self._target.hash == EMPTY_HASH
        return sum(is_none or worker.serves != EMPTY_HASH for worker in self._workers.values())

    def common_hash(self) -> str:
        """The hash that every live worker serves, the empty one when they differ or there is none: what a new agent
        finds.
        """
        served = {worker.serves for worker in self._workers.values()}
        return served.pop() if len(served) == 1 else EMPTY_HASH

    def pids(self) -> list[int]:
        """Their processes, by index."""
        return [worker.hello.pid for worker in sorted(self._workers.values(), key=lambda worker: worker.hello.index)]

    # what the channel calls

    def on_message(self, peer: Peer, message: Message) -> None:
        """A worker said something."""
        match message:
            case Hello():
                self._workers[peer] = _Worker(message, message.hash)
                self._bring_up_to_date(peer)
            case WantTable():
                self._want_table(peer, message.hash)
            case Applied():
                self._applied(peer, message)
            case Failed():
                self._failed(peer, message)
            case _:
                log.warning("channel: unexpected %s from a worker, closing", type(message).__name__)
                peer.close()
        self._judge()
        self._on_change()

    def on_close(self, peer: Peer) -> None:
        """A worker is gone."""
        worker = self._workers.pop(peer, None)
        if worker is not None:
            _stop(worker)
            self._judge()
            self._on_change()

    def _want_table(self, peer: Peer, has: str) -> None:
        worker = self._workers.get(peer)
        if worker is not None:
            worker.serves = has
            self._send(peer, worker, whole=True)

    def _applied(self, peer: Peer, message: Applied) -> None:
        worker = self._workers.get(peer)
        if worker is not None:
            worker.serves = message.hash
            worker.refused = None
            log.info("worker %d serves configuration %s (%.3f s)", worker.hello.index, message.hash, message.seconds)

    def _failed(self, peer: Peer, message: Failed) -> None:
        """A worker could not apply: once it gets the whole table, in case its own state was the reason."""
        worker = self._workers.get(peer)
        if worker is None or message.hash != self._target.hash:
            return
        log.error("worker %d cannot apply configuration %s: %s", worker.hello.index, message.hash, message.reason)
        if worker.was_offered_whole:
            worker.refused, worker.reason = message.hash, message.reason
        else:
            self._send(peer, worker, whole=True)

    def _bring_up_to_date(self, peer: Peer) -> None:
        worker = self._workers[peer]
        target = self._target
        if not self._is_open:
            return
        if target.hash == EMPTY_HASH:
            # Without a configuration there is nothing to bring; a worker that has one from an earlier agent keeps
            # serving it.
            if worker.serves == EMPTY_HASH:
                peer.send(Commit(EMPTY_HASH))
        elif worker.serves != target.hash:
            self._send(peer, worker, whole=worker.serves != target.base_hash)
        elif worker.sending is not None:
            _stop(worker)

    def _send(self, peer: Peer, worker: _Worker, *, whole: bool) -> None:
        _stop(worker)
        worker.was_offered_whole = whole
        worker.sending = asyncio.create_task(_send(peer, self._target, whole=whole), name="configuration to a worker")
        worker.sending.add_done_callback(partial(self._sent, peer, self._target.hash))

    def _sent(self, peer: Peer, config_hash: str, sending: "asyncio.Task[None]") -> None:
        """What cannot be sent (a row too large for a frame) cannot be applied: whoever waits must not wait for ever."""
        worker = self._workers.get(peer)
        error = None if sending.cancelled() else sending.exception()
        if error is None or worker is None or config_hash != self._target.hash:
            return
        log.error("configuration %s cannot be sent to worker %d: %s", config_hash, worker.hello.index, error)
        worker.refused, worker.reason = config_hash, f"it cannot be sent: {error}"
        self._judge()
        self._on_change()

    def _judge(self) -> None:
        """Resolve `settled` when the answer is known."""
        if self._settled is None or self._settled.done() or not self._workers:
            return
        target_hash = self._target.hash
        for worker in self._workers.values():
            if worker.refused == target_hash:
                self._settled.set_result(f"worker {worker.hello.index}: {worker.reason}")
                return
        if all(worker.serves == target_hash for worker in self._workers.values()):
            self._settled.set_result(None)


def whole_table(table: Table) -> Iterator[Change]:
    """A table as changes to an empty one."""
    for collection, rows in table.items():
        for id_, row in rows.items():
            yield collection, id_, row


async def _send(peer: Peer, target: Target, *, whole: bool) -> None:
    """Begin, slices, commit, at the reader's pace. Ends silently when the worker is gone."""
    count = sum(map(len, target.table.values())) if whole else len(target.changes)
    changes: Iterable[Change] = whole_table(target.table) if whole else target.changes
    if not peer.send(Begin(target.hash, None if whole else target.base_hash, count)):
        return
    iterator = iter(changes)
    while piece := tuple(islice(iterator, SLICE_ROWS_MAX)):
        if not peer.send(Slice(piece)) or not await peer.drain():
            return
        await asyncio.sleep(0)
    peer.send(Commit(target.hash))


def _stop(worker: _Worker) -> None:
    if worker.sending is not None:
        worker.sending.cancel()
        worker.sending = None
