"""Counters in the agent: read from segments, spaced while the control plane is away, kept on disk, forgotten when
delivered.
"""

import logging
import os
from pathlib import Path

import pytest

from kongdp.process.agent_counters import Counters
from kongdp.telemetry.counters import NodeCounters, RouteCounters
from kongdp.telemetry.samples import BOOTS_MAX, SAMPLES_MAX, Samples
from kongdp.telemetry.segment import Segment
from kongdp.telemetry.totals import CodeRow
from tests.support.clock import FakeClock

BYTES = 1 << 20


def ticked(counters: Counters, *, is_connected: bool) -> bool:
    """One tick to its end; whether there is something to push."""
    steps = counters.tick(is_connected=is_connected)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return bool(end.value)


class Node:
    """One boot of a node with one segment."""

    def __init__(
        self,
        directory: Path,
        boot_id: str = "boot-1",
        *,
        keeps_samples: bool = True,
        size: int = BYTES,
        samples_max: int = SAMPLES_MAX,
        clock: FakeClock | None = None,
    ) -> None:
        self.clock = clock or FakeClock(1_800_000_000.0)
        self.counters = Counters(
            directory,
            "node",
            boot_id,
            keeps_samples=keeps_samples,
            samples_max=samples_max,
            wall=self.clock,
            monotonic=self.clock,
        )
        fd = os.memfd_create("segment")
        os.posix_fallocate(fd, 0, size)
        self.segment = Segment.open(fd)
        self.row = RouteCounters(self.segment, "route")
        self.twin_fd = os.dup(fd)
        self.counters.attach(0, 1, fd)

    def serve(self, times: int = 1) -> None:
        code = 200 * 2 + 1
        slot = self.row.codes.get(code)
        self.segment.slots[self.row.add_code(code) if slot is None else slot] += times

    def after(self, seconds: float, *, is_connected: bool = False) -> bool:
        self.clock.advance(seconds)
        return self.tick(is_connected=is_connected)

    def tick(self, *, is_connected: bool) -> bool:
        return ticked(self.counters, is_connected=is_connected)

    def deliver(self) -> list[tuple[str, int]]:
        """Take and acknowledge all frames: (boot, total) of each row."""
        seen = []
        while (frame := self.counters.samples.next_frame()) is not None:
            seen += [(frame.origin.boot_id, row.total) for row in frame.rows]
            self.counters.samples.acknowledge(frame.seq)
        return seen


def test_each_second_is_a_sample_when_the_control_plane_takes_them(tmp_path: Path) -> None:
    """What moved is pending at once, and nothing touches the disk."""
    node = Node(tmp_path)
    for _ in range(3):
        node.serve()
        assert node.after(1, is_connected=True)
    assert node.counters.samples.count_pending() == 3
    assert node.deliver() == [("boot-1", 1), ("boot-1", 2), ("boot-1", 3)]
    assert not node.after(1, is_connected=True)
    assert list(tmp_path.iterdir()) == []


def test_samples_are_ten_seconds_apart_when_the_control_plane_is_away(tmp_path: Path) -> None:
    """A day without control plane must not be 86,400 samples."""
    node = Node(tmp_path)
    for _ in range(30):
        node.serve()
        node.after(1)
    assert node.counters.samples.count_pending() == 3
    assert node.deliver()[-1] == ("boot-1", 30)


def test_pending_samples_are_on_disk_within_seconds_when_the_control_plane_is_away(tmp_path: Path) -> None:
    """An agent that is killed loses nothing that a new one could not read again; a node that is killed, seconds."""
    node = Node(tmp_path)
    node.serve(5)
    node.after(1)
    (kept,) = tmp_path.iterdir()
    assert kept.name == "boot-1.json"
    assert kept.stat().st_mode & 0o777 == 0o600


