"""Segments: readers see whole rows only, a killed writer loses nothing published, a full one never raises."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kongdp.telemetry import segment as room
from kongdp.telemetry.segment import OVERFLOW_KEY, Reader, Segment, SegmentError, read
from tests.support.segments import SIZE, memory


@pytest.fixture
def fd() -> Iterator[int]:
    with memory() as number:
        yield number


def rows(fd: int) -> dict[bytes, tuple[int, ...]]:
    return {key: values for key, values in read(fd) if key != OVERFLOW_KEY}


def test_slot_is_the_same_when_asked_again(fd: int) -> None:
    """A key has one row, and rows do not overlap."""
    segment = Segment.open(fd)
    first = segment.slot(b"a", 3)
    second = segment.slot(b"b")
    assert segment.slot(b"a", 3) == first
    assert second >= first + 3
    assert rows(fd) == {b"a": (0, 0, 0), b"b": (0,)}


def test_read_sees_counts_when_written(fd: int) -> None:
    """What the writer counts is what a reader reads, at once and up to 64 bits."""
    segment = Segment.open(fd)
    first = segment.slot(b"a", 2)
    segment.slots[first] += 1
    segment.slots[first + 1] = 2**64 - 1
    assert rows(fd) == {b"a": (1, 2**64 - 1)}


def test_open_continues_when_a_writer_was_there(fd: int) -> None:
    """The next writer finds rows and counts where they were and adds behind them."""
    before = Segment.open(fd)
    index = before.slot(b"a")
    before.slots[index] = 7
    before.close()
    after = Segment.open(fd)
    assert after.slot(b"a") == index
    after.slots[after.slot(b"b")] = 1
    after.slots[after.slot(b"a")] += 1
    assert rows(fd) == {b"a": (8,), b"b": (1,)}


def test_read_is_empty_when_memory_is_blank(fd: int) -> None:
    """A segment whose worker has not started yet has no rows."""
    assert read(fd) == []
    assert list(Reader(fd).changed()) == []


@pytest.mark.parametrize(
    ("word", "value", "message"),
    [
        (room.MAGIC_WORD, 99, "magic word"),
        (room.VERSION_WORD, 99, "version is 99"),
        (room.SIZE_WORD, 99, "made for 99 bytes"),
    ],
)
def test_open_refuses_when_memory_is_something_else(fd: int, word: int, value: int, message: str) -> None:
    """A foreign or damaged header is named, by writer and reader alike."""
    Segment.open(fd).close()
    os.pwrite(fd, value.to_bytes(8, sys.byteorder), word * 8)
    with pytest.raises(SegmentError, match=message):
        Segment.open(fd)
    with pytest.raises(SegmentError, match=message):
        read(fd)


def test_open_refuses_when_the_directory_is_damaged(fd: int) -> None:
    """A published row that cannot be read is an error for the writer and the end of the directory for a reader."""
    segment = Segment.open(fd)
    segment.slot(b"first")
    segment.slot(b"second")
    segment.close()
    os.pwrite(fd, b"x", os.fstat(fd).st_size - 8 - 8 - 8 - 8)
    with pytest.raises(SegmentError, match="directory is damaged"):
        Segment.open(fd)
    assert list(rows(fd)) == []


def test_open_refuses_when_memory_is_too_small_or_missing() -> None:
    """Sizes that cannot hold the fixed parts are refused with both numbers."""
    with memory(4096) as fd:
        with pytest.raises(SegmentError, match="4096 bytes, at least 32768"):
            Segment.open(fd)
        with pytest.raises(SegmentError, match="4096 bytes, at least 32768"):
            Reader(fd)
    with pytest.raises(SegmentError, match="cannot be mapped"):
        Segment.open(fd)
    with pytest.raises(SegmentError, match="cannot be mapped"):
        read(fd)


def test_slot_falls_back_when_full(fd: int) -> None:
    """A full segment counts refusals and goes on counting in the fallbacks; rows made before stay as they are."""
    segment = Segment.open(fd)
    for number in range(3000):
        key, width, fallback = (b"n", 1, b"spare-n") if number % 2 else (b"w", 40, b"spare-w")
        segment.slots[segment.slot(b"%b%d" % (key, number), width, fallback)] += 1
    found = {key: values[0] for key, values in rows(fd).items()}
    assert sum(found.values()) == 3000
    assert segment.count_refused() == found[b"spare-n"] + found[b"spare-w"]
    assert min(found[b"spare-n"], found[b"spare-w"]) > 0
    assert {value for key, value in found.items() if key[:1] in b"nw"} == {1}
    assert Segment.open(fd).count_refused() == segment.count_refused()


def test_slot_shares_the_overflow_row_when_even_the_reserve_is_used(fd: int) -> None:
    """Without room for a fallback the last resort takes narrow and wide rows apart."""
    segment = Segment.open(fd)
    for number in range(SIZE // 8):
        segment.slots[segment.slot(b"%d" % number, 1, b"spare%d" % number)] += 1
    segment.slots[segment.slot(b"wide", 62)] += 5
    overflow = dict(read(fd))[OVERFLOW_KEY]
    assert overflow[1] > 0
    assert overflow[2] == 5
    assert overflow[1] + sum(values[0] for values in rows(fd).values()) == SIZE // 8


def test_changed_names_rows_when_they_changed(fd: int) -> None:
    """All rows at first, then none, then those that moved; a row made later is among them."""
    segment = Segment.open(fd)
    indices = [segment.slot(b"%d" % number, 40) for number in range(100)]
    reader = Reader(fd)
    assert [reader.keys[number] for number, _ in reader.changed()][1:] == [b"%d" % number for number in range(100)]
    assert list(reader.changed()) == []
    segment.slots[indices[50] + 39] += 1
    late = segment.slot(b"late")
    segment.slots[late] = 4
    changed = {reader.keys[number]: values for number, values in reader.changed()}
    assert changed[b"50"][39] == 1
    assert changed[b"late"] == (4,)
    assert b"20" not in changed
    assert list(reader.changed()) == []


def write_image(fd: int, image: bytearray) -> None:
    os.pwrite(fd, image, 0)


def apply(image: bytearray, stores: tuple[room.Store, ...]) -> None:
    for offset, what in stores:
        data = what.to_bytes(8, sys.byteorder) if isinstance(what, int) else what
        image[offset : offset + len(data)] = data


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=70), st.integers(1, 62)), max_size=12), st.data())
def test_segment_is_whole_when_the_writer_dies_between_any_two_stores(
    plan: list[tuple[bytes, int]], data: st.DataObject
) -> None:
    """After any prefix of the writer's stores readers see published rows only, and the next writer makes clean ones."""
    wanted = [(b"k%d/" % number + key, width) for number, (key, width) in enumerate(plan)]
    stores: list[tuple[int, room.Store]] = [(0, store) for store in room.header_stores(SIZE)]
    length = first = 0
    for number, (key, width) in enumerate(wanted, 1):
        stores += [(number, store) for store in room.row_stores(SIZE, length, first, key, width)]
        length += 8 + (len(key) + 7) // 8 * 8
        first += width
    cut = data.draw(st.integers(0, len(stores)))
    image = bytearray(SIZE)
    apply(image, tuple(store for _, store in stores[:cut]))
    published = max((number for number, _ in stores[:cut]), default=0)
    if cut < len(stores) and stores[cut][0] == published:
        published -= 1  # the row's last store is missing
    published = max(published, 0)
    with memory() as fd:
        write_image(fd, image)
        assert [key for key, _ in read(fd)] == [key for key, _ in wanted[:published]]
        segment = Segment.open(fd)
        for key, width in [*wanted, (b"x" * 60, 62)]:
            index = segment.slot(key, width)
            assert segment.slots[index : index + width].tolist() == [0] * width
            segment.slots[index] += 1
        segment.close()
        assert rows(fd) == {key: (1,) + (0,) * (width - 1) for key, width in [*wanted, (b"x" * 60, 62)]}


