"""The one door for every change of a group's configuration: one transaction, one immutable revision, one notice.

`Changes.transaction` opens a database transaction, hands out a writer of entities (and the connection, for objects
that change with them), and on leaving appends a revision: who, when, and every changed row before and after. Only
then, after the commit, listeners are told "this group is at revision N"; they read what changed themselves, so that
notices may be late, doubled or lost.
House rule: no code writes the entities tables in any other way. Cold; called off the event loop.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import sqlalchemy as sa

from kongdp.adminapi import errors
from kongdp.adminapi.store import Reader, Writer
from kongdp.controlplane import managed
from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import Database, insert_many
from kongdp.controlplane.store.repository import EntityChange, GroupReader, GroupWriter
from kongdp.errors import KongdpError, Source

# PostgreSQL's channel for notices among replicas.
CHANNEL = "kongdp_revisions"

_LOCK = sa.select(tables.groups.c.id).where(tables.groups.c.id == sa.bindparam("group_id")).with_for_update()
_REVISION = sa.insert(tables.revisions)
_NOTICE = sa.select(sa.func.pg_notify(CHANNEL, sa.bindparam("number", type_=sa.Text)))

# Called with (group id, revision number) in the committing thread.
Listener = Callable[[str, int], None]
# Called with (connection, group id, changes) inside the transaction, for rows that must change together with entities.
Follower = Callable[[sa.Connection, str, Sequence[EntityChange]], None]


class UnknownGroupError(KongdpError):
    """There is no runtime group with this id."""

    source = Source.CLIENT


class Transaction:
    """An open transaction: the entities of one group or several, and the connection for what changes together with
    them.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self._writers: dict[str, GroupWriter] = {}

    def group(self, group_id: str) -> GroupWriter:
        """The writer of a group; whoever needs several asks for them in order of id. Raises UnknownGroupError."""
        writer = self._writers.get(group_id)
        if writer is None:
            # Writers of one group wait for each other here (PostgreSQL; SQLite has one writer anyway), so that what the
            # Admin API checks (uniqueness, references) still holds when it commits, and revisions commit in order.
            if self.connection.scalar(_LOCK, {"group_id": group_id}) is None:
                raise UnknownGroupError(f"there is no runtime group {group_id}")
            writer = self._writers[group_id] = GroupWriter(self.connection, group_id)
        return writer

    @property
    def changes(self) -> dict[str, list[EntityChange]]:
        """What changed so far, by group; groups without a change are not in it."""
        by_group = {group_id: writer.changes for group_id, writer in self._writers.items()}
        return {group_id: changes for group_id, changes in by_group.items() if changes}


class Changes:
    """Opens transactions and tells listeners about those that changed something."""

    def __init__(
        self, database: Database, *, followers: Sequence[Follower] = (), clock: Callable[[], float] = time.time
    ) -> None:
        self.database = database
        self._followers = tuple(followers)
        self._listeners: list[Listener] = []
        self._clock = clock

    def subscribe(self, listener: Listener) -> None:
        """Have `listener` called after each commit that changed a group, in whatever thread committed."""
        self._listeners.append(listener)

    @contextmanager
    def transaction(self, *, actor: str, summary: str, may_manage: bool = False) -> Iterator[Transaction]:
        """One transaction: all or nothing; one revision for each group that it changed.

        Raises ManagedError at its end when it touched what application registration manages, unless it `may_manage`.
        """
        with self.database.write() as connection:
            transaction = Transaction(connection)
            yield transaction
            changed = transaction.changes
            if not may_manage:
                for changes in changed.values():
                    managed.check(changes)
            numbers = {
                group_id: self._append(connection, group_id, actor, summary, changes)
                for group_id, changes in changed.items()
            }
            for group_id, changes in changed.items():
                for follower in self._followers:
                    follower(connection, group_id, changes)
            if numbers and not self.database.is_sqlite:
                # Delivered by the commit; it says only that there is something to look at.
                connection.execute(_NOTICE, {"number": str(max(numbers.values()))})
        for group_id, number in numbers.items():
            for listener in self._listeners:
                listener(group_id, number)

    def store(self, group_id: str) -> "GroupStore":
        """The Admin API's view of one group."""
        return GroupStore(self, group_id)

    def _append(
        self, connection: sa.Connection, group_id: str, actor: str, summary: str, changes: Sequence[EntityChange]
    ) -> int:
        revision = {"group_id": group_id, "at": self._clock(), "actor": actor, "summary": summary}
        result = connection.execute(_REVISION, revision)
        number = int(result.inserted_primary_key[0])  # type: ignore[index]  # an insert of one row always has one
        rows = [
            {
                "number": number,
                "position": position,
                "collection": change.collection,
                "entity_id": change.id,
                "before": change.before,
                "after": change.after,
            }
            for position, change in enumerate(changes)
        ]
        insert_many(connection, tables.revision_changes, rows)
        return number


class GroupStore:
    """adminapi.store.Store over one group."""

    def __init__(self, changes: Changes, group_id: str) -> None:
        self._changes = changes
        self.group_id = group_id

    @property
    def writable(self) -> bool:
        """Always: a control plane has a database."""
        return True

    @contextmanager
    def read(self) -> Iterator[Reader]:
        """A view for one request."""
        with self._changes.database.read() as connection:
            yield GroupReader(connection, self.group_id)

    @contextmanager
    def write(self, *, actor: str, summary: str) -> Iterator[Writer]:
        """One transaction."""
        try:
            with self._changes.transaction(actor=actor, summary=summary) as transaction:
                yield transaction.group(self.group_id)
        except managed.ManagedError as error:
            raise errors.plain(409, str(error)) from None


class JoinedStore:
    """The same inside a transaction that is already open: several Admin API calls that happen together or not at all.

    Whoever opened the transaction decides: an answer that is an error must make it raise.
    """

    writable = True

    def __init__(self, writer: GroupWriter) -> None:
        self._writer = writer

    def read(self) -> AbstractContextManager[Reader]:
        """A view that sees what the transaction wrote."""
        return _given(self._writer)

    def write(self, *, actor: str, summary: str) -> AbstractContextManager[Writer]:
        """The open transaction; actor and summary are those it was opened with."""
        return _given(self._writer)


@contextmanager
def _given(writer: GroupWriter) -> Iterator[GroupWriter]:
    yield writer


def latest_revision(connection: sa.Connection, group_id: str) -> int:
    """The number of the group's newest revision; 0 when it was never changed."""
    revision = tables.revisions
    newest = sa.select(sa.func.max(revision.c.number)).where(revision.c.group_id == group_id)
    number: int | None = connection.scalar(newest)
    return number or 0


def changes_since(
    connection: sa.Connection, group_id: str, number: int, up_to: int | None = None
) -> list[EntityChange]:
    """Every change of the group after revision `number`, and up to another if one is given, oldest first."""
    revision, change = tables.revisions, tables.revision_changes
    query = (
        sa.select(change.c.collection, change.c.entity_id, change.c.before, change.c.after)
        .join(revision, revision.c.number == change.c.number)
        .where(revision.c.group_id == group_id, revision.c.number > number)
        .order_by(change.c.number, change.c.position)
    )
    if up_to is not None:
        query = query.where(revision.c.number <= up_to)
    return [EntityChange(*row) for row in connection.execute(query)]
