"""A worker as the agent sees it: speaks the channel, holds a table, applies what it is sent. No traffic, no process.

Keeps the contract of process.messages: asks for the whole table when a difference does not start from what it has.
"""

import asyncio
from collections.abc import Callable

from kongdp.entities.hashing import EMPTY_HASH
from kongdp.entities.table import Table
from kongdp.process.channel import ChannelClient
from kongdp.process.messages import Applied, Begin, Commit, Failed, Hello, Message, Slice, WantTable
from tests.support.both_loops import until


class FakeWorker:
    """`claims`: the hash its hello tells, if not its own; `rejects`: hashes it fails to apply; `holds`: while True it
    applies nothing; `begun`: the Begin messages it saw.
    """

    def __init__(self, run_dir_fd: int, index: int = 0, config_hash: str = EMPTY_HASH) -> None:
        self.index = index
        self.hash = config_hash
        self.table: Table = {}
        self.claims: str | None = None
        self.rejects: set[str] = set()
        self.holds = False
        self.begun: list[Begin] = []
        self.is_told = False
        self._incoming: tuple[Begin, Table] | None = None
        self._held: list[Commit] = []
        self.client = ChannelClient(
            run_dir_fd, on_message=self._take, on_open=self._opened, retry_delays_s=(0.001, 0.01)
        )

    def start(self) -> None:
        """Connect, and again whenever the connection is lost."""
        self.client.start()

    async def stop(self) -> None:
        """Die; returns when the connection is gone."""
        await self.client.close()
        await until(lambda: self.client._peer is None)

    def release(self) -> None:
        """Apply what was held back."""
        self.holds = False
        held, self._held = self._held, []
        for commit in held:
            self._commit(commit)

    def ids(self, collection: str) -> set[str]:
        """Ids of the rows it serves."""
        return set(self.table.get(collection, {}))

    def _opened(self) -> None:
        self._incoming = None
        self.client.send(Hello(self.index, 1, 1000 + self.index, self.claims or self.hash))

    def _take(self, message: Message) -> None:
        handlers: dict[type, Callable[..., None]] = {Begin: self._begin, Slice: self._slice, Commit: self._committed}
        handlers[type(message)](message)

    def _begin(self, message: Begin) -> None:
        self.begun.append(message)
        if message.base_hash is not None and message.base_hash != self.hash:
            self._incoming = None
            self.client.send(WantTable(self.hash))
            return
        table = {} if message.base_hash is None else {name: dict(rows) for name, rows in self.table.items()}
        self._incoming = (message, table)

    def _slice(self, message: Slice) -> None:
        if self._incoming is not None:
            for collection, id_, row in message.changes:
                rows = self._incoming[1].setdefault(collection, {})
                if row is None:
                    del rows[id_]
                else:
                    rows[id_] = row

    def _committed(self, message: Commit) -> None:
        if self.holds:
            self._held.append(message)
        else:
            self._commit(message)

    def _commit(self, message: Commit) -> None:
        incoming, self._incoming = self._incoming, None
        if incoming is None:
            if message.hash == self.hash:
                self.is_told = True
                self.client.send(Applied(message.hash, 0.0))
            return
        if message.hash in self.rejects:
            self.client.send(Failed(message.hash, "RuntimeError: this worker cannot"))
            return
        self.hash, self.table, self.is_told = message.hash, incoming[1], True
        self.client.send(Applied(message.hash, 0.001))


async def gather_stop(*workers: FakeWorker) -> None:
    """Stop several."""
    await asyncio.gather(*(worker.stop() for worker in workers))
