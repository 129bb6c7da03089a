"""The cluster listener over real mTLS: what a data plane of Kong, and one of ours, may do and see."""

import json
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kongdp.controlplane import nodes
from kongdp.controlplane.authority import Authority
from tests.support.control_plane import ControlPlane, running
from tests.support.loops import run
from tests.support.scripted_data_plane import ZEROS, KeyPair, ScriptedDataPlane, make_request, save_pair

Scenario = Callable[[ControlPlane], Awaitable[None]]
TRANSCRIPT = Path(__file__).parents[1] / "conformance" / "data" / "dp-transcript-3.9.1.json"


def play(scenario: Scenario, tmp_path: Path, **options: Any) -> None:
    """Run one scenario against a control plane of its own, on the loop that control planes use."""

    async def main() -> None:
        async with running(tmp_path, **options) as plane:
            await scenario(plane)

    run(main())


async def joined(plane: ControlPlane, pair: KeyPair | None = None, **info: Any) -> ScriptedDataPlane:
    pair = pair or plane.node_pair()
    link = await plane.connect(pair)
    await link.join(pair.node_id, **info)
    return link


def test_a_node_gets_the_configuration_at_once_when_it_has_introduced_itself(tmp_path: Path) -> None:
    """101 announces telemetry; the push comes unasked; pongs are empty; the ping is the acknowledgement."""

    async def scenario(plane: ControlPlane) -> None:
        await plane.put("services", {"name": "a", "host": "h", "port": 80, "enabled": True})
        pair = plane.node_pair()
        link = await joined(plane, pair)
        assert link.answer is not None
        assert link.answer[1]["x-kongdp-telemetry"] == "1"
        assert "sec-websocket-extensions" not in link.answer[1]
        message = await link.configuration()
        assert message["type"] == "reconfigure"
        assert [row["name"] for row in message["config_table"]["services"]] == ["a"]
        assert message["hashes"]["config"] == message["config_hash"]
        await link.ping(ZEROS)
        assert await link.pong() == b""
        await link.ping(message["config_hash"])
        assert await link.pong() == b""
        node = await plane.node(pair.node_id)
        assert (node.config_hash, node.sync_status, node.version) == (message["config_hash"], "normal", "3.9.1")
        assert (node.hostname, node.ip) == ("scripted", "127.0.0.1")
        assert nodes.judge(node, message["config_hash"], node.last_seen).is_in_sync

    play(scenario, tmp_path)


def test_a_change_is_pushed_when_a_node_is_connected(tmp_path: Path) -> None:
    """Each edit arrives without being asked for, and the hash of what did not change stays."""

    async def scenario(plane: ControlPlane) -> None:
        link = await joined(plane)
        first = await link.configuration()
        await plane.put("services", {"name": "a", "host": "h", "port": 80, "enabled": True})
        second = await link.configuration()
        assert "services" not in first["config_table"]
        assert second["hashes"]["services"] != first["hashes"]["services"] == ZEROS
        assert second["hashes"]["routes"] == first["hashes"]["routes"]

    play(scenario, tmp_path)


def test_a_kong_node_is_served_when_it_shows_the_shared_pair(tmp_path: Path) -> None:
    """SNI kong_clustering gets the shared certificate; the same certificate admits any node id; no telemetry is
    announced.
    """

    async def scenario(plane: ControlPlane) -> None:
        shared = plane.shared_pair
        link = await plane.connect(shared, trust=shared.certificate.read_text(), name="kong_clustering")
        await link.join(str(uuid.uuid4()))
        assert link.answer is not None
        assert "x-kongdp-telemetry" not in link.answer[1]
        message = await link.configuration()
        await link.ping(message["config_hash"])
        assert await link.pong() == b""

    play(scenario, tmp_path, has_shared_pair=True)