def test_earlier_boots_are_delivered_and_forgotten_when_acknowledged(tmp_path: Path) -> None:
    """Two boots that could not deliver, then a third that can: all totals under their own boots, then no file."""
    for number in (1, 2):
        node = Node(tmp_path, f"boot-{number}")
        node.serve(number)
        node.after(1)
        node.counters.store()
    third = Node(tmp_path, "boot-3")
    third.serve(3)
    third.after(1, is_connected=True)
    assert sorted(third.deliver()) == [("boot-1", 1), ("boot-2", 2), ("boot-3", 3)]
    third.after(1, is_connected=True)
    assert list(tmp_path.iterdir()) == []


def test_files_of_earlier_boots_stay_when_they_are_not_acknowledged_yet(tmp_path: Path) -> None:
    """Only a file that holds everything replaces them."""
    first = Node(tmp_path, "boot-1")
    first.serve(1)
    first.tick(is_connected=False)
    first.counters.store()
    Node(tmp_path, "boot-2")
    assert [path.name for path in tmp_path.iterdir()] == ["boot-1.json"]
    third = Node(tmp_path, "boot-3")
    third.counters.store()
    assert [path.name for path in tmp_path.iterdir()] == ["boot-3.json"]
    assert third.deliver() == [("boot-1", 1)]


def test_same_boot_is_continued_when_the_agent_was_replaced(tmp_path: Path) -> None:
    """A new agent of the same boot reads the segment again: the same totals, no count twice, newer numbers."""
    node = Node(tmp_path)
    node.serve(4)
    node.after(1)
    fresh = Counters(tmp_path, "node", "boot-1", wall=node.clock, monotonic=node.clock)
    fresh.attach(0, 1, node.twin_fd)
    ticked(fresh, is_connected=True)
    totals = []
    while (frame := fresh.samples.next_frame()) is not None:
        totals += [row.total for row in frame.rows]
        fresh.samples.acknowledge(frame.seq)
    assert set(totals) == {4}


def test_damaged_file_is_set_aside_when_it_cannot_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Reported with its path and kept for whoever wants to look; the others are read."""
    (tmp_path / "boot-0.json").write_bytes(b"{")
    with caplog.at_level(logging.ERROR, "kongdp.counters"):
        node = Node(tmp_path)
    assert "boot-0.json" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["boot-0.damaged"]
    node.serve()
    assert node.after(1, is_connected=True)


def test_nothing_is_kept_when_there_is_no_control_plane(tmp_path: Path) -> None:
    """A DB-less node counts for /metrics only."""
    node = Node(tmp_path, keeps_samples=False)
    node.serve(2)
    assert not node.after(1)
    node.counters.store()
    assert node.counters.reader.totals.route("route").total(401) == 2
    assert list(tmp_path.iterdir()) == []


def test_counting_goes_on_when_the_disk_takes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A directory that cannot be written is reported; totals stay pending in memory."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    node = Node(blocked / "counters")
    node.serve()
    with caplog.at_level(logging.ERROR, "kongdp.counters"):
        node.after(1)
    assert "cannot be kept" in caplog.text
    assert node.deliver() == [("boot-1", 1)]


def test_segment_is_reported_when_it_cannot_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A descriptor that is no segment costs its counts, not the agent."""
    fd = os.memfd_create("foreign")
    os.write(fd, b"x" * 8192)
    with caplog.at_level(logging.ERROR, "kongdp.counters"):
        Node(tmp_path).counters.attach(7, 1, fd)
    assert "segment 7" in caplog.text
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_scrape_sees_everything_when_a_tick_is_under_way(tmp_path: Path) -> None:
    """It ends the tick's reading and reads again; the tick's rows reach the samples once, and so do those after it."""
    node = Node(tmp_path)
    node.serve(3)
    steps = node.counters.tick(is_connected=True)
    next(steps)
    node.serve(4)
    node.counters.refresh()
    assert node.counters.reader.totals.route("route").total(401) == 7
    assert not list(steps)
    assert node.deliver()[-1] == ("boot-1", 7)
    assert not node.after(1, is_connected=True)


