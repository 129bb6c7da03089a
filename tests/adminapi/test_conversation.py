"""The Admin API agrees with a recorded conversation of Kong 3.9.1."""

import pytest

from kongdp.adminapi.api import AdminApi
from kongdp.adminapi.context import NodeInfo
from kongdp.adminapi.memory import MemoryStore
from kongdp.entities.schemas import build_schemas
from kongdp.plugins.configs import PLUGIN_SCHEMAS
from tests.support.conversation import Exchange, replay


def _played() -> list[Exchange]:
    schemas = build_schemas(plugins=PLUGIN_SCHEMAS)
    info = NodeInfo(node_id="00000000-0000-4000-8000-00000000abcd", version="3.9.1", plugins=PLUGIN_SCHEMAS)
    return list(replay(AdminApi(MemoryStore(writable=True), schemas, info).handle))


_PLAYED = _played()


@pytest.mark.parametrize("exchange", [entry for entry in _PLAYED if entry.compared], ids=lambda entry: entry.step["id"])
def test_answer_when_asked_as_recorded(exchange: Exchange) -> None:
    """Each answer has the recorded status, shape and texts."""
    assert exchange.actual() == exchange.expected()


def test_no_answer_is_an_accident_when_not_recorded() -> None:
    """Steps whose answers were withheld get an answer all the same, and none of them is our failure."""
    assert [
        entry.step["id"] for entry in _PLAYED if entry.status >= 500 and not entry.step["id"].endswith("-array")
    ] == []
