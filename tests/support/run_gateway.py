"""A gateway in a process of its own, so that its memory can be measured: `python -m tests.support.run_gateway`.

In: one line of JSON on stdin (the configuration).  Out: one line with the port; then it serves until stdin ends.
"""

import asyncio
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import uvloop

from tests.support.gateway import running_gateway

ROOT = Path(__file__).parents[2]


async def serve() -> None:
    """Serve until stdin ends."""
    loop = asyncio.get_running_loop()
    loaded = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    async with running_gateway(loaded) as gateway:
        print(gateway.port, flush=True)
        await loop.run_in_executor(None, sys.stdin.read)


@dataclass(frozen=True)
class GatewayProcess:
    """A running one."""

    port: int
    pid: int

    def memory_bytes(self, what: str = "VmRSS") -> int:
        """Resident memory; VmHWM: the most there ever was."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split(what + ":")[1].split()[0]) * 1024

    def reset_peak(self) -> None:
        """VmHWM counts from now on."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def cpu_s(self) -> float:
        """Processor time so far, all threads."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


@contextmanager
def gateway_process(config: Mapping[str, Any]) -> Iterator[GatewayProcess]:
    """A gateway in a subprocess until the block ends."""
    with Popen(
        [sys.executable, "-m", "tests.support.run_gateway"],
        stdin=PIPE,
        stdout=PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(config) + "\n")
        process.stdin.flush()
        try:
            yield GatewayProcess(int(process.stdout.readline()), process.pid)
        finally:
            process.stdin.close()
            assert process.wait(30) == 0


if __name__ == "__main__":
    uvloop.run(serve())
