"""A refused configuration: every problem at its place, nested as the input is, and flattened by entity.

In: the input, and problems by place.  Out: DeclarativeError, whose `fields` is what Kong's POST /config answers.
Source: kong/db/errors.lua 3.9 (declarative_config_flattened), kong/db/declarative (lines printed at start).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from kongdp.entities.declarative_lines import Marks
from kongdp.entities.field import is_uuid
from kongdp.entities.lua_text import one_line
from kongdp.entities.violations import ENTITY, Problems
from kongdp.errors import KongdpError, Source

# (place of the parent entity or None, collection, position)
Place: TypeAlias = tuple[Any, str, int]


class DeclarativeError(KongdpError):
    """A configuration was refused as a whole.

    `fields`: collection -> list by position (None where sound) -> field -> problem; nested entities below their
    parents. `flattened_errors`: one object for each wrong entity. `unplaced`: what belongs to no entity.
    """

    source = Source.OPERATOR

    def __init__(
        self,
        fields: Problems,
        flattened_errors: Sequence[Mapping[str, Any]] = (),
        unplaced: Problems | None = None,
    ) -> None:
        self.fields = fields
        self.flattened_errors = list(flattened_errors)
        self.unplaced = fields if unplaced is None and not flattened_errors else unplaced or {}
        super().__init__(f"declarative config is invalid: {one_line(fields)}")

    def lines(self, marks: Marks | None = None) -> list[str]:
        """The problems as Kong prints them when it starts: indented by two for each level. With `marks`, each ends with
        its line in the text.
        """
        # what is wrong with the text as a whole says its place itself
        return list(_lines(self.fields, "", None if self.fields.keys() == {"error"} else marks))


def error_of(
    data: Mapping[str, Any], head: Problems, problems: Sequence[tuple[Place, Mapping[str, Any], Problems]]
) -> DeclarativeError:
    """The error for problems found in `data`: those of its top level, and (place, entity, problems) for each wrong
    entity."""
    fields: Problems = dict(head)
    merged: dict[Place, tuple[Mapping[str, Any], Problems]] = {}
    for place, raw, found in problems:
        known = merged.setdefault(place, (raw, {}))[1]
        for name, problem in found.items():
            known[name] = [*known.get(name, ()), *problem] if name == ENTITY else problem
    for place, (_, found) in merged.items():
        _node_at(fields, place).update(found)
    flattened = [_flattened(place, raw, found) for place, (raw, found) in merged.items()]
    return DeclarativeError(fields, flattened, dict(head))


def _node_at(fields: Problems, place: Place) -> Problems:
    """The dict for one entity in the nested structure, made on the way."""
    parent, collection, position = place
    holder = fields if parent is None else _node_at(fields, parent)
    nodes = holder.get(collection)
    if not isinstance(nodes, list):
        nodes = holder[collection] = []
    nodes.extend([None] * (position + 1 - len(nodes)))
    if nodes[position] is None:
        nodes[position] = {}
    node: Problems = nodes[position]
    return node


def _flattened(place: Place, raw: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    name, id, tags = raw.get("name"), raw.get("id"), raw.get("tags")
    entity: dict[str, Any] = {
        "entity_type": place[1].removesuffix("s"),
        "entity": dict(raw),
        "errors": list(_flat_problems(problems, "")),
    }
    if isinstance(name, str) and name:
        entity["entity_name"] = name
    if isinstance(id, str) and is_uuid(id):
        entity["entity_id"] = id
    if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags):
        entity["entity_tags"] = tags
    return entity


def _flat_problems(problems: Mapping[str, Any] | list[Any], path: str) -> Iterator[dict[str, Any]]:
    entries = (
        enumerate(problems, 1)
        if isinstance(problems, list)
        else sorted(problems.items(), key=lambda entry: str(entry[0]))
    )
    for name, problem in entries:
        here = f"{path}.{name}" if path else str(name)
        if name == ENTITY:
            for text in problem:
                yield {"type": "entity", "message": text}
        elif isinstance(problem, str):
            yield {"type": "field", "field": here, "message": problem}
        elif problem is not None:
            yield from _flat_problems(problem, here)


def _lines(problems: Mapping[str, Any], indent: str, marks: Marks | None) -> Iterator[str]:
    for name in sorted(problems, key=str):
        problem = problems[name]
        here = marks.at(name) if marks is not None else None
        if isinstance(problem, str):
            yield f"{indent}in '{name}': {problem}{_line(here)}"
        elif name == ENTITY:
            yield from (f"{indent}{text}{_line(marks)}" for text in problem)
        elif isinstance(problem, dict):
            yield f"{indent}in '{name}':"
            yield from _lines(problem, indent + "  ", here)
        else:
            yield f"{indent}in '{name}':"
            for position, entry in enumerate(problem):
                if entry is not None:
                    yield from _entry_lines(name, position, entry, indent, here.at(position) if here else None)


def _entry_lines(name: str, position: int, entry: Any, indent: str, marks: Marks | None) -> Iterator[str]:
    head = f"{indent}  - in entry {position + 1} of '{name}':"
    if isinstance(entry, dict):
        yield head
        yield from _lines(entry, indent + "    ", marks)
    else:
        yield f"{head} {entry}{_line(marks)}"


def _line(marks: Marks | None) -> str:
    return f" (line {marks.line})" if marks is not None else ""
