"""One configuration to every worker: differences, whole tables, late comers, failures. Real channel, fake workers."""

import asyncio
import os
import socket
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from kongdp.entities.hashing import EMPTY_HASH
from kongdp.entities.table import Table
from kongdp.process.agent_workers import Target, Workers, whole_table
from kongdp.process.channel import SOCKET_NAME, ChannelServer
from kongdp.process.messages import Commit
from tests.support.both_loops import run, until
from tests.support.fake_worker import FakeWorker, gather_stop

A, B, C = "a" * 32, "b" * 32, "c" * 32


def table(*ids: str) -> Table:
    return {"services": {id_: {"id": id_} for id_ in ids}}


def target(config_hash: str, new: Table, base: str | None = None, old: Table | None = None) -> Target:
    changes = [change for change in whole_table(new) if old is None or change[1] not in old["services"]]
    return Target(config_hash, new, base, tuple(changes))


class Room:
    """The agent's end of the channel, and workers on it."""

    def __init__(self, directory: str) -> None:
        self.run_dir_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(Path(directory) / SOCKET_NAME))
        listener.listen(8)
        self.changes = 0
        self.workers = Workers(self._changed)
        self.server = ChannelServer(
            listener.detach(), on_message=self.workers.on_message, on_close=self.workers.on_close
        )
        self.server.start()
        self.fakes: list[FakeWorker] = []

    def worker(self, config_hash: str = EMPTY_HASH) -> FakeWorker:
        fake = FakeWorker(self.run_dir_fd, len(self.fakes), config_hash)
        self.fakes.append(fake)
        fake.start()
        return fake

    async def close(self) -> None:
        await gather_stop(*self.fakes)
        self.server.close()
        await until(lambda: not self.server.peers)
        os.close(self.run_dir_fd)

    def _changed(self) -> None:
        self.changes += 1


def play(story: Callable[[Room], Awaitable[None]]) -> None:
    async def whole() -> None:
        with tempfile.TemporaryDirectory() as directory:
            room = Room(directory)
            try:
                await story(room)
            finally:
                await room.close()

    run(whole)


def test_worker_waits_when_the_agent_does_not_know_yet_what_is_in_force() -> None:
    """A hello is answered only after the cache was read; then with the table."""

    async def story(room: Room) -> None:
        worker = room.worker()
        await until(lambda: room.workers.count_live() == 1)
        assert not worker.is_told
        room.workers.set_target(target(A, table("1")))
        assert await room.workers.settled() is None
        assert worker.ids("services") == {"1"}

    play(story)


def test_worker_is_told_when_there_is_no_configuration() -> None:
    """A new node without a control plane: workers accept and answer 404."""

    async def story(room: Room) -> None:
        worker = room.worker()
        await until(lambda: room.workers.count_live() == 1)
        assert room.workers.count_ready() == 0
        room.workers.open()
        await until(lambda: worker.is_told)
        assert room.workers.count_ready() == 1

    play(story)


def test_difference_is_sent_when_the_worker_serves_its_base() -> None:
    """Only what changed travels; deletions too."""

    async def story(room: Room) -> None:
        workers = [room.worker(), room.worker()]
        room.workers.set_target(target(A, table("1", "2")))
        await until(lambda: room.workers.count_live() == 2)
        assert await room.workers.settled() is None
        room.workers.set_target(
            Target(B, table("2", "3"), A, (("services", "1", None), ("services", "3", {"id": "3"})))
        )
        assert await room.workers.settled() is None
        for worker in workers:
            assert worker.ids("services") == {"2", "3"}
            assert [(begin.base_hash, begin.count) for begin in worker.begun] == [(None, 2), (A, 2)]

    play(story)


def test_whole_table_is_sent_when_the_worker_serves_something_else() -> None:
    """A worker that restarted, or that missed a change, needs everything."""

    async def story(room: Room) -> None:
        room.workers.set_target(target(B, table("1"), A, table("1")))
        worker = room.worker(C)
        await until(lambda: worker.hash == B)
        assert worker.ids("services") == {"1"}

    play(story)


