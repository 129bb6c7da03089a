"""The agent end to end, in one process: scripted control plane and authority over real TLS, fake workers on the real
channel.
"""

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography.hazmat.primitives import serialization

from kongdp.certs import identity
from kongdp.process import lifeline
from kongdp.sync import cache
from kongdp.sync.messages import Reconfigure, decode_basic_info, decode_error, encode_reconfigure
from tests.support.agent_bench import AgentBench, shorten_waits
from tests.support.both_loops import until
from tests.support.certificates import authority, make, shared_cluster_pair
from tests.support.fake_worker import FakeWorker
from tests.support.scripted_authority import ScriptedAuthority
from tests.support.scripted_control_plane import ScriptedControlPlane, mutual_context

CA = authority()
SERVER = make("cp", issuer=CA, names=("kongdp-control-plane",))
NODE = make("node", issuer=CA)
SHARED = shared_cluster_pair()
ZEROS, A, B = "0" * 32, "a" * 32, "b" * 32
ROUTE = "22222222-2222-4222-8222-222222222222"

Story = Callable[[ScriptedControlPlane, AgentBench], Awaitable[None]]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_waits(monkeypatch)


def config(path: str = "/mock", **more: Any) -> dict[str, Any]:
    service = {"id": "11111111-1111-4111-8111-111111111111", "name": "mock", "host": "example.com"}
    route = {"id": ROUTE, "name": "mockbin", "paths": [path], "service": service["id"]}
    return {"_format_version": "3.0", "_transform": False, "services": [service], "routes": [route], **more}


def frame(config_hash: str, table: dict[str, Any]) -> bytes:
    return encode_reconfigure(Reconfigure(config_hash, table, 1.0))


def pki(plane: ScriptedControlPlane, **more: str) -> dict[str, str]:
    """Settings of a node with its own certificate."""
    return {
        "cluster_mtls": "pki",
        "cluster_control_plane": f"127.0.0.1:{plane.port}",
        "cluster_telemetry_endpoint": f"127.0.0.1:{plane.port}",
        "cluster_server_name": "kongdp-control-plane",
        "cluster_cert": NODE.pem.decode(),
        "cluster_cert_key": NODE.key_pem.decode(),
        "cluster_ca_cert": CA.pem.decode(),
        **more,
    }


def play(prefix: Path, story: Story, *, workers: int = 1, announces: bool = False, **settings: str) -> None:
    """Run a story with a control plane and an agent that is connected to it."""

    async def whole() -> None:
        async with (
            ScriptedControlPlane(mutual_context(SERVER, CA), announces=announces) as plane,
            AgentBench(prefix, pki(plane, **settings), workers=workers) as bench,
        ):
            await plane.until(lambda: plane.outlets and plane.outlets[-1].pings)
            await story(plane, bench)

    run(whole)


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await story()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())


def test_pushed_configuration_reaches_all_workers_when_valid(tmp_path: Path) -> None:
    """Handshake, basic_info, zeros, push, table on both workers, ping with the hash, ready, cache on disk; beside it nothing, not
    even of the agent that was killed before.
    """
    half = [tmp_path / ".config.cache.json.gz.4194305", tmp_path / "ssl" / ".kong-default.key.4194305"]
    half[1].parent.mkdir()
    for path in half:
        path.write_bytes(b"half")

    async def story(plane: ScriptedControlPlane, bench: AgentBench) -> None:
        info = decode_basic_info(plane.outlets[0].binaries[0])
        assert info.process_conf["cluster_cert_key"] == "******"
        assert info.process_conf["role"] == "data_plane"
        status, body = await bench.get("/status/ready")
        assert status == 503
        assert b"no configuration available" in body
        plane.push(frame(A, config()))
        await plane.until(lambda: plane.outlets[0].pings == [ZEROS, A])
        assert [worker.ids("routes") for worker in bench.workers] == [{ROUTE}, {ROUTE}]
        assert (await bench.get("/status/ready"))[0] == 200
        assert json.loads((await bench.get("/status"))[1])["configuration_hash"] == A
        assert cache.read(bench.prefix / cache.FILE_NAME) is not None
        assert not any(path.exists() for path in half)
        assert any(message["type"] == "ready" for message in bench.said())

    play(tmp_path, story, workers=2)


