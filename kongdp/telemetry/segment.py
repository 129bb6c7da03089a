"""Shared-memory segment of counters: one process writes, any process reads at any time.

In: the number of an open file: a memfd that the supervisor made and filled with posix_fallocate (a sparse one could end
in SIGBUS). Out: rows. A row is a key (bytes) and a run of unsigned 64-bit slots; it never moves.
Layout, all words native and aligned:  header | slots, growing upwards ->   free   <- directory, growing downwards
Slots and directory share the free area, so nobody has to guess how many rows of which width there will be.
House rules:
1. A row is published by one aligned store of the directory's length, after all it says is in place. A writer killed
   between any two stores leaves a segment that is complete up to the last published row; the next writer goes on there.
2. Slots are stored through a native "Q" view, one machine store each (`struct` with "<Q" writes bytewise: readers would
   see torn values).
3. A full segment never raises: the row goes to a fallback, and that is counted.
`slots[i] += 1` is hot; everything else here is cold. Source: ours.
"""

import mmap
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from zlib import crc32

from kongdp.errors import KongdpError

WORD = 8
HEADER_WORDS = 8
HEADER_BYTES = HEADER_WORDS * WORD
# Header words.
MAGIC_WORD, VERSION_WORD, SIZE_WORD, LENGTH_WORD = range(4)

MAGIC = int.from_bytes(b"kongdpct", "little")
VERSION = 1

# 16 bits each in a directory entry's head word.
KEY_BYTES_MAX = 0xFFFF
# The widest row: what fits the overflow row behind its two first slots.
WIDTH_MAX = 62
# The overflow row: rows refused so far, then what narrow rows (width 1) share, then what wide rows share.
OVERFLOW_KEY = b"overflow"
OVERFLOW_WIDTH = WIDTH_MAX + 2
# Kept free for fallback rows, so that a full segment still tells status codes apart (about 60 bytes a code).
RESERVE_BYTES = 8192
SIZE_BYTES_MIN = 32768

# How much of the slot area is compared at once when looking for changed rows; a few rows of a route, so that one busy
# route does not make its neighbours be read again.
_COMPARE_BYTES = 2048

# One store of a writer: byte offset, and a word (one aligned machine store) or a block nobody looks at before it is
# published.
Store = tuple[int, int | bytes]


class SegmentError(KongdpError):
    """The memory is not a counter segment this build can use; the message says why."""


def header_stores(size: int) -> tuple[Store, ...]:
    """The stores that make blank memory an empty segment of `size` bytes; the magic word, last, makes it valid."""
    return (
        (VERSION_WORD * WORD, VERSION),
        (SIZE_WORD * WORD, size),
        (LENGTH_WORD * WORD, 0),
        (MAGIC_WORD * WORD, MAGIC),
    )


def row_stores(size: int, length: int, first: int, key: bytes, width: int) -> tuple[Store, ...]:
    """The stores that add a row; the last one publishes it.

    `length` is the directory's length in bytes before, `first` the number of slots in use before. The slots are zeroed
    here because the free area may hold what a killed writer had not published.
    """
    key_bytes = _padded(len(key))
    head = size - length - WORD
    return (
        (HEADER_BYTES + first * WORD, bytes(width * WORD)),
        (head - key_bytes, key.ljust(key_bytes, b"\0")),
        (head, _entry_word(key, width)),
        (LENGTH_WORD * WORD, length + WORD + key_bytes),
    )


def _padded(count: int) -> int:
    return (count + WORD - 1) & -WORD


def _entry_word(key: bytes, width: int) -> int:
    # The checksum is for processors that may show another core the length before the entry: a reader then stops short
    # of the row.
    return crc32(key, width) << 32 | width << 16 | len(key)


