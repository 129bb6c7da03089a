"""What a worker does again and again goes on, whatever happens in one turn of it."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from kongdp.process.worker import Worker


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
    worker = SimpleNamespace(
        _loop=Loop(),
        _env=SimpleNamespace(connections=[overdue], sweep_period_s=1.0, counters=None, slots=None),
        _clock=SimpleNamespace(tick=fault),
        _sweep="_sweep",
        _tick="_tick",
    )
    with pytest.raises(ZeroDivisionError):
        getattr(Worker, name)(cast(Any, worker), *([0.0] if name == "_tick" else []))
    assert worker._loop.later == [name]
