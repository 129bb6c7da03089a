"""decK's way of working against a control plane: ping, dump, diff, sync; by its calls, and by decK itself where it is installed."""

import asyncio
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.control_plane_api import GROUP, Api, served
from tests.support.control_plane_process import Process
from tests.support.go_kong import LOOKED_UP, GoKong, new_id, to_file, told

SERVICES = 1000
DECK = shutil.which("deck")


def file(count: int) -> dict[str, Any]:
    """So many services with two routes each, half of them with a tag; a consumer, an upstream, plugins."""
    services = [
        {
            "name": f"s{number}",
            "url": f"http://s{number}.test:8080/base",
            "tags": ["team-a"] if number % 2 else None,
            "routes": [
                {"name": f"r{number}-{way}", "paths": [f"/s{number}/{way}"], "tags": ["team-a"] if number % 2 else None}
                for way in ("a", "b")
            ],
        }
        for number in range(count)
    ]
    return {
        "_format_version": "3.0",
        "services": services,
        "consumers": [{"username": "bob", "keyauth_credentials": [{"key": "secret"}]}],
        "upstreams": [{"name": "up", "targets": [{"target": "10.0.0.1:80"}, {"target": "10.0.0.2:80"}]}],
        "plugins": [{"name": "cors", "service": "s1"}, {"name": "rate-limiting", "config": {"minute": 5}}],
    }


def play(scenario: Callable[[Api], Awaitable[None]], directory: Path, url: str | None) -> None:
    async def main() -> None:
        async with served(directory, url) as api:
            await scenario(api)

    asyncio.run(main())


def test_a_thousand_services_are_dumped_edited_and_synced(tmp_path: Path, fresh_url: str) -> None:
    """The dump is whole and a file of it differs in nothing; an edit is as many calls as it changes entities; afterwards the
    control plane is what the file says.
    """

    async def scenario(api: Api) -> None:
        deck = GoKong(api.client)
        assert (await deck.version()).startswith("3.9")
        response = await api.client.put(f"{GROUP}/config", content=orjson.dumps(file(SERVICES)))
        assert response.status_code == 200, response.text
        current = await deck.dump()
        counts = {name: len(rows) for name, rows in current.items() if rows}
        assert counts == {"services": 1000, "routes": 2000, "plugins": 2, "consumers": 1, "key-auths": 1,
                          "upstreams": 1, "targets": 2}  # fmt: skip
        # Two pages of routes and one of everything else.
        assert deck.asked["GET"] <= 26
        wanted = to_file(current)
        deck.asked.clear()
        assert await deck.sync(current, wanted) == (0, 0, 0)
        assert not deck.asked

        by_name = {row["name"]: row for row in wanted["services"].values()}
        for number in range(5):
            by_name[f"s{number}"]["host"] = "moved.test"
        for number in (10, 11):
            gone = wanted["services"].pop(by_name[f"s{number}"]["id"])
            for route in [row for row in wanted["routes"].values() if row["service"]["id"] == gone["id"]]:
                del wanted["routes"][route["id"]]
        for number in range(3):
            service = {"id": new_id(), "name": f"new{number}", "host": "new.test", "port": 80, "protocol": "http",
                       "connect_timeout": 60000, "read_timeout": 60000, "write_timeout": 60000, "retries": 5}  # fmt: skip
            route = {"id": new_id(), "name": f"new{number}", "paths": ["/new"], "service": {"id": service["id"]}}
            wanted["services"][service["id"]] = service
            wanted["routes"][route["id"]] = route
        assert await deck.sync(current, wanted) == (6, 5, 6)
        assert dict(deck.asked) == {"PUT": 11, "DELETE": 6}
        after = await deck.dump()
        assert len(after["services"]) == 1001
        assert {id: told(row)["host"] for id, row in after["services"].items()} == {
            id: row["host"] for id, row in wanted["services"].items()
        }
        assert await deck.sync(after, to_file(after)) == (0, 0, 0)

    play(scenario, tmp_path, fresh_url)


