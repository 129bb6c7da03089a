"""A reload under way: every worker replaced by one of the new generation, one by one, then the agent.

A worker's successor starts beside it and must be ready before the old one drains, so there is never one worker less.
The agent cannot be there twice: the old one leaves (writing its counters to disk), then the new one starts; workers
serve on meanwhile. When the first successor cannot start, nothing has changed for clients: the reload ends with the
reason.

In: the crew and the time, at every turn.  Out: going, done, or the reason of a failure.  Cold. Source: ours.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from kongdp.process.children import AGENT, WORKER, Child, Generation
from kongdp.process.crew import Crew, Ended, Slot
from kongdp.process.segments import SegmentError

DRAIN_GRACE_S: Final = 2.0  # children cut exchanges at the deadline themselves; this much later they are killed
AGENT_STOP_S: Final = 10.0  # what the agent may take to write its counters to disk


@dataclass(slots=True)
class Reload:
    """The steps of one reload. `failure` says why it ended early; `is_done` that all slots have the new generation."""

    old: Generation
    new: Generation
    waiting: deque[Slot]
    current: Slot | None = None
    failure: str | None = None
    is_done: bool = False
    added: list[Slot] = field(default_factory=list)

    @classmethod
    def begin(cls, crew: Crew, old: Generation, new: Generation, workers: int) -> "Reload":
        """Plan the steps; `workers` is the new number of them. Slots above it are dismissed at the end by the
        supervisor.
        """
        there = [slot for slot in crew.slots if slot.role == WORKER and slot.index < workers]
        added = [Slot(WORKER, index, new, restart_at=None) for index in range(len(there), workers)]
        agents = [slot for slot in crew.slots if slot.role == AGENT]
        crew.slots += added
        return cls(old, new, deque([*there, *added, *agents]), added=added)

    def advance(self, crew: Crew, now: float) -> None:
        """Do the next thing, if its time has come."""
        while self.failure is None and not self.is_done:
            if self.current is None and not self.waiting:
                self.is_done = True
            elif self.current is None:
                self.current = self.waiting.popleft()
                self._begin_slot(crew, self.current, now)
            elif self._is_replaced(self.current, now):
                self.current = None
            else:
                return

    def on_ended(self, ended: Ended, crew: Crew) -> bool:
        """A child ended; whether it was the reload's own and the reload has therefore failed."""
        child = ended.child
        # Also one that was ready: it ended before it was put in its place, and nobody else waits for it.
        is_ours = child is not None and child.generation is self.new and not child.is_leaving
        if ended.slot is not self.current or ended.slot is None or not (is_ours or child is None):
            return False
        self.abort(crew, ended.reason)
        return True

    def abort(self, crew: Crew, reason: str) -> None:
        """End the reload; slots that were not replaced yet keep the old generation."""
        self.failure = reason
        slot = self.current
        for unserved in [slot for slot in self.added if slot.child is None]:
            crew.slots.remove(unserved)
        if slot is None or slot not in crew.slots:
            return
        if slot.successor is not None:
            slot.successor.leave(0.0)
            slot.successor = None
        if slot.role == AGENT and slot.child is None:
            slot.generation = self.old
            slot.restart_at = 0.0

    def _begin_slot(self, crew: Crew, slot: Slot, now: float) -> None:
        if slot.role == AGENT:
            slot.restart_at = None
            if slot.child is not None:
                slot.child.leave(now + AGENT_STOP_S)
            return
        if slot in self.added:
            slot.restart_at = now
            return
        try:
            slot.successor = crew.start(slot, self.new, now)
        except (OSError, SegmentError) as error:
            self.abort(crew, f"{slot.name} cannot be started: {error}")

    def _is_replaced(self, slot: Slot, now: float) -> bool:
        if slot.role == AGENT and slot.child is None and slot.restart_at is None:
            slot.generation = self.new
            slot.restart_at = now
            return False
        if slot.successor is None:
            return _serves(slot.child, self.new)
        if not slot.successor.is_ready:
            return False
        old, slot.child, slot.successor = slot.child, slot.successor, None
        slot.generation = self.new
        slot.restart_at = None
        slot.failures = 0
        if old is not None:
            old.leave(now + drain_limit(self.old))
        return True


def drain_limit(generation: Generation) -> float:
    """Seconds until a draining worker is killed."""
    return generation.settings.kongdp_drain_timeout_s + DRAIN_GRACE_S


def surplus(slots: Sequence[Slot], workers: int) -> list[Slot]:
    """Slots of workers that a smaller number of workers no longer has."""
    return [slot for slot in slots if slot.role == WORKER and slot.index >= workers]


def _serves(child: Child | None, generation: Generation) -> bool:
    return child is not None and child.generation is generation and child.is_ready
