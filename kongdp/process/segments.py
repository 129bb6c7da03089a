"""Counter segments: blocks of shared memory that outlive the workers that write them.

The supervisor makes them (memory files, so nothing is left on disk and nobody but its children can open them), hands
each to one worker at a time, and gives a segment that became free to a later worker, which counts on where the former
one stopped. No segment is ever given up before the node ends: counters never fall.
In: a size.  Out: descriptors.  Cold. What stands in a segment is telemetry's business.
"""

import fcntl
import os
from dataclasses import dataclass

from kongdp.errors import KongdpError, Source


class SegmentError(KongdpError):
    """The memory for a segment cannot be had."""

    source = Source.OPERATOR


@dataclass(frozen=True, slots=True)
class CounterSegment:
    """One block: its number, its descriptor, and the generation it was made for."""

    index: int
    fd: int
    generation: int

    def describe(self) -> dict[str, int]:
        """The entry for the agent's spec and for messages to the agent."""
        return {"fd": self.fd, "index": self.index, "generation": self.generation}


class Segments:
    """The node's segments and who has them."""

    def __init__(self, segment_bytes: int) -> None:
        self._segment_bytes = segment_bytes
        self._all: list[CounterSegment] = []
        self._taken: set[int] = set()

    def take(self, generation: int, preferred: int | None = None) -> tuple[CounterSegment, bool]:
        """A segment that no living worker writes, and whether it is new (the agent must be told). Raises
        SegmentError.
        """
        free = [segment for segment in self._all if segment.index not in self._taken]
        chosen = next((segment for segment in free if segment.index == preferred), free[0] if free else None)
        is_new = chosen is None
        if chosen is None:
            fd = shared_memory("counters", self._segment_bytes, "kongdp_counter_segment_bytes")
            chosen = CounterSegment(len(self._all), fd, generation)
            self._all.append(chosen)
        self._taken.add(chosen.index)
        return chosen, is_new

    def release(self, segment: CounterSegment) -> None:
        """The worker that wrote it has ended."""
        self._taken.discard(segment.index)

    def all(self) -> tuple[CounterSegment, ...]:
        """Every segment made so far."""
        return tuple(self._all)

    def close(self) -> None:
        """Give up the supervisor's descriptors."""
        for segment in self._all:
            os.close(segment.fd)
        self._all.clear()


def available_bytes() -> int | None:
    """Memory that can be taken without pushing others out, as the kernel estimates it; None where it does not say."""
    try:
        with open("/proc/meminfo") as file:
            lines = [line.split() for line in file]
    except OSError:
        return None
    return next((int(line[1]) * 1024 for line in lines if line[0] == "MemAvailable:"), None)


def shared_memory(purpose: str, size: int, setting: str) -> int:
    """A descriptor of fresh memory of `size` bytes, all zeros. Raises SegmentError, which names the setting that asked for it."""
    available = available_bytes()
    if available is not None and size > available:
        # The kernel would not refuse: it would take every page there is and then kill somebody.
        raise SegmentError(f"{setting}: {size} bytes of memory for {purpose} are wanted, {available} are available")
    fd = os.memfd_create(f"kongdp-{purpose}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        # Really reserved, not sparse: with a sparse file a full machine would kill the writer with SIGBUS in
        # mid-request.
        os.posix_fallocate(fd, 0, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except OSError as error:
        os.close(fd)
        raise SegmentError(
            f"{setting}: cannot reserve {size} bytes of memory for {purpose}: {error.strerror}"
        ) from None
    return fd
