"""The hub over data planes without sockets: what one connection does must not keep the others' from being served."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid4

import pytest

from kongdp.controlplane import schedule
from kongdp.controlplane.cluster.outlet import DataPlane
from kongdp.controlplane.export import Payload
from kongdp.controlplane.hub import Hub
from kongdp.controlplane.nodes import Node
from tests.controlplane.test_outlet import PEER, Link
from tests.support.both_loops import until
from tests.support.scripted_data_plane import basic_info


class BrokenLink(Link):
    """A connection of which nobody knows yet that it cannot be written to."""

    def send_binary(self, payload: bytes) -> None:
        raise RuntimeError("unable to perform operation; the handler is closed")


class NoRows:
    """Node rows that go nowhere."""

    async def save(self, nodes: Sequence[Node], ended: Sequence[tuple[str, str, float]]) -> None:
        pass


def connect(hub: Hub, link: Link) -> None:
    plane = DataPlane(replace(PEER, node_id=str(uuid4())), hub, link_id="link", wall=float, monotonic=float)
    plane.opened(link)
    plane.binary_received(json.dumps(basic_info()).encode())


def test_pushes_go_on_when_one_connection_cannot_be_written_to(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The others get this configuration and the next; the broken one is ended, so that its node comes back."""
    monkeypatch.setattr(schedule, "FIRST_DELAY_S", 0.0)
    monkeypatch.setattr(schedule, "SPACING_S", 0.0)

    async def story() -> None:
        revision = 1

        async def export(group_id: str) -> Payload:
            frame = f"configuration {revision}"
            return Payload(group_id, revision, frame.rjust(32, "0"), {}, frame.encode(), frozenset(), 0.0)

        hub = Hub(export, NoRows(), wall=float, payload_bytes_max=1000)
        broken, good = BrokenLink(), Link()
        connect(hub, broken)
        connect(hub, good)
        await until(lambda: good.sent == [b"configuration 1"])
        await until(lambda: broken.closed is not None)
        revision, good.is_sending = 2, False
        hub.changed(PEER.group_id)
        await until(lambda: good.sent == [b"configuration 1", b"configuration 2"])
        await hub.close()

    asyncio.run(story())
    assert "could not be offered" in caplog.text
