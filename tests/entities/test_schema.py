"""The schema engine: types, rules, defaults, shorthands, edits, and checks between fields."""

from typing import Any

import pytest

from kongdp.entities.checks import (
    AtLeastOneOf,
    Conditional,
    Custom,
    Distinct,
    MutuallyExclusive,
    MutuallyRequired,
    OnlyOneOf,
)
from kongdp.entities.field import Field
from kongdp.entities.schema import Schema
from kongdp.entities.schemas.common import array, boolean, integer, map_of, number, record, set_of, string
from kongdp.entities.shape import Shape, Shorthand
from kongdp.entities.violations import ENTITY, Problems, SchemaViolation, violation_text

_RULES = [
    (string(), 5, "expected a string"),
    (string(), "", "length must be at least 1"),
    (string(len_min=0), "", None),
    (string(), "a\0b", "invalid value: 'a\\x00b'"),
    (string(len_min=3), "ab", "length must be at least 3"),
    (string(len_max=1), "ab", "length must be at most 1"),
    (string(len_eq=1), "ab", "length must be 1"),
    (string(one_of=("a", "b")), "c", "expected one of: a, b"),
    (string(one_of=("a", "b"), len_min=1), "b", None),
    (string(not_one_of=("a",)), "a", "must not be one of: a"),
    (string(match="^%u+$"), "get", "invalid value: get"),
    (string(match="^%u+$", err="shout"), "get", "shout"),
    (string(starts_with="/"), "x", "should start with: /"),
    (string(eq="a"), "b", "value must be a"),
    (string(ne="a"), "a", "value must not be a"),
    (string(uuid=True), "x", "expected a valid UUID"),
    (string(is_regex=True), "(", "not a valid regex: ("),
    (string(referenceable=True, match="^x$"), "{vault://env/a}", None),
    (string(match="^x$"), "{vault://env/a}", "invalid value: {vault://env/a}"),
    (integer(), 5.0, None),
    (integer(), 5.5, "expected an integer"),
    (integer(), True, "expected an integer"),
    (integer(), float("inf"), "expected an integer"),
    (integer(), 2**70, "expected an integer"),
    (integer(between=(1, 3)), 4, "value should be between 1 and 3"),
    (integer(timestamp=True), 0, "expected a valid timestamp"),
    (number(gt=0), 0, "value must be greater than 0"),
    (number(), float("nan"), "expected a number"),
    (boolean(), "true", "expected a boolean"),
    (array(string()), "x", "expected an array"),
    (array(string()), {}, None),
    (array(string()), {"a": 1}, "expected an array"),
    (array(integer()), [1, "x", 2, None], [None, "expected an integer", None, "required field missing"]),
    (array(string(), contains="a"), ["b"], "expected to contain: a"),
    (set_of(string()), "x", "expected a set"),
    (set_of(string(), len_min=1), [], "length must be at least 1"),
    (map_of(string(), integer()), [], None),
    (map_of(string(), integer()), 5, "expected a map"),
    (map_of(string(), integer()), {"a": "x"}, "expected an integer"),
    (map_of(string(), integer()), {"a": None}, "required field missing"),
    (record(("a", integer())), 5, "expected a record"),
    (record(("a", integer())), {"a": "x", "b": 1}, {"a": "expected an integer", "b": "unknown field"}),
    (record(("a", integer(required=True))), [], {"a": "required field missing"}),
    (Field(type="foreign", reference="x"), "x", {"id": "missing primary key"}),
    (Field(type="foreign", reference="x"), {"id": "x"}, {"id": "expected a valid UUID"}),
    (Field(type="foreign", reference="x"), {"id": 5}, {"id": "expected a string"}),
    (Field(type="foreign", reference="x"), {"id": None}, {"id": "required field missing"}),
    (Field(type="foreign", reference="x"), {"nom": "x"}, {"nom": "unknown field"}),
    (Field(type="foreign", reference="x", eq=None), {"id": "x"}, "value must be null"),
]


def _problems(field: Field, value: Any) -> Any:
    problems: Problems = {}
    Shape((("field", field),)).fill({"field": value}, problems)
    return problems.get("field")


@pytest.mark.parametrize(("field", "value", "wanted"), _RULES)
def test_field_when_judged(field: Field, value: Any, wanted: Any) -> None:
    """Each rule speaks in Kong's words, lists by position, records by field."""
    assert _problems(field, value) == wanted


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        (string(), None),
        (string(required=True), "required field missing"),
        (string(ne=None), "value must not be null"),
        (string(eq="a"), "value must be a"),
    ],
)
def test_field_when_null(field: Field, wanted: str | None) -> None:
    """Null is allowed unless a rule speaks against it."""
    assert _problems(field, None) == wanted


