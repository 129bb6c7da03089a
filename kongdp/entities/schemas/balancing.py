"""Schemas of upstreams and targets.

Source: kong/db/schema/entities/{upstreams,targets}.lua 3.9; texts and defaults of a live Kong 3.9.1.
"""

from collections.abc import Mapping
from typing import Any

from kongdp.entities.addresses import (
    host_with_port_problem,
    parse_address,
    sni_problem,
    upstream_name_problem,
)
from kongdp.entities.checks import Conditional, Distinct, EntityCheck
from kongdp.entities.field import Field
from kongdp.entities.schema import Schema
from kongdp.entities.schemas.common import (
    COOKIE_NAME,
    HEADER_NAME,
    PATH,
    array,
    boolean,
    entity_id,
    foreign,
    integer,
    map_of,
    number,
    record,
    string,
    tags,
    times,
    timestamp,
)
from kongdp.entities.shape import Shorthand
from kongdp.entities.table import Row

TARGET_PORT = 8000
_HASH_INPUTS = ("none", "consumer", "ip", "header", "cookie", "path", "query_arg", "uri_capture")
_CHECK_TYPES = ("tcp", "http", "https", "grpc", "grpcs")

_ACTIVE_HEALTHY = {"interval": 0, "http_statuses": [200, 302], "successes": 0}
_ACTIVE_UNHEALTHY = {
    "interval": 0,
    "http_statuses": [429, 404, 500, 501, 502, 503, 504, 505],
    "tcp_failures": 0,
    "timeouts": 0,
    "http_failures": 0,
}
_ACTIVE = {
    "type": "http",
    "timeout": 1,
    "concurrency": 10,
    "http_path": "/",
    "https_verify_certificate": True,
    "healthy": _ACTIVE_HEALTHY,
    "unhealthy": _ACTIVE_UNHEALTHY,
}
_PASSIVE_HEALTHY = {"http_statuses": [*range(200, 209), 226, *range(300, 309)], "successes": 0}
_PASSIVE_UNHEALTHY = {"http_statuses": [429, 500, 503], "tcp_failures": 0, "timeouts": 0, "http_failures": 0}
_PASSIVE = {"type": "http", "healthy": _PASSIVE_HEALTHY, "unhealthy": _PASSIVE_UNHEALTHY}


def _seconds(default: int) -> Field:
    return number(default=default, between=(0, 65535))


def _counter() -> Field:
    return integer(default=0, between=(0, 255))


def _statuses(default: Mapping[str, Any]) -> tuple[str, Field]:
    statuses = array(integer(between=(100, 999)), default=default["http_statuses"])
    return "http_statuses", statuses


def _failures() -> tuple[tuple[str, Field], ...]:
    return tuple((name, _counter()) for name in ("tcp_failures", "timeouts", "http_failures"))


_CHECK_TYPE = string(default="http", one_of=_CHECK_TYPES)

_HEALTHCHECKS = record(
    (
        "active",
        record(
            (
                "healthy",
                record(
                    ("interval", _seconds(0)),
                    ("successes", _counter()),
                    _statuses(_ACTIVE_HEALTHY),
                    required=True,
                    default=_ACTIVE_HEALTHY,
                ),
            ),
            ("headers", map_of(string(), array(string()), required=False)),
            ("https_sni", string(required=False, validator=sni_problem)),
            ("https_verify_certificate", boolean(required=True, default=True)),
            ("timeout", _seconds(1)),
            (
                "unhealthy",
                record(
                    ("interval", _seconds(0)),
                    _statuses(_ACTIVE_UNHEALTHY),
                    *_failures(),
                    required=True,
                    default=_ACTIVE_UNHEALTHY,
                ),
            ),
            ("concurrency", integer(default=10, between=(1, 2147483648))),
            ("type", _CHECK_TYPE),
            ("http_path", PATH.but(default="/")),
            required=True,
            default=_ACTIVE,
        ),
    ),
    (
        "passive",
        record(
            (
                "unhealthy",
                record(
                    *reversed(_failures()),
                    _statuses(_PASSIVE_UNHEALTHY),
                    required=True,
                    default=_PASSIVE_UNHEALTHY,
                ),
            ),
            ("type", _CHECK_TYPE),
            (
                "healthy",
                record(("successes", _counter()), _statuses(_PASSIVE_HEALTHY), required=True, default=_PASSIVE_HEALTHY),
            ),
            required=True,
            default=_PASSIVE,
        ),
    ),
    ("threshold", number(default=0, between=(0, 100))),
    required=True,
    default={"active": _ACTIVE, "passive": _PASSIVE},
)


