"""One field of a schema: what a value must look like, compiled into one function.

In: a Field's attributes (type, limits, pattern, ...).  Out: `Field.check`, which returns the value to store (sets
without doubles, records with their defaults) or raises Invalid; `null_problem`, the text for an explicit null or None
where null is allowed; and `describe()`, the JSON that GET /schemas shows.
Warm: loading 10,000 routes calls `check` 200,000 times, so everything that depends on the field alone is decided in
`_compile`.
Source: the behaviour and texts of Kong's schema library (kong/db/schema/init.lua, 3.9) and answers of a live Kong
3.9.1.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from kongdp.entities.lua_text import compile_pattern, scalar
from kongdp.entities.regex import regex_problem
from kongdp.entities.violations import REQUIRED, UNKNOWN, Invalid

if TYPE_CHECKING:
    from kongdp.entities.shape import Shape

Check: TypeAlias = Callable[[Any], Any]
Rule: TypeAlias = Callable[[Any], str | None]


class Unset(Enum):
    """Marks an attribute that was not given, where None is a meaning of its own."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET

# Beyond this a double, which is what Kong keeps numbers in, no longer holds every integer.
_EXACT_MAX = 2**53
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z").match
_REFERENCE = re.compile(r"\{vault://.*\}\Z", re.DOTALL).match
_NOT_DESCRIBED = {
    "check",
    "null_problem",
    "shape",
    "validator",
    "fields",
    "elements",
    "keys",
    "values",
    "entity_checks",
}


def is_uuid(text: str) -> bool:
    """Whether the text has the form of a UUID, upper or lower case."""
    return _UUID(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Field:
    """A field's rules. Attribute names are those that GET /schemas shows.

    `required` also shows when it is False on purpose. `validator` returns the reason for refusing a value, or None.
    `err` replaces every reason but a wrong type. `auto` fields are filled by Schema; `shape` holds the fields of a
    record.
    """

    type: str
    required: bool | None = None
    default: Any = UNSET
    auto: bool | None = None
    uuid: bool | None = None
    timestamp: bool | None = None
    unique: bool | None = None
    unique_across_ws: bool | None = None
    eq: Any = UNSET
    ne: Any = UNSET
    one_of: Sequence[Any] | None = None
    not_one_of: Sequence[Any] | None = None
    gt: float | None = None
    between: tuple[float, float] | None = None
    is_regex: bool | None = None
    len_eq: int | None = None
    len_min: int | None = None
    len_max: int | None = None
    starts_with: str | None = None
    match: str | None = None
    match_none: Sequence[Mapping[str, str]] | None = None
    match_all: Sequence[Mapping[str, str]] | None = None
    match_any: Mapping[str, Any] | None = None
    contains: Any = UNSET
    mutually_exclusive_subsets: Sequence[Sequence[str]] | None = None
    err: str | None = None
    elements: "Field | None" = None
    keys: "Field | None" = None
    values: "Field | None" = None
    shape: "Shape | None" = None
    reference: str | None = None
    on_delete: str | None = None
    transient: bool | None = None
    referenceable: bool | None = None
    encrypted: bool | None = None
    abstract: bool | None = None
    deprecation: Mapping[str, Any] | None = None
    validator: Callable[[Any], Any] | None = None
    check: Check = None  # type: ignore[assignment]  # always set by __post_init__
    null_problem: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "check", _compile(self))
        object.__setattr__(self, "null_problem", _null_problem(self))

    def but(self, **attributes: Any) -> "Field":
        """The same field with other attributes."""
        return replace(self, check=_any, null_problem=None, **attributes)

    def describe(self) -> dict[str, Any]:
        """The field as GET /schemas shows it."""
        shown: dict[str, Any] = {}
        for attribute in fields(self):
            value = getattr(self, attribute.name)
            if attribute.name in _NOT_DESCRIBED or value is UNSET:
                continue
            if value is not None or attribute.name in ("default", "eq", "ne"):
                shown[attribute.name] = list(value) if isinstance(value, tuple) else value
        for name in ("elements", "keys", "values"):
            inner: Field | None = getattr(self, name)
            if inner is not None:
                shown[name] = inner.describe()
        if self.shape is not None:
            shown.update(self.shape.describe())
            shown.update(self.shape.describe_shorthands())
        return shown


def _null_problem(field: Field) -> str | None:
    if field.ne is None:
        return field.err or "value must not be null"
    if field.eq is not UNSET and field.eq is not None:
        return f"value must be {scalar(field.eq)}"
    return REQUIRED if field.required else None


def _compile(field: Field) -> Check:
    if field.eq is None:
        return _refuse(field.err or "value must be null")
    rules = tuple(_rules(field))
    match field.type:
        case "string":
            return _string(field, rules)
        case "integer":
            return _with_rules(_integer, rules, field.err)
        case "number":
            return _with_rules(_number, rules, field.err)
        case "boolean":
            return _with_rules(_boolean, rules, field.err)
        case "array":
            return _with_rules(_array(field), rules, field.err)
        case "set":
            return _with_rules(_set(field), rules, field.err)
        case "map":
            return _with_rules(_map(field), rules, field.err)
        case "record":
            return _with_rules(_record(field), rules, field.err)
        case "foreign":
            return _foreign
        case "any":
            return _with_rules(_any, rules, field.err)
    raise AssertionError(f"no such field type: {field.type}")


