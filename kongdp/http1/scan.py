"""The lexical half of a head pass: which lines pass as they came, and what the few fields with a meaning say.

In: a whole raw head and where its field lines begin.  Out: (kept lines as one bytes object, [(kind, value)] in order, number of lines).
House rule: what a field means is not known here.
Hot where no kernel was compiled; else for unusual heads only.
"""

from typing import TypeAlias

from kongdp.http1.fields import NOTED, NameKinds

Scanned: TypeAlias = tuple[bytes, list[tuple[int, bytes]], int]


def scan(raw: bytes, start: int, kinds: NameKinds) -> Scanned:
    """Split and sort the lines. The field lines must be well formed (llhttp has accepted them)."""
    lines = raw[start:].split(b"\r\n")
    del lines[-2:]
    kept: list[bytes] = []
    keep = kept.append
    found: list[tuple[int, bytes]] = []
    for line in lines:
        name, _, value = line.partition(b":")
        kind = kinds[name]
        if not kind:
            keep(line)
            continue
        found.append((kind, value.strip(b" \t")))
        if kind >= NOTED:
            keep(line)
    if kept:
        kept.append(b"")
    return b"\r\n".join(kept), found, len(lines)
