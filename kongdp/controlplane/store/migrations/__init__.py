"""Brings a database to the shape of this release: Alembic, run at every start, before anything else touches the
database.

A release only ever adds a file under versions/. A database that a newer release has written is refused with a clear
message.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from kongdp.controlplane.store.database import Database, DatabaseError

# Any constant will do: replicas that start together agree by it on who migrates.
MIGRATION_LOCK = 0x6B6F6E67


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
    return MigrationContext.configure(connection).get_current_revision()


def is_known(schema: str) -> bool:
    """Whether this release has a migration of that name."""
    return any(script.revision == schema for script in ScriptDirectory.from_config(_config()).walk_revisions())


def upgrade(connection: sa.Connection, schema: str = "head") -> None:
    """Run the migrations that are missing up to one of them, in the transaction at hand."""
    config = _config()
    if schema == "head" and schema_of(connection) == ScriptDirectory.from_config(config).get_current_head():
        return
    config.attributes["connection"] = connection
    command.upgrade(config, schema)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config
