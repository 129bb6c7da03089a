"""Two control planes on one PostgreSQL: an edit at one reaches nodes of the other; one of them killed, nothing is lost."""

import asyncio
import json
import re
import signal
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kongdp.controlplane import groups, ledger, replicas
from kongdp.controlplane.authority import Authority, AuthorityError
from kongdp.controlplane.changes import Changes
from kongdp.controlplane.plane import Clock
from kongdp.controlplane.replicas import Watcher
from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import Database
from kongdp.controlplane.store.migrations import migrate
from kongdp.sync.messages import CounterFrame, decode_ack, encode_counters
from tests.support.clock import FakeClock
from tests.support.control_plane_process import Process
from tests.support.postgres import PostgresServer
from tests.support.scripted_data_plane import KeyPair, ScriptedDataPlane, make_request, save_pair


class Replica:
    """One of the control planes, and its data planes' way to it."""

    def __init__(self, prefix: Path, url: str) -> None:
        prefix.mkdir()
        self.prefix = prefix
        self.process = Process(prefix, KONGDP_DATABASE_URL=url)

    @property
    def ports(self) -> list[int]:
        """Of the cluster listener and of the counters' listener."""
        return [int(port) for port in re.findall(r"(?:data planes on|counters on) \S+?:(\d+)", self.process.lines[-1])]

    async def link(self, pair: KeyPair, listener: int = 0) -> ScriptedDataPlane:
        """A data plane's connection."""
        trust = (self.prefix / "authority" / "ca.crt").read_text()
        return await ScriptedDataPlane.connect(self.ports[listener], trust=trust, pair=pair)


@pytest.fixture
def pair_of_replicas(tmp_path: Path, postgres: PostgresServer) -> Iterator[tuple[Replica, Replica]]:
    """Started at the same moment over an empty database."""
    url = postgres.create_database()
    both = Replica(tmp_path / "one", url), Replica(tmp_path / "two", url)
    try:
        for replica in both:
            replica.process.until_ready()
        yield both
    finally:
        for replica in both:
            replica.process.kill()


def issue(replica: Replica, group_id: str) -> KeyPair:
    """A node's certificate by the authority that a replica has."""
    key, node_id = ec.generate_private_key(ec.SECP256R1()), str(uuid.uuid4())
    authority = Authority.open(replica.prefix / "authority", Clock())
    return save_pair(replica.prefix, authority.issue_node(make_request(node_id, key), group_id, 3600), key, node_id)


def names(configuration: dict[str, Any]) -> set[str]:
    return {service["name"] for service in configuration["config_table"].get("services", [])}


@pytest.mark.system
def test_any_replica_serves_api_and_data_planes(pair_of_replicas: tuple[Replica, Replica]) -> None:
    """One authority; an edit at one reaches a node of the other; one killed, its node goes on at the other, and neither
    an edit nor a count is lost or doubled.
    """
    one, two = pair_of_replicas
    group: Any = one.process.get("/v2/control-planes/default")
    assert (one.prefix / "authority" / "ca.key").read_text() == (two.prefix / "authority" / "ca.key").read_text()

    async def scenario() -> None:
        pair = issue(one, group["id"])
        link = await two.link(pair)
        await link.join(pair.node_id)
        assert names(await link.configuration()) == set()
        await asyncio.to_thread(one.process.post, "/services", {"name": "a", "host": "h"})
        assert names(await link.configuration()) == {"a"}
        route: Any = await asyncio.to_thread(two.process.post, "/services/a/routes", {"paths": ["/a"]})
        assert two.process.get("/services/a") == one.process.get("/services/a")
        await asyncio.to_thread(change_level, one, two)
        await count(two, pair, route["id"], 1, 7)
        two.process.send(signal.SIGKILL)
        await link.close()
        await asyncio.to_thread(one.process.post, "/services", {"name": "b", "host": "h"})
        link = await one.link(pair)
        await link.join(pair.node_id)
        # What was offered last comes at once, the newest within the tenth of a second that edits wait for each other.
        while names(await link.configuration()) != {"a", "b"}:
            pass
        await count(one, pair, route["id"], 1, 7)
        await count(one, pair, route["id"], 2, 9)
        await link.close()
        made = await asyncio.to_thread(counted, one, route["id"])
        assert made == 9

    asyncio.run(scenario())


@pytest.mark.system
def test_writers_at_both_lose_nothing(pair_of_replicas: tuple[Replica, Replica]) -> None:
    """Eight clients at two replicas: of those who want one name one gets it, what was answered is there at both, each write is
    one revision, and both export the same.
    """
    both = [replica.process for replica in pair_of_replicas]

    def write(client: int) -> list[str]:
        made = []
        for number in range(12):
            for name in (f"own-{client}-{number}", f"shared-{number}"):
                try:
                    both[(client + number) % 2].post("/services", {"name": name, "host": "h"})
                    made.append(name)
                except urllib.error.HTTPError as error:
                    if error.code != 409:
                        raise
        return made

    with ThreadPoolExecutor(8) as pool:
        made = [name for names in pool.map(write, range(8)) for name in names]
    assert len(made) == len(set(made)) == 8 * 12 + 12
    for process in both:
        services: Any = process.get("/services?size=1000")
        assert sorted(row["name"] for row in services["data"]) == sorted(made)
        history: Any = process.get("/v2/control-planes/default/revisions?page.size=1000")
        assert [item["count"] for item in history["items"]] == [1] * len(made)
    one, two = (process.get("/v2/control-planes/default/expected-config-hash") for process in both)
    assert one["expected_hash"] == two["expected_hash"]  # type: ignore[index]


