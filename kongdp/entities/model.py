"""Configured things as frozen values, for the rooms that route, balance and serve.

In: a row that a schema has accepted (see entities.table).  Out: a value with Kong's field names; foreign keys as
`service_id`, lists as tuples, an absent list as (). Nothing is validated here. A field that may be null although it has
a default (retries, timeouts) has the default again.
Warm: once for each row of a table, so `from_row` is a plain constructor call. This module imports no schema, because
workers do not need any.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kongdp.entities.table import Row

_TIMEOUT_MS = 60000


def _id(row: Row, name: str) -> str | None:
    key = row.get(name)
    return None if key is None else key["id"]


def _tuple(value: Any) -> tuple[Any, ...]:
    return () if value is None else tuple(value)


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _multimap(value: Mapping[str, Any] | None) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return () if value is None else tuple((name, tuple(items)) for name, items in value.items())


@dataclass(frozen=True, slots=True)
class Service:
    """Where requests go. Timeouts in milliseconds."""

    id: str
    name: str | None
    protocol: str
    host: str
    port: int
    path: str | None
    retries: int
    connect_timeout: int
    write_timeout: int
    read_timeout: int
    tls_verify: bool | None
    tls_verify_depth: int | None
    ca_certificates: tuple[str, ...]
    client_certificate_id: str | None
    enabled: bool
    tags: tuple[str, ...]

    @classmethod
    def from_row(cls, row: Row) -> "Service":
        """The value of a stored row."""
        return cls(
            row["id"],
            row["name"],
            row["protocol"],
            row["host"],
            row["port"],
            row["path"],
            _or(row["retries"], 5),
            _or(row["connect_timeout"], _TIMEOUT_MS),
            _or(row["write_timeout"], _TIMEOUT_MS),
            _or(row["read_timeout"], _TIMEOUT_MS),
            row["tls_verify"],
            row["tls_verify_depth"],
            _tuple(row["ca_certificates"]),
            _id(row, "client_certificate"),
            row["enabled"],
            _tuple(row["tags"]),
        )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One of a stream route's sources or destinations; `ip` may be a range."""

    ip: str | None
    port: int | None


@dataclass(frozen=True, slots=True)
class Route:
    """Which requests go to a service. `expression` and `priority` are set in the expressions flavour only."""

    id: str
    name: str | None
    service_id: str | None
    protocols: tuple[str, ...]
    methods: tuple[str, ...]
    hosts: tuple[str, ...]
    paths: tuple[str, ...]
    headers: tuple[tuple[str, tuple[str, ...]], ...]
    snis: tuple[str, ...]
    sources: tuple[Endpoint, ...]
    destinations: tuple[Endpoint, ...]
    regex_priority: int
    path_handling: str
    strip_path: bool
    preserve_host: bool
    request_buffering: bool
    response_buffering: bool
    https_redirect_status_code: int
    expression: str | None
    priority: int
    created_at: int
    tags: tuple[str, ...]

    @classmethod
    def from_row(cls, row: Row) -> "Route":
        """The value of a stored row."""
        return cls(
            row["id"],
            row["name"],
            _id(row, "service"),
            _tuple(row["protocols"]),
            _tuple(row["methods"]),
            _tuple(row["hosts"]),
            _tuple(row["paths"]),
            _multimap(row["headers"]),
            _tuple(row["snis"]),
            _endpoints(row["sources"]),
            _endpoints(row["destinations"]),
            _or(row["regex_priority"], 0),
            _or(row["path_handling"], "v0"),
            row["strip_path"],
            row["preserve_host"],
            row["request_buffering"],
            row["response_buffering"],
            row["https_redirect_status_code"],
            row.get("expression"),
            row.get("priority") or 0,
            _or(row["created_at"], 0),
            _tuple(row["tags"]),
        )


def _endpoints(value: list[dict[str, Any]] | None) -> tuple[Endpoint, ...]:
    return () if not value else tuple(Endpoint(item.get("ip"), item.get("port")) for item in value)


@dataclass(frozen=True, slots=True)
class Healthy:
    """When an address counts as healthy. `interval` in seconds, 0 = never probed; `successes` 0 = never counted."""

    interval: float
    http_statuses: tuple[int, ...]
    successes: int


