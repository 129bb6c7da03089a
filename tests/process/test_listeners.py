"""Binding, keeping and closing listening sockets."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kongdp.process.listeners import ListenError, Listeners
from kongdp.settings import Listener
from tests.support.ports import free_port

LOCAL = Listener("127.0.0.1", 0)


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    made = Listeners()
    yield made
    made.keep_only({}, 0)


def fds(listeners: Listeners, wanted: dict[str, tuple[Listener, ...]], setting: str, index: int = 0) -> list[int]:
    return [entry["fd"] for entry in listeners.describe(wanted, setting, index)]


def test_each_worker_has_its_own_socket_on_the_same_port(listeners: Listeners) -> None:
    """SO_REUSEPORT; the agent's addresses have one socket."""
    wanted = {"proxy_listen": (LOCAL,), "status_listen": (LOCAL,)}
    listeners.reserve(wanted, 3)
    entries = [listeners.describe(wanted, "proxy_listen", index)[0] for index in range(3)]
    assert len({entry["fd"] for entry in entries}) == 3
    assert len({entry["port"] for entry in entries}) == 1
    assert entries[0]["port"] != 0
    assert fds(listeners, wanted, "status_listen", 0) == fds(listeners, wanted, "status_listen", 2)


def test_nothing_accepts_before_its_owner_listens(listeners: Listeners) -> None:
    """A bound address refuses until a child calls listen()."""
    wanted = {"proxy_listen": (LOCAL,)}
    listeners.reserve(wanted, 1)
    port = listeners.describe(wanted, "proxy_listen")[0]["port"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


def test_every_address_that_cannot_be_had_is_named_and_nothing_stays_bound(listeners: Listeners) -> None:
    """All or nothing, one sentence each."""
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        wanted = {
            "proxy_listen": (Listener("127.0.0.1", port), Listener("127.0.0.1", taken)),
            "status_listen": (Listener("192.0.2.1", 8007),),
        }
        with pytest.raises(ListenError) as caught:
            listeners.reserve(wanted, 2)
    assert [problem.partition(";")[0] for problem in caught.value.problems] == [
        f"proxy_listen: 127.0.0.1:{taken} is already in use",
        "status_listen: 192.0.2.1:8007 is no address of this machine",
    ]
    assert listeners.places() == []
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_failed_reservation_leaves_what_was_there(listeners: Listeners) -> None:
    """A reload that wants the impossible costs nothing."""
    wanted = {"proxy_listen": (LOCAL,)}
    listeners.reserve(wanted, 1)
    before = fds(listeners, wanted, "proxy_listen")
    with pytest.raises(ListenError):
        listeners.reserve({"proxy_listen": (LOCAL, Listener("192.0.2.1", 1))}, 4)
    assert fds(listeners, wanted, "proxy_listen") == before
    with pytest.raises(IndexError):
        listeners.describe(wanted, "proxy_listen", 1)


def test_a_second_reservation_keeps_sockets_and_takes_new_flags(listeners: Listeners) -> None:
    """The same address keeps its sockets; ssl may have been added."""
    port = free_port()
    plain, secure = Listener("127.0.0.1", port), Listener("127.0.0.1", port, ssl=True)
    listeners.reserve({"proxy_listen": (plain,)}, 1)
    before = fds(listeners, {"proxy_listen": (plain,)}, "proxy_listen")
    listeners.reserve({"proxy_listen": (secure,)}, 2)
    wanted = {"proxy_listen": (secure,)}
    assert fds(listeners, wanted, "proxy_listen", 0) == before
    assert fds(listeners, wanted, "proxy_listen", 1) != before
    assert listeners.describe(wanted, "proxy_listen")[0]["ssl"] is True


def test_what_is_no_longer_wanted_is_closed(listeners: Listeners, tmp_path: Path) -> None:
    """Addresses, surplus workers' sockets, and the path of a Unix socket."""
    path = str(tmp_path / "proxy.sock")
    all_of_it = {"proxy_listen": (LOCAL, Listener(path=path)), "status_listen": (LOCAL,)}
    listeners.reserve(all_of_it, 3)
    kept = {"proxy_listen": (LOCAL,)}
    listeners.keep_only(kept, 1)
    assert [setting for setting, _place in listeners.places()] == ["proxy_listen"]
    assert not Path(path).exists()
    with pytest.raises(IndexError):
        listeners.describe(kept, "proxy_listen", 1)


def test_a_unix_socket_is_shared_and_a_stale_one_replaced(listeners: Listeners, tmp_path: Path) -> None:
    """A live socket of somebody else is not taken; one that nobody answers on is."""
    path = str(tmp_path / "proxy.sock")
    wanted = {"proxy_listen": (Listener(path=path),)}
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        with pytest.raises(ListenError, match="already in use"):
            listeners.reserve(wanted, 2)
    listeners.reserve(wanted, 2)
    assert fds(listeners, wanted, "proxy_listen", 0) == fds(listeners, wanted, "proxy_listen", 1)


def test_a_file_that_is_no_socket_is_left_alone(listeners: Listeners, tmp_path: Path) -> None:
    """A mistake in a path must not delete anything."""
    path = tmp_path / "important"
    path.write_text("data")
    with pytest.raises(ListenError, match="already in use"):
        listeners.reserve({"proxy_listen": (Listener(path=str(path)),)}, 1)
    assert path.read_text() == "data"


def test_keepalive_options_reach_the_socket(listeners: Listeners) -> None:
    """so_keepalive=idle:interval:count, with the system's value where one is left out."""
    wanted = {"proxy_listen": (Listener("127.0.0.1", 0, so_keepalive="2m::7", deferred=True),)}
    listeners.reserve(wanted, 1)
    with socket.socket(fileno=os.dup(fds(listeners, wanted, "proxy_listen")[0])) as bound:
        assert bound.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert bound.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 120
        assert bound.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 7
