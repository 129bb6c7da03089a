"""An agent in this process with everything around it scripted: supervisor's end of the lifeline, channel, segments,
fake workers.

The agent runs as itself (class Agent) on the running loop; only its process boundary is missing.
"""

import asyncio
import os
import socket
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kongdp.process import agent as agent_module
from kongdp.process import lifeline
from kongdp.process.agent import Agent
from kongdp.process.channel import SOCKET_NAME
from kongdp.process.lifeline import Lifeline
from kongdp.settings import Settings, load_settings
from kongdp.telemetry.counters import RouteCounters
from kongdp.telemetry.segment import Segment
from tests.support.both_loops import until
from tests.support.fake_worker import FakeWorker

SEGMENT_BYTES = 1 << 20


class AgentBench:
    """Use as an async context manager. `settings`: KONG_* values besides the defaults of a data plane in `prefix`."""

    def __init__(
        self, prefix: Path, settings: Mapping[str, str], *, workers: int = 1, boot_id: str | None = None
    ) -> None:
        self.prefix = prefix
        self.node_id = "1da9157f-c443-4b08-8355-c97520754c21"
        self.boot_id = boot_id or str(uuid.uuid4())
        defaults = {"prefix": str(prefix), "role": "data_plane", "database": "off", "status_listen": "127.0.0.1:0"}
        values = {**defaults, **settings}
        environment = {
            f"KONG_{name.upper()}": value for name, value in values.items() if not name.startswith("kongdp_")
        }
        environment |= {name.upper(): value for name, value in values.items() if name.startswith("kongdp_")}
        self.settings: Settings = load_settings(None, environment)
        self.workers = [FakeWorker(-1, index) for index in range(workers)]
        self._fds: list[int] = []
        self.exit_code: int | None = None

    async def __aenter__(self) -> "AgentBench":
        self.prefix.mkdir(parents=True, exist_ok=True)
        self._run_dir = tempfile.TemporaryDirectory()
        self._run_dir_fd = os.open(self._run_dir.name, os.O_RDONLY | os.O_DIRECTORY)
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        channel.bind(str(Path(self._run_dir.name) / SOCKET_NAME))
        channel.listen(16)
        self.line, theirs = lifeline.pair()
        self.segment_fd = self._segment()
        self.spec: dict[str, Any] = {
            "role": "agent",
            "index": 0,
            "generation": 1,
            "node_id": self.node_id,
            "boot_id": self.boot_id,
            "prefix": str(self.prefix),
            "channel_fd": channel.detach(),
            "workers": len(self.workers),
            "segments": [{"fd": os.dup(self.segment_fd), "index": 0, "generation": 1}],
            "status_listeners": [self._listener()] if self.settings.status_listen else [],
            "admin_listeners": [self._listener()] if self.settings.role != "data_plane" else [],
        }
        self.agent = Agent(self.spec, self.settings, Lifeline(theirs.detach()))
        self._task = asyncio.create_task(self.agent.run())
        for worker in self.workers:
            self.connect(worker)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        for worker in self.workers:
            await worker.stop()
        self.line.close()
        os.close(self.segment_fd)
        os.close(self._run_dir_fd)
        self._run_dir.cleanup()

    async def stop(self) -> None:
        """End the agent as SIGTERM does."""
        self.agent.stop()
        self.exit_code = await self._task

    def connect(self, worker: FakeWorker) -> None:
        """Let a fake worker find the channel."""
        worker.client._path = f"/proc/self/fd/{self._run_dir_fd}/{SOCKET_NAME}"
        worker.start()

    def count(self, route_id: str, code: int, times: int = 1) -> None:
        """Count requests as a worker does."""
        segment = Segment.open(self.segment_fd)
        row = RouteCounters(segment, route_id)
        slot = row.codes.get(code * 2 + 1)
        segment.slots[row.add_code(code * 2 + 1) if slot is None else slot] += times

    def said(self) -> list[Mapping[str, Any]]:
        """What the agent told its supervisor since the last time."""
        messages: list[Mapping[str, Any]] = []
        while (received := lifeline.receive(self.line)) is not None:
            messages.append(received.message)
        return messages

    async def in_force(self, config_hash: str) -> None:
        """Wait until the agent says that this configuration is in force."""
        await until(lambda: self.agent.pipeline.in_force == config_hash, f"configuration {config_hash} in force")

    async def get(self, path: str, *, admin: bool = False, method: str = "GET", body: bytes = b"") -> tuple[int, bytes]:
        """An HTTP request to the status (or Admin) API: status and body."""
        fd = self.spec["admin_listeners" if admin else "status_listeners"][0]["port"]
        reader, writer = await asyncio.open_connection("127.0.0.1", fd)
        kind = b"Content-Type: application/json\r\n" if body else b""
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n".encode()
        writer.write(head + kind + b"\r\n" + body)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        head_bytes, _, content = answer.partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" in head_bytes.lower():
            content = _unchunked(content)
        return int(head_bytes.split(b" ")[1]), content

    def _listener(self) -> dict[str, Any]:
        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        return {"fd": bound.detach(), "address": "127.0.0.1", "port": port, "ssl": False, "backlog": 16}

    def _segment(self) -> int:
        fd = os.memfd_create("segment")
        os.posix_fallocate(fd, 0, SEGMENT_BYTES)
        return fd


def _unchunked(content: bytes) -> bytes:
    pieces = []
    while content:
        size, _, content = content.partition(b"\r\n")
        length = int(size, 16)
        pieces.append(content[:length])
        content = content[length + 2 :]
    return b"".join(pieces)


def shorten_waits(monkeypatch: Any) -> None:
    """Reconnections at once: what waits 5 to 10 s in a node waits a moment in a test."""
    monkeypatch.setattr("kongdp.sync.session.RECONNECT_S", (0, 0))
    monkeypatch.setattr(agent_module, "FIRST_SYNC_WAIT_S", 1.0)
