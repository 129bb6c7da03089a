"""Kong's Admin API over the database agrees with a recorded conversation of Kong 3.9.1, as it does over memory."""

import tempfile
from functools import cache
from pathlib import Path

import pytest

from kongdp.adminapi.api import AdminApi
from kongdp.adminapi.context import NodeInfo
from kongdp.controlplane import groups
from kongdp.controlplane.changes import Changes
from kongdp.controlplane.store.database import Database
from kongdp.entities.schemas import build_schemas
from kongdp.plugins.configs import PLUGIN_SCHEMAS
from tests.support.conversation import NOT_COMPARED, Exchange, recorded_steps, replay
from tests.support.migrated import migrated_sqlite
from tests.support.postgres import PostgresServer

COMPARED = [step["id"] for step in recorded_steps() if "response" in step and step["id"] not in NOT_COMPARED]


@cache
def played() -> dict[str, Exchange]:
    """The whole conversation over one fresh SQLite database."""
    with tempfile.TemporaryDirectory() as directory:
        return played_over(migrated_sqlite(Path(directory)))


def played_over(url: str) -> dict[str, Exchange]:
    """The whole conversation over a fresh database, by step."""
    database = Database(url)
    store = Changes(database).store(groups.ensure_default(database))
    info = NodeInfo(node_id="00000000-0000-4000-8000-00000000abcd", version="3.9.1", plugins=PLUGIN_SCHEMAS)
    handle = AdminApi(store, build_schemas(plugins=PLUGIN_SCHEMAS), info).handle
    exchanges = {exchange.step["id"]: exchange for exchange in replay(handle)}
    database.close()
    return exchanges


@pytest.mark.parametrize("step", COMPARED)
def test_answer_over_sql_when_asked_as_recorded(step: str) -> None:
    """Each answer has the recorded status, shape and texts."""
    assert played()[step].actual() == played()[step].expected()


def test_every_answer_is_the_same_over_postgresql(postgres: PostgresServer) -> None:
    """As recorded where it is recorded, as over SQLite where it is withheld."""
    over_sqlite = played()
    found = played_over(postgres.create_migrated())
    for step, exchange in found.items():
        if exchange.compared:
            assert exchange.actual() == exchange.expected(), step
        assert exchange.status == over_sqlite[step].status, step


def test_no_answer_over_sql_is_an_accident() -> None:
    """Steps whose answers were withheld get an answer all the same."""
    accidents = [step for step, exchange in played().items() if exchange.status >= 500 and not step.endswith("-array")]
    assert accidents == []
