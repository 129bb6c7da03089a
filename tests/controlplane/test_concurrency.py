"""Writers at the same time: what is checked before a write still holds after it, and nothing is lost."""

from concurrent.futures import ThreadPoolExecutor

import orjson

from kongdp.adminapi.api import AdminApi
from kongdp.adminapi.context import NodeInfo
from kongdp.adminapi.messages import Request
from kongdp.controlplane import activity
from kongdp.controlplane.activity_record import Scope, frame_span, record
from kongdp.controlplane.changes import Changes
from kongdp.controlplane.export import Exporter
from kongdp.controlplane.store.database import Database
from kongdp.entities.schemas import build_schemas
from kongdp.sync.messages import CounterFrame

THREADS = 8
ROUTE = "5b5b3537-7bcb-4cca-9bf0-e9d43429d848"
NODE = "1da9157f-c443-4b08-8355-c97520754c21"
NOW = 1_800_000_000.0


def test_one_of_many_writers_of_a_name_wins(changes: Changes, group_id: str, database: Database) -> None:
    """Each name is taken once, whoever comes first; the others are told, and the export has every winner."""
    info = NodeInfo(node_id=NODE, version="3.9.1")
    api = AdminApi(changes.store(group_id), build_schemas(), info)
    json = {"content-type": "application/json"}

    def create(number: int) -> int:
        body = orjson.dumps({"name": f"s{number % 5}", "url": "http://h"})
        return api.handle(Request("POST", "/services", headers=json, body=body, actor="test")).status

    with ThreadPoolExecutor(THREADS) as pool:
        statuses = list(pool.map(create, range(40)))
    assert sorted(set(statuses)) == [201, 409]
    assert statuses.count(201) == 5
    assert Exporter(database).export(group_id).revision >= 5


def test_frames_of_one_boot_count_once_when_several_writers_bring_them(database: Database) -> None:
    """Two replicas may receive the same boot's frames at the same time (a node that renews its certificate)."""
    frames = [CounterFrame(NODE, "boot", seq, NOW, ((ROUTE, 200, "service", seq * 10),)) for seq in range(1, 25)]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda frame: activity.add(database, [frame], NOW), [*frames, *reversed(frames)]))
    with database.read() as connection:
        assert record(connection, Scope(route_ids=(ROUTE,)), frame_span("5m", NOW)).codes == {200: 240}
