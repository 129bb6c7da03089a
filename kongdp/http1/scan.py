"""The lexical half of a head pass: which lines pass as they came, and what the few fields with a meaning say.

In: the field lines of a head.  Out: (kept lines as one bytes object, [(kind, value)] in order, number of lines).
House rule: what a field means is not known here.
Hot where no kernel was compiled; else for unusual heads only.
"""

from collections.abc import Callable
from typing import TypeAlias, cast

from kongdp.http1.fields import NOTED, NameKinds

Scanned: TypeAlias = tuple[bytes, list[tuple[int, bytes]], int]

Said: TypeAlias = tuple[bytes, tuple[int, bytes] | None]
"""What of one line travels on; kind and value if it has a meaning."""

KNOWN_LINES_MAX = 4096
KNOWN_LINE_BYTES_MAX = 256
"""Together they bound what one KnownLines keeps, at about two megabytes."""


class KnownLines(dict[bytes, Said]):
    """Lines that stood in accepted heads, and what they said.

    Peers send most of their lines again and again. When it is full it starts anew.
    PERF: nothing compiled: an exchange 24.5 -> 18.5 us in process, with the memory of ways (bench/parts/memory_exchange.py).
    """

    __slots__ = ("_kinds",)

    def __init__(self, kinds: NameKinds) -> None:
        super().__init__()
        self._kinds = kinds

    def read(self, lines: list[bytes], judge: Callable[[list[bytes]], bool]) -> Scanned:
        """Sort lines. `judge` is given those that are not known: it refuses, or says whether each is known to be one that may stand
        in a head, and so to be remembered.
        """
        if not lines:
            return b"", [], 0
        said: list[Said | None] = list(map(self.get, lines))
        if None in said:
            remember = judge([line for line, known in zip(lines, said, strict=True) if known is None])
            for index, line in enumerate(lines):
                if said[index] is None:
                    said[index] = self._learn(line, remember=remember)
        kept, told = zip(*cast(list[Said], said), strict=True)
        return b"".join(kept), list(filter(None, told)), len(lines)

    def _learn(self, line: bytes, *, remember: bool) -> Said:
        name, _, value = line.partition(b":")
        kind = self._kinds[name]
        told = (kind, value.strip(b" \t")) if kind else None
        said = line + b"\r\n" if not kind or kind >= NOTED else b"", told
        if remember and len(line) <= KNOWN_LINE_BYTES_MAX:
            if len(self) >= KNOWN_LINES_MAX:
                self.clear()
            self[line] = said
        return said
