"""The supervisor for real: processes, signals and sockets, with stand-in children that start quickly."""

import errno
import os
import signal
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kongdp.process import state
from kongdp.process.children import Child
from kongdp.process.state import process_start_time
from kongdp.process.supervisor import Supervisor
from kongdp.settings import load_settings
from tests.support.ports import free_port
from tests.support.supervised import SupervisedNode, until

pytestmark = pytest.mark.system


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return tmp_path / "prefix"


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_worker_killed_is_replaced_on_the_same_socket_and_segment(prefix: Path) -> None:
    """kill -9 of a worker: another one answers on its socket and counts on in its segment; the other worker is
    untouched.
    """
    with SupervisedNode(prefix).wait_ready() as node:
        before, other = node.ask(1), node.ask(0)
        os.kill(before["pid"], signal.SIGKILL)
        after = until(lambda: (facts := node.ask(1))["pid"] != before["pid"] and facts, "a new worker 1")
        assert after["socket"] == before["socket"]
        assert after["segment"] == before["segment"] != other["segment"]
        assert after["count"] > before["count"]
        assert node.ask(0)["pid"] == other["pid"]
        assert after["generation"] == 1


def test_connections_wait_for_the_next_worker_when_the_only_one_dies(prefix: Path) -> None:
    """A connection made while no worker lives is served by the next one, not refused or reset."""
    with SupervisedNode(prefix, workers=1).wait_ready() as node:
        first = node.ask()
        os.kill(first["pid"], signal.SIGKILL)
        assert node.ask()["count"] == first["count"] + 1


def test_the_agent_killed_is_replaced_and_workers_stay(prefix: Path) -> None:
    """kill -9 of the agent: another one starts; workers go on."""
    with SupervisedNode(prefix).wait_ready() as node:
        agent, workers = node.child("agent")["pid"], {child["pid"] for child in node.children("worker")}
        os.kill(agent, signal.SIGKILL)
        until(lambda: any(c["ready"] and c["pid"] != agent for c in node.children("agent")), "a new agent")
        assert {child["pid"] for child in node.children("worker")} == workers


def test_a_silent_worker_is_replaced(prefix: Path) -> None:
    """A worker that hangs without ending is killed after kongdp_worker_silence_s and replaced."""
    with SupervisedNode(prefix, workers=1, KONGDP_WORKER_SILENCE_S="0.5").wait_ready() as node:
        connection, facts = node.connect()
        connection.sendall(b"hang")
        assert until(lambda: (now := node.ask())["pid"] != facts["pid"] and now, "a new worker")["generation"] == 1
        connection.close()
        assert "gave no sign of life" in node.stderr()


@pytest.mark.parametrize("role", ["worker", "agent"])
def test_a_start_up_failure_stops_the_node_with_the_reason(prefix: Path, role: str) -> None:
    """A child that can never start (exit code 78) is not tried again: the node ends with its words."""
    with SupervisedNode(prefix, options={role: ["--fail", "the certificate is upside down"]}) as node:
        code, problems = node.wait_end()
    assert code == 1
    assert "the certificate is upside down" in problems[0]
    assert problems[0].startswith(role)
    assert not (prefix / "pids" / "kongdp.pid").exists()


def test_a_worker_that_keeps_dying_stops_the_start(prefix: Path) -> None:
    """Three deaths before the node was ever ready are enough."""
    with SupervisedNode(prefix, workers=1, options={"worker": ["--exit", "3"]}) as node:
        code, problems = node.wait_end()
    assert code == 1
    assert problems == ["worker 0 ended with exit code 3, 3 times before the node was ready"]


def test_a_worker_that_never_gets_ready_stops_the_start(prefix: Path) -> None:
    """kongdp_start_timeout_s bounds the start."""
    options = {"worker": ["--deaf"]}
    with SupervisedNode(prefix, workers=1, options=options, KONGDP_START_TIMEOUT_S="1") as node:
        code, problems = node.wait_end()
    assert code == 1
    assert problems == ["worker 0 was not ready within kongdp_start_timeout_s"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGINT])
