"""The control plane as a process: one clear line for each thing that keeps it from starting, and a clean end."""

import base64
import contextlib
import json
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.control_plane_process import LISTENERS, Process

pytestmark = pytest.mark.system


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    """Processes that a test starts; killed at its end."""
    started: list[Process] = []
    yield started
    for process in started:
        process.kill()


def test_it_serves_until_a_signal_and_leaves_nothing_behind(tmp_path: Path, processes: list[Process]) -> None:
    """The pid file is there while it serves; the password is told at the first start only; what was written stays."""
    prefix = tmp_path / "prefix"
    pid_file = prefix / "pids" / "control-plane.pid"
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        process = Process(prefix)
        processes.append(process)
        process.until_ready()
        is_first = number == signal.SIGTERM
        assert int(pid_file.read_text()) == process._process.pid
        assert sum("Password, shown only now: " in line for line in process.lines) == int(is_first)
        if is_first:
            process.post("/services", {"name": "kept", "url": "http://h"})
        assert process.get("/services/kept")["name"] == "kept"  # type: ignore[index]
        process.send(number)
        assert process.end()[0] == 0
        assert not pid_file.exists()


def test_what_was_answered_survives_a_kill(tmp_path: Path, processes: list[Process]) -> None:
    """kill -9 right after an answer: the next start has it, and its authority is the same."""
    process = Process(tmp_path)
    processes.append(process)
    process.until_ready()
    for number in range(20):
        process.post("/services", {"name": f"s{number}", "url": "http://h"})
    process.send(signal.SIGKILL)
    process.end()
    again = Process(tmp_path)
    processes.append(again)
    again.until_ready()
    assert len(again.get("/services")["data"]) == 20  # type: ignore[index]
    assert again.lines[-1].rpartition(" ")[2] == process.lines[-1].rpartition(" ")[2]


def test_nothing_is_half_written_when_it_is_killed_in_mid_write(tmp_path: Path, processes: list[Process]) -> None:
    """kill -9 while one client imports and four write: what was answered is there, the import is whole or not there, and the
    history says what the entities are.
    """
    process = Process(tmp_path)
    processes.append(process)
    process.until_ready()
    process.post("/v2/control-planes", {"name": "big"})
    answered: list[str] = []

    def write(writer: int) -> None:
        with contextlib.suppress(OSError):
            for number in range(10_000):
                process.post("/services", {"name": f"w{writer}-{number}", "host": "h"})
                answered.append(f"w{writer}-{number}")

    with ThreadPoolExecutor(5) as pool:
        writers = [pool.submit(write, writer) for writer in range(4)]
        while len(answered) < 20 and not any(writer.done() for writer in writers):
            time.sleep(0.01)
        importing = pool.submit(import_until_written, process, 4000)
        importing.result(timeout=60)
        process.send(signal.SIGKILL)
        process.end()
    again = Process(tmp_path)
    processes.append(again)
    again.until_ready()
    names = {row["name"] for row in again.get("/services?size=1000")["data"]}  # type: ignore[index]
    assert set(answered) <= names
    assert len(names) <= len(answered) + 4
    history = again.get("/v2/control-planes/default/revisions?page.size=1000")
    assert [item["count"] for item in history["items"]] == [1] * len(names)  # type: ignore[index]
    imported = again.get("/v2/control-planes/big/core-entities/services?page.size=1")["page"]["total_count"]  # type: ignore[index]
    revisions = again.get("/v2/control-planes/big/revisions")["page"]["total_count"]  # type: ignore[index]
    assert (imported, revisions) in ((0, 0), (4000, 1))


def import_until_written(process: Process, count: int) -> None:
    """Begin a large import and come back as soon as its first rows were written."""
    services = [{"name": f"i{number}", "host": "h"} for number in range(count)]
    body = json.dumps({"_format_version": "3.0", "services": services}).encode()
    headers = {"Content-Type": "application/json", "Accept": "application/x-ndjson"}
    url = f"{process.admin}/v2/control-planes/big/config"
    request = urllib.request.Request(url, body, headers, method="PUT")
    response = urllib.request.urlopen(request, timeout=30)
    for line in response:
        if json.loads(line).get("stage") == "write" or b"result" in line:
            return


