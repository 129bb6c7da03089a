"""The fields of a record or an entity, in order, with the rules that span them.

In: a raw dict.  Out: a new dict with every field (defaults filled in, unset ones None), and the problems found, all at
once. A shape is built once and shares its default values among rows: rows are never modified in place (see
entities.table).
Warm: `fill` visits the keys that were given, not all fields, so that a row costs what it says.
Source: kong/db/schema/init.lua 3.9 (process_auto_fields, validate), whose order of defaults and shorthands it keeps.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kongdp.entities.field import UNSET, Check, Field
from kongdp.entities.violations import REQUIRED, UNKNOWN, Invalid, Problems

if TYPE_CHECKING:
    from kongdp.entities.checks import EntityCheck


@dataclass(frozen=True, slots=True)
class Shorthand:
    """A field that stands for others: `url` of a service, `redis_host` of a plugin.

    `expand` returns the fields to set. `back` is the path whose value is shown again under the shorthand's name (a
    deprecated field whose successor lives elsewhere); given both, the two must agree, and the successor wins over the
    shorthand's other effects.
    """

    name: str
    field: Field
    expand: Callable[[Any], Mapping[str, Any]]
    back: tuple[str, ...] = ()


class Shape:
    """Fields, shorthands and entity checks of one record. Immutable after it is built."""

    __slots__ = ("checks", "entries", "fields", "required", "required_records", "shorthands", "template")

    def __init__(
        self,
        fields: Sequence[tuple[str, Field]],
        checks: "Sequence[EntityCheck]" = (),
        shorthands: Sequence[Shorthand] = (),
    ) -> None:
        self.fields: dict[str, Field] = dict(fields)
        self.shorthands = tuple(shorthands)
        self.entries: dict[str, tuple[Check, str | None]] = {
            name: (field.check, field.null_problem) for name, field in self.fields.items()
        }
        self.template: dict[str, Any] = {name: _default(field) for name, field in self.fields.items()}
        # A record that must be there is filled from its own fields' defaults; some of them may have none, so at each
        # use.
        self.required_records = tuple(
            name
            for name, field in self.fields.items()
            if field.type == "record" and field.required and field.default is UNSET and not field.abstract
        )
        self.required = tuple(
            name
            for name, field in self.fields.items()
            if field.required and self.template[name] is None and name not in self.required_records
        )
        self.checks = tuple(check.bind(self.fields) for check in checks)

    def fill(self, raw: Mapping[str, Any], problems: Problems, *, updating: bool = False) -> dict[str, Any]:
        """The complete record, and in `problems` everything that is wrong with it.

        The result means nothing when there are problems.
        """
        if self.shorthands:
            raw = self.expand(raw, problems)
            if problems:
                return dict(raw)
        row = self.template.copy()
        entries = self.entries
        for name, value in raw.items():
            entry = entries.get(name)
            if entry is None:
                problems[name] = UNKNOWN
            elif value is None:
                row[name] = None
                if entry[1] is not None:
                    problems[name] = entry[1]
            else:
                try:
                    row[name] = entry[0](value)
                except Invalid as invalid:
                    problems[name] = invalid.problem
                    row[name] = value
        self._complete(raw, row, problems)
        for check in self.checks:
            check(row, problems, updating)
        for shorthand in self.shorthands:
            if shorthand.back:
                row[shorthand.name] = value_at(row, shorthand.back)
        return row

    def _complete(self, raw: Mapping[str, Any], row: dict[str, Any], problems: Problems) -> None:
        for name in self.required_records:
            if name not in raw:
                try:
                    row[name] = self.entries[name][0]({})
                except Invalid as invalid:
                    problems[name] = invalid.problem
        for name in self.required:
            if row[name] is None and name not in problems:
                problems[name] = REQUIRED

    def expand(self, raw: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
        """The record with its shorthands replaced by what they stand for."""
        data = dict(raw)
        for shorthand in self.shorthands:
            if shorthand.name not in data:
                continue
            value = data[shorthand.name]
            try:
                if value is not None:
                    value = shorthand.field.check(value)
            except Invalid as invalid:
                problems[shorthand.name] = invalid.problem
                continue
            mismatch = _mismatch(shorthand, value, data)
            if mismatch:
                problems[shorthand.name] = mismatch
                continue
            del data[shorthand.name]
            _merge_expansion(data, shorthand.expand(value), keep=bool(shorthand.back))
        return data

    def without_shown_shorthands(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A stored record without the shorthands it shows, ready to be merged with an edit."""
        shown = {shorthand.name for shorthand in self.shorthands if shorthand.back}
        return {name: value for name, value in row.items() if name not in shown}

    def merge(self, edit: Mapping[str, Any], previous: Mapping[str, Any]) -> dict[str, Any]:
        """A partial edit laid over a stored record: records field by field, everything else replaced whole; null puts a
        field back to its default (Kong's PATCH).
        """
        merged = self.without_shown_shorthands(previous)
        problems: Problems = {}
        expanded = self.expand(edit, problems) if self.shorthands else dict(edit)
        for name, value in expanded.items():
            field = self.fields.get(name)
            before = merged.get(name)
            if field is not None and field.shape is not None and isinstance(value, dict) and isinstance(before, dict):
                merged[name] = field.shape.merge(value, before)
            elif value is None and field is not None and (self.template[name] is not None or field.shape is not None):
                merged.pop(name, None)  # what is missing takes its default
            else:
                merged[name] = value
        return merged

    def describe(self) -> dict[str, Any]:
        """`fields`, and `entity_checks` where there are any, as GET /schemas shows them."""
        shown: dict[str, Any] = {"fields": [{name: field.describe()} for name, field in self.fields.items()]}
        checks = [check.describe() for check in self.checks]
        if checks:
            shown["entity_checks"] = checks
        return shown

    def describe_shorthands(self) -> dict[str, Any]:
        """`shorthand_fields` of a record, where values come back under their old names."""
        shown = [
            {shorthand.name: {**shorthand.field.describe(), "translate_backwards": list(shorthand.back)}}
            for shorthand in self.shorthands
            if shorthand.back
        ]
        return {"shorthand_fields": shown} if shown else {}


def value_at(record: Any, path: Sequence[str]) -> Any:
    """The value at a path of nested records, or None where the path ends early."""
    for name in path:
        if not isinstance(record, dict):
            return None
        record = record.get(name)
    return record


def _default(field: Field) -> Any:
    if field.default is UNSET or field.default is None:
        return None
    return field.check(field.default)


def _mismatch(shorthand: Shorthand, value: Any, data: Mapping[str, Any]) -> str | None:
    if value is None or not shorthand.back:
        return None
    successor = value_at(data, shorthand.back)
    if successor is None or successor == value:
        return None
    path = ".".join(shorthand.back)
    return (
        "both deprecated and new field are used but their values mismatch: "
        f"{shorthand.name} = {value} vs {path} = {successor}"
    )


def _merge_expansion(data: dict[str, Any], expansion: Mapping[str, Any], *, keep: bool) -> None:
    """Set what a shorthand stands for. With `keep`, values that were given explicitly stay."""
    for name, value in expansion.items():
        before = data.get(name)
        if isinstance(value, dict):
            base = before if isinstance(before, dict) else {}
            given = {key: item for key, item in base.items() if item is not None}
            data[name] = {**base, **value, **given} if keep else {**base, **value}
        elif not keep or before is None:
            data[name] = value
