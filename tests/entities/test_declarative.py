"""Declarative configurations become tables, tables become configurations, and differences are found."""

import copy
from typing import Any

import pytest

from kongdp.entities.declarative import (
    DEFAULT_WORKSPACE_ID,
    KONG_COLLECTIONS,
    DeclarativeError,
    difference,
    dump,
    load,
    load_config,
)
from kongdp.entities.identity import named_id
from kongdp.entities.violations import ENTITY
from kongdp.plugins.configs import PLUGIN_SCHEMAS
from tests.support.configurations import large_configuration, recorded_push, rich_configuration

_ID = "11111111-1111-4111-8111-111111111111"


def _load(**collections: Any) -> Any:
    return load({"_format_version": "3.0", **collections}, plugins=PLUGIN_SCHEMAS, now=100)


def _refused(**collections: Any) -> DeclarativeError:
    with pytest.raises(DeclarativeError) as caught:
        _load(**collections)
    return caught.value


def test_load_when_everything_is_used() -> None:
    """Nested and flat entities land in their collections, references become ids."""
    table = load(rich_configuration(), plugins=PLUGIN_SCHEMAS, now=100)
    counts = {name: len(rows) for name, rows in table.items()}
    assert counts == {
        "workspaces": 1,
        "parameters": 1,
        "certificates": 1,
        "ca_certificates": 1,
        "snis": 2,
        "services": 2,
        "routes": 3,
        "consumers": 1,
        "upstreams": 1,
        "targets": 2,
        "key_sets": 1,
        "keys": 1,
        "vaults": 1,
        "plugins": 5,
        "keyauth_credentials": 1,
        "basicauth_credentials": 1,
        "jwt_secrets": 1,
        "acls": 1,
        "hmacauth_credentials": 1,
    }
    service = next(row for row in table["services"].values() if row["name"] == "plain")
    route = next(row for row in table["routes"].values() if row["name"] == "flat")
    assert route["service"] == {"id": service["id"]}


def test_load_when_deck_wrote_it() -> None:
    """Defaults and shared plugin configuration of decK's format count, its other keys are passed over."""
    table = load(rich_configuration(), plugins=PLUGIN_SCHEMAS, now=100)
    assert all(row["preserve_host"] for row in table["routes"].values())
    plugin = next(row for row in table["plugins"].values() if row["name"] == "key-auth")
    assert plugin["config"]["key_names"] == ["x-key"]


def test_load_when_recorded_from_kong() -> None:
    """A push of Kong 3.9.1 loads, bare ids as foreign keys, and comes out as it went in."""
    pushed = recorded_push()["config_table"]
    table = load(pushed, plugins=PLUGIN_SCHEMAS, now=100)
    dumped = dump(table)
    assert dumped.keys() == pushed.keys()
    for name, rows in pushed.items():
        if isinstance(rows, list) and name != "parameters":
            assert sorted(dumped[name], key=lambda row: row["id"]) == sorted(rows, key=lambda row: row["id"])


def test_load_when_ids_are_missing() -> None:
    """Ids are those Kong derives: from the name, or from the fields that are unique together."""
    table = _load(
        services=[{"name": "s", "host": "h", "plugins": [{"name": "prometheus"}]}],
        upstreams=[{"name": "u", "targets": [{"target": "t:1"}]}],
    )
    service_id, upstream_id = named_id("services", "s"), named_id("upstreams", "u")
    assert list(table["services"]) == [service_id]
    assert list(table["plugins"]) == [named_id("plugins", f"plugins:*:prometheus::{service_id}:")]
    assert list(table["targets"]) == [named_id("targets", f"targets:*:{upstream_id}:t:1")]
    assert list(table["workspaces"]) == [DEFAULT_WORKSPACE_ID]


def test_load_when_entities_have_no_key_at_all() -> None:
    """They keep their ids from load to load, equal ones apart."""
    config = {"routes": [{"paths": ["/a"]}, {"paths": ["/a"]}, {"paths": ["/b"]}]}
    first, second = _load(**config), _load(**config)
    assert len(first["routes"]) == 3
    assert list(first["routes"]) == list(second["routes"])


