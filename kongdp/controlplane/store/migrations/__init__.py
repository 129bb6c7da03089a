"""Brings a database to the shape of this release: Alembic, run at every start, before anything else touches the
database.

A release only ever adds a file under versions/, named after its revision. A database that a newer release has written is
refused with a clear message. Alembic is loaded only where a migration is missing.
"""

from pathlib import Path

import sqlalchemy as sa

from kongdp.controlplane.store.database import Database, DatabaseError

# Any constant will do: replicas that start together agree by it on who migrates.
MIGRATION_LOCK = 0x6B6F6E67
REVISIONS = tuple(sorted(path.name[1:5] for path in (Path(__file__).parent / "versions").glob("v[0-9]*_*.py")))
"""What this release knows, oldest first."""


def migrate(database: Database) -> None:
    """Run the migrations that are missing. Raises DatabaseError when the database cannot be opened or is of a newer
    release.
    """
    try:
        with database.write() as connection:
            wait_for_others(connection)
            current = schema_of(connection)
            if current is not None and not is_known(current):
                raise DatabaseError(
                    f"{database.shown_url} was written by a newer release of kongdp (its schema is {current})"
                )
            upgrade(connection)
    except sa.exc.OperationalError as error:
        raise DatabaseError(f"cannot open the database {database.shown_url}: {error.orig}") from None
    except sa.exc.DatabaseError as error:
        raise DatabaseError(f"{database.shown_url} is not a database that kongdp can use: {error.orig}") from None


def wait_for_others(connection: sa.Connection) -> None:
    """Hold the lock of those who change the schema, to the end of the transaction."""
    if connection.dialect.name != "sqlite":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})


def schema_of(connection: sa.Connection) -> str | None:
    """Which migration ran last; None in a database where none has."""
    if not sa.inspect(connection).has_table(_VERSION.name):
        return None
    return connection.scalar(sa.select(_VERSION.c.version_num))


def is_known(schema: str) -> bool:
    """Whether this release has a migration of that name."""
    return schema in REVISIONS


def upgrade(connection: sa.Connection, schema: str = REVISIONS[-1]) -> None:
    """Run the migrations that are missing up to one of them, in the transaction at hand."""
    if schema_of(connection) == schema:
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, schema)


_VERSION = sa.table("alembic_version", sa.column("version_num", sa.String))
