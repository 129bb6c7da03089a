"""A control plane in one file, and a control plane out of it.

In: a database, a prefix, a path.  Out: a zip archive with every table (store.dump), the authority's certificate and key and
the control plane's id; or all of that put back. A backup of SQLite can be restored into PostgreSQL and the other way round,
which is also how one moves. Taken while the control plane runs: one consistent view of the database.
House rules: a backup is complete or not there (written beside, synced, renamed), readable by its owner only; an archive is
read to its end and found whole before anything is touched; what was there stays unless the operator says `replace`, and
then until the last moment: the database changes in one transaction, the old authority is kept under another name.
Cold.
"""

import os
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from kongdp import __version__
from kongdp.controlplane import replicas
from kongdp.controlplane.authority import AuthorityError, check_pair, write_private
from kongdp.controlplane.prefix_lock import only_one
from kongdp.controlplane.store import dump
from kongdp.controlplane.store.database import Database
from kongdp.controlplane.store.migrations import is_known, schema_of, wait_for_others
from kongdp.errors import KongdpError, Source

FORMAT = 1
MANIFEST = "manifest.json"
# Everything beside tables is small; more would be no file of ours.
SMALL_FILE_BYTES_MAX = 1 << 20
LINE_BYTES_MAX = 64 << 20

# Called with (table, rows done, rows in all).
Progress = Callable[[str, int, int], None]


class BackupError(KongdpError):
    """A backup cannot be made or restored; the message says why, and what was left as it was."""

    source = Source.OPERATOR


@dataclass(frozen=True, slots=True)
class Summary:
    """What an archive holds."""

    schema: str
    release: str
    made_at: float
    rows: dict[str, int]
    columns: dict[str, list[str]]

    @property
    def count(self) -> int:
        """Rows in all tables."""
        return sum(self.rows.values())


def make_backup(database: Database, prefix: Path, path: Path, on_progress: Progress, now: float) -> Summary:
    """Write everything to a new file at `path`. Raises BackupError."""
    if path.exists():
        raise BackupError(f"{path} exists already: a backup never overwrites")
    if database.is_sqlite and not Path(database.engine.url.database or "").exists():
        raise BackupError(f"there is no {database.engine.url.database}")
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            summary = _write_archive(database, prefix, file, on_progress, now)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
        return summary
    except OSError as error:
        raise BackupError(f"cannot write {path}: {error.strerror or error}") from None
    except sa.exc.DBAPIError as error:
        raise BackupError(f"cannot read {database.shown_url}: {error.orig}") from None
    finally:
        partial.unlink(missing_ok=True)


def _write_archive(database: Database, prefix: Path, file: Any, on_progress: Progress, now: float) -> Summary:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, database.read() as connection:
        if not dump.has_tables(connection) or (schema := schema_of(connection)) is None:
            raise BackupError(f"{database.shown_url} holds no control plane")
        summary = Summary(schema, __version__, now, {}, {})
        for table in dump.dumped_tables(connection):
            # Names from the database are a kind of str that JSON does not know.
            name = str(table.name)
            summary.columns[name] = [str(column.name) for column in table.columns]
            total = summary.rows[name] = dump.count_rows(connection, table)
            with archive.open(_member(name), "w", force_zip64=True) as member:
                for count, line in enumerate(dump.dump_rows(connection, table), 1):
                    member.write(line)
                    if count % dump.BATCH == 0 or count == total:
                        on_progress(name, count, total)
        for path, content in _small_files(database, prefix).items():
            archive.writestr(path, content)
        archive.writestr(MANIFEST, orjson.dumps({"format": FORMAT, **_shown(summary)}))
    return summary


def _small_files(database: Database, prefix: Path) -> dict[str, str]:
    """The authority, from the prefix or (PostgreSQL) from the database, and the control plane's id."""
    found = {}
    for name in replicas.SHARED:
        path = prefix / "authority" / name
        content = path.read_text() if path.exists() else replicas.shared_files(database).get(name)
        if content is None:
            raise BackupError(f"{path} is missing: without the authority's certificate and key no node could come back")
        found[f"authority/{name}"] = content
    id_path = prefix / "kong.id"
    return {**found, **({"kong.id": id_path.read_text()} if id_path.exists() else {})}


def _member(table: str) -> str:
    return f"tables/{table}.jsonl"


def _shown(summary: Summary) -> dict[str, Any]:
    tables = {name: {"columns": summary.columns[name], "rows": rows} for name, rows in summary.rows.items()}
    return {"kongdp": summary.release, "schema": summary.schema, "made_at": summary.made_at, "tables": tables}


