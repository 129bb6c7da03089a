"""Real processes for system tests: control plane and data planes through the command line, on free ports of loopback.

Waiting is always for a condition, up to WAIT_S; how long it took is printed, never judged.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.support.migrated import plant_sqlite
from tests.support.ports import free_port

WAIT_S = 60.0
KONGDP = [sys.executable, "-m", "kongdp"]

T = TypeVar("T")


def wait_for(what: str, condition: Callable[[], T | None], timeout_s: float = WAIT_S) -> T:
    """The first truthy value of `condition`; fails with `what` when it does not come."""
    began = time.monotonic()
    last: object = None
    while time.monotonic() - began < timeout_s:
        try:
            value = condition()
            if value:
                print(f"{what}: {time.monotonic() - began:.2f} s")
                return value
            last = value
        except (OSError, ValueError, KeyError, IndexError) as problem:
            last = problem
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout_s:g} s: {what} (last: {last!r})")


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    headers: Any
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def http(method: str, url: str, body: object = None, *, headers: dict[str, str] | None = None) -> Answer:
    """One request; any status is an answer."""
    data = None if body is None else json.dumps(body).encode()
    fields = {"Content-Type": "application/json", **(headers or {})} if data is not None else (headers or {})
    request = urllib.request.Request(url, data, fields, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return Answer(response.status, response.headers, response.read())
    except urllib.error.HTTPError as problem:
        with problem:
            return Answer(problem.code, problem.headers, problem.read())


def environment(values: dict[str, str]) -> dict[str, str]:
    """This process's environment without any setting of ours, plus `values`."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("KONG_", "KONGDP_"))}
    return {**plain, **values}


def kongdp(
    *arguments: str, env: dict[str, str] | None = None, timeout_s: float = 90
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*KONGDP, *arguments],
        env=environment(env or {}),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@dataclass
class ControlPlane:
    """A control plane in the foreground of a child process."""

    prefix: Path
    admin_port: int = field(default_factory=free_port)
    cluster_port: int = field(default_factory=free_port)
    telemetry_port: int = field(default_factory=free_port)
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    password: str = ""

    @property
    def admin(self) -> str:
        """Base URL of the Admin API."""
        return f"http://127.0.0.1:{self.admin_port}"

    def start(self) -> None:
        """Start, at first on a database with an administrator, and wait until the Admin API answers."""
        self.prefix.mkdir(exist_ok=True, parents=True)
        self.password = plant_sqlite(self.prefix)
        log = self.prefix / "stdout.log"
        env = environment(
            {
                "KONG_PREFIX": str(self.prefix),
                "KONG_ADMIN_LISTEN": f"127.0.0.1:{self.admin_port}",
                "KONG_ADMIN_GUI_LISTEN": "off",
                "KONGDP_PORTAL_LISTEN": "off",
                "KONG_CLUSTER_LISTEN": f"127.0.0.1:{self.cluster_port}",
                "KONGDP_CLUSTER_TELEMETRY_LISTEN": f"127.0.0.1:{self.telemetry_port}",
                **self.settings,
            }
        )
        with log.open("a") as out:
            self.process = subprocess.Popen(
                [*KONGDP, "control-plane", "run"], env=env, stdout=out, stderr=subprocess.STDOUT, text=True
            )
        wait_for("control plane answers", lambda: http("GET", f"{self.admin}/status").status == 200)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Signal it and wait for its end."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(WAIT_S)
            self.process = None

    def node(self) -> dict[str, Any]:
        """The only node of the default group."""
        items = http("GET", f"{self.admin}/v2/control-planes/default/nodes").json()["items"]
        assert len(items) <= 1, items
        found: dict[str, Any] = items[0]
        return found

    def make_version(self, upstream_url: str) -> str:
        """The seed's objects: example_service, v.1, route mockbin GET /mock; the version's id."""
        http("POST", f"{self.admin}/v2/catalogue/services", {"name": "example_service"})
        made = http("POST", f"{self.admin}/v2/catalogue/services/example_service/versions", {"name": "v.1"}).json()
        implementation = {
            "service": {"name": "example_gateway_service", "url": upstream_url},
            "route": {"name": "mockbin", "methods": ["GET"], "paths": ["/mock"]},
        }
        answer = http("POST", f"{self.admin}/v2/catalogue/versions/{made['id']}/implementation", implementation)
        assert answer.status == 201, answer.body
        return str(made["id"])

    def codes(self, version: str) -> dict[str, int]:
        """The version's record: status code -> requests."""
        record = http("GET", f"{self.admin}/v2/catalogue/versions/{version}/status-codes?frame=1h").json()
        return {str(code): int(count) for code, count in record["codes"].items()}


