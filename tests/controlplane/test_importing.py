"""A whole configuration goes in and comes out: by name or by id, all or nothing, and twice is once."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import yaml

from tests.support.control_plane_api import GROUP, Api, served

CONFIG = f"{GROUP}/config"
FILE: dict[str, Any] = {
    "_format_version": "3.0",
    "services": [
        {
            "name": "s",
            "url": "http://h:81/p",
            "routes": [{"name": "r", "paths": ["/r"]}, {"name": "q", "hosts": ["q"]}],
            "plugins": [{"name": "rate-limiting", "config": {"minute": 5, "policy": "local"}}],
        }
    ],
    "upstreams": [{"name": "u", "targets": [{"target": "h:80"}, {"target": "h:81"}]}],
    "consumers": [{"username": "ann", "keyauth_credentials": [{"key": "k1"}], "acls": [{"group": "g"}]}],
}


def play(scenario: Callable[[Api], Awaitable[None]], directory: Path, url: str | None = None) -> None:
    async def main() -> None:
        async with served(directory, url) as api:
            await scenario(api)

    asyncio.run(main())


def test_a_file_imported_twice_changes_nothing_the_second_time(tmp_path: Path, fresh_url: str) -> None:
    """Entities are known again by name, or by what distinguishes them, also those that the Admin API made."""

    async def scenario(api: Api) -> None:
        own = await api.made("/services", {"name": "s", "host": "old"})
        plugin = {"name": "rate-limiting", "config": {"minute": 1, "policy": "local"}}
        limiter = await api.made("/services/s/plugins", plugin)
        upstream = await api.made("/upstreams", {"name": "u"})
        target = await api.made("/upstreams/u/targets", {"target": "h:80"})
        status, first = await api.call("PUT", CONFIG, FILE)
        assert status == 200, first
        assert first["updated"] == {"services": 1, "plugins": 1}
        assert (first["created"]["routes"], first["deleted"]) == (2, {})
        service = await api.got("/services/s")
        assert (service["id"], service["host"], service["created_at"]) == (own["id"], "h", own["created_at"])
        assert (await api.got(f"/plugins/{limiter['id']}"))["config"]["minute"] == 5
        targets = (await api.got(f"/upstreams/{upstream['id']}/targets"))["data"]
        assert target["id"] in {row["id"] for row in targets}
        before = await api.expected_hash()
        second = (await api.call("PUT", CONFIG, FILE))[1]
        assert (second["created"], second["updated"], second["deleted"]) == ({}, {}, {})
        assert second["revision"] == first["revision"]
        exported = await api.got(CONFIG)
        third = (await api.call("PUT", CONFIG, exported))[1]
        assert (third["created"], third["updated"], third["deleted"]) == ({}, {}, {})
        assert await api.expected_hash() == before

    play(scenario, tmp_path, fresh_url)


def test_what_the_file_does_not_hold_goes(tmp_path: Path, fresh_url: str) -> None:
    """One revision has it all, and one restore brings it back."""

    async def scenario(api: Api) -> None:
        await api.call("PUT", CONFIG, FILE)
        before = await api.expected_hash()
        revision = (await api.got(f"{GROUP}/revisions"))["items"][0]["number"]
        status, answer = await api.call("PUT", CONFIG, {"_format_version": "3.0", "services": FILE["services"]})
        assert (status, answer["created"], answer["updated"]) == (200, {}, {})
        assert answer["deleted"] == {
            "acls": 1, "consumers": 1, "keyauth_credentials": 1, "targets": 2, "upstreams": 1
        }  # fmt: skip
        assert (await api.got("/upstreams"))["data"] == []
        assert (await api.call("POST", f"{GROUP}/revisions/{revision}/restore"))[0] == 200
        assert await api.expected_hash() == before
        assert (await api.got("/consumers/ann/key-auth/k1"))["key"] == "k1"

    play(scenario, tmp_path, fresh_url)


def test_an_invalid_file_changes_nothing(tmp_path: Path) -> None:
    """Every problem is named with its place; a trial changes nothing either."""

    async def scenario(api: Api) -> None:
        bad = {
            "_format_version": "3.0",
            "services": [{"name": "a"}, {"name": "b", "host": "h", "port": "x"}],
            "typo": [],
        }
        status, answer = await api.call("PUT", CONFIG, bad)
        assert (status, answer["message"]) == (400, "the configuration is not valid")
        text = "\n".join(answer["details"][0]["messages"])
        assert "in 'host': required field missing" in text
        assert "typo" in text
        assert (await api.call("PUT", f"{CONFIG}?dry_run=true", FILE))[1]["created"]["services"] == 1
        for body in ("a: [", "- 1", "x: &a [1,1]\ny: *b", ""):
            response = await api.client.put(CONFIG, content=body, headers={"Content-Type": "application/yaml"})
            assert response.status_code == 400, body
        assert (await api.got("/services"))["data"] == []
        assert (await api.got(f"{GROUP}/revisions"))["items"] == []

    play(scenario, tmp_path)


def test_a_stale_import_is_refused(tmp_path: Path) -> None:
    """If-Match holds an import to the revision that was exported."""

    async def scenario(api: Api) -> None:
        await api.made("/services", {"name": "s", "host": "h"})
        tag = (await api.ask("GET", CONFIG)).headers["etag"]
        await api.made("/services", {"name": "t", "host": "h"})
        assert (await api.call("PUT", CONFIG, FILE, if_match=tag))[0] == 412
        assert len((await api.got("/services"))["data"]) == 2

    play(scenario, tmp_path)


def test_progress_is_told_line_by_line(tmp_path: Path) -> None:
    """The last line is the result, or the error that a plain answer would have been."""

    async def scenario(api: Api) -> None:
        headers = {"Accept": "application/x-ndjson", "Content-Type": "application/yaml"}
        response = await api.client.put(CONFIG, content=yaml.safe_dump(FILE), headers=headers)
        lines = [json.loads(line) for line in response.text.splitlines()]
        assert lines[-1]["result"]["created"]["routes"] == 2
        assert all(line["stage"] in ("read", "check", "write") for line in lines[:-1])
        response = await api.client.put(CONFIG, content="services: [{}]", headers=headers)
        last = json.loads(response.text.splitlines()[-1])
        assert (last["status"], last["error"]["code"]) == (400, 3)

    play(scenario, tmp_path)


def test_the_export_is_yaml_for_who_asks_for_it(tmp_path: Path) -> None:
    """The same content in both forms."""

    async def scenario(api: Api) -> None:
        await api.call("PUT", CONFIG, FILE)
        response = await api.client.get(CONFIG, headers={"Accept": "application/yaml"})
        assert yaml.safe_load(response.text) == await api.got(CONFIG)

    play(scenario, tmp_path)
