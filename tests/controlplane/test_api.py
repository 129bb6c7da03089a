"""The control plane's HTTP application: catalogue, groups, nodes, tokens, status, and Kong's Admin API beside them."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from kongdp.controlplane import activity
from kongdp.controlplane.api.admin import AdminEndpoint
from kongdp.controlplane.api.app import build_app
from kongdp.controlplane.server import make_admin
from kongdp.settings import load_settings
from kongdp.sync.messages import CounterFrame
from tests.support.control_plane import ControlPlane, running, shared_pair
from tests.support.scripted_data_plane import KeyPair

BODY_BYTES_MAX = 100_000
SERVICE = {"name": "example_gateway_service", "url": "http://mockbin.org"}
ROUTE = {"name": "mockbin", "methods": ["GET"], "paths": ["/mock"]}
SCRIPTED_ID = "0b5ab9a8-3fd4-4a4e-9b1c-3b1f7b1f3c11"


@dataclass(frozen=True, slots=True)
class Api:
    """A client and the control plane behind it."""

    client: httpx.AsyncClient
    plane: ControlPlane

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON (None when empty) of one call."""
        response = await self.client.request(method, path, json=body)
        return response.status_code, response.json() if response.content else None

    async def made(self, path: str, body: Any) -> dict[str, Any]:
        """What a POST made."""
        status, answer = await self.call("POST", path, body)
        assert status == 201, answer
        return dict(answer)

    async def version(self) -> str:
        """The id of a version of a new catalogue service."""
        await self.made("/v2/catalogue/services", {"name": "example_service"})
        version = await self.made("/v2/catalogue/services/example_service/versions", {"name": "v.1"})
        return str(version["id"])


@asynccontextmanager
async def api(directory: Path) -> AsyncIterator[Api]:
    settings = load_settings(None, {"KONG_ROLE": "control_plane", "KONG_PREFIX": str(directory)})
    async with running(directory) as plane:
        app = build_app(
            plane.plane,
            make_admin(settings, plane.plane),
            node_id="1da9157f-c443-4b08-8355-c97520754c21",
            body_bytes_max=BODY_BYTES_MAX,
        )
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8001") as client:
            yield Api(client, plane)


def play(scenario: Callable[[Api], Awaitable[None]], tmp_path: Path) -> None:
    async def main() -> None:
        async with api(tmp_path) as served:
            await scenario(served)

    asyncio.run(main())


def test_an_implementation_makes_service_and_route_at_once(tmp_path: Path) -> None:
    """Step 6 of the journey: defaults, the URL taken apart, the service tagged, both visible to Kong's API."""

    async def scenario(served: Api) -> None:
        version = await served.version()
        path = f"/v2/catalogue/versions/{version}/implementation"
        assert (await served.call("GET", path))[0] == 404
        made = await served.made(path, {"service": SERVICE, "route": ROUTE})
        service, (route,) = made["service"], made["routes"]
        assert (service["host"], service["port"], service["path"]) == ("mockbin.org", 80, None)
        assert (service["retries"], service["tags"]) == (5, ["_KonnectService:example_service"])
        assert (route["strip_path"], route["service"]) == (True, {"id": service["id"]})
        assert (await served.call("GET", "/services/example_gateway_service"))[1] == service
        assert (await served.call("GET", path))[1] == made
        status, answer = await served.call("POST", path, {"service": SERVICE, "route": ROUTE})
        assert (status, answer["message"]) == (409, "the version has an implementation already")

    play(scenario, tmp_path)


