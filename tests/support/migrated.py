"""A migrated SQLite database as a copy of one file, because tests need hundreds and each migration takes a tenth of a second."""

import shutil
from pathlib import Path

from kongdp.controlplane.accounts import Accounts
from kongdp.controlplane.store.database import Database
from kongdp.controlplane.store.migrations import migrate
from tests.support import shared
from tests.support.cheap_hashes import make_hasher


def migrated_sqlite(directory: Path) -> str:
    """The URL of `controlplane.db` in `directory`: the one that is there, else a fresh copy."""
    path = directory / "controlplane.db"
    if not path.exists():
        shutil.copyfile(shared.once("migrated-sqlite", _migrate_file), path)
    return f"sqlite:///{path}"


def plant_sqlite(directory: Path) -> str:
    """The same with the first administrator in it, as a control plane leaves it behind; the password."""
    planted = shared.once("planted-sqlite", _plant_file)
    path = directory / "controlplane.db"
    if not path.exists():
        shutil.copyfile(planted["path"], path)
    return str(planted["password"])


def _plant_file() -> dict[str, str | None]:
    path = shared.directory() / "planted.db"
    shutil.copyfile(shared.once("migrated-sqlite", _migrate_file), path)
    database = Database(f"sqlite:///{path}")
    password = Accounts(database, hasher=make_hasher()).ensure_admin()
    database.close()
    return {"path": str(path), "password": password}


def _migrate_file() -> str:
    path = shared.directory() / "migrated.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return str(path)