def test_whole_table_is_sent_when_the_worker_asks_for_it() -> None:
    """The agent thinks the worker has the base; the worker knows better."""

    async def story(room: Room) -> None:
        worker = room.worker(C)
        worker.claims = A
        room.workers.set_target(target(B, table("1", "2"), A, table("1")))
        await until(lambda: worker.hash == B)
        assert [begin.base_hash for begin in worker.begun] == [A, None]
        assert worker.ids("services") == {"1", "2"}

    play(story)


def test_nothing_is_sent_when_the_worker_serves_the_target_already() -> None:
    """A new agent finds workers that never stopped serving."""

    async def story(room: Room) -> None:
        worker = room.worker(A)
        room.workers.open(target(A, table("1")))
        await until(lambda: room.workers.count_serving() == 1)
        assert await room.workers.settled() is None
        assert worker.begun == []
        assert room.workers.common_hash() == A

    play(story)


def test_settling_waits_when_one_of_several_is_slow() -> None:
    """The hash is reported when all live workers agree, not when the first one does."""

    async def story(room: Room) -> None:
        slow, quick = room.worker(), room.worker()
        slow.holds = True
        await until(lambda: room.workers.count_live() == 2)
        room.workers.set_target(target(A, table("1")))
        settled = asyncio.create_task(room.workers.settled())
        await until(lambda: quick.hash == A and slow._held)
        assert not settled.done()
        slow.release()
        assert await settled is None

    play(story)


def test_settling_does_not_wait_when_the_slow_one_dies() -> None:
    """Only live workers count; its successor gets the table by its hello."""

    async def story(room: Room) -> None:
        slow, quick = room.worker(), room.worker()
        slow.holds = True
        await until(lambda: room.workers.count_live() == 2)
        room.workers.set_target(target(A, table("1")))
        settled = asyncio.create_task(room.workers.settled())
        await until(lambda: quick.hash == A)
        await slow.stop()
        assert await settled is None
        successor = room.worker()
        await until(lambda: successor.hash == A)

    play(story)


def test_reason_is_given_when_a_worker_cannot_apply_even_the_whole_table() -> None:
    """A failed difference is tried once more as a whole table; then the failure is reported."""

    async def story(room: Room) -> None:
        worker = room.worker(A)
        worker.rejects.add(B)
        await until(lambda: room.workers.count_live() == 1)
        room.workers.set_target(target(B, table("1"), A, table("1")))
        assert await room.workers.settled() == "worker 0: RuntimeError: this worker cannot"
        assert [begin.base_hash for begin in worker.begun] == [A, None]
        assert worker.hash == A

    play(story)


def test_reason_is_given_when_a_configuration_cannot_be_sent() -> None:
    """Whoever waits for the workers is told instead of waiting for ever."""

    async def story(room: Room) -> None:
        room.worker(A)
        await until(lambda: room.workers.count_live() == 1)
        room.workers.set_target(Target(B, {"services": {"1": {"id": object()}}}))
        assert "it cannot be sent" in (await room.workers.settled() or "")

    play(story)


def test_newest_wins_when_a_target_is_replaced_before_it_settles() -> None:
    """What was on its way is abandoned; the worker ends with the newest."""

    async def story(room: Room) -> None:
        worker = room.worker()
        await until(lambda: room.workers.count_live() == 1)
        room.workers.set_target(target(A, table(*map(str, range(1000)))))
        room.workers.set_target(target(B, table("1"), A, table()))
        assert await room.workers.settled() is None
        assert worker.hash == B
        assert worker.ids("services") == {"1"}

    play(story)


def test_worker_is_cut_off_when_it_speaks_like_an_agent() -> None:
    """A message that only an agent sends ends the connection; the worker comes back with a hello."""

    async def story(room: Room) -> None:
        worker = room.worker()
        await until(lambda: room.workers.count_live() == 1)
        before = room.changes
        worker.client.send(Commit(A))
        await until(lambda: room.changes > before + 1)
        await until(lambda: room.workers.count_live() == 1)

    play(story)
