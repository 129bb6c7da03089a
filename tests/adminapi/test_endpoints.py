"""Paths that are no collection, methods, and what all answers have."""

import asyncio
import json
from collections.abc import Awaitable, Mapping
from typing import Any

import pytest
import yaml

from kongdp.adminapi import errors
from kongdp.adminapi.api import AdminApi
from kongdp.adminapi.config_endpoint import config_hash, load_in_progress, load_timed_out, node_exiting
from kongdp.adminapi.context import Context, NodeInfo
from kongdp.adminapi.memory import MemoryStore
from kongdp.adminapi.messages import Request, Response, json_response
from kongdp.entities.declarative import load
from kongdp.entities.schemas import build_schemas
from kongdp.entities.table import Row, Table
from kongdp.plugins.configs import PLUGIN_SCHEMAS
from tests.support.configurations import rich_configuration

_NOW = 1_800_000_000.0
_SCHEMAS = build_schemas(plugins=PLUGIN_SCHEMAS)
_INFO = NodeInfo(
    node_id="n", version="3.9.1", hostname="host", plugins=PLUGIN_SCHEMAS, configuration={"database": "off"}
)


class _Node:
    """A node without a database: POST /config replaces its table."""

    def __init__(self) -> None:
        self.table = load(rich_configuration(), plugins=PLUGIN_SCHEMAS, now=_NOW)
        self.store = MemoryStore(self.table)
        self.hash = ""
        self.refusal: errors.ApiError | None = None
        info = NodeInfo(
            node_id="n",
            version="3.9.1",
            plugins=PLUGIN_SCHEMAS,
            apply_config=self.apply,
            config_hash=lambda: self.hash,
        )
        self.api = AdminApi(self.store, _SCHEMAS, info)

    def apply(self, config: Mapping[str, Any], hash: str) -> Table:
        if self.refusal is not None:
            raise self.refusal
        table = load(config, plugins=PLUGIN_SCHEMAS, now=1)
        self.store.replace(table)
        self.hash = hash
        return table

    def post(self, body: bytes, media_type: str = "application/json", query: str = "") -> tuple[int, Any]:
        response = self.api.handle(Request("POST", "/config", query, {"content-type": media_type}, body))
        return response.status, json.loads(response.body) if response.body else None


def _get(path: str, api: AdminApi | None = None) -> tuple[int, Any]:
    path, _, query = path.partition("?")
    response = (api or _Node().api).handle(Request("GET", path, query))
    return response.status, json.loads(response.body)


def test_root_when_asked() -> None:
    """The node, its plugins and those in use."""
    table = load(rich_configuration(), plugins=PLUGIN_SCHEMAS, now=1)
    status, answer = _get("/", AdminApi(MemoryStore(table), _SCHEMAS, _INFO))
    assert status == 200
    assert (answer["version"], answer["node_id"], answer["hostname"]) == ("3.9.1", "n", "host")
    assert answer["plugins"]["enabled_in_cluster"] == ["acl", "key-auth", "prometheus", "rate-limiting"]
    assert set(answer["plugins"]["available_on_server"]) == set(PLUGIN_SCHEMAS)
    assert answer["configuration"] == {"database": "off"}


def test_endpoints_when_listed() -> None:
    """Every path is there, collections below their parents too."""
    listed = _get("/endpoints")[1]["data"]
    wanted = {"/", "/config", "/services/{services}/routes/{routes}", "/consumers/{consumers}/key-auth", "/tags/{tag}"}
    assert wanted <= set(listed)
    assert "/targets" not in listed
    assert "/workspaces" not in listed


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/schemas/nope", "No entity named 'nope'"),
        ("/schemas/plugins/nope", "No plugin named 'nope'"),
        ("/schemas/vaults/nope", "No vault named 'nope'"),
        ("/workspaces", "Not found"),
        ("/services/a/b/c/d", "Not found"),
        ("/services//routes", "Not found"),
        ("/upstreams/nope/health", "Not found"),
    ],
)
def test_get_when_nothing_is_there(path: str, message: str) -> None:
    """404 with the words for what is missing."""
    assert _get(path) == (404, {"message": message})


class _Level:
    """A level that may be changed."""

    def __init__(self) -> None:
        self.now = "notice"
        self.changes: list[tuple[str, float]] = []

    def change(self, level: str, timeout_s: float) -> None:
        self.changes.append((level, timeout_s))
        self.now = level

    def change_everywhere(self, level: str, timeout_s: float) -> None:
        self.change(f"{level} everywhere", timeout_s)


