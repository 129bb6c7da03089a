"""Names to addresses, without a network: who waits for a look-up."""

import pytest

from kongdp.upstream.resolver import Resolution


def test_everyone_is_told_when_one_who_waits_fails(caplog: pytest.LogCaptureFixture) -> None:
    """Requests that wait for the same name know nothing of each other: the fault of one costs one."""
    told: list[str] = []
    known = Resolution("api.test")
    known.wait(lambda: told.append("first"))
    known.wait(lambda: told[9].upper())
    known.wait(lambda: told.append("last"))
    known.settle()
    assert told == ["first", "last"]
    assert "waited for the address of api.test failed" in caplog.text
    known.settle()
    assert told == ["first", "last"]
