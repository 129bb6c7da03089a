"""A fresh database for each test that asks for one: SQLite, and PostgreSQL where its server is installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kongdp.controlplane import groups, passwords
from kongdp.controlplane.changes import Changes
from kongdp.controlplane.store.database import Database
from tests.support.cheap_hashes import make_hasher
from tests.support.migrated import migrated_sqlite
from tests.support.postgres import PostgresServer, why_not


@pytest.fixture(scope="session", autouse=True)
def _cheap_hashes() -> Iterator[None]:
    """Of planes in the tests' own processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "PasswordHasher", make_hasher)
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The run's server."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def fresh_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that nobody has used: a copy of one that was migrated once in this run."""
    if kind == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.create_migrated()
    return migrated_sqlite(tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which database a test that asks for one gets: it runs once with each."""
    return str(request.param)


@pytest.fixture
def database(fresh_url: str) -> Iterator[Database]:
    """A migrated database of its own."""
    database = Database(fresh_url)
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
