"""What concerns a whole test run: the things its processes share end with it."""

import pytest

from tests.support import shared
from tests.support.postgres import PostgresServer


def pytest_configure(config: pytest.Config) -> None:
    """The process that starts the others, or the only one."""
    if not hasattr(config, "workerinput"):
        shared.open_directory()


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes that are no text name no test: compressed and random ones differ between the processes of a run."""
    if isinstance(val, bytes) and not all(0x20 <= byte < 0x7F or byte in b"\r\n\t" for byte in val):
        return argname
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that mostly wait for processes come first: whoever is done steals from the others, and none is left alone with them."""
    items.sort(key=lambda item: item.get_closest_marker("system") is None)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Runs after every test of every process."""
    if not hasattr(config, "workerinput"):
        PostgresServer.stop_shared()
        shared.close_directory()
