"""The steps of a reload where processes are too slow to meet: what ends between two looks of the supervisor."""

from typing import Any, cast

from kongdp.process.children import WORKER, Child, Generation
from kongdp.process.crew import Crew, Ended, Slot
from kongdp.process.reload import Reload


class Starter:
    """A crew that starts children in name only."""

    def __init__(self, *slots: Slot) -> None:
        self.slots = list(slots)

    def start(self, slot: Slot, generation: Generation, now: float) -> Child:
        return child(generation)


def child(generation: Generation) -> Child:
    return Child(WORKER, 0, generation, cast(Any, None), None, cast(Any, None), None, 0.0)


def test_reload_ends_when_a_successor_dies_in_the_moment_it_is_ready() -> None:
    """It said that it is ready and was gone before it was put in its place: the old worker stays, and the reload says why."""
    old, new = Generation(1, cast(Any, None)), Generation(2, cast(Any, None))
    serving = child(old)
    slot = Slot(WORKER, 0, old, child=serving)
    crew = cast(Crew, Starter(slot))
    reload = Reload.begin(crew, old, new, 1)
    reload.advance(crew, 0.0)
    successor, slot.successor = slot.successor, None
    assert successor is not None
    successor.ready_at = 1.0
    assert reload.on_ended(Ended(slot, successor, "worker 0 was ended by SIGKILL"), crew)
    assert reload.failure == "worker 0 was ended by SIGKILL"
    assert slot.child is serving
