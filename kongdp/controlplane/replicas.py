"""Several control planes over one PostgreSQL: each hears what the others have changed, and all are one authority.

In: notices that carry nothing but a revision's number, and a look at the database at least every few seconds: notices may be
lost, late or doubled. (A changed log level is a notice alone: one that is lost costs a minute of words.) Out: the same calls
that a change made here causes. A replica that starts takes the authority's certificate and key from the database (whoever can
read the database can therefore issue node certificates).
Cold; one connection of its own beside the engine's, since a connection that listens can do nothing else.
Source: PostgreSQL documentation, LISTEN and NOTIFY.
"""

import asyncio
import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from kongdp.controlplane.authority import AuthorityError, write_private
from kongdp.controlplane.changes import CHANNEL
from kongdp.controlplane.log_level import LEVELS
from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import Database

LOG = logging.getLogger("kongdp.controlplane.replicas")
# How late a change may be seen when its notice was lost.
POLL_S = 2.0
# The least between two looks.
SPACING_S = 0.05
LEVEL_CHANNEL = "kongdp_log_level"
SHARED = ("ca.crt", "ca.key")
# Which process a notice comes from: its own, which comes late, would undo what it was told since.
ORIGIN = secrets.token_hex(8)
# Any constant will do, except the one that migrations use.
AUTHORITY_LOCK = 0x6B6F6E68


class Local(Protocol):
    """What a change elsewhere causes here (plane.Plane)."""

    def group_changed(self, group_id: str, revision: int) -> None:
        """A group has a newer configuration."""

    def forget_group(self, group_id: str) -> None:
        """A group is gone."""

    def dismiss(self, node_id: str, reason: str) -> None:
        """A node's certificate was revoked."""

    async def pins_changed(self) -> None:
        """The pinned certificates are other ones."""

    def log_level_changed(self, level: str, timeout_s: float) -> None:
        """Every control plane is to log at another level for a while."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the database said at one look."""

    revisions: dict[str, int]
    pins: frozenset[str]
    revoked: frozenset[tuple[str, float]]


class Watcher:
    """One per process on PostgreSQL. `run` ends only by cancellation."""

    def __init__(self, database: Database, local: Local) -> None:
        self._database = database
        self._local = local
        self._seen: _Seen | None = None
        self._own: dict[str, int] = {}

    def committed_here(self, group_id: str, revision: int) -> None:
        """A listener of `Changes`: what was committed by this process needs no second notice."""
        self._own[group_id] = revision

    async def run(self) -> None:
        """Listen and look, for ever; without a connection for listening, look."""
        import psycopg  # only PostgreSQL has replicas

        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError) as error:
                LOG.warning("no notices of other replicas, looking every %.0f s instead: %s", POLL_S, error)
            await self._try_look()
            await asyncio.sleep(POLL_S)

    async def _listen(self) -> None:
        import psycopg

        url = self._database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            await connection.execute(f"LISTEN {LEVEL_CHANNEL}")
            while True:
                await self._try_look()
                # Notices that come in a row are one look: a client that writes 200 routes a second would keep us at it.
                await asyncio.sleep(SPACING_S)
                async for notice in connection.notifies(timeout=POLL_S, stop_after=1):
                    if notice.channel == LEVEL_CHANNEL:
                        self._hear_level(notice.payload)

    def _hear_level(self, payload: str) -> None:
        """Another release may say it in another way: then it is not for us."""
        try:
            said = orjson.loads(payload)
            level, timeout_s, origin = said["level"], float(said["timeout_s"]), said["origin"]
        except (ValueError, TypeError, KeyError):
            return
        if origin != ORIGIN and level in LEVELS:
            self._local.log_level_changed(level, timeout_s)

    async def _try_look(self) -> None:
        try:
            await self.look()
        except sa.exc.SQLAlchemyError as error:
            LOG.warning("cannot look for changes of other replicas: %s", error)
        except Exception:
            # A boundary: what a change causes here may fail (a full disk); the next look finds it again.
            LOG.exception("changes of other replicas could not be followed")

    async def look(self) -> None:
        """Compare the database with what was seen before, and pass on what is new."""
        now = await self._database.run(_look, self._database)
        # What was there when this process started, its parts have read themselves; groups may have changed since.
        before = self._seen or _Seen(dict.fromkeys(now.revisions, 0), now.pins, now.revoked)
        self._seen = replace(now, pins=before.pins)
        for group_id, number in now.revisions.items():
            if number > max(before.revisions.get(group_id, 0), self._own.get(group_id, 0)):
                self._local.group_changed(group_id, number)
        for group_id in before.revisions.keys() - now.revisions.keys():
            self._own.pop(group_id, None)
            self._local.forget_group(group_id)
        for node_id, _at in now.revoked - before.revoked:
            self._local.dismiss(node_id, "the node's certificate was revoked")
        if now.pins != before.pins:
            await self._local.pins_changed()
        self._seen = now


