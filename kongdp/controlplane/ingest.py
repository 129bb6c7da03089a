"""Counter frames on their way to the database: collected from all nodes, committed together, acknowledged after the
commit.

In: frames from counter streams.  Out: one call of the store per batch. One batch at a time; what arrives meanwhile is
the next one. Bounded by the streams: each waits for acknowledgements after a few frames. Cold; runs on the event
loop.
"""

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence

from kongdp.sync.messages import CounterFrame

LOG = logging.getLogger("kongdp.controlplane.ingest")
# A transaction of this many rows takes about a second on SQLite; more would keep other writers waiting.
BATCH_ROWS_MAX = 50_000

# Nodes in a row whose frames cannot be stored, before it is taken for the database's fault.
FAILURES_MAX = 2

Done = Callable[[Exception | None], None]
_Waiting = tuple[CounterFrame, Done]


class CounterIngest:
    """One per process; made on its event loop, closed there."""

    def __init__(self, store: Callable[[Sequence[CounterFrame]], Awaitable[None]]) -> None:
        self._store = store
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._is_closing = False
        self._task = asyncio.get_running_loop().create_task(self._run())

    def submit(self, frame: CounterFrame, done: Done) -> None:
        """Store a frame soon; `done` is called after the commit, or with what went wrong."""
        self._waiting.append((frame, done))
        self._wake.set()

    async def close(self) -> None:
        """Store what is waiting, then stop."""
        self._is_closing = True
        self._wake.set()
        await self._task

    async def _run(self) -> None:
        while not (self._is_closing and not self._waiting):
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
                continue
            batch = self._take()
            error = await self._try_store(batch)
            by_node = _by_node(batch) if error is not None else [batch]
            if len(by_node) > 1:
                await self._store_apart(by_node)
                continue
            _tell(batch, error)

    async def _store_apart(self, by_node: list[list[_Waiting]]) -> None:
        """What cannot be stored may be one node's: the others' is stored without it, unless all of it fails."""
        error: Exception | None = None
        failures = 0
        for waiting in by_node:
            if failures < FAILURES_MAX:
                error = await self._try_store(waiting)
                failures = failures + 1 if error is not None else 0
            _tell(waiting, error)

    async def _try_store(self, waiting: list[_Waiting]) -> Exception | None:
        try:
            await self._store([frame for frame, _done in waiting])
        except Exception as failure:
            # A boundary: a database that is away must not end the ingest; nodes keep what is not acknowledged.
            nodes = sorted({frame.node_id for frame, _done in waiting})
            LOG.exception("cannot store %d counter frames of %d nodes, %s", len(waiting), len(nodes), nodes[0])
            return failure
        return None

    def _take(self) -> list[_Waiting]:
        batch = [self._waiting.popleft()]
        rows = len(batch[0][0].rows)
        while self._waiting and rows + len(self._waiting[0][0].rows) <= BATCH_ROWS_MAX:
            batch.append(self._waiting.popleft())
            rows += len(batch[-1][0].rows)
        return batch


def _tell(waiting: list[_Waiting], error: Exception | None) -> None:
    for frame, done in waiting:
        try:
            done(error)
        except Exception:
            # A boundary: one stream's fault must not end the ingest of all.
            LOG.exception("node %s could not be told of its counter frame %d", frame.node_id, frame.seq)


def _by_node(batch: list[_Waiting]) -> list[list[_Waiting]]:
    nodes: defaultdict[str, list[_Waiting]] = defaultdict(list)
    for waiting in batch:
        nodes[waiting[0].node_id].append(waiting)
    return list(nodes.values())
