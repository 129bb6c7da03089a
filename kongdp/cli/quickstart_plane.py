"""The quickstart's view of its control plane: a process it starts, and the HTTP calls that make the example.

In: a prefix and ports.  Out: a running control plane; catalogue objects, a token, nodes and counts as plain values.
House rules: everything goes through the commands and the API that anybody can use; there is no back door. A call that
fails is a StoryError with what the control plane said.
Cold. Source: ours.
"""

import asyncio
import http.client
import json
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

LOCAL = "127.0.0.1"
GROUP = "default"
SERVICE, VERSION, GATEWAY_SERVICE, ROUTE, PATH = (
    "example_service",
    "v.1",
    "example_gateway_service",
    "mockbin",
    "/mock",
)
STOP_S = 10.0
CALL_TIMEOUT_S = 15.0
LOG_LINES_SHOWN = 12
_PASSWORD = re.compile(r"made the user (\S+)\. Password, shown only now: (\S+)")


class StoryError(Exception):
    """The quickstart cannot go on; the message is for the person who started it, one problem a line."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens; every one can be chosen on the command line."""

    proxy: int
    status: int
    admin: int
    cluster: int
    telemetry: int
    console: int
    portal: int
    upstream: int


def command(*arguments: str) -> list[str]:
    """A kongdp command of this very installation."""
    return [sys.executable, "-P", "-m", "kongdp", *arguments]


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without settings that were meant for other nodes, and with `settings`. The log level
    stays.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KONG_", "KONGDP_")) or name == "KONG_LOG_LEVEL"
    }
    return {**kept, **settings}


class ControlPlane:
    """`kongdp control-plane run` as a child in its own session, so that Ctrl-C reaches only the quickstart."""

    def __init__(self, prefix: Path, ports: Ports) -> None:
        self.prefix = prefix
        self.log_path = prefix / "logs" / "control-plane.log"
        self.password: tuple[str, str] | None = None
        self._ports = ports
        self._process: Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._is_ready = asyncio.Event()

    @property
    def url(self) -> str:
        """Base of the Admin API and of the catalogue."""
        return f"http://{LOCAL}:{self._ports.admin}"

    @property
    def is_ready(self) -> bool:
        """Whether it has said that it serves."""
        return self._is_ready.is_set()

    async def start(self) -> None:
        """Start it; it is ready a moment later."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        ports = self._ports
        settings = {
            "KONG_PREFIX": str(self.prefix),
            "KONG_ADMIN_LISTEN": f"{LOCAL}:{ports.admin}",
            "KONG_ADMIN_GUI_LISTEN": f"{LOCAL}:{ports.console}",
            "KONGDP_PORTAL_LISTEN": f"{LOCAL}:{ports.portal}",
            "KONG_CLUSTER_LISTEN": f"{LOCAL}:{ports.cluster}",
            "KONGDP_CLUSTER_TELEMETRY_LISTEN": f"{LOCAL}:{ports.telemetry}",
        }
        with self.log_path.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command("control-plane", "run"),
                env=environment(settings),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=log,
                start_new_session=True,
            )
        self._reading = asyncio.create_task(self._read(), name="control plane's words")

    async def stop(self) -> None:
        """End it, politely first. May be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
        await process.wait()
        if self._reading is not None:
            await self._reading

    def require_alive(self) -> None:
        """Raises StoryError with its last words when it has ended."""
        if self._process is None or self._process.returncode is None:
            return
        lines = self.log_path.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        raise StoryError("\n".join(["the control plane ended:", *(f"  {line}" for line in lines)]))

    async def _read(self) -> None:
        """Its stdout: the password of a first start, and that it is ready."""
        assert self._process is not None
        assert self._process.stdout is not None
        async for raw in self._process.stdout:
            line = raw.decode("utf-8", "replace")
            found = _PASSWORD.search(line)
            if found is not None:
                self.password = (found[1], found[2])
            if line.startswith("control plane ready"):
                self._is_ready.set()

    # calls

    async def make_example(self, upstream_url: str) -> str:
        """Service, version, implementation with its route, as far as they are not there yet; the version's id."""
        # What pages show as the address to ask.
        await self.call("PATCH", "/v2/portal/settings", {"proxy_url": f"http://localhost:{self._ports.proxy}"})
        service = await self.call("GET", f"/v2/catalogue/services/{SERVICE}", missing_ok=True)
        if service is None:
            await self.call("POST", "/v2/catalogue/services", {"name": SERVICE})
        listed = await self.call("GET", f"/v2/catalogue/services/{SERVICE}/versions")
        version = next((item for item in listed["items"] if item["name"] == VERSION), None)
        if version is None:
            body = {"name": VERSION, "group": GROUP}
            version = await self.call("POST", f"/v2/catalogue/services/{SERVICE}/versions", body)
        place = f"/v2/catalogue/versions/{version['id']}/implementation"
        if await self.call("GET", place, missing_ok=True) is None:
            route = {"name": ROUTE, "methods": ["GET"], "paths": [PATH]}
            await self.call("POST", place, {"service": {"name": GATEWAY_SERVICE, "url": upstream_url}, "route": route})
        else:
            await self.call("PATCH", place, {"service": {"url": upstream_url}})
        return str(version["id"])

    async def make_token(self) -> tuple[str, str]:
        """A one-time enrolment token, and the fingerprint of the CA to expect."""
        made = await self.call("POST", f"/v2/control-planes/{GROUP}/enrolment-tokens", {})
        return made["token"], made["ca_fingerprint"]

    async def node(self, node_id: str) -> dict[str, Any] | None:
        """A data plane as the control plane sees it, None before it has been seen."""
        found = await self.call("GET", f"/v2/control-planes/{GROUP}/nodes/{quote(node_id)}", missing_ok=True)
        return None if found is None else dict(found["item"])

    async def count_200s(self, version_id: str) -> int:
        """The version's record of status code 200 over the last hour."""
        record = await self.call("GET", f"/v2/catalogue/versions/{version_id}/status-codes?frame=1h")
        return int(record["codes"].get("200", 0))

    async def call(self, method: str, path: str, body: object | None = None, *, missing_ok: bool = False) -> Any:
        """One JSON call. None for 404 with `missing_ok`; StoryError for any other refusal."""
        self.require_alive()
        status, content = await asyncio.to_thread(request, method, LOCAL, self._ports.admin, path, body)
        if status == 404 and missing_ok:
            return None
        if not 200 <= status < 300:
            raise StoryError(f"the control plane answered {status} to {method} {path}: {content.decode()[:500]}")
        return json.loads(content) if content else None


def request(method: str, host: str, port: int, path: str, body: object | None = None) -> tuple[int, bytes]:
    """One blocking HTTP request; status and body. Raises StoryError when nobody answers."""
    connection = http.client.HTTPConnection(host, port, timeout=CALL_TIMEOUT_S)
    data = None if body is None else json.dumps(body).encode()
    fields = {"Content-Type": "application/json"} if data is not None else {}
    try:
        connection.request(method, path, data, fields)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise StoryError(f"no answer from http://{host}:{port}{path}: {error}") from None
    finally:
        connection.close()
