"""A real supervisor process with stand-in children, driven from a test.

Waiting is always for a condition, with a limit that only a broken build reaches.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

LIMIT_S = 60.0
RUNNER = str(Path(__file__).with_name("run_supervisor.py"))


def until(probe: Callable[[], T], what: str, limit_s: float = LIMIT_S) -> T:
    """Call `probe` until it gives something true, and return that."""
    deadline = time.monotonic() + limit_s
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < deadline, f"did not happen within {limit_s:g} s: {what}"
        time.sleep(0.01)


class SupervisedNode:
    """One node under a prefix. Use as a context manager; whatever still runs at the end is ended."""

    def __init__(self, prefix: Path, *, workers: int = 2, options: dict[str, list[str]] | None = None, **environ: str):
        self.prefix = prefix
        self._environment = prefix.parent / f"{prefix.name}.environment.json"
        self.environ = {
            "KONG_PREFIX": str(prefix),
            "KONG_ROLE": "traditional",
            "KONG_DATABASE": "off",
            "KONG_NGINX_WORKER_PROCESSES": str(workers),
            "KONG_PROXY_LISTEN": "127.0.0.1:0",
            "KONG_STATUS_LISTEN": "127.0.0.1:0",
            "KONG_ADMIN_LISTEN": "off",
            "KONGDP_COUNTER_SEGMENT_BYTES": "64k",
            "KONGDP_DRAIN_TIMEOUT_S": "20",
            **environ,
        }
        self.write_environment()
        with (prefix.parent / f"{prefix.name}.stderr").open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, RUNNER, str(self._environment), json.dumps(options or {})],
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
            )

    def __enter__(self) -> "SupervisedNode":
        return self

    def __exit__(self, *_exception: object) -> None:
        pids = [child["pid"] for child in self.children()]
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        for pid in pids:
            _kill(pid)

    def write_environment(self, **changes: str) -> None:
        """What the supervisor reads at its start and on SIGHUP."""
        self.environ.update(changes)
        self._environment.write_text(json.dumps(self.environ))

    def wait_ready(self) -> "SupervisedNode":
        """Until the node says that every child accepts."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line == b"ready\n", (line, self.stderr())
        return self

    def wait_end(self) -> tuple[int, list[str]]:
        """(exit code, problems) of the supervisor."""
        assert self.process.stdout is not None
        lines = self.process.stdout.read().splitlines()
        problems: list[str] = json.loads(lines[-1]) if lines else []
        return self.process.wait(LIMIT_S), problems

    def stderr(self) -> str:
        return (self.prefix.parent / f"{self.prefix.name}.stderr").read_text()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def state(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads((self.prefix / "run" / "node.json").read_text())
        except (OSError, ValueError):
            return {}
        return state

    def children(self, role: str | None = None) -> list[dict[str, Any]]:
        return [child for child in self.state().get("children", []) if role in (None, child["role"])]

    def child(self, role: str, index: int = 0) -> dict[str, Any]:
        """The child that serves a slot now."""
        return next(
            child
            for child in self.children(role)
            if child["index"] == index and child["ready"] and not child["leaving"]
        )

    def port(self) -> int:
        """The port of proxy_listen."""
        place = next(entry["place"] for entry in self.state()["listeners"] if entry["setting"] == "proxy_listen")
        return int(place.rpartition(":")[2])

    def connect(self) -> tuple[socket.socket, dict[str, Any]]:
        """A connection to some worker and what the worker said of itself."""
        connection = socket.create_connection(("127.0.0.1", self.port()), LIMIT_S)
        with connection.makefile("rb") as lines:
            return connection, json.loads(lines.readline())

    def ask(self, index: int | None = None) -> dict[str, Any]:
        """What a worker says of itself; of worker `index` when given, by trying until the kernel picks it."""

        def probe() -> dict[str, Any] | None:
            connection, facts = self.connect()
            connection.close()
            return facts if index in (None, facts["index"]) else None

        return until(probe, f"an answer of worker {index}")

    def told(self) -> list[str]:
        """The children's common log: `role index generation pid text`."""
        try:
            return (self.prefix / "children.log").read_text().splitlines()
        except OSError:
            return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
