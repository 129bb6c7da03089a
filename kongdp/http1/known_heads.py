"""Heads that came before, where nothing was compiled: what their fields said is said again without reading them.

In: a head that the plain way has accepted.  Out: for the next one of the same field bytes, the same head, with its own method and target.
House rules: what is remembered is keyed by every byte it was read from, so it cannot differ from what reading would give; limits are
judged anew for each head. Remembered at its second coming, because a head with a trace id or a date of its own never has one; bounded.
Hot where no kernel was compiled, else unused.
Source: ours. PERF: nothing compiled: an exchange 18.5 -> 9.9 us in process (bench/parts/memory_exchange.py), 2.29 -> 1.55 of nginx.
"""

from typing import Generic, TypeVar

from kongdp.http1.messages import RequestFacts, RequestHead, ResponseFacts, ResponseHead

KNOWN_HEADS_MAX = 1024
KNOWN_HEAD_BYTES_MAX = 2048
"""Together they bound what one KnownHeads keeps, at about four megabytes."""

Basis = TypeVar("Basis")
Facts = TypeVar("Facts")


class KnownHeads(dict[bytes, tuple[Basis, Facts]], Generic[Basis, Facts]):
    """Bytes of a head -> (what else its acceptance depended on, what it said). When it is full it starts anew."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[int] = set()

    def came(self, raw: bytes) -> bool:
        """Whether these bytes came before and may be remembered now; notes that they came."""
        if len(raw) > KNOWN_HEAD_BYTES_MAX:
            return False
        mark = hash(raw)
        seen = self._seen
        if mark in seen:
            seen.discard(mark)
            if len(self) >= KNOWN_HEADS_MAX:
                self.clear()
            return True
        if len(seen) >= 4 * KNOWN_HEADS_MAX:
            seen.clear()
        seen.add(mark)
        return False


REQUESTS: KnownHeads[int, RequestFacts] = KnownHeads()
"""From the digit behind "HTTP/1." to the empty line -> (number of field lines, facts)."""

RESPONSES: KnownHeads[bytes | None, ResponseFacts] = KnownHeads()
"""A whole head -> (charset to be appended, facts)."""


def remember_request(block: bytes, head: RequestHead, lines: int) -> None:
    """A request head was read whose bytes from its version on are `block`."""
    if REQUESTS.came(block):
        REQUESTS[block] = lines, head.facts()


def remember_response(raw: bytes, head: ResponseHead, charset: bytes | None) -> None:
    """A response head was read."""
    if RESPONSES.came(raw):
        RESPONSES[raw] = charset, head.facts()
