"""The store in memory."""

import pytest

from kongdp.adminapi.memory import MemoryStore
from kongdp.adminapi.store import TagFilter


def _store() -> MemoryStore:
    rows = {
        id: {
            "id": id,
            "name": f"n{id}",
            "tags": ["odd" if int(id) % 2 else "even"],
            "parent": {"id": "p" if id < "3" else "q"},
        }
        for id in ("3", "1", "2", "4")
    }
    return MemoryStore({"things": rows}, writable=True)


def test_page_when_filtered() -> None:
    """Pages are in order of id, after an id, below a parent, by tags, and no larger than asked."""
    with _store().read() as reader:
        assert [row["id"] for row in reader.page("things", size=10)] == ["1", "2", "3", "4"]
        assert [row["id"] for row in reader.page("things", size=1, after="2")] == ["3"]
        assert [row["id"] for row in reader.page("things", size=9, where={"parent": "q"})] == ["3", "4"]
        assert [row["id"] for row in reader.page("things", size=9, tags=TagFilter(("odd",)))] == ["1", "3"]
        assert reader.page("nothing", size=9) == []


def test_find_when_unique_or_below_a_parent() -> None:
    """A field finds its row; with a parent only among its children."""
    with _store().read() as reader:
        assert (reader.find("things", "name", "n2") or {})["id"] == "2"
        assert reader.find("things", "name", "n9") is None
        assert reader.find("things", "name", 5) is None
        assert reader.find("things", "name", "n2", {"parent": "q"}) is None
        assert reader.get("things", "1") is not None
        assert reader.get("nothing", "1") is None


def test_write_when_it_ends_well() -> None:
    """What a transaction wrote it reads, and others read it after its end."""
    store = _store()
    with store.write(actor="me", summary="test") as writer:
        writer.put("things", {"id": "5", "name": "n5"})
        writer.delete("things", "1")
        writer.delete("things", "missing")
        assert writer.find("things", "name", "n5") is not None
        assert [row["id"] for row in writer.page("things", size=9)] == ["2", "3", "4", "5"]
        with store.read() as reader:
            assert reader.get("things", "5") is None
    with store.read() as reader:
        assert reader.get("things", "5") is not None


def test_write_when_it_fails() -> None:
    """Nothing of it stays."""
    store = _store()
    with pytest.raises(RuntimeError):
        _delete_and_fail(store)
    assert "1" in store.table["things"]


def _delete_and_fail(store: MemoryStore) -> None:
    with store.write(actor="me", summary="test") as writer:
        writer.delete("things", "1")
        raise RuntimeError


def test_replace_when_a_reader_has_begun() -> None:
    """It goes on with the rows it began with."""
    store = _store()
    with store.read() as reader:
        store.replace({})
        assert reader.get("things", "1") is not None
    with store.read() as reader:
        assert reader.get("things", "1") is None
