"""The activity over HTTP: spans, scopes of a group, CSV; and what is refused."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from kongdp.controlplane import activity
from kongdp.controlplane.api.app import build_app
from kongdp.controlplane.server import make_admin
from kongdp.settings import load_settings
from kongdp.sync.messages import CounterFrame
from tests.support.control_plane import ControlPlane, running

NODE = "1da9157f-c443-4b08-8355-c97520754c21"
GROUP = "/v2/control-planes/default/activity"


class Served:
    """A control plane's API with one version, whose only route and one other have counted."""

    def __init__(self, client: httpx.AsyncClient, plane: ControlPlane) -> None:
        self.client = client
        self.plane = plane
        self.ids: dict[str, str] = {}

    async def prepare(self) -> None:
        await self._post("/v2/catalogue/services", {"name": "s"})
        version = await self._post("/v2/catalogue/services/s/versions", {"name": "v"})
        made = await self._post(
            f"/v2/catalogue/versions/{version['id']}/implementation",
            {"service": {"name": "gs", "url": "http://h"}, "route": {"name": "r", "paths": ["/r"]}},
        )
        other = await self._post("/routes", {"name": "other", "paths": ["/other"]})
        self.ids = {
            "version": version["id"],
            "service": made["service"]["id"],
            "route": made["routes"][0]["id"],
            "other": other["id"],
        }
        now = self.plane.clock()
        rows = (
            (self.ids["route"], 200, "service", 3),
            (self.ids["route"], 401, "kong", 1),
            (other["id"], 200, "kong", 50),
        )
        frame = CounterFrame(NODE, "boot", 1, now, rows)
        await self.plane.plane.database.run(activity.add, self.plane.plane.database, [frame], now)

    async def _post(self, path: str, body: object) -> dict[str, dict[str, str]] | dict[str, str]:
        answer = await self.client.post(path, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()  # type: ignore[no-any-return]

    async def codes(self, path: str) -> dict[str, int]:
        answer = await self.client.get(path)
        assert answer.status_code == 200, answer.text
        found: dict[str, int] = answer.json()["codes"]
        return found


def play(scenario: Callable[[Served], Awaitable[None]], tmp_path: Path) -> None:
    async def main() -> None:
        settings = load_settings(None, {"KONG_ROLE": "control_plane", "KONG_PREFIX": str(tmp_path)})
        async with running(tmp_path) as plane:
            app = build_app(plane.plane, make_admin(settings, plane.plane), node_id=NODE, body_bytes_max=100_000)
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8001") as client:
                served = Served(client, plane)
                await served.prepare()
                await scenario(served)

    asyncio.run(main())


def test_group_is_asked_by_route_service_version_and_node(tmp_path: Path) -> None:
    """Routes by name or id, the rest by id; what does not exist has no counts; the route's deletion changes nothing."""

    async def scenario(served: Served) -> None:
        ids, mine = served.ids, {"200": 3, "401": 1}
        asked = {
            "": {"200": 53, "401": 1},
            "route=r": mine,
            f"route={ids['route']}": mine,
            f"service={ids['service']}": mine,
            f"version={ids['version']}": mine,
            f"node={NODE}": {"200": 53, "401": 1},
            f"route=other&node={NODE}": {"200": 50},
            "route=unknown": {},
            "node=unknown": {},
        }
        for _ in range(2):
            for query, codes in asked.items():
                assert await served.codes(f"{GROUP}?{query}") == codes, query
                assert await served.codes(f"{GROUP}?frame=30d&{query}") == codes, query
            await served.client.delete("/routes/r")
            await served.client.delete("/routes/other")
        assert (await served.client.get("/v2/control-planes/nowhere/activity")).status_code == 404

    play(scenario, tmp_path)


def test_record_tells_its_span_and_what_was_ever_counted(tmp_path: Path) -> None:
    """A span before the first request is empty; `ever` is not."""

    async def scenario(served: Served) -> None:
        path = f"/v2/catalogue/versions/{served.ids['version']}/status-codes"
        found = (await served.client.get(f"{path}?start=2020-01-01&end=2020-01-02&step=3600")).json()
        assert (found["frame"], found["codes"], found["points"]) == (None, {}, [])
        assert (found["start"], found["end"], found["step"]) == (1577836800, 1578009600, 3600)
        assert (found["ever"], found["routes_omitted"]) == ({"200": 3, "401": 1}, 0)
        usual = (await served.client.get(path)).json()
        assert (usual["frame"], usual["step"], usual["total"]) == ("6h", 600, 4)
        assert usual["routes"] == {served.ids["route"]: {"200": 3, "401": 1}}
        whole = await served.codes("/v2/catalogue/services/s/status-codes?frame=7d")
        assert whole == {"200": 3, "401": 1}
        service = "/v2/catalogue/services/s/status-codes?frame=7d"
        assert (await served.client.get(service)).json()["version_points"] == []
        points = (await served.client.get(f"{service}&by=version")).json()["version_points"]
        assert [(point["version"], point["count"]) for point in points] == [(served.ids["version"], 4)]
        assert (await served.client.get(f"{service}&by=colour")).status_code == 400

    play(scenario, tmp_path)


def test_export_is_csv_by_day(tmp_path: Path) -> None:
    """A file to download, for a version, a service and a group; other steps when asked."""

    async def scenario(served: Served) -> None:
        for path, lines in (
            (f"/v2/catalogue/versions/{served.ids['version']}/status-codes.csv", 2),
            ("/v2/catalogue/services/s/status-codes.csv?frame=30d", 2),
            (f"{GROUP}.csv?route=other&step=10", 1),
        ):
            answer = await served.client.get(path)
            assert answer.headers["content-type"].startswith("text/csv")
            assert answer.headers["content-disposition"].startswith('attachment; filename="status-codes-')
            header, *rows, end = answer.text.split("\r\n")
            assert (header, len(rows), end) == ("start,seconds,status_code,requests", lines, "")
            assert rows[0].split(",")[1:] == (["86400", "200", "3"] if lines == 2 else ["10", "200", "50"])

    play(scenario, tmp_path)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("frame=1y", "frame"),
        ("start=2026-01-01&frame=5m", "frame"),
        ("end=2026-01-01", "frame"),
        ("start=x", "start"),
        ("start=2026-01-01&end=2026-06-01&step=10", "step"),
        ("step=11", "step"),
        ("step=x", "step"),
        ("step=-10", "step"),
    ],
)
def test_spans_that_cannot_be_shown_are_refused(tmp_path: Path, query: str, field: str) -> None:
    """400 that names the argument, everywhere."""

    async def scenario(served: Served) -> None:
        for path in (GROUP, f"{GROUP}.csv", f"/v2/catalogue/versions/{served.ids['version']}/status-codes"):
            answer = await served.client.get(f"{path}?{query}")
            assert answer.status_code == 400
            assert [each["field"] for each in answer.json()["details"]] == [field]

    play(scenario, tmp_path)


def test_a_running_control_plane_rolls_up(tmp_path: Path) -> None:
    """What its housekeeping calls: nothing is lost, and ten seconds of long ago are minutes."""

    async def scenario(served: Served) -> None:
        now, database = served.plane.clock(), served.plane.plane.database
        frame = CounterFrame(NODE, "old", 1, now - 9_000, ((served.ids["route"], 200, "service", 4),))
        await database.run(activity.add, database, [frame], now)
        await served.plane.plane.tidy_activity()
        with database.read() as connection:
            widths = connection.exec_driver_sql("SELECT width, sum(count) FROM activity_buckets GROUP BY width")
            assert {width: count for width, count in widths} == {10: 54, 60: 4}  # noqa: C416 - rows are no pairs to mypy
        assert await served.codes(f"{GROUP}?route=r") == {"200": 7, "401": 1}

    play(scenario, tmp_path)
