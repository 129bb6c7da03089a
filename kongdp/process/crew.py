"""The crew of a node: slots that must be filled and the children that fill them.

A slot is a place (the agent, worker 0, worker 1 ...), a child is a process. The crew starts children into empty
slots, hears their lifelines, notices their end, and kills what is overdue. What the end of a child means for the node
is the supervisor's decision, so `reap` and `fill` return what happened instead of acting on it.

In: commands, a function that makes specs.  Out: Ended values.  Times are monotonic seconds and handed in.
Cold. Source: ours.
"""

import logging
import os
import selectors
import signal
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kongdp.process import children, lifeline, logs
from kongdp.process.children import AGENT, WORKER, Child, Generation
from kongdp.process.segments import CounterSegment, SegmentError, Segments
from kongdp.process.state import process_start_time

log = logging.getLogger(__name__)

RESTART_DELAYS_S: Final = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # by failures in a row; then the last one
STEADY_AFTER_S: Final = 60.0  # a child that served this long has no failures behind it any more
AGENT_SILENCE_FACTOR: Final = 6  # the agent may pause while it validates a large configuration
TELL_AGENT_TIMEOUT_S: Final = 1.0


@dataclass(slots=True, eq=False)
class Slot:
    """A place to fill. A restart uses `generation`; `successor` is what a reload starts beside the living child."""

    role: str
    index: int
    generation: Generation
    child: Child | None = None
    successor: Child | None = None
    failures: int = 0
    restart_at: float | None = 0.0
    segment_index: int | None = None

    @property
    def name(self) -> str:
        """How logs call it."""
        return AGENT if self.role == AGENT else f"{WORKER} {self.index}"


@dataclass(frozen=True, slots=True)
class Ended:
    """A child is gone, or could not even be started (then `child` is None).

    `slot` is None when it was on its way out and nobody waits for its place. `cannot_start`: trying again is useless.
    """

    slot: Slot | None
    child: Child | None
    reason: str
    cannot_start: bool = False


