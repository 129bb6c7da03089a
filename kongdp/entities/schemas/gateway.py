"""Schemas of services and routes.

Routes come in three flavours of the router: `expressions` knows two more fields, `traditional` no wildcard in `snis`.
Within a flavour the protocols decide which other fields may be set.
Source: kong/db/schema/entities/{services,routes,routes_subschemas}.lua 3.9; texts of a live Kong 3.9.1.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from kongdp.entities.addresses import (
    host_problem,
    ip_or_cidr_problem,
    wildcard_host_with_port_problem,
)
from kongdp.entities.checks import AtLeastOneOf, Conditional, ConditionalAtLeastOneOf, Custom, EntityCheck
from kongdp.entities.field import Field
from kongdp.entities.paths import route_path_problem
from kongdp.entities.regex import regex_problem
from kongdp.entities.schema import Schema, Variants
from kongdp.entities.schemas.common import (
    HEADER_NAME,
    NO_EMPTY_SEGMENTS,
    PATH,
    PORT,
    PROTOCOLS,
    SNI,
    WILDCARD_SNI,
    array,
    boolean,
    entity_id,
    foreign,
    integer,
    map_of,
    name_field,
    record,
    set_of,
    string,
    tags,
    times,
)
from kongdp.entities.shape import Shape, Shorthand

_URL = re.compile(r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*):)?(?://(?P<authority>[^/?#]*))?(?P<path>[^?#]*)")
_AUTHORITY = re.compile(r"(?:.*@)?(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>.*))?\Z", re.DOTALL)
_PORT_OF_SCHEME = {"http": 80, "https": 443}

PRIORITY_MAX = 2**46 - 1


def expand_url(url: str | None) -> dict[str, Any]:
    """What the shorthand `url` of a service stands for; parts that the URL lacks are left out."""
    if url is None:
        return {}
    found = _URL.match(url)
    assert found is not None
    parts: dict[str, Any] = {"protocol": found["scheme"]}
    authority = found["authority"]
    if authority:
        pieces = _AUTHORITY.match(authority)
        assert pieces is not None
        parts["host"] = pieces["host"].removeprefix("[").removesuffix("]") or None
        port = pieces["port"]
        if port:
            parts["port"] = int(port) if port.isascii() and port.isdigit() and len(port) < 10 else port
    if parts.get("port") is None:
        parts["port"] = _PORT_OF_SCHEME.get(parts["protocol"] or "")
    elif parts["protocol"] is None and parts["port"] == 443:
        parts["protocol"] = "https"
    parts["path"] = found["path"] or None
    return {name: value for name, value in parts.items() if value is not None}


def _tls_only(field: str) -> Conditional:
    return Conditional("protocol", {"not_one_of": ("https", "tls")}, field, {"eq": None})


_TIMEOUT = integer(default=60000, between=(1, 2147483646))

SERVICES = Schema(
    name="services",
    endpoint_key="name",
    fields=(
        entity_id(),
        *times(),
        name_field(),
        ("retries", integer(default=5, between=(0, 32767))),
        ("protocol", string(required=True, default="http", one_of=PROTOCOLS, len_min=1)),
        ("host", string(required=True, len_min=1, validator=host_problem)),
        ("port", PORT.but(required=True, default=80)),
        ("path", PATH.but(len_min=1)),
        ("connect_timeout", _TIMEOUT),
        ("write_timeout", _TIMEOUT),
        ("read_timeout", _TIMEOUT),
        tags(len_min=1),
        ("client_certificate", foreign("certificates")),
        ("tls_verify", boolean()),
        ("tls_verify_depth", integer(default=None, between=(0, 64))),
        ("ca_certificates", array(string(uuid=True))),
        ("enabled", boolean(required=True, default=True)),
    ),
    checks=(
        Conditional("protocol", {"one_of": ("tcp", "tls", "udp", "grpc", "grpcs")}, "path", {"eq": None}),
        _tls_only("client_certificate"),
        _tls_only("tls_verify"),
        _tls_only("tls_verify_depth"),
        _tls_only("ca_certificates"),
    ),
    shorthands=(Shorthand("url", string(), expand_url),),
)

_ENDPOINTS = set_of(
    record(
        shape=Shape(
            (("ip", string(validator=ip_or_cidr_problem)), ("port", PORT)),
            checks=(AtLeastOneOf(("ip", "port")),),
        )
    )
)
_METHODS = set_of(string(match="^%u+$", required=True, len_min=1))
_HOSTS = array(
    string(
        required=True,
        len_min=1,
        match_all=({"pattern": "^[^*]*%*?[^*]*$", "err": "invalid wildcard: must have at most one wildcard"},),
        match_any={
            "patterns": ("^%*%.", "%.%*$", "^[^*]*$"),
            "err": "invalid wildcard: must be placed at leftmost or rightmost label",
        },
        validator=wildcard_host_with_port_problem,
    )
)
_PATHS = array(
    string(
        required=True,
        len_min=1,
        match_any={
            "patterns": ("^/", "^~/"),
            "err": "should start with: / (fixed path) or ~/ (regex path)",
        },
        match_none=NO_EMPTY_SEGMENTS,
        validator=route_path_problem,
    )
)
_HEADERS = map_of(
    keys=HEADER_NAME.but(
        required=True,
        len_min=1,
        match_none=(
            {
                "pattern": "^[Hh][Oo][Ss][Tt]$",
                "err": "cannot contain 'host' header, which must be specified in the 'hosts' attribute",
            },
        ),
    ),
    values=array(string(required=True, len_min=1), required=True),
)


def _route_fields(flavor: str) -> tuple[tuple[str, Field], ...]:
    sni = SNI if flavor == "traditional" else WILDCARD_SNI
    fields = (
        entity_id(),
        *times(),
        name_field(),
        (
            "protocols",
            set_of(
                string(required=True, one_of=PROTOCOLS, len_min=1),
                required=True,
                len_min=1,
                default=["http", "https"],
                mutually_exclusive_subsets=(
                    ("http", "https"),
                    ("tcp", "tls", "udp"),
                    ("tls_passthrough",),
                    ("grpc", "grpcs"),
                ),
            ),
        ),
        ("https_redirect_status_code", integer(required=True, default=426, one_of=(426, 301, 302, 307, 308))),
        ("strip_path", boolean(required=True, default=True)),
        ("preserve_host", boolean(required=True, default=False)),
        ("request_buffering", boolean(required=True, default=True)),
        ("response_buffering", boolean(required=True, default=True)),
        tags(),
        ("service", foreign("services")),
        ("snis", set_of(sni.but(required=True, len_min=1))),
        ("sources", _ENDPOINTS),
        ("destinations", _ENDPOINTS),
        ("methods", _METHODS),
        ("hosts", _HOSTS),
        ("paths", _PATHS),
        ("headers", _HEADERS),
        ("regex_priority", integer(default=0)),
        ("path_handling", string(default="v0", one_of=("v0", "v1"), len_min=1)),
    )
    if flavor != "expressions":
        return fields
    return (
        *fields,
        ("expression", string()),
        ("priority", integer(required=True, default=0, between=(0, PRIORITY_MAX))),
    )


_SNIS_NEED_TLS = Conditional(
    "protocols",
    {"elements": string(not_one_of=("grpcs", "https", "tls", "tls_passthrough"), required=True, len_min=1)},
    "snis",
    {"len_eq": 0},
    "'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'",
)
_CLASSIC = ("methods", "hosts", "paths", "headers", "snis", "sources", "destinations")
_EXPRESSION_FAILED = "Router Expression failed validation: "


def _mixes_flavors(route: Mapping[str, Any]) -> str | None:
    """An expression stands alone; a priority belongs to one."""
    classic = any(route[name] for name in _CLASSIC)
    listed = "'methods', 'hosts', 'paths', 'headers', 'snis', 'sources' or 'destinations' simultaneously"
    if route["expression"] is not None:
        if classic:
            return f"{_EXPRESSION_FAILED}cannot set 'expression' with {listed}"
        if route["regex_priority"]:
            return f"{_EXPRESSION_FAILED}cannot set 'regex_priority' with 'expression' simultaneously"
    elif classic and route["priority"]:
        return f"{_EXPRESSION_FAILED}cannot set 'priority' with {listed}"
    return None


def _header_regex_problem(route: Mapping[str, Any], flavor: str) -> str | None:
    """A header value that begins with `~*` is an expression (in the traditional flavour only where it stands alone)."""
    for name, values in (route["headers"] or {}).items():
        for value in values:
            if value.startswith("~*") and (flavor != "traditional" or len(values) == 1):
                problem = regex_problem(value[2:].lower())
                if problem is not None:
                    return f"{_EXPRESSION_FAILED}http.headers.{name.lower().replace('-', '_')}: {problem}"
    return None


def _route_checks(flavor: str, judge_expression: Callable[[Mapping[str, Any]], str | None] | None) -> list[EntityCheck]:
    """Checks of all routes. Those described but empty here are Kong's tests of what its own router makes of a route."""

    def judge(route: dict[str, Any]) -> str | None:
        problem = _header_regex_problem(route, flavor)
        if flavor != "expressions" or problem is not None:
            return problem
        problem = _mixes_flavors(route)
        if problem is None and judge_expression is not None and route["expression"] is not None:
            reason = judge_expression(route)
            problem = reason and _EXPRESSION_FAILED + reason
        return problem

    own = ("id", "protocols", "snis", "sources", "destinations", "methods", "hosts", "paths", "headers")
    return [
        _SNIS_NEED_TLS,
        Custom(("path_handling",), lambda route: None),
        Custom((*own, "expression", "regex_priority", "priority"), judge, run_with_missing_fields=True),
    ]


