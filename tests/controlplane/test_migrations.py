"""Migrations give exactly the tables that the code declares, and refuse what they do not know."""

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from kongdp.controlplane.store import migrations
from kongdp.controlplane.store.database import Database, DatabaseError, database_url
from kongdp.controlplane.store.migrations import REVISIONS, migrate
from kongdp.controlplane.store.tables import METADATA


def test_migrations_and_tables_agree(database: Database) -> None:
    """A table cannot change without a migration."""
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_files_are_named_after_their_revisions() -> None:
    """What a release knows is read from the names, without loading Alembic."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    scripts = ScriptDirectory.from_config(config)
    assert [script.revision for script in scripts.walk_revisions()] == list(reversed(REVISIONS))
    assert scripts.get_current_head() == REVISIONS[-1]


def test_migrating_again_changes_nothing(database: Database) -> None:
    """Every start migrates; a database that is current is left alone."""
    migrate(database)


def test_a_database_of_a_newer_release_is_refused(database: Database) -> None:
    """Going back a release is said clearly instead of breaking somewhere."""
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match="newer release"):
        migrate(database)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """The message names the file."""
    path = tmp_path / "notes.db"
    path.write_text("not a database, and long enough to have a header " * 10)
    database = Database(f"sqlite:///{path}")
    with pytest.raises(DatabaseError, match=r"notes\.db"):
        migrate(database)
    database.close()


def test_a_directory_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """The message names the file that could not be opened."""
    database = Database(f"sqlite:///{tmp_path / 'missing' / 'controlplane.db'}")
    with pytest.raises(DatabaseError, match="cannot open the database"):
        migrate(database)
    database.close()


@pytest.mark.parametrize(
    ("configured", "url"),
    [
        (None, "sqlite:////p/controlplane.db"),
        ("postgres://u@h/d", "postgresql+psycopg://u@h/d"),
        ("postgresql://u@h/d", "postgresql+psycopg://u@h/d"),
        ("sqlite:////x.db", "sqlite:////x.db"),
    ],
)
def test_the_url_names_the_driver_we_ship(configured: str | None, url: str) -> None:
    """A plain PostgreSQL URL works as people write it."""
    assert database_url(configured, "/p") == url


@pytest.mark.parametrize("url", ["mysql://h/d", "nonsense"])
def test_other_databases_are_refused(url: str) -> None:
    """Only what is tested is accepted, and the setting is named."""
    with pytest.raises(DatabaseError, match="KONGDP_DATABASE_URL"):
        Database(url)


def test_sqlite_keeps_a_write_ahead_log(tmp_path: Path) -> None:
    """Readers do not wait for the writer."""
    database = Database(f"sqlite:///{tmp_path / 'controlplane.db'}")
    migrate(database)
    database.close()
    with sqlite3.connect(tmp_path / "controlplane.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
