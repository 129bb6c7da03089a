"""Backup and restore: what comes out of a file is what went in, on either database; nothing is half done."""

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from kongdp.controlplane import accounts, groups, users
from kongdp.controlplane.authority import Authority
from kongdp.controlplane.backup import BackupError, make_backup, restore_backup
from kongdp.controlplane.changes import Changes
from kongdp.controlplane.prefix_lock import PrefixError, only_one
from kongdp.controlplane.store import dump, tables
from kongdp.controlplane.store.database import Database
from kongdp.controlplane.store.migrations import migrate, schema_of, upgrade
from tests.support.clock import FakeClock
from tests.support.migrated import migrated_sqlite
from tests.support.postgres import PostgresServer

NOW = 1_800_000_000.0
ROUTE = "5b5b3537-7bcb-4cca-9bf0-e9d43429d848"


EDGES: list[tuple[type[Any], Any]] = [
    (tables.Json, {"a": ["\x00☃", None, 1.5]}),
    (sa.LargeBinary, bytes(range(256))),
    (sa.Boolean, True),
    (sa.SmallInteger, 599),
    (sa.BigInteger, 2**62),
    (sa.Integer, 2**31 - 1),
    (sa.Float, 1e15 / 3),
    (sa.Text, '\\N\t"\n☃' * 100),
]


