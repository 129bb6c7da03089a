"""Counter frames on their way to the database: collected from all nodes, committed together, acknowledged after the
commit.

In: frames from counter streams.  Out: one call of the store per batch. One batch at a time; what arrives meanwhile is
the next one. Bounded by the streams: each waits for acknowledgements after a few frames. Cold; runs on the event
loop.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from kongdp.sync.messages import CounterFrame

LOG = logging.getLogger("kongdp.controlplane.ingest")
# A transaction of this many rows takes about a second on SQLite; more would keep other writers waiting.
BATCH_ROWS_MAX = 50_000

Done = Callable[[Exception | None], None]


class CounterIngest:
    """One per process; made on its event loop, closed there."""

    def __init__(self, store: Callable[[Sequence[CounterFrame]], Awaitable[None]]) -> None:
        self._store = store
        self._waiting: deque[tuple[CounterFrame, Done]] = deque()
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
            error: Exception | None = None
            try:
                await self._store([frame for frame, _done in batch])
            except Exception as failure:
                # A boundary: a database that is away must not end the ingest; nodes keep what is not acknowledged.
                LOG.exception("cannot store %d counter frames", len(batch))
                error = failure
            for _frame, done in batch:
                done(error)

    def _take(self) -> list[tuple[CounterFrame, Done]]:
        batch = [self._waiting.popleft()]
        rows = len(batch[0][0].rows)
        while self._waiting and rows + len(self._waiting[0][0].rows) <= BATCH_ROWS_MAX:
            batch.append(self._waiting.popleft())
            rows += len(batch[-1][0].rows)
        return batch
