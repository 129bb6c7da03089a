"""A PostgreSQL server of the test run's own: on a Unix socket in the run's directory, gone at the end.

One server serves all processes of a run, and a migrated database is made once, which others are copies of.
Tests that want it skip with a reason where no server program is installed.
"""

import glob
import os
import pwd
import shutil
import subprocess
import uuid
from pathlib import Path

import sqlalchemy as sa

from kongdp.controlplane.store.database import Database
from kongdp.controlplane.store.migrations import migrate
from tests.support import shared

START_S = 30
# The server refuses to run as root; Debian's package makes this user.
USER = "postgres"


def find_program(name: str) -> str | None:
    """A server program, on the path or where Debian puts it."""
    found = shutil.which(name)
    return found or next(iter(sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), reverse=True)), None)


def why_not() -> str | None:
    """Why no server can be started here, or None."""
    if find_program("initdb") is None or find_program("postgres") is None or find_program("pg_ctl") is None:
        return "PostgreSQL's server programs are not installed"
    if os.getuid() == 0:
        try:
            pwd.getpwnam(USER)
        except KeyError:
            return f"running as root, and there is no user {USER} to run PostgreSQL as"
    return None


class PostgresServer:
    """The run's server, as one of its processes sees it; each test gets a database of its own."""

    def __init__(self) -> None:
        shared.once("postgres", _start)
        self._engine = sa.create_engine(_url("postgres"), isolation_level="AUTOCOMMIT")

    def create_database(self, template: str = "template0") -> str:
        """A fresh database's URL."""
        name = f"test_{uuid.uuid4().hex}"
        with self._engine.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        return _url(name)

    def create_migrated(self) -> str:
        """The URL of a database that has every migration."""
        template = shared.once("postgres-template", self._migrated_template)
        return self.create_database(template)

    def _migrated_template(self) -> str:
        url = self.create_database()
        database = Database(url)
        migrate(database)
        database.close()
        return str(sa.make_url(url).database)

    def close(self) -> None:
        """This process needs the server no more."""
        self._engine.dispose()

    @staticmethod
    def stop_shared() -> None:
        """Stop the server if the run started one."""
        if _data().exists():
            _run("pg_ctl", "-D", str(_data()), "-m", "immediate", "-w", "stop")


def _home() -> Path:
    return shared.directory() / "postgres"


def _data() -> Path:
    return _home() / "data"


def _url(name: str) -> str:
    return f"postgresql+psycopg://{USER}@/{name}?host={_home()}"


def _start() -> bool:
    home = _home()
    home.mkdir()
    if os.getuid() == 0:
        shared.directory().chmod(0o711)
        shutil.chown(home, USER)
    _run("initdb", "-D", str(_data()), "-U", USER, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
    # Nothing has to last; and autovacuum would go through hundreds of databases, each left after a second.
    settings = (
        "-c listen_addresses='' -c max_connections=200 -c fsync=off -c full_page_writes=off -c synchronous_commit=off"
        " -c wal_level=minimal -c max_wal_senders=0 -c autovacuum=off"
    )
    log = str(home / "log")
    _run("pg_ctl", "-D", str(_data()), "-l", log, "-w", "-t", str(START_S), "-o", f"-k {home} {settings}", "start")
    return True


def _run(program: str, *arguments: str) -> None:
    path = find_program(program)
    assert path is not None
    with (_home() / "output").open("ab") as output:
        subprocess.run(
            [path, *arguments],
            check=True,
            stdout=output,
            stderr=output,
            user=USER if os.getuid() == 0 else None,
            cwd=_home(),
        )