def _one_of_elements(*options: str) -> dict[str, Any]:
    return {"elements": string(one_of=options, required=True)}


def _refused(field: Field, name: str, protocols: str) -> tuple[str, Field]:
    return name, field.but(eq=None, err=f"cannot set '{name}' when 'protocols' is {protocols}")


_STREAM_TEXT = "'tcp', 'tls', 'tls_passthrough' or 'udp'"
_GRPC_TEXT = "'grpc' or 'grpcs'"
_HTTP_TEXT = "'http' or 'https'"

# protocol group -> (protocols, fields it changes, (rules for the protocols, fields of which one must be set, text))
_GROUPS: tuple[
    tuple[tuple[str, ...], tuple[tuple[str, Field], ...], tuple[tuple[dict[str, Any], tuple[str, ...], str], ...]], ...
] = (
    (
        ("http", "https"),
        (_refused(_ENDPOINTS, "sources", _HTTP_TEXT), _refused(_ENDPOINTS, "destinations", _HTTP_TEXT)),
        (
            (
                {"contains": "https"},
                ("methods", "hosts", "headers", "paths", "snis"),
                "must set one of %s when 'protocols' is 'https'",
            ),
            (
                {"contains": "http"},
                ("methods", "hosts", "headers", "paths"),
                "must set one of %s when 'protocols' is 'http'",
            ),
        ),
    ),
    (
        ("tcp", "tls", "udp", "tls_passthrough"),
        (
            _refused(_METHODS, "methods", _STREAM_TEXT),
            _refused(_HOSTS, "hosts", _STREAM_TEXT),
            _refused(_PATHS, "paths", _STREAM_TEXT),
            _refused(_HEADERS, "headers", _STREAM_TEXT),
        ),
        (
            (
                _one_of_elements("tcp", "tls", "udp"),
                ("sources", "destinations", "snis"),
                "must set one of %s when 'protocols' is 'tcp', 'tls' or 'udp'",
            ),
            (_one_of_elements("tls_passthrough"), ("snis",), "must set snis when 'protocols' is 'tls_passthrough'"),
        ),
    ),
    (
        ("grpc", "grpcs"),
        (
            (
                "strip_path",
                boolean(
                    required=True,
                    default=False,
                    ne=True,
                    err=f"cannot set 'strip_path' when 'protocols' is {_GRPC_TEXT}",
                ),
            ),
            _refused(_METHODS, "methods", _GRPC_TEXT),
            _refused(_ENDPOINTS, "sources", _GRPC_TEXT),
            _refused(_ENDPOINTS, "destinations", _GRPC_TEXT),
        ),
        (
            (
                {"contains": "grpcs"},
                ("hosts", "headers", "paths", "snis"),
                "must set one of %s when 'protocols' is 'grpcs'",
            ),
            (
                {"contains": "grpc"},
                ("hosts", "headers", "paths"),
                "must set one of %s when 'protocols' is 'grpc'",
            ),
        ),
    ),
)


def routes_schema(flavor: str, judge_expression: Callable[[Mapping[str, Any]], str | None] | None = None) -> Schema:
    """The schema of routes for a router flavour.

    `judge_expression` returns why a route's expression cannot be used, or None; without it expressions are taken as
    they are.
    """
    fields = _route_fields(flavor)
    checks = _route_checks(flavor, judge_expression)
    shapes: dict[str, Shape] = {}
    for protocols, changed, cases in _GROUPS:
        changes = dict(changed)
        if flavor == "expressions":
            changes.pop("sources", None)
            changes.pop("destinations", None)
            cases = tuple((match, (*names, "expression"), text) for match, names, text in cases)
        group_fields = tuple((name, changes.get(name, field)) for name, field in fields)
        shape = Shape(group_fields, checks=(*checks, ConditionalAtLeastOneOf("protocols", cases)))
        shapes.update(dict.fromkeys(protocols, shape))
    return Schema(
        name="routes",
        endpoint_key="name",
        fields=fields,
        checks=checks,
        variants=Variants("protocols", shapes, default="http"),
    )


ROUTES = routes_schema("traditional_compatible")
