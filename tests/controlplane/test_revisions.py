"""The history of a group: revisions are listed, compared and taken back, and an edit of something stale is refused."""

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest

from kongdp.controlplane import revisions
from kongdp.controlplane.changes import Changes, latest_revision
from kongdp.controlplane.export import Exporter
from kongdp.controlplane.revisions import StaleError, UnknownRevisionError
from kongdp.controlplane.store.repository import GroupReader
from tests.support.control_plane_api import GROUP, served

SERVICE = {"name": "a", "url": "http://a"}


def put(changes: Changes, group_id: str, collection: str, **row: Any) -> int:
    """One revision with one row; its number."""
    whole = {"id": str(uuid.uuid4()), **row}
    with changes.transaction(actor="test", summary=f"put {collection}") as transaction:
        transaction.group(group_id).put(collection, whole)
    with changes.database.read() as connection:
        return latest_revision(connection, group_id)


def everything(changes: Changes, group_id: str) -> list[Any]:
    """All rows of the group."""
    with changes.database.read() as connection:
        return list(GroupReader(connection, group_id).everything())


def test_every_revision_can_be_returned_to(changes: Changes, group_id: str) -> None:
    """After any edits, restoring a revision gives exactly its rows and its hash; history only grows."""
    id, other = str(uuid.uuid4()), str(uuid.uuid4())
    states, hashes, numbers = [everything(changes, group_id)], [Exporter(changes.database).export(group_id)], [0]
    exporter = Exporter(changes.database)
    for row in ({"id": id, "name": "a"}, {"id": id, "name": "b", "tags": ["x"]}, {"id": other, "name": "c"}):
        numbers.append(put(changes, group_id, "services", **row))
        states.append(everything(changes, group_id))
        hashes.append(exporter.export(group_id))
    with changes.transaction(actor="test", summary="delete") as transaction:
        transaction.group(group_id).delete("services", id)
    for number, state, payload in zip(numbers, states, hashes, strict=True):
        newest = revisions.restore(changes, group_id, number, actor="ann")
        assert everything(changes, group_id) == state
        assert exporter.export(group_id).config_hash == payload.config_hash
        assert (newest.actor, newest.summary) == ("ann", f"restore revision {number}")
        with changes.database.read() as connection:
            assert revisions.difference(connection, group_id, number, newest.number) == []


def test_a_difference_names_each_entity_once(changes: Changes, group_id: str) -> None:
    """Three edits of one row are one change; what came and went is none; both directions mirror each other."""
    id = str(uuid.uuid4())
    start = put(changes, group_id, "services", id=id, name="a")
    put(changes, group_id, "services", id=id, name="b")
    gone = str(uuid.uuid4())
    put(changes, group_id, "routes", id=gone, name="r")
    with changes.transaction(actor="test", summary="delete") as transaction:
        transaction.group(group_id).delete("routes", gone)
    end = put(changes, group_id, "services", id=id, name="c")
    with changes.database.read() as connection:
        (forward,) = revisions.difference(connection, group_id, start, end)
        (back,) = revisions.difference(connection, group_id, end, start)
        with pytest.raises(UnknownRevisionError):
            revisions.difference(connection, group_id, start, end + 1)
    assert revisions.changed_fields(forward) == {"name": ("a", "c")}
    assert (back.before, back.after) == (forward.after, forward.before)


def test_a_stale_restore_changes_nothing(changes: Changes, group_id: str) -> None:
    """Who has not seen the newest revision is told its number."""
    first = put(changes, group_id, "services", name="a")
    second = put(changes, group_id, "services", name="b")
    before = everything(changes, group_id)
    with pytest.raises(StaleError) as caught:
        revisions.restore(changes, group_id, first, actor="ann", expected=first)
    assert caught.value.current == str(second)
    assert everything(changes, group_id) == before


def test_history_over_http(tmp_path: Path, fresh_url: str) -> None:
    """Who, when, what; the difference to now; one call takes it back; If-Match protects it."""

    async def scenario() -> None:
        async with served(tmp_path, fresh_url) as api:
            await api.made("/services", SERVICE)
            empty = await api.got(f"{GROUP}/revisions")
            first = empty["items"][0]
            before = await api.expected_hash()
            await api.call("PATCH", "/services/a", {"retries": 1, "host": "b"})
            response = await api.ask("GET", f"{GROUP}/revisions?page.size=1")
            (newest,) = response.json()["items"]
            assert response.json()["page"] == {"total_count": 2, "next_page_num": 2}
            assert newest["summary"] == "PATCH /services/a"
            assert newest["actor"].startswith("admin API")
            assert newest["count"] == 1
            assert response.headers["etag"] == f'"{newest["number"]}"'
            whole = await api.got(f"{GROUP}/revisions/{newest['number']}")
            assert whole["changes"][0]["fields"]["retries"] == {"before": 5, "after": 1}
            (change,) = (await api.got(f"{GROUP}/revisions/{first['number']}/diff"))["changes"]
            assert (change["kind"], change["name"], set(change["fields"])) == ("update", "a", {"host", "retries"})
            restore = f"{GROUP}/revisions/{first['number']}/restore"
            status, answer = await api.call("POST", restore, if_match=f'"{first["number"]}"')
            assert (status, answer["code"]) == (412, 9)
            status, answer = await api.call("POST", restore, if_match=response.headers["etag"])
            assert (status, answer["summary"]) == (200, f"restore revision {first['number']}")
            assert (await api.got("/services/a"))["retries"] == 5
            assert await api.expected_hash() == before
            assert (await api.call("GET", f"{GROUP}/revisions/999"))[0] == 404
            assert (await api.call("GET", f"{GROUP}/revisions/{2**70}"))[0] == 400

    asyncio.run(scenario())


def test_a_stale_edit_of_the_catalogue_is_refused(tmp_path: Path) -> None:
    """Each object has an ETag; an edit or a removal that names another one is answered 412 and changes nothing."""

    async def scenario() -> None:
        async with served(tmp_path) as api:
            made = await api.ask("POST", "/v2/catalogue/services", {"name": "s"})
            path, tag = "/v2/catalogue/services/s", made.headers["etag"]
            assert (await api.call("PATCH", path, {"description": "one"}, if_match=tag))[0] == 200
            assert (await api.call("PATCH", path, {"description": "two"}, if_match=tag))[0] == 412
            assert (await api.call("DELETE", path, if_match=tag))[0] == 412
            assert (await api.call("DELETE", path, if_match="nonsense"))[0] == 412
            response = await api.ask("GET", path)
            assert response.json()["description"] == "one"
            version = await api.made(f"{path}/versions", {"name": "v.1"})
            under = f"/v2/catalogue/versions/{version['id']}"
            assert (await api.call("PATCH", under, {"name": "v.2"}, if_match='"7"'))[0] == 412
            assert (await api.call("PATCH", under, {"name": "v.2"}, if_match='"1"'))[0] == 200
            both = {"service": SERVICE, "route": {"paths": ["/a"]}}
            implementation = await api.ask("POST", f"{under}/implementation", both)
            tag = implementation.headers["etag"]
            edit = {"service": {"retries": 1}}
            assert (await api.call("PATCH", f"{under}/implementation", edit, if_match=tag))[0] == 200
            assert (await api.call("PATCH", f"{under}/implementation", edit, if_match=tag))[0] == 412
            assert (await api.call("DELETE", f"{under}/implementation", if_match=tag))[0] == 412
            assert (await api.call("DELETE", path, if_match="*"))[0] == 204

    asyncio.run(scenario())