def _refuse(text: str) -> Check:
    def check(value: Any) -> Any:
        raise Invalid(text)

    return check


def _with_rules(check_type: Check, rules: tuple[Rule, ...], err: str | None) -> Check:
    if not rules:
        return check_type

    def check(value: Any) -> Any:
        value = check_type(value)
        for rule in rules:
            problem = rule(value)
            if problem is not None:
                raise Invalid(err or problem)
        return value

    return check


def _string(field: Field, rules: tuple[Rule, ...]) -> Check:
    """Strings: empty ones are refused unless `len_min` says 0; a vault reference passes where it is allowed."""
    options = frozenset(field.one_of) if field.one_of and len(rules) == 1 + (field.len_min is not None) else None
    if field.len_min is None:
        rules = (_length_rule(1, "at least", lambda have, want: have >= want), *rules)
    referenceable, err, is_id = field.referenceable, field.err, field.uuid

    def check(value: Any) -> Any:
        if options is not None and type(value) is str and value in options:
            return value
        if not isinstance(value, str):
            raise Invalid("expected a string")
        if referenceable and _REFERENCE(value):
            return value
        if "\0" in value:  # no store and no header can hold it
            raise Invalid(f"invalid value: {value!a}")
        for rule in rules:
            problem = rule(value)
            if problem is not None:
                raise Invalid(err or problem)
        return value.lower() if is_id else value

    return check


def _integer(value: Any) -> Any:
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is int and -_EXACT_MAX <= value <= _EXACT_MAX:
        return value
    raise Invalid("expected an integer")


def _number(value: Any) -> Any:
    if (type(value) is int and -_EXACT_MAX <= value <= _EXACT_MAX) or (type(value) is float and isfinite(value)):
        return value
    raise Invalid("expected a number")


def _boolean(value: Any) -> Any:
    if value is True or value is False:
        return value
    raise Invalid("expected a boolean")


def _any(value: Any) -> Any:
    return value


def _elements(field: Field) -> Callable[[list[Any]], list[Any]]:
    assert field.elements is not None
    check_one = field.elements.check

    def check(items: list[Any]) -> list[Any]:
        try:
            return [check_one(item) for item in items]
        except Invalid:
            raise Invalid(_element_problems(check_one, items)) from None

    return check


def _element_problems(check_one: Check, items: list[Any]) -> list[Any]:
    """Every element's problem at its position; elements behind the last wrong one are left out, as in Lua."""
    problems: list[Any] = []
    for position, item in enumerate(items):
        try:
            check_one(item) if item is not None else _refuse(REQUIRED)(item)
        except Invalid as invalid:
            problems += [None] * (position - len(problems)) + [invalid.problem]
    return problems


def _array(field: Field) -> Check:
    check_elements = _elements(field)

    def check(value: Any) -> Any:
        if type(value) is list:
            return check_elements(value)
        if type(value) is dict and not value:  # a Lua encoder writes an empty list either way
            return []
        raise Invalid("expected an array")

    return check


def _set(field: Field) -> Check:
    check_elements = _elements(field)
    strings = field.elements is not None and field.elements.type == "string"

    def check(value: Any) -> Any:
        if type(value) is not list:
            if type(value) is dict and not value:
                return []
            raise Invalid("expected a set")
        value = check_elements(value)
        if strings:
            return value if len(value) < 2 or len(set(value)) == len(value) else list(dict.fromkeys(value))
        return [item for position, item in enumerate(value) if item not in value[:position]]

    return check


def _map(field: Field) -> Check:
    """Maps report one problem, without the key, as Kong's do."""
    assert field.keys is not None
    assert field.values is not None
    check_key, check_value = field.keys.check, field.values.check

    def check(value: Any) -> Any:
        if type(value) is list and not value:
            return {}
        if type(value) is not dict:
            raise Invalid("expected a map")
        checked = {}
        for key, item in value.items():
            key = check_key(key)
            if item is None:
                raise Invalid(REQUIRED)
            checked[key] = check_value(item)
        return checked

    return check


def _record(field: Field) -> Check:
    if field.abstract or field.shape is None:
        return _opaque_record
    fill = field.shape.fill

    def check(value: Any) -> Any:
        if type(value) is not dict:
            if type(value) is list and not value:
                value = {}
            else:
                raise Invalid("expected a record")
        problems: dict[str, Any] = {}
        filled = fill(value, problems)
        if problems:
            raise Invalid(problems)
        return filled

    return check


def _opaque_record(value: Any) -> Any:
    if type(value) is dict:
        return value
    if type(value) is list and not value:
        return {}
    raise Invalid("expected a record")


