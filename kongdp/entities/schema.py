"""The schema of a collection: raw entity in, complete row out, or every problem at once.

In: what an operator or a control plane sent (a dict), and for edits the stored row.  Out: a new row, or
SchemaViolation. Four ways in, which differ in what is filled and what is kept: `insert` and `upsert` (Admin API),
`update` (a partial edit), `load` (declarative files and the hybrid wire: given times are kept, unknown fields that are
null are passed over).
Warm: `load` runs once for each row of a pushed configuration. Time is an argument.
Source: kong/db/schema/init.lua 3.9; answers of a live Kong 3.9.1.
"""

import secrets
import string
import uuid
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from kongdp.entities.checks import EntityCheck
from kongdp.entities.field import UNSET, Field
from kongdp.entities.shape import Shape, Shorthand
from kongdp.entities.table import Row
from kongdp.entities.violations import ENTITY, REQUIRED, UNKNOWN, Problems, SchemaViolation

Transform: TypeAlias = Callable[[Row], Row]

# Of the declarative format and of Kong's exports: allowed on every entity there, and of no consequence.
_IGNORED_BY_LOAD = frozenset(("_comment", "_ignore", "ws_id", "updated_at"))
# Kong's longest time to live; a larger number is the moment of the end, as the hybrid wire has it.
_DURATION_MAX = 100_000_000
_EXPIRY = Field(type="number")
_KEY_ALPHABET = string.ascii_letters + string.digits
_KEY_LENGTH = 32


@dataclass(frozen=True, slots=True)
class Variants:
    """Entities of one collection that differ by a field's value: routes by protocol, plugins by name.

    `shapes` are the fields for each value; `unknown` is the text for a value that has none. A list counts by its first
    known value.
    """

    key: str
    shapes: Mapping[str, Shape]
    default: str | None = None
    unknown: str = "unknown type: %s"
    any_shape: Shape | None = None


