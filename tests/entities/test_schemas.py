"""The collections' own rules, beyond what the recorded conversation shows."""

from typing import Any

import pytest

from kongdp.entities.pem import authority_problem, certificate_problem, key_problem, pair_matches
from kongdp.entities.schemas import SCHEMAS, build_schemas
from kongdp.entities.schemas.gateway import expand_url
from kongdp.entities.schemas.plugins import plugins_schema
from kongdp.entities.violations import ENTITY
from tests.support.certificates import make
from tests.support.configurations import pems

_CONSUMER = {"consumer": {"id": "11111111-1111-4111-8111-111111111111"}}


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://h", {"protocol": "http", "host": "h", "port": 80}),
        ("https://h/p?q#f", {"protocol": "https", "host": "h", "port": 443, "path": "/p"}),
        ("https://user:pw@h:8443/", {"protocol": "https", "host": "h", "port": 8443, "path": "/"}),
        ("http://[::1]:81", {"protocol": "http", "host": "::1", "port": 81}),
        ("//h:443", {"protocol": "https", "host": "h", "port": 443}),
        ("grpc://h", {"protocol": "grpc", "host": "h"}),
        ("not-a-url", {"path": "not-a-url"}),
        ("http://h:x", {"protocol": "http", "host": "h", "port": "x"}),
        (None, {}),
    ],
)
def test_expand_url_when_of_each_form(url: str | None, parts: dict[str, Any]) -> None:
    """A service's URL sets what it has; ports follow the scheme."""
    assert expand_url(url) == parts


@pytest.mark.parametrize(
    ("raw", "entity", "fields"),
    [
        (
            {"protocols": ["tcp"], "paths": ["/"]},
            ["must set one of 'sources', 'destinations', 'snis' when 'protocols' is 'tcp', 'tls' or 'udp'"],
            {"paths": "cannot set 'paths' when 'protocols' is 'tcp', 'tls', 'tls_passthrough' or 'udp'"},
        ),
        (
            {"protocols": ["tls_passthrough"]},
            ["must set snis when 'protocols' is 'tls_passthrough'"],
            {},
        ),
        (
            {"protocols": ["grpcs"]},
            ["must set one of 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'grpcs'"],
            {},
        ),
        (
            {"protocols": ["tcp"], "sources": [{}]},
            None,
            {"sources": [{ENTITY: ["at least one of these fields must be non-empty: 'ip', 'port'"]}]},
        ),
        ({"protocols": []}, None, {"protocols": "unknown type: nil"}),
        ({"protocols": None}, None, {"protocols": "required field missing"}),
        ({"protocols": "http", "paths": ["/"]}, None, {"protocols": "expected a set"}),
    ],
)
def test_routes_when_protocols_decide(raw: dict[str, Any], entity: list[str] | None, fields: dict[str, Any]) -> None:
    """The protocols say which fields must and must not be set."""
    problems = SCHEMAS["routes"].validate(raw)
    assert problems.pop(ENTITY, None) == entity
    assert problems == fields


def test_routes_when_a_header_is_an_expression() -> None:
    """It must compile; in the traditional flavour only where it is one."""
    lame, plain = {"headers": {"X-A": ["~*("]}}, {"headers": {"x-a": ["~*(", "b"]}}
    wanted = "Router Expression failed validation: http.headers.x_a: pcre2_compile() failed: "
    assert SCHEMAS["routes"].validate(lame)[ENTITY][0].startswith(wanted)
    assert SCHEMAS["routes"].validate({"headers": {"x-a": ["~*^v[0-9]+$"]}}) == {}
    traditional = build_schemas(router_flavor="traditional")["routes"]
    assert traditional.validate(plain) == {}
    assert traditional.validate(lame)[ENTITY][0].startswith(wanted)


def test_routes_when_grpc() -> None:
    """gRPC routes do not strip their path by default."""
    row = SCHEMAS["routes"].insert({"protocols": ["grpc"], "paths": ["/"]}, 1)
    assert row["strip_path"] is False