def test_slots_are_zero_when_a_killed_writer_left_an_unpublished_key_there(fd: int) -> None:
    """Free memory may be dirty (a key that was never published); a row made over it starts at 0 all the same."""
    Segment.open(fd).close()
    image = bytearray(os.pread(fd, SIZE, 0))
    length = int.from_bytes(image[room.LENGTH_WORD * 8 : room.LENGTH_WORD * 8 + 8], sys.byteorder)
    used = room.HEADER_BYTES + room.OVERFLOW_WIDTH * 8
    image[used : SIZE - length] = b"\xff" * (SIZE - length - used)
    write_image(fd, image)
    segment = Segment.open(fd)
    index = segment.slot(b"a", 62)
    assert segment.slots[index : index + 62].tolist() == [0] * 62


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.one_of(st.tuples(st.just("count"), st.integers(0, 30)), st.just("look"), st.just("next")), max_size=80)
)
def test_readers_agree_with_the_writer_when_steps_interleave(steps: list[str | tuple[str, int]]) -> None:
    """Old and new readers and writers, in any order of steps, all see the same counts."""
    model: dict[bytes, tuple[int, ...]] = {}
    seen: dict[bytes, tuple[int, ...]] = {}
    with memory() as fd:
        segment, reader = Segment.open(fd), Reader(fd)
        for step in steps:
            if step == "next":
                segment.close()
                segment = Segment.open(fd)
            elif step == "look":
                seen.update((reader.keys[number], values) for number, values in reader.changed())
                assert {key: values for key, values in seen.items() if key != OVERFLOW_KEY} == model == rows(fd)
            else:
                number = step[1]
                key, width = b"%d" % number, 1 + number % 3
                segment.slots[segment.slot(key, width) + width - 1] += 1
                before = model.get(key, (0,) * width)
                model[key] = (*before[:-1], before[-1] + 1)


