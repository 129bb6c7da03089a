"""The level of a process's log, changed for a while."""

import logging
import threading
from collections.abc import Iterator

import pytest

from kongdp.controlplane.log_level import ProcessLogLevel


@pytest.fixture
def handler() -> Iterator[logging.Handler]:
    """One of the root logger that has a level, as in the foreground; all is as before afterwards."""
    root, handler = logging.getLogger(), logging.NullHandler()
    before = root.level
    handler.setLevel(logging.WARNING)
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)
    root.setLevel(before)


def test_a_level_ends_with_its_time(handler: logging.Handler) -> None:
    """Then the setting counts again."""
    level = ProcessLogLevel("warn")
    level.change("debug", 0)
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(30)
    assert (level.now, logging.getLogger().level, handler.level) == ("warn", logging.WARNING, logging.WARNING)


def test_a_level_is_not_ended_by_the_time_of_an_earlier_one(handler: logging.Handler) -> None:
    """The last change counts."""
    level = ProcessLogLevel("warn")
    level.change("debug", 3600)
    level.change("error", 3600)
    assert (level.now, logging.getLogger().level, handler.level) == ("error", logging.ERROR, logging.ERROR)
    level.change("warn", 0)
