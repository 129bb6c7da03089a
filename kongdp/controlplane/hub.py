"""The connected data planes: who is there, what each was offered, and the newest configuration of each group.

In: "this group changed" (changes), data planes that join, ping and leave (cluster.outlet).  Out: offers to data
planes, node rows.
House rules: one task a group exports and offers, so that pushes never overlap; a data plane has one slot and the
newest wins; rows are written in batches, off the event loop, by one task. Everything else runs on the event loop and
needs no lock. Cold.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

from kongdp.controlplane.cluster.outlet import DataPlane
from kongdp.controlplane.export import Payload
from kongdp.controlplane.nodes import Node
from kongdp.controlplane.schedule import PushSchedule

LOG = logging.getLogger("kongdp.controlplane.hub")
# nginx's level, which Kong logs its life at.
NOTICE = 25
# Pings that arrive within this time are written in one transaction.
ROWS_BATCH_S = 0.2
ROWS_RETRY_S = 2.0

Export = Callable[[str], Awaitable[Payload]]


class Rows(Protocol):
    """Where node rows go."""

    async def save(self, nodes: Sequence[Node], ended: Sequence[tuple[str, str, float]]) -> None:
        """Write rows of live nodes and ends of connections: (node id, link id, when)."""


@dataclass(slots=True)
class _Group:
    """What the hub keeps of one runtime group."""

    schedule: PushSchedule = field(default_factory=PushSchedule)
    planes: set[DataPlane] = field(default_factory=set)
    payload: Payload | None = None
    problem: str = ""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Hub:
    """One per process. `start` and every other method belong to one event loop, except `changed_elsewhere`."""

    def __init__(self, export: Export, rows: Rows, *, wall: Callable[[], float], payload_bytes_max: int) -> None:
        self._export = export
        self._rows = rows
        self._wall = wall
        self._payload_bytes_max = payload_bytes_max
        self._groups: dict[str, _Group] = {}
        self._by_node: dict[str, list[DataPlane]] = {}
        self._dirty: dict[str, Node] = {}
        self._ended: list[tuple[str, str, float]] = []
        self._rows_wanted = asyncio.Event()
        self._rows_clean = asyncio.Event()
        self._rows_clean.set()
        self._loop = asyncio.get_running_loop()
        self._writer = self._loop.create_task(self._write_rows())

    # changes

    def changed(self, group_id: str) -> None:
        """The group's configuration changed: push it when it is due."""
        group = self._group(group_id)
        group.schedule.changed(self._loop.time())
        group.wake.set()

    def changed_elsewhere(self, group_id: str, _revision: int) -> None:
        """The same, from another thread (a listener of `Changes`)."""
        self._loop.call_soon_threadsafe(self.changed, group_id)

    async def current(self, group_id: str) -> Payload:
        """The newest configuration of a group as it stands in the store, whether pushed yet or not."""
        return await self._export(group_id)

    def problem(self, group_id: str) -> str:
        """Why the newest configuration could not be offered, or ""."""
        group = self._groups.get(group_id)
        return group.problem if group is not None else ""

    # data planes (cluster.outlet.Desk)

    def join(self, plane: DataPlane) -> None:
        """A data plane has introduced itself: it gets the newest configuration at once."""
        group = self._group(plane.peer.group_id)
        group.planes.add(plane)
        self._by_node.setdefault(plane.peer.node_id, []).append(plane)
        LOG.log(NOTICE, "data plane %s (%s, %s) connected", plane.peer.node_id, plane.peer.hostname, plane.peer.ip)
        self.note(plane)
        if group.payload is not None:
            plane.offer(group.payload)
        else:
            self.changed(plane.peer.group_id)

    def note(self, plane: DataPlane) -> None:
        """Something a node's row shows has changed."""
        links = self._by_node.get(plane.peer.node_id, [])
        # Of two connections of one node (renewal) the newer one is the node.
        if links and plane is not links[-1]:
            return
        self._dirty[plane.peer.node_id] = self._row(plane)
        self._want_rows()

    def leave(self, plane: DataPlane, reason: str) -> None:
        """A connection has ended."""
        LOG.log(NOTICE, "data plane %s (%s) disconnected: %s", plane.peer.node_id, plane.peer.ip, reason)
        group = self._groups.get(plane.peer.group_id)
        if group is not None:
            group.planes.discard(plane)
        links = self._by_node.get(plane.peer.node_id, [])
        if plane in links:
            was_newest = links[-1] is plane
            links.remove(plane)
            if links and was_newest:
                self.note(links[-1])
        if not links:
            self._by_node.pop(plane.peer.node_id, None)
            self._ended.append((plane.peer.node_id, plane.link_id, self._wall()))
            self._want_rows()

    def connected(self, group_id: str | None = None) -> Iterable[DataPlane]:
        """The data planes connected to this process."""
        return [plane for links in self._by_node.values() for plane in links if group_id in (None, plane.peer.group_id)]

    def ask_renewal(self, node_id: str) -> bool:
        """Ask a node for a new certificate; False when it is not connected here with one of ours."""
        links = self._by_node.get(node_id, [])
        return bool(links) and links[-1].ask_renewal()

    def dismiss(self, node_id: str, reason: str) -> None:
        """End every connection of a node (its certificate was revoked, its row deleted)."""
        for plane in list(self._by_node.get(node_id, [])):
            plane.dismiss(reason)

    def dismiss_pinned(self, group_id: str) -> None:
        """End the connections of a group that hold no certificate of ours; those still pinned come back by
        themselves.
        """
        for plane in self.connected(group_id):
            if not plane.peer.is_ours:
                plane.dismiss("the pinned certificates have changed")

    def forget_group(self, group_id: str, reason: str) -> None:
        """The group is gone: end its connections and its pushes."""
        for plane in self.connected(group_id):
            plane.dismiss(reason)
        group = self._groups.pop(group_id, None)
        if group is not None and group.task is not None:
            group.task.cancel()

    async def flush(self) -> None:
        """Wait until the rows in the database are what this process knows."""
        await self._rows_clean.wait()

    async def close(self) -> None:
        """Write what is known and stop. Connections are closed by their listener before."""
        try:
            async with asyncio.timeout(ROWS_RETRY_S):
                await self.flush()
        except TimeoutError:
            LOG.warning("the rows of %d nodes could not be written", len(self._dirty))
        tasks = [self._writer, *(group.task for group in self._groups.values() if group.task is not None)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # pushes

    def _group(self, group_id: str) -> _Group:
        group = self._groups.get(group_id)
        if group is None:
            group = self._groups[group_id] = _Group()
            group.task = self._loop.create_task(self._push(group_id, group))
        return group

    async def _push(self, group_id: str, group: _Group) -> None:
        """Export and offer, for ever, whenever it is due."""
        while True:
            due = group.schedule.due()
            now = self._loop.time()
            # Nobody waits behind a first payload: it is exported at once for the data plane that asked for it.
            if due is None or (due > now and group.payload is not None) or (due > now and group.problem):
                await self._sleep(group.wake, None if due is None else due - now)
                continue
            group.schedule.begins(now)
            try:
                payload = await self._export(group_id)
            except Exception as error:
                # A boundary: whatever is wrong with the database or a row, pushes must resume once it is not.
                LOG.exception("group %s: export failed", group_id)
                group.problem = f"export failed: {error}"
                group.schedule.failed(self._loop.time())
                continue
            group.schedule.succeeded()
            self._offer(group_id, group, payload)

    async def _sleep(self, wake: asyncio.Event, seconds: float | None) -> None:
        wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await wake.wait()
        except TimeoutError:
            pass

    def _offer(self, group_id: str, group: _Group, payload: Payload) -> None:
        if len(payload.frame) > self._payload_bytes_max:
            group.problem = (
                f"the configuration has {len(payload.frame)} bytes compressed, more than cluster_max_payload"
                f" ({self._payload_bytes_max}): it was not sent"
            )
            LOG.error("group %s: %s", group_id, group.problem)
            return
        group.problem = ""
        is_new = group.payload is None or group.payload.config_hash != payload.config_hash
        group.payload = payload
        if is_new:
            LOG.info(
                "group %s: configuration %s (%d bytes) to %d data planes",
                group_id,
                payload.config_hash,
                len(payload.frame),
                len(group.planes),
            )
        for plane in list(group.planes):
            if is_new or not plane.has_been_offered:
                self._offer_to(plane, payload)

    def _offer_to(self, plane: DataPlane, payload: Payload) -> None:
        try:
            plane.offer(payload)
        except Exception:
            # A boundary: one connection must not end the group's pushes. This one ends: the node asks again on another.
            LOG.exception("data plane %s could not be offered %s", plane.peer.node_id, payload.config_hash)
            self._loop.call_soon(plane.dismiss, "the configuration could not be sent")

    # rows

    def _row(self, plane: DataPlane) -> Node:
        peer = plane.peer
        return Node(
            id=peer.node_id,
            group_id=peer.group_id,
            hostname=peer.hostname,
            ip=peer.ip,
            version=peer.version,
            config_hash=plane.config_hash,
            sync_status=plane.sync_status,
            labels=dict(plane.labels),
            cert_expiry=peer.cert_expiry,
            last_error=None if plane.last_error is None else asdict(plane.last_error),
            last_seen=plane.last_seen,
            link_id=plane.link_id,
            disconnected_at=None,
            created_at=plane.last_seen,
            updated_at=plane.last_seen,
        )

    def _want_rows(self) -> None:
        self._rows_clean.clear()
        self._rows_wanted.set()

    async def _write_rows(self) -> None:
        while True:
            await self._rows_wanted.wait()
            self._rows_wanted.clear()
            dirty, self._dirty = self._dirty, {}
            ended, self._ended = self._ended, []
            try:
                await self._rows.save(list(dirty.values()), ended)
            except Exception:
                # A boundary: the database may be locked or away; the rows are still known and newer ones replace them.
                LOG.exception("cannot write the rows of %d nodes", len(dirty))
                self._dirty = dirty | self._dirty
                self._ended = ended + self._ended
                self._rows_wanted.set()
                await asyncio.sleep(ROWS_RETRY_S)
                continue
            if not self._dirty and not self._ended:
                self._rows_clean.set()
            await asyncio.sleep(ROWS_BATCH_S)
