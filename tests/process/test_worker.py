"""What a worker does again and again goes on, whatever happens in one turn of it."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest

from kongdp.process import worker
from kongdp.process.lifeline import START_FAILED
from kongdp.process.spec import write_spec
from kongdp.process.worker import RouteRows, Worker
from kongdp.settings import load_settings
from kongdp.telemetry.segment import Segment


@pytest.fixture
def segment() -> Iterator[Segment]:
    fd = os.memfd_create("segment")
    os.posix_fallocate(fd, 0, 1 << 20)
    made = Segment.open(fd)
    os.close(fd)
    yield made
    made.close()


class Loop:
    """Remembers what is to be called later."""

    def __init__(self) -> None:
        self.later: list[str] = []

    def call_later(self, delay_s: float, function: Any, *_: object) -> None:
        self.later.append(function)


def fault() -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize("name", ["_sweep", "_tick"])
def test_turns_go_on_after_a_fault_in_one(name: str) -> None:
    """Without sweeps no deadline would be enforced in this worker any more, without ticks its clock would stand still."""
    overdue = SimpleNamespace(deadline=0.0, exchange=None, on_deadline=fault)
    fake = SimpleNamespace(
        _loop=Loop(),
        _env=SimpleNamespace(connections=[overdue], sweep_period_s=1.0, counters=None, slots=None),
        _clock=SimpleNamespace(tick=fault),
        _sweep="_sweep",
        _tick="_tick",
    )
    with pytest.raises(ZeroDivisionError):
        getattr(Worker, name)(cast(Any, fake), *([0.0] if name == "_tick" else []))
    assert fake._loop.later == [name]


class Lifeline:
    """Remembers the reason."""

    reason = ""

    def __init__(self, fd: int) -> None:
        pass

    def fail(self, reason: str) -> NoReturn:
        Lifeline.reason = reason
        raise SystemExit(START_FAILED)


def test_a_log_that_cannot_be_opened_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node stops with the reason, whichever of its processes finds it first."""
    (tmp_path / "file").touch()
    chosen = {"KONG_PREFIX": str(tmp_path), "KONG_DATABASE": "off", "KONG_PROXY_ERROR_LOG": "file/error.log"}
    line = os.open(os.devnull, os.O_RDWR)
    fd = write_spec({"index": 0, "settings": load_settings(None, chosen).to_plain(), "lifeline_fd": line})
    monkeypatch.setattr(worker, "Lifeline", Lifeline)
    monkeypatch.setattr(sys, "argv", ["worker", "--spec-fd", str(fd)])
    with pytest.raises(SystemExit) as ended:
        worker.main()
    os.close(line)
    assert ended.value.code == START_FAILED
    assert Lifeline.reason.startswith("proxy_error_log: cannot open the log")


def test_rows_of_routes_that_are_gone_are_forgotten_and_their_counts_are_not(segment: Segment) -> None:
    """Any number of routes may come and go; one that comes back counts on where it was."""
    rows = RouteRows(segment)
    for number in range(5000):
        rows[f"r{number}"]
    rows["r7"].count(401, 1, 1, 1, 1, 1)
    configured = {f"r{number}" for number in range(4000, 4100)}
    kept = {id_: rows[id_] for id_ in configured}
    for _ in range(100):
        rows.forget_some(configured, len(configured))
    assert len(rows) <= 1200
    assert all(rows[id_] is row for id_, row in kept.items())
    assert "r7" not in rows
    rows["r7"].count(401, 1, 1, 1, 1, 1)
    assert segment.slots[rows["r7"].codes[401]] == 2