def test_values_are_never_torn_when_read_while_written(fd: int) -> None:
    """A reader that looks while another thread stores sees only values that were stored."""
    segment = Segment.open(fd)
    index = segment.slot(b"a")
    low, high = 0, 2**64 - 1
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for _ in range(100):
                segment.slots[index] = high
                segment.slots[index] = low

    writer = threading.Thread(target=write)
    writer.start()
    try:
        reader = Reader(fd)
        seen = {dict(reader.rows())[b"a"][0] for _ in range(3000)}
    finally:
        stop.set()
        writer.join()
    assert seen <= {low, high}


WRITER = """
import os, random, sys
from kongdp.telemetry.segment import Segment
segment = Segment.open(int(sys.argv[1]))
choose = random.Random(int(sys.argv[2]))
out = int(sys.argv[3])
for round in range(100000):
    key = b"row-%d" % choose.randrange(400)
    segment.slots[segment.slot(key, 1 + len(key) % 3)] += 1
    os.write(out, b".")
"""


def test_nothing_published_is_lost_when_writers_are_killed(fd: int) -> None:
    """kill -9 at random moments, five times over: every count a writer got to report is there, and at most one more."""
    choose = random.Random(4)
    total = 0
    for round_number in range(5):
        out, into = os.pipe()
        command = [sys.executable, "-c", WRITER, str(fd), str(round_number), str(into)]
        with subprocess.Popen(command, pass_fds=(fd, into)) as writer:
            os.close(into)
            reported, goal = 0, choose.randrange(1, 1500)
            while reported < goal and (piece := os.read(out, goal - reported)):
                reported += len(piece)
            read(fd)  # a reader at work does not disturb
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            while piece := os.read(out, 65536):
                reported += len(piece)
            os.close(out)
        now = sum(values[0] for values in rows(fd).values())
        assert now - total in (reported, reported + 1)
        total = now
    assert Segment.open(fd).count_refused() == 0
