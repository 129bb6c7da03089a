"""Rates of the last seconds: what frames add, what a histogram since boot adds, and what is forgotten."""

import asyncio
import uuid
from pathlib import Path

from kongdp.controlplane.pulse import KEPT_S, LAG_S, WINDOW_S, Gain, Pulse, percentile
from kongdp.sync.messages import LATENCY_BOUNDS_MS, CounterFrame, decode_counters, encode_counters
from tests.support.control_plane_api import served

NOW = 1_000_000.0
NONE = (0,) * (len(LATENCY_BOUNDS_MS) + 1)


def latencies(**counts: int) -> tuple[int, ...]:
    """A histogram: `le_100=5` are five requests in the bucket that ends at 100 ms, `beyond` what is slower than all."""
    return (*(counts.get(f"le_{bound}", 0) for bound in LATENCY_BOUNDS_MS), counts.get("beyond", 0))


def test_a_rate_is_the_mean_of_the_last_whole_seconds() -> None:
    """Errors are shares of it; other nodes do not count."""
    pulse = Pulse()
    at = NOW - LAG_S - 1
    pulse.gained(
        [Gain("a", at, 200, 60), Gain("a", at - 1, 404, 30), Gain("a", at, 503, 10), Gain("b", at, 200, 5)], NOW
    )
    rates = pulse.rates(["a"], NOW)
    assert rates.requests_per_s == 100 / WINDOW_S
    assert (rates.client_error_share, rates.server_error_share) == (0.3, 0.1)
    assert rates.points[-1] == (int(at), 70, 0, 10)
    assert pulse.rates(["a", "b"], NOW).requests_per_s == 105 / WINDOW_S
    assert pulse.requests_per_s("b", NOW) == 5 / WINDOW_S
    assert pulse.rates(["nobody"], NOW).latency_ms == {}


def test_latencies_are_differences_of_one_boot() -> None:
    """The first histogram of a boot says where it stands; a restart does not take away."""
    pulse = Pulse()
    at = NOW - LAG_S - 1
    pulse.timed("a", "boot 1", latencies(le_25=1000), at - 1, NOW)
    assert pulse.rates(["a"], NOW).latency_ms == {}
    pulse.timed("a", "boot 1", latencies(le_25=1090, le_400=8, beyond=2), at, NOW)
    assert pulse.rates(["a"], NOW).latency_ms == {50: 25.0, 95: 400.0, 99: None}
    pulse.timed("a", "boot 2", latencies(le_25=1), at, NOW)
    assert pulse.rates(["a"], NOW).latency_ms == {50: 25.0, 95: 400.0, 99: None}


def test_a_percentile_is_the_bound_of_its_bucket() -> None:
    """None where it lies beyond the last one."""
    assert percentile(latencies(le_25=99, le_5000=1), 99) == 25.0
    assert percentile(latencies(le_25=98, le_5000=2), 99) == 5000.0
    assert percentile(latencies(beyond=1), 50) is None


def test_old_seconds_and_silent_nodes_are_forgotten() -> None:
    """Memory is bounded by KEPT_S and by who was heard of within it; what comes too late is not taken in."""
    pulse = Pulse()
    pulse.gained([Gain("a", NOW, 200, 1), Gain("b", NOW - KEPT_S - 1, 200, 1)], NOW)
    assert list(pulse._nodes) == ["a"]
    pulse.gained([Gain("c", NOW + 2 * KEPT_S, 200, 1)], NOW + 2 * KEPT_S)
    assert list(pulse._nodes) == ["c"]


def test_frames_carry_latencies_when_a_node_says() -> None:
    """One that does not, or says something else, is none the worse."""
    frame = CounterFrame("n", "b", 1, 5.0, (("r", 200, "service", 3),), latencies(le_25=3))
    assert decode_counters(encode_counters(frame)) == frame
    bare = CounterFrame("n", "b", 1, 5.0, ())
    assert b"latencies" not in encode_counters(bare)
    assert decode_counters(encode_counters(bare).replace(b'"rows"', b'"latencies":[1,2],"rows"')) == bare


def test_what_happens_now_is_told_by_group(tmp_path: Path) -> None:
    """What the store has counted is in the rates at once, under the node's group."""

    async def scenario() -> None:
        async with served(tmp_path) as api:
            plane = api.plane.plane
            pair = api.plane.node_pair()
            link = await api.plane.connect(pair)
            await link.join(pair.node_id)
            await api.plane.until(lambda: bool(list(plane.hub.connected())))
            now = plane.clock()
            frame = CounterFrame(pair.node_id, "boot", 1, now - LAG_S - 1, ((str(uuid.uuid4()), 200, "service", 50),))
            await plane._store_counters([frame])
            await plane.hub.flush()
            live = await api.got("/v2/live")
            assert live["requests_per_s"] == 50 / WINDOW_S
            (group,) = live["groups"]
            assert (group["name"], group["nodes"], group["connected"]) == ("default", 1, 1)
            assert (await api.got("/v2/control-planes/default/live"))["nodes"] == {pair.node_id: 50 / WINDOW_S}

    asyncio.run(scenario())