def change_level(one: Replica, two: Replica) -> None:
    """At one, for both; until the other has it, since it may not listen for notices yet."""
    for attempt in range(60):
        level = ("error", "crit")[attempt % 2]
        one.process.post(f"/debug/cluster/control-planes-nodes/log-level/{level}", {}, "PUT")
        for _ in range(10):
            if two.process.get("/debug/node/log-level") == {"message": f"log level: {level}"}:
                return
            time.sleep(0.05)
    raise AssertionError("the other replica was not told")


async def count(replica: Replica, pair: KeyPair, route_id: str, seq: int, total: int) -> None:
    """One acknowledged frame of counters."""
    link = await replica.link(pair, 1)
    assert await link.upgrade("/v1/counters") == 101
    frame = CounterFrame(pair.node_id, "boot", seq, Clock()(), ((route_id, 200, "service", total),))
    await link.send_text(encode_counters(frame).decode())
    assert decode_ack(await link.message()) == seq
    await link.close()


def counted(replica: Replica, route_id: str) -> int:
    path = f"{replica.process.admin}/v2/control-planes/default/activity?route={route_id}"
    with urllib.request.urlopen(path, timeout=60) as response:
        return int(json.load(response)["total"])


class Recorder:
    """What a watcher would have its plane do."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.is_failing = False

    def group_changed(self, group_id: str, revision: int) -> None:
        self.calls.append(("changed", group_id))

    def forget_group(self, group_id: str) -> None:
        self.calls.append(("forget", group_id))

    def dismiss(self, node_id: str, reason: str) -> None:
        self.calls.append(("dismiss", node_id))

    def log_level_changed(self, level: str, timeout_s: float) -> None:
        self.calls.append(("level", level))

    async def pins_changed(self) -> None:
        if self.is_failing:
            raise OSError("the disk is full")
        self.calls.append(("pins",))

    def taken(self) -> list[tuple[Any, ...]]:
        """The calls since the last time."""
        calls, self.calls = self.calls, []
        return calls


def test_a_look_tells_what_others_did_and_not_what_was_done_here(
    database: Database, changes: Changes, group_id: str
) -> None:
    """Changes, deleted groups, pins and revocations, each once."""
    recorder = Recorder()
    watcher = Watcher(database, recorder)
    elsewhere = Changes(database)
    changes.subscribe(watcher.committed_here)

    def put(door: Changes, group: str) -> None:
        with door.transaction(actor="t", summary="t") as transaction:
            transaction.group(group).put("services", {"id": str(uuid.uuid4()), "name": "s"})

    async def look() -> list[tuple[Any, ...]]:
        await watcher.look()
        return recorder.taken()

    async def scenario() -> None:
        assert await look() == []
        put(changes, group_id)
        assert await look() == []
        put(elsewhere, group_id)
        assert await look() == [("changed", group_id)]
        assert await look() == []
        with database.write() as connection:
            made = groups.create(connection, "team", "", {}, 1.0)
        assert await look() == []
        put(elsewhere, made.id)
        assert await look() == [("changed", made.id)]
        with database.write() as connection:
            groups.delete(connection, made)
            row = {"id": "p", "group_id": group_id, "fingerprint": "f", "title": "", "cert": ""}
            connection.execute(tables.pinned_certificates.insert(), {**row, "created_at": 1.0, "updated_at": 1.0})
            issued = {"serial": "1", "fingerprint": "f", "node_id": "n", "group_id": group_id, "issued_to": ""}
            times = {"not_before": 1.0, "not_after": 9e9, "issued_at": 1.0, "revoked_at": None}
            connection.execute(tables.issued_certificates.insert(), {**issued, **times})
        assert await look() == [("forget", made.id), ("pins",)]
        with database.write() as connection:
            ledger.revoke_node(connection, "n", 2.0)
        assert await look() == [("dismiss", "n")]
        assert await look() == []
        with database.write() as connection:
            connection.execute(tables.pinned_certificates.delete())
        recorder.is_failing = True
        with pytest.raises(OSError, match="full"):
            await look()
        recorder.is_failing = False
        assert await look() == [("pins",)]

    asyncio.run(scenario())


def test_an_authority_of_its_own_is_refused_on_a_shared_database(tmp_path: Path, postgres: PostgresServer) -> None:
    """Its nodes would not be let in by the others; the message says what to do."""
    database = Database(postgres.create_database())
    migrate(database)
    Authority.open(tmp_path / "a", FakeClock())
    replicas.give_authority(database, tmp_path / "a", 1.0)
    replicas.take_authority(database, tmp_path / "b")
    assert (tmp_path / "b" / "ca.key").stat().st_mode & 0o777 == 0o600
    Authority.open(tmp_path / "c", FakeClock())
    with pytest.raises(AuthorityError, match="is not the authority of"):
        replicas.take_authority(database, tmp_path / "c")
    database.close()
