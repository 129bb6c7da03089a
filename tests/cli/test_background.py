"""start, stop, quit, restart, reload, health and run, as a shell runs them, with stand-in children."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kongdp.process.state import process_start_time
from tests.support.supervised import until

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[2]


class Shell:
    """Types kongdp commands for one prefix."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("KONG")}
        self.environ |= {
            "PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "support" / "standin_site"), str(ROOT)]),
            "KONG_DATABASE": "off",
            "KONG_NGINX_WORKER_PROCESSES": "1",
            "KONG_PROXY_LISTEN": "127.0.0.1:0",
            "KONG_STATUS_LISTEN": "127.0.0.1:0",
            "KONG_ADMIN_LISTEN": "off",
            "KONGDP_COUNTER_SEGMENT_BYTES": "64k",
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "kongdp", arguments[0], "-p", str(self.prefix), *arguments[1:]]

    def type(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*arguments), env=self.environ, capture_output=True, text=True, timeout=60)

    def node(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.prefix / "run" / "node.json").read_text())
        return found

    def pids(self) -> list[int]:
        node = self.node()
        children = node["children"]
        assert isinstance(children, list)
        return [int(str(node["pid"])), *(child["pid"] for child in children)]

    def connect(self) -> socket.socket:
        listeners = self.node()["listeners"]
        assert isinstance(listeners, list)
        place = next(entry["place"] for entry in listeners if entry["setting"] == "proxy_listen")
        return socket.create_connection(("127.0.0.1", int(place.rpartition(":")[2])), 10)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path / "prefix")
    yield made
    made.type("stop")
    try:
        pids = made.pids()
    except OSError:
        return
    for pid in pids:
        if process_start_time(pid):
            os.kill(pid, signal.SIGKILL)


def test_start_returns_when_listeners_accept_and_stop_when_all_are_gone(shell: Shell) -> None:
    """The life of a node in the background."""
    started = shell.type("start")
    assert started.returncode == 0, started.stderr
    assert started.stdout.startswith(f"started (pid {shell.node()['pid']}), listening on 127.0.0.1:")
    shell.connect().close()
    pids = shell.pids()
    assert len(pids) == 3
    again = shell.type("start")
    assert (again.returncode, again.stderr) == (
        1,
        f"kongdp: a node is already running in {shell.prefix} (pid {pids[0]})\n",
    )
    healthy = shell.type("health")
    assert healthy.returncode == 0
    assert "worker 0: serving" in healthy.stdout
    stopped = shell.type("stop")
    assert (stopped.returncode, stopped.stdout) == (0, "stopped\n")
    assert not any(process_start_time(pid) for pid in pids)
    assert shell.type("health").returncode == 1
    assert "drain" in (shell.prefix / "logs" / "error.log").read_text()


def test_start_gives_the_reason_when_the_node_cannot_start(shell: Shell) -> None:
    """A child's words, an occupied port: one line each, and nothing stays behind."""
    shell.environ["STANDIN_OPTIONS"] = json.dumps({"worker": ["--fail", "the moon is full"]})
    failed = shell.type("start")
    assert (failed.returncode, failed.stderr) == (1, "kongdp: worker 0: the moon is full\n")
    del shell.environ["STANDIN_OPTIONS"]
    with socket.create_server(("127.0.0.1", 0)) as other:
        shell.environ["KONG_STATUS_LISTEN"] = place = f"127.0.0.1:{other.getsockname()[1]}"
        failed = shell.type("start")
    assert failed.returncode == 1
    (line,) = failed.stderr.splitlines()
    assert line == (
        f"kongdp: status_listen: {place} is already in use; stop the program that has it, or change status_listen "
        "(KONG_STATUS_LISTEN)"
    )
    assert not (shell.prefix / "pids" / "kongdp.pid").exists()


def test_start_shows_warnings_and_a_stale_pid_file_does_not_matter(shell: Shell) -> None:
    """The pid is somebody else's now."""
    shell.environ["KONG_LOG_LEVL"] = "warn"
    (shell.prefix / "pids").mkdir(parents=True)
    (shell.prefix / "pids" / "kongdp.pid").write_text(f"{os.getpid()}\n1\n")
    assert shell.type("stop").returncode == 1
    started = shell.type("start")
    assert started.returncode == 0
    assert started.stderr == (
        "kongdp: warning: unknown setting KONG_LOG_LEVL is ignored; did you mean KONG_LOG_LEVEL?\n"
    )