class Crew:
    """All slots and children of a node."""

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        make_spec: Callable[[Slot, Generation], dict[str, Any]],
        segments: Segments,
        selector: selectors.BaseSelector,
    ) -> None:
        self.slots: list[Slot] = []
        self.children: list[Child] = []  # all that live, serving and leaving
        self._commands = commands
        self._make_spec = make_spec
        self._segments = segments
        self._selector = selector

    # -- questions

    def has(self, role: str) -> bool:
        """Whether any child of this role lives."""
        return any(child.role == role for child in self.children)

    @property
    def is_complete(self) -> bool:
        """Whether every slot has a child that accepts connections."""
        return all(slot.child is not None and slot.child.is_ready for slot in self.slots)

    @property
    def is_serving(self) -> bool:
        """Whether at least one worker accepts connections."""
        return any(child.role == WORKER and child.is_ready and not child.is_leaving for child in self.children)

    def seconds_to_wait(self, now: float, at_most: float) -> float:
        """How long nothing has to be done, unless somebody speaks or dies."""
        moments = [child.kill_at for child in self.children if child.kill_at is not None]
        moments += [slot.restart_at for slot in self.slots if slot.child is None and slot.restart_at is not None]
        moments += [child.last_heard + _silence(child) for child in self.children if child.last_heard is not None]
        return max(0.0, min([at_most, *(moment - now for moment in moments)]))

    # -- what a turn does

    def hear(self, child: Child, now: float) -> None:
        """Take in what a child said."""
        if not child.line_ended:
            children.poll_line(child, now)
            self._forget_ended_line(child)

    def reap(self, now: float) -> list[Ended]:
        """Everything that ended since the last time; its segment is free again."""
        ended: list[Ended] = []
        for child in tuple(self.children):
            status = child.process.poll()
            if status is None:
                continue
            self.hear(child, now)  # its last words may say why
            if not child.line_ended:
                self._selector.unregister(child.line)
            child.line.close()
            self.children.remove(child)
            if child.segment is not None:
                self._segments.release(child.segment)
            ended.append(self._leave_slot(child, status, now))
        return ended

    def judge(self, now: float) -> None:
        """Kill what is overdue: told to leave long ago, silent, or never ready."""
        for child in self.children:
            if child.kill_at is not None:
                if child.kill_at <= now:
                    log.warning("%s (pid %d) did not end in time and is killed", child.name, child.process.pid)
                    child.kill_at = now + 1.0
                    child.signal(signal.SIGKILL)
            elif child.last_heard is not None and now - child.last_heard >= _silence(child):
                log.error("%s (pid %d) gave no sign of life and is replaced", child.name, child.process.pid)
                child.last_heard = None
                child.signal(signal.SIGKILL)
            elif not child.is_ready and now - child.started_at >= child.generation.settings.kongdp_start_timeout_s:
                child.started_at = now
                child.failure = f"{child.name} was not ready within kongdp_start_timeout_s"
                child.signal(signal.SIGKILL)

    def fill(self, now: float) -> list[Ended]:
        """Start a child for every empty slot whose time has come; returns what could not be started."""
        failed: list[Ended] = []
        for slot in self.slots:
            if slot.child is not None or slot.restart_at is None or slot.restart_at > now:
                continue
            slot.restart_at = None
            try:
                slot.child = self.start(slot, slot.generation, now)
            except (OSError, SegmentError) as error:
                failed.append(Ended(slot, None, f"{slot.name} cannot be started: {error}"))
        return failed

    def forgive(self, gap_s: float, now: float) -> None:
        """This process stood still for a while (a suspended machine, SIGSTOP): silence is counted from now on."""
        for child in self.children:
            child.started_at += gap_s
            if child.last_heard is not None:
                child.last_heard = now

    # -- what the supervisor and a reload ask for

    def start(self, slot: Slot, generation: Generation, now: float) -> Child:
        """Start a child for a slot without putting it there. Raises OSError and SegmentError."""
        ours, theirs = lifeline.pair()
        segment: CounterSegment | None = None
        try:
            spec = self._make_spec(slot, generation)
            if slot.role == WORKER:
                segment = self._take_segment(slot, generation)
                spec["segment_fd"] = segment.fd
                spec["segment_index"] = segment.index
            process = children.spawn(self._commands[slot.role], spec, theirs)
        except (OSError, SegmentError):
            ours.close()
            if segment is not None:
                self._segments.release(segment)
            raise
        finally:
            theirs.close()
        child = Child(slot.role, slot.index, generation, process, process_start_time(process.pid), ours, segment, now)
        self.children.append(child)
        self._selector.register(ours, selectors.EVENT_READ, child)
        log.info("%s has pid %d", child.name, process.pid)
        return child

    def schedule(self, slot: Slot, now: float) -> None:
        """Fill the slot again, later the more often it failed in a row."""
        slot.restart_at = now + RESTART_DELAYS_S[min(slot.failures, len(RESTART_DELAYS_S) - 1)]
        slot.failures += 1

    def dismiss(self, role: str, kill_at: float) -> None:
        """Ask every child of a role to drain and leave, and start no other."""
        for slot in self.slots:
            if slot.role == role:
                slot.restart_at = None
        for child in self.children:
            if child.role == role:
                child.leave(kill_at)

    def signal(self, number: int, chosen: Iterable[Child]) -> None:
        """Send a signal to some children."""
        for child in chosen:
            child.signal(number)

    def _forget_ended_line(self, child: Child) -> None:
        if child.line_ended:  # it would be readable for ever
            self._selector.unregister(child.line)

    def _take_segment(self, slot: Slot, generation: Generation) -> CounterSegment:
        segment, is_new = self._segments.take(generation.number, slot.segment_index)
        slot.segment_index = segment.index
        if is_new:
            message = {
                "type": "segments",
                "segments": [{"index": segment.index, "generation": segment.generation}],
            }
            # An agent that starts later finds the segment in its spec.
            for child in self.children:
                if child.role == AGENT and not child.line_ended:
                    lifeline.send(child.line, message, [segment.fd], timeout_s=TELL_AGENT_TIMEOUT_S)
        return segment

    def _leave_slot(self, child: Child, status: int, now: float) -> Ended:
        slot = next((slot for slot in self.slots if child in (slot.child, slot.successor)), None)
        how = children.end_reason(status)
        reason = child.failure or f"{child.name} {how}"
        if slot is not None and slot.successor is child:
            slot.successor = None
        elif slot is not None:
            slot.child = None
            if child.ready_at is not None and now - child.ready_at >= STEADY_AFTER_S:
                slot.failures = 0
        level = logs.NOTICE if child.is_leaving else logging.ERROR
        log.log(level, "%s (pid %d) %s", child.name, child.process.pid, how)
        return Ended(slot, child, reason, status == lifeline.START_FAILED or child.failure is not None)


def reap_orphans(ours: Container[int]) -> None:
    """As the first process of a container we inherit whatever others leave behind; collect it.

    Not what has one of `ours` as its pid: only `reap` may collect that, or nobody would know how it ended.
    """
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # there are no children at all: between two starts, or at the end
            return
        if found is None or found.si_pid in ours:
            return
        os.waitid(os.P_PID, found.si_pid, os.WEXITED | os.WNOHANG)


def _silence(child: Child) -> float:
    limit = child.generation.settings.kongdp_worker_silence_s
    return limit * AGENT_SILENCE_FACTOR if child.role == AGENT else limit
