"""The lexical half of a head pass: which lines pass as they came, and what the few fields with a meaning say.

In: the field lines of a head.  Out: (kept lines as one bytes object, [(kind, value)] in order, number of lines).
House rule: what a field means is not known here.
Hot where no kernel was compiled; else for unusual heads only.
"""

from typing import TypeAlias

from kongdp.http1.fields import NOTED, NameKinds

Scanned: TypeAlias = tuple[bytes, list[tuple[int, bytes]], int]

KNOWN_LINES_MAX = 4096
KNOWN_LINE_BYTES_MAX = 256
"""Together they bound what one KnownLines keeps, at about two megabytes."""


class KnownLines(dict[bytes, tuple[bytes, tuple[int, bytes] | None]]):
    """Lines that stood in accepted heads: line -> (what of it travels on, kind and value if it has a meaning).

    Peers send most of their lines again and again. When it is full it starts anew.
    PERF: nothing compiled: an exchange 24.5 -> 18.5 us in process, with the memory of ways (bench/parts/memory_exchange.py).
    """

    __slots__ = ("_kinds",)

    def __init__(self, kinds: NameKinds) -> None:
        super().__init__()
        self._kinds = kinds

    def recall(self, lines: list[bytes]) -> Scanned | None:
        """What `scan` would say of these lines; None unless every one of them is known."""
        if not lines:
            return None
        try:
            kept, told = zip(*map(self.__getitem__, lines), strict=True)
        except KeyError:
            return None
        return b"".join(kept), list(filter(None, told)), len(lines)

    def scan(self, lines: list[bytes], *, remember: bool) -> Scanned:
        """Sort well-formed lines. `remember` them, if each is known to be one that may stand in a head."""
        kept: list[bytes] = []
        found: list[tuple[int, bytes]] = []
        kinds = self._kinds
        for line in lines:
            name, _, value = line.partition(b":")
            kind = kinds[name]
            told = (kind, value.strip(b" \t")) if kind else None
            travels = line + b"\r\n" if not kind or kind >= NOTED else b""
            kept.append(travels)
            if told is not None:
                found.append(told)
            if remember and len(line) <= KNOWN_LINE_BYTES_MAX:
                if len(self) >= KNOWN_LINES_MAX:
                    self.clear()
                self[line] = travels, told
        return b"".join(kept), found, len(lines)
