"""Hashes are those that Kong computes."""

import json
from typing import Any

import pytest

from kongdp.entities.hashing import (
    EMPTY_HASH,
    SECTIONS,
    CanonicalText,
    canonical,
    combine,
    document_hash,
    hash_value,
    hashes,
)
from tests.support.configurations import RECORDED_PUSH, large_configuration

# Source: Kong spec/01-unit/19-hybrid (config helper), as listed in the hybrid protocol specification, section 2.5.
_WHOLE = [
    ({}, "2da3c26e4dbd6dd6ea3ab60a3dd7fb3e"),
    ({"routes": {}, "services": {}, "plugins": {}}, "81aac97a81ad03c0cf0b36663806488e"),
    ({"upstreams": {}, "targets": {}}, "4d60dd9998ea4314039da5ca2f1db96f"),
]
_VALUES = [
    (10, "d3d9446802a44259755d38e6d163e820"),
    (0.9, "a894124cc6d5c5c71afe060d5dde0762"),
    ("", "d41d8cd98f00b204e9800998ecf8427e"),
    ("hello", "5d41402abc4b2a76b9719d911017c592"),
    (False, "68934a3e9455fa72420237eb05902327"),
    (True, "b326b5062b2f0e69046810717534cb09"),
    ({}, "99914b932bd37a50b983c5e7c90ae93b"),
]
_EXAMPLE = json.loads(
    """{"_format_version":"3.0","_transform":false,
 "workspaces":[{"id":"0dc6f45b-8f8d-40d2-a504-473544ee190b","name":"default","comment":null,"created_at":1660000000,
  "updated_at":1660000000,"meta":null,"config":null}],
 "parameters":[{"key":"cluster_id","value":"8e1f7c52-2f6d-4a7b-9d0e-5b6a1c3d4e5f","created_at":null}],
 "services":[{"id":"11111111-1111-4111-8111-111111111111","name":"mock-service","created_at":1660000100,
  "updated_at":1660000100,"retries":5,"protocol":"http","host":"mockbin.org","port":80,"path":null,
  "connect_timeout":60000,"write_timeout":60000,"read_timeout":60000,"tags":null,"client_certificate":null,
  "tls_verify":null,"tls_verify_depth":null,"ca_certificates":null,"enabled":true}],
 "routes":[{"id":"22222222-2222-4222-8222-222222222222","name":"mockbin","created_at":1660000200,
  "updated_at":1660000200,"service":"11111111-1111-4111-8111-111111111111","protocols":["http","https"],
  "methods":["GET"],"hosts":null,"paths":["/mock"],"headers":null,"snis":null,"sources":null,"destinations":null,
  "https_redirect_status_code":426,"regex_priority":0,"path_handling":"v0","strip_path":true,"preserve_host":false,
  "request_buffering":true,"response_buffering":true,"tags":null}],
 "plugins":[{"id":"33333333-3333-4333-8333-333333333333","name":"key-auth","instance_name":null,
  "created_at":1660000300,"updated_at":1660000300,"service":null,"route":"22222222-2222-4222-8222-222222222222",
  "consumer":null,"protocols":["grpc","grpcs","http","https"],"enabled":true,"tags":null,
  "config":{"key_names":["apikey"],"hide_credentials":false,"anonymous":null,"key_in_header":true,"key_in_query":true,
  "key_in_body":false,"run_on_preflight":true,"realm":null}}]}"""
)


@pytest.mark.parametrize(("config", "wanted"), _WHOLE)
def test_hashes_when_kong_tests_them(config: dict[str, Any], wanted: str) -> None:
    """The hash of the whole is the one in Kong's own tests."""
    assert hashes(config).config == wanted


@pytest.mark.parametrize(("value", "wanted"), _VALUES)
def test_hash_value_when_bare(value: Any, wanted: str) -> None:
    """A bare value hashes as in Kong's own tests."""
    assert hash_value(value) == wanted


def test_canonical_text_when_null() -> None:
    """Null has a text of its own; a value that is absent has no hash but zeros."""
    assert canonical(None) == b"/null/"
    assert hash_value(None) == EMPTY_HASH


def test_hashes_when_the_worked_example() -> None:
    """The example of the protocol specification has its hashes."""
    found = hashes(_EXAMPLE)
    assert found.config == "f7055ebdbc7d1b8f9e39a770212a5b19"
    assert found.to_wire() == {
        "config": "f7055ebdbc7d1b8f9e39a770212a5b19",
        "services": "44ccb613fc16619f603735a3a63753af",
        "routes": "39e92261d917e4855057e1a4bcdd30aa",
        "plugins": "f7253e8047b2944c487e6a1f685f33ea",
        "upstreams": EMPTY_HASH,
        "targets": EMPTY_HASH,
    }


def test_sections_when_kong_sent_them() -> None:
    """The sections of a push recorded from Kong 3.9.1 have the hashes that came with it."""
    message = json.loads(RECORDED_PUSH.read_text())
    found = hashes(message["config_table"]).sections
    assert found == {name: message["hashes"][name] for name in SECTIONS}


def test_canonical_when_nested() -> None:
    """Keys in byte order, lists of one to five without a last separator, longer ones with it, numbers as C prints
    them."""
    value = {"b": [1, 2], "a": {"x": 1e15, "y": 1660000400.123}, "c": [1, 2, 3, 4, 5, 6], "d": [], "É": True}
    wanted = "a:x:1e+15;y:1660000400.123;;b:1;2;c:1;2;3;4;5;6;;d:{};É:true;"
    assert canonical(value) == wanted.encode()


@pytest.mark.parametrize("count", [0, 1, 5, 6, 4000])
def test_entities_when_texts_are_kept(count: int) -> None:
    """Hashing kept texts gives the hash of the values, beyond the size at which Kong folds its text too."""
    rows = large_configuration(count)["routes"]
    text = CanonicalText()
    text.entities([(canonical(row), row) for row in rows], len(rows))
    assert text.hexdigest() == hash_value(rows)


def test_combine_when_sections_are_missing() -> None:
    """Sections that are not given count as absent."""
    assert combine({}, hash_value({})).config == hashes({}).config


def test_document_has_one_hash_whatever_the_order_of_its_keys() -> None:
    """JSON and YAML of the same content are the same document; values that only compare equal are not."""
    assert document_hash({"a": [1], "b": None}) == document_hash({"b": None, "a": [1]})
    assert len({document_hash({"a": value}) for value in (1, 1.0, True, "1")}) == 4
    assert len(document_hash({"a": 1 << 80})) == 32