@pytest.mark.parametrize(
    ("service", "route", "status", "step"),
    [
        (SERVICE, {"name": "r", "paths": ["no-slash"]}, 400, "route"),
        (SERVICE, {"name": "r"}, 400, "route"),
        (SERVICE, {**ROUTE, "name": "taken"}, 409, "route"),
        ({"name": "s", "url": "not a url"}, ROUTE, 400, "service"),
        ({"name": "s"}, ROUTE, 400, "service"),
        ({**SERVICE, "name": "taken"}, ROUTE, 409, "service"),
    ],
)
def test_nothing_is_made_when_one_of_the_two_is_wrong(
    tmp_path: Path, service: dict[str, Any], route: dict[str, Any], status: int, step: str
) -> None:
    """The error says which step and which field; neither entity, nor revision, nor push remains."""

    async def scenario(served: Api) -> None:
        await served.made("/services", {"name": "taken", "host": "h"})
        await served.made("/routes", {"name": "taken", "paths": ["/taken"]})
        before = (await served.call("GET", "/v2/control-planes/default/expected-config-hash"))[1]["expected_hash"]
        version = await served.version()
        path = f"/v2/catalogue/versions/{version}/implementation"
        got, answer = await served.call("POST", path, {"service": service, "route": route})
        assert got == status
        assert answer["message"].startswith(f"{step}: ")
        assert answer["details"][0]["field"].partition(".")[0] == step
        assert (await served.call("GET", path))[0] == 404
        assert [row["name"] for row in (await served.call("GET", "/services"))[1]["data"]] == ["taken"]
        after = (await served.call("GET", "/v2/control-planes/default/expected-config-hash"))[1]["expected_hash"]
        assert after == before

    play(scenario, tmp_path)


def test_an_implementation_is_edited_and_deleted(tmp_path: Path) -> None:
    """Edits reach service and route together; deleting takes both and leaves the version."""

    async def scenario(served: Api) -> None:
        version = await served.version()
        path = f"/v2/catalogue/versions/{version}/implementation"
        await served.made(path, {"service": SERVICE, "route": ROUTE})
        change = {"service": {"retries": 1, "tags": ["own"]}, "route": {"paths": ["/mock2"]}}
        status, changed = await served.call("PATCH", path, change)
        assert status == 200
        assert changed["service"]["retries"] == 1
        assert changed["service"]["tags"] == ["own", "_KonnectService:example_service"]
        assert changed["routes"][0]["paths"] == ["/mock2"]
        assert changed["edition"] == 2
        status, _answer = await served.call("PATCH", path, {"service": {"retries": 2}, "route": {"paths": ["bad"]}})
        assert status == 400
        assert (await served.call("GET", path))[1]["service"]["retries"] == 1
        plugin = await served.made("/services/example_gateway_service/plugins", {"name": "key-auth"})
        assert (await served.call("DELETE", path))[0] == 204
        assert (await served.call("GET", path))[0] == 404
        for gone in ("/services/example_gateway_service", "/routes/mockbin", f"/plugins/{plugin['id']}"):
            assert (await served.call("GET", gone))[0] == 404
        assert (await served.call("GET", f"/v2/catalogue/versions/{version}"))[0] == 200

    play(scenario, tmp_path)


def test_deleting_a_service_takes_everything_below_it(tmp_path: Path) -> None:
    """Versions, implementations, Gateway entities."""

    async def scenario(served: Api) -> None:
        version = await served.version()
        await served.made(f"/v2/catalogue/versions/{version}/implementation", {"service": SERVICE, "route": ROUTE})
        assert (await served.call("DELETE", "/v2/catalogue/services/example_service"))[0] == 204
        assert (await served.call("GET", f"/v2/catalogue/versions/{version}"))[0] == 404
        assert (await served.call("GET", "/routes"))[1]["data"] == []
        assert (await served.call("GET", "/services"))[1]["data"] == []

    play(scenario, tmp_path)


def test_a_gateway_service_deleted_elsewhere_leaves_no_implementation(tmp_path: Path) -> None:
    """Kong's API and the catalogue are two views of one thing."""

    async def scenario(served: Api) -> None:
        version = await served.version()
        path = f"/v2/catalogue/versions/{version}/implementation"
        await served.made(path, {"service": SERVICE, "route": ROUTE})
        assert (await served.call("DELETE", "/routes/mockbin"))[0] == 204
        assert (await served.call("DELETE", "/services/example_gateway_service"))[0] == 204
        assert (await served.call("GET", path))[0] == 404
        await served.made(path, {"service": SERVICE, "route": ROUTE})

    play(scenario, tmp_path)


@pytest.mark.parametrize(
    ("name", "status"),
    [("Example Service", 409), ("Example-Service", 409), ("Other", 201), ("a/b", 400), ("", 400), ("x" * 300, 400)],
)
def test_a_service_name_is_checked(tmp_path: Path, name: str, status: int) -> None:
    """A space counts as "-"; only some characters are allowed."""

    async def scenario(served: Api) -> None:
        await served.made("/v2/catalogue/services", {"name": "Example Service"})
        got, answer = await served.call("POST", "/v2/catalogue/services", {"name": name})
        assert got == status
        if status != 201:
            assert answer["details"][0]["field"] == "name"

    play(scenario, tmp_path)


