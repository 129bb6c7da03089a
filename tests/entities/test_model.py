"""Rows as frozen values."""

import dataclasses

import pytest

from kongdp.entities import model
from kongdp.entities.declarative import load
from kongdp.plugins.configs import PLUGIN_SCHEMAS
from tests.support.configurations import rich_configuration

_TABLE = load(rich_configuration(), plugins=PLUGIN_SCHEMAS, now=100)
_TYPES = {
    "services": model.Service,
    "routes": model.Route,
    "upstreams": model.Upstream,
    "targets": model.Target,
    "certificates": model.Certificate,
    "snis": model.Sni,
    "ca_certificates": model.CACertificate,
    "consumers": model.Consumer,
    "plugins": model.Plugin,
    "keyauth_credentials": model.KeyAuthCredential,
    "basicauth_credentials": model.BasicAuthCredential,
    "jwt_secrets": model.JwtSecret,
    "acls": model.Acl,
}


@pytest.mark.parametrize("collection", _TYPES)
def test_from_row_when_of_each_collection(collection: str) -> None:
    """Fields have Kong's names and the row's values; foreign keys are ids, lists tuples."""
    for row in _TABLE[collection].values():
        value = _TYPES[collection].from_row(row)  # type: ignore[attr-defined]
        for field in dataclasses.fields(value):
            have = getattr(value, field.name)
            if field.name.endswith("_id") and field.name not in row:
                key = row[field.name.removesuffix("_id")]
                assert have == (key["id"] if key else None)
            elif isinstance(have, (str, int, bool)) and row.get(field.name) is not None:
                assert have == row[field.name]
        with pytest.raises(dataclasses.FrozenInstanceError):
            value.id = "x"


def test_route_when_it_has_everything() -> None:
    """Headers are pairs of a name and its values, absent lists are empty."""
    rows = {row["name"]: row for row in _TABLE["routes"].values()}
    route = model.Route.from_row(rows["orders-read"])
    assert route.headers == (("x-version", ("v1", "v2")),)
    assert (route.paths[0], route.snis, route.expression, route.priority) == ("/orders", (), None, 0)
    stream = model.Route.from_row(rows[None])
    assert stream.sources == (model.Endpoint("10.0.0.0/8", None),)
    assert stream.destinations == (model.Endpoint(None, 5),)


def test_service_when_values_are_null() -> None:
    """A null that has a default has it again."""
    row = next(iter(_TABLE["services"].values())) | {"retries": None, "read_timeout": None}
    service = model.Service.from_row(row)
    assert (service.retries, service.read_timeout) == (5, 60000)


def test_upstream_when_probed() -> None:
    """Health checks are values of their own."""
    upstream = model.Upstream.from_row(next(iter(_TABLE["upstreams"].values())))
    checks = upstream.healthchecks
    assert (checks.active.http_path, checks.active.healthy.interval, checks.active.unhealthy.interval) == (
        "/healthz",
        5,
        0,
    )
    assert checks.passive.unhealthy.http_statuses == (429, 500, 503)
    assert upstream.hash_on_header == "x-user"
