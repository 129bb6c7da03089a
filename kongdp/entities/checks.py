"""Rules between the fields of one entity: one of these, all or none of those, this only if that.

Each check is described once, as GET /schemas shows it, and bound to the fields of a shape, which yields a BoundCheck to
be called with a filled record. Field names may be dotted paths into nested records ("config.policy").
Warm: a check looks first at the side that is usually unset, so that most rows cost one or two look-ups a check.
Source: kong/db/schema/init.lua 3.9 (entity_checkers: texts, which run although a field has problems, which do not).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kongdp.entities.field import Field
from kongdp.entities.violations import REQUIRED, Invalid, Problem, Problems, add_entity_problem, set_problem


class EntityCheck(Protocol):
    """A rule that spans fields."""

    def bind(self, fields: Mapping[str, Field]) -> "BoundCheck":
        """The rule made ready for a shape with these fields."""


@dataclass(frozen=True, slots=True)
class BoundCheck:
    """A rule ready to run: `(record, problems, updating)`; `updating` only changes the wording."""

    run: Callable[[dict[str, Any], Problems, bool], None]
    description: Mapping[str, Any] | None

    def __call__(self, row: dict[str, Any], problems: Problems, updating: bool) -> None:
        self.run(row, problems, updating)

    def describe(self) -> Mapping[str, Any]:
        """The rule as GET /schemas shows it."""
        return self.description or {}


def get_path(record: Any, path: str) -> Any:
    """The value at a dotted path, or None."""
    if "." not in path:
        return record.get(path)
    for name in path.split("."):
        if not isinstance(record, dict):
            return None
        record = record.get(name)
    return record


def quoted(names: Sequence[str]) -> str:
    """`'a', 'b'`"""
    return ", ".join(f"'{name}'" for name in names)


def _field_at(fields: Mapping[str, Field], path: str) -> Field:
    head, _, rest = path.partition(".")
    field = fields[head]
    if not rest:
        return field
    assert field.shape is not None
    return _field_at(field.shape.fields, rest)


def _problem_of(field: Field, value: Any) -> Problem | None:
    if value is None:
        return field.null_problem
    try:
        field.check(value)
    except Invalid as invalid:
        return invalid.problem
    return None


def _has_problem(problems: Problems, paths: Sequence[str]) -> bool:
    return any(get_path(problems, path) is not None for path in paths) if problems else False


@dataclass(frozen=True, slots=True)
class AtLeastOneOf:
    """At least one of the fields must be neither null nor empty."""

    names: tuple[str, ...]

    def bind(self, fields: Mapping[str, Field]) -> BoundCheck:
        """See EntityCheck."""
        names = self.names
        text = f"at least one of these fields must be non-empty: {quoted(names)}"

        def run(row: dict[str, Any], problems: Problems, updating: bool) -> None:
            if not any(_non_empty(get_path(row, name)) for name in names):
                add_entity_problem(problems, f"when updating, {text}" if updating else text)

        return BoundCheck(run, {"at_least_one_of": list(names)})


@dataclass(frozen=True, slots=True)
class OnlyOneOf:
    """Exactly one of the fields must be neither null nor empty."""

    names: tuple[str, ...]

    def bind(self, fields: Mapping[str, Field]) -> BoundCheck:
        """See EntityCheck."""
        names = self.names

        def run(row: dict[str, Any], problems: Problems, updating: bool) -> None:
            if sum(_non_empty(get_path(row, name)) for name in names) != 1:
                add_entity_problem(problems, f"only one of these fields must be non-empty: {quoted(names)}")

        return BoundCheck(run, {"only_one_of": list(names)})


@dataclass(frozen=True, slots=True)
class MutuallyRequired:
    """All of the fields or none."""

    names: tuple[str, ...]

    def bind(self, fields: Mapping[str, Field]) -> BoundCheck:
        """See EntityCheck."""
        names = self.names

        def run(row: dict[str, Any], problems: Problems, updating: bool) -> None:
            count = sum(_non_empty(get_path(row, name)) for name in names)
            if 0 < count < len(names) and not _has_problem(problems, names):
                add_entity_problem(problems, f"all or none of these fields must be set: {quoted(names)}")

        return BoundCheck(run, {"mutually_required": list(names)})


@dataclass(frozen=True, slots=True)
class MutuallyExclusive:
    """One of the fields or none."""

    names: tuple[str, ...]

    def bind(self, fields: Mapping[str, Field]) -> BoundCheck:
        """See EntityCheck."""
        names = self.names

        def run(row: dict[str, Any], problems: Problems, updating: bool) -> None:
            if sum(_non_empty(get_path(row, name)) for name in names) > 1 and not _has_problem(problems, names):
                add_entity_problem(problems, f"only one or none of these fields must be set: {quoted(names)}")

        return BoundCheck(run, {"mutually_exclusive": list(names)})


@dataclass(frozen=True, slots=True)
class Distinct:
    """The fields that are set must differ."""

    names: tuple[str, ...]

    def bind(self, fields: Mapping[str, Field]) -> BoundCheck:
        """See EntityCheck."""
        names = self.names

        def run(row: dict[str, Any], problems: Problems, updating: bool) -> None:
            values = [value for value in (get_path(row, name) for name in names) if _non_empty(value)]
            if any(value in values[:position] for position, value in enumerate(values)):
                add_entity_problem(problems, f"values of these fields must be distinct: {quoted(names)}")

        return BoundCheck(run, {"distinct": list(names)})


@dataclass(frozen=True, slots=True)
class Conditional:
    """If one field passes some rules, another must pass others. Rules are Field attributes laid over the field's
    own."""

    if_field: str
    if_match: Mapping[str, Any]
    then_field: str
    then_match: Mapping[str, Any]
    then_err: str | None = None

    def bind(self, fields: Mapping[str, Field]) -> BoundCheck:
        """See EntityCheck."""
        when = _field_at(fields, self.if_field).but(**self.if_match)
        then = _field_at(fields, self.then_field).but(**self.then_match)
        text = self.then_err or f"failed conditional validation given value of field '{self.if_field}'"
        if_field, then_field = self.if_field, self.then_field
        required = bool(self.then_match.get("required"))

        def run(row: dict[str, Any], problems: Problems, updating: bool) -> None:
            value = get_path(row, then_field)
            if value is None and not required:
                return
            problem = REQUIRED if value is None else _problem_of(then, value)
            if problem is None or _problem_of(when, get_path(row, if_field)) is not None:
                return
            set_problem(problems, then_field, problem)
            add_entity_problem(problems, text)

        description: dict[str, Any] = {
            "if_field": if_field,
            "if_match": _describe_match(self.if_match),
            "then_field": then_field,
            "then_match": _describe_match(self.then_match),
        }
        if self.then_err:
            description["then_err"] = self.then_err
        return BoundCheck(run, {"conditional": description})


@dataclass(frozen=True, slots=True)
class ConditionalAtLeastOneOf:
    """Which fields must be set depends on another; the first case whose rules the other passes counts.

    A case: (rules for `if_field`, names of which one must be set, text with %s for the quoted names).
    """

    if_field: str
    cases: tuple[tuple[Mapping[str, Any], tuple[str, ...], str], ...]

    def bind(self, fields: Mapping[str, Field]) -> BoundCheck:
        """See EntityCheck."""
        own = _field_at(fields, self.if_field)
        cases = [
            (own.but(**match), names, text % quoted(names) if "%s" in text else text)
            for match, names, text in self.cases
        ]
        common = set(cases[0][1]).intersection(*(names for _, names, _ in cases))
        if_field = self.if_field

        def run(row: dict[str, Any], problems: Problems, updating: bool) -> None:
            if any(row[name] for name in common):
                return
            value = get_path(row, if_field)
            for when, names, text in cases:
                if _problem_of(when, value) is None:
                    if not any(_non_empty(row[name]) for name in names):
                        add_entity_problem(problems, text)
                    return

        return BoundCheck(run, None)


@dataclass(frozen=True, slots=True)
class Custom:
    """Any other rule. `judge` gets the record and returns a reason, a list of reasons, or None.

    It does not run when one of `fields` has a problem of its own.
    """

    fields: tuple[str, ...]
    judge: Callable[[dict[str, Any]], str | Sequence[str] | None]
    run_with_missing_fields: bool = False

    def bind(self, fields: Mapping[str, Field]) -> BoundCheck:
        """See EntityCheck."""
        names, judge = self.fields, self.judge

        def run(row: dict[str, Any], problems: Problems, updating: bool) -> None:
            if problems and _has_problem(problems, names):
                return
            reasons = judge(row)
            if reasons:
                for reason in [reasons] if isinstance(reasons, str) else reasons:
                    add_entity_problem(problems, reason)

        description: dict[str, Any] = {"field_sources": list(names)}
        if self.run_with_missing_fields:
            description["run_with_missing_fields"] = True
        return BoundCheck(run, {"custom_entity_check": description})


def _non_empty(value: Any) -> bool:
    """Neither null nor an empty string, list or record; false and 0 are values."""
    return value is not None and value != "" and value != [] and value != {}


def _describe_match(match: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.describe() if isinstance(value, Field) else list(value) if isinstance(value, tuple) else value
        for name, value in match.items()
    }