def _foreign(value: Any) -> Any:
    """A foreign key: {"id": "<uuid>"}. Names are resolved before a value gets here."""
    if type(value) is not dict:
        raise Invalid({"id": "missing primary key"})
    id = value.get("id", UNSET)
    if id is UNSET:
        unknown = dict.fromkeys(value, UNKNOWN)
        raise Invalid(unknown or {"id": "missing primary key"})
    if id is None:
        raise Invalid({"id": REQUIRED})
    if not isinstance(id, str):
        raise Invalid({"id": "expected a string"})
    if _UUID(id) is None:
        raise Invalid({"id": "expected a valid UUID"})
    return value if len(value) == 1 and id.islower() else {"id": id.lower()}


def _rules(field: Field) -> list[Rule]:
    """The rules behind the type, in Kong's order; the first that fails speaks."""
    rules: list[Rule] = []
    for name, make in _RULES:
        argument = getattr(field, name)
        if argument is not None and argument is not UNSET and argument is not False:
            rules.append(make(argument))
    return rules


def _eq_rule(wanted: Any) -> Rule:
    return lambda value: None if value == wanted else f"value must be {scalar(wanted)}"


def _ne_rule(unwanted: Any) -> Rule:
    return lambda value: None if value != unwanted else f"value must not be {scalar(value)}"


def _one_of_rule(options: Sequence[Any]) -> Rule:
    problem = "expected one of: " + ", ".join(map(str, options))
    return lambda value: None if value in options else problem


def _not_one_of_rule(options: Sequence[Any]) -> Rule:
    problem = "must not be one of: " + ", ".join(map(str, options))
    return lambda value: problem if value in options else None


def _gt_rule(limit: float) -> Rule:
    return lambda value: None if value > limit else f"value must be greater than {scalar(limit)}"


def _timestamp_rule(_: bool) -> Rule:
    return lambda value: None if value > 0 else "expected a valid timestamp"


def _uuid_rule(_: bool) -> Rule:
    return lambda value: None if _UUID(value) else "expected a valid UUID"


def _regex_rule(_: bool) -> Rule:
    return lambda value: None if regex_problem(value) is None else f"not a valid regex: {value}"


def _between_rule(limits: tuple[float, float]) -> Rule:
    low, high = limits
    problem = f"value should be between {int(low)} and {int(high)}"
    return lambda value: None if low <= value <= high else problem


def _length_rule(limit: int, words: str, holds: Callable[[int, int], bool]) -> Rule:
    problem = " ".join(("length must be", words, str(limit)) if words else ("length must be", str(limit)))
    return lambda value: None if holds(len(value), limit) else problem


def _starts_with_rule(prefix: str) -> Rule:
    problem = f"should start with: {prefix}"
    return lambda value: None if value.startswith(prefix) else problem


def _match_rule(pattern: str) -> Rule:
    search = compile_pattern(pattern)
    return lambda value: None if search(value) else f"invalid value: {value}"


def _match_list_rule(cases: Sequence[Mapping[str, str]], wanted: bool) -> Rule:
    compiled = [(compile_pattern(case["pattern"]), case["err"]) for case in cases]

    def rule(value: str) -> str | None:
        for search, problem in compiled:
            if bool(search(value)) != wanted:
                return problem
        return None

    return rule


def _match_any_rule(argument: Mapping[str, Any]) -> Rule:
    searches = [compile_pattern(pattern) for pattern in argument["patterns"]]
    problem: str = argument["err"]
    return lambda value: None if any(search(value) for search in searches) else problem


def _contains_rule(wanted: Any) -> Rule:
    return lambda value: None if wanted in value else f"expected to contain: {scalar(wanted)}"


def _subsets_rule(subsets: Sequence[Sequence[str]]) -> Rule:
    def rule(value: list[str]) -> str | None:
        touched = dict.fromkeys(tuple(subset) for item in value for subset in subsets if item in subset)
        if len(touched) < 2:
            return None
        named = ", ".join("(" + ", ".join(f"'{item}'" for item in subset) + ")" for subset in touched)
        return f"these sets are mutually exclusive: {named}"

    return rule


_RULES: tuple[tuple[str, Callable[[Any], Rule]], ...] = (
    ("eq", _eq_rule),
    ("ne", _ne_rule),
    ("not_one_of", _not_one_of_rule),
    ("one_of", _one_of_rule),
    ("gt", _gt_rule),
    ("timestamp", _timestamp_rule),
    ("uuid", _uuid_rule),
    ("is_regex", _regex_rule),
    ("between", _between_rule),
    ("len_eq", lambda n: _length_rule(n, "", lambda have, want: have == want)),
    ("len_min", lambda n: _length_rule(n, "at least", lambda have, want: have >= want)),
    ("len_max", lambda n: _length_rule(n, "at most", lambda have, want: have <= want)),
    ("starts_with", _starts_with_rule),
    ("match_none", lambda cases: _match_list_rule(cases, wanted=False)),
    ("match", _match_rule),
    ("match_all", lambda cases: _match_list_rule(cases, wanted=True)),
    ("match_any", _match_any_rule),
    ("contains", _contains_rule),
    ("mutually_exclusive_subsets", _subsets_rule),
    ("validator", lambda validator: validator),
)