def test_log_level_when_it_may_be_changed() -> None:
    """For as long as is asked, for a minute else; each refusal in Kong's words."""
    level = _Level()
    info = NodeInfo(node_id="n", version="3.9.1", log_level=level)
    api = AdminApi(MemoryStore(writable=True), _SCHEMAS, info)

    def put(tail: str) -> tuple[int, str]:
        path, _, query = f"/debug/node/log-level/{tail}".partition("?")
        response = api.handle(Request("PUT", path, query))
        return response.status, json.loads(response.body)["message"]

    assert put("loud") == (400, "unknown log level: loud")
    assert put("debug?timeout=-1") == (400, "timeout must be greater than or equal to 0")
    assert put("notice") == (200, "log level is already notice")
    assert put("debug") == put("info?timeout=5") == (200, "log level changed")
    assert level.changes == [("debug", 60), ("info", 5)]
    assert _get("/debug/node/log-level", api) == (200, {"message": "log level: info"})


@pytest.mark.parametrize(
    ("role", "cluster", "other"),
    [
        ("control_plane", "/debug/cluster/control-planes-nodes/log-level", "/debug/cluster/log-level"),
        ("traditional", "/debug/cluster/log-level", "/debug/cluster/control-planes-nodes/log-level"),
    ],
)
def test_log_level_of_all_nodes(role: str, cluster: str, other: str) -> None:
    """A control plane's path means control planes; the other one is not there: no data plane's level is changed from here."""
    level = _Level()
    info = NodeInfo(node_id="n", version="3.9.1", log_level=level, configuration={"role": role})
    api = AdminApi(MemoryStore(writable=True), _SCHEMAS, info)
    assert api.handle(Request("PUT", f"{cluster}/loud")).status == 400
    response = api.handle(Request("PUT", f"{cluster}/debug", "timeout=7"))
    assert (response.status, json.loads(response.body)) == (200, {"message": "log level changed"})
    assert level.changes == [("debug everywhere", 7)]
    assert api.handle(Request("PUT", f"{other}/info")).status == 404
    without = AdminApi(MemoryStore(), _SCHEMAS, NodeInfo(node_id="n", version="3.9.1", configuration={"role": role}))
    assert without.handle(Request("PUT", f"{cluster}/debug")).status == 405


def test_log_level_when_there_is_no_database() -> None:
    """It is told and not changed."""
    api = AdminApi(MemoryStore(), _SCHEMAS, _INFO)
    assert _get("/debug/node/log-level", api) == (200, {"message": "log level: notice"})
    response = api.handle(Request("PUT", "/debug/node/log-level/debug"))
    assert (response.status, json.loads(response.body)) == (
        405,
        {"message": "cannot change log level when not using a database"},
    )


def test_cache_and_timers_when_asked() -> None:
    """There is nothing in either, and it can be thrown away."""
    api = _Node().api
    assert _get("/cache/services:a", api) == (404, {"message": "Not found"})
    assert [api.handle(Request("DELETE", path)).status for path in ("/cache", "/cache/services:a")] == [204, 204]
    assert _get("/timers", api)[1]["stats"]["sys"]["running"] == 0


@pytest.mark.parametrize(("body", "status"), [(b"[1]", 500), (b"[2]", 400), (b"[null]", 400), (b"[]", 201)])
def test_list_when_it_is_sent_for_an_entity(body: bytes, status: int) -> None:
    """The one that Kong was seen to stumble over, and all others."""
    api = AdminApi(MemoryStore(writable=True), _SCHEMAS, _INFO)
    path = "/key-sets"
    assert api.handle(Request("POST", path, "", {"content-type": "application/json"}, body)).status == status


def test_schemas_when_of_plugins_and_vaults() -> None:
    """A plugin's own fields; deprecated names and where they went; a vault's settings."""
    answer = _get("/schemas/plugins/rate-limiting")[1]
    config = answer["fields"][-1]["config"]
    names = {next(iter(entry)): next(iter(entry.values())) for entry in config["shorthand_fields"]}
    assert names["redis_host"]["translate_backwards"] == ["redis", "host"]
    assert _get("/schemas/vaults/env")[1]["fields"][0]["config"]["type"] == "record"
    assert "ttl" not in str(_get("/schemas/keyauth_credentials"))


def test_validate_when_a_plugin() -> None:
    """A plugin is judged with its configuration."""
    api = _Node().api
    headers = {"content-type": "application/json"}
    good = Request("POST", "/schemas/plugins/validate", "", headers, b'{"name":"cors"}')
    bad = Request("POST", "/schemas/plugins/validate", "", headers, b'{"name":"cors","config":{"x":1}}')
    assert api.handle(good).status == 200
    assert json.loads(api.handle(bad).body)["fields"] == {"config": {"x": "unknown field"}}


def test_consumers_when_asked_by_custom_id() -> None:
    """The list is that consumer, or nobody."""
    assert [row["username"] for row in _get("/consumers?custom_id=42")[1]["data"]] == ["bob"]
    assert _get("/consumers?custom_id=x")[1] == {"data": [], "next": None}


