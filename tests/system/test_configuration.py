"""Configurations on started nodes: what is taken, what is refused, what survives, and that no failure sticks."""

import random
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode

import pytest
import yaml

from tests.support.certificates import authority, make
from tests.support.cluster import Answer, DataPlane, free_port, http, wait_for
from tests.support.mutations import mutated
from tests.support.outlet_thread import OutletThread

pytestmark = pytest.mark.system

EMPTY_HASH = "0" * 32
FUZZ_ROUNDS = 100


def document(*names: str, upstream: str = "http://127.0.0.1:9", **more: Any) -> dict[str, Any]:
    """A service with a route for each name, at /name."""
    services = [{"name": name, "url": upstream, "routes": [{"name": name, "paths": [f"/{name}"]}]} for name in names]
    return {"_format_version": "3.0", "services": services, **more}


class Node:
    """A node without database, and its Admin API."""

    def __init__(self, plane: DataPlane) -> None:
        self.plane = plane
        self.admin = "http://" + plane.settings["KONG_ADMIN_LISTEN"].split(",")[0]
        plane.start()

    def post(self, config: object, query: str = "") -> Answer:
        return http("POST", f"{self.admin}/config{query}", config)

    def post_raw(self, body: bytes, media_type: str, query: str = "") -> Answer:
        request = urllib.request.Request(f"{self.admin}/config{query}", body, {"Content-Type": media_type})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return Answer(response.status, response.headers, response.read())
        except HTTPError as problem:
            with problem:
                return Answer(problem.code, problem.headers, problem.read())

    def get(self, path: str, **headers: str) -> int:
        return http("GET", self.plane.proxy + path, headers=headers).status

    def hash(self) -> str:
        return str(http("GET", f"{self.admin}/status").json()["configuration_hash"])


Start = Callable[..., Node]


@pytest.fixture
def start(nodes: Callable[..., DataPlane]) -> Start:
    def make_node(*, workers: int = 1, name: str = "dp", **settings: str) -> Node:
        return Node(nodes({"KONG_ADMIN_LISTEN": f"127.0.0.1:{free_port()}", **settings}, workers=workers, name=name))

    return make_node


def test_shapes_of_config_when_the_node_is_real(start: Start, upstream: str) -> None:
    """JSON, YAML and forms in; 201, 304, 400 and YAML out, as Kong answers."""
    node = start()
    config = document("a", upstream=upstream)
    answer = node.post(config)
    assert (answer.status, [row["name"] for row in answer.json()["routes"].values()]) == (201, ["a"])
    assert node.get("/a") == 200
    in_force = node.hash()
    assert in_force != EMPTY_HASH
    text = yaml.safe_dump(config, sort_keys=False).encode()
    assert node.post(config, "?check_hash=1").status == 304
    assert node.post_raw(text, "application/yaml", "?check_hash=1").status == 304
    form = urlencode({"config": text.decode()}).encode()
    assert node.post_raw(form, "application/x-www-form-urlencoded").status == 201
    assert node.hash() == in_force
    given = yaml.safe_load(http("GET", f"{node.admin}/config").json()["config"])
    assert given["_format_version"] == "3.0"
    assert [row["paths"] for row in given["routes"]] == [["/a"]]
    assert node.post(given).status == 201
    assert node.get("/a") == 200
    assert node.post({**config, "_comment": "x" * (11 << 20)}).status == 201  # beyond the limit of other bodies
    empty = node.post({})
    assert (empty.status, empty.json()["message"]) == (400, "expected a declarative configuration")