@dataclass
class DataPlane:
    """A data plane in the background, through `kongdp start` and `kongdp stop`."""

    prefix: Path
    settings: dict[str, str]
    workers: int = 1
    proxy_port: int = field(default_factory=free_port)
    status_port: int = field(default_factory=free_port)

    @property
    def proxy(self) -> str:
        """Base URL of the proxy."""
        return f"http://127.0.0.1:{self.proxy_port}"

    @property
    def status(self) -> str:
        """Base URL of the Status API."""
        return f"http://127.0.0.1:{self.status_port}"

    @property
    def env(self) -> dict[str, str]:
        """Its settings."""
        return {
            "KONG_PREFIX": str(self.prefix),
            "KONG_DATABASE": "off",
            "KONG_PROXY_LISTEN": f"127.0.0.1:{self.proxy_port} reuseport backlog=16384",
            "KONG_STATUS_LISTEN": f"127.0.0.1:{self.status_port}",
            "KONG_ADMIN_LISTEN": "off",
            "KONG_NGINX_WORKER_PROCESSES": str(self.workers),
            **self.settings,
        }

    def start(self) -> None:
        """`kongdp start`, which returns when everything accepts."""
        done = kongdp("start", env=self.env)
        assert done.returncode == 0, done.stderr + self.log()

    def stop(self) -> None:
        """`kongdp stop`, which returns when all processes are gone."""
        done = kongdp("stop", env=self.env)
        assert done.returncode == 0, done.stderr

    def log(self) -> str:
        """The error log."""
        path = self.prefix / "logs" / "error.log"
        return path.read_text() if path.exists() else ""

    def pid(self) -> int:
        """The supervisor's."""
        return int((self.prefix / "pids" / "kongdp.pid").read_text().split()[0])

    def children(self, role: str) -> list[int]:
        """Pids of the node's processes of a role ("worker" or "agent")."""
        found = []
        for directory in Path("/proc").iterdir():
            if directory.name.isdigit():
                try:
                    status = (directory / "stat").read_text()
                    command = (directory / "cmdline").read_text()
                except OSError:
                    continue
                if int(status.rpartition(")")[2].split()[1]) == self.pid() and f"kongdp.process.{role}" in command:
                    found.append(int(directory.name))
        return found


def enrolled_with(plane: ControlPlane, prefix: Path) -> dict[str, str]:
    """Settings of a data plane that enrols with the control plane by user and password."""
    password_file = prefix / "password"
    prefix.mkdir(exist_ok=True, parents=True)
    password_file.write_text(plane.password + "\n")
    group = http("GET", f"{plane.admin}/v2/control-planes").json()["items"][0]
    return {
        "KONG_ROLE": "data_plane",
        "KONG_CLUSTER_MTLS": "pki",
        "KONG_CLUSTER_CONTROL_PLANE": f"127.0.0.1:{plane.cluster_port}",
        "KONG_CLUSTER_TELEMETRY_ENDPOINT": f"127.0.0.1:{plane.telemetry_port}",
        "KONGDP_ENROLL_URL": f"https://127.0.0.1:{plane.cluster_port}",
        "KONGDP_ENROLL_USER": "admin",
        "KONGDP_ENROLL_PASSWORD_FILE": str(password_file),
        "KONGDP_ENROLL_CA_FINGERPRINT": group["config"]["ca_fingerprint"],
    }
