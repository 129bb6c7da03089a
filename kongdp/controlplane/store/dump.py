"""A whole database as lines of JSON, and back: the same lines from SQLite and from PostgreSQL, for both of them.

Tables are read as the database says they are, not as this release declares them: a dump of an older release is put into
tables of that release's shape, and migrations then do what they would have done to the database itself. Sessions are left
out: one that was ended must not begin again.
House rule: everything happens in the caller's transaction. Cold.
"""

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import orjson
import sqlalchemy as sa

from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import insert_many
from kongdp.controlplane.store.migrations import upgrade

# Alembic's own table; the schema's name is kept beside the rows.
VERSION = "alembic_version"
# Rows held in memory at once.
BATCH = 2000
BINARY = "base64"


def dumped_tables(connection: sa.Connection) -> list[sa.Table]:
    """What a dump holds, parents before children."""
    known = sa.MetaData()
    known.reflect(connection)
    return [table for table in known.sorted_tables if table.name != VERSION and not _is_left_out(table.name)]


def _is_left_out(name: str) -> bool:
    """What lets somebody in for a while: no more after a restore."""
    return name.endswith(("sessions", "_resets"))


def count_rows(connection: sa.Connection, table: sa.Table) -> int:
    """How many rows a table has."""
    return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def dump_rows(connection: sa.Connection, table: sa.Table) -> Iterator[bytes]:
    """A line for each row, its values in the order of the table's columns."""
    rows = connection.execute(sa.select(table).execution_options(yield_per=BATCH))
    for row in rows:
        yield orjson.dumps([_written(value) for value in row]) + b"\n"


def _written(value: Any) -> Any:
    return {BINARY: base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _read(value: Any) -> Any:
    return base64.b64decode(value[BINARY]) if isinstance(value, dict) else value


def read_row(line: bytes, count: int) -> list[Any]:
    """The values of a line. Raises ValueError when it is none of a table with so many columns."""
    values = orjson.loads(line)
    if not isinstance(values, list) or len(values) != count:
        raise ValueError(f"a row of {count} values was expected")
    return [_read(value) for value in values]


def has_tables(connection: sa.Connection) -> bool:
    """Whether a control plane has been here."""
    return sa.inspect(connection).has_table(VERSION)


def drop_tables(connection: sa.Connection, names: Iterable[str]) -> None:
    """Take away our own tables and the named ones; what else is in the database stays."""
    ours = {*tables.METADATA.tables, *names, VERSION}
    known = sa.MetaData()
    known.reflect(connection, only=lambda name, _metadata: name in ours)
    known.drop_all(connection)


def load_rows(
    connection: sa.Connection,
    schema: str,
    columns: Mapping[str, Sequence[str]],
    lines: Callable[[str], Iterable[bytes]],
    on_progress: Callable[[str, int], None],
) -> None:
    """Make the tables of a schema, fill them and bring them to this release's shape. `lines` gives those of a table."""
    upgrade(connection, schema)
    for table in dumped_tables(connection):
        names = columns.get(table.name)
        if names is None:
            continue
        count = 0
        rows = (dict(zip(names, read_row(line, len(names)), strict=True)) for line in lines(table.name))
        while batch := list(islice(rows, BATCH)):
            insert_many(connection, table, batch)
            count += len(batch)
            on_progress(table.name, count)
        if connection.dialect.name == "postgresql":
            _count_on(connection, table)
    upgrade(connection)


def _count_on(connection: sa.Connection, table: sa.Table) -> None:
    """Let numbers that the database gives go on after those that were put in."""
    for column in table.primary_key.columns:
        sequence = connection.scalar(sa.select(sa.func.pg_get_serial_sequence(table.name, column.name)))
        if sequence is not None:
            following = sa.select(sa.func.coalesce(sa.func.max(column), 0) + 1).scalar_subquery()
            connection.execute(sa.select(sa.func.setval(sequence, following, False)))