def test_a_selection_by_tag_sees_its_own_and_nothing_else(tmp_path: Path, fresh_url: str) -> None:
    """`select_tags` of a file: `tags=` with every list, and a DELETE of nothing that is not selected."""

    async def scenario(api: Api) -> None:
        await api.client.put(f"{GROUP}/config", content=orjson.dumps(file(6)))
        deck = GoKong(api.client)
        mine = await deck.dump(["team-a"])
        assert sorted(row["name"] for row in mine["services"].values()) == ["s1", "s3", "s5"]
        assert len(mine["routes"]) == 6
        assert not mine["plugins"]
        assert await deck.sync(mine, {}) == (0, 0, 9)
        left = await deck.dump()
        assert sorted(row["name"] for row in left["services"].values()) == ["s0", "s2", "s4"]
        assert len(left["routes"]) == 6

    play(scenario, tmp_path, fresh_url)


def test_what_is_looked_up_by_other_tags_is_referred_to_and_left_alone(tmp_path: Path) -> None:
    """`default_lookup_tags` of a file: lists by the other tags beside those of its own, all of which must be carried."""

    async def scenario(api: Api) -> None:
        whole = file(2)
        whole["consumers"][0]["tags"] = ["shared", "people"]
        whole["services"][0]["tags"] = ["shared"]
        await api.client.put(f"{GROUP}/config", content=orjson.dumps(whole))
        deck = GoKong(api.client)
        lookup = {name: ["shared"] for name in LOOKED_UP}
        current = await deck.dump(["team-a"], {**lookup, "consumers": ["people", "shared"]})
        assert [row["name"] for row in current["services"].values()] == ["s1", "s0"]
        (bob,) = current["consumers"]
        assert not (await deck.dump(["team-a"], {"consumers": ["shared", "nobody"]}))["consumers"]
        wanted = to_file(current)
        id = new_id()
        shared = next(id for id, row in current["services"].items() if row["name"] == "s0")
        scope = {"consumer": {"id": bob}, "service": {"id": shared}}
        wanted["plugins"][id] = {"id": id, "name": "request-size-limiting", "tags": ["team-a"], **scope}
        assert await deck.sync(current, wanted) == (1, 0, 0)
        after = await deck.dump(["team-a"], lookup)
        assert {name: after["plugins"][id][name] for name in scope} == scope
        assert await deck.sync(after, to_file(after)) == (0, 0, 0)

    play(scenario, tmp_path, None)


def test_numbers_are_what_a_typed_client_expects(tmp_path: Path) -> None:
    """go-kong reads times and ports into integers: 80.0 would end a dump."""

    async def scenario(api: Api) -> None:
        await api.client.put(f"{GROUP}/config", content=orjson.dumps(file(1)))
        state = await GoKong(api.client).dump()
        for name, rows in state.items():
            for row in rows.values():
                floats = {field for field, value in row.items() if isinstance(value, float)}
                assert floats <= ({"created_at", "updated_at"} if name == "targets" else set()), (name, floats)
        for path in ("/schemas/services", "/schemas/routes", "/schemas/upstreams", "/schemas/targets",
                     "/schemas/plugins/rate-limiting", "/schemas/consumers", "/schemas/vaults/env"):  # fmt: skip
            fields = (await api.got(path))["fields"]
            assert all(len(field) == 1 for field in fields), path
        for path, body in (("services", {"host": "h"}), ("routes", {"paths": ["/"]}), ("plugins", {"name": "cors"}),
                           ("consumers", {"username": "u"}), ("upstreams", {"name": "u"})):  # fmt: skip
            assert (await api.call("POST", f"/schemas/{path}/validate", body))[0] == 200
        status, answer = await api.call("GET", "/filter-chains?size=1000")
        assert (status, answer) == (400, {"message": "this endpoint is only available when wasm is enabled"})

    play(scenario, tmp_path, None)


@pytest.mark.skipif(DECK is None, reason="decK is not installed")
def test_deck_itself(tmp_path: Path) -> None:
    """Its own ping, dump, diff and sync."""
    process = Process(tmp_path / "plane").until_ready()
    state, again = tmp_path / "kong.yaml", tmp_path / "again.yaml"

    def deck(*arguments: str) -> str:
        command = [str(DECK), "gateway", *arguments, "--kong-addr", process.admin, "--analytics=false"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=110)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    try:
        assert "Successfully connected to Kong" in deck("ping")
        state.write_bytes(orjson.dumps({**file(20), "_info": {"select_tags": ["team-a"]}, "plugins": []}))
        assert "Created: " in deck("sync", str(state))
        assert "Created: 0" in deck("diff", str(state))
        deck("dump", "-o", str(again))
        assert "Updated: 0" in deck("sync", str(again))
    finally:
        process.kill()
