"""What concerns a whole test run: the things its processes share end with it."""

import gc
import re

import pytest

from tests.support import shared
from tests.support.order import in_shares
from tests.support.postgres import PostgresServer

TEXT = re.compile(rb"[ -~\r\n]*")


def pytest_configure(config: pytest.Config) -> None:
    """The process that starts the others, or the only one."""
    if not hasattr(config, "workerinput"):
        shared.open_directory()


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes that are no text name no test: compressed and random ones differ between the processes of a run."""
    if isinstance(val, bytes) and not TEXT.fullmatch(val):
        return argname
    return None


@pytest.hookimpl(trylast=True)  # of the tests that are left
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every process of a run begins with its share of the tests that mostly wait."""
    items[:] = in_shares(
        items,
        getattr(config, "workerinput", {}).get("workercount", 1),
        waits=lambda item: item.get_closest_marker("system") is not None,
        is_bound=lambda item: "browser" in item.fixturenames,  # type: ignore[attr-defined]
    )


def pytest_collection_finish() -> None:
    """What is loaded stays: no search for garbage goes through its million objects again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Runs after every test of every process."""
    if not hasattr(config, "workerinput"):
        PostgresServer.stop_shared()
        shared.close_directory()