def test_first_look_is_taken_in_slices_when_there_are_many_routes(tmp_path: Path) -> None:
    """A new agent of a node with 20,000 routes gives its loop turns, and ends with every count."""
    node = Node(tmp_path, size=16 << 20)
    for number in range(20_000):
        row = RouteCounters(node.segment, f"route {number}")
        node.segment.slots[row.add_code(401)] += 1
    turns = sum(1 for _ in node.counters.tick(is_connected=True))
    assert turns >= 5
    assert sum(total for _, total in node.deliver()) == 20_000


def test_gauges_of_a_worker_end_when_it_does_not_tick(tmp_path: Path) -> None:
    """What a killed worker had open is no longer open; what it counted stays."""
    node = Node(tmp_path)
    numbers = NodeCounters(node.segment)
    for name, value in (("ticks", 1), ("connections_active", 7), ("connections_accepted", 9)):
        node.segment.slots[getattr(numbers, name)] = value
    node.after(1)
    found = node.counters.reader.totals.node
    assert (found["connections_active"], found["connections_accepted"]) == (7, 9)
    for _ in range(6):
        node.after(1)
    assert (found["connections_active"], found["connections_accepted"]) == (0, 9)


def test_losses_are_logged_once_each_time_they_grow(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A full segment, and boots beyond the bound, are errors that name the number and what to do."""
    for number in range(BOOTS_MAX + 1):
        samples = Samples("node", f"boot {number:04}", now=number)
        samples.add([CodeRow("route", 200, "kong", 1)], number)
        (tmp_path / f"{number:04}.json").write_bytes(samples.dump())
    node = Node(tmp_path, "now", size=1 << 16)
    for number in range(3_000):
        row = RouteCounters(node.segment, f"{number:036}")
        node.segment.slots[row.add_code(401)] += 1
    with caplog.at_level(logging.ERROR, "kongdp.counters"):
        node.after(1)
        node.after(1)
    refused = node.counters.reader.totals.rows_refused
    assert refused > 1_000
    assert [record.getMessage() for record in caplog.records] == [
        "1 rows of counters of boots long ago are lost: too many boots wait",
        f"counters of {refused} routes, consumers or statuses are added up in common rows (kongdp_counter_segment_bytes)",
    ]
    caplog.clear()
    RouteCounters(node.segment, "one more").add_code(401)
    node.after(1)
    assert f"counters of {refused + 1} routes" in caplog.text


def test_segment_that_breaks_later_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The other segments are read on."""
    node = Node(tmp_path)
    node.serve()
    node.after(1)
    os.pwrite(node.twin_fd, b"broken!!", 0)
    with caplog.at_level(logging.ERROR, "kongdp.counters"):
        node.after(1)
        node.after(1)
    assert caplog.text.count("counter segment 0 of generation 1 cannot be read") == 1


def test_writing_is_rarer_when_it_takes_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes two seconds is written every 40, so that the agent has time for other things."""
    node = Node(tmp_path)
    written = []

    def slowly(samples: Samples) -> bytes:
        written.append(node.clock.now)
        node.clock.advance(2)
        return b"{}"

    monkeypatch.setattr(Samples, "dump", slowly)
    for _ in range(100):
        node.serve()
        node.after(1)
    assert [round(at - written[0]) for at in written] == [0, 40, 80]


def test_thinning_keeps_every_count_of_several_boots_at_its_bounds(tmp_path: Path) -> None:
    """Hours without control plane and several restarts: never more samples than the bound, every boot's last total whole."""
    clock = FakeClock(1_800_000_000.0)
    for boot in range(4):
        node = Node(tmp_path, f"boot-{boot}", samples_max=40, clock=clock)
        for _ in range(100):
            node.serve(2)
            node.after(10)
            assert node.counters.samples.count_pending() <= 40
        node.counters.store()
    assert node.counters.samples.count_thinned > 0
    last: dict[str, int] = {}
    for name, total in node.deliver():
        last[name] = max(last.get(name, 0), total)
    assert last == dict.fromkeys(("boot-0", "boot-1", "boot-2", "boot-3"), 200)
    assert node.counters.samples.count_rows_dropped == 0
