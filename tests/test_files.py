"""Files that are replaced whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kongdp.files import remove_abandoned, replace_file

ENDED = 4_194_305  # above the largest pid that Linux gives


def test_nothing_but_the_file_is_left_when_it_is_replaced(tmp_path: Path) -> None:
    """Private from the first byte, also where a process of the same pid once left something readable."""
    path = tmp_path / "kept"
    beside = tmp_path / f".kept.{os.getpid()}"
    beside.write_bytes(b"half")
    beside.chmod(0o644)
    replace_file(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_old_file_stays_when_the_new_one_cannot_be_put_in_its_place(tmp_path: Path) -> None:
    """Whatever goes wrong, nothing is left beside."""
    path = tmp_path / "kept"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(path, b"whole")
    assert list(tmp_path.iterdir()) == [path]


def test_a_writers_file_is_removed_only_when_it_has_ended(tmp_path: Path) -> None:
    """Ended, alive, and everything that only looks like it."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as alive:
        kept = [
            f".a.json.{alive.pid}",
            f".b.txt.{ENDED}",
            ".a.json.0",
            ".a.json.new",
            ".a.json.-1",
            f"a.json.{ENDED}",
            "a.json",
        ]
        for name in [*kept, f".a.json.{ENDED}", f".c.json.{os.getpid()}"]:
            (tmp_path / name).write_text("")
        (tmp_path / f".link.json.{ENDED}").symlink_to("a.json")
        remove_abandoned(tmp_path / "*.json", tmp_path / "no" / "where")
        assert {path.name for path in tmp_path.iterdir()} == {*kept, f".link.json.{ENDED}"}
        alive.communicate(b"\n")