def test_a_version_is_unique_within_its_service_and_keeps_its_group(tmp_path: Path) -> None:
    """The same name twice is refused, in another group it is not; the group cannot be given in a change; an unknown group is said."""

    async def scenario(served: Api) -> None:
        version = await served.version()
        path = "/v2/catalogue/services/example_service/versions"
        assert (await served.call("POST", path, {"name": "v.1"}))[0] == 409
        assert (await served.call("POST", path, {"name": "v.2", "group": "nowhere"}))[0] == 400
        other = await served.made("/v2/control-planes", {"name": "other"})
        elsewhere = await served.made(path, {"name": "v.1", "group": "other"})
        assert elsewhere["group_id"] == other["id"]
        assert (await served.call("DELETE", f"/v2/catalogue/versions/{elsewhere['id']}"))[0] == 204
        assert (await served.call("PATCH", f"/v2/catalogue/versions/{version}", {"name": "x", "group": "y"}))[0] == 400
        assert (await served.call("PATCH", f"/v2/catalogue/versions/{version}", {"name": "v.9"}))[1]["name"] == "v.9"
        items = (await served.call("GET", path))[1]["items"]
        assert [(item["name"], item["group_id"]) for item in items] == [("v.9", served.plane.group_id)]

    play(scenario, tmp_path)


def test_renaming_a_service_renames_the_tag_of_its_gateway_services(tmp_path: Path) -> None:
    """The link stays, under the new name."""

    async def scenario(served: Api) -> None:
        version = await served.version()
        await served.made(f"/v2/catalogue/versions/{version}/implementation", {"service": SERVICE, "route": ROUTE})
        status, answer = await served.call("PATCH", "/v2/catalogue/services/example_service", {"name": "New Name"})
        assert (status, answer["name"], answer["edition"]) == (200, "New Name", 2)
        tags = (await served.call("GET", "/services/example_gateway_service"))[1]["tags"]
        assert tags == ["_KonnectService:New-Name"]

    play(scenario, tmp_path)


def test_the_record_counts_what_the_versions_routes_counted(tmp_path: Path) -> None:
    """Only its own routes; rejected requests too; after the implementation has gone still."""

    async def scenario(served: Api) -> None:
        version = await served.version()
        path = f"/v2/catalogue/versions/{version}"
        made = await served.made(f"{path}/implementation", {"service": SERVICE, "route": ROUTE})
        other = await served.made("/routes", {"name": "other", "paths": ["/other"]})
        node_id, now = str(uuid.uuid4()), served.plane.clock()
        rows = ((made["routes"][0]["id"], 200, "service", 3), (made["routes"][0]["id"], 401, "kong", 1))
        frame = CounterFrame(node_id, "boot", 1, now, (*rows, (other["id"], 200, "service", 50)))
        await served.plane.plane.database.run(activity.add, served.plane.plane.database, [frame], now)
        for _ in range(2):
            record = (await served.call("GET", f"{path}/status-codes?frame=5m"))[1]
            assert (record["codes"], record["total"]) == ({"200": 3, "401": 1}, 4)
            assert sum(point["count"] for point in record["points"]) == 4
            await served.call("DELETE", f"{path}/implementation")
        whole = (await served.call("GET", "/v2/catalogue/services/example_service/status-codes"))[1]
        assert whole["codes"] == {"200": 3, "401": 1}
        assert (await served.call("GET", f"{path}/status-codes?frame=1y"))[0] == 400

    play(scenario, tmp_path)


def test_the_group_default_is_listed(tmp_path: Path) -> None:
    """By id and by name, with the fingerprint that nodes verify the authority by."""

    async def scenario(served: Api) -> None:
        answer = (await served.call("GET", "/v2/control-planes"))[1]
        assert [item["name"] for item in answer["items"]] == ["default"]
        assert answer["page"] == {"total_count": 1}
        group = answer["items"][0]
        assert group["config"]["ca_fingerprint"] == served.plane.plane.authority.fingerprint
        for key in ("default", group["id"]):
            assert (await served.call("GET", f"/v2/control-planes/{key}"))[1] == group
        status, answer = await served.call("GET", "/v2/control-planes/nowhere")
        assert (status, answer["code"]) == (404, 5)

    play(scenario, tmp_path)