def test_old_configuration_serves_when_a_wrong_one_is_posted(start: Start, upstream: str) -> None:
    """Every problem is named, with flatten_errors by entity; nothing is half applied; a plugin nobody has is refused by
    name; the next right one is taken.
    """
    node = start()
    assert node.post(document("a", upstream=upstream)).status == 201
    before = node.hash()
    wrong = document("b", upstream=upstream)
    wrong["services"][0]["routes"][0]["paths"] = ["no slash"]
    wrong["services"].append({"name": "c"})
    answer = node.post(wrong).json()
    assert (answer["code"], answer["name"]) == (14, "invalid declarative configuration")
    assert answer["fields"]["services"][1] == {"host": "required field missing"}
    assert "paths" in answer["fields"]["services"][0]["routes"][0]
    flat = node.post(wrong, "?flatten_errors=1").json()
    named = {(entry["entity_type"], entry["entity_name"]) for entry in flat["flattened_errors"]}
    assert named == {("route", "b"), ("service", "c")}
    refused = node.post(document("b", upstream=upstream, plugins=[{"name": "oauth2"}]))
    assert (refused.status, "plugin 'oauth2' not enabled" in refused.json()["message"]) == (400, True)
    mistyped = node.post(document("b", upstream=upstream, pluggins=[{"name": "key-auth"}]))
    assert (mistyped.status, mistyped.json()["fields"]) == (400, {"pluggins": "unknown field"})
    regex = document("b", upstream=upstream)
    regex["services"][0]["routes"][0]["paths"] = ["~/(unclosed"]
    assert node.post(regex).status == 400
    assert (node.get("/a"), node.get("/b"), node.hash()) == (200, 404, before)
    assert node.post(document("b", upstream=upstream)).status == 201
    assert (node.get("/a"), node.get("/b")) == (404, 200)


def test_last_good_configuration_serves_when_the_node_restarts(start: Start, upstream: str) -> None:
    """What was answered with 201 is there again; what was refused is not. Unknown collections were passed over, said once."""
    node = start()
    for name in ("a", "b"):
        assert node.post(document(name, upstream=upstream, licenses=[{"payload": "x"}])).status == 201
    assert node.post(document("c", upstream="no url")).status == 400
    in_force = node.hash()
    assert node.plane.log().count("licenses") == 1
    node.plane.stop()
    node.plane.start()
    wait_for("the cached configuration is served", lambda: node.get("/b") == 200)
    assert (node.get("/a"), node.hash()) == (404, in_force)
    assert node.post(document("b", upstream=upstream, licenses=[{"payload": "x"}]), "?check_hash=1").status == 304


def test_expressions_when_they_are_the_flavor(start: Start, upstream: str) -> None:
    """Expressions and their priority route; a wrong one is refused by its route's schema; so is one in another flavor."""
    node = start(KONG_ROUTER_FLAVOR="expressions")
    service: dict[str, Any] = {"name": "s", "url": upstream}
    service["routes"] = [
        {"name": "e", "expression": 'http.path ^= "/e" && http.headers.x_team == "blue"', "priority": 10},
        {"name": "classic", "paths": ["/classic"]},
    ]
    assert node.post({"_format_version": "3.0", "services": [service]}).status == 201
    assert (node.get("/e", **{"X-Team": "blue"}), node.get("/e"), node.get("/classic")) == (200, 404, 200)
    shown = http("GET", f"{node.admin}/routes/e").json()
    assert (shown["priority"], shown["expression"]) == (10, service["routes"][0]["expression"])
    service["routes"] = [{"name": "e", "expression": "http.path ^= "}]
    answer = node.post({"_format_version": "3.0", "services": [service]})
    assert (answer.status, "Router Expression failed validation" in answer.json()["message"]) == (400, True)
    assert node.get("/classic") == 200
    plain = start(name="plain")
    service["routes"] = [{"name": "e", "expression": 'http.path == "/e"'}]
    answer = plain.post({"_format_version": "3.0", "services": [service]})
    assert (answer.status, "unknown field" in answer.json()["message"]) == (400, True)


INJECTION = """
import sys
if "kongdp.process.worker" in sys.orig_argv:
    import kongdp.proxy.snapshot as snapshot
    compile_steps, seen = snapshot.compile_steps, []

    def failing(previous, hash_, edits, *args, **kwargs):
        names = {getattr(entity, "name", None) for _, _, entity in edits}
        if "always" in names or ("once" in names and not seen):
            seen.append(hash_)
            raise MemoryError("injected")
        return (yield from compile_steps(previous, hash_, edits, *args, **kwargs))

    snapshot.compile_steps = failing
"""


