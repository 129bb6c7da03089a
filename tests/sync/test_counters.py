"""The counter push against a scripted control plane: announcement, acknowledgements, losses."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from kongdp.certs.contexts import cluster_client_context
from kongdp.sync.counters import CountersClient
from kongdp.sync.handshake import NodeName
from kongdp.sync.link import Endpoint
from kongdp.telemetry.samples import Samples
from kongdp.telemetry.totals import CodeRow
from tests.support.both_loops import run, until
from tests.support.certificates import authority, make
from tests.support.scripted_control_plane import ScriptedControlPlane, mutual_context

CA = authority()
SERVER = make("cp", issuer=CA, names=("kongdp-control-plane",))
NODE = make("node", issuer=CA)
NAME = NodeName("1da9157f-c443-4b08-8355-c97520754c21", "vm", "3.9.1")

Story = Callable[[ScriptedControlPlane, CountersClient, Samples], Awaitable[None]]


@asynccontextmanager
async def pushing(
    plane: ScriptedControlPlane, samples: Samples, ack_timeout_s: float, pause_s: float
) -> AsyncIterator[CountersClient]:
    client = CountersClient(
        Endpoint("127.0.0.1", plane.port, "kongdp-control-plane"),
        NAME,
        samples,
        context=lambda: cluster_client_context(NODE.pair, [CA.pem], trusts_system=False),
        ack_timeout_s=ack_timeout_s,
        delay_s=lambda: pause_s,
    )
    task = asyncio.create_task(client.run())
    try:
        yield client
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def play(story: Story, *, ack_timeout_s: float = 10.0, pause_s: float = 0.01) -> None:
    """Run a story on both loops with one pending sample."""

    async def whole() -> None:
        async with ScriptedControlPlane(mutual_context(SERVER, CA)) as plane:
            samples = Samples("node", "boot", now=1.0)
            samples.add([CodeRow("route", 200, "service", 3)], 1.0)
            async with pushing(plane, samples, ack_timeout_s, pause_s) as client:
                await story(plane, client, samples)

    run(whole)


def test_nothing_is_sent_when_the_control_plane_announced_nothing() -> None:
    """A Kong control plane never sees a connection to /v1/counters."""

    async def story(plane: ScriptedControlPlane, client: CountersClient, samples: Samples) -> None:
        client.poke()
        for _ in range(100):
            await asyncio.sleep(0)
        assert plane.arrivals == []
        client.announced(True)
        await plane.until(lambda: plane.counters)

    play(story)


def test_frame_is_forgotten_when_acknowledged() -> None:
    """One text frame with node, boot, sequence and rows; after the answer nothing is pending."""

    async def story(plane: ScriptedControlPlane, client: CountersClient, samples: Samples) -> None:
        client.announced(True)
        await until(lambda: samples.count_pending() == 0)
        (frame,) = plane.counter_frames
        assert (frame["node_id"], frame["boot_id"]) == ("node", "boot")
        assert frame["rows"] == [["route", 200, "service", 3]]
        assert plane.counters[0].head.startswith(b"GET /v1/counters?node_id=")
        samples.add([CodeRow("route", 200, "service", 4)], 2.0)
        client.poke()
        await until(lambda: samples.count_pending() == 0)
        assert plane.counter_frames[1]["seq"] > frame["seq"]
        assert client.state.count_acknowledged == 2

    play(story)


def test_frame_is_sent_again_when_the_connection_was_lost() -> None:
    """Under a new number, with the same totals."""

    async def story(plane: ScriptedControlPlane, client: CountersClient, samples: Samples) -> None:
        plane.acknowledges = False
        client.announced(True)
        await plane.until(lambda: plane.counter_frames)
        plane.acknowledges = True
        plane.counters[0].writer.transport.abort()
        await until(lambda: samples.count_pending() == 0)
        first, second = plane.counter_frames
        assert second["rows"] == first["rows"]
        assert second["seq"] > first["seq"]

    play(story)


def test_connection_is_replaced_when_no_answer_comes() -> None:
    """A control plane that takes frames and stays silent is connected to again."""

    async def story(plane: ScriptedControlPlane, client: CountersClient, samples: Samples) -> None:
        plane.acknowledges = False
        client.announced(True)
        await plane.until(lambda: len(plane.counter_frames) >= 2)
        assert "no acknowledgement" in (client.state.last_error or "") or len(plane.counters) >= 2
        plane.acknowledges = True
        await until(lambda: samples.count_pending() == 0)

    play(story, ack_timeout_s=0.02)


def test_connection_is_replaced_when_news_come_and_no_answer() -> None:
    """An agent has news each second: that does not give a silent control plane another chance each time."""

    async def story(plane: ScriptedControlPlane, client: CountersClient, samples: Samples) -> None:
        async def keep_poking() -> None:
            while True:
                client.poke()
                await asyncio.sleep(0.001)

        plane.acknowledges = False
        client.announced(True)
        poking = asyncio.create_task(keep_poking())
        await plane.until(lambda: len(plane.counters) >= 2)
        poking.cancel()

    play(story, ack_timeout_s=0.5)


def test_connection_is_replaced_at_once_when_the_certificate_is_new() -> None:
    """While one is open, and while the push pauses because the certificate before it was refused."""

    async def story(plane: ScriptedControlPlane, client: CountersClient, samples: Samples) -> None:
        client.announced(True)
        await until(lambda: samples.count_pending() == 0)
        client.reconnect()
        await plane.until(lambda: len(plane.counters) == 2)
        await until(lambda: client.state.is_connected)
        plane.counters[1].writer.transport.abort()
        await until(lambda: not client.state.is_connected)
        client.reconnect()
        await plane.until(lambda: len(plane.counters) == 3)

    play(story, pause_s=3600.0)


def test_push_ends_when_the_announcement_is_withdrawn() -> None:
    """The node now talks to a control plane that takes no counters: the push stops, what is pending stays."""

    async def story(plane: ScriptedControlPlane, client: CountersClient, samples: Samples) -> None:
        client.announced(True)
        await until(lambda: samples.count_pending() == 0)
        client.announced(False)
        await plane.until(lambda: plane.counters[0].has_ended)
        samples.add([CodeRow("route", 200, "service", 9)], 2.0)
        client.poke()
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(plane.counters) == 1
        assert samples.count_pending() == 1

    play(story)
