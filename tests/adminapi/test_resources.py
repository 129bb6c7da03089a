"""What the Admin API does to entities, beyond the recorded conversation."""

import json
from typing import Any

import pytest

from kongdp.adminapi.api import AdminApi
from kongdp.adminapi.context import NodeInfo
from kongdp.adminapi.memory import MemoryStore
from kongdp.adminapi.messages import Request, Response
from kongdp.entities.schemas import build_schemas
from kongdp.plugins.configs import PLUGIN_SCHEMAS
from tests.support.configurations import pems

_NOBODY = "00000000-0000-4000-8000-000000000000"


class _Client:
    """Speaks JSON with an Admin API over a writable store; its clock stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.store = MemoryStore(writable=True)
        info = NodeInfo(node_id=_NOBODY, version="1.0", plugins=PLUGIN_SCHEMAS)
        schemas = build_schemas(plugins=PLUGIN_SCHEMAS)
        self.api = AdminApi(self.store, schemas, info, clock=lambda: self.now)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        path, _, query = path.partition("?")
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {
            "content-type": "application/json",
            **{name.replace("_", "-"): text for name, text in headers.items()},
        }
        return self.api.handle(Request(method, path, query, fields if content else {}, content))

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        response = self.send(method, path, body)
        return response.status, json.loads(response.body) if response.body else None

    def made(self, path: str, body: Any) -> Any:
        status, answer = self.ask("POST", path, body)
        assert status == 201, answer
        return answer


@pytest.fixture
def client() -> _Client:
    """An empty node."""
    return _Client()


def test_create_when_the_id_is_taken(client: _Client) -> None:
    """An id names one entity."""
    made = client.made("/services", {"host": "h"})
    status, answer = client.ask("POST", "/services", {"id": made["id"].upper(), "host": "h"})
    assert (status, answer["code"]) == (400, 3)
    assert answer["message"] == f"primary key violation on key '{{id=\"{made['id']}\"}}'"


def test_create_when_the_parent_is_named(client: _Client) -> None:
    """A reference by name is resolved, or said to lead nowhere."""
    service = client.made("/services", {"name": "s", "host": "h"})
    route = client.made("/routes", {"paths": ["/"], "service": {"name": "s"}})
    assert route["service"] == {"id": service["id"]}
    status, answer = client.ask("POST", "/routes", {"paths": ["/"], "service": {"name": "x"}})
    text = "the foreign key cannot be resolved with '{name=\"x\"}' for an existing 'services' entity"
    assert (status, answer) == (
        400,
        {
            "code": 13,
            "name": "foreign keys unresolved",
            "message": f"foreign key unresolved (service.name: {text})",
            "fields": {"service": {"name": text}},
        },
    )


def test_replace_when_addressed_by_name(client: _Client) -> None:
    """PUT makes an entity with the name in its address, or replaces it and keeps its id and time of creation."""
    status, made = client.ask("PUT", "/services/s", {"host": "h", "name": "other"})
    assert (status, made["name"]) == (200, "s")
    client.now = 2000.0
    status, again = client.ask("PUT", "/services/s", {"host": "i"})
    assert (status, again["id"], again["host"], again["created_at"], again["updated_at"]) == (
        200,
        made["id"],
        "i",
        1000,
        2000,
    )


def test_replace_when_the_name_is_anothers(client: _Client) -> None:
    """Uniqueness holds for PUT and PATCH too."""
    client.made("/services", {"name": "a", "host": "h"})
    other = client.made("/services", {"name": "b", "host": "h"})
    assert client.ask("PUT", f"/services/{other['id']}", {"name": "a", "host": "h"})[0] == 409
    assert client.ask("PATCH", f"/services/{other['id']}", {"name": "a"})[0] == 409
    assert client.ask("PATCH", f"/services/{other['id']}", {"name": "b"})[0] == 200


def test_update_when_a_url_is_given(client: _Client) -> None:
    """The shorthand works in an edit; what it does not say stays."""
    made = client.made("/services", {"host": "h", "path": "/p", "retries": 1})
    status, answer = client.ask("PATCH", f"/services/{made['id']}", {"url": "https://i"})
    assert (status, answer["host"], answer["port"], answer["path"], answer["retries"]) == (200, "i", 443, "/p", 1)


def test_update_when_the_id_is_in_the_body(client: _Client) -> None:
    """The address says which entity it is; its id cannot be changed."""
    made = client.made("/services", {"name": "a", "host": "h"})
    status, answer = client.ask("PATCH", "/services/a", {"id": _NOBODY})
    assert (status, answer["id"]) == (200, made["id"])


def test_update_when_addressed_by_an_unknown_name(client: _Client) -> None:
    """The answer shows the name."""
    assert client.ask("PATCH", "/services/x", {}) == (
        404,
        {
            "code": 6,
            "name": "not found",
            "message": "could not find the entity with '{name=\"x\"}'",
            "fields": {"name": "x"},
        },
    )


def test_update_when_records_are_nested(client: _Client) -> None:
    """Health checks are merged field by field, lists in them replaced."""
    made = client.made("/upstreams", {"name": "u", "healthchecks": {"active": {"timeout": 5}}})
    edit = {"healthchecks": {"active": {"healthy": {"http_statuses": [204]}}, "threshold": 50}}
    _, answer = client.ask("PATCH", f"/upstreams/{made['id']}", edit)
    checks = answer["healthchecks"]
    assert (checks["active"]["timeout"], checks["threshold"]) == (5, 50)
    assert checks["active"]["healthy"] == {"interval": 0, "http_statuses": [204], "successes": 0}


def test_update_when_a_plugin_has_an_old_field(client: _Client) -> None:
    """A deprecated field and its successor stay one."""
    made = client.made("/plugins", {"name": "rate-limiting", "config": {"minute": 5, "redis_port": 1}})
    assert (made["config"]["redis"]["port"], made["config"]["redis_port"]) == (1, 1)
    for edit in ({"redis_port": 2}, {"redis": {"port": 2}}):
        _, answer = client.ask("PATCH", f"/plugins/{made['id']}", {"config": edit})
        assert (answer["config"]["redis"]["port"], answer["config"]["redis_port"]) == (2, 2)
        assert answer["config"]["minute"] == 5


def test_delete_when_children_go_along(client: _Client) -> None:
    """Credentials and plugins go with their consumer, targets with their upstream."""
    client.made("/consumers", {"username": "c"})
    client.made("/consumers/c/key-auth", {"key": "k"})
    client.made("/consumers/c/plugins", {"name": "rate-limiting", "config": {"minute": 5}})
    client.made("/upstreams", {"name": "u"})
    client.made("/upstreams/u/targets", {"target": "t"})
    assert client.ask("DELETE", "/consumers/c") == (204, None)
    assert client.ask("DELETE", "/upstreams/u") == (204, None)
    assert not any(client.store.table[name] for name in ("keyauth_credentials", "plugins", "targets", "consumers"))


def test_delete_when_a_child_belongs_to_another(client: _Client) -> None:
    """Below a parent only its own children are found."""
    for name in ("a", "b"):
        client.made("/consumers", {"username": name})
    made = client.made("/consumers/a/key-auth", {"key": "k"})
    assert client.ask("DELETE", f"/consumers/b/key-auth/{made['id']}")[0] == 404
    assert client.ask("GET", "/consumers/b/key-auth/k")[0] == 404
    assert client.ask("DELETE", "/consumers/a/key-auth/k")[0] == 204


def test_acls_when_addressed_by_group(client: _Client) -> None:
    """Below its consumer a group is addressed by its name, and belongs to it once."""
    client.made("/consumers", {"username": "c"})
    client.made("/consumers/c/acls", {"group": "g"})
    assert client.ask("GET", "/consumers/c/acls/g")[0] == 200
    assert client.ask("GET", "/acls/g")[0] == 404
    status, answer = client.ask("POST", "/consumers/c/acls", {"group": "g"})
    assert (status, answer["fields"]["group"]) == (409, "g")
    assert client.ask("PUT", "/consumers/c/acls/h", {})[1]["group"] == "h"


def test_targets_when_addressed_without_port(client: _Client) -> None:
    """A target is found by what it was made with; it has no address of its own outside its upstream."""
    client.made("/upstreams", {"name": "u"})
    made = client.made("/upstreams/u/targets", {"target": "h"})
    assert client.ask("GET", "/upstreams/u/targets/h")[1]["id"] == made["id"]
    assert client.ask("PUT", "/upstreams/u/targets/h:8000", {"weight": 1})[1]["id"] == made["id"]
    assert client.ask("GET", f"/targets/{made['id']}")[0] == 404
    assert client.ask("GET", "/targets")[0] == 404


def test_parent_when_it_is_reached_through_a_child(client: _Client) -> None:
    """A route's service is shown, edited, made and not deleted at the route's address."""
    client.made("/routes", {"name": "r", "paths": ["/"]})
    assert client.ask("GET", "/routes/r/service")[0] == 404
    assert client.ask("PATCH", "/routes/r/service", {"port": 1})[0] == 404
    assert client.ask("DELETE", "/routes/r/service")[0] == 404
    status, made = client.ask("PUT", "/routes/r/service", {"host": "h"})
    assert (status, client.ask("GET", "/routes/r")[1]["service"]) == (200, {"id": made["id"]})
    assert client.ask("PATCH", "/routes/r/service", {"port": 1})[1]["port"] == 1
    assert client.ask("PUT", "/routes/r/service", {"host": "i"})[1]["id"] == made["id"]
    assert client.ask("DELETE", "/routes/r/service")[0] == 405


def test_certificates_when_they_carry_names(client: _Client) -> None:
    """Names are made with a certificate, shown with it, find it, and are replaced by an edit."""
    pair = {"cert": pems()["cert"], "key": pems()["key"]}
    made = client.made("/certificates", {**pair, "snis": ["b.test", "a.test"]})
    assert made["snis"] == ["a.test", "b.test"]
    assert client.ask("GET", "/certificates/a.test")[1]["id"] == made["id"]
    status, answer = client.ask("POST", "/certificates", {**pair, "snis": ["a.test"]})
    text = f"a.test already associated with existing certificate '{made['id']}'"
    assert (status, answer["fields"]) == (400, {"snis": text})
    status, answer = client.ask("POST", "/certificates", {**pair, "snis": ["c.test", "c.test"]})
    assert answer["fields"] == {"snis": "c.test is duplicated"}
    assert client.ask("PATCH", f"/certificates/{made['id']}", {"snis": ["c.test"]})[1]["snis"] == ["c.test"]
    assert client.ask("PATCH", f"/certificates/{made['id']}", {"tags": ["x"]})[1]["snis"] == ["c.test"]
    assert [row["name"] for row in client.ask("GET", "/snis")[1]["data"]] == ["c.test"]
    assert client.ask("DELETE", f"/certificates/{made['id']}")[1]["fields"] == {"@referenced_by": "snis"}
    assert client.ask("PUT", "/certificates/d.test", pair)[1]["snis"] == ["d.test"]


def test_ca_certificates_when_a_service_trusts_them(client: _Client) -> None:
    """A service's authorities must exist, and an authority in use stays."""
    status, answer = client.ask("POST", "/services", {"url": "https://h", "ca_certificates": [_NOBODY]})
    assert (status, answer["code"]) == (400, 4)
    made = client.made("/ca_certificates", {"cert": pems()["authority"]})
    service = client.made("/services", {"url": "https://h", "ca_certificates": [made["id"]]})
    status, answer = client.ask("DELETE", f"/ca_certificates/{made['id']}")
    assert (status, answer["code"]) == (400, 19)
    assert answer["message"] == f"ca certificate {made['id']} is still referenced by services (id = {service['id']})"
    assert client.ask("POST", "/ca_certificates", {"cert": pems()["authority"]})[0] == 409


