"""Outboxes: order, batches, bounds, patience, and their end. Threads are waited for by what they deliver, never by time."""

import gc
import threading
import weakref
from collections.abc import Sequence

import pytest

from kongdp.plugins import outbox
from kongdp.plugins.outbox import DeliveryError, Outbox, OutboxLimits, close_all, shared

WAIT_S = 30


class Post:
    """A destination that can be held up, and can refuse."""

    def __init__(self, refuses: int = 0) -> None:
        self.batches: list[list[bytes]] = []
        self.refused = 0
        self.free = threading.Event()
        self.free.set()
        self.asked = threading.Semaphore(0)
        self.taken = threading.Semaphore(0)
        self._refuses = refuses

    def __call__(self, batch: Sequence[bytes]) -> None:
        self.asked.release()
        assert self.free.wait(WAIT_S)
        if self.refused < self._refuses:
            self.refused += 1
            raise DeliveryError("not today")
        self.batches.append(list(batch))
        self.taken.release()


def test_entries_go_out_in_order_and_in_batches() -> None:
    """What waits while one is delivered goes together, up to the batch's size."""
    post = Post()
    box = Outbox("t", post, OutboxLimits(batch_max=3, coalescing_s=0))
    post.free.clear()
    box.put(b"0")
    assert post.asked.acquire(timeout=WAIT_S)
    for number in range(1, 6):
        box.put(b"%d" % number)
    post.free.set()
    assert box.close(WAIT_S)
    assert post.batches == [[b"0"], [b"1", b"2", b"3"], [b"4", b"5"]]


@pytest.mark.parametrize("limits", [OutboxLimits(entries_max=2), OutboxLimits(bytes_max=2)])
def test_oldest_entries_are_dropped_beyond_a_bound(limits: OutboxLimits, caplog: pytest.LogCaptureFixture) -> None:
    """By count or by bytes; counted, and said."""
    post = Post()
    box = Outbox("t", post, limits)
    post.free.clear()
    box.put(b"0")
    assert post.asked.acquire(timeout=WAIT_S)
    for number in range(1, 6):
        box.put(b"%d" % number)
    post.free.set()
    assert box.close(WAIT_S)
    assert (post.batches, box.dropped) == ([[b"0"], [b"4"], [b"5"]], 3)
    assert "t: 3 entries were dropped because too many waited" in caplog.text


def test_delivery_is_tried_again_until_its_time_is_up(caplog: pytest.LogCaptureFixture) -> None:
    """A destination that comes back gets everything in order; one that does not costs this batch and not the next."""
    post = Post(refuses=3)
    box = Outbox("t", post, OutboxLimits(first_delay_s=0.001, retry_s=WAIT_S))
    box.put(b"1")
    assert post.taken.acquire(timeout=WAIT_S)
    assert (post.batches, post.refused, caplog.text) == ([[b"1"]], 3, "")
    post = Post(refuses=1)
    box = Outbox("t", post, OutboxLimits(retry_s=-1))
    box.put(b"1")
    box.put(b"2")
    assert post.taken.acquire(timeout=WAIT_S)
    assert post.batches == [[b"2"]]
    assert "t: 1 entries are lost: not today" in caplog.text


def test_fault_of_ours_costs_one_batch(caplog: pytest.LogCaptureFixture) -> None:
    """The thread goes on."""
    done = threading.Event()

    def deliver(batch: Sequence[bytes]) -> None:
        if batch == [b"1"]:
            raise ZeroDivisionError
        done.set()

    box = Outbox("t", deliver, OutboxLimits())
    box.put(b"1")
    box.put(b"2")
    assert done.wait(WAIT_S)
    assert "t: 1 entries are lost" in caplog.text


def test_thread_ends_when_nothing_comes_and_another_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the destination is closed, until the next entry."""
    monkeypatch.setattr(outbox, "IDLE_S", 0.001)
    post, closed = Post(), threading.Semaphore(0)
    box = Outbox("t", post, OutboxLimits(), close_idle=closed.release)
    for count in (1, 2):
        box.put(b"x")
        assert closed.acquire(timeout=WAIT_S)
        assert len(post.batches) == count


def test_handlers_of_one_destination_share_an_outbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one of them lives; nothing is kept of a destination that no configuration names any more."""
    monkeypatch.setattr(outbox, "IDLE_S", 0.001)
    post = Post()

    def make() -> Outbox:
        return Outbox("t", post, OutboxLimits())

    one, two = shared("key", make), shared("key", make)
    assert one is two
    gone = weakref.ref(one)
    del one, two
    gc.collect()
    assert gone() is None


def test_close_all_does_not_wait_for_ever() -> None:
    """A destination that takes nothing is left behind; what can go out does."""
    good, stuck = Post(), Post()
    stuck.free.clear()
    boxes = [
        Outbox("good", good, OutboxLimits(batch_max=10, coalescing_s=WAIT_S)),
        Outbox("stuck", stuck, OutboxLimits()),
    ]
    for box in boxes:
        box.put(b"x")
    close_all(0.2)
    stuck.free.set()
    assert boxes[0].close(WAIT_S)
    assert good.batches == [[b"x"]]
    assert boxes[1].close(WAIT_S)