@pytest.mark.parametrize(
    "reference", ["s", _ID, {"id": _ID}, {"name": "s"}, {"id": _ID, "name": "s"}, _ID.upper()], ids=str
)
def test_load_when_references_are_written_differently(reference: Any) -> None:
    """By name, by id, as an object with either."""
    table = _load(
        services=[{"id": _ID, "name": "s", "host": "h"}], routes=[{"name": "r", "paths": ["/"], "service": reference}]
    )
    assert [row["service"] for row in table["routes"].values()] == [{"id": _ID}]


def test_load_when_a_reference_leads_nowhere() -> None:
    """The reason shows what was written, at the entity; references as objects are printed as JSON."""
    error = _refused(
        routes=[
            {"name": "a", "paths": ["/"], "service": "x"},
            {"name": "b", "paths": ["/"], "service": {"id": "y"}},
        ]
    )
    texts = [entry[ENTITY] for entry in error.fields["routes"]]
    assert texts == [
        ["invalid reference 'service: x' (no such entry in 'services')"],
        ["invalid reference 'service: {\"id\":\"y\"}' (no such entry in 'services')"],
    ]


def test_load_when_a_required_reference_leads_nowhere() -> None:
    """That is the only reason given."""
    error = _refused(targets=[{"target": "h:1", "upstream": "x"}])
    assert error.fields == {"targets": [{ENTITY: ["invalid reference 'upstream: x' (no such entry in 'upstreams')"]}]}


def test_load_when_names_are_taken() -> None:
    """Names, ids and keys are unique; the second one is wrong."""
    error = _refused(
        services=[
            {"id": _ID, "name": "a", "host": "h"},
            {"name": "a", "host": "h"},
            {"id": _ID, "name": "b", "host": "h"},
        ],
        consumers=[{"username": "c", "acls": [{"id": _ID, "group": "g"}, {"group": "g"}]}],
    )
    one, two = error.fields["services"][1:]
    assert one == {ENTITY: ["uniqueness violation: 'services' entity with name set to 'a' already declared"]}
    assert two == {
        ENTITY: [f"uniqueness violation: 'services' entity with primary key set to '{_ID}' already declared"]
    }
    consumer_id = named_id("consumers", "c")
    text = (
        f"uniqueness violation: 'acls' entity with consumer set to '{consumer_id}', group set to 'g' already declared"
    )
    assert error.fields["consumers"][0]["acls"] == [None, {ENTITY: [text]}]


def test_load_when_a_name_without_id_is_taken() -> None:
    """The id that follows from the name is taken too; that is no second problem."""
    error = _refused(services=[{"name": "a", "host": "h"}, {"name": "a", "host": "h"}])
    text = "uniqueness violation: 'services' entity with name set to 'a' already declared"
    assert error.fields == {"services": [None, {ENTITY: [text]}]}


def test_load_when_much_is_wrong() -> None:
    """Every problem is reported at once, nested as the input is, and flat by entity with its name and tags."""
    error = _refused(
        services=[
            {"name": "ok", "host": "h"},
            {
                "id": _ID,
                "name": "s",
                "tags": ["t"],
                "url": "https://h",
                "tls_verify_depth": 99,
                "routes": [{"name": "r", "paths": ["nope"]}, {"name": "q", "paths": "x"}],
                "plugins": "x",
            },
        ],
        plugins=[{"name": "nope"}, 5, {"name": "key-auth", "config": {"key_names": [1]}}],
        upstreams="x",
    )
    assert error.fields == {
        "upstreams": "expected an array",
        "services": [
            None,
            {
                "tls_verify_depth": "value should be between 0 and 64",
                "plugins": "expected an array",
                "routes": [
                    {"paths": ["should start with: / (fixed path) or ~/ (regex path)"]},
                    {"paths": "expected an array"},
                ],
            },
        ],
        "plugins": [
            {"name": "plugin 'nope' not enabled; add it to the 'plugins' configuration property"},
            {ENTITY: ["expected a record"]},
            {"config": {"key_names": ["expected a string"]}},
        ],
    }
    assert error.unplaced == {"upstreams": "expected an array"}
    flat = {entry.get("entity_name"): entry for entry in error.flattened_errors}
    assert flat["s"]["entity_type"] == "service"
    assert (flat["s"]["entity_id"], flat["s"]["entity_tags"]) == (_ID, ["t"])
    assert "routes" not in flat["s"]["entity"]
    assert {"type": "field", "field": "tls_verify_depth", "message": "value should be between 0 and 64"} in flat["s"][
        "errors"
    ]
    assert flat["key-auth"]["errors"] == [
        {"type": "field", "field": "config.key_names.1", "message": "expected a string"}
    ]
    assert flat["r"]["errors"][0]["field"] == "paths.1"
    assert str(error).startswith("declarative config is invalid: {plugins={")