def test_credentials_when_they_expire(client: _Client) -> None:
    """A time to live counts down and the credential is gone at its end."""
    client.made("/consumers", {"username": "c"})
    made = client.made("/consumers/c/key-auth", {"key": "k", "ttl": 60})
    assert made["ttl"] == 60
    client.now += 20
    assert client.ask("GET", "/key-auths/k")[1]["ttl"] == 40
    client.now += 40
    assert client.ask("GET", "/key-auths/k")[0] == 404
    assert client.ask("GET", "/key-auths")[1]["data"] == []
    status, answer = client.ask("POST", "/consumers/c/key-auth", {"ttl": "x"})
    assert (status, answer["options"]) == (400, {"ttl": "must be an integer between 0 and 100000000"})


@pytest.mark.parametrize(
    ("scope", "text"),
    [
        ("route", "must match the associated route's protocols"),
        ("service", "must match the protocols of at least one route pointing to this Plugin's service"),
    ],
)
def test_plugins_when_protocols_do_not_meet(client: _Client, scope: str, text: str) -> None:
    """A plugin shares a protocol with what it is put on."""
    service = client.made("/services", {"host": "h"})
    route = client.made(
        "/routes", {"protocols": ["tcp"], "destinations": [{"port": 1}], "service": {"id": service["id"]}}
    )
    ids = {"route": route["id"], "service": service["id"]}
    status, answer = client.ask("POST", "/plugins", {"name": "cors", scope: {"id": ids[scope]}})
    assert (status, answer["fields"]) == (400, {"protocols": text})


