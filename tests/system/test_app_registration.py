"""Application registration through real processes: 401 without a key, 200 with the generated one, 401 once it is revoked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import Answer, ControlPlane, DataPlane, enrolled_with, http, wait_for

pytestmark = pytest.mark.system


def test_a_generated_key_opens_the_version_until_it_is_revoked(
    tmp_path: Path, control_plane: ControlPlane, upstream: str, nodes: Callable[..., DataPlane]
) -> None:
    """Section 12 of the walkthrough, seen from a client of the data plane."""

    def made(path: str, body: object) -> dict[str, Any]:
        answer = http("POST", f"{control_plane.admin}{path}", body)
        assert answer.status == 201, answer.body
        return dict(answer.json())

    version = control_plane.make_version(upstream)
    http("PUT", f"{control_plane.admin}/v2/catalogue/services/example_service/publication")
    data_plane = nodes(enrolled_with(control_plane, tmp_path / "dp"))
    data_plane.start()
    wait_for("the route answers", lambda: http("GET", f"{data_plane.proxy}/mock").status == 200)

    def until(status: int, key: str = "") -> Answer:
        headers = {"apikey": key} if key else {}

        def asked() -> Answer | None:
            answer = http("GET", f"{data_plane.proxy}/mock", headers=headers)
            return answer if answer.status == status else None

        return wait_for(f"{status} with the key {key!r}", asked)

    path = f"/v2/catalogue/versions/{version}/app-registration"
    assert http("PUT", f"{control_plane.admin}{path}", {"auto_approve": True}).status == 200
    assert until(401).json()["message"] == "No API key found in request"
    person = {"email": "ann@example.com", "name": "Ann", "password": "a long password"}
    made("/v2/portal/developers", person)
    body = {"developer": "ann@example.com", "name": "Shop", "reference_id": "shop"}
    application = made("/v2/portal/applications", body)["id"]
    keys = f"/v2/portal/applications/{application}/credentials"
    first = made(keys, None)
    assert until(403, first["key"]).json()["message"] == "You cannot consume this service"
    made("/v2/portal/registrations", {"application": application, "version": version})
    assert until(200, first["key"]).body
    second = made(keys, None)
    until(200, second["key"])
    assert http("DELETE", f"{control_plane.admin}{keys}/{first['id']}").status == 204
    until(401, first["key"])
    until(200, second["key"])
    assert http("DELETE", f"{control_plane.admin}{path}").status == 204
    until(200)
