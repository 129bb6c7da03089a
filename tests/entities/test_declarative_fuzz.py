"""Whatever is done to a configuration, it loads or it is refused with reasons at their places."""

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kongdp.adminapi.messages import encode_json
from kongdp.entities.declarative import DeclarativeError, Loaded, difference, dump, load, load_config
from kongdp.entities.schemas import build_schemas
from kongdp.entities.table import Table
from kongdp.plugins.configs import PLUGIN_SCHEMAS
from tests.support.configurations import rich_configuration

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["", "/", "//", "~/(", "~/(?<a>b)", "*", "a.*.b", "1.2.3.4:5", "[::1]:80", "\0", "%", "{vault://a/b}"]
    )
    | st.sampled_from(["http", "tcp", "orders", "bob", "11111111-1111-4111-8111-111111111111", "rate-limiting"])
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
_BASE = rich_configuration()
_SCHEMAS = build_schemas(plugins=PLUGIN_SCHEMAS)
_LOADED = load_config(_BASE, schemas=_SCHEMAS, now=1_800_000_000.0)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in entries for place in _places(item, (*path, key)))]


_PLACES = [place for place in _places(_BASE) if place]


def _mutate(config: Any, place: tuple[Any, ...], how: str, value: Any, name: str) -> None:
    for key in place[:-1]:
        if not isinstance(config, (dict, list)) or (isinstance(config, dict) and key not in config):
            return
        if isinstance(config, list) and (not isinstance(key, int) or key >= len(config)):
            return
        config = config[key]
    last = place[-1]
    if isinstance(config, dict) and last in config:
        old = config[last]
        if how == "replace":
            config[last] = value
        elif how == "rename":
            config[name] = config.pop(last)
        elif how == "add":
            config[name] = value
        elif how == "double" and isinstance(old, list):
            config[last] = [*old, *copy.deepcopy(old)]
        else:
            del config[last]
    elif isinstance(config, list) and isinstance(last, int) and last < len(config):
        if how == "replace":
            config[last] = value
        elif how == "double":
            config.append(copy.deepcopy(config[last]))
        else:
            del config[last]


_MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(_PLACES),
        st.sampled_from(["replace", "replace", "rename", "add", "double", "delete"]),
        _VALUES,
        st.text(max_size=8)
        | st.sampled_from(["id", "name", "tags", "config", "routes", "plugins", "ws_id", "_comment"]),
    ),
    min_size=1,
    max_size=4,
)


def _check(config: Any, from_previous: bool) -> None:
    try:
        table = _load(config, _LOADED if from_previous else None)
    except DeclarativeError as error:
        _check_refusal(error)
        return
    # Once more, because hash_on: null next to an algorithm means something else than the "none" it becomes (Kong's
    # too).
    again = load(dump(table), plugins=PLUGIN_SCHEMAS, now=1_800_000_003.0)
    third = load(dump(again), plugins=PLUGIN_SCHEMAS, now=1_800_000_004.0)
    assert difference(again, third) == []


def _load(config: Any, previous: Loaded | None) -> Table:
    return load_config(config, schemas=_SCHEMAS, previous=previous, now=1_800_000_002.0).table


def _outcome(config: Any, previous: Loaded) -> Any:
    try:
        return {name: set(rows) for name, rows in _load(config, previous).items()}
    except DeclarativeError as error:
        return repr(error.fields)


def _check_refusal(error: DeclarativeError) -> None:
    assert error.fields
    assert error.lines()
    assert encode_json({"fields": error.fields, "flattened": error.flattened_errors})
    assert all(entry["errors"] for entry in error.flattened_errors)


@given(_MUTATIONS, st.booleans())
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
def test_load_when_mutated(mutations: list[Any], previous: bool) -> None:
    """It loads, and what loads can be dumped and loaded again to the same table; or DeclarativeError names places."""
    config = copy.deepcopy(_BASE)
    for mutation in mutations:
        _mutate(config, *mutation)
    _check(config, previous)
    assert _outcome(config, _LOADED) == _outcome(config, Loaded(_LOADED.table))


@pytest.mark.soak
@pytest.mark.timeout(1800)
@given(_MUTATIONS, st.booleans())
@settings(max_examples=6_000, deadline=None, suppress_health_check=list(HealthCheck))
def test_load_when_mutated_at_length(mutations: list[Any], previous: bool) -> None:
    """The same for long."""
    config = copy.deepcopy(_BASE)
    for mutation in mutations:
        _mutate(config, *mutation)
    _check(config, previous)


@given(_VALUES)
@settings(max_examples=100, deadline=None)
def test_load_when_anything_at_all(value: Any) -> None:
    """Any value is refused as a configuration, or is one."""
    _check(value, False)
