"""Samples for the control plane: totals since boot, kept until they are acknowledged.

In: changed code rows with their time, acknowledgements, losses of the connection. Out: frames to send, bytes for the
disk. A sample holds the rows that changed, as totals since the node's boot. Totals make every failure harmless: a frame
sent twice, late or in another order changes nothing at the receiver, and of two samples the newer row says all the
older did. So two neighbours can become one that has the later time: resolution thins, counts never do. House rules: a
row is either pending or in flight under one sequence number; sequence numbers are never used twice, not even by the
next agent of the same boot (they start at the wall clock in ms); time is always passed in. Cold: once a second. Source:
ours (frames of /v1/counters between our data plane and our control plane).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import orjson

from kongdp.errors import KongdpError
from kongdp.telemetry.totals import CodeRow

# Rows of one frame: 5000 are about 300 KiB of JSON, far below any message limit.
FRAME_ROWS_MAX = 5000
# Frames sent but not acknowledged. The receiver answers within a round trip and a transaction.
FRAMES_IN_FLIGHT_MAX = 4
# Pending samples before thinning: a day at 10 s, two days at 20 s, and so on.
SAMPLES_MAX = 8640
# Pending rows before thinning: about 100 MB at worst. What remains when all is thinned (one sample a boot) is never
# dropped.
ROWS_MAX = 500_000

# Boots that wait for a control plane. A node that boots more often while it reaches none, with traffic each time, loses
# the counts of the oldest boots (counted in `count_rows_dropped`): the alternative is a disk that fills.
BOOTS_MAX = 256

_FORMAT = 1

# (route id, status, source)
_RowKey = tuple[str, int, str]


class SamplesError(KongdpError):
    """Stored samples cannot be read; the message says why."""


class Origin(NamedTuple):
    """What totals are totals of: one boot of one node."""

    node_id: str
    boot_id: str


@dataclass(frozen=True, slots=True)
class Frame:
    """What is sent in one message. `at` is Unix time in s; rows are totals since the boot of `origin`, `latencies` its
    requests by latency, for whoever looks on: they are never sent again.
    """

    origin: Origin
    seq: int
    at: float
    rows: tuple[CodeRow, ...]
    latencies: tuple[int, ...] = ()

    def to_json(self) -> bytes:
        """The text of the message."""
        return orjson.dumps(
            {
                "node_id": self.origin.node_id,
                "boot_id": self.origin.boot_id,
                "seq": self.seq,
                "at": self.at,
                "rows": [list(row) for row in self.rows],
                **({"latencies": self.latencies} if self.latencies else {}),
            }
        )


@dataclass(slots=True)
class _Sample:
    """Rows of one moment. `opened` is when it began to collect, `at` the time of its newest row."""

    origin: Origin
    opened: float
    at: float
    rows: dict[_RowKey, int] = field(default_factory=dict)

    def absorb(self, later: "_Sample") -> None:
        """Take over a neighbour of the same origin. The larger total is the newer one, whatever the wall clock did."""
        for key, total in later.rows.items():
            if total > self.rows.get(key, 0):
                self.rows[key] = total
        self.at = max(self.at, later.at)


class Samples:
    """Pending samples of this boot and of earlier ones whose node could not deliver them."""

    def __init__(
        self,
        node_id: str,
        boot_id: str,
        *,
        now: float,
        samples_max: int = SAMPLES_MAX,
        rows_max: int = ROWS_MAX,
        boots_max: int = BOOTS_MAX,
        frame_rows_max: int = FRAME_ROWS_MAX,
        frames_in_flight_max: int = FRAMES_IN_FLIGHT_MAX,
    ) -> None:
        """`now` is Unix time in s; the limits are explained at their defaults."""
        self._origin = Origin(node_id, boot_id)
        self._samples_max = samples_max
        self._rows_max = rows_max
        self._boots_max = boots_max
        self._frame_rows_max = frame_rows_max
        self._frames_in_flight_max = frames_in_flight_max
        self._seq = int(now * 1000)
        self._pending: list[_Sample] = []  # by boot, then time
        self._in_flight: dict[int, _Sample] = {}
        self._rows_pending = 0
        self.latencies: tuple[int, ...] = ()
        self.count_thinned = 0
        self.count_rows_dropped = 0

    def add(self, rows: Iterable[CodeRow], at: float, spacing_s: float = 0) -> None:
        """Keep changed rows of time `at`. Within `spacing_s` of the newest sample's beginning they join that sample.

        Callers use 0 while the control plane takes frames and 10 while it is away. Nothing happens without rows.
        """
        fresh = _Sample(self._origin, at, at, {(row.route_id, row.code, row.source): row.total for row in rows})
        if not fresh.rows:
            return
        newest = self._pending[-1] if self._pending else None
        if newest is not None and newest.origin == self._origin and 0 <= at - newest.opened < spacing_s:
            before = len(newest.rows)
            newest.absorb(fresh)
            self._rows_pending += len(newest.rows) - before
        else:
            self._pending.append(fresh)
            self._rows_pending += len(fresh.rows)
        self._thin()

    def next_frame(self) -> Frame | None:
        """The next frame to send, oldest rows first; None when nothing is pending or enough is in flight.

        The frame is in flight from now on: `acknowledge` or `disconnected` decides what becomes of its rows.
        """
        if not self._pending or len(self._in_flight) >= self._frames_in_flight_max:
            return None
        oldest = self._pending[0]
        if len(oldest.rows) <= self._frame_rows_max:
            sent = self._pending.pop(0)
        else:
            sent = _Sample(oldest.origin, oldest.opened, oldest.at)
            for key in list(oldest.rows)[: self._frame_rows_max]:
                sent.rows[key] = oldest.rows.pop(key)
        self._rows_pending -= len(sent.rows)
        self._seq += 1
        self._in_flight[self._seq] = sent
        rows = tuple(CodeRow(*key, total) for key, total in sent.rows.items())
        is_of_now = sent.origin == self._origin and not self._pending
        return Frame(sent.origin, self._seq, sent.at, rows, self.latencies if is_of_now else ())

    def acknowledge(self, seq: int) -> bool:
        """The control plane has stored this frame, and this one only: others may have been lost. False when unknown."""
        return self._in_flight.pop(seq, None) is not None

    def disconnected(self) -> None:
        """The connection is gone: what was in flight is pending again and will be sent under new numbers."""
        back = list(self._in_flight.values())
        self._in_flight.clear()
        self._pending = _merge(back, self._pending)
        self._rows_pending = sum(len(sample.rows) for sample in self._pending)
        self._thin()

    def count_pending(self) -> int:
        """Samples not acknowledged, those in flight included."""
        return len(self._pending) + len(self._in_flight)

    def count_rows(self) -> int:
        """Rows not acknowledged, those in flight included."""
        return self._rows_pending + sum(len(sample.rows) for sample in self._in_flight.values())

    def oldest_at(self) -> float | None:
        """Time of the oldest sample not acknowledged."""
        times = [sample.at for sample in (*self._in_flight.values(), *self._pending[:1])]
        return min(times, default=None)

    def dump(self) -> bytes:
        """All that is not acknowledged, for the disk."""
        samples = _merge(list(self._in_flight.values()), [_copy(sample) for sample in self._pending])
        stored = [[*each.origin, each.opened, each.at, [[*key, n] for key, n in each.rows.items()]] for each in samples]
        return orjson.dumps({"format": _FORMAT, "seq": self._seq, "samples": stored})

    def restore(self, data: bytes) -> None:
        """Take back what an earlier agent dumped, of this boot or another.

        Raises SamplesError, with nothing changed, when the bytes are not a dump this build reads.
        """
        seq, samples = _parse(data)
        self._seq = max(self._seq, seq)
        self._pending = self._within_boots(_merge(samples, self._pending))
        self._rows_pending = sum(len(sample.rows) for sample in self._pending)
        self._thin()

    def _within_boots(self, samples: list[_Sample]) -> list[_Sample]:
        boots = dict.fromkeys(sample.origin for sample in samples)
        kept = set(list(boots)[-self._boots_max :])
        self.count_rows_dropped += sum(len(sample.rows) for sample in samples if sample.origin not in kept)
        return [sample for sample in samples if sample.origin in kept]

    def _thin(self) -> None:
        """While a bound is exceeded and there are neighbours to join, join those that are missed least."""
        while len(self._pending) > self._samples_max or self._rows_pending > self._rows_max:
            before = len(self._pending)
            self._pending = _thinned(self._pending)
            self._rows_pending = sum(len(sample.rows) for sample in self._pending)
            self.count_thinned += before - len(self._pending)
            if len(self._pending) == before:
                return


def _thinned(samples: list[_Sample]) -> list[_Sample]:
    """The quarter of neighbours of one boot that span least in proportion to their age joined; oldest first.

    So resolution falls with age, as it does in the control plane's own record, and never where it is not needed. With
    nothing to join the list comes back as it was.
    """
    now = max(sample.at for sample in samples)

    def weight(one: _Sample, next_one: _Sample) -> float:
        return (next_one.at - one.opened) / (now - one.opened + 1)

    weights = sorted(weight(a, b) for a, b in pairwise(samples) if a.origin == b.origin)
    if not weights:
        return samples
    limit = weights[len(weights) // 4]
    kept: list[_Sample] = []
    paired = True  # the last one kept has been joined in this pass
    for sample in samples:
        if not paired and kept[-1].origin == sample.origin and weight(kept[-1], sample) <= limit:
            kept[-1].absorb(sample)
            paired = True
        else:
            kept.append(sample)
            paired = False
    return kept


def _merge(earlier: list[_Sample], later: list[_Sample]) -> list[_Sample]:
    """Samples by boot (the one with the oldest sample first) and time; those of one boot and time become one."""
    boots: dict[Origin, float] = {}
    for sample in (*earlier, *later):
        boots[sample.origin] = min(sample.at, boots.get(sample.origin, sample.at))
    merged: list[_Sample] = []
    for sample in sorted([*earlier, *later], key=lambda each: (boots[each.origin], each.origin, each.at)):
        last = merged[-1] if merged else None
        if last is not None and (last.origin, last.at) == (sample.origin, sample.at):
            last.absorb(sample)
        else:
            merged.append(_copy(sample))
    return merged


def _copy(sample: _Sample) -> _Sample:
    return _Sample(sample.origin, sample.opened, sample.at, dict(sample.rows))


def _parse(data: bytes) -> tuple[int, list[_Sample]]:
    try:
        stored: Any = orjson.loads(data)
        if stored["format"] != _FORMAT:
            raise SamplesError(f"stored samples have format {stored['format']}, this build reads {_FORMAT}")
        samples = []
        for node_id, boot_id, opened, at, rows in stored["samples"]:
            sample = _Sample(Origin(str(node_id), str(boot_id)), float(opened), float(at))
            for route_id, code, source, total in rows:
                sample.rows[str(route_id), int(code), str(source)] = int(total)
            samples.append(sample)
        return int(stored["seq"]), samples
    except (ValueError, TypeError, KeyError) as error:
        raise SamplesError(f"stored samples cannot be read: {type(error).__name__}: {error}") from None
