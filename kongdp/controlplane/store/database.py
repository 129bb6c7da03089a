"""The engine: SQLite (WAL) or PostgreSQL by URL, used synchronously and always off the event loop.

`read` gives one consistent view, `write` one transaction that no other writer of this process or another overlaps
where it would matter (SQLite: one writer at a time; PostgreSQL: callers lock the rows they decide on). `run` moves a
function to the small executor.
House rule: nothing outside this package calls the engine, and nothing on the event loop calls it without `run`. Cold.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url

from kongdp.errors import KongdpError, Source

P = ParamSpec("P")
T = TypeVar("T")

# Threads for database work: SQLite has one writer anyway, and reads take well under a millisecond.
THREADS = 4
# How long SQLite waits for a writer of another process (a backup, the command line) before giving up.
BUSY_TIMEOUT_MS = 10_000
# From how many rows on a stream to PostgreSQL (which takes three round trips) is less work than a statement a row.
COPIED_ROWS_MIN = 10
# Values in one condition of a query to SQLite.
VALUES_PER_QUERY = 500
# From how many rows on one statement with an array for each column is.
ARRAYED_ROWS_MIN = 10


class DatabaseError(KongdpError):
    """The database cannot be opened or has a shape that this release does not know; the message says which and why."""

    source = Source.OPERATOR


def database_url(configured: str | None, prefix: str) -> str:
    """The SQLAlchemy URL for the setting `kongdp_database_url`, or the SQLite file under the prefix when it is unset.

    `postgres://` and `postgresql://` are taken to mean the driver we ship with.
    """
    if not configured:
        return f"sqlite:///{Path(prefix, 'controlplane.db')}"
    for scheme in ("postgres://", "postgresql://"):
        if configured.startswith(scheme):
            return "postgresql+psycopg://" + configured[len(scheme) :]
    return configured


class Database:
    """One engine and its executor. Close it once at the end."""

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
        except sa.exc.ArgumentError:
            raise DatabaseError("KONGDP_DATABASE_URL: not a database URL") from None
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if not self.is_sqlite and parsed.get_backend_name() != "postgresql":
            raise DatabaseError(
                f"KONGDP_DATABASE_URL: no support for {parsed.get_backend_name()!r}, only SQLite and PostgreSQL"
            )
        arguments: dict[str, Any] = (
            {"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000} if self.is_sqlite else {}
        )
        self.shown_url = parsed.render_as_string(hide_password=True)
        self.engine = sa.create_engine(
            parsed, connect_args=arguments, pool_pre_ping=not self.is_sqlite, pool_size=THREADS, max_overflow=2
        )
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="database")
        self._writer = threading.Lock()
        if self.is_sqlite:
            _prepare_sqlite(self.engine)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One consistent view of the database; nothing may be written through it."""
        options = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self.engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction: committed when the block ends, rolled back when it raises."""
        if not self.is_sqlite:
            with self.engine.begin() as connection:
                yield connection
            return
        # The lock makes writers of this process wait in turn; SQLite's own busy wait polls and may starve one of them.
        with self._writer, self.engine.connect().execution_options(kongdp_write=True) as connection, connection.begin():
            yield connection

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in the executor and await its answer."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))

    def close(self) -> None:
        """Wait for running work, then close every connection."""
        self._executor.shutdown(wait=True)
        self.engine.dispose()


def among(connection: sa.Connection, column: sa.Column[Any], values: Sequence[Any]) -> Iterator[sa.ColumnElement[bool]]:
    """Conditions that together select the rows whose column has one of these values: on PostgreSQL one, with an array.

    PERF: of 500 parameters PostgreSQL knows nothing when it plans; it compared each with every row, 200 ms where there were 10,000.
    """
    if connection.dialect.name != "sqlite":
        yield column == sa.any_(sa.bindparam(None, list(values), type_=postgresql.ARRAY(column.type)))
        return
    for start in range(0, len(values), VALUES_PER_QUERY):
        yield column.in_(values[start : start + VALUES_PER_QUERY])


def insert_many(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all have the same columns.

    PostgreSQL gets them as one stream (COPY): a statement for each row costs a round trip's worth of work on both
    sides, which for a large import was most of the time.
    """
    if not rows:
        return
    if connection.dialect.name == "sqlite" or len(rows) < COPIED_ROWS_MIN:
        connection.execute(_insert(table), list(rows))
        return
    import psycopg  # here SQLAlchemy has loaded it

    columns = [table.c[name] for name in rows[0]]
    prepare = connection.dialect.identifier_preparer
    names = ", ".join(prepare.format_column(column) for column in columns)
    renderers = [column.type.bind_processor(connection.dialect) or _as_it_is for column in columns]
    driver = connection.connection.driver_connection
    assert driver is not None
    statement = f"COPY {prepare.format_table(table)} ({names}) FROM STDIN"
    try:
        with driver.cursor().copy(statement) as copy:
            for row in rows:
                copy.write_row([render(value) for render, value in zip(renderers, row.values(), strict=True)])
    except psycopg.Error as error:
        raise sa.exc.DBAPIError.instance(statement, None, error, psycopg.Error) from error