def test_the_frames_of_a_real_kong_node_are_understood(tmp_path: Path) -> None:
    """A recorded Kong 3.9.1 data plane, byte for byte in its request and message, is served and listed."""

    async def scenario(plane: ControlPlane) -> None:
        events = json.loads(TRANSCRIPT.read_text())["events"]
        head = next(event["head"] for event in events if event["ev"] == "request")
        info = next(event["data"] for event in events if event["ev"] == "binary")
        shared = plane.shared_pair
        link = await plane.connect(shared, trust=shared.certificate.read_text(), name="kong_clustering")
        await link.send_raw((head + "\r\n\r\n").encode())
        status, _fields = await link._head()
        assert status == 101
        await link.send_binary(json.dumps(info).encode())
        message = await link.configuration()
        for payload in [event["payload"] for event in events if event["ev"] == "ping"]:
            await link.ping(payload)
            assert await link.pong() == b""
        node = await plane.node("1da9157f-c443-4b08-8355-c97520754c21")
        assert (node.hostname, node.version, node.sync_status) == ("vm", "3.9.1", "normal")
        assert message["config_table"]["parameters"][0]["key"] == "cluster_id"

    play(scenario, tmp_path, has_shared_pair=True)


async def _no_certificate(plane: ControlPlane) -> ScriptedDataPlane:
    return await plane.connect(None)


async def _foreign_certificate(plane: ControlPlane) -> ScriptedDataPlane:
    other = Authority.open(plane.prefix / "other", plane.clock)
    key = ec.generate_private_key(ec.SECP256R1())
    node_id = str(uuid.uuid4())
    certificate = other.issue_node(make_request(node_id, key), plane.group_id, 3600)
    return await plane.connect(save_pair(plane.prefix, certificate, key, node_id))


@pytest.mark.parametrize("connect", [_no_certificate, _foreign_certificate])
def test_a_node_without_a_good_certificate_is_refused_without_a_byte(
    tmp_path: Path, connect: Callable[[ControlPlane], Awaitable[ScriptedDataPlane]]
) -> None:
    """The one refusal that every client understands: the connection ends and no answer comes."""

    async def scenario(plane: ControlPlane) -> None:
        link = await connect(plane)
        node_id = str(uuid.uuid4())
        assert await link.upgrade(f"/v1/outlet?node_id={node_id}&node_hostname=h&node_version=3.9.1") == 0

    play(scenario, tmp_path)


def test_a_node_is_refused_when_it_claims_the_id_of_another(tmp_path: Path) -> None:
    """A certificate of ours is good for the node it names and for no other."""

    async def scenario(plane: ControlPlane) -> None:
        link = await plane.connect(plane.node_pair())
        assert await link.upgrade(f"/v1/outlet?node_id={uuid.uuid4()}&node_hostname=h&node_version=3.9.1") == 0

    play(scenario, tmp_path)


@pytest.mark.parametrize("query", ["node_version=3.9.1", "node_id={id}", "node_id=x&node_version=3.9.1"])
def test_an_upgrade_without_its_arguments_is_a_bad_request(tmp_path: Path, query: str) -> None:
    """Missing or malformed arguments are said in words."""

    async def scenario(plane: ControlPlane) -> None:
        pair = plane.node_pair()
        link = await plane.connect(pair)
        assert await link.upgrade("/v1/outlet?" + query.format(id=pair.node_id)) == 400

    play(scenario, tmp_path)


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [("HEAD", "/v1/wrpc", 404), ("GET", "/v2/outlet", 404), ("GET", "/", 404), ("GET", "/v1/counters", 404)],
)
def test_other_protocols_are_not_found(tmp_path: Path, method: str, target: str, status: int) -> None:
    """404 sends a 3.0 data plane to /v1/outlet, and ours from version 2 to version 1."""

    async def scenario(plane: ControlPlane) -> None:
        link = await plane.connect(plane.node_pair())
        assert (await link.request(method, target))[0] == status
        # The connection goes on: the real request may follow on it.
        assert (await link.request("GET", "/again"))[0] == 404

    play(scenario, tmp_path)