def test_fill_when_values_need_form() -> None:
    """Sets lose doubles, whole floats become integers, ids lower case, an empty record an empty list."""
    shape = Shape(
        (
            ("set", set_of(string())),
            ("records", set_of(record(("a", integer())))),
            ("count", integer()),
            ("id", string(uuid=True)),
            ("list", array(string())),
        )
    )
    raw = {
        "set": ["b", "a", "b"],
        "records": [{"a": 1}, {"a": 1}],
        "count": 3.0,
        "id": "AAAAAAAA-0000-4000-8000-000000000000",
        "list": {},
    }
    problems: Problems = {}
    assert shape.fill(raw, problems) == {
        "set": ["b", "a"],
        "records": [{"a": 1}],
        "count": 3,
        "id": "aaaaaaaa-0000-4000-8000-000000000000",
        "list": [],
    }
    assert not problems


def test_fill_when_records_are_absent() -> None:
    """A required record is filled with its fields' defaults; one that is not stays null; given ones are completed."""
    inner = (("a", integer(default=1)), ("b", string()))
    shape = Shape((("needed", record(*inner, required=True)), ("free", record(*inner))))
    problems: Problems = {}
    assert shape.fill({}, problems) == {"needed": {"a": 1, "b": None}, "free": None}
    assert shape.fill({"free": {"b": "x"}}, problems)["free"] == {"a": 1, "b": "x"}
    assert not problems


def test_fill_when_a_required_record_lacks_something() -> None:
    """What its fields require is missed inside it."""
    shape = Shape((("config", record(("url", string(required=True)), required=True)),))
    problems: Problems = {}
    shape.fill({}, problems)
    assert problems == {"config": {"url": "required field missing"}}


@pytest.mark.parametrize(
    ("check", "row", "text"),
    [
        (AtLeastOneOf(("a", "b")), {"a": ""}, "at least one of these fields must be non-empty: 'a', 'b'"),
        (AtLeastOneOf(("a", "b")), {"a": "x"}, None),
        (OnlyOneOf(("a", "b")), {"a": "x", "b": "y"}, "only one of these fields must be non-empty: 'a', 'b'"),
        (OnlyOneOf(("a", "b")), {}, "only one of these fields must be non-empty: 'a', 'b'"),
        (MutuallyRequired(("a", "b")), {"a": "x"}, "all or none of these fields must be set: 'a', 'b'"),
        (MutuallyRequired(("a", "b")), {"a": "x", "b": "y"}, None),
        (
            MutuallyExclusive(("a", "b")),
            {"a": "x", "b": "y"},
            "only one or none of these fields must be set: 'a', 'b'",
        ),
        (Distinct(("a", "b")), {"a": "x", "b": "x"}, "values of these fields must be distinct: 'a', 'b'"),
        (Distinct(("a", "b")), {}, None),
        (Custom(("a",), lambda row: "no"), {"a": "x"}, "no"),
    ],
)
def test_check_when_run(check: Any, row: dict[str, Any], text: str | None) -> None:
    """Rules between fields go to the entity's own list."""
    shape = Shape((("a", string(len_min=0)), ("b", string())), checks=(check,))
    problems: Problems = {}
    shape.fill(row, problems)
    assert problems.get(ENTITY) == ([text] if text else None)


def test_custom_check_when_its_field_is_wrong() -> None:
    """A rule does not judge a field that has a problem of its own."""
    shape = Shape((("a", integer()),), checks=(Custom(("a",), lambda row: "no"),))
    problems: Problems = {}
    shape.fill({"a": "x"}, problems)
    assert problems == {"a": "expected an integer"}


def test_conditional_when_the_condition_holds() -> None:
    """The other field's problem stands at the field, the condition in the entity's list."""
    check = Conditional("kind", {"one_of": ("x",)}, "config.size", {"required": True})
    shape = Shape((("kind", string()), ("config", record(("size", integer()), required=True))), checks=(check,))
    problems: Problems = {}
    shape.fill({"kind": "x"}, problems)
    assert problems == {
        "config": {"size": "required field missing"},
        ENTITY: ["failed conditional validation given value of field 'kind'"],
    }
    problems = {}
    shape.fill({"kind": "y"}, problems)
    assert not problems


_OLD_NAME = Shorthand("old_port", integer(), lambda value: {"redis": {"port": value}}, back=("redis", "port"))
_REDIS = Shape(
    (("redis", record(("port", integer(default=6379)), ("host", string()), required=True)),), shorthands=(_OLD_NAME,)
)


