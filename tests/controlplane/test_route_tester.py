"""The route tester answers as the data planes' router does, on the newest configuration, within its bound."""

import uuid
from typing import Any

import pytest

from kongdp.controlplane import groups, route_tester
from kongdp.controlplane.changes import Changes
from kongdp.controlplane.route_tester import Question, QuestionError, RouteTester
from kongdp.controlplane.store.database import Database
from kongdp.entities.schemas import build_schemas
from kongdp.routing.router import TRADITIONAL_COMPATIBLE

SCHEMAS = build_schemas()


def put(changes: Changes, group_id: str, collection: str, **values: Any) -> dict[str, Any]:
    """A row with all the defaults of its schema."""
    row = {"id": str(uuid.uuid4()), **values}
    whole: dict[str, Any] = SCHEMAS[collection].insert(row, 1.0)
    with changes.store(group_id).write(actor="test", summary="put") as writer:
        writer.put(collection, whole)
    return whole


@pytest.fixture
def tester(database: Database) -> RouteTester:
    return RouteTester(database, TRADITIONAL_COMPATIBLE)


def ask(tester: RouteTester, group_id: str, method: str, url: str, **fields: str) -> str | None:
    """Where a request goes, or None."""
    verdict = tester.try_match(group_id, Question(method, url, {key.replace("_", "-"): v for key, v in fields.items()}))
    return None if verdict is None else verdict.upstream_url


def test_the_answer_is_the_routers(changes: Changes, group_id: str, tester: RouteTester) -> None:
    """Prefix, method, host, field, normalised path, what is left of the path and the query."""
    service = put(changes, group_id, "services", name="a", host="a.example", port=80, protocol="http", path="/base")
    of = {"service": {"id": service["id"]}}
    put(changes, group_id, "routes", name="one", paths=["/mock"], methods=["GET"], **of)
    put(changes, group_id, "routes", name="two", hosts=["two.example"], headers={"x-version": ["2"]}, **of)
    url = "http://localhost:8000/mock/status?x=1"
    assert ask(tester, group_id, "GET", url) == "http://a.example:80/base/status?x=1"
    assert ask(tester, group_id, "get", "http://localhost/a/../mock") == "http://a.example:80/base"
    assert ask(tester, group_id, "POST", url) is None
    assert ask(tester, group_id, "POST", "http://two.example/x") is None
    assert ask(tester, group_id, "POST", "http://two.example/x", x_version="2") == "http://a.example:80/base/x"


def test_the_newest_configuration_answers(changes: Changes, group_id: str, tester: RouteTester) -> None:
    """A route that was added, or whose service was switched off, is known at the next question."""
    assert ask(tester, group_id, "GET", "http://h/new") is None
    service = put(changes, group_id, "services", name="a", host="a.example", port=80, protocol="http")
    put(changes, group_id, "routes", name="new", paths=["/new"], service={"id": service["id"]})
    assert ask(tester, group_id, "GET", "http://h/new") == "http://a.example:80/"
    put(changes, group_id, "services", **{**service, "enabled": False})
    assert ask(tester, group_id, "GET", "http://h/new") is None


def test_routers_are_kept_within_their_bound(
    changes: Changes, database: Database, tester: RouteTester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group's router is built once for a revision; of more groups than are kept the oldest goes."""
    built: list[int] = []
    monkeypatch.setattr(route_tester, "build", lambda routes, flavor: built.append(len(routes)) or Empty())
    with database.write() as connection:
        names = [f"g{number}" for number in range(route_tester.ROUTERS_MAX + 1)]
        ids = [groups.create(connection, name, "", {}, 0.0).id for name in names]
    for id in (ids[0], ids[0], *ids[1:]):
        ask(tester, id, "GET", "http://h/")
    assert len(built) == len(ids)
    ask(tester, ids[-1], "GET", "http://h/")
    assert len(built) == len(ids)
    ask(tester, ids[0], "GET", "http://h/")
    assert len(built) == len(ids) + 1


class Empty:
    """A router without routes."""

    def match(self, *_arguments: Any, **_more: Any) -> None:
        return None


@pytest.mark.parametrize(
    ("method", "url", "field"),
    [
        ("GET", "/mock", "url"),
        ("GET", "ftp://h/", "url"),
        ("GET", "http://h:99999/", "url"),
        ("GET", "http://bücher.example/", "url"),
        ("G T", "http://h/", "method"),
    ],
)
def test_what_nobody_can_send_is_said(group_id: str, tester: RouteTester, method: str, url: str, field: str) -> None:
    """With the field that is wrong."""
    with pytest.raises(QuestionError) as caught:
        ask(tester, group_id, method, url)
    assert caught.value.field == field
