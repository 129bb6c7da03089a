"""From rows to the configuration that data planes get: complete, without what is disabled, with honest hashes."""

import gzip
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kongdp.controlplane import export, gzip_pieces
from kongdp.controlplane.changes import Changes, UnknownGroupError
from kongdp.controlplane.export import Exporter, Payload
from kongdp.controlplane.store.database import Database
from kongdp.entities.declarative import load
from kongdp.entities.hashing import EMPTY_HASH, hashes
from kongdp.plugins.configs import PLUGIN_SCHEMAS

RECORDED = Path(__file__).parents[1] / "conformance" / "data" / "reconfigure-3.9.1.json"
IDS = [f"00000000-0000-4000-8000-{number:012d}" for number in range(40)]


class Editor:
    """Writes rows of one group and exports them."""

    def __init__(self, database: Database, group_id: str) -> None:
        self._changes = Changes(database)
        self.database = database
        self.group_id = group_id
        self.exporter = Exporter(database)

    def put(self, collection: str, *rows: dict[str, Any]) -> None:
        """Write rows."""
        with self._changes.store(self.group_id).write(actor="test", summary="") as writer:
            for row in rows:
                writer.put(collection, row)

    def delete(self, collection: str, id: str) -> None:
        """Delete a row."""
        with self._changes.store(self.group_id).write(actor="test", summary="") as writer:
            writer.delete(collection, id)

    def export(self) -> Payload:
        """The payload, checked against one that is made from nothing."""
        payload, anew = self.exporter.export(self.group_id), Exporter(self.database).export(self.group_id)
        assert (payload.config_hash, dict(payload.hashes)) == (anew.config_hash, dict(anew.hashes))
        assert table_of(payload) == table_of(anew)
        computed = hashes(table_of(payload))
        assert payload.config_hash == computed.config
        assert dict(payload.hashes) == {"config": computed.config, **computed.sections}
        return payload


@pytest.fixture
def editor(database: Database, group_id: str) -> Editor:
    """An editor of a fresh group."""
    return Editor(database, group_id)


def message_of(payload: Payload) -> dict[str, Any]:
    return dict(json.loads(gzip.decompress(payload.frame)))


def table_of(payload: Payload) -> dict[str, Any]:
    return dict(message_of(payload)["config_table"])


