"""Samples: whatever is lost, repeated, thinned or restarted, the control plane ends with every count, once."""

from itertools import pairwise

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kongdp.telemetry.samples import Frame, Origin, Samples, SamplesError
from kongdp.telemetry.totals import CodeRow

NODE = "node"


def row(total: int, route: str = "r", code: int = 200) -> CodeRow:
    return CodeRow(route, code, "service", total)


def samples(**limits: int) -> Samples:
    return Samples(NODE, "boot", now=1000.0, **limits)


def frames(box: Samples) -> list[Frame]:
    """All frames that can be sent, each acknowledged at once."""
    found = []
    while (frame := box.next_frame()) is not None:
        box.acknowledge(frame.seq)
        found.append(frame)
    return found


def test_frame_has_the_shape_of_the_contract() -> None:
    """The message names node, boot, sequence, time and sparse rows."""
    box = samples()
    box.add([row(3), row(1, code=502)], at=1001.5)
    frame = box.next_frame()
    assert frame is not None
    assert orjson.loads(frame.to_json()) == {
        "node_id": "node",
        "boot_id": "boot",
        "seq": 1000001,
        "at": 1001.5,
        "rows": [["r", 200, "service", 3], ["r", 502, "service", 1]],
    }


def test_nothing_is_sent_when_nothing_changed() -> None:
    """A refresh without changes makes no sample."""
    box = samples()
    box.add([], at=1001)
    assert box.next_frame() is None
    assert box.oldest_at() is None


def test_rows_continue_in_the_next_frame_when_there_are_many() -> None:
    """Frames are bounded; the rest of a sample follows with the same time."""
    box = samples(frame_rows_max=10)
    box.add([row(1, f"r{number}") for number in range(25)], at=1001)
    sent = frames(box)
    assert [len(frame.rows) for frame in sent] == [10, 10, 5]
    assert {frame.at for frame in sent} == {1001}
    assert len({each for frame in sent for each in frame.rows}) == 25
    assert box.count_rows() == 0


def test_sending_stops_when_enough_is_in_flight() -> None:
    """An unanswered control plane gets a bounded number of frames."""
    box = samples(frames_in_flight_max=2)
    for at in range(5):
        box.add([row(at + 1)], at=1000 + at)
    first, second = box.next_frame(), box.next_frame()
    assert box.next_frame() is None
    assert first is not None
    assert second is not None
    assert box.acknowledge(first.seq)
    assert not box.acknowledge(first.seq)
    assert not box.acknowledge(12345)
    assert box.next_frame() is not None
    assert (box.count_pending(), box.oldest_at()) == (4, 1001)


def test_rows_are_sent_again_under_a_new_number_when_the_connection_is_lost() -> None:
    """What was in flight comes back in its old place; a late acknowledgement of the old number is ignored."""
    box = samples(frame_rows_max=2)
    box.add([row(1, "a"), row(1, "b"), row(1, "c")], at=1001)
    box.add([row(2, "a")], at=1002)
    lost = box.next_frame()
    assert lost is not None
    box.disconnected()
    assert not box.acknowledge(lost.seq)
    sent = frames(box)
    assert [(frame.at, len(frame.rows)) for frame in sent] == [(1001, 2), (1001, 1), (1002, 1)]
    assert min(frame.seq for frame in sent) > lost.seq


def test_only_the_named_frame_is_done_when_acknowledged() -> None:
    """An earlier frame may have been lost although a later one arrived."""
    box = samples()
    box.add([row(1, "a")], at=1001)
    box.add([row(1, "b")], at=1002)
    first, second = box.next_frame(), box.next_frame()
    assert first is not None
    assert second is not None
    box.acknowledge(second.seq)
    box.disconnected()
    assert [frame.rows for frame in frames(box)] == [(row(1, "a"),)]