@dataclass(frozen=True, slots=True)
class Schema:
    """One collection's rules and its place in the Admin API.

    `endpoint_key`: the field by which an entity may be addressed instead of its id. `cache_key`: fields that are unique
    together. `admin_path`, `nested_path`: the collection's name in URLs, at the top and below a parent. `transform` is
    applied to what is written when the fields `transform_input` were given (password hashes), unless the source says it
    was done already.
    """

    name: str
    fields: Sequence[tuple[str, Field]]
    checks: Sequence[EntityCheck] = ()
    shorthands: Sequence[Shorthand] = ()
    endpoint_key: str | None = None
    cache_key: tuple[str, ...] = ()
    primary_key: str = "id"
    admin_path: str = ""
    nested_path: str = ""
    variants: Variants | None = None
    transform: Transform | None = None
    transform_input: tuple[str, ...] = ()
    derive: Transform | None = None
    workspaceable: bool = True
    nested_key: str | None = None
    expires: bool = False
    shape: Shape = field(init=False)
    foreign: Mapping[str, Field] = field(init=False)
    unique: tuple[str, ...] = field(init=False)
    autos: tuple[tuple[str, Field], ...] = field(init=False)

    def __post_init__(self) -> None:
        """Derive what depends on the fields alone."""
        set_once = object.__setattr__
        set_once(self, "admin_path", self.admin_path or self.name)
        set_once(self, "nested_path", self.nested_path or self.admin_path)
        shown = tuple(self.fields)
        kept = (*shown, ("ttl", _EXPIRY)) if self.expires else shown
        set_once(self, "shape", Shape(kept, self.checks, self.shorthands))
        set_once(self, "foreign", {name: rule for name, rule in self.fields if rule.type == "foreign"})
        set_once(self, "unique", tuple(name for name, rule in self.fields if rule.unique))
        set_once(self, "autos", tuple((name, rule) for name, rule in self.fields if rule.auto))

    def insert(self, raw: Mapping[str, Any], now: float, *, transform: bool = True) -> Row:
        """A new row. Raises SchemaViolation."""
        return self._write(raw, now, transform, given=raw)

    def upsert(self, raw: Mapping[str, Any], previous: Row | None, now: float, *, transform: bool = True) -> Row:
        """The row that replaces `previous` (or is new): what is not given takes its default; only `created_at` is
        kept."""
        if previous is not None and raw.get("created_at") is None and "created_at" in previous:
            raw = {**raw, "created_at": previous["created_at"]}
        return self._write(raw, now, transform, given=raw)

    def update(self, edit: Mapping[str, Any], previous: Row, now: float, *, transform: bool = True) -> Row:
        """`previous` with a partial edit laid over it. Raises SchemaViolation."""
        problems: Problems = {}
        if self.shorthands:
            edit = self.shape.expand(edit, problems)
            if problems:
                raise SchemaViolation(problems)
        merged = self.shape_of({**previous, **edit}).merge(edit, previous)
        return self._write(merged, now, transform, given=edit, updating=True)

    def load(self, raw: Mapping[str, Any], problems: Problems, now: float) -> Row:
        """A row of a declarative configuration; what is wrong goes into `problems` (and then the row means nothing).

        Times that were given stay; fields this schema does not know are passed over when they are null, as a data plane
        does, so that a newer control plane may send them unset.
        """
        found: Problems = {}
        row = self._fill(raw, found, updating=False)
        if found:
            known = _without_ignorable(raw, found, _IGNORED_BY_LOAD)
            if known is not raw:
                found = {}
                row = self._fill(known, found, updating=False)
            if found:
                _merge_problems(problems, found)
                return row
        for name, rule in self.autos:
            if row[name] is None:
                row[name] = _generated(rule, now)
        if self.expires and row["ttl"] is not None and 0 < row["ttl"] <= _DURATION_MAX:
            row["ttl"] = int(now + row["ttl"])
        return self.derive(row) if self.derive is not None else row

    def stamp(self, name: str, now: float) -> Any:
        """The time `now` as this collection's field `name` holds it."""
        return _generated(self.shape.fields[name], now)

    def validate(self, raw: Mapping[str, Any]) -> Problems:
        """Everything that is wrong with a would-be new entity; empty when it is sound."""
        problems: Problems = {}
        self._fill(raw, problems, updating=False)
        return problems

    def describe(self) -> dict[str, Any]:
        """What GET /schemas/{name} shows."""
        shown = {"entity_checks": [], **self.shape.describe()}
        if self.expires:
            shown["fields"] = [entry for entry in shown["fields"] if "ttl" not in entry]
        return shown

    def _write(
        self, raw: Mapping[str, Any], now: float, transform: bool, *, given: Mapping[str, Any], updating: bool = False
    ) -> Row:
        problems: Problems = {}
        row = self._fill(raw, problems, updating=updating)
        if problems:
            raise SchemaViolation(problems)
        for name, rule in self.autos:
            if row[name] is None or name == "updated_at":
                row[name] = _generated(rule, now)
        if transform and self.transform is not None and any(given.get(name) for name in self.transform_input):
            row = self.transform(row)
        return self.derive(row) if self.derive is not None else row

    def _fill(self, raw: Mapping[str, Any], problems: Problems, *, updating: bool) -> Row:
        shape = self._shape_for(raw, problems)
        return {} if shape is None else shape.fill(raw, problems, updating=updating)

    def shape_of(self, raw: Mapping[str, Any]) -> Shape:
        """The fields that apply to this entity, or those of the collection where its kind cannot be told."""
        return self._shape_for(raw, {}) or self.shape

    def _shape_for(self, raw: Mapping[str, Any], problems: Problems) -> Shape | None:
        """The fields that apply to this entity; without them nothing else can be judged."""
        variants = self.variants
        if variants is None:
            return self.shape
        value = raw.get(variants.key, variants.default)
        if value is None:
            problems[variants.key] = REQUIRED
            return None
        candidates = value if isinstance(value, list) else (value,)
        for candidate in candidates:
            shape = variants.shapes.get(candidate) if isinstance(candidate, str) else None
            if shape is not None:
                return shape
        if variants.any_shape is not None and isinstance(value, str):
            return variants.any_shape
        problems[variants.key] = variants.unknown % (candidates[0] if candidates else "nil")
        return None


def _merge_problems(problems: Problems, more: Problems) -> None:
    for name, problem in more.items():
        problems[name] = [*problems.get(name, ()), *problem] if name == ENTITY else problem


def _generated(rule: Field, now: float) -> Any:
    if rule.uuid:
        return str(uuid.uuid4())
    if rule.timestamp:
        return int(now) if rule.type == "integer" else round(now, 3)
    return "".join(secrets.choice(_KEY_ALPHABET) for _ in range(_KEY_LENGTH))


def _without_ignorable(raw: Mapping[str, Any], problems: Problems, ignored: Container[str]) -> Mapping[str, Any]:
    """`raw` without the unknown fields that are null or of no consequence; `raw` itself when there are none."""
    dropped: set[str] = set()
    replaced: dict[str, Any] = {}
    for name, problem in problems.items():
        value = raw.get(name, UNSET)
        if problem == UNKNOWN and (value is None or name in ignored):
            dropped.add(name)
        elif isinstance(problem, dict) and isinstance(value, dict):
            inner = _without_ignorable(value, problem, ())
            if inner is not value:
                replaced[name] = inner
    if not dropped and not replaced:
        return raw
    return {name: replaced.get(name, value) for name, value in raw.items() if name not in dropped}