def test_a_signal_drains_workers_first_and_the_agent_last(prefix: Path, number: int) -> None:
    """New connections are refused, the exchange in flight ends, then the workers leave, and the agent after the last
    of them.
    """
    with SupervisedNode(prefix).wait_ready() as node:
        port = node.port()
        connection, _facts = node.connect()
        connection.sendall(b"slow")
        assert connection.recv(100) == b"waiting"
        node.signal(number)
        until(lambda: is_refused(port), "refused connections")
        assert node.process.poll() is None
        assert not any(child["leaving"] for child in node.children("agent"))
        connection.sendall(b"go")
        assert connection.recv(100) == b"done"
        connection.close()
        assert node.wait_end() == (0, [])
        ends = [line.split()[0] for line in node.told() if line.endswith("ended")]
    assert ends == ["worker", "worker", "agent"]


def test_a_second_signal_is_fast(prefix: Path) -> None:
    """An exchange that would not end does not hold up a second SIGTERM."""
    with SupervisedNode(prefix).wait_ready() as node:
        connection, _facts = node.connect()
        connection.sendall(b"slow")
        assert connection.recv(100) == b"waiting"
        node.signal(signal.SIGTERM)
        until(lambda: node.state().get("phase") == "draining", "draining")
        node.signal(signal.SIGTERM)
        assert node.wait_end() == (0, [])
        connection.close()


def test_a_second_signal_leaves_the_agent_for_last(prefix: Path) -> None:
    """It writes down what the workers counted to their end; when they are gone, a signal is its own."""
    told: list[str] = []
    settings = load_settings(None, {"KONG_PREFIX": str(prefix), "KONG_DATABASE": "off"})
    supervisor = Supervisor(settings, read_settings=lambda: settings)
    for role in ("agent", "worker"):
        process = SimpleNamespace(pid=0, send_signal=lambda number, role=role: told.append(role))
        line = SimpleNamespace(close=lambda: None)
        supervisor._crew.children.append(
            Child(role, 0, supervisor._generation, cast(Any, process), None, cast(Any, line), None, 0.0)
        )
    supervisor.phase = "draining"
    supervisor._on_signal(signal.SIGTERM, 1.0)
    assert told == ["worker"]
    supervisor._crew.children.pop()
    supervisor.phase = "stopping"
    supervisor._on_signal(signal.SIGTERM, 2.0)
    supervisor._release()
    assert told == ["worker", "agent"]


def test_the_drain_deadline_ends_what_does_not_end(prefix: Path) -> None:
    """After kongdp_drain_timeout_s and its grace a worker that still holds on is killed."""
    with SupervisedNode(prefix, workers=1, KONGDP_DRAIN_TIMEOUT_S="0").wait_ready() as node:
        connection, _facts = node.connect()
        connection.sendall(b"slow")
        assert connection.recv(100) == b"waiting"
        node.signal(signal.SIGTERM)
        assert node.wait_end() == (0, [])
        connection.close()
        assert "did not end in time" in node.stderr()


def test_children_leave_when_the_supervisor_is_killed(prefix: Path) -> None:
    """kill -9 of the supervisor: the lifelines end, children drain and leave."""
    with SupervisedNode(prefix).wait_ready() as node:
        pids = [child["pid"] for child in node.children()]
        node.process.kill()
        node.process.wait()
        until(lambda: not any(process_start_time(pid) for pid in pids), "children gone")
        assert sum(line.endswith("orphan") for line in node.told()) == 3