def test_shorthand_when_it_shows_again() -> None:
    """A value given under its old name lands at the new place and is shown under both."""
    problems: Problems = {}
    wanted = {"redis": {"port": 1, "host": None}, "old_port": 1}
    assert _REDIS.fill({"old_port": 1}, problems) == wanted
    assert _REDIS.fill(wanted, problems) == wanted
    assert not problems


def test_shorthand_when_both_names_disagree() -> None:
    """Two different values for one thing are refused."""
    problems: Problems = {}
    _REDIS.fill({"old_port": 1, "redis": {"port": 2}}, problems)
    text = "both deprecated and new field are used but their values mismatch: old_port = 1 vs redis.port = 2"
    assert problems == {"old_port": text}


def test_merge_when_a_shorthand_is_edited() -> None:
    """An edit under either name wins over what was stored under both."""
    stored = {"redis": {"port": 1, "host": "h"}, "old_port": 1}
    problems: Problems = {}
    for edit in ({"old_port": 7}, {"redis": {"port": 7}}):
        merged = _REDIS.fill(_REDIS.merge(edit, stored), problems)
        assert merged == {"redis": {"port": 7, "host": "h"}, "old_port": 7}
    assert not problems


_THINGS = Schema(
    name="things",
    fields=(
        ("id", string(auto=True, uuid=True)),
        ("created_at", integer(auto=True, timestamp=True)),
        ("updated_at", integer(auto=True, timestamp=True)),
        ("name", string()),
        ("size", integer(default=1)),
        ("secret", string(auto=True)),
        ("deep", record(("a", integer(default=1)), ("b", array(integer())), required=True)),
    ),
    checks=(AtLeastOneOf(("name",)),),
)


def test_insert_when_autos_are_absent() -> None:
    """Ids, times and secrets are made; a given time of change is not believed."""
    row = _THINGS.insert({"name": "x", "updated_at": 5}, 100.9)
    assert (row["created_at"], row["updated_at"], row["size"], row["deep"]) == (100, 100, 1, {"a": 1, "b": None})
    assert len(row["id"]) == 36
    assert len(row["secret"]) == 32


def test_update_when_partial() -> None:
    """Records are merged field by field, lists replaced, times of creation kept; null means the default, or nothing."""
    row = _THINGS.insert({"name": "x", "size": 9, "deep": {"a": 2, "b": [1]}}, 100)
    edited = _THINGS.update({"deep": {"b": [2]}, "size": None}, row, 200)
    assert edited == {**row, "updated_at": 200, "size": 1, "deep": {"a": 2, "b": [2]}}
    assert _THINGS.update({"deep": {"a": None, "b": None}}, row, 200)["deep"] == {"a": 1, "b": None}
    assert _THINGS.update({"deep": None}, row, 200)["deep"] == {"a": 1, "b": None}


def test_update_when_it_empties_what_must_not_be() -> None:
    """The words say that it was an edit."""
    row = _THINGS.insert({"name": "x"}, 100)
    with pytest.raises(SchemaViolation) as caught:
        _THINGS.update({"name": None}, row, 200)
    text = "when updating, at least one of these fields must be non-empty: 'name'"
    assert caught.value.problems == {ENTITY: [text]}
    assert str(caught.value) == f"schema violation ({text})"


def test_upsert_when_it_replaces() -> None:
    """What is not given takes its default; the time of creation stays."""
    row = _THINGS.insert({"name": "x", "size": 9}, 100)
    replaced = _THINGS.upsert({"id": row["id"], "name": "y"}, row, 200)
    assert (replaced["name"], replaced["size"], replaced["created_at"], replaced["updated_at"]) == ("y", 1, 100, 200)


def test_load_when_unknown_fields_are_null() -> None:
    """A newer control plane's unset fields are passed over, set ones are not; given times stay."""
    problems: Problems = {}
    row = _THINGS.load({"name": "x", "new": None, "ws_id": "w", "updated_at": 5, "deep": {"c": None}}, problems, 100)
    assert not problems
    assert row["updated_at"] == 5
    _THINGS.load({"name": "x", "new": 1, "deep": {"c": 1}}, problems, 100)
    assert problems == {"new": "unknown field", "deep": {"c": "unknown field"}}


def test_violation_text_when_several() -> None:
    """Problems of the whole come first, then fields in order; deeper ones are printed as tables."""
    problems: Problems = {"b": {"c": {"d": "no"}}, "a": [None, "bad"], ENTITY: ["all"]}
    assert violation_text(problems) == '3 schema violations (all; a.2: bad; b.c: {\n  d = "no"\n})'
