"""Plugins through real processes: made by the Admin API of a control plane, obeyed by a data plane, counted and shown."""

import base64
import http.server
import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import Answer, ControlPlane, DataPlane, enrolled_with, wait_for
from tests.support.cluster import http as ask

pytestmark = pytest.mark.system


class _Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def echo() -> Iterator[str]:
    """URL of an upstream that answers with the fields it received."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


class Scene:
    """A route behind key-auth and acl, a consumer in its group and one in another."""

    def __init__(self, plane: ControlPlane, echo: str) -> None:
        self._plane = plane
        self.make("services", name="s", url=echo)
        self.make("services/s/routes", name="r", paths=["/"])
        self.make("routes/r/plugins", name="key-auth", config={"hide_credentials": True, "key_names": ["own"]})
        self.make("routes/r/plugins", name="acl", config={"allow": ["staff"]})
        self.make("plugins", name="prometheus", config={"status_code_metrics": True})
        self.bob = self.make("consumers", username="bob", custom_id="b-1")
        self.key = self.make("consumers/bob/key-auth", key="bobs")
        self.make("consumers/bob/acls", group="staff")
        self.make("consumers", username="eve")
        self.make("consumers/eve/key-auth", key="eves")
        self.make("consumers/eve/acls", group="guests")

    def make(self, path: str, **fields: Any) -> dict[str, Any]:
        """An entity, by the Admin API."""
        answer = ask("POST", f"{self._plane.admin}/{path}", fields)
        assert answer.status == 201, answer.body
        made: dict[str, Any] = answer.json()
        return made


def status(node: DataPlane, **fields: str) -> int:
    """What a request with these fields is answered."""
    return ask("GET", node.proxy + "/", headers=fields).status


def asked_by_bob(node: DataPlane) -> Answer:
    """A request with bob's key, on a connection of its own."""
    return ask("GET", node.proxy + "/", headers={"own": "bobs"})


def counted(node: DataPlane) -> dict[tuple[str, str, str], int]:
    """(code, source, consumer) -> requests of the route, of /metrics."""
    line = re.compile(
        r'kong_http_requests_total\{service="s",route="r",code="(\d+)",source="(\w+)",workspace="default",'
        r'consumer="(\w*)"\} (\d+)'
    )
    found = line.findall(ask("GET", node.status + "/metrics").body.decode())
    return {(code, source, consumer): int(count) for code, source, consumer, count in found}


def test_data_plane_obeys_plugins_made_on_its_control_plane(
    control_plane: ControlPlane, nodes: Callable[..., DataPlane], echo: str, tmp_path: Path
) -> None:
    """401 without a key, 403 for the wrong group, else through with X-Consumer-*; counted for the route, by consumer when asked.

    Two workers share a limit; a password that the control plane hashed is understood; a key that is taken back is refused; no
    credential is in any log.
    """
    scene = Scene(control_plane, echo)
    node = nodes(enrolled_with(control_plane, tmp_path / "dp"), workers=2)
    node.start()
    wait_for("the key is known", lambda: status(node, own="bobs") == 200)
    assert (status(node), status(node, own="nobodys"), status(node, own="eves")) == (401, 401, 403)
    passed = ask("GET", node.proxy + "/", headers={"own": "bobs", "X-Consumer-Username": "root"}).json()
    assert passed["x-consumer-id"] == scene.bob["id"]
    assert (passed["x-consumer-username"], passed["x-consumer-custom-id"]) == ("bob", "b-1")
    assert (passed["x-consumer-groups"], passed["x-credential-identifier"]) == ("staff", scene.key["id"])
    assert "own" not in passed
    wait_for("the 401s are counted", lambda: counted(node).get(("401", "kong", ""), 0) >= 2)
    assert counted(node)["403", "kong", ""] == 1
    assert {consumer for _, _, consumer in counted(node)} == {""}

    scene.make("routes/r/plugins", name="prometheus", config={"status_code_metrics": True, "per_consumer": True})
    wait_for(
        "counts by consumer",
        lambda: (status(node, own="eves"), counted(node).get(("403", "kong", "eve"), 0))[1] > 0,
    )
    scene.make("routes/r/plugins", name="rate-limiting", config={"year": 5, "policy": "local"})
    limited: list[Answer] = []
    wait_for("the limit is reached", lambda: limited.append(asked_by_bob(node)) or limited[-1].status == 429)  # type: ignore[func-returns-value]
    limited += [asked_by_bob(node) for _ in range(20)]
    left = [
        answer.headers["X-RateLimit-Remaining-Year"] for answer in limited if "X-RateLimit-Limit-Year" in answer.headers
    ]
    assert left[:5] == ["4", "3", "2", "1", "0"]
    assert [answer.status for answer in limited[-20:]] == [429] * 20

    scene.make("services/s/routes", name="basic", paths=["/basic"])
    scene.make("routes/basic/plugins", name="basic-auth")
    scene.make("consumers/bob/basic-auth", username="bob", password="opens")
    basic = {"Authorization": "Basic " + base64.b64encode(b"bob:opens").decode()}
    wait_for("the password is known", lambda: ask("GET", node.proxy + "/basic", headers=basic).status == 200)
    assert ask("GET", node.proxy + "/basic").status == 401

    ask("DELETE", f"{control_plane.admin}/consumers/bob/key-auth/{scene.key['id']}")
    wait_for("the key is forgotten", lambda: status(node, own="bobs") == 401)

    assert ask("GET", node.proxy + "/?own=bobs").status == 401
    access_log = node.prefix / "logs" / "access.log"
    wait_for("the line is written", lambda: "/?own=REDACTED" in access_log.read_text())
    text = access_log.read_text() + node.log() + (control_plane.prefix / "stdout.log").read_text()
    assert "bobs" not in text
    assert "eves" not in text
    assert "opens" not in text
    info = wait_for("the node", lambda: control_plane.node())
    assert info["connected"]
