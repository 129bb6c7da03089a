"""Slowing down whoever guesses: after a few failures a name or an address must wait, twice as long each time.

In: attempts with the time.  Out: seconds to wait. No clock of its own. Bounded: the keys idle longest are forgotten
first.
Cold.
"""

from collections import OrderedDict
from dataclasses import dataclass

FAILURES_FREE = 5
WAIT_FIRST_S = 1.0
WAIT_MAX_S = 300.0
# A key that was quiet this long starts afresh.
MEMORY_S = 900.0
KEYS_MAX = 10_000


@dataclass(slots=True)
class _Record:
    failures: int
    last_at: float


class Throttle:
    """Failures by key (a user's name, an address)."""

    def __init__(self) -> None:
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def wait_s(self, key: str, now: float) -> float:
        """How long the key must wait before its next attempt; 0 when it need not."""
        record = self._records.get(key)
        if record is None or record.failures < FAILURES_FREE:
            return 0.0
        wait = min(WAIT_FIRST_S * 2.0 ** min(record.failures - FAILURES_FREE, 16), WAIT_MAX_S)
        return max(0.0, record.last_at + wait - now)

    def failed(self, key: str, now: float) -> None:
        """Count a failure."""
        record = self._records.pop(key, None)
        if record is None or now - record.last_at > MEMORY_S:
            record = _Record(0, now)
        record.failures += 1
        record.last_at = now
        self._records[key] = record
        while len(self._records) > KEYS_MAX:
            self._records.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Forget the failures of a key that has shown it knows."""
        self._records.pop(key, None)