def test_every_occupied_port_is_said_at_once_with_its_setting(tmp_path: Path, processes: list[Process]) -> None:
    """One line for each, exit code 1: an operator need not try again for the next."""
    taken = [socket.create_server(("127.0.0.1", 0)) for _setting in LISTENERS]
    places = {setting: f"127.0.0.1:{sock.getsockname()[1]}" for setting, sock in zip(LISTENERS, taken, strict=True)}
    process = Process(tmp_path, **places)
    processes.append(process)
    code, err = process.end()
    for sock in taken:
        sock.close()
    assert code == 1
    assert len(err.splitlines()) == len(LISTENERS)
    for setting, place in places.items():
        name = setting.removeprefix("KONG_").lower()
        assert f"{name}: cannot listen on {place}: Address already in use" in err


def test_two_control_planes_cannot_share_a_prefix(tmp_path: Path, processes: list[Process]) -> None:
    """The second says so and ends; the first goes on."""
    first = Process(tmp_path)
    processes.append(first)
    first.until_ready()
    second = Process(tmp_path)
    processes.append(second)
    code, err = second.end()
    assert code == 1
    assert "another control plane is running" in err
    assert first.get("/services") == {"data": [], "next": None}


def test_damaged_state_is_named(tmp_path: Path, processes: list[Process]) -> None:
    """The file, and no traceback."""
    (tmp_path / "authority").mkdir()
    (tmp_path / "authority" / "ca.crt").write_text("nonsense")
    (tmp_path / "authority" / "ca.key").write_text("nonsense")
    process = Process(tmp_path)
    processes.append(process)
    code, err = process.end()
    assert code == 1
    assert "ca.crt is damaged" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://h/d", "only SQLite and PostgreSQL"),
        ("postgresql://nobody:secret@127.0.0.1:1/none", "cannot open the database"),
    ],
)
def test_a_database_that_cannot_be_used_is_said(
    tmp_path: Path, processes: list[Process], url: str, message: str
) -> None:
    """Without its password."""
    process = Process(tmp_path, KONGDP_DATABASE_URL=url)
    processes.append(process)
    code, err = process.end()
    assert code == 1
    assert message in err
    assert "secret" not in err


def test_a_prefix_that_cannot_be_written_is_said(tmp_path: Path, processes: list[Process]) -> None:
    """A file in the way."""
    (tmp_path / "file").write_text("")
    process = Process(tmp_path / "file" / "prefix")
    processes.append(process)
    code, err = process.end()
    assert (code, "prefix" in err) == (1, True)


def test_the_console_beyond_this_machine_needs_tls(tmp_path: Path, processes: list[Process]) -> None:
    """Passwords and sessions are not sent in the clear: the address is named, with what to write instead."""
    process = Process(tmp_path, KONG_ADMIN_GUI_LISTEN="0.0.0.0:0, 127.0.0.1:0")
    processes.append(process)
    code, err = process.end()
    assert code == 1
    assert "admin_gui_listen: 0.0.0.0:0 is open to the network and needs ssl: 0.0.0.0:0 ssl" in err


def test_an_address_beyond_this_machine_asks_for_credentials(tmp_path: Path, processes: list[Process]) -> None:
    """The first administrator's password opens it; loopback beside it stays as Kong's."""
    process = Process(tmp_path / "prefix", KONG_ADMIN_LISTEN="127.0.0.1:0, 0.0.0.0:0")
    processes.append(process)
    process.until_ready()
    places = re.findall(r"(?:127\.0\.0\.1|0\.0\.0\.0):\d+", process.lines[-1])[:2]
    password = next(line.rpartition(" ")[2] for line in process.lines if "Password" in line)
    basic = base64.b64encode(f"admin:{password}".encode()).decode()

    def status(place: str, **fields: str) -> int:
        request = urllib.request.Request(f"http://{place.replace('0.0.0.0', '127.0.0.1')}/services", headers=fields)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    assert [status(place) for place in places] == [200, 401]
    assert status(places[1], Authorization=f"Basic {basic}") == 200
    assert status(places[1], Authorization="Basic nonsense") == 401
