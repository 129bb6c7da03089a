"""Where in a text each value of a configuration begins, to name lines beside problems.

In: the text of a configuration that was parsed and then refused.  Out: Marks, a tree of lines in the shape of the
configuration; None where the text is not YAML (JSON is, but for rare escapes).
House rule: worked out only after a refusal, so that nobody else pays for it. Aliases share their anchor's lines, merged
keys keep those of their source.
Cold. Source: ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

DEPTH_MAX = 100
"""Of values in values: what the parsers bear, and far beyond any configuration."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Marks:
    """The line (from 1) of a value, and the marks of what is in it by key or position (from 0)."""

    line: int
    children: Mapping[str | int, "Marks"] = field(default_factory=dict)

    def at(self, key: str | int) -> "Marks":
        """The marks of a child, or these where the text says nothing of it (a required field that is missing)."""
        return self.children.get(key, self)


def marks_of(text: str | bytes) -> Marks | None:
    """The lines of a configuration's values, None when they cannot be told."""
    try:
        content = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        loader = _Loader(content)
        try:
            loader.get_event()
            if isinstance(loader.get_event(), yaml.StreamEndEvent):
                return None
            return _Marker(loader.get_event).value(loader.get_event(), 0)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, KeyError, RecursionError):
        return None


class _Marker:
    """YAML events to marks."""

    def __init__(self, next_event: Any) -> None:
        self._next = next_event
        self._anchors: dict[str, Marks] = {}

    def value(self, event: Any, depth: int) -> Marks:
        """The marks of the value that begins with this event."""
        if isinstance(event, yaml.AliasEvent):
            return self._anchors[str(event.anchor)]
        if depth > DEPTH_MAX:
            raise RecursionError
        marks = Marks(event.start_mark.line + 1)
        if isinstance(event, yaml.MappingStartEvent):
            marks.children = self._mapping(depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            marks.children = self._sequence(depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = marks
        return marks

    def _sequence(self, depth: int) -> dict[str | int, Marks]:
        children: dict[str | int, Marks] = {}
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            children[len(children)] = self.value(event, depth + 1)
        return children

    def _mapping(self, depth: int) -> dict[str | int, Marks]:
        own: dict[str | int, Marks] = {}
        merged: dict[str | int, Marks] = {}
        while not isinstance(key := self._next(), yaml.MappingEndEvent):
            inner = self.value(self._next(), depth + 1)
            if key.value == "<<":
                sources = [inner] if all(isinstance(name, str) for name in inner.children) else inner.children.values()
                for source in sources:
                    merged = {**source.children, **merged}
            else:
                # the key's line: a block that begins on the next line is looked for by its name
                own[key.value] = Marks(key.start_mark.line + 1, inner.children)
        return {**merged, **own}
