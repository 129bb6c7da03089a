"""The kinds of Gateway entities that a runtime group's screens show: one row of a table each.

In: rows of the API.  Out: columns, cells and names for people. House rule: a screen for another kind is another row of
KINDS. Secrets of credentials are never in a cell, private
keys nowhere. Pure.
Source: walkthrough, section 7; Kong's entities.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509

from kongdp.controlplane.console.asking import at
from kongdp.controlplane.console.parts.facts import moment
from kongdp.controlplane.console.parts.table import Column, Row, pill_cells

Entity = Mapping[str, Any]
LISTED_MAX = 4


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. `path` is the Admin API's collection, `schema` its schema's name; `children` are kinds below one.

    `is_editable`: its rows can be sent back as they were read (hashed secrets cannot). `parent`: the field that names
    what a child is below. `has_page`: it has a page of its own. `secret`: a field that is shown once, when it was made.
    `write_only`: fields that are never shown once they are stored, by each the text that it goes with.
    """

    path: str
    schema: str
    title: str
    one: str
    columns: Sequence[Column]
    cells: Callable[[Entity], Row]
    about: str = ""
    children: Sequence[str] = ()
    parent: str = ""
    is_editable: bool = True
    has_page: bool = True
    secret: str = ""
    write_only: Mapping[str, str] = field(default_factory=dict)


def name_of(row: Entity) -> str:
    """What people call an entity."""
    for name in ("instance_name", "name", "username", "custom_id", "target", "prefix", "group"):
        if row.get(name):
            return str(row[name])
    return str(row["id"])


def readable(kind: Kind, row: Entity) -> Entity:
    """A row as anybody may see it."""
    return {name: value for name, value in row.items() if not (name in kind.write_only and is_secret(value))}


def is_secret(value: Any) -> bool:
    """Whether what is stored is a secret itself: a reference to a vault is none."""
    return bool(value) and not str(value).startswith("{vault://")


def address_of(group_id: str, path: str, row: Entity) -> str:
    """The page of an entity."""
    return at("/runtimes/{}/{}/{}", group_id, path, str(row["id"]))


def endpoint(service: Entity) -> str:
    """A Gateway service as a URL."""
    usual = {"http": 80, "https": 443}.get(service.get("protocol", ""))
    port = "" if service.get("port") == usual else f":{service.get('port')}"
    host = service.get("host") or ""
    # An IPv6 address is stored without its brackets.
    place = f"[{host}]" if ":" in host else host
    return f"{service.get('protocol')}://{place}{port}{service.get('path') or ''}"


def listing(values: Sequence[Any] | None, usual: str = "any") -> str:
    """Values in one cell."""
    if not values:
        return usual
    shown = ", ".join(str(each) for each in values[:LISTED_MAX])
    return shown if len(values) <= LISTED_MAX else f"{shown} and {len(values) - LISTED_MAX} more"


def scope_of(plugin: Entity) -> str:
    """Where a plugin applies."""
    scopes = [name for name in ("service", "route", "consumer") if plugin.get(name)]
    return " + ".join(scopes) if scopes else "everywhere"


def hidden(secret: str | None) -> str:
    """A secret by its end, so that one can be told from another."""
    return f"…{secret[-4:]}" if secret and len(secret) > 8 else "…"


def _switch(row: Entity) -> Row:
    is_on = row.get("enabled", True)
    return pill_cells("enabled", "Enabled" if is_on else "Disabled", "good" if is_on else "idle")


def _tags(row: Entity) -> str:
    return listing(row.get("tags"), "")


def _certificate(row: Entity) -> Row:
    try:
        found = x509.load_pem_x509_certificate(row["cert"].encode())
    except (ValueError, KeyError, AttributeError):
        # A reference to a vault, for one: only a data plane can read it.
        return {"subject": "", "ends": ""}
    return {"subject": found.subject.rfc4514_string(), "ends": moment(found.not_valid_after_utc.timestamp())}


def _service(row: Entity) -> Row:
    return {"url": endpoint(row), "retries": row.get("retries"), "tags": _tags(row), **_switch(row)}


def _route(row: Entity) -> Row:
    matched = row.get("expression") or listing(row.get("paths"))
    hosts, methods = listing(row.get("hosts")), listing(row.get("methods"))
    return {"methods": methods, "hosts": hosts, "paths": matched, "tags": _tags(row)}


def _plugin(row: Entity) -> Row:
    return {"plugin": row.get("name"), "scope": scope_of(row), "tags": _tags(row), **_switch(row)}


def _upstream(row: Entity) -> Row:
    return {"algorithm": row.get("algorithm"), "slots": row.get("slots"), "tags": _tags(row)}


