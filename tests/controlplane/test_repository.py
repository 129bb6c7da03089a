"""Rows of entities over SQL: what one writes one reads, finds and pages through."""

import uuid
from typing import Any

import pytest

from kongdp.adminapi.store import TagFilter
from kongdp.controlplane.changes import Changes, UnknownGroupError, changes_since, latest_revision
from kongdp.controlplane.store.database import Database


def row(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": str(uuid.UUID(int=number)), "name": f"n{number}", "tags": None, **fields}


def put(changes: Changes, group_id: str, collection: str, *rows: dict[str, Any]) -> None:
    with changes.store(group_id).write(actor="test", summary="put") as writer:
        for each in rows:
            writer.put(collection, each)


def test_a_row_is_read_back_by_id_and_by_field_when_put(changes: Changes, group_id: str) -> None:
    """What a transaction wrote, the next one reads, and other fields of the same value do not match."""
    service = row(1, host="a.example", port=80)
    put(changes, group_id, "services", service)
    with changes.store(group_id).read() as reader:
        assert reader.get("services", service["id"]) == service
        assert reader.get("routes", service["id"]) is None
        assert reader.find("services", "name", "n1") == service
        assert reader.find("services", "port", 80) == service
        assert reader.find("services", "name", "n2") is None


def test_find_stays_within_the_parent_when_where_is_given(changes: Changes, group_id: str) -> None:
    """Two targets may share a text when they belong to different upstreams."""
    one, two = row(1), row(2)
    targets = [row(n, target="10.0.0.1:80", upstream={"id": up["id"]}) for n, up in ((11, one), (12, two))]
    put(changes, group_id, "targets", *targets)
    with changes.store(group_id).read() as reader:
        assert reader.find("targets", "target", "10.0.0.1:80", {"upstream": two["id"]}) == targets[1]
        assert reader.find("targets", "target", "10.0.0.1:80", {"upstream": str(uuid.UUID(int=3))}) is None


def test_a_long_value_is_found_exactly_when_it_exceeds_the_index(changes: Changes, group_id: str) -> None:
    """Keys longer than an index entry are found, and a prefix of one is not."""
    long = "k" * 3000
    put(changes, group_id, "keyauth_credentials", row(1, key=long))
    with changes.store(group_id).read() as reader:
        assert reader.find("keyauth_credentials", "key", long) is not None
        assert reader.find("keyauth_credentials", "key", long[:-1]) is None


def test_pages_follow_in_order_of_id_when_read_to_the_end(changes: Changes, group_id: str) -> None:
    """Every row comes once, in ascending order, however the pages are cut."""
    put(changes, group_id, "services", *(row(n) for n in (5, 3, 9, 1, 7)))
    seen, after = [], None
    with changes.store(group_id).read() as reader:
        while page := reader.page("services", size=2, after=after):
            seen += [each["name"] for each in page]
            after = page[-1]["id"]
    assert seen == ["n1", "n3", "n5", "n7", "n9"]


@pytest.mark.parametrize(
    ("tags", "every", "names"),
    [
        (("a",), True, ["n1", "n2"]),
        (("a", "b"), True, ["n2"]),
        (("a", "c"), False, ["n1", "n2", "n3"]),
        (("x",), True, []),
    ],
)
def test_pages_hold_what_the_tags_select_when_filtered(
    changes: Changes, group_id: str, tags: tuple[str, ...], every: bool, names: list[str]
) -> None:
    """A filter asks for all of its tags or for one of them."""
    put(changes, group_id, "services", row(1, tags=["a"]), row(2, tags=["a", "b"]), row(3, tags=["c"]))
    with changes.store(group_id).read() as reader:
        page = reader.page("services", tags=TagFilter(tags, every), size=10)
    assert [each["name"] for each in page] == names


def test_indexes_follow_the_row_when_it_is_replaced_or_deleted(changes: Changes, group_id: str) -> None:
    """An old name, tag or parent no longer finds the row."""
    parents = [str(uuid.UUID(int=n)) for n in (100, 200)]
    put(changes, group_id, "routes", row(1, service={"id": parents[0]}, tags=["old"]))
    put(changes, group_id, "routes", row(1, name="renamed", service={"id": parents[1]}, tags=["new"]))
    store = changes.store(group_id)
    with store.read() as reader:
        assert reader.find("routes", "name", "n1") is None
        assert reader.page("routes", where={"service": parents[0]}, size=10) == []
        assert len(reader.page("routes", where={"service": parents[1]}, size=10)) == 1
        assert reader.page("routes", tags=TagFilter(("old",)), size=10) == []
    with store.write(actor="test", summary="delete") as writer:
        writer.delete("routes", str(uuid.UUID(int=1)))
        writer.delete("routes", str(uuid.UUID(int=2)))
    with store.read() as reader:
        assert reader.find("routes", "name", "renamed") is None
        assert reader.page("routes", where={"service": parents[1]}, size=10) == []


def test_nothing_is_kept_when_the_block_raises(changes: Changes, group_id: str, database: Database) -> None:
    """A transaction that fails leaves neither rows nor a revision nor a notice."""
    heard: list[int] = []
    changes.subscribe(lambda _group, number: heard.append(number))

    def fail_halfway() -> None:
        with changes.store(group_id).write(actor="test", summary="") as writer:
            writer.put("services", row(1))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    with database.read() as connection:
        assert latest_revision(connection, group_id) == 0
    assert heard == []


def test_a_revision_tells_before_and_after_when_a_transaction_commits(
    changes: Changes, group_id: str, database: Database
) -> None:
    """Each entity stands in a revision once, with its first before and its last after; listeners hear the number."""
    heard: list[tuple[str, int]] = []
    changes.subscribe(lambda group, number: heard.append((group, number)))
    put(changes, group_id, "services", row(1), row(2))
    with changes.store(group_id).write(actor="test", summary="") as writer:
        writer.put("services", row(1, host="x"))
        writer.put("services", row(1, host="y"))
        writer.put("services", row(3))
        writer.delete("services", row(3)["id"])
        writer.delete("services", row(2)["id"])
    first, second = (number for _group, number in heard)
    with database.read() as connection:
        assert latest_revision(connection, group_id) == second
        changed = changes_since(connection, group_id, first)
    assert [(change.id, change.before, change.after) for change in changed] == [
        (row(1)["id"], row(1), row(1, host="y")),
        (row(2)["id"], row(2), None),
    ]


def test_a_transaction_that_changes_nothing_makes_no_revision(changes: Changes, group_id: str) -> None:
    """Writing a row as it stands is not a change."""
    put(changes, group_id, "services", row(1))
    heard: list[int] = []
    changes.subscribe(lambda _group, number: heard.append(number))
    put(changes, group_id, "services", row(1))
    assert heard == []


def test_a_group_that_does_not_exist_is_refused(changes: Changes) -> None:
    """Writing into an unknown group raises and names it."""
    with pytest.raises(UnknownGroupError, match="no runtime group nowhere"):
        put(changes, "nowhere", "services", row(1))


def test_a_search_finds_names_in_any_case_and_nothing_else(changes: Changes, group_id: str) -> None:
    """Names, user names and targets are searched; keys are not, and % and _ are letters like others."""
    put(changes, group_id, "consumers", row(1, username="Alice_Smith"), row(2, username="bob", custom_id="alice-2"))
    put(changes, group_id, "keyauth_credentials", {"id": str(uuid.UUID(int=3)), "key": "alice", "tags": None})
    with changes.store(group_id).read() as reader:

        def found(text: str, collection: str = "consumers", **more: Any) -> list[int]:
            rows = reader.page(collection, contains=text, size=10, **more)
            assert reader.count(collection, contains=text) == len(rows)
            return [uuid.UUID(each["id"]).int for each in rows]

        assert found("ALICE") == [1, 2]
        assert found("e_s") == [1]
        assert found("%") == []
        assert found("n2") == [2]
        assert found("alice", "keyauth_credentials") == []