def test_lines_when_printed_at_start() -> None:
    """The lines that a node prints when it will not start, indented by level."""
    error = _refused(
        services=[{"name": "s"}, {"name": "t", "host": "h", "tags": ["a", "b,c"], "path": "/x", "protocol": "tcp"}]
    )
    assert error.lines() == [
        "in 'services':",
        "  - in entry 1 of 'services':",
        "    in 'host': required field missing",
        "  - in entry 2 of 'services':",
        "    failed conditional validation given value of field 'protocol'",
        "    in 'path': value must be null",
        "    in 'tags':",
        "      - in entry 2 of 'tags': invalid tag 'b,c': expected printable ascii (except `,` and `/`) or valid utf-8 "
        "sequences",
    ]


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ({}, {"_format_version": "required field missing"}),
        ({"_format_version": 3.0}, {"_format_version": "expected a string"}),
        ({"_format_version": "4.0"}, {"_format_version": "expected one of: 1.1, 2.1, 3.0"}),
        ({"_format_version": "3.0", "_transform": "yes"}, {"_transform": "expected a boolean"}),
        ({"_format_version": "3.0", "_what": 1}, {"_what": "unknown field"}),
    ],
)
def test_load_when_the_head_is_wrong(head: dict[str, Any], reason: dict[str, str]) -> None:
    """The version is needed, and what begins with an underscore must be known."""
    with pytest.raises(DeclarativeError) as caught:
        load(head)
    assert caught.value.fields == reason


def test_load_when_it_is_no_object() -> None:
    """A list is no configuration."""
    with pytest.raises(DeclarativeError, match="expected an object"):
        load([])  # type: ignore[arg-type]


def test_load_config_when_collections_are_unknown() -> None:
    """They are passed over with one warning; strictly, refused."""
    config = {"_format_version": "3.0", "rbac_roles": [], "pluggins": [{}]}
    loaded = load_config(config, now=100)
    assert loaded.warnings == ("passed over what this node does not know: pluggins, rbac_roles",)
    with pytest.raises(DeclarativeError) as caught:
        load_config(config, strict=True)
    assert caught.value.fields == {"rbac_roles": "unknown field", "pluggins": "unknown field"}


def test_load_config_when_an_operator_mistypes_a_collection() -> None:
    """Refused: `pluggins` passed over would leave routes unprotected. What Kong knows and we have no use for passes."""
    config = {"_format_version": "3.0", "rbac_roles": [], "pluggins": [{}]}
    with pytest.raises(DeclarativeError) as caught:
        load_config(config, strict=KONG_COLLECTIONS)
    assert caught.value.fields == {"pluggins": "unknown field"}
    del config["pluggins"]
    assert load_config(config, strict=KONG_COLLECTIONS).warnings


def test_load_when_a_plugin_is_not_implemented() -> None:
    """Nothing is loaded: a configuration without one of its plugins would let requests through."""
    with pytest.raises(DeclarativeError, match="not enabled"):
        load({"_format_version": "3.0", "plugins": [{"name": "key-auth"}]})


@pytest.mark.parametrize("empty", [None, [], {}])
def test_load_when_collections_are_empty(empty: Any) -> None:
    """Null, an empty list and an empty object are no entities."""
    assert not _load(services=empty).get("services")


def test_load_when_empty_lists_are_objects() -> None:
    """What a Lua encoder writes for an empty list or record is taken as such."""
    table = _load(
        routes=[{"name": "r", "paths": ["/"], "hosts": {}, "headers": []}],
        plugins=[{"name": "cors", "config": []}],
    )
    route = next(iter(table["routes"].values()))
    assert (route["hosts"], route["headers"]) == ([], {})


def test_load_when_null_or_absent() -> None:
    """Absent means the default, null no value; null where a value is needed is refused."""
    row = next(iter(_load(services=[{"name": "s", "host": "h", "retries": None}])["services"].values()))
    assert (row["retries"], row["port"]) == (None, 80)
    error = _refused(services=[{"name": "s", "host": "h", "port": None}])
    assert error.fields == {"services": [{"port": "required field missing"}]}