def test_routes_when_the_flavor_is_traditional() -> None:
    """Server names have no wildcards there."""
    raw = {"protocols": ["https"], "snis": ["*.a.test"]}
    assert SCHEMAS["routes"].validate(raw) == {}
    assert build_schemas(router_flavor="traditional")["routes"].validate(raw) == {"snis": ["invalid value: *.a.test"]}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"expression": 'http.path == "/"', "priority": 5}, None),
        ({"paths": ["/"]}, None),
        ({"protocols": ["http"], "sources": [{"port": 1}], "paths": ["/"]}, None),
        (
            {"expression": "x", "paths": ["/"]},
            "Router Expression failed validation: cannot set 'expression' with 'methods', 'hosts', 'paths', 'headers', "
            "'snis', 'sources' or 'destinations' simultaneously",
        ),
        (
            {"expression": "x", "regex_priority": 1},
            "Router Expression failed validation: cannot set 'regex_priority' with 'expression' simultaneously",
        ),
        (
            {"paths": ["/"], "priority": 1},
            "Router Expression failed validation: cannot set 'priority' with 'methods', 'hosts', 'paths', 'headers', "
            "'snis', 'sources' or 'destinations' simultaneously",
        ),
        ({"expression": "bad"}, "Router Expression failed validation: 1:1: nonsense"),
    ],
)
def test_routes_when_the_flavor_is_expressions(raw: dict[str, Any], reason: str | None) -> None:
    """Expressions stand alone and are judged by whoever knows their language."""
    schemas = build_schemas(
        router_flavor="expressions",
        judge_expression=lambda route: "1:1: nonsense" if route["expression"] == "bad" else None,
    )
    problems = schemas["routes"].validate(raw)
    assert problems.get(ENTITY) == ([reason] if reason else None)


def test_build_schemas_when_the_flavor_is_unknown() -> None:
    """A flavour that does not exist is the caller's mistake."""
    with pytest.raises(ValueError, match="expected one of"):
        build_schemas(router_flavor="nope")


@pytest.mark.parametrize(
    ("raw", "algorithm", "hash_on"),
    [
        ({"hash_on": "ip"}, "consistent-hashing", "ip"),
        ({"algorithm": "consistent-hashing", "hash_on": "none"}, "round-robin", "none"),
        ({"algorithm": "least-connections", "hash_on": "ip"}, "least-connections", "none"),
        ({"algorithm": "latency"}, "latency", "none"),
    ],
)
def test_upstreams_when_hashing_implies_an_algorithm(raw: dict[str, Any], algorithm: str, hash_on: str) -> None:
    """Hashing sets its algorithm; algorithms that do not hash reset it."""
    row = SCHEMAS["upstreams"].insert({"name": "up", **raw}, 1)
    assert (row["algorithm"], row["hash_on"]) == (algorithm, hash_on)


def test_targets_when_the_port_is_missing() -> None:
    """Targets are stored with their port, addresses in normal form."""
    upstream = {"upstream": {"id": "11111111-1111-4111-8111-111111111111"}}
    rows = [SCHEMAS["targets"].insert({"target": text, **upstream}, 1.0016) for text in ("h", "010.0.0.1:1")]
    assert [row["target"] for row in rows] == ["h:8000", "10.0.0.1:1"]
    assert rows[0]["created_at"] == 1.002


def test_basic_auth_when_written() -> None:
    """Passwords are hashed with their consumer's id, once: an edit of something else leaves them."""
    schema = SCHEMAS["basicauth_credentials"]
    consumer = {"id": "b40c0003-2f75-5879-a3c5-52b1e9b7f6e3"}
    row = schema.insert({"username": "bob", "password": "pw", "consumer": consumer}, 1)
    assert row["password"] == "86e5422255f71d1d28778c227b250693615d2ba3"  # recorded from Kong 3.9.1
    assert schema.update({"tags": ["a"]}, row, 2)["password"] == row["password"]
    assert schema.update({"password": "pw"}, row, 2)["password"] == row["password"]


def test_jwt_when_the_algorithm_is_asymmetric() -> None:
    """It needs the public key."""
    problems = SCHEMAS["jwt_secrets"].validate({"algorithm": "RS256", **_CONSUMER})
    assert problems["rsa_public_key"] == "required field missing"


