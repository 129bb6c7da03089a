"""The lexical half of a head pass: which lines pass as they came, and what the few fields with a meaning say.

In: a whole raw head and where its field lines begin.  Out: (kept lines as one bytes object, [(kind, value)] in order, number of lines).
House rule: `scan` here and `_head.scan` (compiled, if a compiler was there) answer the same for every head that llhttp accepts; the
compiled one answers None where it is not sure. A property test holds them equal. What a field means is not known here.
Hot: twice per request.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from kongdp.http1.fields import NOTED, NameKinds

Scanned: TypeAlias = tuple[bytes, list[tuple[int, bytes]], int]

try:
    from kongdp.http1 import _head  # type: ignore[attr-defined,unused-ignore]
except ImportError:
    _head = None

IS_COMPILED = _head is not None
"""Whether the native kernel serves (`kongdp version` says so)."""


def scan(raw: bytes, start: int, kinds: NameKinds) -> Scanned:
    """The contract in plain Python. The field lines must be well formed (llhttp has accepted them)."""
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


def build_scanner(by_name: Mapping[bytes, int]) -> Callable[[bytes, int], Scanned | None]:
    """The fastest scanner there is for these names; it may answer None for a head that is malformed or unusual."""
    if _head is None:
        return lambda raw, start: None
    names: Any = _head.Names(by_name)
    compiled = _head.scan
    return lambda raw, start: compiled(raw, start, names)
