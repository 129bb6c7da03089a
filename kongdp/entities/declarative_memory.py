"""What a load remembers for the next one: a mark of each top-level entity and the rows that came of it.

In: an entity as it was read (with what is nested in it), and its rows.  Out: those rows again, when the next
configuration has the same entity.  A configuration of 10,000 routes in which one differs then costs a serialisation and
a look-up for each of the others, and neither ids nor checks.
House rule: an entity is taken over at most once, and only what it decides by itself is taken on trust. References and
uniqueness span entities, so the loader judges them again; the head of a configuration (format, defaults) decides how
all entities are read, so a different head forgets everything. Texts are kept and not the values: a quarter of the
memory, and 1, 1.0 and true stay three things.
Cold. Source: ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from kongdp.entities.schema import Schema
from kongdp.entities.table import Row

# Everything else at the top level is entities, or decides nothing about them.
_HEAD = ("_format_version", "_transform", "_info", "_plugin_configs")


class Reference(NamedTuple):
    """A foreign key that was written out (not implied by nesting), and the id it meant."""

    collection: str
    written: Any
    id: str


class Made(NamedTuple):
    """A row of a loaded configuration, and what it referred to."""

    collection: str
    id: str
    row: Row
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """Rows by the collection and the mark of the top-level entity they came of."""

    head: bytes | None = None
    schemas: Mapping[str, Schema] | None = None
    entities: Mapping[str, Mapping[bytes, tuple[Made, ...]]] = field(default_factory=dict)

    def usable(
        self, data: Mapping[str, Any], schemas: Mapping[str, Schema]
    ) -> dict[str, dict[bytes, tuple[Made, ...]]]:
        """What may be taken over into a configuration: a copy to take from, empty when everything must be read anew."""
        if self.head is None or schemas is not self.schemas or self.head != head_of(data):
            return {}
        return {name: dict(marks) for name, marks in self.entities.items()}


def head_of(data: Mapping[str, Any]) -> bytes | None:
    """What decides how entities are read; None when it cannot be compared."""
    return mark_of({name: data.get(name) for name in _HEAD})


def mark_of(value: Any) -> bytes | None:
    """What tells a value from any other, whatever the order of its keys; None for one that no JSON text could have
    held.
    """
    try:
        return blake2b(orjson.dumps(value, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()
    except (TypeError, ValueError):
        return None
