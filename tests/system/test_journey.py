"""What the journey promises, with real processes through the command line (issue text: must hold 1 to 6)."""

import http.client
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cluster import WAIT_S, ControlPlane, DataPlane, enrolled_with, free_port, kongdp, wait_for
from tests.support.cluster import http as ask
from tests.support.load import Load

pytestmark = pytest.mark.system

Joined = tuple[ControlPlane, DataPlane, str]


def ok(node: DataPlane, path: str = "/mock") -> bool:
    """Whether the route answers 200."""
    return ask("GET", node.proxy + path).status == 200


def test_seed_journey_when_everything_is_up(joined: Joined) -> None:
    """GET /mock reaches the upstream as GET / with its Host, POST is Kong's 404, and the record counts exactly the 200s."""
    plane, node, version = joined
    answer = ask("GET", node.proxy + "/mock")
    assert answer.status == 200
    line = answer.body.decode().split(" ")
    assert line[:2] == ["GET", "/"]
    assert line[2].startswith("127.0.0.1:")
    missed = ask("POST", node.proxy + "/mock", headers={"Accept": "application/json"})
    assert missed.status == 404
    assert missed.json()["message"] == "no Route matched with those values"
    assert len(missed.json()["request_id"]) == 32
    for _ in range(9):
        ask("GET", node.proxy + "/mock")
    wait_for("record of ten 200s", lambda: plane.codes(version) == {"200": 10})
    assert ask("GET", node.status + "/status/ready").json() == {"message": "ready"}
    assert (
        'kong_http_requests_total{service="example_gateway_service",route="mockbin",code="200"'
        in ask("GET", node.status + "/metrics").body.decode()
    )


def test_route_when_created_and_deleted_under_load(joined: Joined, upstream: str) -> None:
    """A second route is live soon after the Admin API answered; deleting it likewise; no request fails meanwhile."""
    plane, node, _ = joined
    with Load(node.proxy_port, "/mock") as load:
        ask("POST", f"{plane.admin}/services", {"name": "second", "url": upstream})
        made = ask("POST", f"{plane.admin}/services/second/routes", {"name": "second", "paths": ["/second"]})
        assert made.status == 201
        wait_for("second route is live", lambda: ok(node, "/second"))
        assert ask("DELETE", f"{plane.admin}/routes/second").status == 204
        wait_for("second route is gone", lambda: not ok(node, "/second"))
    assert load.failures == {}
    assert load.outcomes[200] > 50


def test_node_when_the_control_plane_is_away(joined: Joined) -> None:
    """Traffic goes on; a restarted node serves its cache and is ready; afterwards it is in sync and no count is lost or doubled."""
    plane, node, version = joined
    for _ in range(5):
        assert ok(node)
    wait_for("first counts", lambda: plane.codes(version) == {"200": 5})
    plane.stop()
    for _ in range(5):
        assert ok(node)
    node.stop()
    node.start()
    assert ask("GET", node.status + "/status/ready").status == 200
    for _ in range(5):
        assert ok(node)
    plane.start()
    wait_for("reconnected and in sync", lambda: plane.node()["connected"] and plane.node()["in_sync"])
    wait_for("all fifteen counted", lambda: plane.codes(version) == {"200": 15})
    ok(node)
    wait_for("and the next one", lambda: plane.codes(version) == {"200": 16})