def test_samples_are_apart_by_the_spacing_when_the_control_plane_is_away() -> None:
    """Within the spacing rows join the newest sample, whose time moves on."""
    box = samples()
    for second in range(25):
        box.add([row(second + 1)], at=1000 + second, spacing_s=10)
    assert [(frame.at, frame.rows) for frame in frames(box)] == [
        (1009, (row(10),)),
        (1019, (row(20),)),
        (1024, (row(25),)),
    ]


def test_resolution_thins_when_the_bound_is_reached() -> None:
    """Oldest samples become sparse, the newest stay; the last total is always there."""
    box = samples(samples_max=16)
    for at in range(1000):
        box.add([row(at + 1)], at=1000 + at)
        assert box.count_pending() <= 16
    sent = frames(box)
    assert sent[-1].rows == (row(1000),)
    gaps = [later.at - earlier.at for earlier, later in pairwise(sent)]
    assert max(gaps[:8]) > 4 * max(gaps[8:])
    assert sent[0].at < 1500
    assert box.count_thinned > 900


def test_no_row_is_dropped_when_thinning_cannot_help() -> None:
    """Distinct rows beyond the bound are kept: resolution thins, counts never."""
    box = samples(rows_max=10)
    for number in range(50):
        box.add([row(1, f"r{number}")], at=1000 + number)
    assert box.count_pending() == 1
    assert sum(len(frame.rows) for frame in frames(box)) == 50


def test_larger_total_stays_when_the_wall_clock_went_back() -> None:
    """Joining samples keeps the larger total, not the one with the later time."""
    box = samples(samples_max=2)
    for total, at in enumerate((1000, 2000, 500, 600), 1):
        box.add([row(total)], at=at)
    assert max(each.total for frame in frames(box) for each in frame.rows) == 4


def test_boots_are_kept_apart_when_restored() -> None:
    """A dump of an earlier boot is sent first, under its own boot id; this boot follows."""
    before = Samples(NODE, "first", now=1000)
    before.add([row(5)], at=1001)
    assert before.next_frame() is not None
    before.add([row(7)], at=1002)
    box = Samples(NODE, "second", now=2000)
    box.add([row(1)], at=2001)
    box.restore(before.dump())
    sent = frames(box)
    assert [(frame.origin, frame.rows) for frame in sent] == [
        (Origin(NODE, "first"), (row(5),)),
        (Origin(NODE, "first"), (row(7),)),
        (Origin(NODE, "second"), (row(1),)),
    ]


def test_thinning_keeps_boots_apart() -> None:
    """Totals of two boots never become one."""
    box = Samples(NODE, "0", now=1000, samples_max=3)
    for boot in range(1, 6):
        dump = box.dump()
        box = Samples(NODE, str(boot), now=1000 * boot, samples_max=3)
        box.restore(dump)
        for at in range(4):
            box.add([row(at + 1)], at=1000 * boot + at)
    last = {frame.origin.boot_id: frame.rows for frame in frames(box)}
    assert last == {str(boot): (row(4),) for boot in range(1, 6)}


def test_oldest_boots_are_dropped_and_counted_when_there_are_too_many() -> None:
    """The number of boots on disk is bounded, and what that costs is told."""
    dump = Samples(NODE, "x", now=1).dump()
    for boot in range(5):
        box = Samples(NODE, str(boot), now=1000 + boot, boots_max=3)
        box.restore(dump)
        box.add([row(1), row(1, "s")], at=1000 + boot)
        dump = box.dump()
    assert [frame.origin.boot_id for frame in frames(box)] == ["1", "2", "3", "4"]
    assert box.count_rows_dropped == 2