@pytest.mark.parametrize(
    ("version", "reason"),
    [("2.8.5", "incompatible with control plane version"), ("3.10.0", "older control plane"), ("4.0.0", "3.x.y")],
)
def test_an_incompatible_version_is_listed_and_then_closed(tmp_path: Path, version: str, reason: str) -> None:
    """The upgrade succeeds and the row is written before the close frame, so that an operator sees why."""

    async def scenario(plane: ControlPlane) -> None:
        pair = plane.node_pair()
        link = await joined(plane, pair, version=version)
        assert reason in (await link.end() or "")
        node = await plane.node(pair.node_id)
        assert node.sync_status == "kong_version_incompatible"
        assert not nodes.judge(node, None, node.last_seen).is_connected or node.disconnected_at is None

    play(scenario, tmp_path)


def test_a_node_of_an_older_minor_version_is_served(tmp_path: Path) -> None:
    """Four-part and older versions of the same major are compatible."""

    async def scenario(plane: ControlPlane) -> None:
        link = await joined(plane, version="3.4.2.0")
        assert (await link.configuration())["type"] == "reconfigure"

    play(scenario, tmp_path)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"\x89\x80\0\0\0\0", "invalid hash: ''"),
        (b"\x89\x83\0\0\0\0abc", "invalid hash: 'abc'"),
        (b"\x81\x82\0\0\0\0{}", "invalid websocket frame received from data plane: text"),
        (b"\x82\x82\0\0\0\0{}", "invalid websocket frame received from data plane: binary"),
        (b"\x8a\x80\0\0\0\0", "invalid websocket frame received from data plane: pong"),
        (b"\x89\x00", "not a WebSocket frame"),
        (b"\xc2\x82\0\0\0\0{}", "not a WebSocket frame"),
    ],
)
def test_anything_but_a_hash_ends_the_connection(tmp_path: Path, frame: bytes, reason: str) -> None:
    """After basic_info only 32-byte pings are legal (and error frames of ours)."""

    async def scenario(plane: ControlPlane) -> None:
        link = await joined(plane)
        await link.configuration()
        await link.send_raw(frame)
        assert reason in (await link.end() or "")

    play(scenario, tmp_path)


@pytest.mark.parametrize("first", [b"{}", b"not json", b'{"type":"basic_info"}', b'{"type":"other","plugins":[]}'])
def test_a_first_message_that_is_not_basic_info_ends_the_connection(tmp_path: Path, first: bytes) -> None:
    """Whoever does not introduce itself gets nothing."""

    async def scenario(plane: ControlPlane) -> None:
        pair = plane.node_pair()
        link = await plane.connect(pair)
        await link.upgrade(f"/v1/outlet?node_id={pair.node_id}&node_hostname=h&node_version=3.9.1")
        await link.send_binary(first)
        assert await link.end() is not None
        assert plane.hub.connected() == []

    play(scenario, tmp_path)


def test_a_node_without_a_configured_plugin_stays_connected_and_gets_nothing(tmp_path: Path) -> None:
    """It gets the configuration as soon as the plugin is removed."""

    async def scenario(plane: ControlPlane) -> None:
        plugin = await plane.put("plugins", {"name": "rate-limiting", "enabled": True, "config": {}})
        pair = plane.node_pair()
        link = await joined(plane, pair)
        await link.ping(ZEROS)
        assert await link.pong() == b""
        assert (await plane.node(pair.node_id)).sync_status == "plugin_set_incompatible"
        await plane.delete("plugins", plugin)
        assert "plugins" not in (await link.configuration())["config_table"]
        await plane.hub.flush()
        assert (await plane.node(pair.node_id)).sync_status == "normal"

    play(scenario, tmp_path)


