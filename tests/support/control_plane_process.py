"""A control plane in a process of its own, on free ports of this machine."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.support.migrated import plant_sqlite

LISTENERS = {
    "KONG_ADMIN_LISTEN": "127.0.0.1:0",
    "KONG_ADMIN_GUI_LISTEN": "off",
    "KONGDP_PORTAL_LISTEN": "off",
    "KONG_CLUSTER_LISTEN": "127.0.0.1:0",
    "KONGDP_CLUSTER_TELEMETRY_LISTEN": "127.0.0.1:0",
}


class Process:
    """A control plane of its own prefix; in a directory that is there it finds a database with an administrator, else it makes them."""

    def __init__(self, prefix: Path, **environment: str) -> None:
        self.prefix = prefix
        self.password = ""
        if prefix.is_dir():
            self.password = plant_sqlite(prefix)
        settings = {"KONG_ROLE": "control_plane", "KONG_PREFIX": str(prefix), **LISTENERS, **environment}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kongdp", "control-plane", "run"],
            env={"PATH": os.environ["PATH"], **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []

    def until_ready(self) -> "Process":
        """Read what it says up to the line that it is ready."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip())
            if line.startswith("control plane ready"):
                return self
        raise AssertionError(self._process.communicate())

    @property
    def admin(self) -> str:
        """The Admin API's URL."""
        found = re.search(r"Admin API on (\S+),", self.lines[-1])
        assert found is not None
        return f"http://{found[1]}"

    def get(self, path: str) -> object:
        """The JSON at a path of the Admin API."""
        with urllib.request.urlopen(self.admin + path, timeout=60) as response:
            return json.load(response)

    def post(self, path: str, body: object, method: str = "POST") -> object:
        """What a POST there answers, or another method."""
        request = urllib.request.Request(
            self.admin + path, json.dumps(body).encode(), {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def send(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Wait for the end: exit code and stderr."""
        _out, err = self._process.communicate(timeout=60)
        return self._process.returncode, err

    def kill(self) -> None:
        """Make sure that nothing is left."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()