def test_stop_ends_children_whose_supervisor_was_killed(shell: Shell) -> None:
    """They drain because their lifeline ended; stop waits for them too."""
    assert shell.type("start").returncode == 0
    supervisor, *children = shell.pids()
    with shell.connect() as connection:
        connection.recv(1000)
        connection.sendall(b"slow")
        connection.recv(1000)
        os.kill(supervisor, signal.SIGKILL)
        until(lambda: not process_start_time(supervisor), "the supervisor gone")
        assert shell.type("stop").returncode == 0
    assert not any(process_start_time(pid) for pid in children)


def test_quit_waits_and_says_when_it_takes_too_long(shell: Shell) -> None:
    """Nothing is forced: the exchange in flight ends in its own time."""
    assert shell.type("start").returncode == 0
    with shell.connect() as connection:
        connection.recv(1000)
        connection.sendall(b"slow")
        connection.recv(1000)
        late = shell.type("quit", "-t", "0.2")
        assert late.returncode == 1
        assert "is still draining after 0.2 s" in late.stderr
        connection.sendall(b"go")
        assert connection.recv(1000) == b"done"
    until(
        lambda: shell.type("health").returncode == 1 and not (shell.prefix / "pids" / "kongdp.pid").exists(), "the end"
    )


def test_reload_waits_for_the_outcome(shell: Shell, tmp_path: Path) -> None:
    """New settings serve when it returns; wrong ones are listed and change nothing; another file needs a restart."""
    file = tmp_path / "kong.conf"
    file.write_text("log_level = notice\n")
    assert shell.type("start", "-c", str(file)).returncode == 0
    supervisor, *children = shell.pids()
    file.write_text("log_level = info\n")
    reloaded = shell.type("reload")
    assert (reloaded.returncode, reloaded.stdout) == (0, "reloaded\n")
    assert shell.node()["generation"] == 2
    assert shell.pids()[0] == supervisor
    file.write_text("log_level = loud\ndns_cache_size = many\n")
    refused = shell.type("reload")
    assert refused.returncode == 1
    assert [line.split()[1] for line in refused.stderr.splitlines()] == ["the", "log_level", "dns_cache_size"]
    assert shell.node()["generation"] == 2
    (tmp_path / "other.conf").write_text("")
    other = shell.type("reload", "-c", str(tmp_path / "other.conf"))
    assert other.returncode == 1
    assert f"the running node reads {file}" in other.stderr
    until(lambda: not any(process_start_time(pid) for pid in children), "the first children gone")


def test_restart_checks_before_it_stops(shell: Shell) -> None:
    """Wrong settings leave the running node alone; good ones give a new one."""
    assert shell.type("restart").returncode == 0
    before = shell.pids()[0]
    shell.environ["KONG_LOG_LEVEL"] = "loud"
    assert shell.type("restart").returncode == 1
    assert shell.pids()[0] == before
    del shell.environ["KONG_LOG_LEVEL"]
    assert shell.type("restart").returncode == 0
    assert shell.pids()[0] != before


def test_run_stays_in_the_foreground_and_ctrl_c_drains_it(shell: Shell) -> None:
    """Also as a background job of a shell, which starts with SIGINT ignored; the log is seen on the terminal."""
    ignored = subprocess.Popen(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *shell.command("run")],
        env=shell.environ,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert ignored.stderr is not None
    seen = []
    while "ready on" not in "".join(seen):
        line = ignored.stderr.readline()
        assert line, seen
        seen.append(line)
    ignored.send_signal(signal.SIGINT)
    rest = ignored.stderr.read()
    ignored.stderr.close()
    assert ignored.wait(60) == 0
    assert "SIGINT received" in rest
    assert "Traceback" not in rest


def test_run_names_problems_and_ends_with_1(shell: Shell) -> None:
    """Without a node ever starting."""
    shell.environ["KONG_PREFIX"] = "/proc/nowhere"
    failed = subprocess.run(
        [sys.executable, "-m", "kongdp", "run"], env=shell.environ, capture_output=True, text=True, timeout=60
    )
    assert failed.returncode == 1
    (line,) = failed.stderr.splitlines()
    assert line.startswith("kongdp: prefix: cannot write /proc/nowhere: ")