def _entries(memory: memoryview, size: int, start: int, length: int) -> Iterator[tuple[bytes, int]]:
    """Published rows from directory offset `start` on, as (key, width). Ends early at an entry that is not whole."""
    words = memory.cast("Q")
    while start < length:
        head = size - start - WORD
        word = words[head // WORD]
        key_length, width = word & 0xFFFF, word >> 16 & 0xFFFF
        if _padded(key_length) > head - HEADER_BYTES:
            return
        at = head - _padded(key_length)
        key = bytes(memory[at : at + key_length])
        if word != _entry_word(key, width):
            return
        yield key, width
        start += WORD + _padded(key_length)


def _map(fd: int, access: int) -> mmap.mmap:
    try:
        return mmap.mmap(fd, 0, access=access)
    except (OSError, ValueError) as error:
        raise SegmentError(f"counter segment: file {fd} cannot be mapped: {error}") from None


def _check_header(words: memoryview, size: int) -> None:
    magic, version, stated = words[MAGIC_WORD], words[VERSION_WORD], words[SIZE_WORD]
    if magic != MAGIC:
        raise SegmentError(f"counter segment: magic word is {magic:#x}, expected {MAGIC:#x}")
    if version != VERSION:
        raise SegmentError(f"counter segment: version is {version}, this build speaks {VERSION}")
    if stated != size:
        raise SegmentError(f"counter segment: made for {stated} bytes, mapped {size}")


class Segment:
    """The writer's side. There is one writer at a time; the next one may attach after the previous process has ended.

    `slots` is a memoryview of format "Q"; an index that `slot` returned is valid as long as the segment is open.
    """

    __slots__ = ("_length", "_map", "_memory", "_overflow", "_rows", "_size", "_used", "_words", "slots")

    def __init__(self, mapped: mmap.mmap) -> None:
        """Attach to writable memory; use `open` for a file number. Raises SegmentError."""
        self._map = mapped
        self._size = len(mapped) & -WORD
        if self._size < SIZE_BYTES_MIN:
            raise SegmentError(f"counter segment: {len(mapped)} bytes, at least {SIZE_BYTES_MIN} are needed")
        self._memory = memoryview(mapped)[: self._size]
        self._words = self._memory.cast("Q")
        self.slots = self._words[HEADER_WORDS:]
        self._rows: dict[bytes, tuple[int, int]] = {}
        self._length = 0
        self._used = 0
        if self._words[MAGIC_WORD] == 0:
            self._apply(header_stores(self._size))
        _check_header(self._words, self._size)
        self._continue()
        self._overflow = self._add(OVERFLOW_KEY, OVERFLOW_WIDTH)

    @classmethod
    def open(cls, fd: int) -> "Segment":
        """Attach to the file as its writer: blank memory is initialised, what an earlier writer left is continued.

        Raises SegmentError when the file cannot be mapped or holds something else.
        """
        return cls(_map(fd, mmap.ACCESS_WRITE))

    def slot(self, key: bytes, width: int = 1, fallback: bytes = b"") -> int:
        """First slot index of the row `key`, made on first use with all slots 0; the same answer ever after.

        When there is no room the row of `fallback` (same width) is used, which may take from a small reserve; without a
        fallback, or with the reserve used up, the shared overflow row. Each refusal is counted (`count_refused`); a
        caller keeps the answer.
        """
        row = self._rows.get(key)
        if row is not None:
            assert row[1] == width, f"row {key!r} has width {row[1]}, not {width}"
            return row[0]
        if self._has_room(key, width, RESERVE_BYTES):
            return self._add(key, width)
        self.slots[self._overflow] += 1
        row = self._rows.get(fallback)
        if row is not None:
            return row[0]
        if fallback and self._has_room(fallback, width, 0):
            return self._add(fallback, width)
        return self._overflow + (1 if width == 1 else 2)

    def count_refused(self) -> int:
        """How many rows found no room so far, over all writers of this segment."""
        return int(self.slots[self._overflow])

    def count_free_bytes(self) -> int:
        """Bytes left for rows and their keys, the reserve included."""
        return self._size - HEADER_BYTES - self._used * WORD - self._length

    def close(self) -> None:
        """Let go of the memory. For tests and short-lived writers; a worker keeps its segment to its end."""
        for view in (self.slots, self._words, self._memory):
            view.release()
        self._map.close()

    def _continue(self) -> None:
        length = self._words[LENGTH_WORD]
        for key, width in _entries(self._memory, self._size, 0, length):
            self._enter(key, width)
        if self._length != length:
            raise SegmentError(f"counter segment: directory is damaged at byte {self._length} of {length}")

    def _has_room(self, key: bytes, width: int, reserve: int) -> bool:
        assert 0 < width <= OVERFLOW_WIDTH, f"a row has 1 to {OVERFLOW_WIDTH} slots, not {width}"
        assert len(key) <= KEY_BYTES_MAX, f"a key has at most {KEY_BYTES_MAX} bytes, not {len(key)}"
        return WORD + _padded(len(key)) + width * WORD + reserve <= self.count_free_bytes()

    def _add(self, key: bytes, width: int) -> int:
        row = self._rows.get(key)
        if row is not None:
            return row[0]
        self._apply(row_stores(self._size, self._length, self._used, key, width))
        return self._enter(key, width)

    def _enter(self, key: bytes, width: int) -> int:
        first = self._used
        self._rows[key] = (first, width)
        self._used += width
        self._length += WORD + _padded(len(key))
        return first

    def _apply(self, stores: tuple[Store, ...]) -> None:
        for offset, what in stores:
            if isinstance(what, int):
                self._words[offset // WORD] = what
            else:
                self._memory[offset : offset + len(what)] = what


class Reader:
    """A reader's side, in any process, while the writer writes. Keeps its place in the directory: rows are parsed once.

    `keys[n]` is the key of row n; rows are numbered in the order they were made.
    """

    __slots__ = ("_firsts", "_length", "_map", "_memory", "_seen", "_size", "_used", "_words", "keys")

    def __init__(self, fd: int) -> None:
        """Map the file for reading; a blank one has no rows yet. Raises SegmentError when it cannot be mapped."""
        self._map = _map(fd, mmap.ACCESS_READ)
        self._size = len(self._map) & -WORD
        if self._size < SIZE_BYTES_MIN:
            raise SegmentError(f"counter segment: {len(self._map)} bytes, at least {SIZE_BYTES_MIN} are needed")
        self._memory = memoryview(self._map)[: self._size]
        self._words = self._memory.cast("Q")
        self.keys: list[bytes] = []
        self._firsts: list[int] = []  # word offset of row n, ascending; one more for the end
        self._used = HEADER_WORDS
        self._length = 0
        self._seen = b""

    def rows(self) -> list[tuple[bytes, tuple[int, ...]]]:
        """Every published row with its values. Raises SegmentError when the memory is not a segment of ours."""
        self._catch_up()
        ends = [*self._firsts, self._used][1:]
        words = self._words
        return [
            (key, tuple(words[first:end].tolist()))
            for key, first, end in zip(self.keys, self._firsts, ends, strict=True)
        ]

    def changed(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        """(row number, values) of rows that may have changed since the last call, of all at the first; none is missed.

        The slot area is copied and compared in blocks, so a row costs nothing while nothing near it moves. Values are
        read after the copy, word by word: the copy itself may be torn, and is only ever compared. One that is not run to
        its end is as if it had not been called.
        """
        self._catch_up()
        seen, now = self._seen, self._map[HEADER_BYTES : self._used * WORD]
        firsts, words = self._firsts, self._words
        done = 0
        for start in range(0, len(now), _COMPARE_BYTES):
            block = now[start : start + _COMPARE_BYTES]
            if block == seen[start : start + _COMPARE_BYTES]:
                continue
            begin = HEADER_WORDS + start // WORD
            row = max(done, bisect_right(firsts, begin) - 1)
            done = bisect_left(firsts, begin + len(block) // WORD)
            for number in range(row, done):
                end = firsts[number + 1] if number + 1 < len(firsts) else self._used
                yield number, tuple(words[firsts[number] : end].tolist())
        self._seen = now

    def close(self) -> None:
        """Let go of the memory."""
        self._words.release()
        self._memory.release()
        self._map.close()

    def _catch_up(self) -> None:
        if self._words[MAGIC_WORD] == 0:
            return
        _check_header(self._words, self._size)
        for key, width in _entries(self._memory, self._size, self._length, self._words[LENGTH_WORD]):
            self.keys.append(key)
            self._firsts.append(self._used)
            self._used += width
            self._length += WORD + _padded(len(key))


def read(fd: int) -> list[tuple[bytes, tuple[int, ...]]]:
    """Every published row of the segment in this file, at any time and from any process. Raises SegmentError."""
    reader = Reader(fd)
    try:
        return reader.rows()
    finally:
        reader.close()