def quiet(table: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A prefix with an authority and an id."""
    prefix = tmp_path / "prefix"
    Authority.open(prefix / "authority", FakeClock())
    (prefix / "kong.id").write_text("1da9157f-c443-4b08-8355-c97520754c21")
    return prefix


@pytest.fixture
def filled(database: Database, changes: Changes, group_id: str) -> Database:
    """A database with entities, revisions, people, a token, a session, JSON that is hard to quote, and a row in every table."""
    accounts.Accounts(database, clock=lambda: NOW).ensure_admin()
    for number in range(3):
        with changes.store(group_id).write(actor="test", summary=f"\\N\t{number}\n☃") as writer:
            writer.put("routes", {"id": ROUTE, "name": f"r{number}", "tags": ["a\\b"], "paths": ["/\t"]})
    with database.write() as connection:
        admin = users.find(connection, "admin")
        users.open_session(connection, admin.id, "127.0.0.1", NOW)
        identity = users.Identity(admin.id, "admin", "admin")
        users.create_token(
            connection, identity, name="t", role="viewer", group_names=["default"], lifetime_s=60.0, now=NOW
        )
        service = {"id": "s", "name": "s", "slug": "s", "description": "", "labels": {"a": "b"}, "published": True}
        times = {"edition": 1, "created_at": 0.1, "updated_at": 1e15 / 3}
        connection.execute(sa.insert(tables.catalogue_services), {**service, **times})
        for table in tables.METADATA.sorted_tables:
            if not dump.count_rows(connection, table):
                connection.execute(sa.insert(table), make_row(connection, table))
    return database


def make_row(connection: sa.Connection, table: sa.Table) -> dict[str, Any]:
    """A row of values that are at the edge of what each column takes, pointing at rows that are there."""
    row: dict[str, Any] = {}
    for column in table.columns:
        parent = next(iter(column.foreign_keys), None)
        if parent is not None:
            row[column.name] = connection.scalar(sa.select(parent.column).limit(1))
        elif not (column.primary_key and column.autoincrement is True):
            edges = (value for kind, value in EDGES if isinstance(column.type, kind))
            row[column.name] = next(edges, None) or "x" * column.type.length  # type: ignore[attr-defined]
    return row


@pytest.fixture(params=["sqlite", "postgresql"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database to restore into."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create_database()
    other = Database(url)
    yield other
    other.close()


def contents(database: Database) -> dict[str, list[bytes]]:
    """Every row of every table, sessions aside."""
    with database.read() as connection:
        found = {table.name: sorted(dump.dump_rows(connection, table)) for table in dump.dumped_tables(connection)}
    assert found["revision_changes"], "a comparison of nothing would pass"
    return found


def test_all_that_was_backed_up_is_there_after_a_restore(
    filled: Database, elsewhere: Database, prefix: Path, tmp_path: Path
) -> None:
    """Between any two databases: each row as it was, the authority and the id; numbers go on after the last."""
    file, other = tmp_path / "backup.zip", tmp_path / "other"
    told: list[tuple[str, int, int]] = []
    summary = make_backup(filled, prefix, file, lambda *news: told.append(news), NOW)
    assert file.stat().st_mode & 0o777 == 0o600
    assert ("revisions", 3, 3) in told
    before = contents(filled)
    assert summary.rows == {name: len(rows) for name, rows in before.items()}
    filled.engine.dispose()

    assert restore_backup(elsewhere, other, file, quiet).count == summary.count
    assert contents(elsewhere) == before
    for name in ("authority/ca.key", "authority/ca.crt", "kong.id"):
        assert (other / name).read_text() == (prefix / name).read_text()
    assert (other / "authority" / "ca.key").stat().st_mode & 0o777 == 0o600
    with elsewhere.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.sessions)) == 0
    door = Changes(elsewhere)
    with door.store(groups.ensure_default(elsewhere)).write(actor="t", summary="after") as writer:
        writer.put("routes", {"id": ROUTE, "name": "after"})
    with elsewhere.read() as connection:
        assert connection.scalar(sa.select(sa.func.max(tables.revisions.c.number))) == 4


def test_a_backup_of_an_older_release_is_brought_up_to_date(elsewhere: Database, prefix: Path, tmp_path: Path) -> None:
    """Its rows go into tables of its own time, which migrations then change."""
    old = Database(f"sqlite:///{tmp_path / 'old.db'}")
    with old.write() as connection:
        upgrade(connection, "0001")
        row = {"id": "g", "name": "team", "description": "", "labels": {}, "cluster_id": "c", "workspace_id": "w"}
        connection.execute(sa.insert(tables.groups), {**row, "created_at": 1.0, "updated_at": 1.0})
    assert make_backup(old, prefix, tmp_path / "old.zip", quiet, NOW).schema == "0001"
    old.close()
    restore_backup(elsewhere, tmp_path / "other", tmp_path / "old.zip", quiet)
    with elsewhere.read() as connection:
        assert connection.scalar(sa.select(tables.groups.c.name)) == "team"
        assert schema_of(connection) != "0001"
    migrate(elsewhere)


def test_what_is_there_stays_unless_it_is_to_be_replaced(filled: Database, prefix: Path, tmp_path: Path) -> None:
    """A second restore is refused; with `replace` it happens, and the old authority is kept beside."""
    file = tmp_path / "backup.zip"
    make_backup(filled, prefix, file, quiet, NOW)
    with pytest.raises(BackupError, match="a backup never overwrites"):
        make_backup(filled, prefix, file, quiet, NOW)
    filled.engine.dispose()
    with pytest.raises(BackupError, match="authority exists already"):
        restore_backup(filled, prefix, file, quiet)
    with pytest.raises(BackupError, match="holds a control plane already"):
        restore_backup(filled, tmp_path / "other", file, quiet)
    before = contents(filled)
    with filled.write() as connection:
        connection.execute(sa.delete(tables.entities))
        connection.execute(sa.text("CREATE TABLE somebody_elses (id INTEGER)"))
    (prefix / "kong.id").write_text("another")
    filled.engine.dispose()
    restore_backup(filled, prefix, file, quiet, replace=True)
    assert {name: rows for name, rows in contents(filled).items() if name != "somebody_elses"} == before
    assert "somebody_elses" in contents(filled), "other tables of the database are not ours to take away"
    assert (prefix / "kong.id").read_text().startswith("1da9157f")
    assert len(list(prefix.glob("authority.replaced-*/ca.key"))) == 1


def test_nothing_changes_when_a_restore_fails_half_way(
    filled: Database, prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables were dropped and half of them filled; the transaction takes it all back, and the authority is untouched."""
    file = tmp_path / "backup.zip"
    make_backup(filled, prefix, file, quiet, NOW)
    before, key = contents(filled), (prefix / "authority" / "ca.key").read_text()
    filled.engine.dispose()

    def break_off(table: str, done: int, total: int) -> None:
        if table == "revision_changes":
            raise OSError("no space left")

    with pytest.raises(BackupError, match="nothing was changed: no space left"):
        restore_backup(filled, prefix, file, break_off, replace=True)
    assert contents(filled) == before
    assert (prefix / "authority" / "ca.key").read_text() == key


def test_nothing_is_left_when_a_backup_fails(filled: Database, prefix: Path, tmp_path: Path) -> None:
    """No file that looks like a backup, and none beside it."""
    (prefix / "authority" / "ca.key").unlink()
    (tmp_path / "out").mkdir()
    with pytest.raises(BackupError, match=r"ca\.key is missing"):
        make_backup(filled, prefix, tmp_path / "out" / "b.zip", quiet, NOW)
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(BackupError, match="cannot write"):
        make_backup(filled, prefix, tmp_path / "nowhere" / "b.zip", quiet, NOW)
    with pytest.raises(BackupError, match="there is no"):
        make_backup(Database(f"sqlite:///{tmp_path / 'none.db'}"), prefix, tmp_path / "b.zip", quiet, NOW)


def edit_manifest(**values: Any) -> Callable[[dict[str, bytes]], None]:
    """A change of the archive's manifest."""

    def edit(members: dict[str, bytes]) -> None:
        members["manifest.json"] = json.dumps({**json.loads(members["manifest.json"]), **values}).encode()

    return edit


def drop_last_line(members: dict[str, bytes]) -> None:
    """One revision less than the manifest says."""
    *lines, _last = members["tables/revisions.jsonl"].splitlines(keepends=True)
    members["tables/revisions.jsonl"] = b"".join(lines)


def spoil_line(members: dict[str, bytes]) -> None:
    """A row with too few values."""
    members["tables/users.jsonl"] = b'["id"]\n'


def swap_key(members: dict[str, bytes]) -> None:
    """A key that is not the certificate's."""
    members["authority/ca.key"] = members["authority/ca.crt"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_last_line, "not a whole backup: revisions has 2 rows of 3"),
        (spoil_line, "not a whole backup: users"),
        (swap_key, "its authority cannot be used"),
        (lambda members: members.pop("manifest.json"), "not a backup of kongdp"),
        (lambda members: members.pop("tables/groups.jsonl"), "not a whole backup: groups"),
        (lambda members: members.pop("authority/ca.crt"), "its authority cannot be used"),
        (edit_manifest(format=2), "not a backup of kongdp"),
        (edit_manifest(schema="9999"), "made by a newer release"),
        (edit_manifest(tables=3), "not a backup of kongdp"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(
    change: Callable[[dict[str, bytes]], None], message: str, prefix: Path, tmp_path: Path
) -> None:
    """Before anything is touched, with the reason."""
    source = Database(migrated_sqlite(tmp_path))
    door = Changes(source)
    group_id = groups.ensure_default(source)
    for number in range(3):
        with door.store(group_id).write(actor="t", summary="") as writer:
            writer.put("routes", {"id": ROUTE, "name": str(number)})
    make_backup(source, prefix, tmp_path / "good.zip", quiet, NOW)
    source.close()
    with zipfile.ZipFile(tmp_path / "good.zip") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    refuse(tmp_path / "bad.zip", message, tmp_path)


def refuse(file: Path, message: str, tmp_path: Path) -> None:
    target = Database(f"sqlite:///{tmp_path / 'target.db'}")
    with pytest.raises(BackupError, match=message):
        restore_backup(target, tmp_path / "target", file, quiet)
    with target.read() as connection:
        assert not dump.has_tables(connection)
    assert not (tmp_path / "target" / "authority").exists()
    target.close()


def test_a_file_that_was_cut_off_or_damaged_is_refused(prefix: Path, tmp_path: Path) -> None:
    """A transfer that broke off, a bit that fell over, another kind of file, no file."""
    source = Database(migrated_sqlite(tmp_path))
    make_backup(source, prefix, tmp_path / "good.zip", quiet, NOW)
    source.close()
    whole = (tmp_path / "good.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    refuse(tmp_path / "cut.zip", "not a whole backup", tmp_path)
    (tmp_path / "text.zip").write_text("services: []")
    refuse(tmp_path / "text.zip", "not a whole backup", tmp_path)
    refuse(tmp_path / "none.zip", "cannot read", tmp_path)
    with zipfile.ZipFile(tmp_path / "good.zip") as archive:
        place = archive.getinfo("authority/ca.key").header_offset + 60
    (tmp_path / "bit.zip").write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    refuse(tmp_path / "bit.zip", "not a whole backup|cannot be used", tmp_path)


def test_a_running_control_plane_is_not_replaced(
    filled: Database, prefix: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Neither over its prefix nor, on PostgreSQL, over its database."""
    file = tmp_path / "backup.zip"
    make_backup(filled, prefix, file, quiet, NOW)
    with only_one(tmp_path / "other"), pytest.raises(PrefixError, match="another control plane is running"):
        restore_backup(filled, tmp_path / "other", file, quiet, replace=True)
    if filled.is_sqlite:
        return
    url = filled.engine.url.render_as_string(hide_password=False)
    filled.engine.dispose()
    running = Database(url)
    with running.read() as connection:
        connection.execute(sa.select(tables.groups))
        with pytest.raises(BackupError, match="1 other connections are open"):
            restore_backup(filled, prefix, file, quiet, replace=True)
    running.close()
