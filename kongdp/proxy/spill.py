"""Buffered request bodies that outgrow memory, in a file: only where a setting allows it, and never touched by the loop's thread.

In: pieces of a body as the client sends them.  Out: the same pieces for the exchange, once the body is whole or the file may not grow
further; until then no upstream waits for a slow client.
House rules: one thread of the worker writes and reads; what waits for it is bounded, then the client's reading pauses. All files of a
worker together stay within one budget; beyond it bodies stream from memory as without the setting. Files have no name: nothing is left
behind, whatever ends the process. A body is read back once, so that a try which had begun to send it is not repeated (Kong repeats it).
Warm: a few calls for each 256 KiB of large bodies, none for others.
Source: nginx's client_body_temp_path; ours: the budget, and that going beyond it is no error.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kongdp.proxy import failures

if TYPE_CHECKING:
    from kongdp.proxy.answers import Client
    from kongdp.proxy.exchange import Exchange

log = logging.getLogger(__name__)

PIECE_BYTES = 262144
"""Read back at once; as much as uvloop reads from a socket."""

QUEUED_BYTES_MAX = 1 << 20
"""Of one body, waiting for the thread; then its client waits."""


class SpillStore:
    """The thread and the budget of one worker. `bytes_used`: in files and on the way there."""

    def __init__(self, loop: asyncio.AbstractEventLoop, directory: Path, bytes_max: int) -> None:
        self._loop = loop
        self._directory = directory
        self._bytes_max = bytes_max
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spill")
        self.bytes_used = 0

    @property
    def full(self) -> bool:
        """Whether no body may begin or go on in a file."""
        return self.bytes_used >= self._bytes_max

    def submit(self, then: Callable[[asyncio.Future[Any]], None], work: Callable[..., Any], *arguments: Any) -> None:
        """Have the thread do `work`; `then` gets its future, on the loop."""
        self._loop.run_in_executor(self._thread, work, *arguments).add_done_callback(then)

    def open(self) -> int:
        """A file without a name (in the thread)."""
        self._directory.mkdir(parents=True, exist_ok=True)
        try:
            return os.open(self._directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError:  # not every file system knows O_TMPFILE
            path = self._directory / os.urandom(16).hex()
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            path.unlink()
            return fd

    def close(self) -> None:
        """End the thread; files under way are closed by their bodies."""
        self._thread.shutdown(wait=False)


class Spill:
    """One body. First `write` fills the file; then the exchange is told to begin, and gets pieces while it `resume`s."""

    __slots__ = (
        "_busy",
        "_client",
        "_closed",
        "_ended",
        "_exchange",
        "_fd",
        "_feeding",
        "_held",
        "_position",
        "_queue",
        "_queued_bytes",
        "_store",
        "_wanted",
        "_written",
    )

    def __init__(self, store: SpillStore, client: Client, exchange: Exchange) -> None:
        self._store = store
        self._client = client
        self._exchange = exchange
        self._fd = -1
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._written = 0
        self._position = 0
        self._ended = False  # the client sent all of the body
        self._held = False  # its reading is paused by us
        self._feeding = False
        self._wanted = False  # the exchange takes more
        self._busy = False  # the thread has something of ours
        self._closed = False

    def __repr__(self) -> str:
        return f"<Spill {self._written} bytes written, {self._position} read{', feeding' if self._feeding else ''}>"

    def write(self, data: bytes, ended: bool) -> None:
        """The next piece of the client."""
        if self._exchange.refuses_length(self._written + self._queued_bytes + len(data)):
            return
        self._ended = ended
        if data:
            self._queue.append(data)
            self._queued_bytes += len(data)
            self._store.bytes_used += len(data)
        if not ended and (self._queued_bytes > QUEUED_BYTES_MAX or self._store.full):
            self._hold()
        self._work()

    def pause(self) -> None:
        """The exchange takes no more for now."""
        self._wanted = False

    def resume(self) -> None:
        """The exchange takes more."""
        self._wanted = True
        self._work()

    def close(self) -> None:
        """The exchange is over, or has the whole body."""
        if self._closed:
            return
        self._closed = True
        self._store.bytes_used -= self._written + self._queued_bytes
        self._queue.clear()
        if not self._busy:
            self._close_file()
        self._release()

    def _work(self) -> None:
        """Give the thread its next task, if there is one."""
        if self._busy or self._closed:
            return
        if self._queue:
            self._busy = True
            batch = b"".join(self._queue)
            self._queue.clear()
            self._store.submit(self._appended, self._append, batch)
        elif not self._feeding:
            if self._ended or self._store.full:
                self._feeding = True
                self._exchange.body_spilled(self._written if self._ended else -1)
        elif self._wanted:
            self._busy = True
            self._store.submit(self._read, os.pread, self._fd, PIECE_BYTES, self._position)

    def _append(self, batch: bytes) -> int:
        if self._fd < 0:
            self._fd = self._store.open()
        view = memoryview(batch)
        while view:
            view = view[os.write(self._fd, view) :]
        return len(batch)

    def _appended(self, future: asyncio.Future[int]) -> None:
        if not self._came_back(future):
            return
        count = future.result()
        self._written += count
        self._queued_bytes -= count
        if self._queued_bytes <= QUEUED_BYTES_MAX and not self._store.full:
            self._release()
        self._work()

    def _read(self, future: asyncio.Future[bytes]) -> None:
        if not self._came_back(future):
            return
        data = future.result()
        self._position += len(data)
        if self._position < self._written:
            self._exchange.request_body(data, False)
            self._work()
            return
        # all of it; where the budget ended before the body did, the rest comes from the client
        self._client.spill = None
        self.close()
        self._exchange.request_body(data, self._ended)

    def _came_back(self, future: asyncio.Future[Any]) -> bool:
        """Whether the thread's work succeeded and anybody still wants it."""
        self._busy = False
        problem = future.exception()
        if self._closed:
            self._close_file()
            return False
        if problem is not None:
            log.error("a body cannot be kept in a file: %s", problem)
            self._exchange.request_body_fails(500, failures.UNEXPECTED)
            self.close()
            return False
        return True

    def _hold(self) -> None:
        if not self._held:
            self._held = True
            self._client.hold()

    def _release(self) -> None:
        if self._held:
            self._held = False
            self._client.release()

    def _close_file(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