def test_a_connected_node_is_shown_with_what_is_amiss(tmp_path: Path) -> None:
    """Connected at once, in sync after the acknowledging ping, then out of sync with the reason when it has gone."""

    async def scenario(served: Api) -> None:
        pair = served.plane.node_pair()
        link = await served.plane.connect(pair)
        await link.join(pair.node_id, labels={"region": "eu"})
        message = await link.configuration()
        path = f"/v2/control-planes/default/nodes/{pair.node_id}"
        node = (await served.call("GET", path))[1]["item"]
        assert (node["connected"], node["in_sync"], node["reason"]) == (True, False, "has no configuration yet")
        await link.ping(message["config_hash"])
        await link.pong()
        (node,) = (await served.call("GET", "/v2/control-planes/default/nodes"))[1]["items"]
        assert (node["connected"], node["in_sync"], node["reason"]) == (True, True, "")
        assert node["config_hash"] == node["expected_hash"] == message["config_hash"]
        assert (node["hostname"], node["version"], node["labels"]) == ("scripted", "3.9.1", {"region": "eu"})
        assert node["compatibility_status"] == {"state": "COMPATIBILITY_STATE_FULLY_COMPATIBLE"}
        assert 0 <= node["last_ping_age_s"] < 60
        await link.close()
        await served.plane.until(lambda: not served.plane.hub.connected())
        node = (await served.call("GET", path))[1]["item"]
        assert node["connected"] is False
        assert node["reason"].startswith("not connected, last ping ")
        assert (await served.call("DELETE", path))[0] == 204
        assert (await served.call("GET", path))[0] == 404

    play(scenario, tmp_path)


def test_a_revoked_node_is_disconnected(tmp_path: Path) -> None:
    """Deleting a node with `revoke` takes its certificates away and ends its connections."""

    async def scenario(served: Api) -> None:
        pair = served.plane.node_pair()
        link = await served.plane.connect(pair)
        await link.join(pair.node_id)
        await link.configuration()
        counters = await served.plane.connect(pair, port=served.plane.telemetry_port)
        assert await counters.upgrade("/v1/counters") == 101
        path = f"/v2/control-planes/default/nodes/{pair.node_id}?revoke=true"
        assert (await served.call("GET", path))[0] == 200
        assert (await served.call("DELETE", path))[0] == 204
        assert await link.end() == "the node's certificate was revoked"
        assert await counters.end() == "the node's certificate was revoked"

    play(scenario, tmp_path)


def test_a_pinned_certificate_opens_the_sync_connection(tmp_path: Path) -> None:
    """Konnect's way: a self-signed certificate is uploaded, works at once, and no longer after its deletion."""

    async def scenario(served: Api) -> None:
        pinned, node_id = shared_pair(tmp_path), str(uuid.uuid4())
        target = f"/v1/outlet?node_id={node_id}&node_hostname=h&node_version=3.9.1"
        path = "/v2/control-planes/default/dp-client-certificates"
        assert await (await served.plane.connect(pinned)).upgrade(target) == 0
        body = {"cert": pinned.certificate.read_text(), "title": "laptop"}
        item = (await served.made(path, body))["item"]
        link = await served.plane.connect(pinned)
        await link.join(node_id)
        await link.configuration()
        assert (await served.call("POST", path, body))[0] == 400
        assert (await served.call("GET", path))[1]["items"] == [item]
        assert (await served.call("GET", f"{path}/{item['id']}"))[1]["item"] == item
        assert (await served.call("DELETE", f"{path}/{item['id']}"))[0] == 204
        assert await link.end() == "the pinned certificates have changed"
        assert await (await served.plane.connect(pinned)).upgrade(target) == 0
        assert (await served.call("POST", path, {"cert": "nonsense"}))[0] == 400

    play(scenario, tmp_path)