@dataclass(frozen=True, slots=True)
class Unhealthy:
    """When an address counts as unhealthy. Limits of 0 are never reached."""

    interval: float
    http_statuses: tuple[int, ...]
    tcp_failures: int
    timeouts: int
    http_failures: int


@dataclass(frozen=True, slots=True)
class ActiveHealthcheck:
    """Probes. `timeout` in seconds."""

    type: str
    timeout: float
    concurrency: int
    http_path: str
    https_sni: str | None
    https_verify_certificate: bool
    headers: tuple[tuple[str, tuple[str, ...]], ...]
    healthy: Healthy
    unhealthy: Unhealthy


@dataclass(frozen=True, slots=True)
class PassiveHealthcheck:
    """Judging by traffic; the intervals are 0."""

    type: str
    healthy: Healthy
    unhealthy: Unhealthy


@dataclass(frozen=True, slots=True)
class Healthchecks:
    """How the targets of an upstream are judged. `threshold`: per cent of the weight that must be available."""

    active: ActiveHealthcheck
    passive: PassiveHealthcheck
    threshold: float


def _healthy(row: Row) -> Healthy:
    return Healthy(_or(row.get("interval"), 0), _tuple(row["http_statuses"]), _or(row["successes"], 0))


def _unhealthy(row: Row) -> Unhealthy:
    return Unhealthy(
        _or(row.get("interval"), 0),
        _tuple(row["http_statuses"]),
        _or(row["tcp_failures"], 0),
        _or(row["timeouts"], 0),
        _or(row["http_failures"], 0),
    )


def _healthchecks(row: Row) -> Healthchecks:
    active, passive = row["active"], row["passive"]
    return Healthchecks(
        ActiveHealthcheck(
            _or(active["type"], "http"),
            _or(active["timeout"], 1),
            _or(active["concurrency"], 10),
            _or(active["http_path"], "/"),
            active["https_sni"],
            active["https_verify_certificate"],
            _multimap(active["headers"]),
            _healthy(active["healthy"]),
            _unhealthy(active["unhealthy"]),
        ),
        PassiveHealthcheck(
            _or(passive["type"], "http"), _healthy(passive["healthy"]), _unhealthy(passive["unhealthy"])
        ),
        _or(row["threshold"], 0),
    )


@dataclass(frozen=True, slots=True)
class Upstream:
    """A name that stands for several targets."""

    id: str
    name: str
    algorithm: str
    hash_on: str
    hash_fallback: str
    hash_on_header: str | None
    hash_fallback_header: str | None
    hash_on_cookie: str | None
    hash_on_cookie_path: str
    hash_on_query_arg: str | None
    hash_fallback_query_arg: str | None
    hash_on_uri_capture: str | None
    hash_fallback_uri_capture: str | None
    slots: int
    host_header: str | None
    use_srv_name: bool
    client_certificate_id: str | None
    healthchecks: Healthchecks
    tags: tuple[str, ...]

    @classmethod
    def from_row(cls, row: Row) -> "Upstream":
        """The value of a stored row."""
        return cls(
            row["id"],
            row["name"],
            _or(row["algorithm"], "round-robin"),
            _or(row["hash_on"], "none"),
            _or(row["hash_fallback"], "none"),
            row["hash_on_header"],
            row["hash_fallback_header"],
            row["hash_on_cookie"],
            _or(row["hash_on_cookie_path"], "/"),
            row["hash_on_query_arg"],
            row["hash_fallback_query_arg"],
            row["hash_on_uri_capture"],
            row["hash_fallback_uri_capture"],
            _or(row["slots"], 10000),
            row["host_header"],
            bool(row["use_srv_name"]),
            _id(row, "client_certificate"),
            _healthchecks(row["healthchecks"]),
            _tuple(row["tags"]),
        )


