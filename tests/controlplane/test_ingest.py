"""Counter frames on their way to the database: what one node sends must not keep the others' from being stored."""

import asyncio
from collections.abc import Sequence

import pytest

from kongdp.controlplane.ingest import CounterIngest
from kongdp.sync.messages import CounterFrame


def frame(node: str) -> CounterFrame:
    return CounterFrame(node, "boot", 1, 1.0, (("r" * 36, 200, "service", 1),))


def play(nodes: Sequence[str], *, is_away: bool = False) -> tuple[list[list[str]], dict[str, bool]]:
    """Submit a frame of each node at once, over a store that cannot take those of `bad` ones, or none at all.

    Returns the nodes of each call of the store, and for each node whether its frame was stored.
    """
    calls: list[list[str]] = []
    stored: dict[str, bool] = {}

    async def store(frames: Sequence[CounterFrame]) -> None:
        calls.append([each.node_id for each in frames])
        if is_away or any(each.node_id.startswith("bad") for each in frames):
            raise OSError("no")

    async def story() -> None:
        ingest = CounterIngest(store)
        for node in nodes:
            ingest.submit(frame(node), lambda error, node=node: stored.__setitem__(node, error is None))  # type: ignore[misc]
        await ingest.close()

    asyncio.run(story())
    return calls, stored


def test_frames_are_stored_together() -> None:
    """One call for all that wait."""
    assert play(["a", "b"]) == ([["a", "b"]], {"a": True, "b": True})


def test_a_frame_that_cannot_be_stored_is_its_nodes_alone() -> None:
    """The others are stored without it; only its node's connection ends."""
    calls, stored = play(["a", "bad", "b", "a"])
    assert stored == {"a": True, "bad": False, "b": True}
    assert calls == [["a", "bad", "b", "a"], ["a", "a"], ["bad"], ["b"]]


def test_a_database_that_is_away_is_not_asked_for_every_node() -> None:
    """Two nodes' frames refused one after the other are no fault of theirs: the rest is not tried, and nodes send it again."""
    calls, stored = play([str(number) for number in range(5)], is_away=True)
    assert len(calls) == 3
    assert not any(stored.values())


def test_the_others_are_told_when_telling_one_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A stream with a fault costs neither the frames beside it nor those that come later."""
    stored: list[str] = []

    async def store(_frames: Sequence[CounterFrame]) -> None:
        pass

    def fail(_error: Exception | None) -> None:
        raise RuntimeError("no such stream")

    async def story() -> None:
        ingest = CounterIngest(store)
        ingest.submit(frame("broken"), fail)
        ingest.submit(frame("beside"), lambda _error: stored.append("beside"))
        while not stored:
            await asyncio.sleep(0)
        ingest.submit(frame("later"), lambda _error: stored.append("later"))
        await ingest.close()

    asyncio.run(asyncio.wait_for(story(), 30))
    assert stored == ["beside", "later"]
    assert "node broken could not be told of its counter frame 1" in caplog.text
