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
from collections.abc import Callable
from pathlib import Path

from kongdp.telemetry.samples import Samples, SamplesError
from kongdp.telemetry.segment import SegmentError
from kongdp.telemetry.totals import TotalsReader

log = logging.getLogger("kongdp.counters")

AWAY_SPACING_S = 10.0
"""Resolution of samples that wait for the control plane."""

STORE_PERIOD_S = 10.0
"""How often pending samples are written while the control plane is away."""

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
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`keeps_samples`: whether there is a control plane that may want them (False on a DB-less node)."""
        self._directory = directory
        self._path = directory / f"{boot_id}{SUFFIX}"
        self._wall = wall
        self._keeps_samples = keeps_samples
        self._stored_at = 0.0
        self._spacing_s = AWAY_SPACING_S
        self._older: list[Path] = []
        self.reader = TotalsReader()
        self.samples = Samples(node_id, boot_id, now=wall())
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
        """Read what moved since the last time, for totals and samples alike."""
        rows = self.reader.refresh()
        if self._keeps_samples:
            self.samples.add(rows, self._wall(), self._spacing_s)

    def tick(self, *, is_connected: bool) -> bool:
        """Once a second: read what moved. Returns whether there is something to push."""
        self._spacing_s = 0.0 if is_connected else AWAY_SPACING_S
        self.refresh()
        now = self._wall()
        has_pending = self.samples.count_pending() > 0
        if not has_pending:
            self._forget()
        elif not is_connected and now - self._stored_at >= STORE_PERIOD_S:
            self.store()
        return has_pending

    def store(self) -> None:
        """Write everything that is not acknowledged; then this file stands for those of earlier boots too."""
        self._stored_at = self._wall()
        if not self._keeps_samples or not self.samples.count_pending():
            return
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(self.samples.dump())
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self._path)
        except OSError as error:
            log.error("counters that are not delivered yet cannot be kept in %s: %s", self._directory, error.strerror)
            with contextlib.suppress(OSError):
                beside.unlink()
            return
        self._remove(self._older)
        self._older = [self._path]

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