@dataclass(frozen=True, slots=True)
class Target:
    """One `host:port` of an upstream; weight 0 gets no requests."""

    id: str
    upstream_id: str
    target: str
    weight: int
    tags: tuple[str, ...]

    @classmethod
    def from_row(cls, row: Row) -> "Target":
        """The value of a stored row."""
        return cls(row["id"], row["upstream"]["id"], row["target"], _or(row["weight"], 100), _tuple(row["tags"]))


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate chain and key (PEM), and a second pair of another key type."""

    id: str
    cert: str
    key: str
    cert_alt: str | None
    key_alt: str | None
    tags: tuple[str, ...]

    @classmethod
    def from_row(cls, row: Row) -> "Certificate":
        """The value of a stored row."""
        return cls(row["id"], row["cert"], row["key"], row["cert_alt"], row["key_alt"], _tuple(row["tags"]))


@dataclass(frozen=True, slots=True)
class Sni:
    """A server name, `*` first or last, and the certificate to show for it."""

    id: str
    name: str
    certificate_id: str
    tags: tuple[str, ...]

    @classmethod
    def from_row(cls, row: Row) -> "Sni":
        """The value of a stored row."""
        return cls(row["id"], row["name"], row["certificate"]["id"], _tuple(row["tags"]))


@dataclass(frozen=True, slots=True)
class CACertificate:
    """A certificate authority to trust; `cert_digest` is the SHA-256 of its DER form, hex."""

    id: str
    cert: str
    cert_digest: str | None
    tags: tuple[str, ...]

    @classmethod
    def from_row(cls, row: Row) -> "CACertificate":
        """The value of a stored row."""
        return cls(row["id"], row["cert"], row["cert_digest"], _tuple(row["tags"]))


@dataclass(frozen=True, slots=True)
class Consumer:
    """Who uses services, as far as credentials tell."""

    id: str
    username: str | None
    custom_id: str | None
    tags: tuple[str, ...]

    @classmethod
    def from_row(cls, row: Row) -> "Consumer":
        """The value of a stored row."""
        return cls(row["id"], row["username"], row["custom_id"], _tuple(row["tags"]))


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin and where it applies. `config` is the row's own dict: not to be modified."""

    id: str
    name: str
    instance_name: str | None
    route_id: str | None
    service_id: str | None
    consumer_id: str | None
    protocols: tuple[str, ...]
    enabled: bool
    config: Mapping[str, Any]
    tags: tuple[str, ...]

    @classmethod
    def from_row(cls, row: Row) -> "Plugin":
        """The value of a stored row."""
        return cls(
            row["id"],
            row["name"],
            row["instance_name"],
            _id(row, "route"),
            _id(row, "service"),
            _id(row, "consumer"),
            _tuple(row["protocols"]),
            row["enabled"],
            row["config"],
            _tuple(row["tags"]),
        )


@dataclass(frozen=True, slots=True)
class KeyAuthCredential:
    """A key of a consumer. `ttl`: seconds since the epoch at which it expires, or None (as the hybrid wire has it)."""

    id: str
    consumer_id: str | None
    key: str
    ttl: int | None

    @classmethod
    def from_row(cls, row: Row) -> "KeyAuthCredential":
        """The value of a stored row."""
        return cls(row["id"], _id(row, "consumer"), row["key"], row["ttl"])


@dataclass(frozen=True, slots=True)
class BasicAuthCredential:
    """A user name of a consumer; `password` is the hex SHA-1 of password and consumer id."""

    id: str
    consumer_id: str | None
    username: str
    password: str

    @classmethod
    def from_row(cls, row: Row) -> "BasicAuthCredential":
        """The value of a stored row."""
        return cls(row["id"], _id(row, "consumer"), row["username"], row["password"])


@dataclass(frozen=True, slots=True)
class JwtSecret:
    """A signing key of a consumer."""

    id: str
    consumer_id: str | None
    key: str
    secret: str | None
    rsa_public_key: str | None
    algorithm: str

    @classmethod
    def from_row(cls, row: Row) -> "JwtSecret":
        """The value of a stored row."""
        return cls(
            row["id"],
            _id(row, "consumer"),
            row["key"],
            row["secret"],
            row["rsa_public_key"],
            _or(row["algorithm"], "HS256"),
        )


@dataclass(frozen=True, slots=True)
class Acl:
    """A group that a consumer belongs to."""

    id: str
    consumer_id: str | None
    group: str

    @classmethod
    def from_row(cls, row: Row) -> "Acl":
        """The value of a stored row."""
        return cls(row["id"], _id(row, "consumer"), row["group"])