_NAME = Column("name", "Name", "link")
_TAGS = Column("tags", "Tags")
_ON = Column("enabled", "State", "pill")
_ALL = (
    Kind(
        path="services",
        schema="services",
        title="Gateway Services",
        one="Gateway service",
        about="A Gateway service is an upstream: where requests go, and how long they may take.",
        columns=(_NAME, Column("url", "Upstream URL"), Column("retries", "Retries", align="right"), _TAGS, _ON),
        cells=_service,
        children=("routes", "plugins"),
    ),
    Kind(
        path="routes",
        schema="routes",
        title="Routes",
        one="route",
        about="A route says which requests go to a Gateway service.",
        columns=(_NAME, Column("methods", "Methods"), Column("hosts", "Hosts"), Column("paths", "Paths"), _TAGS),
        cells=_route,
        children=("plugins",),
        parent="service",
    ),
    Kind(
        path="consumers",
        schema="consumers",
        title="Consumers",
        one="consumer",
        about="A consumer is who sends requests: an application or a person, known by credentials.",
        columns=(_NAME, Column("custom_id", "Custom ID"), _TAGS),
        cells=lambda row: {"custom_id": row.get("custom_id"), "tags": _tags(row)},
        children=("key-auth", "basic-auth", "jwt", "acls", "plugins"),
    ),
    Kind(
        path="plugins",
        schema="plugins",
        title="Plugins",
        one="plugin",
        about="A plugin does something with requests or answers: everywhere, or where it is attached.",
        columns=(_NAME, Column("plugin", "Plugin"), Column("scope", "Applies to"), _TAGS, _ON),
        cells=_plugin,
        parent="",
    ),
    Kind(
        path="upstreams",
        schema="upstreams",
        title="Upstreams",
        one="upstream",
        about="An upstream is a name behind which several targets share the load.",
        columns=(_NAME, Column("algorithm", "Algorithm"), Column("slots", "Slots", align="right"), _TAGS),
        cells=_upstream,
        children=("targets",),
    ),
    Kind(
        path="certificates",
        schema="certificates",
        title="Certificates",
        one="certificate",
        about="Pairs that clients are served over TLS, by the server names they ask for.",
        columns=(_NAME, Column("subject", "Subject"), Column("names", "SNIs"), Column("ends", "Valid until"), _TAGS),
        cells=lambda row: {"names": listing(row.get("snis"), ""), "tags": _tags(row), **_certificate(row)},
        children=("snis",),
        write_only={"key": "cert", "key_alt": "cert_alt"},
    ),
    Kind(
        path="snis",
        schema="snis",
        title="SNIs",
        one="SNI",
        about="A server name, and the certificate that is served for it.",
        columns=(_NAME, Column("certificate", "Certificate", "code"), _TAGS),
        cells=lambda row: {"certificate": (row.get("certificate") or {}).get("id", ""), "tags": _tags(row)},
        parent="certificate",
    ),
    Kind(
        path="targets",
        schema="targets",
        title="Targets",
        one="target",
        columns=(Column("name", "Target"), Column("weight", "Weight", align="right"), _TAGS),
        cells=lambda row: {"weight": row.get("weight"), "tags": _tags(row)},
        parent="upstream",
        has_page=False,
    ),
    Kind(
        path="key-auth",
        schema="keyauth_credentials",
        title="Keys",
        one="key",
        columns=(Column("name", "ID", "code"), Column("key", "Key ends in", "code"), Column("ttl", "Ends"), _TAGS),
        cells=lambda row: {"key": hidden(row.get("key")), "ttl": row.get("ttl"), "tags": _tags(row)},
        parent="consumer",
        is_editable=False,
        has_page=False,
        secret="key",
    ),
    Kind(
        path="basic-auth",
        schema="basicauth_credentials",
        title="Names and passwords",
        one="name and password",
        columns=(Column("name", "User name"), _TAGS),
        cells=lambda row: {"tags": _tags(row)},
        parent="consumer",
        is_editable=False,
        has_page=False,
    ),
    Kind(
        path="jwt",
        schema="jwt_secrets",
        title="JWT credentials",
        one="JWT credential",
        columns=(
            Column("name", "ID", "code"),
            Column("key", "Key (iss)", "code"),
            Column("algorithm", "Algorithm"),
            _TAGS,
        ),
        cells=lambda row: {"key": row.get("key"), "algorithm": row.get("algorithm"), "tags": _tags(row)},
        parent="consumer",
        is_editable=False,
        has_page=False,
        secret="secret",
    ),
    Kind(
        path="acls",
        schema="acls",
        title="Groups",
        one="group",
        columns=(Column("name", "Group"), _TAGS),
        cells=lambda row: {"tags": _tags(row)},
        parent="consumer",
        has_page=False,
    ),
)
KINDS: Mapping[str, Kind] = {kind.path: kind for kind in _ALL}