def restore_backup(
    database: Database, prefix: Path, path: Path, on_progress: Progress, *, replace: bool = False
) -> Summary:
    """Make the control plane of this database and prefix what the file says. Raises BackupError, PrefixError.

    `replace`: also where there is one already.
    """
    with only_one(prefix), _opened(path) as archive:
        summary = _check(archive, path)
        files = _check_authority(archive, path)
        if not replace and (prefix / "authority").exists():
            raise BackupError(f"{prefix / 'authority'} exists already: --replace puts the backup's in its place")
        try:
            with database.write() as connection:
                _check_target(connection, database, replace)
                dump.drop_tables(connection, summary.columns)
                dump.load_rows(
                    connection,
                    summary.schema,
                    summary.columns,
                    lambda name: _lines(archive, name),
                    lambda name, count: on_progress(name, count, summary.rows[name]),
                )
        except (sa.exc.SQLAlchemyError, OSError, ValueError) as error:
            raise BackupError(f"nothing was changed: {getattr(error, 'orig', None) or error}") from None
        _put_files(prefix, archive, files)
        return summary


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except OSError as error:
        raise BackupError(f"cannot read {path}: {error.strerror or error}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise BackupError(f"{path} is not a whole backup: {error}") from None


def _check(archive: zipfile.ZipFile, path: Path) -> Summary:
    """Read everything once. Raises BackupError for what is not as the manifest says."""
    try:
        summary = _read_manifest(_small(archive, MANIFEST))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BackupError(f"{path} is not a backup of kongdp") from None
    if not is_known(summary.schema):
        raise BackupError(
            f"{path} was made by a newer release of kongdp ({summary.release}, its schema is {summary.schema})"
        )
    for name, rows in summary.rows.items():
        try:
            count = sum(1 for line in _lines(archive, name) if dump.read_row(line, len(summary.columns[name])))
        except (KeyError, ValueError) as error:
            raise BackupError(f"{path} is not a whole backup: {name}: {error}") from None
        if count != rows:
            raise BackupError(f"{path} is not a whole backup: {name} has {count} rows of {rows}")
    return summary


def _check_authority(archive: zipfile.ZipFile, path: Path) -> dict[str, str]:
    """Certificate and key by name in the archive, which belong together."""
    try:
        files = {f"authority/{name}": _small(archive, f"authority/{name}") for name in replicas.SHARED}
        check_pair(files["authority/ca.key"].encode(), files["authority/ca.crt"].encode())
    except (KeyError, ValueError, AuthorityError) as error:
        raise BackupError(f"{path}: its authority cannot be used: {error}") from None
    return files


def _read_manifest(content: str) -> Summary:
    manifest = orjson.loads(content)
    if manifest["format"] != FORMAT:
        raise ValueError
    tables = manifest["tables"]
    return Summary(
        manifest["schema"],
        manifest["kongdp"],
        manifest["made_at"],
        {name: table["rows"] for name, table in tables.items()},
        {name: table["columns"] for name, table in tables.items()},
    )


def _small(archive: zipfile.ZipFile, name: str) -> str:
    if archive.getinfo(name).file_size > SMALL_FILE_BYTES_MAX:
        raise ValueError(f"{name} has more than {SMALL_FILE_BYTES_MAX} bytes")
    return archive.read(name).decode()


def _lines(archive: zipfile.ZipFile, table: str) -> Iterator[bytes]:
    with archive.open(_member(table)) as member:
        while line := member.readline(LINE_BYTES_MAX):
            yield line


def _check_target(connection: sa.Connection, database: Database, replace: bool) -> None:
    wait_for_others(connection)
    if not database.is_sqlite:
        others = connection.scalar(
            sa.text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
        )
        if others:
            raise BackupError(
                f"{others} other connections are open to {database.shown_url}: stop every control plane over it first"
            )
    if not replace and dump.has_tables(connection):
        raise BackupError(f"{database.shown_url} holds a control plane already: --replace puts the backup in its place")


def _put_files(prefix: Path, archive: zipfile.ZipFile, files: dict[str, str]) -> None:
    """The authority, and the id; what was there goes beside."""
    directory = prefix / "authority"
    try:
        if directory.exists():
            directory.rename(prefix / f"authority.replaced-{time.time_ns()}")
        directory.mkdir(mode=0o700, parents=True)
        for name, content in files.items():
            write_private(prefix / name, content.encode())
        if "kong.id" in archive.namelist():
            write_private(prefix / "kong.id", _small(archive, "kong.id").encode())
    except OSError as error:
        raise BackupError(
            f"the database is restored, the authority is not: {error}. Run the same once more with --replace"
        ) from None
