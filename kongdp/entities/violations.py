"""What is wrong with an entity, in Kong's shape.

Problems are a dict: field name -> text, or a list by position (None where an element is sound), or a dict for a nested
record. The key "@entity" holds a list of texts that concern several fields. The same structure is `fields` in answers
of the Admin API.
Source: kong/db/errors.lua (codes and message forms), answers of a live Kong 3.9.1.
"""

from collections.abc import Iterator
from typing import Any, TypeAlias

from kongdp.entities.lua_text import pretty
from kongdp.errors import KongdpError, Source

Problem: TypeAlias = str | list[Any] | dict[str, Any]
Problems: TypeAlias = dict[str, Any]

ENTITY = "@entity"
REQUIRED = "required field missing"
UNKNOWN = "unknown field"


class Invalid(Exception):
    """One value was refused; `problem` says why. Never leaves this package."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


class SchemaViolation(KongdpError):
    """An entity was refused; `problems` names every reason at once."""

    source = Source.OPERATOR

    def __init__(self, problems: Problems) -> None:
        super().__init__(violation_text(problems))
        self.problems = problems


def add_entity_problem(problems: Problems, text: str) -> None:
    """Record a problem that concerns several fields."""
    problems.setdefault(ENTITY, []).append(text)


def set_problem(problems: Problems, path: str, problem: Problem) -> None:
    """Record a problem at a dotted path, replacing an earlier one."""
    *parents, last = path.split(".")
    for name in parents:
        inner = problems.get(name)
        if not isinstance(inner, dict):
            inner = problems[name] = {}
        problems = inner
    problems[last] = problem


def violation_text(problems: Problems) -> str:
    """Kong's one-line message: `schema violation (host: required field missing)`."""
    texts = list(_texts(problems))
    head = "schema violation" if len(texts) == 1 else f"{len(texts)} schema violations"
    return f"{head} ({'; '.join(texts)})"


def _texts(problems: Problems) -> Iterator[str]:
    yield from problems.get(ENTITY, ())
    for name in sorted(problems):
        if name == ENTITY:
            continue
        problem = problems[name]
        if isinstance(problem, str):
            yield f"{name}: {problem}"
            continue
        inner = enumerate(problem, 1) if isinstance(problem, list) else sorted(problem.items())
        for key, value in inner:
            if value is not None:
                yield f"{name}.{key}: {value if isinstance(value, str) else pretty(value)}"
