"""What a load takes over from the one before, and when it must not."""

import random
from typing import Any

import orjson
import pytest

from kongdp.entities import declarative
from kongdp.entities.declarative import DeclarativeError, Loaded, load_config
from kongdp.entities.declarative_memory import mark_of
from kongdp.entities.schemas import build_schemas

SCHEMAS = build_schemas(plugins=None)


def document(*services: Any, **more: Any) -> dict[str, Any]:
    return {"_format_version": "3.0", "services": list(services), **more}


def service(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "host": f"{name}.test", "routes": [{"name": name, "paths": [f"/{name}"]}], **fields}


def load(data: dict[str, Any], previous: Loaded | None = None, now: float = 1.0) -> Loaded:
    # a copy, as a second request brings one: nothing may depend on the same objects coming again
    return load_config(orjson.loads(orjson.dumps(data)), schemas=SCHEMAS, previous=previous, now=now)


def rows_by_name(loaded: Loaded, collection: str) -> dict[str, Any]:
    return {row["name"]: row for row in loaded.table[collection].values()}


def test_rows_are_the_same_objects_when_written_as_before() -> None:
    """What is nested goes with its parent; the changed one is new, and the order is the document's."""
    first = load(document(service("a"), service("b"), service("c")))
    second = load(document(service("c"), service("b", retries=1), service("a")), first, now=2.0)
    before, after = rows_by_name(first, "services"), rows_by_name(second, "services")
    assert list(after) == ["c", "b", "a"]
    assert after["a"] is before["a"]
    assert rows_by_name(second, "routes")["c"] is rows_by_name(first, "routes")["c"]
    assert (after["b"]["retries"], after["b"]["id"], after["b"]["updated_at"]) == (1, before["b"]["id"], 2)
    assert {change[1] for change in declarative.difference(first.table, second.table)} == {before["b"]["id"]}


def test_nothing_is_read_again_when_the_memory_is_passed_on() -> None:
    """What was taken over once is taken over again by the load after."""
    data = document(service("a"), routes=[{"name": "top", "paths": ["/top"], "service": "a"}])
    first = load(data)
    third = load(data, load(data, first))
    assert declarative.difference(first.table, third.table) == []
    assert third.table["routes"][next(iter(first.table["routes"]))] is next(iter(first.table["routes"].values()))


def test_reference_is_judged_again_when_its_target_is_gone() -> None:
    """A route that is written as before refers to a service that is not there any more."""
    route = {"name": "r", "paths": ["/"], "service": "a"}
    first = load(document(service("a"), routes=[route]))
    with pytest.raises(DeclarativeError, match="invalid reference 'service: a'"):
        load(document(service("b"), routes=[route]), first)


def test_reference_follows_its_name_when_another_entity_has_it() -> None:
    """The same text means another service when that service was given another id."""
    route = {"name": "r", "paths": ["/"], "service": "a"}
    ids = ["11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"]
    first = load(document({"id": ids[0], "name": "a", "host": "h"}, routes=[route]))
    second = load(document({"id": ids[1], "name": "a", "host": "h"}, routes=[route]), first)
    assert rows_by_name(second, "routes")["r"]["service"] == {"id": ids[1]}


@pytest.mark.parametrize(
    "extra",
    [{"name": "a", "host": "other"}, {"id": "11111111-1111-4111-8111-111111111111", "name": "new", "host": "h"}],
)
def test_uniqueness_is_judged_against_what_was_taken_over(extra: dict[str, Any]) -> None:
    """A new entity with a name or an id of an old one is refused, with its place."""
    known = {"id": "11111111-1111-4111-8111-111111111111", "name": "a", "host": "h"}
    first = load(document(known))
    for services in ((known, extra), (extra, known)):
        with pytest.raises(DeclarativeError, match="uniqueness violation") as caught:
            load(document(*services), first)
        assert len(caught.value.flattened_errors) == 1


def test_entity_is_refused_when_it_comes_twice() -> None:
    """It is taken over at most once."""
    first = load(document(service("a")))
    with pytest.raises(DeclarativeError, match="uniqueness violation"):
        load(document(service("a"), service("a")), first)


def test_everything_is_read_again_when_the_head_changes() -> None:
    """decK's defaults decide what an entity means."""
    info = {"defaults": {"service": {"retries": 1}}}
    first = load(document({"name": "a", "host": "h"}, _info=info))
    second = load(document({"name": "a", "host": "h"}, _info={"defaults": {"service": {"retries": 2}}}), first)
    assert [rows_by_name(loaded, "services")["a"]["retries"] for loaded in (first, second)] == [1, 2]


def test_end_is_counted_anew_when_a_credential_has_a_time_to_live() -> None:
    """Loading again renews it, as without memory."""
    data = document(consumers=[{"username": "u", "keyauth_credentials": [{"key": "k", "ttl": 10}]}])
    first = load(data, now=1000.0)
    second = load(data, first, now=2000.0)
    assert [next(iter(loaded.table["keyauth_credentials"].values()))["ttl"] for loaded in (first, second)] == [
        1010,
        2010,
    ]


def test_values_are_told_apart_when_they_only_compare_equal() -> None:
    """1, 1.0 and true are three things; what no JSON holds is never taken over."""
    assert len({mark_of(value) for value in (1, 1.0, True)}) == 3
    assert mark_of({1: 2}) is None
    first = load(document(service("a", retries=1)))
    with pytest.raises(DeclarativeError, match="retries"):
        load(document(service("a", retries=True)), first)


def outcome(data: dict[str, Any], previous: Loaded) -> Loaded | tuple[Any, Any]:
    try:
        return load(data, previous)
    except DeclarativeError as error:
        return error.fields, error.flattened_errors


def _random_document(dice: random.Random) -> dict[str, Any]:
    services = []
    for number in dice.sample(range(6), dice.randrange(1, 6)):
        fields: dict[str, Any] = {"name": f"s{number}", "host": "h"} if dice.random() < 0.9 else {"name": f"s{number}"}
        if dice.random() < 0.3:
            fields["retries"] = dice.randrange(3)
        if dice.random() < 0.5:
            fields["routes"] = [{"name": f"r{dice.randrange(8)}", "paths": ["/"]} for _ in range(dice.randrange(3))]
        services.append(fields)
    routes = [
        {"name": f"r{number}", "paths": ["/"], "service": f"s{dice.randrange(6)}"}
        for number in dice.sample(range(9), 2)
    ]
    data = document(*services, routes=routes)
    if dice.random() < 0.3:
        data["upstreams"] = [{"name": f"u{dice.randrange(3)}", "targets": [{"target": f"10.0.0.{dice.randrange(3)}"}]}]
    return data


@pytest.mark.parametrize("seed", range(200))
def test_answer_is_the_same_with_and_without_memory(seed: int) -> None:
    """A story of ten random documents, sound and broken: the same tables and the same problems."""
    dice = random.Random(seed)
    kept = plain = load(document())
    for _ in range(10):
        data = _random_document(dice)
        with_memory, without = outcome(data, kept), outcome(data, Loaded(plain.table))
        if not isinstance(with_memory, Loaded):
            assert with_memory == without
            continue
        assert isinstance(without, Loaded)
        kept, plain = with_memory, without
        assert kept.table == plain.table
        assert {name: list(rows) for name, rows in kept.table.items()} == {
            name: list(rows) for name, rows in plain.table.items()
        }