def test_sighup_replaces_workers_one_by_one_with_new_settings(prefix: Path) -> None:
    """Same port, new generation, new settings; an exchange of an old worker ends in peace; the agent learns the new
    segment.
    """
    with SupervisedNode(prefix).wait_ready() as node:
        port = node.port()
        connection, old = node.connect()
        connection.sendall(b"slow")
        assert connection.recv(100) == b"waiting"
        node.write_environment(KONGDP_DRAIN_TIMEOUT_S="25")
        node.signal(signal.SIGHUP)
        until(lambda: node.state()["reload"]["count"] == 1, "the reload")
        assert node.state()["reload"]["problems"] == []
        assert node.state()["generation"] == 2
        assert node.port() == port
        facts = [node.ask(0), node.ask(1)]
        assert [each["generation"] for each in facts] == [2, 2]
        assert [each["drain"] for each in facts] == [25, 25]
        assert len({each["segment"] for each in facts} | {old["segment"]}) == 3
        assert process_start_time(old["pid"])
        connection.sendall(b"go")
        assert connection.recv(100) == b"done"
        connection.close()
        until(lambda: not process_start_time(old["pid"]), "the old worker gone")
        assert node.child("agent")["generation"] == 2
        assert any("segments [0, 1, 2] descriptors 1" in line for line in node.told())


def test_sighup_changes_addresses_and_the_number_of_workers(prefix: Path) -> None:
    """More workers get sockets of their own; an address that is no longer wanted is refused at the end."""
    with SupervisedNode(prefix, workers=2).wait_ready() as node:
        old_port = node.port()
        new_port = free_port()
        node.write_environment(KONG_PROXY_LISTEN=f"127.0.0.1:{new_port}", KONG_NGINX_WORKER_PROCESSES="3")
        node.signal(signal.SIGHUP)
        until(lambda: node.state()["reload"]["count"] == 1, "the reload")
        assert node.port() == new_port
        assert {node.ask(index)["index"] for index in (0, 1, 2)} == {0, 1, 2}
        until(lambda: is_refused(old_port), "the old address refused")
        node.write_environment(KONG_NGINX_WORKER_PROCESSES="1")
        node.signal(signal.SIGHUP)
        until(lambda: node.state()["reload"]["count"] == 2, "the second reload")
        until(lambda: len(node.children("worker")) == 1, "one worker")
        assert node.ask()["generation"] == 3


def test_sighup_with_broken_settings_changes_nothing(prefix: Path) -> None:
    """Every problem is reported, and the node serves on as it did."""
    with SupervisedNode(prefix).wait_ready() as node:
        before = node.ask(0)
        node.write_environment(KONG_LOG_LEVEL="loud", KONG_UPSTREAM_KEEPALIVE_POOL_SIZE="many")
        node.signal(signal.SIGHUP)
        until(lambda: node.state()["reload"]["count"] == 1, "the reload")
        problems = node.state()["reload"]["problems"]
        assert [problem.split()[0] for problem in problems] == ["log_level", "upstream_keepalive_pool_size"]
        changes = {"KONG_LOG_LEVEL": "notice", "KONG_UPSTREAM_KEEPALIVE_POOL_SIZE": "512"}
        node.write_environment(**changes, KONG_PROXY_ERROR_LOG="kong.id/error.log")
        node.signal(signal.SIGHUP)
        until(lambda: node.state()["reload"]["count"] == 2, "the second reload")
        (problem,) = node.state()["reload"]["problems"]
        assert problem.startswith("proxy_error_log: cannot open the log")
        assert node.ask(0)["pid"] == before["pid"]


def test_sighup_whose_first_worker_cannot_start_changes_nothing(prefix: Path) -> None:
    """The successor is tried beside the living worker, so its failure costs nothing."""
    options = {"worker": ["--fail", "no", "--fail-generation", "2"]}
    with SupervisedNode(prefix, options=options).wait_ready() as node:
        before = node.ask(0)
        node.signal(signal.SIGHUP)
        until(lambda: node.state()["reload"]["count"] == 1, "the reload")
        assert node.state()["reload"]["problems"] == ["worker 0: no"]
        assert node.state()["generation"] == 1
        assert node.ask(0)["pid"] == before["pid"]


def test_sighup_whose_agent_cannot_start_goes_back_to_the_old_settings(prefix: Path) -> None:
    """The agent is replaced last; when its new one fails, one with the old settings takes the place."""
    options = {"agent": ["--fail", "no", "--fail-generation", "2"]}
    with SupervisedNode(prefix, options=options).wait_ready() as node:
        node.signal(signal.SIGHUP)
        until(lambda: node.state()["reload"]["count"] == 1, "the reload")
        assert node.state()["reload"]["problems"] == ["agent: no"]
        until(lambda: any(child["ready"] for child in node.children("agent")), "an agent")
        assert node.child("agent")["generation"] == 1


