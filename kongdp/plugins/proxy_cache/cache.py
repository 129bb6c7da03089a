"""Answers kept in a worker's memory: by key, bounded in bytes, the least recently used out first.

In: entries with the moment they end.  Out: an entry that has not ended, or None. Time is an argument.
Hot for routes with proxy-cache. Source: ours; Kong keeps them in a shared dictionary.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from kongdp.plugins.base import Line

ENTRY_OVERHEAD_BYTES = 512
"""What an entry takes beside its body and lines, roughly."""

LARGEST_SHARE = 8
"""An answer may take one part in so many of the cache, so that one large file does not empty it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One answer. `stored_at` and `until` in s since the epoch; `ttl_s` is how long it counts as fresh."""

    status: int
    lines: tuple[Line, ...]
    body: bytes
    stored_at: float
    ttl_s: float
    until: float

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return ENTRY_OVERHEAD_BYTES + len(self.body) + sum(len(name) + len(value) for name, value in self.lines)


class MemoryCache:
    """Entries of at most `bytes_max` together."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes = 0
        self._bytes_max = bytes_max
        self._entries: OrderedDict[str, Entry] = OrderedDict()

    @property
    def entry_bytes_max(self) -> int:
        """The largest entry that is taken."""
        return self._bytes_max // LARGEST_SHARE

    def get(self, key: str, now: float) -> Entry | None:
        """The entry of a key, now the most recently used."""
        found = self._entries.get(key)
        if found is None:
            return None
        if found.until <= now:
            self.remove(key)
            return None
        self._entries.move_to_end(key)
        return found

    def put(self, key: str, entry: Entry) -> bool:
        """Keep an entry in place of what is there, unless it is too large; whether it is kept."""
        self.remove(key)
        if entry.size > self.entry_bytes_max:
            return False
        self._entries[key] = entry
        self.bytes += entry.size
        while self.bytes > self._bytes_max:
            self.remove(next(iter(self._entries)))
        return True

    def remove(self, key: str) -> None:
        """Forget a key."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= entry.size