def test_hash_is_not_reported_when_one_worker_has_not_applied(tmp_path: Path) -> None:
    """Ours is the hash of all workers, not of a store."""

    async def story(plane: ScriptedControlPlane, bench: AgentBench) -> None:
        slow, quick = bench.workers
        slow.holds = True
        plane.push(frame(A, config()))
        await until(lambda: quick.hash == A and slow._held)
        assert plane.outlets[0].pings == [ZEROS]
        slow.release()
        await plane.until(lambda: plane.outlets[0].pings == [ZEROS, A])

    play(tmp_path, story, workers=2)


@pytest.mark.parametrize(
    ("announces", "konnect_mode", "is_welcome"), [(False, "off", False), (False, "on", True), (True, "off", True)]
)
def test_rejected_configuration_never_reaches_a_worker(
    tmp_path: Path, announces: bool, konnect_mode: str, is_welcome: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The offending path is logged, the old hash stays, the report goes only where it is welcome, the next one is
    taken.
    """

    async def story(plane: ScriptedControlPlane, bench: AgentBench) -> None:
        plane.push(frame(A, config()))
        await plane.until(lambda: plane.outlets[0].pings[-1] == A)
        with caplog.at_level(logging.ERROR, "kongdp.agent"):
            plane.push(frame(B, config(path="no slash")))
            await until(lambda: bench.agent.pipeline.last_rejection)
        assert "in 'paths'" in caplog.text
        assert len(bench.workers[0].begun) == 1
        if is_welcome:
            await plane.until(lambda: len(plane.outlets[0].binaries) == 2)
            report = decode_error(plane.outlets[0].binaries[1])
            assert report is not None
            assert (report.code, report.config_hash) == (14, B)
            assert report.flattened_errors[0]["entity_name"] == "mockbin"
        assert json.loads((await bench.get("/status/sync"))[1])["rejected"]["configuration_hash"] == B
        plane.push(frame("c" * 32, config("/other")))
        await plane.until(lambda: plane.outlets[0].pings[-1] == "c" * 32)
        assert len(plane.outlets[0].binaries) == (2 if is_welcome else 1)
        assert len(plane.outlets) == 1

    play(tmp_path, story, announces=announces, konnect_mode=konnect_mode)


def test_link_ends_when_something_else_than_a_configuration_is_pushed(tmp_path: Path) -> None:
    """Bytes that are no gzip: the node hangs up and comes back."""

    async def story(plane: ScriptedControlPlane, bench: AgentBench) -> None:
        plane.push(b"garbage")
        await plane.until(lambda: len(plane.outlets) == 2 and plane.outlets[1].pings)

    play(tmp_path, story)


def test_node_serves_its_cache_when_the_control_plane_is_away(tmp_path: Path) -> None:
    """A restart without control plane: workers get the cached table, the node is ready; when it is back, its hash is
    pinged first.
    """

    async def whole() -> None:
        cache.write(tmp_path / cache.FILE_NAME, Reconfigure(A, config()))
        plane = ScriptedControlPlane(mutual_context(SERVER, CA))
        await plane.start()
        await plane.stop()
        async with AgentBench(tmp_path, pki(plane)) as bench:
            await until(lambda: bench.workers[0].hash == A)
            await bench.in_force(A)
            assert (await bench.get("/status/ready"))[0] == 200
            await until(lambda: bench.agent.sync is not None and bench.agent.sync.state.last_error)
            await plane.start()
            await plane.until(lambda: plane.outlets and plane.outlets[0].pings)
            assert plane.outlets[0].pings[0] == A
            await bench.stop()
            await plane.stop()

    run(whole)


def test_damaged_cache_is_reported_and_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The node starts without configuration and takes the control plane's."""
    (tmp_path / cache.FILE_NAME).write_bytes(b"rotten")

    async def story(plane: ScriptedControlPlane, bench: AgentBench) -> None:
        assert "config.cache.json.gz is damaged" in caplog.text
        plane.push(frame(A, config()))
        await plane.until(lambda: plane.outlets[0].pings[-1] == A)

    play(tmp_path, story)


def test_workers_serve_on_when_the_agent_is_replaced(tmp_path: Path) -> None:
    """A new agent finds its workers with the cached hash: nothing is sent to them, the hash is pinged at once."""

    async def whole() -> None:
        cache.write(tmp_path / cache.FILE_NAME, Reconfigure(A, config()))
        async with ScriptedControlPlane(mutual_context(SERVER, CA)) as plane:
            bench = AgentBench(tmp_path, pki(plane))
            bench.workers[0].hash = A
            async with bench:
                await plane.until(lambda: plane.outlets and plane.outlets[0].pings)
                assert plane.outlets[0].pings == [A]
                assert bench.workers[0].begun == []

    run(whole)


def test_restarted_worker_gets_the_table_when_it_says_hello(tmp_path: Path) -> None:
    """A worker that died is brought up to date by its successor's hello."""

    async def story(plane: ScriptedControlPlane, bench: AgentBench) -> None:
        plane.push(frame(A, config()))
        await plane.until(lambda: plane.outlets[0].pings[-1] == A)
        await bench.workers[0].stop()
        fresh = FakeWorker(-1, 0)
        bench.workers.append(fresh)
        bench.connect(fresh)
        await until(lambda: fresh.hash == A)
        assert fresh.ids("routes") == {ROUTE}

    play(tmp_path, story)


def test_shared_pair_is_used_when_the_cluster_is_shared(tmp_path: Path) -> None:
    """cluster_mtls=shared: the pair is certificate and trust anchor, verified as kong_clustering."""

    async def whole() -> None:
        async with ScriptedControlPlane(mutual_context(SHARED, SHARED)) as plane:
            settings = {
                "cluster_control_plane": f"127.0.0.1:{plane.port}",
                "cluster_cert": SHARED.pem.decode(),
                "cluster_cert_key": SHARED.key_pem.decode(),
            }
            async with AgentBench(tmp_path, settings) as bench:
                await plane.until(lambda: plane.outlets and plane.outlets[0].pings)
                certificates = json.loads((await bench.get("/status/certificates"))[1])
                assert certificates["cluster"]["source"] == "configured"

    run(whole)


def test_counters_are_pushed_when_the_control_plane_announced_them(tmp_path: Path) -> None:
    """Totals since boot, acknowledged; on /metrics under the route's name."""

    async def story(plane: ScriptedControlPlane, bench: AgentBench) -> None:
        plane.push(frame(A, config()))
        await bench.in_force(A)
        bench.count(ROUTE, 200, 3)
        await bench.agent.count()
        await plane.until(lambda: plane.counter_frames)
        sent = plane.counter_frames[0]
        assert (sent["node_id"], sent["boot_id"]) == (bench.node_id, bench.boot_id)
        assert sent["rows"] == [[ROUTE, 200, "service", 3]]
        await until(lambda: bench.agent.counters.samples.count_pending() == 0)
        await until(lambda: bench.agent._apis._labels.routes)
        status, text = await bench.get("/metrics")
        assert status == 200
        assert b'kong_http_requests_total{service="mock",route="mockbin",code="200"' in text
        assert b"kong_control_plane_connected 1" in text
        assert b"kong_data_plane_cluster_cert_expiry_timestamp" in text

    play(tmp_path, story, announces=True)


def test_counters_are_on_disk_when_nobody_took_them(tmp_path: Path) -> None:
    """The agent ends while the control plane is a Kong: totals wait on disk; the next boot delivers them and deletes
    the file.
    """

    async def whole() -> None:
        async with ScriptedControlPlane(mutual_context(SERVER, CA)) as plane:
            async with AgentBench(tmp_path, pki(plane), boot_id="boot-1") as bench:
                await plane.until(lambda: plane.outlets and plane.outlets[0].pings)
                bench.count(ROUTE, 200, 5)
            assert plane.counters == []
            (kept,) = (tmp_path / "counters").glob("*.json")
            assert kept.name == "boot-1.json"
            plane.announces = True
            async with AgentBench(tmp_path, pki(plane), boot_id="boot-2") as bench:
                await plane.until(lambda: plane.counter_frames)
                await until(lambda: bench.agent.counters.samples.count_pending() == 0)
                await bench.agent.count()
                assert not kept.exists()
            assert [(sent["boot_id"], sent["rows"]) for sent in plane.counter_frames] == [
                ("boot-1", [[ROUTE, 200, "service", 5]])
            ]

    run(whole)


def test_last_counters_are_delivered_when_the_agent_ends(tmp_path: Path) -> None:
    """What workers counted to their end is pushed before the agent goes; nothing is left on disk."""

    async def whole() -> None:
        async with ScriptedControlPlane(mutual_context(SERVER, CA), announces=True) as plane:
            async with AgentBench(tmp_path, pki(plane)) as bench:
                await until(lambda: bench.agent.push is not None and bench.agent.push.state.is_connected)
                bench.count(ROUTE, 200, 7)
            assert plane.counter_frames[-1]["rows"] == [[ROUTE, 200, "service", 7]]
            assert list((tmp_path / "counters").glob("*")) == []
            assert bench.exit_code == 0

    run(whole)


def test_node_enrols_when_it_has_no_certificate(tmp_path: Path) -> None:
    """Key made here, certificate from the authority, connected with it; kept for the next start."""

    async def whole() -> None:
        async with (
            ScriptedAuthority(CA, SERVER) as est,
            ScriptedControlPlane(mutual_context(SERVER, CA), announces=True) as plane,
        ):
            settings = enrolling(est, plane)
            async with AgentBench(tmp_path, settings) as bench:
                await plane.until(lambda: plane.outlets and plane.outlets[0].pings)
                kept = identity.load(tmp_path / "certs")
                assert kept is not None
                assert kept.subject == f"CN={bench.node_id}"
            async with AgentBench(tmp_path, settings):
                await plane.until(lambda: len(plane.outlets) == 2 and plane.outlets[1].pings)
            assert [line.split(" ")[0] for line in est.lines] == ["GET", "POST"]

    run(whole)


def enrolling(est: ScriptedAuthority, plane: ScriptedControlPlane) -> dict[str, str]:
    return {
        "cluster_control_plane": f"127.0.0.1:{plane.port}",
        "cluster_telemetry_endpoint": f"127.0.0.1:{plane.port}",
        "kongdp_enroll_url": est.url,
        "kongdp_enroll_token": "one-time-token",
        "kongdp_enroll_ca": CA.pem.decode(),
    }


def test_node_enrols_again_when_the_kept_certificate_is_of_another_authority(tmp_path: Path) -> None:
    """The control plane was set up anew: its fingerprint in the settings decides, not what lies on the disk."""

    async def whole() -> None:
        async with (
            ScriptedAuthority(CA, SERVER) as est,
            ScriptedControlPlane(mutual_context(SERVER, CA), announces=True) as plane,
        ):
            request = identity.make_request("old")
            key = serialization.load_pem_private_key(request.key, None)
            other = authority("other")
            old = make("old", issuer=other, key=key)  # type: ignore[arg-type]
            identity.save(identity.accept(request, [old.certificate], [other.certificate]), tmp_path / "certs")
            settings = enrolling(est, plane)
            del settings["kongdp_enroll_ca"]
            settings["kongdp_enroll_ca_fingerprint"] = identity.fingerprint(CA.certificate)
            async with AgentBench(tmp_path, settings):
                await plane.until(lambda: plane.outlets and plane.outlets[0].pings)
            assert sum(line.startswith("POST") for line in est.lines) == 1

    run(whole)


def test_connection_is_replaced_without_a_gap_when_the_certificate_is_renewed(tmp_path: Path) -> None:
    """At two thirds of a short life: simplereenroll, a second connection, then the end of the first."""

    async def whole() -> None:
        async with (
            ScriptedAuthority(CA, SERVER) as est,
            ScriptedControlPlane(mutual_context(SERVER, CA), announces=True) as plane,
        ):
            est.life_s = 4.0
            async with AgentBench(tmp_path, enrolling(est, plane)) as bench:
                await until(lambda: any("simpleenroll" in line for line in est.lines))
                est.life_s = 3600.0
                await plane.until(lambda: plane.outlets and plane.outlets[0].has_ended)
                assert est.lines[-1].startswith("POST /.well-known/est/simplereenroll")
                assert len(plane.outlets) == 2
                assert not plane.outlets[1].has_ended
                assert plane.outlets[0].client_certificate != plane.outlets[1].client_certificate
                assert bench.agent.sync is not None
                assert bench.agent.sync.state.is_connected

    run(whole)


def test_node_serves_and_asks_again_when_enrolment_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without certificate there is no sync, but the cache is served; the reason is in the log and on the status page."""

    async def whole() -> None:
        cache.write(tmp_path / cache.FILE_NAME, Reconfigure(A, config()))
        async with (
            ScriptedAuthority(CA, SERVER) as est,
            ScriptedControlPlane(mutual_context(SERVER, CA)) as plane,
        ):
            est.answer = (401, "", b'{"message":"the enrolment token is unknown, used or expired"}')
            async with AgentBench(tmp_path, enrolling(est, plane)) as bench:
                await until(lambda: bench.agent.trust.last_error)
                assert bench.workers[0].hash == A
                certificates = json.loads((await bench.get("/status/certificates"))[1])
                assert certificates["cluster"] is None
                assert "unknown, used or expired" in certificates["last_error"]
            assert "one-time-token" not in caplog.text

    run(whole)


DBLESS = {"role": "traditional", "admin_listen": "127.0.0.1:0"}
DOCUMENT = {
    "_format_version": "3.0",
    "services": [{"name": "a", "url": "http://example.com", "routes": [{"name": "r", "paths": ["/a"]}]}],
}
POSTED = json.dumps(DOCUMENT).encode()


def test_file_is_served_when_the_node_has_no_database_and_no_control_plane(tmp_path: Path) -> None:
    """DB-less: declarative_config at start; the Admin API shows its entities and refuses writes."""
    path = tmp_path / "kong.json"
    path.write_text(json.dumps(DOCUMENT))

    async def whole() -> None:
        async with AgentBench(tmp_path / "prefix", {**DBLESS, "declarative_config": str(path)}) as bench:
            await until(lambda: bench.workers[0].hash != ZEROS)
            await until(lambda: bench.agent.pipeline.in_force != ZEROS)
            status, body = await bench.get("/services/a", admin=True)
            assert (status, json.loads(body)["host"]) == (200, "example.com")
            status, body = await bench.get("/services", admin=True, method="POST", body=b'{"name":"b","host":"x"}')
            assert status == 405
            assert (await bench.get("/status", admin=True))[0] == 200

    run(whole)


def test_posted_configuration_is_answered_when_all_workers_serve_it(tmp_path: Path) -> None:
    """POST /config: 201 after the last worker, 429 meanwhile, 304 for the same hash, 400 with the fields for a bad
    one.
    """

    async def whole() -> None:
        async with AgentBench(tmp_path, DBLESS, workers=2) as bench:
            await until(lambda: all(worker.is_told for worker in bench.workers))
            slow = bench.workers[0]
            slow.holds = True
            post = asyncio.create_task(bench.get("/config", admin=True, method="POST", body=POSTED))
            await until(lambda: slow._held)
            assert not post.done()
            busy, _ = await bench.get("/config", admin=True, method="POST", body=POSTED)
            assert busy == 429
            slow.release()
            status, body = await post
            assert status == 201
            assert [row["name"] for row in json.loads(body)["services"].values()] == ["a"]
            assert all(worker.ids("routes") for worker in bench.workers)
            same = await bench.get("/config?check_hash=1", admin=True, method="POST", body=POSTED)
            assert same[0] == 304
            bad = {**DOCUMENT, "services": [{"name": "a"}]}
            status, body = await bench.get("/config", admin=True, method="POST", body=json.dumps(bad).encode())
            assert status == 400
            assert json.loads(body)["code"] == 14
            assert (await bench.get("/services/a", admin=True))[0] == 200

    run(whole)


def test_posted_configuration_survives_when_the_node_restarts(tmp_path: Path) -> None:
    """Without a declarative file the cache is what the node starts from."""

    async def whole() -> None:
        async with AgentBench(tmp_path, DBLESS) as bench:
            await until(lambda: bench.workers[0].is_told)
            status, _ = await bench.get("/config", admin=True, method="POST", body=POSTED)
            assert status == 201
        async with AgentBench(tmp_path, DBLESS) as bench:
            await until(lambda: bench.workers[0].ids("services"))

    run(whole)


def test_start_fails_with_the_reason_when_the_file_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken declarative file stops a DB-less node: exit code 78, the reason on the lifeline."""
    path = tmp_path / "kong.yml"
    path.write_text("_format_version: '3.0'\nservices:\n- name: a\n")
    failures: list[str] = []
    monkeypatch.setattr(lifeline.Lifeline, "fail", lambda _, reason: failures.append(reason))

    async def whole() -> None:
        async with AgentBench(tmp_path / "prefix", {**DBLESS, "declarative_config": str(path)}):
            await until(lambda: failures)
        assert "declarative_config: " in failures[0]
        assert "'host'" in failures[0]

    run(whole)


def test_agent_leaves_after_its_workers_when_the_supervisor_dies(tmp_path: Path) -> None:
    """End of file on the lifeline: workers drain first, then the agent stores its counters and goes."""

    async def story(plane: ScriptedControlPlane, bench: AgentBench) -> None:
        bench.count(ROUTE, 200, 2)
        bench.line.close()
        await until(lambda: bench.agent._is_orphan)
        assert not bench._task.done()
        await bench.workers[0].stop()
        assert await bench._task == 0
        assert list((tmp_path / "counters").glob("*.json"))

    play(tmp_path, story)


def test_new_segment_is_read_when_the_supervisor_hands_it_over(tmp_path: Path) -> None:
    """A worker more, or a restarted one: its segment comes with its descriptor."""

    async def story(plane: ScriptedControlPlane, bench: AgentBench) -> None:
        fd = bench._segment()
        lifeline.send(bench.line, {"type": "segments", "segments": [{"index": 1, "generation": 1}]}, [fd])
        os.close(bench.segment_fd)
        bench.segment_fd = fd
        bench.count(ROUTE, 204, 4)
        bench.agent.counters.refresh()
        await until(lambda: (bench.agent.counters.refresh(), bench.agent.counters.reader.totals.routes)[1])
        assert bench.agent.counters.reader.totals.route(ROUTE).total(204 * 2 + 1) == 4

    play(tmp_path, story)


def test_draining_is_said_when_asked_for(tmp_path: Path) -> None:
    """POST /status/ready: load balancers see 503, the node serves on."""

    async def story(plane: ScriptedControlPlane, bench: AgentBench) -> None:
        assert (await bench.get("/status/ready", method="POST", body=b'{"status":"draining"}'))[0] == 204
        status, body = await bench.get("/status/ready")
        assert (status, json.loads(body)) == (503, {"message": "draining"})

    play(tmp_path, story)