def tell_level(database: Database, level: str, timeout_s: float) -> None:
    """Let the other replicas log at this level for a while; on SQLite there are none."""
    if database.is_sqlite:
        return
    payload = orjson.dumps({"level": level, "timeout_s": timeout_s, "origin": ORIGIN}).decode()
    with database.write() as connection:
        connection.execute(sa.select(sa.func.pg_notify(LEVEL_CHANNEL, payload)))


def _look(database: Database) -> _Seen:
    group, revision, pin, issued = (
        tables.groups,
        tables.revisions,
        tables.pinned_certificates,
        tables.issued_certificates,
    )
    newest = (
        sa.select(sa.func.coalesce(sa.func.max(revision.c.number), 0))
        .where(revision.c.group_id == group.c.id)
        .scalar_subquery()
    )
    with database.read() as connection:
        revisions = {id: number for id, number in connection.execute(sa.select(group.c.id, newest))}  # noqa: C416
        pins = frozenset(connection.scalars(sa.select(pin.c.fingerprint)))
        rows = connection.execute(
            sa.select(issued.c.node_id, issued.c.revoked_at).where(issued.c.revoked_at.is_not(None))
        )
        return _Seen(revisions, pins, frozenset((row.node_id, row.revoked_at) for row in rows))


@contextmanager
def one_at_a_time(database: Database) -> Iterator[None]:
    """Replicas that start together pass here one by one, so that only the first makes an authority."""
    if database.is_sqlite:
        yield
        return
    with database.write() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": AUTHORITY_LOCK})
        yield


def take_authority(database: Database, directory: Path) -> None:
    """Put the authority that other replicas use where this one will open it, if there is one.

    Raises AuthorityError when this one has another of its own: its nodes would not be let in elsewhere.
    """
    if database.is_sqlite:
        return
    shared = shared_files(database)
    if not all(shared.get(name) for name in SHARED):
        return
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in SHARED:
        path = directory / name
        if path.exists() and path.read_text() != shared[name]:
            raise AuthorityError(
                f"{path} is not the authority of {database.shown_url}: move {directory} away to take that one"
            )
    for name in reversed(SHARED):
        write_private(directory / name, shared[name].encode())


def give_authority(database: Database, directory: Path, now: float) -> None:
    """Let other replicas have this one's authority. What is shared already stays."""
    if database.is_sqlite:
        return
    rows = [{"name": name, "content": (directory / name).read_text(), "created_at": now} for name in SHARED]
    with database.write() as connection:
        insert = postgresql.insert(tables.shared_files)
        connection.execute(insert.values(rows).on_conflict_do_nothing(index_elements=["name"]))


def shared_files(database: Database) -> dict[str, str]:
    """Name -> content of what replicas share."""
    table = tables.shared_files
    with database.read() as connection:
        rows = connection.execute(sa.select(table.c.name, table.c.content))
        return {row.name: row.content for row in rows}