def test_a_rejection_is_kept_until_the_node_has_moved_on(tmp_path: Path) -> None:
    """A node of ours says why it refused a configuration; the node list shows the reason."""

    async def scenario(plane: ControlPlane) -> None:
        pair = plane.node_pair()
        link = await joined(plane, pair)
        first = await link.configuration()
        await link.ping(first["config_hash"])
        await link.pong()
        await plane.put("services", {"name": "a", "host": "h", "port": 80, "enabled": True})
        second = await link.configuration()
        error = {"name": "declarative configuration parse failure", "source": "s", "message": "services.1: no"}
        report = {"type": "error", "error": {**error, "config_hash": second["config_hash"], "code": 14, "fields": {}}}
        await link.send_binary(json.dumps(report).encode())
        await link.ping(first["config_hash"])
        await link.pong()
        node = await plane.node(pair.node_id)
        judged = nodes.judge(node, second["config_hash"], node.last_seen)
        assert judged.is_connected
        assert not judged.is_in_sync
        assert judged.reason == "rejected the configuration: services.1: no"
        await link.ping(second["config_hash"])
        await link.pong()
        assert (await plane.node(pair.node_id)).last_error is None

    play(scenario, tmp_path)


def test_two_connections_of_a_node_are_one_row_when_it_renews(tmp_path: Path) -> None:
    """The new connection opens before the old one closes; the row never says disconnected."""

    async def scenario(plane: ControlPlane) -> None:
        pair = plane.node_pair()
        old = await joined(plane, pair)
        first = await old.configuration()
        new = await joined(plane, pair)
        await new.configuration()
        await new.ping(first["config_hash"])
        await new.pong()
        await old.close()
        await plane.until(lambda: len(plane.hub.connected()) == 1)
        node = await plane.node(pair.node_id)
        assert node.disconnected_at is None
        assert len(await plane.all_nodes()) == 1
        await new.close()
        await plane.until(lambda: not plane.hub.connected())
        assert (await plane.node(pair.node_id)).disconnected_at is not None

    play(scenario, tmp_path)


def test_a_large_configuration_is_one_frame_and_pongs_follow_it(tmp_path: Path) -> None:
    """Pings that arrive while megabytes are on their way are answered, after the one frame."""

    async def scenario(plane: ControlPlane) -> None:
        noise = Random(1).randbytes(3_000_000).hex()
        await plane.put("services", {"name": noise, "host": "h", "port": 80, "enabled": True})
        # Another node has it already, so that it is ready when the second one asks.
        await (await joined(plane)).configuration()
        link = await joined(plane)
        for _ in range(3):
            await link.ping(ZEROS)
        message = await link.configuration()
        assert message["config_table"]["services"][0]["name"] == noise
        assert [await link.pong() for _ in range(3)] == [b"", b"", b""]

    play(scenario, tmp_path)


def test_a_configuration_beyond_the_limit_is_not_sent_and_said(tmp_path: Path) -> None:
    """The node keeps what it has, and the hub knows why."""

    async def scenario(plane: ControlPlane) -> None:
        link = await joined(plane)
        await link.configuration()
        noise = Random(1).randbytes(200_000).hex()
        row = await plane.put("services", {"name": noise, "host": "h", "port": 80, "enabled": True})
        await plane.until(lambda: "cluster_max_payload" in plane.hub.problem(plane.group_id))
        row["name"] = "short"
        await plane.put("services", row)
        assert (await link.configuration())["config_table"]["services"][0]["name"] == "short"
        assert plane.hub.problem(plane.group_id) == ""

    play(scenario, tmp_path, payload_bytes_max=100_000)


def test_a_request_head_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    """Bounds come before anything else."""

    async def scenario(plane: ControlPlane) -> None:
        link = await plane.connect(plane.node_pair())
        status, _fields, _body = await link.request("GET", "/" + "x" * 40_000)
        assert status in (400, 414, 431)

    play(scenario, tmp_path)


def test_a_node_is_told_why_when_the_control_plane_stops(tmp_path: Path) -> None:
    """Stopping closes every connection with a reason."""

    async def scenario(plane: ControlPlane) -> None:
        link = await joined(plane)
        await link.configuration()
        await plane.stop()
        assert await link.end() == "the control plane is stopping"

    play(scenario, tmp_path)
