"""The agent's APIs as far as they can be told without an agent: names on /metrics follow the newest configuration."""

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kongdp.process import agent_apis
from kongdp.process.agent_apis import Apis
from kongdp.process.agent_counters import Counters


def test_names_are_the_newest_when_configurations_follow_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names of the first one take longer to work out than the second one takes to come."""
    first, second = {"routes": {}}, {"routes": {}}
    is_at_it, goes_on = threading.Event(), threading.Event()

    async def count() -> None:
        pass

    def slowly(table: object, _previous: object, **_switches: object) -> object:
        if table is first:
            is_at_it.set()
            assert goes_on.wait(30)
        return table

    monkeypatch.setattr(agent_apis, "label_sets", slowly)

    async def story() -> None:
        agent = SimpleNamespace(
            settings=SimpleNamespace(kongdp_metrics_series_max=100, kongdp_metrics_status_codes=True),
            counters=Counters(tmp_path, "node", "boot"),
            pipeline=SimpleNamespace(table=first),
            count=count,
        )
        apis = Apis(cast(Any, agent))
        earlier = asyncio.create_task(apis.refresh())
        await asyncio.to_thread(is_at_it.wait, 30)
        agent.pipeline.table = second
        await apis.refresh()
        goes_on.set()
        await earlier
        assert apis._labels is cast(Any, second)

    asyncio.run(story())
