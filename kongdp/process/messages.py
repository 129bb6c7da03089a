"""The words workers and the agent say to each other on the channel, and their bytes.

In and out: frozen values <-> one JSON object in bytes (framing is in channel.py).  Raises MessageError for anything
else.
House rule: this module knows shapes, no sockets and no policy. A message type that this version does not know decodes
to None, so that after an upgrade a new worker and an old agent still understand each other.
Cold: a few messages for each configuration change; a slice of 200 rows costs about a millisecond.
Source: ours.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from kongdp.errors import KongdpError

Row: TypeAlias = dict[str, Any]
Change: TypeAlias = tuple[str, str, Row | None]  # collection, id, the new row or None when deleted

SLICE_ROWS_MAX = 200  # bounds the time one slice keeps a worker's loop busy


class MessageError(KongdpError):
    """Bytes on the channel that are no message; the side that reads them closes the connection."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Worker -> agent, first on every connection: who it is and which configuration it serves (the empty hash for
    none).
    """

    index: int
    generation: int
    pid: int
    hash: str


@dataclass(frozen=True, slots=True)
class WantTable:
    """Worker -> agent: the offered difference does not start from `hash`, which is what the worker has; send the
    whole table.
    """

    hash: str


@dataclass(frozen=True, slots=True)
class Applied:
    """Worker -> agent: the configuration serves traffic here; `seconds` is the time from commit to the swap."""

    hash: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """Worker -> agent: the configuration could not be applied; the worker keeps its old one."""

    hash: str
    reason: str


@dataclass(frozen=True, slots=True)
class Begin:
    """Agent -> worker: `count` changes follow in slices. `base_hash` None means a full table. Abandons an unfinished
    predecessor.
    """

    hash: str
    base_hash: str | None
    count: int


@dataclass(frozen=True, slots=True)
class Slice:
    """Agent -> worker: at most SLICE_ROWS_MAX changes of the configuration that was begun."""

    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """Agent -> worker: all slices were sent; apply. With the empty hash and no Begin: there is no configuration yet."""

    hash: str


Message: TypeAlias = Hello | WantTable | Applied | Failed | Begin | Slice | Commit


def encode(message: Message) -> bytes:
    """Bytes of one message, without framing."""
    name, fields = _NAMES[type(message)]
    return orjson.dumps({"type": name, **{field: getattr(message, field) for field in fields}})


def decode(data: bytes | bytearray | memoryview) -> Message | None:
    """The message in `data`, None for a type this version does not know; raises MessageError for anything malformed."""
    try:
        raw = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise MessageError(f"channel message is not JSON: {error}") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("type"), str):
        raise MessageError("channel message is not an object with a type")
    parse = _PARSERS.get(raw["type"])
    if parse is None:
        return None
    try:
        return parse(raw)
    except (KeyError, TypeError, ValueError) as error:
        raise MessageError(f"channel message {raw['type']!r} is malformed: {error!r}") from None


def slices(changes: Sequence[Change], rows_max: int = SLICE_ROWS_MAX) -> "list[Slice]":
    """The changes of one configuration cut into messages of at most `rows_max` rows, in order."""
    return [Slice(tuple(changes[start : start + rows_max])) for start in range(0, len(changes), rows_max)]


def _text(raw: Mapping[str, Any], field: str) -> str:
    value = raw[field]
    if not isinstance(value, str):
        raise TypeError(f"{field} is not text")
    return value


def _whole(raw: Mapping[str, Any], field: str) -> int:
    value = raw[field]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{field} is not a whole number")
    return value


def _hello(raw: Mapping[str, Any]) -> Hello:
    return Hello(_whole(raw, "index"), _whole(raw, "generation"), _whole(raw, "pid"), _text(raw, "hash"))


def _begin(raw: Mapping[str, Any]) -> Begin:
    base = raw["base_hash"]
    return Begin(_text(raw, "hash"), None if base is None else _text(raw, "base_hash"), _whole(raw, "count"))


def _slice(raw: Mapping[str, Any]) -> Slice:
    return Slice(tuple([_change(*entry) for entry in raw["changes"]]))


def _change(collection: Any, identity: Any, row: Any) -> Change:
    if not isinstance(collection, str) or not isinstance(identity, str) or not (row is None or isinstance(row, dict)):
        raise TypeError("a change is [collection, id, row or null]")
    return collection, identity, row


_PARSERS: dict[str, Callable[[Mapping[str, Any]], Message]] = {
    "hello": _hello,
    "want_table": lambda raw: WantTable(_text(raw, "hash")),
    "applied": lambda raw: Applied(_text(raw, "hash"), float(raw["seconds"])),
    "failed": lambda raw: Failed(_text(raw, "hash"), _text(raw, "reason")),
    "begin": _begin,
    "slice": _slice,
    "commit": lambda raw: Commit(_text(raw, "hash")),
}

_NAMES: dict[type[Message], tuple[str, tuple[str, ...]]] = {
    Hello: ("hello", ("index", "generation", "pid", "hash")),
    WantTable: ("want_table", ("hash",)),
    Applied: ("applied", ("hash", "seconds")),
    Failed: ("failed", ("hash", "reason")),
    Begin: ("begin", ("hash", "base_hash", "count")),
    Slice: ("slice", ("changes",)),
    Commit: ("commit", ("hash",)),
}
