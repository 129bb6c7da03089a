"""The telemetry listener over real mTLS: frames are acknowledged after the commit, and only a node's own are taken."""

import asyncio
import ssl
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
import pytest

from kongdp.controlplane import activity
from kongdp.controlplane.activity_record import Scope, frame_span, record
from kongdp.sync.messages import CounterFrame, decode_ack, encode_counters
from tests.support.control_plane import ControlPlane, running
from tests.support.scripted_data_plane import ScriptedDataPlane

ROUTE = "5b5b3537-7bcb-4cca-9bf0-e9d43429d848"


def play(scenario: Callable[[ControlPlane], Awaitable[None]], tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as plane:
            await scenario(plane)

    asyncio.run(main())


async def opened(plane: ControlPlane, node_id: str) -> ScriptedDataPlane:
    link = await plane.connect(plane.node_pair(node_id), port=plane.telemetry_port)
    assert await link.upgrade("/v1/counters") == 101
    return link


def frame(plane: ControlPlane, node_id: str, seq: int, total: int) -> str:
    rows = ((ROUTE, 200, "service", total),)
    return encode_counters(CounterFrame(node_id, "boot", seq, plane.clock(), rows)).decode()


async def counted(plane: ControlPlane) -> int:
    def read() -> int:
        with plane.plane.database.read() as connection:
            return record(connection, Scope(route_ids=(ROUTE,)), frame_span("5m", plane.clock())).codes.get(200, 0)

    return await plane.plane.database.run(read)


def test_what_is_acknowledged_is_counted_once(tmp_path: Path) -> None:
    """Repeated and late frames are acknowledged and change nothing."""

    async def scenario(plane: ControlPlane) -> None:
        node_id = str(uuid.uuid4())
        link = await opened(plane, node_id)
        for seq, total in ((1, 5), (2, 9), (1, 5), (2, 9)):
            await link.send_text(frame(plane, node_id, seq, total))
            assert decode_ack(await link.message()) == seq
        assert await counted(plane) == 9
        again = await opened(plane, node_id)
        await again.send_text(frame(plane, node_id, 3, 10))
        assert decode_ack(await again.message()) == 3
        assert await counted(plane) == 10

    play(scenario, tmp_path)


def test_many_frames_at_once_are_all_acknowledged(tmp_path: Path) -> None:
    """Reading pauses while frames wait, and goes on."""

    async def scenario(plane: ControlPlane) -> None:
        node_id = str(uuid.uuid4())
        link = await opened(plane, node_id)
        for seq in range(1, 51):
            await link.send_text(frame(plane, node_id, seq, seq))
        assert [decode_ack(await link.message()) for _ in range(50)] == list(range(1, 51))
        assert await counted(plane) == 50

    play(scenario, tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("not json", "not JSON"),
        (orjson.dumps({"node_id": "other", "boot_id": "b", "seq": 1, "at": 1.0, "rows": []}).decode(), "of node other"),
        (orjson.dumps({"node_id": "other", "rows": [[1]]}).decode(), "malformed"),
    ],
)
def test_a_frame_that_is_not_the_nodes_own_ends_the_stream(tmp_path: Path, text: str, reason: str) -> None:
    """The close frame says why."""

    async def scenario(plane: ControlPlane) -> None:
        link = await opened(plane, str(uuid.uuid4()))
        await link.send_text(text)
        assert reason in (await link.end() or "")

    play(scenario, tmp_path)


def test_a_stream_needs_a_certificate_of_ours(tmp_path: Path) -> None:
    """Without one the TLS handshake fails: the server ends it, and no answer comes."""

    async def scenario(plane: ControlPlane) -> None:
        try:
            link = await plane.connect(None, port=plane.telemetry_port)
            assert await link.upgrade("/v1/counters") == 0
        except (ssl.SSLError, ConnectionError):
            pass

    play(scenario, tmp_path)


def test_what_could_not_be_stored_is_not_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream ends, so that the node sends it again."""

    def fail(*_arguments: object) -> None:
        raise OSError("disk full")

    async def scenario(plane: ControlPlane) -> None:
        node_id = str(uuid.uuid4())
        link = await opened(plane, node_id)
        with monkeypatch.context() as patch:
            patch.setattr(activity, "add", fail)
            await link.send_text(frame(plane, node_id, 1, 5))
            assert await link.end() == "the counters could not be stored"
        link = await opened(plane, node_id)
        await link.send_text(frame(plane, node_id, 1, 5))
        assert decode_ack(await link.message()) == 1
        assert await counted(plane) == 5

    play(scenario, tmp_path)