def test_upstream_health_when_the_node_knows() -> None:
    """Each target with what the node has seen, or what can be said without."""

    def seen(upstream: Row, targets: Any) -> dict[str, Any]:
        return {row["id"]: ("HEALTHY", {"host": "x"}) for row in targets if row["target"].startswith("h.")}

    table = load(rich_configuration(), plugins=PLUGIN_SCHEMAS, now=1)
    info = NodeInfo(node_id="n", version="1", target_health=seen)
    status, answer = _get("/upstreams/up.internal/health", AdminApi(MemoryStore(table), _SCHEMAS, info))
    found = {row["target"]: (row["health"], row["data"]["host"]) for row in answer["data"]}
    assert found == {"10.0.0.1:8000": ("HEALTHCHECKS_OFF", "10.0.0.1"), "h.test:81": ("HEALTHY", "x")}
    assert (status, answer["node_id"]) == (200, "n")
    assert _get("/upstreams/up.internal/health?balancer_health=1")[1]["data"]["balancer_health"] == "HEALTHY"


def test_writes_when_there_is_no_database() -> None:
    """Every entity can be read, none written: 405 with the verb, and the name it was asked by."""
    api = _Node().api
    for method, path, message in (
        ("POST", "/services", "cannot create 'services' entities when not using a database"),
        ("PUT", "/services/plain", "cannot create or update 'services' entities by 'name' when not using a database"),
        ("PATCH", "/services/plain", "cannot update 'services' entities by 'name' when not using a database"),
        (
            "DELETE",
            f"/services/{'1' * 8}-1111-4111-8111-{'1' * 12}",
            "cannot remove 'services' entities when not using a database",
        ),
        ("POST", "/services/plain/routes", "cannot create 'routes' entities when not using a database"),
        ("PUT", "/routes/flat/service", "cannot create or update 'services' entities when not using a database"),
    ):
        response = api.handle(Request(method, path, "", {"content-type": "application/json"}, b"{}"))
        wanted = {"code": 12, "name": "operation unsupported", "message": message}
        assert (response.status, json.loads(response.body)) == (405, wanted)
    assert _get("/services/plain", api)[0] == 200


def test_options_when_a_browser_asks() -> None:
    """A preflight is told the methods; every answer may be read from anywhere."""
    response = _Node().api.handle(Request("OPTIONS", "/services"))
    assert response.status == 204
    assert response.headers["Access-Control-Allow-Methods"] == "GET,HEAD,OPTIONS,POST"
    assert response.headers["Access-Control-Allow-Headers"] == "Content-Type"
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert _Node().api.handle(Request("OPTIONS", "/")).headers["Allow"] == "GET, HEAD, OPTIONS"


def test_head_when_asked() -> None:
    """As GET without the body; a slash at the end does not matter; other methods are named."""
    api = _Node().api
    response = api.handle(Request("HEAD", "/services/"))
    assert (response.status, response.body) == (200, b"")
    assert "X-Kong-Admin-Latency" in response.headers
    refused = api.handle(Request("POST", "/endpoints"))
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")


def test_endpoints_when_the_node_adds_its_own() -> None:
    """Callers add paths, with names in braces, and win over the standard ones."""

    def hello(context: Context, request: Request, names: Mapping[str, str]) -> Response:
        return json_response(200, {"hello": names["name"]})

    api = AdminApi(MemoryStore(), _SCHEMAS, _INFO, endpoints={"/hello/{name}": {"GET": hello}})
    assert _get("/hello/w%20x", api) == (200, {"hello": "w x"})
    assert "/hello/{name}" in _get("/endpoints", api)[1]["data"]


_IN_A_FORM = (
    b"config=%7B%22_format_version%22:%223.0%22,%22services%22:[%7B%22name%22:%22x%22,%22host%22:%22h%22%7D]%7D"
)
_IN_A_FILE = (
    b'--x\r\nContent-Disposition: form-data; name="config"; filename="kong.yml"\r\n\r\n'
    b'_format_version: "3.0"\nservices: [{name: x, host: h}]\n\r\n--x--\r\n'
)


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b'{"_format_version":"3.0","services":[{"name":"x","host":"h"}]}', "application/json"),
        (b'{"config":"_format_version: \\"3.0\\"\\nservices: [{name: x, host: h}]"}', "application/json"),
        (b'_format_version: "3.0"\nservices:\n- name: x\n  host: h\n', "application/yaml"),
        (b'_format_version: "3.0"\nservices:\n- name: x\n  host: h\n', "text/yaml; charset=utf-8"),
        (_IN_A_FORM, "application/x-www-form-urlencoded"),
        (_IN_A_FILE, "multipart/form-data; boundary=x"),
    ],
)  # fmt: skip
def test_config_when_posted(body: bytes, media_type: str) -> None:
    """JSON, text in JSON, YAML and forms load; the answer is what is in force, by id; the same again changes nothing."""
    node = _Node()
    status, answer = node.post(body, media_type)
    assert status == 201
    assert [row["name"] for row in answer["services"].values()] == ["x"]
    assert [row["name"] for row in _get("/services", node.api)[1]["data"]] == ["x"]
    assert node.post(body, media_type, "check_hash=1") == (304, None)
    assert node.post(body, media_type)[0] == 201


