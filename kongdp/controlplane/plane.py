"""The control plane without its API: store, authority, hub, cluster and telemetry listeners, put together in one place.

In: plain values (server reads the settings) and bound sockets.  Out: an object whose parts the API uses; `start` and
`stop`.
House rule: everything that can fail because of an operator fails in `open_plane`, before anything listens. Cold.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from kongdp.controlplane import activity, activity_rollup, audit, catalogue, documents, groups, ledger, nodes, replicas
from kongdp.controlplane.accounts import Accounts
from kongdp.controlplane.activity_rollup import Retention
from kongdp.controlplane.authority import Authority
from kongdp.controlplane.changes import Changes
from kongdp.controlplane.cluster.est import Enrolment, Refusal
from kongdp.controlplane.cluster.gate import Clocks, Gate
from kongdp.controlplane.cluster.listener import ClusterListener
from kongdp.controlplane.cluster.requests import Limits
from kongdp.controlplane.cluster.trust import ClusterPair, Trust
from kongdp.controlplane.export import Exporter
from kongdp.controlplane.hub import Hub
from kongdp.controlplane.ingest import CounterIngest
from kongdp.controlplane.log_level import NOTICE, ProcessLogLevel
from kongdp.controlplane.nodes import Node
from kongdp.controlplane.pulse import Pulse
from kongdp.controlplane.replicas import Watcher
from kongdp.controlplane.store.database import Database
from kongdp.controlplane.store.migrations import migrate
from kongdp.routing.router import TRADITIONAL_COMPATIBLE
from kongdp.sync.messages import CounterFrame

if TYPE_CHECKING:
    from kongdp.controlplane.oidc import OidcOptions, OidcSignIn

LOG = logging.getLogger("kongdp.controlplane")
SETUP_SCRIPT = Path(__file__).parent / "cluster" / "runtime-setup.sh"
# How often what expires is looked at: the server's certificate, rows of nodes that never came back.
HOUSEKEEPING_S = 3600.0
# How often activity that has grown old is rolled up.
ROLLUP_S = 60.0
FAREWELL = "the control plane is stopping"


@dataclass(frozen=True, slots=True)
class Options:
    """What a control plane must be told. Sockets are bound and listen already."""

    prefix: Path
    database_url: str
    cluster_sockets: Sequence[socket.socket]
    telemetry_sockets: Sequence[socket.socket]
    cluster_pair: ClusterPair | None = None
    names: tuple[str, ...] = ()
    certificate_lifetime_s: int = 183 * 86_400
    payload_bytes_max: int = 16 * 1024 * 1024
    purge_delay_s: float = 14 * 86_400.0
    retention: Retention = field(default_factory=Retention)
    limits: Limits = field(default_factory=Limits)
    oidc: "OidcOptions | None" = None
    uploads: documents.Limits = field(default_factory=documents.Limits)
    router_flavor: str = TRADITIONAL_COMPATIBLE
    log_level: str = "notice"


class Plane:
    """The parts. Made by `open_plane`; `start` and `stop` belong to one event loop."""

    def __init__(
        self, options: Options, database: Database, authority: Authority, trust: Trust, clock: "Clock"
    ) -> None:
        self.options = options
        self.database = database
        self.authority = authority
        self.clock = clock
        self.default_group_id = groups.ensure_default(database, clock)
        self.changes = Changes(database, followers=(catalogue.follow_services, activity.follow_routes), clock=clock)
        self.exporter = Exporter(database, clock)
        self.accounts = Accounts(database, clock=clock)
        self.oidc = _oidc(options, database, clock)
        self.pulse = Pulse()
        self.log_level = ProcessLogLevel(options.log_level, partial(replicas.tell_level, database))
        self._trust = trust
        self._hub: Hub | None = None
        self._enrolment: Enrolment | None = None
        self._ingest: CounterIngest | None = None
        self._gate: Gate | None = None
        self._listeners: list[ClusterListener] = []
        self._is_listening = False
        self._watching: asyncio.Task[None] | None = None
        self._housekeepers: list[asyncio.Task[None]] = []

    @property
    def hub(self) -> Hub:
        """The connected data planes; exists from `start` on."""
        assert self._hub is not None, "started before use"
        return self._hub

    @property
    def refusals(self) -> list[Refusal]:
        """The last refused requests for certificates of this process, newest first."""
        return list(reversed(self._enrolment.refusals)) if self._enrolment is not None else []

    async def start(self) -> None:
        """Listen."""
        options = self.options
        self._hub = Hub(
            self.exporter.export_soon,
            _Rows(self.database),
            wall=self.clock,
            payload_bytes_max=options.payload_bytes_max,
        )
        self.changes.subscribe(self._hub.changed_elsewhere)
        self._ingest = CounterIngest(self._store_counters)
        enrolment = self._enrolment = Enrolment(
            self.authority,
            self.accounts,
            self.database,
            lifetime_s=options.certificate_lifetime_s,
            clock=self.clock,
        )
        gate = self._gate = Gate(
            self.authority,
            self.database,
            self._hub,
            self._ingest,
            enrolment,
            cluster_pair=options.cluster_pair,
            setup_script=SETUP_SCRIPT.read_bytes(),
            clocks=Clocks(self.clock, asyncio.get_running_loop().time),
        )
        sync = self._trust.listening_context(requires_certificate=False)
        telemetry = self._trust.listening_context(requires_certificate=True)
        self._listeners = [
            *(
                ClusterListener("cluster", s, sync, gate.answer_cluster, options.limits)
                for s in options.cluster_sockets
            ),
            *(
                ClusterListener("telemetry", s, telemetry, gate.answer_telemetry, options.limits)
                for s in options.telemetry_sockets
            ),
        ]
        for listener in self._listeners:
            await listener.start()
        self._is_listening = True
        if not self.database.is_sqlite:
            watcher = Watcher(self.database, self)
            self.changes.subscribe(watcher.committed_here)
            self._watching = asyncio.create_task(watcher.run())
        self._housekeepers = [
            asyncio.create_task(self._repeat(HOUSEKEEPING_S, self._keep_house)),
            asyncio.create_task(self._repeat(ROLLUP_S, self.tidy_activity)),
        ]

    async def stop(self) -> None:
        """Close every connection, write what is known, close the database."""
        self._is_listening = False
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        for housekeeper in self._housekeepers:
            housekeeper.cancel()
        await asyncio.gather(*(listener.stop(FAREWELL) for listener in self._listeners))
        if self._ingest is not None:
            await self._ingest.close()
        if self._hub is not None:
            await self._hub.close()
        self.database.close()

    def dismiss(self, node_id: str, reason: str) -> None:
        """End every connection of a node."""
        self.hub.dismiss(node_id, reason)
        if self._gate is not None:
            self._gate.dismiss_counters(node_id, reason)

    def group_changed(self, group_id: str, revision: int) -> None:
        """Another replica has changed a group."""
        self.hub.changed(group_id)

    async def pins_changed(self) -> None:
        """Another replica has pinned or unpinned certificates."""
        await self.refresh_trust()
        for group_id in {plane.peer.group_id for plane in self.hub.connected()}:
            self.hub.dismiss_pinned(group_id)

    def log_level_changed(self, level: str, timeout_s: float) -> None:
        """Another replica was asked that all log at this level for a while."""
        LOG.log(NOTICE, "log level %s for %.0f s, as another control plane was told", level, timeout_s)
        self.log_level.change(level, timeout_s)

    def forget_group(self, group_id: str) -> None:
        """A group is gone: end its connections and drop what is kept of it. Its data planes keep what they have."""
        self.hub.forget_group(group_id, "the runtime group was deleted")
        self.exporter.forget(group_id)

    def place(self, sockets: Sequence[socket.socket]) -> str:
        """Where data planes reach one of the two listeners: host and port."""
        host = next(iter(self.options.names), None) or socket.gethostname()
        return f"{host}:{sockets[0].getsockname()[1]}" if sockets else ""

    @property
    def count_connections(self) -> int:
        """Connections open at both listeners."""
        return sum(listener.count_connections for listener in self._listeners)

    @property
    def is_listening(self) -> bool:
        """Whether data planes can come: from `start` to `stop`."""
        return self._is_listening

    async def is_database_reachable(self) -> bool:
        """Whether the database answers."""
        try:
            await self.database.run(self._ask_database)
        except sa.exc.SQLAlchemyError:
            return False
        return True

    def _ask_database(self) -> None:
        with self.database.read() as connection:
            connection.execute(sa.select(1))

    async def refresh_trust(self) -> None:
        """Let new pins in, show a renewed server certificate. Call after either changed."""
        await self.database.run(refresh_trust, self._trust, self.authority, self.database, self.options.names)

    async def _store_counters(self, frames: Sequence[CounterFrame]) -> None:
        gains = await self.database.run(activity.add, self.database, frames, self.clock())
        now = self.clock()
        self.pulse.gained(gains, now)
        for frame in frames:
            if frame.latencies:
                self.pulse.timed(frame.node_id, frame.boot_id, frame.latencies, frame.at, now)

    async def tidy_activity(self) -> None:
        """Roll up what has grown old, piece by piece: counters that arrive meanwhile get their turn in between."""
        while await self.database.run(activity_rollup.tidy, self.database, self.options.retention, self.clock()):
            pass

    async def _keep_house(self) -> None:
        await self.refresh_trust()
        await self.database.run(self._purge)

    async def _repeat(self, period_s: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(period_s)
            try:
                await work()
            except Exception:
                # A boundary: the next round may find the database or the disk well again.
                LOG.exception("housekeeping failed")

    def _purge(self) -> None:
        with self.database.write() as connection:
            count = nodes.purge(connection, self.clock() - self.options.purge_delay_s)
            audit.purge(connection, self.clock())
        if count:
            LOG.info("removed %d data planes that were not seen for %.0f s", count, self.options.purge_delay_s)


class Clock:
    """Wall time; the real one unless a test hands in another."""

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return time.time()


class _Rows:
    """Node rows of the hub into the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, alive: Sequence[Node], ended: Sequence[tuple[str, str, float]]) -> None:
        """Rows first, so that the end of a connection finds whether a newer one has taken over."""
        if alive:
            await self._database.run(nodes.save, self._database, alive)
        if ended:
            await self._database.run(nodes.save_disconnected, self._database, ended)