def test_sequence_numbers_never_fall_when_an_agent_follows() -> None:
    """A next agent of the same boot, restored or not, goes on above the numbers used."""
    box = Samples(NODE, "boot", now=1000)
    box.add([row(1)], at=1000)
    first = box.next_frame()
    assert first is not None
    after = Samples(NODE, "boot", now=900)
    after.restore(box.dump())
    restored = after.next_frame()
    assert restored is not None
    assert restored.seq > first.seq


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "JSONDecodeError"),
        (b"{}", "KeyError"),
        (b"[]", "TypeError"),
        (b'{"format":9}', "format 9"),
        (b'{"format":1,"seq":1,"samples":[["n","b",1,2,[["r"]]]]}', "ValueError"),
    ],
)
def test_restore_refuses_when_the_dump_is_broken(data: bytes, message: str) -> None:
    """A damaged file is named and changes nothing."""
    box = samples()
    box.add([row(1)], at=1000)
    with pytest.raises(SamplesError, match=message):
        box.restore(data)
    assert box.count_rows() == 1


STEPS = st.one_of(
    st.tuples(st.just("count"), st.sampled_from("abc"), st.sampled_from([200, 502]), st.integers(1, 5)),
    st.tuples(st.sampled_from(["look", "away", "send", "deliver", "duplicate", "lose", "acknowledge", "cut"])),
    st.tuples(st.sampled_from(["agent", "agent-killed", "boot"])),
)


class Story:
    """A node and a control plane with everything that can go wrong between them."""

    def __init__(self) -> None:
        self.clock = 1000.0
        self.boot = 0
        self.truth: dict[tuple[str, str, int], int] = {}
        self.stored: dict[tuple[str, str, int], int] = {}
        self.changed: dict[tuple[str, str, int], None] = {}
        self.wire: list[Frame] = []
        self.acks: list[int] = []
        self.box = self.new()

    def new(self) -> Samples:
        limits = {"samples_max": 3, "rows_max": 6, "frame_rows_max": 2, "frames_in_flight_max": 2}
        return Samples(NODE, str(self.boot), now=self.clock, **limits)

    def look(self, spacing_s: float = 0) -> None:
        rows = [CodeRow(r, c, "service", self.truth[b, r, c]) for b, r, c in self.changed if b == str(self.boot)]
        self.changed.clear()
        self.box.add(rows, self.clock, spacing_s)

    def step(self, what: str, *more: str | int) -> None:
        self.clock += 1
        if what == "count":
            key = (str(self.boot), str(more[0]), int(more[1]))
            self.truth[key] = self.truth.get(key, 0) + int(more[2])
            self.changed[key] = None
        elif what in ("look", "away"):
            self.look(10 if what == "away" else 0)
        elif what == "send" and (frame := self.box.next_frame()):
            self.wire.append(frame)
        elif what in ("deliver", "duplicate") and self.wire:
            frame = self.wire[-1] if what == "duplicate" else self.wire.pop()
            for each in frame.rows:
                key = (frame.origin.boot_id, each.route_id, each.code)
                self.stored[key] = max(self.stored.get(key, 0), each.total)
            self.acks.append(frame.seq)
        elif what == "lose" and self.wire:
            self.wire.pop(0)
        elif what == "acknowledge" and self.acks:
            self.box.acknowledge(self.acks.pop(0))
        elif what == "cut":
            self.box.disconnected()
        elif what in ("agent", "agent-killed", "boot"):
            self.restart(what)

    def restart(self, what: str) -> None:
        # A node that ends looks once more before it dumps; a new agent sees all totals of this boot again.
        self.look()
        dump = self.box.dump()
        self.boot += what == "boot"
        self.box = self.new()
        self.changed = {key: None for key in self.truth if key[0] == str(self.boot)}
        if what != "agent-killed" or self.boot:
            self.box.restore(dump)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_every_count_arrives_once_whatever_happens(steps: list[tuple[str]]) -> None:
    """Random counts, losses, duplicates, reordering, restarts and thinning: at the end both sides agree."""
    story = Story()
    for step in steps:
        story.step(*step)
    story.look()
    story.box.disconnected()
    for frame in frames(story.box):
        story.wire.append(frame)
        story.step("deliver")
    assert story.stored == story.truth