def test_a_certificate_made_for_a_host_that_cannot_enrol(tmp_path: Path) -> None:
    """With it a data plane joins under the id that it names; its key is told once, kept nowhere, and by no cache."""

    async def scenario(served: Api) -> None:
        answer = await served.client.post("/v2/control-planes/default/data-plane-certificates")
        assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
        made = answer.json()
        pair = KeyPair(tmp_path / "tls.crt", tmp_path / "tls.key", made["node_id"])
        pair.certificate.write_text(made["cert"])
        pair.key.write_text(made["key"])
        link = await served.plane.connect(pair, trust=made["ca_cert"])
        await link.join(pair.node_id)
        await link.configuration()
        listed = (await served.call("GET", "/v2/control-planes/default/nodes"))[1]["items"]
        assert [(each["id"], each["connected"]) for each in listed] == [(pair.node_id, True)]
        issued = (await served.call("GET", "/v2/control-planes/default/node-certificates"))[1]["items"]
        assert [(each["node"], each["is_renewed"]) for each in issued] == [(pair.node_id, False)]
        # It is in the node's settings, where the node cannot put another: nobody is told that it was asked to.
        path = f"/v2/control-planes/default/nodes/{pair.node_id}/renew-certificate"
        status, refusal = await served.call("POST", path)
        assert (status, "cluster_cert" in refusal["message"]) == (409, True)
        secret = made["key"].splitlines()[1].encode()
        assert not any(secret in path.read_bytes() for path in tmp_path.rglob("*.db*"))
        with pytest.raises(AssertionError):
            await (await served.plane.connect(pair)).join(str(uuid.uuid4()))

    play(scenario, tmp_path)


def test_an_enrolment_token_is_shown_once_with_the_fingerprint(tmp_path: Path) -> None:
    """Everything a node needs besides the address."""

    async def scenario(served: Api) -> None:
        path = "/v2/control-planes/default/enrolment-tokens"
        made = await served.made(path, {"lifetime_s": 60})
        assert made["token"].startswith("kdp_enrol_")
        assert made["expires_at"] == pytest.approx(made["created_at"] + 60)
        assert made["ca_fingerprint"] == served.plane.plane.authority.fingerprint
        assert (await served.client.post(path)).status_code == 201
        status, answer = await served.call("POST", path, {"lifetime_s": -1})
        assert (status, answer["details"][0]["field"]) == (400, "lifetime_s")

    play(scenario, tmp_path)