def open_plane(options: Options, clock: Clock | None = None) -> Plane:
    """Open database and authority and build the TLS contexts. Raises KongdpError with a message for the operator."""
    clock = clock or Clock()
    options.prefix.mkdir(parents=True, exist_ok=True)
    database = Database(options.database_url)
    try:
        migrate(database)
        authority = _open_authority(database, options.prefix / "authority", clock)
        trust = Trust(authority.certificate_pem, options.cluster_pair)
        plane = Plane(options, database, authority, trust, clock)
        refresh_trust(trust, authority, database, options.names)
    except BaseException:
        database.close()
        raise
    return plane


def _oidc(options: Options, database: Database, clock: "Clock") -> "OidcSignIn | None":
    if options.oidc is None:
        return None
    from kongdp.controlplane.oidc import OidcSignIn  # brings an OAuth and an HTTP library along

    return OidcSignIn(database, options.oidc, clock)


def _open_authority(database: Database, directory: Path, clock: Clock) -> Authority:
    """The authority under the prefix, which all replicas of one PostgreSQL share."""
    with replicas.one_at_a_time(database):
        replicas.take_authority(database, directory)
        authority = Authority.open(directory, clock)
        replicas.give_authority(database, directory, clock())
    return authority


def refresh_trust(trust: Trust, authority: Authority, database: Database, names: Sequence[str]) -> None:
    """Build the TLS contexts from what is on disk and in the database now; renews the server's certificate when due."""
    certificate, key = authority.server_certificate(names)
    with database.read() as connection:
        pins = [pin.cert for pin in ledger.pinned(connection)]
    trust.refresh(certificate, key, pins)
