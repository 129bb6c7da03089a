"""A fresh database for each test that asks for one: SQLite, and PostgreSQL where its server is installed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kongdp.controlplane import groups
from kongdp.controlplane.changes import Changes
from kongdp.controlplane.store.database import Database
from kongdp.controlplane.store.migrations import migrate
from tests.support.postgres import PostgresServer, why_not


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for the run."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'controlplane.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create_database()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file that tests copy instead of running every migration again."""
    path = tmp_path_factory.mktemp("migrated") / "controlplane.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return path


@pytest.fixture
def database(fresh_url: str, migrated_file: Path) -> Iterator[Database]:
    """A migrated database of its own."""
    if fresh_url.startswith("sqlite"):
        shutil.copyfile(migrated_file, fresh_url.removeprefix("sqlite:///"))
    database = Database(fresh_url)
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def changes(database: Database) -> Changes:
    """The door to that database."""
    return Changes(database)


@pytest.fixture
def group_id(database: Database) -> str:
    """The id of the runtime group `default`."""
    return groups.ensure_default(database)
