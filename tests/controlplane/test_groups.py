"""Runtime groups: made, renamed and deleted; `default` stays; what belongs to one group does not touch another."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.control_plane_api import GROUP, Api, served

PLANES = "/v2/control-planes"
TEAM = f"{PLANES}/team"


def play(scenario: Callable[[Api], Awaitable[None]], directory: Path, url: str | None = None) -> None:
    async def main() -> None:
        async with served(directory, url) as api:
            await scenario(api)

    asyncio.run(main())


def test_a_group_lives_from_post_to_delete(tmp_path: Path, fresh_url: str) -> None:
    """Its entities, versions, history and nodes go with it; a connected node loses its connection and its row."""

    async def scenario(api: Api) -> None:
        made = await api.made(PLANES, {"name": "team", "labels": {"env": "test"}})
        assert made["config"]["auth_type"] == "pki_client_certs"
        assert (await api.call("POST", PLANES, {"name": "team"}))[0] == 409
        assert (await api.got(f"{PLANES}?filter[name][eq]=team"))["page"]["total_count"] == 1
        await api.made(f"{TEAM}/core-entities/services", {"name": "s", "host": "h"})
        await api.made("/v2/catalogue/services", {"name": "shop"})
        await api.made("/v2/catalogue/services/shop/versions", {"name": "v.1", "group": "team"})
        response = await api.ask("GET", TEAM)
        renamed = await api.ask("PATCH", TEAM, {"name": "crew"}, if_match=response.headers["etag"])
        assert (renamed.status_code, renamed.json()["labels"]) == (200, {"env": "test"})
        crew = f"{PLANES}/crew"
        stale = {"if_match": response.headers["etag"]}
        assert (await api.call("PATCH", crew, {"description": "x"}, **stale))[0] == 412
        assert (await api.call("DELETE", crew, **stale))[0] == 412
        assert (await api.call("DELETE", crew))[0] == 204
        for path in (crew, f"{crew}/revisions", f"{crew}/core-entities/services", f"{PLANES}/{made['id']}/nodes"):
            assert (await api.call("GET", path))[0] == 404
        assert (await api.got("/v2/catalogue/services/shop/versions"))["items"] == []

    play(scenario, tmp_path, fresh_url)


def test_default_can_be_neither_renamed_nor_deleted(tmp_path: Path) -> None:
    """By name or by id; its description may change."""

    async def scenario(api: Api) -> None:
        for path in (GROUP, f"{PLANES}/{api.plane.group_id}"):
            assert (await api.call("DELETE", path))[0] == 400
            assert (await api.call("PATCH", path, {"name": "other"}))[0] == 400
        assert (await api.call("PATCH", GROUP, {"name": "default", "description": "ours"}))[0] == 200

    play(scenario, tmp_path)


@pytest.mark.parametrize(
    "body",
    [{"name": ""}, {"name": "a/b"}, {"name": "a\0b"}, {"name": "x" * 201}, {"name": " a"}, {"name": "\ud800"},
     {"name": "a", "labels": {"k": "\0"}}, {"name": "a", "description": "x" * 2001}, {"name": "a", "id": "mine"},
     {"name": "a", "cluster_type": "other"}, {}],
)  # fmt: skip
def test_a_group_that_cannot_be_is_refused(tmp_path: Path, body: dict[str, object]) -> None:
    """The answer is 400, whatever is wrong."""

    async def scenario(api: Api) -> None:
        import json

        response = await api.client.request(
            "POST", PLANES, content=json.dumps(body), headers={"Content-Type": "application/json"}
        )
        assert response.status_code == 400, response.text
        assert (await api.got(PLANES))["page"]["total_count"] == 1

    play(scenario, tmp_path)


def test_a_connected_node_of_a_deleted_group_is_sent_away(tmp_path: Path) -> None:
    """Its connection ends; rows of other nodes are still written."""

    async def scenario(api: Api) -> None:
        made = await api.made(PLANES, {"name": "team"})
        plane = api.plane
        group_id, plane.group_id = plane.group_id, made["id"]
        doomed = plane.node_pair()
        plane.group_id = group_id
        link = await plane.connect(doomed)
        await link.join(doomed.node_id)
        await plane.until(lambda: len(list(plane.hub.connected(made["id"]))) == 1)
        await api.call("DELETE", TEAM)
        await plane.until(lambda: not list(plane.hub.connected()))
        await plane.hub.flush()
        assert await plane.all_nodes() == []

    play(scenario, tmp_path)
