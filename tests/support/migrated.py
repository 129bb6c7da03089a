"""A migrated SQLite database as a copy of one file, because tests need hundreds and each migration takes a tenth of a second."""

import shutil
from pathlib import Path

from kongdp.controlplane.store.database import Database
from kongdp.controlplane.store.migrations import migrate
from tests.support import shared


def migrated_sqlite(directory: Path) -> str:
    """The URL of `controlplane.db` in `directory`: the one that is there, else a fresh copy."""
    path = directory / "controlplane.db"
    if not path.exists():
        shutil.copyfile(shared.once("migrated-sqlite", _migrate_file), path)
    return f"sqlite:///{path}"


def _migrate_file() -> str:
    path = shared.directory() / "migrated.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return str(path)
