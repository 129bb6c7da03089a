"""The lifeline's two ends."""

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest

from kongdp.process import lifeline
from kongdp.process.lifeline import Lifeline, LifelineEnded, LifelineWatch, Received


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Lifeline]]:
    """(supervisor's end, child's Lifeline)."""
    ours, theirs = lifeline.pair()
    child = Lifeline(theirs.detach())
    yield ours, child
    ours.close()
    child.close()


def said(end: socket.socket) -> list[dict[str, object]]:
    found = []
    while (received := lifeline.receive(end)) is not None:
        found.append(dict(received.message))
    return found


def test_each_word_of_a_child_is_one_message(ends: tuple[socket.socket, Lifeline]) -> None:
    """Nothing has to be cut, and nothing is lost."""
    ours, child = ends
    child.beat()
    child.ready(listeners=2)
    assert said(ours) == [{"type": "beat"}, {"type": "ready", "listeners": 2}]


def test_a_failure_ends_the_child_with_its_own_code(ends: tuple[socket.socket, Lifeline]) -> None:
    """The reason goes first, bounded, then exit code 78."""
    ours, child = ends
    with pytest.raises(SystemExit) as caught:
        child.fail("x" * 100000)
    assert caught.value.code == lifeline.START_FAILED == 78
    (message,) = said(ours)
    assert message["type"] == "fail"
    assert len(str(message["reason"])) == lifeline.REASON_CHARS_MAX


def test_descriptors_travel_with_a_message(ends: tuple[socket.socket, Lifeline]) -> None:
    """The receiver gets its own, close-on-exec."""
    ours, child = ends
    read_end, write_end = os.pipe()
    assert lifeline.send(ours, {"type": "segments"}, [write_end])
    os.close(write_end)
    received = child.receive()
    assert received is not None
    (descriptor,) = received.descriptors
    assert not os.get_inheritable(descriptor)
    os.write(descriptor, b"hello")
    os.close(descriptor)
    assert os.read(read_end, 10) == b"hello"
    os.close(read_end)


def test_a_beat_never_waits_and_never_raises(ends: tuple[socket.socket, Lifeline]) -> None:
    """Neither a supervisor that does not read nor one that is gone can hold up a worker."""
    ours, child = ends
    for _ in range(5000):
        child.beat()
    ours.close()
    child.beat()


def test_the_end_of_the_other_side_is_told(ends: tuple[socket.socket, Lifeline]) -> None:
    """End of file is not the same as nothing to read."""
    ours, child = ends
    assert child.receive() is None
    ours.close()
    with pytest.raises(LifelineEnded):
        child.receive()


def test_last_words_arrive_from_a_child_that_did_not_listen(ends: tuple[socket.socket, Lifeline]) -> None:
    """The kernel reports a reset first when the child left messages unread; what the child said is behind it."""
    ours, child = ends
    assert lifeline.send(ours, {"type": "segments", "segments": []})
    with pytest.raises(SystemExit):
        child.fail("no memory")
    child.close()
    assert lifeline.receive(ours) == Received({"type": "fail", "reason": "no memory"}, ())
    with pytest.raises(LifelineEnded):
        lifeline.receive(ours)


def test_a_message_that_would_not_fit_is_our_own_mistake(ends: tuple[socket.socket, Lifeline]) -> None:
    """Bounded on both counts."""
    ours, _child = ends
    with pytest.raises(ValueError, match="too large"):
        lifeline.send(ours, {"type": "x" * 70000})


def test_the_watch_beats_delivers_and_tells_the_end_once(ends: tuple[socket.socket, Lifeline]) -> None:
    """On a loop: a beat at once and at each interval; messages; the end, after which it is silent."""
    ours, child = ends
    received: list[Received] = []
    ended = 0

    async def live() -> None:
        nonlocal ended
        over, heard = asyncio.Event(), asyncio.Event()

        def on_end() -> None:
            nonlocal ended
            ended += 1
            over.set()

        def on_message(message: Received) -> None:
            received.append(message)
            heard.set()

        loop = asyncio.get_running_loop()
        watch = LifelineWatch(child, loop, on_end=on_end, on_message=on_message, beat_interval_s=0.001)
        watch.start()
        beats = 0
        while beats < 3:
            await asyncio.sleep(0)
            beats += len(said(ours))
        lifeline.send(ours, {"type": "segments", "segments": []})
        await heard.wait()
        ours.close()
        await over.wait()
        watch.stop()

    asyncio.run(live())
    assert [dict(each.message) for each in received] == [{"type": "segments", "segments": []}]
    assert ended == 1
