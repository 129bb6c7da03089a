"""Konnect's way to the entities of a group: JSON, PUT, pages by number, its errors; and go-kong's way beside it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.control_plane_api import GROUP, Api, served

CORE = f"{GROUP}/core-entities"
OTHER = "/v2/control-planes/other/core-entities"


def play(scenario: Callable[[Api], Awaitable[None]], directory: Path, url: str | None = None) -> None:
    async def main() -> None:
        async with served(directory, url) as api:
            await scenario(api)

    asyncio.run(main())


def test_entities_come_and_go_by_konnects_calls(tmp_path: Path, fresh_url: str) -> None:
    """POST, PUT, GET and DELETE work below any group; the default group's are the Admin API's."""

    async def scenario(api: Api) -> None:
        service = await api.made(f"{CORE}/services", {"name": "s", "host": "h"})
        assert await api.got("/services/s") == service
        route = await api.made(f"{CORE}/services/s/routes", {"name": "r", "paths": ["/r"]})
        status, replaced = await api.call("PUT", f"{CORE}/routes/{route['id']}", {"paths": ["/x"]})
        assert (status, replaced["name"], replaced["service"]) == (200, None, None)
        assert (await api.call("PATCH", f"{CORE}/services/s", {"host": "x"}))[0] == 405
        await api.made("/v2/control-planes", {"name": "other"})
        await api.made(f"{OTHER}/services", {"name": "s", "host": "other"})
        assert (await api.call("GET", f"{OTHER}/services/{service['id']}"))[0] == 404
        assert (await api.call("DELETE", f"{OTHER}/services/s"))[0] == 204
        assert await api.got(f"{CORE}/services/s") == service

    play(scenario, tmp_path, fresh_url)


def test_lists_are_numbered_for_konnect_and_chained_for_go_kong(tmp_path: Path, fresh_url: str) -> None:
    """Both ways show every entity once; tags select in both."""

    async def scenario(api: Api) -> None:
        made = [
            await api.made(f"{CORE}/services", {"name": f"s{i}", "host": "h", "tags": [f"t{i % 2}"]}) for i in range(5)
        ]
        first = await api.got(f"{CORE}/services?page.size=2")
        assert first["page"] == {"total_count": 5, "next_page_num": 2}
        pages = [await api.got(f"{CORE}/services?page.size=2&page.number={n}") for n in (1, 2, 3, 4)]
        assert [len(page["items"]) for page in pages] == [2, 2, 1, 0]
        assert {row["id"] for page in pages for row in page["items"]} == {row["id"] for row in made}
        chained: list[Any] = []
        path = f"{CORE}/services?size=2"
        while path:
            page = await api.got(path)
            chained, path = chained + page["data"], page["next"]
        assert chained == [row for page in pages for row in page["items"]]
        assert (await api.got(f"{CORE}/services?tags=t1"))["page"]["total_count"] == 2
        assert len((await api.got(f"{CORE}/services?tags=t1&size=1000"))["data"]) == 2
        for query in ("page.size=0", "page.size=1001", "page.number=x", "tags=a,b/c"):
            assert (await api.call("GET", f"{CORE}/services?{query}"))[0] == 400
        assert (await api.call("GET", f"{CORE}/services/none/routes"))[0] == 404

    play(scenario, tmp_path, fresh_url)


@pytest.mark.parametrize(
    ("path", "body", "status", "message", "detail"),
    [
        ("services", {"name": "x"}, 400, "validation error", {"type": "ERROR_TYPE_FIELD", "field": "host"}),
        ("services", {"name": "s", "host": "h"}, 409, "data constraint error", {"type": "ERROR_TYPE_REFERENCE"}),
        ("routes", {"paths": ["/a", "b"]}, 400, "validation error", {"field": "paths[1]"}),
        ("routes", {"name": "x"}, 400, "validation error", {"type": "ERROR_TYPE_ENTITY"}),
        ("routes", {"protocols": ["tcp"], "sources": [{}]}, 400, "validation error", {"field": "sources[0]"}),
        ("nothing", {"name": "x"}, 404, "Not found", None),
    ],
)
def test_errors_are_konnects(
    tmp_path: Path, path: str, body: Any, status: int, message: str, detail: dict[str, str] | None
) -> None:
    """A code, a message, and what is wrong where."""

    async def scenario(api: Api) -> None:
        await api.made(f"{CORE}/services", {"name": "s", "host": "h"})
        got, answer = await api.call("POST", f"{CORE}/{path}", body)
        assert (got, answer["message"]) == (status, message)
        shown = answer["details"][0] if answer["details"] else None
        assert detail is None if shown is None else detail is not None and detail.items() <= shown.items()

    play(scenario, tmp_path)


def test_only_json_is_understood(tmp_path: Path) -> None:
    """A form, which Kong's own API takes, is refused."""

    async def scenario(api: Api) -> None:
        response = await api.client.post(f"{CORE}/services", data={"name": "s", "host": "h"})
        assert (response.status_code, response.json()["code"]) == (415, 3)

    play(scenario, tmp_path)


def test_a_stale_put_is_refused_and_changes_nothing(tmp_path: Path, fresh_url: str) -> None:
    """If-Match names the ETag of the entity that the caller has read."""

    async def scenario(api: Api) -> None:
        made = await api.ask("POST", f"{CORE}/services", {"name": "s", "host": "h"})
        path = f"{CORE}/services/s"
        tag = (await api.ask("GET", path)).headers["etag"]
        assert tag == made.headers["etag"]
        assert (await api.call("PUT", path, {"host": "one"}, if_match=tag))[0] == 200
        assert (await api.call("PUT", path, {"host": "two"}, if_match=tag))[0] == 412
        assert (await api.call("PUT", path, {"host": ""}, if_match="*"))[0] == 400
        assert (await api.call("DELETE", path, if_match=tag))[0] == 412
        assert (await api.got(path))["host"] == "one"
        assert (await api.call("PUT", f"{CORE}/services/new", {"host": "h"}, if_match="*"))[0] == 412

    play(scenario, tmp_path, fresh_url)