def _expand_algorithm(value: str | None) -> dict[str, Any]:
    """Only round robin and consistent hashing may hash; the others reset `hash_on`."""
    if value in ("least-connections", "latency"):
        return {"algorithm": value, "hash_on": None}
    return {"algorithm": value}


def _expand_hash_on(value: str | None) -> dict[str, Any]:
    """Hashing implies its algorithm."""
    if value is None:
        return {"hash_on": "none"}
    return {"hash_on": value, "algorithm": "round-robin" if value == "none" else "consistent-hashing"}


def _requires(input_field: str, value: str, field: str) -> Conditional:
    return Conditional(input_field, {"match": f"^{value}$"}, field, {"required": True})


def _fallback(hash_on: str, *allowed: str) -> Conditional:
    return Conditional("hash_on", {"match": f"^{hash_on}$"}, "hash_fallback", {"one_of": allowed})


def _per_name(kind: str) -> tuple[EntityCheck, ...]:
    """Hashing twice by the same kind of input is allowed where the inputs have names, and the names differ."""
    on, fallback = f"hash_on_{kind}", f"hash_fallback_{kind}"
    return _requires("hash_on", kind, on), _requires("hash_fallback", kind, fallback), Distinct((on, fallback))


_NAMED = ("header", "cookie", "path", "query_arg", "uri_capture")
_HEADER_CHECKS = _per_name("header")

UPSTREAMS = Schema(
    name="upstreams",
    endpoint_key="name",
    fields=(
        entity_id(),
        timestamp("created_at"),
        ("name", string(required=True, unique=True, len_min=1, validator=upstream_name_problem)),
        timestamp("updated_at"),
        (
            "algorithm",
            string(
                default="round-robin",
                one_of=("consistent-hashing", "least-connections", "round-robin", "latency"),
                len_min=1,
            ),
        ),
        ("hash_on", string(default="none", one_of=_HASH_INPUTS, len_min=1)),
        ("hash_fallback", string(default="none", one_of=_HASH_INPUTS, len_min=1)),
        ("hash_on_header", HEADER_NAME),
        ("hash_fallback_header", HEADER_NAME),
        ("hash_on_cookie", COOKIE_NAME),
        ("hash_on_cookie_path", PATH.but(default="/", len_min=1)),
        ("hash_on_query_arg", string(len_min=1)),
        ("hash_fallback_query_arg", string(len_min=1)),
        ("hash_on_uri_capture", string(len_min=1)),
        ("hash_fallback_uri_capture", string(len_min=1)),
        ("slots", integer(default=10000, between=(10, 65536))),
        ("healthchecks", _HEALTHCHECKS),
        tags(len_min=1),
        ("host_header", string(len_min=1, validator=host_with_port_problem)),
        ("client_certificate", foreign("certificates")),
        ("use_srv_name", boolean(default=False)),
    ),
    checks=(
        *_HEADER_CHECKS[:2],
        _requires("hash_on", "cookie", "hash_on_cookie"),
        _requires("hash_fallback", "cookie", "hash_on_cookie"),
        _fallback("none", "none"),
        _fallback("cookie", "none"),
        _fallback("consumer", "none", "ip", *_NAMED),
        _fallback("ip", "none", "consumer", *_NAMED),
        _fallback("path", "none", "consumer", "header", "cookie", "query_arg", "ip", "uri_capture"),
        _HEADER_CHECKS[2],
        *_per_name("query_arg"),
        *_per_name("uri_capture"),
    ),
    shorthands=(
        Shorthand("algorithm", string(), _expand_algorithm),
        Shorthand("hash_on", string(), _expand_hash_on),
    ),
)


def target_problem(text: str) -> str | None:
    """Why a target is refused, or None."""
    if isinstance(parse_address(text), str):
        return "Invalid target; not a valid hostname or ip address"
    return None


def _with_port(row: Row) -> Row:
    """Targets are stored with their port, addresses in normal form, so that the same target written twice is found."""
    address = parse_address(row["target"])
    assert not isinstance(address, str)
    text = address.text(TARGET_PORT)
    return row if text == row["target"] else {**row, "target": text}


TARGETS = Schema(
    name="targets",
    endpoint_key="target",
    cache_key=("upstream", "target"),
    fields=(
        entity_id(),
        *times("number"),
        ("upstream", foreign("upstreams", required=True, on_delete="cascade")),
        ("target", string(required=True, len_min=1, validator=target_problem)),
        ("weight", integer(default=100, between=(0, 65535))),
        tags(),
    ),
    derive=_with_port,
)
