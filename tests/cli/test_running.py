"""Commands for a running node that belongs to somebody else."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from kongdp.cli.main import main
from kongdp.process import state
from kongdp.settings import Paths


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A prefix where this very process stands for a running node, under settings of nobody else."""
    for name in tuple(os.environ):
        if name.startswith(("KONG_", "KONGDP_")):
            monkeypatch.delenv(name)
    made = Paths(tmp_path)
    state.prepare(made)
    state.write_pid(made)
    state.write_state(made, {"children": [], "reload": {"count": 0}})
    return made


@pytest.mark.parametrize("command", ["reload", "quit", "stop"])
def test_a_node_that_may_not_be_signalled_is_its_users(
    command: str, paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whose it is and what to do, exit code 1, whichever signal a command would send."""

    def kill(_pid: int, number: int) -> None:
        assert number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM)
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "kill", kill)
    assert main([command, "-p", str(paths.prefix)]) == 1
    problem = f"kongdp: cannot signal the node (pid {os.getpid()}): Operation not permitted; it belongs to user "
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(problem)
    assert line.endswith(": run this command as that user or as root")


@pytest.mark.parametrize("command", ["reload", "quit", "stop", "health"])
def test_a_node_whose_files_may_not_be_read_is_its_users(
    command: str, paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not "no node is running": nobody knows that."""
    usual = Path.open

    def refuse(path: Path, *arguments: Any, **more: Any) -> Any:
        if path == paths.pid_file:
            raise PermissionError(13, "Permission denied", str(path))
        return usual(path, *arguments, **more)

    monkeypatch.setattr(Path, "open", refuse)  # root, as whom tests may run, is refused nothing
    assert main([command, "-p", str(paths.prefix)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"kongdp: cannot read {paths.pid_file}: Permission denied; it belongs to user ")