def test_kongs_status_paths_take_head_options_and_a_slash(tmp_path: Path) -> None:
    """As all of Kong's paths do; what is refused is refused in Kong's words."""

    async def scenario(served: Api) -> None:
        for path in ("/status", "/metrics", "/clustering/data-planes", "/clustering/status", "/v2/health"):
            assert (await served.client.head(path)).status_code == 200, path
        assert (await served.client.get("/status/")).json()["database"] == {"reachable": True}
        asked = await served.client.options("/status")
        assert (asked.status_code, asked.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
        refused = await served.client.post("/clustering/data-planes")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        assert refused.json() == {"message": "Method not allowed"}
        assert (await served.call("GET", "/status/dns"))[0] == 501

    play(scenario, tmp_path)


def test_kongs_own_endpoints_list_the_data_planes(tmp_path: Path) -> None:
    """/clustering/data-planes, the deprecated /clustering/status and the metrics agree."""

    async def scenario(served: Api) -> None:
        pair = served.plane.node_pair(SCRIPTED_ID)
        link = await served.plane.connect(pair)
        await link.join(SCRIPTED_ID)
        message = await link.configuration()
        await link.ping(message["config_hash"])
        await link.pong()
        (row,) = (await served.call("GET", "/clustering/data-planes"))[1]["data"]
        assert (row["id"], row["sync_status"], row["config_hash"]) == (SCRIPTED_ID, "normal", message["config_hash"])
        assert (row["labels"], row["rpc_capabilities"]) == (None, [])
        assert row["cert_details"]["expiry_timestamp"] > row["last_seen"]
        assert 0 < row["ttl"] <= 14 * 86_400
        old = await served.client.get("/clustering/status")
        assert old.headers["deprecation"] == "true"
        assert old.json()[SCRIPTED_ID]["hostname"] == "scripted"
        families = {
            family.name: family.samples
            for family in text_string_to_metric_families((await served.client.get("/metrics")).text)
        }
        (sample,) = families["kong_data_plane_config_hash"]
        assert sample.labels == {"node_id": SCRIPTED_ID, "hostname": "scripted", "ip": "127.0.0.1"}
        assert sample.value == float(int(message["config_hash"], 16))
        (compatible,) = families["kong_data_plane_version_compatible"]
        assert (compatible.value, compatible.labels["kong_version"]) == (1.0, "3.9.1")
        assert families["kong_data_plane_last_seen"][0].value == row["last_seen"]

    play(scenario, tmp_path)


def test_status_says_that_the_database_answers(tmp_path: Path) -> None:
    """Kong's shape; another method of the path is refused in Kong's words."""

    async def scenario(served: Api) -> None:
        status, answer = await served.call("GET", "/status")
        assert (status, answer["database"]) == (200, {"reachable": True})
        assert set(answer) == {"server", "memory", "database"}
        assert await served.call("POST", "/status") == (405, {"message": "Method not allowed"})
        assert await served.call("DELETE", "/clustering/data-planes") == (405, {"message": "Method not allowed"})

    play(scenario, tmp_path)


def test_the_openapi_document_names_every_endpoint_of_ours(tmp_path: Path) -> None:
    """It is complete enough to be read by machines."""

    async def scenario(served: Api) -> None:
        document = (await served.call("GET", "/v2/openapi.json"))[1]
        assert "/v2/catalogue/versions/{version}/status-codes" in document["paths"]
        for methods in document["paths"].values():
            assert all(operation["summary"] for name, operation in methods.items() if name != "parameters")

    play(scenario, tmp_path)


def test_a_body_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    """413 before anything is parsed."""

    async def scenario(served: Api) -> None:
        response = await served.client.post("/services", content=b"x" * (BODY_BYTES_MAX + 1))
        assert response.status_code == 413

    play(scenario, tmp_path)


def test_an_edit_through_the_admin_api_reaches_a_connected_node(tmp_path: Path) -> None:
    """Create, change, delete: each arrives as a configuration."""

    async def scenario(served: Api) -> None:
        pair = served.plane.node_pair()
        link = await served.plane.connect(pair)
        await link.join(pair.node_id)
        await link.configuration()
        route = await served.made("/routes", {"name": "a", "paths": ["/a"]})
        pushed = await link.configuration()
        assert [row["id"] for row in pushed["config_table"]["routes"]] == [route["id"]]
        assert pushed["config_table"]["routes"][0]["service"] is None
        await served.call("DELETE", "/routes/a")
        assert "routes" not in (await link.configuration())["config_table"]

    play(scenario, tmp_path)


def test_errors_of_kongs_paths_are_kongs(tmp_path: Path) -> None:
    """The Admin API's answers pass through unchanged."""

    async def scenario(served: Api) -> None:
        assert await served.call("GET", "/nothing") == (404, {"message": "Not found"})
        status, answer = await served.call("POST", "/services", {"name": "a"})
        assert (status, answer["code"], answer["fields"]) == (400, 2, {"host": "required field missing"})
        assert json.loads((await served.client.get("/")).text)["version"] == "3.9.1"

    play(scenario, tmp_path)


def test_an_accident_on_one_of_kongs_paths_is_answered_in_its_words() -> None:
    """500 without inner words, and what cannot be stored 400."""

    class Broken:
        """An Admin API and its database."""

        def __init__(self, error: Exception) -> None:
            self.error = error

        def handle(self, _request: Any) -> Any:
            raise self.error

        async def run(self, function: Callable[[Any], Any], request: Any) -> Any:
            return function(request)

    async def answered(error: Exception) -> tuple[int, Any]:
        broken: Any = Broken(error)
        transport = httpx.ASGITransport(app=AdminEndpoint(broken, broken, BODY_BYTES_MAX))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8001") as client:
            response = await client.post("/services", json={})
        return response.status_code, response.json()

    async def scenario() -> None:
        assert await answered(ValueError("secret")) == (500, {"message": "An unexpected error occurred"})
        status, _answer = await answered(UnicodeEncodeError("utf-8", "\ud800", 0, 1, "secret"))
        assert status == 400

    asyncio.run(scenario())
