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
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    scripts = ScriptDirectory.from_config(config)
    try:
        with database.write() as connection:
            if not database.is_sqlite:
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
            current = MigrationContext.configure(connection).get_current_revision()
            known = {script.revision for script in scripts.walk_revisions()}
            if current is not None and current not in known:
                raise DatabaseError(
                    f"{database.shown_url} was written by a newer release of kongdp (its schema is {current})"
                )
            if current == scripts.get_current_head():
                return
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except sa.exc.OperationalError as error:
        raise DatabaseError(f"cannot open the database {database.shown_url}: {error.orig}") from None
    except sa.exc.DatabaseError as error:
        raise DatabaseError(f"{database.shown_url} is not a database that kongdp can use: {error.orig}") from None
