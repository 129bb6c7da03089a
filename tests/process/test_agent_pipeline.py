"""From bytes to workers: what is applied, what is rejected, what is skipped, and what is cached."""

import asyncio
import gzip
import json
import logging
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from kongdp.entities.hashing import EMPTY_HASH, hashes
from kongdp.process import agent_sources
from kongdp.process.agent_pipeline import (
    Applied,
    Candidate,
    Outcome,
    Passed,
    Pipeline,
    PipelineOptions,
    Rejected,
    Unreadable,
)
from kongdp.process.agent_workers import Target, Workers
from kongdp.sync import cache
from kongdp.sync.messages import Reconfigure, encode_reconfigure
from tests.support.both_loops import until
from tests.support.certificates import make

DATA = Path(__file__).parents[1] / "conformance" / "data"
A, B, C = "a" * 32, "b" * 32, "c" * 32


class StubWorkers(Workers):
    """Workers that agree at once, unless `failure` says why not or `gate` is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[Target] = []
        self.failure: str | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.live = 1

    def set_target(self, target: Target) -> None:
        self.targets.append(target)

    async def settled(self) -> str | None:
        await self.gate.wait()
        return self.failure

    def count_live(self) -> int:
        return self.live

    def count_serving(self) -> int:
        return 0 if self.failure else self.live


def config(*routes: str, **more: Any) -> dict[str, Any]:
    """A flat table as a control plane sends it: one service, and a route for each name."""
    service = {"id": "11111111-1111-4111-8111-111111111111", "name": "s", "host": "example.com"}
    rows = [
        {
            "id": f"22222222-2222-4222-8222-{number:012d}",
            "name": name,
            "paths": [f"/{name}"],
            "service": service["id"],
        }
        for number, name in enumerate(routes)
    ]
    return {"_format_version": "3.0", "_transform": False, "services": [service], "routes": rows, **more}


def frame(config_hash: str, table: dict[str, Any], sections: dict[str, str] | None = None) -> bytes:
    return encode_reconfigure(Reconfigure(config_hash, table, 1.0, sections))


class Bench:
    """A pipeline with stub workers, a cache file and the list of hashes that came into force."""

    def __init__(self, directory: Path, plugins: Any = ()) -> None:
        self.workers = StubWorkers()
        self.reported: list[str] = []
        self.cache_path = directory / cache.FILE_NAME
        options = PipelineOptions(self.cache_path, plugins=plugins)
        self.pipeline = Pipeline(options, self.workers, self.reported.append)

    async def push(self, data: bytes) -> Outcome:
        return await self.pipeline.submit(agent_sources.from_control_plane(data))


def play(directory: Path, story: Callable[[Bench], Awaitable[None]], plugins: Any = ()) -> None:
    async def whole() -> None:
        bench = Bench(directory, plugins)
        running = asyncio.create_task(bench.pipeline.run())
        try:
            async with asyncio.timeout(30):
                await story(bench)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(whole())


def test_configuration_is_in_force_when_all_workers_agree(tmp_path: Path) -> None:
    """Validated, brought to workers as a difference from nothing, cached, reported; in this order."""

    async def story(bench: Bench) -> None:
        bench.workers.gate.clear()
        pending = asyncio.create_task(bench.push(frame(A, config("one"))))
        await until(lambda: bench.workers.targets)
        assert cache.read(bench.cache_path) is None
        assert bench.reported == []
        bench.workers.gate.set()
        assert await pending == Applied(A, was_new=True)
        assert bench.reported == [A]
        (target,) = bench.workers.targets
        assert (target.hash, target.base_hash) == (A, EMPTY_HASH)
        assert {change[0] for change in target.changes} >= {"services", "routes"}
        assert bench.cache_path.read_bytes() == frame(A, config("one"))

    play(tmp_path, story)


def test_real_push_is_applied_when_it_is_kongs(tmp_path: Path) -> None:
    """The reconfigure of a Kong 3.9.1 control plane, unknown to us but for its protocol."""
    push = json.loads((DATA / "reconfigure-3.9.1.json").read_text())
    made = make("edge.example.com")
    for row in push["config_table"]["certificates"]:  # the recording left the texts out
        row.update(cert=made.pem.decode(), key=made.key_pem.decode())
    names = {row["name"] for row in push["config_table"]["plugins"]}

    async def story(bench: Bench) -> None:
        outcome = await bench.push(gzip.compress(json.dumps(push).encode()))
        assert outcome == Applied(push["config_hash"], was_new=True)
        assert len(bench.pipeline.table["routes"]) == len(push["config_table"]["routes"])

    play(tmp_path, story, plugins=names)


def test_plugin_is_refused_when_the_node_does_not_have_it(tmp_path: Path) -> None:
    """Serving a route without the authentication somebody configured would be worse than not serving the change."""

    async def story(bench: Bench) -> None:
        plugin = {"id": "33333333-3333-4333-8333-333333333333", "name": "key-auth", "config": {}}
        outcome = await bench.push(frame(A, config("one", plugins=[plugin])))
        assert isinstance(outcome, Rejected)
        assert "key-auth" in outcome.report.message

    play(tmp_path, story)


def test_nothing_is_done_when_the_hash_is_in_force_already(tmp_path: Path) -> None:
    """2.4: the same hash is success without work."""

    async def story(bench: Bench) -> None:
        await bench.push(frame(A, config("one")))
        assert await bench.push(frame(A, config("one"))) == Applied(A, was_new=False)
        assert len(bench.workers.targets) == 1

    play(tmp_path, story)


def test_content_decides_when_section_hashes_lie(tmp_path: Path) -> None:
    """2.6: a Kong data plane would keep its old router here; ours looks at the content."""

    async def story(bench: Bench) -> None:
        lies = {"config": A, "routes": C, "services": C}
        await bench.push(frame(A, config("one"), lies))
        await bench.push(frame(B, config("other"), {**lies, "config": B}))
        (change,) = bench.workers.targets[1].changes
        assert change[0] == "routes"
        assert change[2] is not None
        assert change[2]["paths"] == ["/other"]

    play(tmp_path, story)


def test_unknown_collections_are_skipped_when_a_control_plane_knows_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Enterprise control planes send more; said once, not at each push."""

    async def story(bench: Bench) -> None:
        with caplog.at_level(logging.WARNING, "kongdp.agent"):
            for config_hash in (A, B):
                assert isinstance(await bench.push(frame(config_hash, config("x", licenses=[{"id": "1"}]))), Applied)
        assert len([record for record in caplog.records if "licenses" in record.getMessage()]) == 1

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (config("one", services=[]), "invalid reference"),
        ({**config("one"), "routes": [{"id": "x", "paths": ["nope"]}]}, "routes"),
        ({"services": []}, "_format_version"),
        ({**config("one"), "routes": [{**config("one")["routes"][0], "paths": ["~/(unclosed"]}]}, "paths"),
    ],
)
def test_nothing_changes_when_a_configuration_is_rejected(
    tmp_path: Path, table: dict[str, Any], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """2.7: no worker sees it, the cache keeps the good one, the offending path is in the log and in the report."""

    async def story(bench: Bench) -> None:
        await bench.push(frame(A, config("one")))
        with caplog.at_level(logging.ERROR, "kongdp.agent"):
            outcome = await bench.push(frame(B, table))
        assert isinstance(outcome, Rejected)
        assert outcome.report.config_hash == B
        assert text in outcome.report.message
        assert text in caplog.text
        assert "bad config received from control plane" in caplog.text
        assert len(bench.workers.targets) == 1
        assert bench.pipeline.in_force == A
        assert bench.pipeline.last_rejection == outcome.report
        assert bench.cache_path.read_bytes() == frame(A, config("one"))
        assert isinstance(await bench.push(frame(C, config("two"))), Applied)
        assert bench.pipeline.last_rejection is None

    play(tmp_path, story)


@pytest.mark.parametrize("data", [b"", b"not gzip", gzip.compress(b"[]")])
def test_bytes_are_unreadable_when_they_are_no_configuration(tmp_path: Path, data: bytes) -> None:
    """2.3: not gzip, not JSON: the link has to end, nothing else happens."""

    async def story(bench: Bench) -> None:
        assert isinstance(await bench.push(data), Unreadable)

    play(tmp_path, story)


def test_message_is_passed_over_when_it_is_of_another_type(tmp_path: Path) -> None:
    """Silently."""

    async def story(bench: Bench) -> None:
        assert await bench.push(gzip.compress(b'{"type":"hello"}')) == Passed()

    play(tmp_path, story)


def test_only_the_newest_is_tried_when_several_wait(tmp_path: Path) -> None:
    """One is being applied, of the others the last one counts."""

    async def story(bench: Bench) -> None:
        bench.workers.gate.clear()
        first = asyncio.create_task(bench.push(frame(A, config("one"))))
        await until(lambda: bench.workers.targets)
        second = asyncio.create_task(bench.push(frame(B, config("two"))))
        await asyncio.sleep(0)
        third = asyncio.create_task(bench.push(frame(C, config("three"))))
        bench.workers.gate.set()
        assert await first == Applied(A, was_new=True)
        assert await second == Passed()
        assert await third == Applied(C, was_new=True)
        assert [target.hash for target in bench.workers.targets] == [A, C]

    play(tmp_path, story)


def test_old_hash_stays_when_a_worker_cannot_apply(tmp_path: Path) -> None:
    """Ours reports a hash only when all workers serve it; the same push again is another attempt."""

    async def story(bench: Bench) -> None:
        await bench.push(frame(A, config("one")))
        bench.workers.failure = "worker 1: MemoryError"
        outcome = await bench.push(frame(B, config("two")))
        assert isinstance(outcome, Rejected)
        assert "MemoryError" in outcome.report.message
        assert bench.pipeline.in_force == A
        assert bench.cache_path.read_bytes() == frame(A, config("one"))
        bench.workers.failure = None
        assert await bench.push(frame(B, config("two"))) == Applied(B, was_new=True)
        assert bench.workers.targets[-1].base_hash == B

    play(tmp_path, story)


def test_hash_is_reported_when_the_failing_worker_was_replaced(tmp_path: Path) -> None:
    """A restarted worker gets the newest table; when it serves, the configuration is in force after all, and cached."""

    async def story(bench: Bench) -> None:
        bench.workers.failure = "worker 1: MemoryError"
        await bench.push(frame(B, config("two")))
        bench.pipeline.recheck()
        assert bench.reported == []
        bench.workers.failure = None
        bench.pipeline.recheck()
        assert bench.reported == [B]
        await until(lambda: bench.cache_path.exists() and bench.cache_path.read_bytes() == frame(B, config("two")))

    play(tmp_path, story)


def test_computed_hash_is_cached_when_the_control_plane_sent_none(tmp_path: Path) -> None:
    """The cache always has the hash inside."""

    async def story(bench: Bench) -> None:
        table = config("one")
        data = gzip.compress(json.dumps({"type": "reconfigure", "config_table": table}).encode())
        expected = hashes(table).config
        assert await bench.push(data) == Applied(expected, was_new=True)
        kept = json.loads(gzip.decompress(bench.cache_path.read_bytes()))
        assert kept["config_hash"] == expected

    play(tmp_path, story)


def test_cache_is_served_but_not_rewritten_when_the_node_starts(tmp_path: Path) -> None:
    """The first configuration of a restarted node; its file is left alone."""

    async def story(bench: Bench) -> None:
        bench.cache_path.write_bytes(frame(A, config("one")))
        before = bench.cache_path.stat().st_ino
        candidate = agent_sources.from_cache(bench.cache_path)
        assert await bench.pipeline.submit(candidate) == Applied(A, was_new=True)
        assert bench.cache_path.stat().st_ino == before

    play(tmp_path, story)


def test_cache_is_reported_when_it_is_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A corrupt file is named in the log and ignored."""

    async def story(bench: Bench) -> None:
        bench.cache_path.write_bytes(frame(A, config("one"))[:-20])
        with caplog.at_level(logging.ERROR, "kongdp.agent"):
            assert isinstance(await bench.pipeline.submit(agent_sources.from_cache(bench.cache_path)), Unreadable)
        assert str(bench.cache_path) in caplog.text
        assert await bench.push(frame(B, config("two"))) == Applied(B, was_new=True)

    play(tmp_path, story)


def test_configuration_is_served_when_it_cannot_be_cached(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A full or read-only disk costs the cache, not the change."""

    async def story(bench: Bench) -> None:
        bench.cache_path.mkdir()
        with caplog.at_level(logging.ERROR, "kongdp.agent"):
            assert isinstance(await bench.push(frame(A, config("one"))), Applied)
        assert "cannot be cached" in caplog.text

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("kong.yml", "_format_version: '3.0'\nservices:\n- name: a\n  url: http://example.com\n"),
        ("kong.json", '{"_format_version":"3.0","services":[{"name":"a","host":"example.com"}]}'),
    ],
)
def test_file_is_loaded_when_the_node_has_no_control_plane(tmp_path: Path, name: str, text: str) -> None:
    """YAML or JSON; loading the same file again is the same configuration."""

    async def story(bench: Bench) -> None:
        path = tmp_path / name
        path.write_text(text)
        first = await bench.pipeline.submit(agent_sources.from_file(path))
        assert isinstance(first, Applied)
        assert await bench.pipeline.submit(agent_sources.from_file(path)) == Applied(first.hash, was_new=False)

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("_format_version: '3.0'\nservices: [", "line"), ("- a", "expected an object"), ("{", "declarative")],
)
def test_file_is_rejected_when_it_is_broken(tmp_path: Path, text: str, reason: str) -> None:
    """A syntax error names its line."""

    async def story(bench: Bench) -> None:
        path = tmp_path / "kong.yml"
        path.write_text(text)
        outcome = await bench.pipeline.submit(agent_sources.from_file(path))
        assert isinstance(outcome, Rejected)
        assert reason in outcome.report.message

    play(tmp_path, story)


