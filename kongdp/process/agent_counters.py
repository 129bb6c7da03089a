"""The node's counters in the agent: read from the workers' segments each second, pushed, and on disk while nobody
takes them.

In: segments (by descriptor), the time, acknowledgements (through Samples).  Out: totals for /metrics, frames, files
under `<prefix>/counters`.
House rules: no count lives here that a new agent could not read again from the segments; what is pending when this
agent ends, or while the control plane is away, is on disk, under the boot that counted it; files go only when
everything in them is acknowledged.
Cold: once a second. Source: ours (protocol notes 8.3).
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Generator
from pathlib import Path

from kongdp.files import replace_file
from kongdp.telemetry.samples import SAMPLES_MAX, Samples, SamplesError
from kongdp.telemetry.segment import SegmentError
from kongdp.telemetry.totals import CodeRow, TotalsReader

log = logging.getLogger("kongdp.counters")

AWAY_SPACING_S = 10.0
"""Resolution of samples that wait for the control plane."""

STORE_PERIOD_S = 10.0
"""How often pending samples are written while the control plane is away."""

STORE_SHARE_MAX = 0.05
"""Writing takes no more than this share of the agent's time: half a million pending rows take more than a second."""

SUFFIX = ".json"


class Counters:
    """Totals and samples of this boot, and what earlier boots could not deliver."""

    def __init__(
        self,
        directory: Path,
        node_id: str,
        boot_id: str,
        *,
        keeps_samples: bool = True,
        samples_max: int = SAMPLES_MAX,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`keeps_samples`: whether there is a control plane that may want them (False on a DB-less node)."""
        self._directory = directory
        self._path = directory / f"{boot_id}{SUFFIX}"
        self._wall = wall
        self._monotonic = monotonic
        self._keeps_samples = keeps_samples
        self._store_due_at = 0.0  # monotonic
        self._reading: Generator[None, None, list[CodeRow]] | None = None
        self._complaints: dict[str, int] = {}
        self._unreadable: set[tuple[int, int]] = set()
        self._spacing_s = AWAY_SPACING_S
        self._older: list[Path] = []
        self.reader = TotalsReader()
        self.samples = Samples(node_id, boot_id, now=wall(), samples_max=samples_max)
        if keeps_samples:
            self._restore()

    def attach(self, index: int, generation: int, fd: int) -> None:
        """Read a segment from now on; `fd` is closed. A segment that cannot be read is reported, once."""
        try:
            self.reader.attach(index, generation, fd)
        except SegmentError as error:
            log.error("counter segment %d of generation %d cannot be read: %s", index, generation, error)
        finally:
            with contextlib.suppress(OSError):
                os.close(fd)

    def refresh(self) -> None:
        """Read everything that was counted until now, for totals and samples alike. A reading that is under way is ended first."""
        self._read_to_end()
        self._begin_reading()
        self._read_to_end()

    def tick(self, *, is_connected: bool) -> Generator[None, None, bool]:
        """Once a second: read what moved, pausing between slices. Returns whether there is something to push."""
        self._spacing_s = 0.0 if is_connected else AWAY_SPACING_S
        if self._reading is None:
            self._begin_reading()
        reading = self._reading
        while self._reading is reading:
            self._read_slice()
            yield
        has_pending = self.samples.count_pending() > 0
        if not has_pending:
            self._forget()
        elif not is_connected and self._monotonic() >= self._store_due_at:
            self.store()
        self._complain()
        return has_pending

    def _begin_reading(self) -> None:
        self._reading = self.reader.refresh_steps(self._monotonic())

    def _read_to_end(self) -> None:
        while self._reading is not None:
            self._read_slice()

    def _read_slice(self) -> None:
        """Go on with the reading under way. At its end, what moved goes to the samples: a reading is never given up."""
        assert self._reading is not None
        try:
            next(self._reading)
        except StopIteration as end:
            self._reading = None
            if self._keeps_samples:
                self.samples.latencies = tuple(self.reader.totals.latencies)
                self.samples.add(end.value, self._wall(), self._spacing_s)

    def _complain(self) -> None:
        """Say what could not be counted or kept as it should, each time it has become more. Counts that are lost are errors."""
        totals, samples = self.reader.totals, self.samples
        self._if_more("%d rows of counters of boots long ago are lost: too many boots wait", samples.count_rows_dropped)
        self._if_more("%d requests are counted without route and status", totals.requests_overflowed)
        self._if_more(
            "counters of %d routes, consumers or statuses are added up in common rows (kongdp_counter_segment_bytes)",
            totals.rows_refused,
        )
        for (index, generation), reason in self.reader.errors.items():
            if (index, generation) not in self._unreadable:
                self._unreadable.add((index, generation))
                log.error("counter segment %d of generation %d cannot be read: %s", index, generation, reason)

    def _if_more(self, text: str, count: int) -> None:
        if count > self._complaints.get(text, 0):
            self._complaints[text] = count
            log.error(text, count)

    def store(self) -> None:
        """Write everything that is not acknowledged; then this file stands for those of earlier boots too."""
        began = self._monotonic()
        self._store_due_at = began + STORE_PERIOD_S
        if not self._keeps_samples or not self.samples.count_pending():
            return
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace_file(self._path, self.samples.dump())
        except OSError as error:
            log.error("counters that are not delivered yet cannot be kept in %s: %s", self._directory, error.strerror)
            return
        self._remove(self._older)
        self._older = [self._path]
        taken_s = self._monotonic() - began
        self._store_due_at = began + max(STORE_PERIOD_S, taken_s / STORE_SHARE_MAX)

    def _restore(self) -> None:
        """Take back what earlier agents, of this boot or others, left behind. A damaged file is set aside, not
        deleted.
        """
        for path in sorted(self._directory.glob(f"*{SUFFIX}")):
            try:
                self.samples.restore(path.read_bytes())
            except (SamplesError, OSError) as error:
                log.error("kept counters in %s are not used: %s", path, error)
                with contextlib.suppress(OSError):
                    path.rename(path.with_suffix(".damaged"))
                continue
            self._older.append(path)
        if self._older:
            log.info("%d samples of earlier runs wait for the control plane", self.samples.count_pending())

    def _forget(self) -> None:
        """Everything is acknowledged: the files have done their work."""
        if self._older:
            self._remove(self._older)
            self._older = []

    def _remove(self, paths: list[Path]) -> None:
        for path in paths:
            if path != self._path or not self.samples.count_pending():
                with contextlib.suppress(OSError):
                    path.unlink()
