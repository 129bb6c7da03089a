"""Counts by key that a node's workers share: what rate limits are measured against.

In: one block of memory that all workers have mapped, and the lane that this worker writes.  Out: how much was counted for a key by all
of them together. Layout: lanes, each a table of buckets of four keys, three words each: the key's digest, the end of its window, the count.
House rules: a lane has one writer, so no count is ever lost to another process; whoever asks reads every lane. A full bucket gives up
the count whose window ends first. A key's digest is stored last and cleared first, so a reader never takes a count for another key's.
Hot for routes with rate limits: one digest, and one bucket of each lane. Source: ours; Kong counts in a dictionary that its workers lock.
"""

from __future__ import annotations

from hashlib import blake2b

KEYS_IN_BUCKET = 4
_WORDS = 3  # digest, until, count
_BUCKET_WORDS = KEYS_IN_BUCKET * _WORDS


Place = tuple[int, int]


class SharedRates:
    """The node's counts, written in one lane. `memory`: the whole block, of `lanes` lanes."""

    __slots__ = ("_buckets", "_lanes", "_mine", "_words")

    def __init__(self, memory: memoryview, lanes: int, lane: int) -> None:
        self._words = memory[: len(memory) & -8].cast("Q")
        words = len(self._words) // lanes
        self._buckets = words // _BUCKET_WORDS
        self._lanes = tuple(number * words for number in range(lanes))
        self._mine = lane * words

    def used(self, place: Place, now: float) -> int:
        """How much all workers have counted for the key at this place, in a window that has not ended."""
        digest, bucket = place
        words = self._words
        total = 0
        for lane in self._lanes:
            at = lane + bucket
            for index in range(at, at + _BUCKET_WORDS, _WORDS):
                if words[index] == digest:
                    if words[index + 1] > now:
                        total += words[index + 2]
                    break
        return total

    def add(self, place: Place, until: float, now: float) -> None:
        """Count one more in a window that ends at `until` (s since the epoch, as `now`)."""
        digest, bucket = place
        words = self._words
        at = self._mine + bucket
        chosen = at
        for index in range(at, at + _BUCKET_WORDS, _WORDS):
            if words[index] == digest:
                if words[index + 1] > now:
                    words[index + 2] += 1
                    return
                chosen = index
                break
            if words[index + 1] < words[chosen + 1]:
                chosen = index
        words[chosen] = 0
        words[chosen + 1] = int(until)
        words[chosen + 2] = 1
        words[chosen] = digest

    def place(self, key: bytes) -> Place:
        """Where a key is counted: its digest, never 0, and the offset of its bucket in a lane."""
        digest = int.from_bytes(blake2b(key, digest_size=8).digest(), "little") or 1
        return digest, digest % self._buckets * _BUCKET_WORDS


def private_rates(size: int = 65536) -> SharedRates:
    """Counts of this process alone, in `size` bytes."""
    return SharedRates(memoryview(bytearray(size)), 1, 0)
