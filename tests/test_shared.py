"""What the processes of a test run share is made once, also when that fails."""

from pathlib import Path

import pytest

from tests.support import shared


@pytest.fixture(autouse=True)
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "directory", lambda: tmp_path)


def test_the_first_one_makes_it() -> None:
    """Everybody has the first answer."""
    assert [shared.once("thing", lambda made=made: made) for made in (1, 2)] == [1, 1]  # type: ignore[misc]


def test_a_failure_is_everybodys() -> None:
    """The one that came first sees its error; the others are told, and do not try what has left half a thing behind."""
    with pytest.raises(ZeroDivisionError):
        shared.once("thing", lambda: 1 / 0)
    with pytest.raises(AssertionError, match=r"thing could not be made .* ZeroDivisionError"):
        shared.once("thing", lambda: 1)