def test_config_when_it_is_refused() -> None:
    """Every problem, nested, or flat on demand; what was in force stays."""
    node = _Node()
    body = b'{"_format_version":"3.0","services":[{"name":"x"}],"routes":5}'
    status, answer = node.post(body)
    assert status == 400
    assert answer == {
        "code": 14,
        "name": "invalid declarative configuration",
        "message": "declarative config is invalid: "
        '{routes="expected an array",services={{host="required field missing"}}}',
        "fields": {"routes": "expected an array", "services": [{"host": "required field missing"}]},
    }
    status, answer = node.post(body, query="flatten_errors=1")
    assert answer["fields"] == {"routes": "expected an array"}
    assert answer["flattened_errors"][0]["errors"] == [
        {"type": "field", "field": "host", "message": "required field missing"}
    ]
    assert len(_get("/services", node.api)[1]["data"]) == 2


@pytest.mark.parametrize(
    ("body", "media_type", "message"),
    [
        (b"", "application/json", "expected a declarative configuration"),
        (b"{}", "application/json", "expected a declarative configuration"),
        (b" ", "application/yaml", "expected a declarative configuration"),
        (b"a=b", "application/x-www-form-urlencoded", "expected a declarative configuration"),
        (b"{", "application/json", "Cannot parse JSON body"),
        (b"a: [", "application/yaml", 'declarative config is invalid: {error="failed parsing'),
    ],
)
def test_config_when_there_is_none(body: bytes, media_type: str, message: str) -> None:
    """400 with the reason."""
    status, answer = _Node().post(body, media_type)
    assert status == 400
    assert answer["message"].startswith(message)


@pytest.mark.parametrize(
    ("refusal", "status"), [(load_in_progress(3), 429), (load_timed_out(), 504), (node_exiting(), 503)]
)
def test_config_when_the_node_cannot(refusal: errors.ApiError, status: int) -> None:
    """The node's own reasons reach the client."""
    node = _Node()
    node.refusal = refusal
    assert node.post(b'{"_format_version":"3.0"}')[0] == status


def test_config_when_read_back() -> None:
    """GET gives YAML that loads to the same table."""
    node = _Node()
    text = _get("/config", node.api)[1]["config"]
    again = load(yaml.safe_load(text), plugins=PLUGIN_SCHEMAS, now=_NOW + 1)
    assert again == node.table


def test_config_when_there_is_a_database() -> None:
    """The endpoint is for nodes without one."""
    api = AdminApi(MemoryStore(writable=True), _SCHEMAS, _INFO)
    message = "this endpoint is only available when Kong is configured to not use a database"
    assert _get("/config", api) == (400, {"message": message})


def test_config_when_the_load_must_be_awaited() -> None:
    """A load that takes its time is awaited; its refusal is an answer like any other."""

    def apply(config: Mapping[str, Any], hash: str) -> Awaitable[Table]:
        async def later() -> Table:
            await asyncio.sleep(0)
            return load(config, now=1)

        return later()

    api = AdminApi(MemoryStore(), _SCHEMAS, NodeInfo(node_id="n", version="1", apply_config=apply))
    headers = {"content-type": "application/json"}

    async def statuses() -> list[int]:
        bodies = [b'{"_format_version":"3.0"}', b'{"_format_version":"9"}']
        requests = [Request("POST", "/config", "", headers, body) for body in bodies]
        return [(await api.handle_async(request)).status for request in [*requests, Request("GET", "/services")]]

    assert asyncio.run(statuses()) == [201, 400, 200]


def test_config_hash_when_content_is_equal() -> None:
    """The hash is of the content, whatever its form."""
    assert config_hash({"a": [1], "b": None}) == config_hash({"b": None, "a": [1]})


def test_tags_when_the_tag_is_none() -> None:
    """Refused with what a tag may be."""
    status, answer = _get("/tags/a,b")
    assert (status, answer["code"], answer["name"]) == (400, 10, "invalid unique tag")
    assert answer["fields"]["tag"].startswith("invalid tag 'a,b'")


@pytest.mark.parametrize("path", ["/filter-chains", "/filter-chains/x", "/filter-chains/x/route"])
def test_filter_chains_when_there_is_no_webassembly(path: str) -> None:
    """As a Kong without it says."""
    assert _get(path) == (400, {"message": "this endpoint is only available when wasm is enabled"})