def test_plugins_when_two_have_one_scope(client: _Client) -> None:
    """One plugin of a name for one scope; another scope is another plugin."""
    client.made("/plugins", {"name": "cors"})
    service = client.made("/services", {"host": "h"})
    client.made("/plugins", {"name": "cors", "service": {"id": service["id"]}})
    status, answer = client.ask("POST", "/plugins", {"name": "cors", "instance_name": "second"})
    assert status == 409
    assert answer["message"] == "UNIQUE violation detected on '{consumer=null,name=\"cors\",route=null,service=null}'"


def test_write_when_something_is_wrong(client: _Client) -> None:
    """A refused request changes nothing, not even half of what it asked."""
    pair = {"cert": pems()["cert"], "key": pems()["key"]}
    client.made("/certificates", {**pair, "snis": ["a.test"]})
    before = {name: dict(rows) for name, rows in client.store.table.items()}
    assert client.ask("POST", "/certificates", {**pair, "snis": ["b.test", "a.test"]})[0] == 400
    assert client.store.table == before


def test_update_when_it_names_another_id(client: _Client) -> None:
    """An id that is none is refused; another one is passed over: an entity keeps its own."""
    made = client.made("/services", {"name": "a", "host": "h"})
    status, answer = client.ask("PATCH", "/services/a", {"id": "x"})
    assert (status, answer["fields"]) == (400, {"id": "expected a valid UUID"})
    status, answer = client.ask("PATCH", "/services/a", {"id": _NOBODY, "host": "new"})
    assert (status, answer["id"], answer["host"]) == (200, made["id"], "new")


def test_health_of_a_target_when_no_requests_are_sent_here(client: _Client) -> None:
    """There is no balancer to tell; a target that is not there is told apart."""
    client.made("/upstreams", {"name": "up"})
    client.made("/upstreams/up/targets", {"target": "10.0.0.1:80"})
    for path in (
        "/upstreams/up/targets/10.0.0.1:80/healthy",
        "/upstreams/up/targets/10.0.0.1:80/10.0.0.1:80/unhealthy",
    ):
        assert client.ask("PUT", path) == (400, {"message": "Upstream up has no balancer"})
    assert client.ask("PUT", "/upstreams/up/targets/10.0.0.2:80/healthy")[0] == 404
    assert client.ask("GET", "/upstreams/up/targets/10.0.0.1:80/healthy")[0] == 405