def test_sighup_cannot_change_what_the_node_is(prefix: Path) -> None:
    """prefix, role, database and node_id need a restart."""
    with SupervisedNode(prefix).wait_ready() as node:
        node.write_environment(KONG_PREFIX=f"{prefix}-other")
        node.signal(signal.SIGHUP)
        until(lambda: node.state()["reload"]["count"] == 1, "the reload")
        assert node.state()["reload"]["problems"] == ["prefix cannot change while the node runs; restart it"]


def test_sigusr1_reaches_children(prefix: Path) -> None:
    """Logs are reopened everywhere."""
    with SupervisedNode(prefix).wait_ready() as node:
        node.signal(signal.SIGUSR1)
        until(lambda: sum("SIGUSR1" in line for line in node.told()) == 3, "three children told")


def test_an_occupied_port_is_named_with_its_setting(prefix: Path) -> None:
    """One message for each address, with the setting that changes it; nothing is started."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with SupervisedNode(prefix, KONG_PROXY_LISTEN=f"127.0.0.1:{port}") as node:
            code, problems = node.wait_end()
            assert node.told() == []
    assert code == 1
    assert problems == [
        f"proxy_listen: 127.0.0.1:{port} is already in use; stop the program that has it, or change proxy_listen "
        "(KONG_PROXY_LISTEN)"
    ]


def test_two_nodes_never_share_a_port_or_a_prefix(prefix: Path, tmp_path: Path) -> None:
    """SO_REUSEPORT would let the kernel share a port between two nodes of one user; we do not."""
    with SupervisedNode(prefix).wait_ready() as first:
        with SupervisedNode(tmp_path / "other", KONG_PROXY_LISTEN=f"127.0.0.1:{first.port()}") as second:
            code, problems = second.wait_end()
        assert code == 1
        assert "is already in use" in problems[0]
        with SupervisedNode(prefix) as third:
            code, problems = third.wait_end()
        assert code == 1
        assert problems[0].startswith(f"a node is already running in {prefix} (pid {first.process.pid})")
        assert first.ask()["generation"] == 1


def test_a_very_long_prefix_works(tmp_path: Path) -> None:
    """A Unix socket's path has at most 107 bytes; ours goes through the directory's descriptor."""
    prefix = tmp_path / ("x" * 120) / "prefix"
    prefix.parent.mkdir()
    with SupervisedNode(prefix, workers=1).wait_ready() as node:
        assert (prefix / "run" / "agent.sock").is_socket()
        assert node.ask()["index"] == 0


def test_a_stopped_machine_is_not_taken_for_silent_children(prefix: Path) -> None:
    """When the supervisor itself stood still longer than the allowed silence, nobody is killed for it."""
    with SupervisedNode(prefix, workers=1, KONGDP_WORKER_SILENCE_S="1.2").wait_ready() as node:
        before = node.ask()["pid"]
        os.kill(before, signal.SIGSTOP)
        node.signal(signal.SIGSTOP)
        stopped_at = os.times().elapsed
        until(lambda: os.times().elapsed - stopped_at > 2.5, "a pause")
        node.signal(signal.SIGCONT)
        os.kill(before, signal.SIGCONT)
        until(lambda: "stood still" in node.stderr(), "the supervisor noticing")
        assert node.ask()["pid"] == before


def test_the_state_is_published_again_when_the_disk_did_not_take_it(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands wait for what the state file says: it must not stay as it was until the next change."""

    def full_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    settings = load_settings(None, {"KONG_PREFIX": str(prefix), "KONG_DATABASE": "off"})
    supervisor = Supervisor(settings, read_settings=lambda: settings)
    state.prepare(settings.paths)
    with monkeypatch.context() as patch:
        patch.setattr(state, "write_state", full_disk)
        supervisor._publish()
    supervisor._publish()
    published = state.read_state(settings.paths)
    supervisor._release()
    assert published is not None
    assert published["phase"] == "starting"