@cache
def _insert(table: sa.Table) -> sa.Insert:
    return sa.insert(table)


def _as_it_is(value: Any) -> Any:
    return value


def upsert(
    connection: sa.Connection,
    table: sa.Table,
    rows: Sequence[dict[str, Any]],
    *,
    add: tuple[str, ...] = (),
    keep: tuple[str, ...] = (),
) -> None:
    """Insert rows, replacing the other columns of those whose primary key exists.

    Columns in `add` are added up instead, those in `keep` stay as they are. The rows of one call must have distinct
    primary keys and the same columns.
    """
    if not rows:
        return
    columns = tuple(rows[0])
    if connection.dialect.name == "sqlite" or len(rows) < ARRAYED_ROWS_MIN:
        connection.execute(_upsert(connection.dialect.name, table, columns, add, keep), list(rows))
    else:
        arrays = {f"all_{name}": [row[name] for row in rows] for name in columns}
        connection.execute(_upsert_arrays(table, columns, add, keep), arrays)


@cache
def _upsert(
    dialect: str, table: sa.Table, columns: tuple[str, ...], add: tuple[str, ...], keep: tuple[str, ...]
) -> sa.Insert:
    """The statement, made once for each form of call."""
    # PERF: without values(), so that one compiled text serves every call: compiling 500 rows of VALUES took longer than
    # sending them one by one does (bench.whole.control_plane, 10,000 routes on PostgreSQL: 0.9 s of 1.9 s).
    insert = (sqlite if dialect == "sqlite" else postgresql).insert(table)
    return _replacing(insert, table, columns, add, keep)


@cache
def _upsert_arrays(table: sa.Table, columns: tuple[str, ...], add: tuple[str, ...], keep: tuple[str, ...]) -> sa.Insert:
    """The same for PostgreSQL with all rows in one statement of one text: an array `all_NAME` for each column.

    PERF: the 20,000 rows of a node whose 10,000 routes were all asked: 0.20 s of our CPU and 0.36 s waited for, one by one 0.40 and 0.75.
    """
    arrays = [
        sa.func.unnest(sa.bindparam(f"all_{name}", type_=postgresql.ARRAY(table.c[name].type))) for name in columns
    ]
    insert = postgresql.insert(table).from_select(list(columns), sa.select(*arrays))
    return _replacing(insert, table, columns, add, keep)


def _replacing(
    insert: Any, table: sa.Table, columns: tuple[str, ...], add: tuple[str, ...], keep: tuple[str, ...]
) -> sa.Insert:
    keys = [column.name for column in table.primary_key.columns]
    changed = {
        name: table.c[name] + insert.excluded[name] if name in add else insert.excluded[name]
        for name in columns
        if name not in keys and name not in keep
    }
    statement: sa.Insert = insert.on_conflict_do_update(index_elements=keys, set_=changed)
    return statement


def _prepare_sqlite(engine: sa.Engine) -> None:
    """WAL, foreign keys, and transactions that begin where we say (the driver would begin them late and lock late)."""

    @sa.event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "journal_mode=WAL",
            # A counter is acknowledged after commit and never sent again: the commit must survive a power cut.
            "synchronous=FULL",
            "foreign_keys=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def on_begin(connection: sa.Connection) -> None:
        write = connection.get_execution_options().get("kongdp_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
