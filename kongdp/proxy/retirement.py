"""A replaced snapshot, let go a little at a time.

In: the snapshot that was live, the edits that replaced it.  Out: nothing.
The last reference to a table of 100,000 routes that all changed frees a million objects, a quarter of a second in which no request is
served. So everything the snapshot is made of is held for a moment, the wholes are let go before their parts, and the parts in small
numbers. What newer snapshots share lives on. Cold. Source: ours.
"""

from collections import deque
from collections.abc import Generator

from kongdp.proxy.snapshot import Edit, Snapshot

PARTS_PER_STEP = 200
"""Let go between two yields: about a tenth of a millisecond."""

EDITS_MIN = 1000
"""A change of fewer leaves so little behind that holding all parts of the snapshot would cost more."""


def let_go(snapshot: Snapshot, edits: list[Edit]) -> Generator[None, None, None]:
    """Steps after which both are gone, if the caller kept neither; yields between them."""
    while edits:
        del edits[-PARTS_PER_STEP:]
        yield
    held: deque[object] = deque()
    for part in snapshot.parts():
        held.append(part)
        if len(held) % PARTS_PER_STEP == 0:
            yield
    del snapshot
    while held:
        # the left end: wholes first. A part that goes before its whole would wait for it, and go with it at once.
        for _ in range(min(PARTS_PER_STEP, len(held))):
            held.popleft()
        yield