def test_worker_and_agent_when_they_are_killed(joined: Joined) -> None:
    """kill -9 of a worker: another serves on the same socket. Of the agent: traffic is not touched, sync resumes, counts go on."""
    plane, node, version = joined
    for _ in range(20):
        assert ok(node)
    killed = node.children("worker")[0]
    os.kill(killed, signal.SIGKILL)
    wait_for("another worker", lambda: len(node.children("worker")) == 2 and killed not in node.children("worker"))
    before = sum(1 for _ in range(20) if ok(node))
    assert before == 20
    agent = node.children("agent")[0]
    with Load(node.proxy_port, "/mock") as load:
        os.kill(agent, signal.SIGKILL)
        wait_for("another agent", lambda: node.children("agent") not in ([], [agent]))
        wait_for("ready again", lambda: ask("GET", node.status + "/status/ready").status == 200)
    assert load.failures == {}
    sent = 40 + load.outcomes[200]
    wait_for("every request counted once", lambda: plane.codes(version) == {"200": sent})
    wait_for("in sync again", lambda: plane.node()["connected"] and plane.node()["in_sync"])
    ask("PATCH", f"{plane.admin}/routes/mockbin", {"paths": ["/mock", "/again"]})
    wait_for("changes arrive again", lambda: ok(node, "/again"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_node_when_it_drains(nodes: Callable[..., DataPlane], tmp_path: Path, number: int) -> None:
    """A request in flight finishes, new connections are refused, every process ends."""
    arrived, release = threading.Event(), threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def slow_upstream() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            arrived.set()
            release.wait(60)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")

    threading.Thread(target=slow_upstream, daemon=True).start()
    node = nodes(
        {"KONG_DECLARATIVE_CONFIG": str(declarative(tmp_path, f"http://127.0.0.1:{listener.getsockname()[1]}"))}
    )
    node.start()
    connection = http.client.HTTPConnection("127.0.0.1", node.proxy_port, timeout=30)
    connection.request("GET", "/mock")
    assert arrived.wait(60), "the request is in flight"
    supervisor = node.pid()
    os.kill(supervisor, number)
    wait_for("new connections are refused", lambda: refused(node.proxy_port))
    release.set()
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"done")
    assert response.getheader("Connection") == "close"
    wait_for("every process ended", lambda: not Path(f"/proc/{supervisor}").exists())
    connection.close()
    listener.close()


def refused(port: int) -> bool:
    """Whether nobody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_health_when_control_plane_and_node_run(joined: Joined) -> None:
    """`kongdp health` knows both roles, and says so when one is gone."""
    plane, node, _ = joined
    of_plane = kongdp("health", "-p", str(plane.prefix))
    assert (of_plane.returncode, of_plane.stdout.startswith("control plane: serving")) == (0, True), of_plane
    of_node = kongdp("health", env=node.env)
    assert of_node.returncode == 0, of_node
    assert "worker 1: serving" in of_node.stdout
    plane.stop()
    assert kongdp("health", "-p", str(plane.prefix)).returncode == 1


def declarative(directory: Path, url: str) -> Path:
    """A declarative file with the seed's route."""
    path = directory / "kong.yml"
    path.write_text(
        f"_format_version: '3.0'\nservices:\n- name: s\n  url: {url}\n  routes:\n  - name: mockbin\n    paths: [/mock]\n"
    )
    return path


def test_start_when_something_is_wrong(tmp_path: Path) -> None:
    """A wrong setting, a broken file, a bad certificate, an occupied port: one clear message each, exit code not 0."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        broken = tmp_path / "broken.yml"
        broken.write_text("_format_version: '3.0'\nservices:\n- name: [\n")
        wrong = tmp_path / "wrong.yml"
        wrong.write_text("_format_version: '3.0'\nservices:\n- name: a b\n  url: http://x\n")
        cases = [
            ({"KONG_UPSTREAM_KEEPALIVE_POOL_SIZE": "many"}, "upstream_keepalive_pool_size"),
            ({"KONG_DECLARATIVE_CONFIG": str(broken)}, "line"),
            ({"KONG_DECLARATIVE_CONFIG": str(wrong)}, "in entry 1 of 'services'"),
            (
                {"KONG_SSL_CERT": "/nowhere.crt", "KONG_SSL_CERT_KEY": "/nowhere.key"},
                "ssl_cert: failed loading certificate",
            ),
            ({"KONG_PROXY_LISTEN": f"127.0.0.1:{port}"}, f"127.0.0.1:{port} is already in use"),
            ({"KONG_ROLE": "data_plane", "KONG_DATABASE": "postgres"}, "database = off"),
        ]
        for number, (settings, message) in enumerate(cases):
            node = DataPlane(tmp_path / f"n{number}", settings)
            done = kongdp("start", env=node.env)
            assert done.returncode == 1, (settings, done)
            assert message in done.stderr, (settings, done.stderr)
            assert "Traceback" not in done.stderr
            assert len(done.stderr.strip().splitlines()) <= 6, done.stderr
            assert not (node.prefix / "pids" / "kongdp.pid").exists()


@pytest.mark.parametrize("lifetime_s", [8, pytest.param(60, marks=[pytest.mark.soak, pytest.mark.timeout(400)])])
def test_certificate_when_it_lives_shortly(
    tmp_path: Path, nodes: Callable[..., DataPlane], upstream: str, lifetime_s: int
) -> None:
    """Short-lived certificates are renewed three times under load: no failed request, one row, no gap in sync."""
    renewals = 3
    plane = ControlPlane(tmp_path / "cp", settings={"KONGDP_CERT_LIFETIME_S": str(lifetime_s)})
    plane.start()
    try:
        version = plane.make_version(upstream)
        node = nodes(enrolled_with(plane, tmp_path / "dp"))
        node.start()
        wait_for("in sync", lambda: plane.node()["in_sync"])
        expiries = {plane.node()["cert_expiry"]}
        gaps: list[float] = []
        down_since: float | None = None
        with Load(node.proxy_port, "/mock", connections=2, pause_s=0.01) as load:

            def renewed() -> bool:
                nonlocal down_since
                expiries.add(plane.node()["cert_expiry"])  # `node` asserts that there is one row
                if ask("GET", node.status + "/status/sync").json()["sync"]["is_connected"]:
                    if down_since is not None:
                        gaps.append(time.monotonic() - down_since)
                    down_since = None
                elif down_since is None:
                    down_since = time.monotonic()
                return len(expiries) > renewals

            wait_for(f"{renewals} renewals of a {lifetime_s} s certificate", renewed, 4.0 * lifetime_s + WAIT_S)
            ask("PATCH", f"{plane.admin}/routes/mockbin", {"paths": ["/mock", "/later"]})
            wait_for("a change arrives over the renewed connection", lambda: ok(node, "/later"))
        print(f"gaps in sync: {gaps}")
        assert all(gap <= 1.0 for gap in gaps), gaps
        assert load.failures == {}
        wait_for("every request counted", lambda: plane.codes(version).get("200", 0) >= load.outcomes[200])
    finally:
        plane.stop()


def test_processes_when_the_supervisor_is_killed(
    nodes: Callable[..., DataPlane], tmp_path: Path, upstream: str
) -> None:
    """Children notice the end of their lifeline and leave."""
    node = nodes({"KONG_DECLARATIVE_CONFIG": str(declarative(tmp_path, upstream))}, workers=2)
    node.start()
    assert ok(node)
    children = node.children("worker") + node.children("agent")
    assert len(children) == 3
    os.kill(node.pid(), signal.SIGKILL)
    wait_for("children are gone", lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
    node.start()
    assert ok(node)


def test_reload_when_traffic_goes_on(nodes: Callable[..., DataPlane], tmp_path: Path, upstream: str) -> None:
    """`kongdp reload` replaces workers one by one without a failed request, and the counts go on."""
    node = nodes({"KONG_DECLARATIVE_CONFIG": str(declarative(tmp_path, upstream))}, workers=2)
    node.start()
    old = set(node.children("worker"))
    with Load(node.proxy_port, "/mock") as load:
        assert kongdp("reload", env=node.env).returncode == 0
        wait_for(
            "all workers replaced", lambda: len(node.children("worker")) == 2 and not old & set(node.children("worker"))
        )
        time.sleep(0.2)  # some more requests on the new workers
    assert load.failures == {}

    def counted() -> bool:
        text = ask("GET", node.status + "/metrics").body.decode()
        found = [
            line for line in text.splitlines() if line.startswith("kong_http_requests_total") and 'code="200"' in line
        ]
        return sum(int(float(line.rpartition(" ")[2])) for line in found) == load.outcomes[200]

    wait_for("metrics count every request", counted)


def test_tls_listener_when_clients_speak_either_way(
    nodes: Callable[..., DataPlane], tmp_path: Path, upstream: str
) -> None:
    """A listener with `ssl` serves over TLS with the default pair, and tells a client that speaks plain HTTP what is wrong."""
    port = free_port()
    settings = {
        "KONG_DECLARATIVE_CONFIG": str(declarative(tmp_path, upstream)),
        "KONG_PROXY_LISTEN": f"127.0.0.1:{port} ssl http2",
    }
    node = nodes(settings)
    node.start()
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=context)
    connection.request("GET", "/mock")
    assert connection.getresponse().status == 200
    connection.close()
    plain = ask("GET", f"http://127.0.0.1:{port}/mock")
    assert plain.status == 400
    assert b"plain HTTP request was sent to HTTPS port" in plain.body
    assert node.log().count("http2") == 1
