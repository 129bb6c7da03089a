"""A PostgreSQL server of the test run's own: on a Unix socket in a temporary directory, gone at the end.

Tests that want it skip with a reason where no server program is installed.
"""

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

import sqlalchemy as sa

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
    """One server; each test gets a database of its own."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="kongdp-postgres-"))
        data = self._directory / "data"
        self._user = USER if os.getuid() == 0 else None
        if self._user is not None:
            shutil.chown(self._directory, self._user)
        self._run("initdb", "-D", str(data), "-U", USER, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
        options = f"-k {self._directory} -c listen_addresses='' -c fsync=off -c max_connections=50"
        log = str(self._directory / "log")
        self._run("pg_ctl", "-D", str(data), "-l", log, "-w", "-t", str(START_S), "-o", options, "start")
        self._engine = sa.create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")

    def url(self, name: str) -> str:
        """The URL of a database."""
        return f"postgresql+psycopg://{USER}@/{name}?host={self._directory}"

    def create_database(self) -> str:
        """A fresh database's URL."""
        name = f"test_{uuid.uuid4().hex}"
        with self._engine.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        return self.url(name)

    def stop(self) -> None:
        """Stop the server and remove its files."""
        self._engine.dispose()
        self._run("pg_ctl", "-D", str(self._directory / "data"), "-m", "immediate", "-w", "stop")
        shutil.rmtree(self._directory, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        path = find_program(program)
        assert path is not None
        with (self._directory / "output").open("ab") as output:
            subprocess.run(
                [path, *arguments], check=True, stdout=output, stderr=output, user=self._user, cwd=self._directory
            )