def test_next_configuration_is_served_when_a_worker_failed(start: Start, upstream: str, tmp_path: Path) -> None:
    """A failure while applying a difference is tried again with the whole table; one that stays is reported, the old
    configuration serves on and is the one on disk, and the next one is taken by every worker.
    """
    (tmp_path / "inject").mkdir()
    (tmp_path / "inject" / "sitecustomize.py").write_text(INJECTION)
    node = start(workers=2, PYTHONPATH=str(tmp_path / "inject"))
    workers = node.plane.children("worker")
    assert node.post(document("a", upstream=upstream)).status == 201
    assert node.post(document("a", "once", upstream=upstream)).status == 201
    before = node.hash()
    cached = (node.plane.prefix / "config.cache.json.gz").read_bytes()
    for _ in range(2):
        answer = node.post(document("a", "always", upstream=upstream))
        assert (answer.status, "MemoryError: injected" in answer.json()["message"]) == (500, True)
        assert {node.get("/a") for _ in range(10)} == {200}
        assert {node.get("/once") for _ in range(10)} == {200}
        assert node.hash() == before
        assert (node.plane.prefix / "config.cache.json.gz").read_bytes() == cached
    assert node.post(document("a", "next", upstream=upstream)).status == 201
    assert {node.get("/next") for _ in range(10)} == {200}
    assert {node.get("/once") for _ in range(10)} == {404}
    assert node.plane.children("worker") == workers


def test_old_configuration_serves_when_a_control_plane_pushes_a_wrong_one(
    nodes: Callable[..., DataPlane], upstream: str, outlet: OutletThread
) -> None:
    """Through the hybrid protocol: the wrong one changes nothing and is logged with its place; the next one is served."""
    node = nodes(outlet.settings())
    node.start()
    good, wrong, later = ("a" * 32, "b" * 32, "c" * 32)
    outlet.push(good, document("a", upstream=upstream))
    wait_for("the first push is served", lambda: http("GET", node.proxy + "/a").status == 200)
    bad = document("b", upstream=upstream)
    bad["services"][0]["routes"][0]["paths"] = ["no slash"]
    outlet.push(wrong, bad)
    wait_for("the refusal is logged", lambda: "in 'paths'" in node.log())
    assert http("GET", node.proxy + "/a").status == 200
    assert http("GET", f"{node.status}/status").json()["configuration_hash"] == good
    outlet.push(later, document("b", upstream=upstream))
    wait_for("the next push is served", lambda: http("GET", node.proxy + "/b").status == 200)


@pytest.fixture
def outlet() -> Iterator[OutletThread]:
    anchor = authority()
    names = ("kongdp-control-plane",)
    with OutletThread(make("cp", issuer=anchor, names=names), make("node", issuer=anchor), anchor) as running:
        yield running


def test_node_answers_when_configurations_are_mutated(start: Start, upstream: str) -> None:
    """A bounded fuzz through POST /config: each mutation is taken, or refused with its place; what is in force serves."""
    node = start()
    dice = random.Random(4)
    taken = refused = 0
    for _ in range(FUZZ_ROUNDS):
        before = node.hash()
        answer = node.post(mutated(dice, document("a", "b", "c", upstream=upstream)), "?flatten_errors=1")
        if answer.status == 201:
            taken += 1
        else:
            refused += 1
            problem = answer.json()
            assert answer.status == 400, problem
            assert problem.get("fields") or problem.get("flattened_errors") or problem["message"]
            assert node.hash() == before
    assert taken > 5
    assert refused > 5
    assert "Traceback" not in node.plane.log()
    assert node.post(document("last", upstream=upstream)).status == 201
    assert node.get("/last") == 200
