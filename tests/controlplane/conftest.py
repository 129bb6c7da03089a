"""A fresh database for each test that asks for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kongdp.controlplane import groups
from kongdp.controlplane.changes import Changes
from kongdp.controlplane.store.database import Database
from kongdp.controlplane.store.migrations import migrate


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A migrated SQLite database in a directory of its own."""
    database = Database(f"sqlite:///{tmp_path / 'controlplane.db'}")
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