def service(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": IDS[number], "name": f"s{number}", "host": "h", "port": 80, "enabled": True, **fields}


def route(number: int, of: int | None = None, **fields: Any) -> dict[str, Any]:
    parent = None if of is None else {"id": IDS[of]}
    return {"id": IDS[number], "name": f"r{number}", "paths": ["/"], "service": parent, **fields}


def plugin(number: int, name: str, **fields: Any) -> dict[str, Any]:
    parents: dict[str, Any] = {"service": None, "route": None, "consumer": None}
    return {"id": IDS[number], "name": name, "enabled": True, "config": {"id": "x"}, **parents, **fields}


def test_an_empty_group_still_says_whose_it_is(editor: Editor) -> None:
    """parameters and the default workspace are always there; empty collections are not."""
    message = message_of(editor.export())
    table = message["config_table"]
    assert set(table) == {"_format_version", "_transform", "parameters", "workspaces"}
    assert (table["_format_version"], table["_transform"]) == ("3.0", False)
    assert table["parameters"][0]["key"] == "cluster_id"
    assert table["workspaces"][0]["name"] == "default"
    assert message["type"] == "reconfigure"
    assert message["config_hash"] not in ("", EMPTY_HASH)
    assert message["hashes"]["routes"] == EMPTY_HASH
    assert isinstance(message["timestamp"], float)


def test_foreign_keys_are_bare_ids_and_nothing_else_is_touched(editor: Editor) -> None:
    """Also where something that is no foreign key looks like one."""
    editor.put("services", service(1))
    editor.put("routes", route(2, of=1))
    editor.put("plugins", plugin(3, "key-auth", route={"id": IDS[2]}))
    table = table_of(editor.export())
    assert table["routes"][0]["service"] == IDS[1]
    assert table["plugins"][0]["route"] == IDS[2]
    assert table["plugins"][0]["config"] == {"id": "x"}


def test_what_is_disabled_is_left_out_with_what_hangs_on_it(editor: Editor) -> None:
    """A disabled service takes its routes and all their plugins along, and brings them back when enabled."""
    editor.put("services", service(1), service(2, enabled=False))
    editor.put("routes", route(3, of=1), route(4, of=2), route(5))
    editor.put(
        "plugins",
        plugin(6, "acl", route={"id": IDS[4]}),
        plugin(7, "cors", service={"id": IDS[2]}),
        plugin(8, "jwt", enabled=False),
        plugin(9, "key-auth", route={"id": IDS[3]}),
    )
    payload = editor.export()
    table = table_of(payload)
    assert [row["id"] for row in table["services"]] == [IDS[1]]
    assert [row["id"] for row in table["routes"]] == [IDS[3], IDS[5]]
    assert [row["id"] for row in table["plugins"]] == [IDS[9]]
    assert payload.plugin_names == {"key-auth"}
    editor.put("services", service(2))
    payload = editor.export()
    assert [row["id"] for row in table_of(payload)["routes"]] == [IDS[3], IDS[4], IDS[5]]
    assert payload.plugin_names == {"acl", "cors", "key-auth"}


def test_what_is_disabled_is_told_by_its_collection_too(editor: Editor) -> None:
    """An operator may give a service and a route the same id."""
    editor.put("services", service(1, enabled=False))
    editor.put("routes", route(1))
    assert [row["id"] for row in table_of(editor.export())["routes"]] == [IDS[1]]


def test_an_edit_compresses_only_what_is_around_it(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 40 routes in runs of some two, an edit of one makes one run anew, besides what stands between the runs."""
    monkeypatch.setattr(export, "RUN_ROWS", 2)
    editor.put("routes", *(route(number) for number in range(40)))
    editor.exporter.export(editor.group_id)
    texts: list[bytes] = []
    compress = gzip_pieces.piece
    monkeypatch.setattr(gzip_pieces, "piece", lambda text: texts.append(text) or compress(text))
    editor.put("routes", route(20, paths=["/new"]))
    table = table_of(editor.exporter.export(editor.group_id))
    assert table["routes"][20]["paths"] == ["/new"]
    assert [text for text in texts if IDS[20].encode() in text] != []
    assert sum(text.count(b'"paths"') for text in texts) < 15


def test_only_the_hash_of_what_changed_changes(editor: Editor) -> None:
    """A data plane of Kong rebuilds by section: an edit of a route leaves the others' hashes, one of a consumer all
    five.
    """
    editor.put("services", service(1))
    editor.put("routes", route(2, of=1))
    before = editor.export()
    editor.put("routes", route(2, of=1, paths=["/new"]))
    after = editor.export()
    assert {name for name in before.hashes if before.hashes[name] != after.hashes[name]} == {"config", "routes"}
    editor.put("consumers", {"id": IDS[9], "username": "alice"})
    with_consumer = editor.export()
    assert {name for name in after.hashes if after.hashes[name] != with_consumer.hashes[name]} == {"config"}
    editor.delete("consumers", IDS[9])
    assert editor.export().config_hash == after.config_hash


def test_the_same_content_has_the_same_hash_whenever_it_was_written(editor: Editor) -> None:
    """Order of writing does not show; an unchanged group is not even rendered again."""
    editor.put("services", service(2), service(1))
    first = editor.export()
    assert editor.exporter.export(editor.group_id) is editor.exporter.export(editor.group_id)
    editor.delete("services", IDS[1])
    editor.put("services", service(1))
    assert editor.export().config_hash == first.config_hash


@pytest.mark.parametrize("run_rows", [export.RUN_ROWS, 2])
def test_edits_at_random_export_like_everything_at_once(
    editor: Editor, run_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The incremental export equals one from nothing after every edit (checked by `export`); in runs of few rows, too,
    which begin, end and disappear all the time.
    """
    monkeypatch.setattr(export, "RUN_ROWS", run_rows)
    random = Random(5)
    for _ in range(60):
        number = random.randrange(1, 12)
        match random.randrange(6):
            case 0:
                editor.put("services", service(number, enabled=random.random() < 0.7))
            case 1:
                editor.delete("services", IDS[number])
            case 2:
                editor.put("routes", route(12 + number, of=random.choice([None, number])))
            case 3:
                editor.delete("routes", IDS[12 + number])
            case 4:
                owner = random.choice([{"route": {"id": IDS[12 + number]}}, {"service": {"id": IDS[number]}}, {}])
                editor.put("plugins", plugin(25 + number, "cors", enabled=random.random() < 0.8, **owner))
            case 5:
                editor.put("upstreams", {"id": IDS[37], "name": f"u{number}"})
        editor.export()


def test_a_recorded_configuration_of_kong_goes_through_unchanged(editor: Editor) -> None:
    """Rows loaded from Kong's own push are exported as Kong wrote them."""
    recorded = json.loads(RECORDED.read_text())["config_table"]
    for collection in ("workspaces", "parameters", "certificates", "snis"):
        recorded.pop(collection, None)
    for collection, rows in load(recorded, plugins=PLUGIN_SCHEMAS).items():
        editor.put(collection, *rows.values())
    table = table_of(editor.export())
    for collection, rows in recorded.items():
        if isinstance(rows, list) and collection != "plugins":
            assert table[collection] == sorted(rows, key=lambda row: row["id"])


def test_what_could_not_be_rendered_is_rendered_again(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure between the rows and the frame: the next export has the change, not the payload before it."""
    editor.put("services", service(1))
    before = editor.export()
    editor.put("services", service(2))
    with monkeypatch.context() as patch:
        patch.setattr(export.gzip_pieces, "join", lambda texts: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            editor.export()
    after = editor.export()
    assert after.config_hash != before.config_hash
    assert len(table_of(after)["services"]) == 2


def test_a_group_that_does_not_exist_is_said(editor: Editor) -> None:
    """By its id."""
    with pytest.raises(UnknownGroupError, match="nowhere"):
        editor.exporter.export("nowhere")