def test_file_is_unreadable_when_it_is_not_there(tmp_path: Path) -> None:
    """The setting and the path are named."""

    async def story(bench: Bench) -> None:
        outcome = await bench.pipeline.submit(agent_sources.from_file(tmp_path / "none.yml"))
        assert isinstance(outcome, Unreadable)
        assert "declarative_config: cannot read" in outcome.reason

    play(tmp_path, story)


def test_loop_goes_on_when_a_configuration_takes_long(tmp_path: Path) -> None:
    """Reading and validating happen in a thread: pings and beats are not late."""

    async def story(bench: Bench) -> None:
        loop_thread, seen = threading.get_ident(), []
        started, finish = threading.Event(), threading.Event()

        def read() -> Reconfigure | None:
            seen.append(threading.get_ident())
            started.set()
            finish.wait(10)
            return None

        pending = asyncio.create_task(bench.pipeline.submit(Candidate("test", read)))
        await until(started.is_set)
        assert bench.pipeline.is_busy
        finish.set()
        assert await pending == Passed()
        assert seen[0] != loop_thread

    play(tmp_path, story)


def test_fault_of_ours_is_a_rejection_when_it_happens(tmp_path: Path) -> None:
    """Whatever a configuration does to our code, the agent lives and says what happened."""

    async def story(bench: Bench) -> None:
        def read() -> Reconfigure | None:
            raise ZeroDivisionError("ours")

        outcome = await bench.pipeline.submit(Candidate("test", read))
        assert isinstance(outcome, Rejected)
        assert "ZeroDivisionError: ours" in outcome.report.message

    play(tmp_path, story)
