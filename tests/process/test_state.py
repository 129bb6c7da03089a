"""The files of a node: lock, pid file, id, state."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kongdp.process import segments as segments_module
from kongdp.process import state
from kongdp.process.segments import SegmentError, Segments
from kongdp.process.spec import read_spec, write_spec
from kongdp.process.state import RunningNode, StateError
from kongdp.settings import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path / "prefix")
    state.prepare(made)
    return made


def test_private_directories_are_private(paths: Paths) -> None:
    """Keys, the agent's socket and counters are nobody else's business."""
    for directory in (paths.run, paths.certificates, paths.counters, paths.ssl):
        assert directory.stat().st_mode & 0o777 == 0o700
    state.prepare(paths)


def test_a_prefix_that_cannot_be_written_names_the_way_out(tmp_path: Path) -> None:
    """One message with the option and the variable."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"prefix: cannot write .*; choose another prefix with -p or KONG_PREFIX"):
        state.prepare(Paths(tmp_path / "file" / "prefix"))


def test_this_process_is_found_by_its_pid_file(paths: Paths) -> None:
    """Written, found, removed."""
    state.write_pid(paths)
    found = state.find_running(paths)
    assert found is not None
    assert found.pid == os.getpid()
    assert found.is_alive
    state.remove_pid(paths)
    assert state.find_running(paths) is None


def test_a_pid_that_another_program_has_now_is_stale(paths: Paths) -> None:
    """The pid lives, but it was started at another time."""
    mine = state.process_start_time(os.getpid())
    assert mine is not None
    paths.pid_file.write_text(f"{os.getpid()}\n{mine - 1}\n")
    assert state.find_running(paths) is None


@pytest.mark.parametrize("text", ["", "what", "1", "1 2 3", "999999999\n1\n"])
def test_a_pid_file_that_says_nothing_is_stale(paths: Paths, text: str) -> None:
    """Broken, short, or of a process that is gone."""
    paths.pid_file.write_text(text)
    assert state.find_running(paths) is None


def test_what_a_killed_supervisor_was_writing_goes_when_the_next_one_has_the_lock(paths: Paths) -> None:
    """Its own files only: the agent's are the agent's to remove."""
    half = [path.with_name(f".{path.name}.4194305") for path in (paths.pid_file, paths.state_file, paths.node_id)]
    for path in half:
        path.write_bytes(b"half")
    os.close(state.lock(paths))
    assert not any(path.exists() for path in half)


def test_a_zombie_is_not_alive() -> None:
    """A process that ended but was not collected does not run."""
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    started = state.process_start_time(child.pid)
    assert child.stdout is not None
    child.stdout.read()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert started is not None
    assert not RunningNode(child.pid, started).is_alive
    child.wait()
    # what the state file says of a child that was gone before anybody could look
    assert not RunningNode(child.pid, None).is_alive
    child.stdout.close()


def test_the_prefix_is_locked_for_one(paths: Paths) -> None:
    """The second one is told who has it; after the first one it is free again."""
    fd = state.lock(paths)
    state.write_pid(paths)
    with pytest.raises(StateError, match=rf"already running in .* \(pid {os.getpid()}\)"):
        state.lock(paths)
    os.close(fd)
    os.close(state.lock(paths))


def test_the_node_keeps_its_id(paths: Paths) -> None:
    """Made once; a configured one wins and is kept; a broken file is replaced."""
    first = state.node_identity(paths, None)
    assert state.node_identity(paths, None) == first
    other = "7d0fbb0e-6b7a-4b6c-8a3c-0c9a5f2d1e11"
    assert state.node_identity(paths, other) == other
    assert state.node_identity(paths, None) == other
    paths.node_id.write_text("nonsense")
    assert state.node_identity(paths, None) not in (other, "nonsense")


def test_the_state_file_is_replaced_whole(paths: Paths) -> None:
    """A reader sees the old or the new one, and nothing is left beside it."""
    assert state.read_state(paths) is None
    state.write_state(paths, {"phase": "running"})
    assert state.read_state(paths) == {"phase": "running"}
    assert paths.state_file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in paths.run.iterdir()] == ["node.json"]


def test_segments_are_given_again_but_never_twice() -> None:
    """A free one is reused, the preferred one first; what a worker holds is not given to another."""
    segments = Segments(65536)
    (first, first_is_new), (second, _new) = segments.take(1), segments.take(1)
    assert (first_is_new, first.index, second.index) == (True, 0, 1)
    assert os.fstat(first.fd).st_size == 65536
    assert os.fstat(first.fd).st_blocks * 512 >= 65536
    segments.release(first)
    segments.release(second)
    again, is_new = segments.take(2, preferred=1)
    assert (again.index, is_new) == (1, False)
    assert segments.take(2, preferred=1)[0].index == 0
    with pytest.raises(OSError, match="not permitted"):
        os.ftruncate(first.fd, 0)
    segments.close()


def test_memory_that_is_not_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting is named, and nothing is taken from other programs to find out."""
    monkeypatch.setattr(segments_module, "available_bytes", lambda: 65535)
    with pytest.raises(SegmentError, match=r"kongdp_counter_segment_bytes: 65536 bytes .* 65535 are available"):
        Segments(65536).take(1)
    monkeypatch.undo()
    assert (segments_module.available_bytes() or 0) > 65536


def test_a_spec_reaches_the_child_and_its_descriptors_stop_there() -> None:
    """Read once; descriptors named in it are close-on-exec from then on, whatever the settings hold."""
    read_end, write_end = os.pipe()
    os.set_inheritable(read_end, True)
    spec = {"role": "agent", "settings": {"some_fd": 999999}, "channel_fd": read_end, "segments": [{"fd": write_end}]}
    assert read_spec(write_spec(spec)) == spec
    assert not os.get_inheritable(read_end)
    os.close(read_end)
    os.close(write_end)