@pytest.mark.parametrize(("transform", "stored"), [(None, 40), (True, 40), (False, 2)])
def test_load_when_passwords_are_in_clear(transform: bool | None, stored: int) -> None:
    """They are hashed unless the sender says that all is transformed."""
    table = _load(
        _transform=transform,
        consumers=[{"username": "b", "basicauth_credentials": [{"username": "b", "password": "pw"}]}],
    )
    assert len(next(iter(table["basicauth_credentials"].values()))["password"]) == stored


def test_load_when_credentials_expire() -> None:
    """A duration counts from now, a moment stays."""
    table = _load(
        consumers=[
            {
                "username": "b",
                "keyauth_credentials": [{"key": "a", "ttl": 60}, {"key": "b", "ttl": 1_900_000_000}, {"key": "c"}],
            }
        ]
    )
    assert [row["ttl"] for row in table["keyauth_credentials"].values()] == [160, 1_900_000_000, None]


def test_load_when_of_an_older_format() -> None:
    """Paths of formats before 3.0 become prefixes or marked expressions."""
    config = {
        "_format_version": "1.1",
        "services": [{"name": "s", "host": "h", "routes": [{"paths": ["/a", r"/\d+"]}]}],
    }
    table = load(config, now=100)
    assert next(iter(table["routes"].values()))["paths"] == ["/a", r"~/\d+"]
    error = _refused(routes=[{"paths": [5]}])
    assert error.fields == {"routes": [{"paths": ["expected a string"]}]}


def test_load_when_certificates_name_their_snis() -> None:
    """Names below a certificate become entities, as text or as objects."""
    config = rich_configuration()
    config["certificates"][0]["snis"] = ["x.test", {"name": "y.test"}]
    config["snis"] = []
    table = load(config, plugins=PLUGIN_SCHEMAS, now=100)
    assert sorted(row["name"] for row in table["snis"].values()) == ["x.test", "y.test"]
    assert all(row["certificate"] == {"id": _ID} for row in table["snis"].values())


def test_load_when_one_row_of_many_changed() -> None:
    """Equal rows are those of the table before, so the difference is the one that changed."""
    config = large_configuration(50)
    before = load(config, now=100)
    edited = copy.deepcopy(config)
    edited["routes"][7]["paths"] = ["/new"]
    after = load(edited, previous=before, now=200)
    changes = difference(before, after)
    assert [(name, id) for name, id, _ in changes] == [("routes", config["routes"][7]["id"])]
    unchanged = [id for id, row in after["routes"].items() if row is before["routes"][id]]
    assert len(unchanged) == 49


def test_load_when_times_are_absent() -> None:
    """An unchanged entity keeps its times; a changed one keeps the time of creation only."""
    config = {"_format_version": "3.0", "services": [{"name": "a", "url": "http://h"}, {"name": "b", "host": "h"}]}
    before = load(config, now=100)
    edited = copy.deepcopy(config)
    edited["services"][1]["retries"] = 1
    after = load(edited, previous=before, now=200)
    times = {row["name"]: (row["created_at"], row["updated_at"]) for row in after["services"].values()}
    assert times == {"a": (100, 100), "b": (100, 200)}
    assert [id for _, id, _ in difference(before, after)] == [named_id("services", "b")]


def test_difference_when_entities_come_and_go() -> None:
    """Deletions first, children before parents; then additions, parents before children."""
    old = _load(services=[{"name": "a", "host": "h", "routes": [{"name": "r", "paths": ["/"]}]}])
    new = _load(services=[{"name": "b", "host": "h", "routes": [{"name": "q", "paths": ["/"]}]}])
    changes = difference(old, new)
    assert [(name, row["name"] if row else None) for name, _, row in changes] == [
        ("routes", None),
        ("services", None),
        ("services", "b"),
        ("routes", "q"),
    ]
    assert difference(new, new) == []


def test_dump_when_loaded_again() -> None:
    """What is dumped needs no transformation and gives the same table."""
    table = load(rich_configuration(), plugins=PLUGIN_SCHEMAS, now=1_800_000_000)
    config = dump(table)
    assert config["_transform"] is False
    assert all(isinstance(row["consumer"], str) for row in config["acls"])
    assert difference(table, load(config, plugins=PLUGIN_SCHEMAS, now=1_800_000_001)) == []