def test_certificates_when_pairs_do_not_fit() -> None:
    """A key must belong to its certificate, and a second pair must be of another type."""
    pem = pems()
    schema = SCHEMAS["certificates"]
    assert schema.validate({key: pem[key] for key in ("cert", "key", "cert_alt", "key_alt")}) == {}
    assert schema.validate({"cert": "{vault://env/c}", "key": pem["key"]}) == {}
    problems = schema.validate({"cert": pem["cert"], "key": pem["key_alt"]})
    assert problems == {ENTITY: ["certificate does not match key"]}
    problems = schema.validate({"cert": pem["cert"], "key": pem["key"], "cert_alt": pem["cert_alt"]})
    assert problems == {ENTITY: ["all or none of these fields must be set: 'cert_alt', 'key_alt'"]}
    twice = {"cert": pem["cert"], "key": pem["key"], "cert_alt": pem["cert"], "key_alt": pem["key"]}
    assert "both of the same type" in schema.validate(twice)[ENTITY][0]
    crossed = {"cert": pem["cert"], "key": pem["key"], "cert_alt": pem["cert_alt"], "key_alt": pem["key"]}
    assert schema.validate(crossed) == {ENTITY: ["alternative certificate does not match key"]}


def test_ca_certificates_when_judged() -> None:
    """One certificate, of an authority, not over; its digest is worked out."""
    pem = pems()
    row = SCHEMAS["ca_certificates"].insert({"cert": pem["authority"]}, 1)
    assert len(row["cert_digest"]) == 64
    assert authority_problem(pem["authority"] * 2) == "please submit only one certificate at a time"
    assert "not appear to be a CA" in str(authority_problem(pem["cert"]))
    expired = make("old", is_authority=True, starts_s=-7200, life_s=60).pem.decode()
    assert authority_problem(expired) == 'certificate expired, "Not After" time is in the past'


def test_pem_when_it_is_none() -> None:
    """What cannot be read is refused without showing it."""
    assert str(certificate_problem("x")).startswith("invalid certificate: ")
    assert str(key_problem("secret")).startswith("invalid key: ")
    assert "secret" not in str(key_problem("secret"))
    assert not pair_matches("x", "y")


def test_keys_when_the_jwk_is_anothers() -> None:
    """A JWK names the entity's kid; one of JWK and PEM is needed, not both."""
    schema = SCHEMAS["keys"]
    assert schema.validate({"kid": "1", "jwk": '{"kid":"1","kty":"oct"}'}) == {}
    for jwk, text in (
        ('{"kid":"2","kty":"oct"}', "kid in jwk.kid must be equal to keys.kid"),
        ("{", "could not json decode jwk string"),
        ('{"kid":"1"}', "could not load JWK"),
    ):
        assert schema.validate({"kid": "1", "jwk": jwk}) == {ENTITY: [text]}
    assert schema.validate({"kid": "1"}) == {ENTITY: ["at least one of these fields must be non-empty: 'jwk', 'pem'"]}


def test_vaults_when_of_unknown_kind() -> None:
    """A kind of vault nobody has is refused; prefixes may not be kinds."""
    schema = SCHEMAS["vaults"]
    assert schema.validate({"prefix": "my-env", "name": "env"}) == {}
    assert schema.validate({"prefix": "x", "name": "nope"}) == {"name": "vault 'nope' is not installed"}
    assert "prefix" in schema.validate({"prefix": "env", "name": "env"})


def test_plugins_when_only_names_are_known() -> None:
    """A container of names judges names; without one every name passes."""
    refused = {"name": "plugin 'b' not enabled; add it to the 'plugins' configuration property"}
    assert plugins_schema({"a"}).validate({"name": "b"}) == refused
    assert plugins_schema({"a"}).validate({"name": "a", "config": {"x": 1}}) == {}
    assert plugins_schema(None).validate({"name": "b"}) == {}
    assert plugins_schema({}).validate({"name": "b"}) == refused
