"""What a configuration change costs live traffic, on a real node.

    .venv/bin/python -m bench.whole.swap [SIZE ...] [--swaps 5] [--connections 8] [--pushes 200] [--renew]

Starts a node without database (`kongdp start`, one worker, ports and prefix of its own), an upstream and a load generator
(the last two each a process on the last core), loads SIZE services with a route each through POST /config, then, under
closed-loop traffic on kept-alive connections, posts the table again with one more route, --swaps times. Prints one JSON object
a size and then a Markdown table. What the columns mean:

first post    seconds of the POST that loads the whole table into an empty node
live          ms from the start of an edit's POST until its route answers, median over the swaps
post          ms until that POST is answered (the configuration is in force and on disk), median
quiet, stall  ms of the longest request in the 1.5 s before the POST, and from its start until a second after its answer; medians
memory        MiB resident, supervisor and worker (the processes that hold the listener); agent: the process beside them

With --renew each edit replaces every route but the load's by another with another name and path:
the most that a change can be.

With --pushes the 10,000-route table is then posted that many times back to back, each with another route: all must be
taken, the last one must be live, and memory after the first tenth and at the end is shown.

Bar (one worker, two cores, nothing else running): 10,000 routes live in 500 ms, stall 10 ms above quiet, 150 MiB, no errors;
100,000 routes stall 25 ms above quiet. The node, the load and this program share the machine: on a busy one the quiet
column says how much of the stall is the machine's.
"""

import argparse
import asyncio
import http.client
import json
import multiprocessing
import os
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from tests.support.cluster import DataPlane, free_port, kongdp

SIZES = (1_000, 10_000, 100_000)
PUSHED_SIZE = 10_000
PAUSE_S = 0.0005
QUIET_S = 1.5
AFTER_S = 1.0
LIVE_TIMEOUT_S = 120.0
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
HEAD_END = b"\r\n\r\n"

Row = tuple[float, float, bool]
"""One request: when it began (time.monotonic is one clock for all processes), seconds, whether the answer was 200."""


def table(count: int, upstream: str, extra: str | None = None, mark: str = "") -> bytes:
    """The declarative configuration: `count` services with a route, one for the load, and perhaps one that is new.

    Another `mark` makes `count` other services and routes of them.
    """
    services = [
        {
            "name": f"s{mark}{i}",
            "url": upstream,
            "routes": [
                {
                    "name": f"r{mark}{i}",
                    "hosts": [f"h{i % 100}.test"],
                    "paths": [f"/team{i % 50}/svc{mark}{i}"],
                    "created_at": 1 + i,
                }
            ],
        }
        for i in range(count)
    ]
    for name in ("hot", extra):
        if name is not None:
            route = {"name": name, "paths": [f"/{name}"], "created_at": 1}
            services.append({"name": name, "url": upstream, "routes": [route]})
    return json.dumps({"_format_version": "3.0", "services": services}).encode()


class _Upstream(asyncio.Protocol):
    """Answers every head at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(RESPONSE * data.count(HEAD_END))


class _Client(asyncio.Protocol):
    """One kept-alive connection that asks again and again."""

    def __init__(self, rows: list[Row], stop: Event) -> None:
        self._rows = rows
        self._stop = stop
        self._data = b""
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self.closed = self._loop.create_future()
        self._ask()

    def _ask(self) -> None:
        if self._stop.is_set() or self._transport.is_closing():
            self._transport.close()
            return
        self._data = b""
        self._began = time.monotonic()
        self._transport.write(b"GET /hot HTTP/1.1\r\nHost: bench.test\r\n\r\n")

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(HEAD_END)
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if end and length is not None and len(body) >= int(length[1]):
            self._rows.append((self._began, time.monotonic() - self._began, head.startswith(b"HTTP/1.1 200")))
            self._began = 0.0
            if b"\r\nconnection: close\r\n" in head.lower() + b"\r\n":
                self._transport.close()  # after keepalive_requests; the next connection follows at once
            else:
                self._loop.call_later(PAUSE_S, self._ask)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._began:
            self._rows.append((self._began, time.monotonic() - self._began, False))
        self.closed.set_result(None)


def _to_last_core() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def run_upstream(port: int) -> None:
    """Process: the upstream, until it is terminated."""
    _to_last_core()

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Upstream, "127.0.0.1", port)
        await server.serve_forever()

    asyncio.run(serve())


def run_load(port: int, connections: int, stop: Event, out: "multiprocessing.Queue[list[Row]]") -> None:
    """Process: the load, until `stop`. A connection that ends early is a failed request and is made anew."""
    _to_last_core()

    async def load() -> list[Row]:
        rows: list[Row] = []

        async def keep() -> None:
            while not stop.is_set():
                try:
                    _, client = await asyncio.get_running_loop().create_connection(
                        lambda: _Client(rows, stop), "127.0.0.1", port
                    )
                    await client.closed
                except OSError:
                    rows.append((time.monotonic(), 0.0, False))
                    await asyncio.sleep(0.01)

        await asyncio.gather(*(keep() for _ in range(connections)))
        return rows

    out.put(asyncio.run(load()))


class Load:
    """The load generator's process. `rows` after `stop`."""

    def __init__(self, port: int, connections: int) -> None:
        self._stop = multiprocessing.Event()
        self._queue: multiprocessing.Queue[list[Row]] = multiprocessing.Queue()
        self._process = multiprocessing.Process(
            target=run_load, args=(port, connections, self._stop, self._queue), daemon=True
        )
        self._process.start()

    def stop(self) -> list[Row]:
        self._stop.set()
        rows = self._queue.get(timeout=60)
        self._process.join(60)
        return rows


class Node:
    """The gateway under test."""

    def __init__(self, prefix: Path, upstream: str) -> None:
        self.upstream = upstream
        self.admin_port = free_port()
        settings = {
            "KONG_ADMIN_LISTEN": f"127.0.0.1:{self.admin_port}",
            "KONG_NGINX_ADMIN_CLIENT_MAX_BODY_SIZE": "64m",
        }
        self.plane = DataPlane(prefix, settings)
        self.plane.start()

    def post(self, body: bytes) -> float:
        """POST /config; seconds until it is answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=300)
        began = time.monotonic()
        connection.request("POST", "/config", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        if response.status != 201:
            raise SystemExit(f"POST /config: {response.status} {answer[:500]!r}")
        return time.monotonic() - began

    def until_live(self, path: str) -> float:
        """The moment at which the proxy answers 200 for `path`."""
        until = time.monotonic() + LIVE_TIMEOUT_S
        connection = http.client.HTTPConnection("127.0.0.1", self.plane.proxy_port, timeout=60)
        while time.monotonic() < until:
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            if response.status == 200:
                connection.close()
                return time.monotonic()
            time.sleep(0.002)
        raise SystemExit(f"{path} is not live after {LIVE_TIMEOUT_S:g} s")

    def memory(self) -> tuple[float, float]:
        """MiB of the processes with the listener, and of the agent."""
        holders = [self.plane.pid(), *self.plane.children("worker")]
        return sum(map(_resident, holders)), sum(map(_resident, self.plane.children("agent")))


def _resident(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


@contextmanager
def started() -> Iterator[Node]:
    """An upstream and an empty node; both are ended whatever happens."""
    port = free_port()
    upstream = multiprocessing.Process(target=run_upstream, args=(port,), daemon=True)
    upstream.start()
    with tempfile.TemporaryDirectory(prefix="kongdp-bench-") as directory:
        node = Node(Path(directory) / "node", f"http://127.0.0.1:{port}/")
        try:
            yield node
        finally:
            kongdp("stop", env=node.plane.env)
            upstream.terminate()
            upstream.join(10)


def swap_once(node: Node, body: bytes, name: str) -> tuple[float, float, float]:
    """Post an edit: when it began, when its route was live, when it was answered."""
    answered: list[float] = []
    began = time.monotonic()
    thread = threading.Thread(target=lambda: answered.append(began + node.post(body)))
    thread.start()
    live = node.until_live(f"/{name}")
    thread.join()
    if not answered:
        raise SystemExit("the edit was not taken")
    return began, live, answered[0]


def measure(node: Node, size: int, swaps: int, connections: int, is_renewed: bool) -> dict[str, Any]:
    """One size: the first load, and `swaps` edits under traffic, each of which may replace every route."""
    first = node.post(table(size, node.upstream))
    node.until_live("/hot")
    time.sleep(1.0)
    load = Load(node.plane.proxy_port, connections)
    moments = []
    for number in range(swaps):
        body = table(size, node.upstream, f"edit{number}", f"-{number}-" if is_renewed else "")
        time.sleep(QUIET_S + 0.5)
        moments.append(swap_once(node, body, f"edit{number}"))
        time.sleep(AFTER_S)
    rows = load.stop()
    quiets = [_longest(rows, began - QUIET_S, began - 0.1) for began, _, _ in moments]
    stalls = [_longest(rows, began, answered + AFTER_S) for began, _, answered in moments]
    memory, agent = node.memory()
    return {
        "routes": size,
        "first_post_s": round(first, 2),
        "live_ms": _median(live - began for began, live, _ in moments),
        "post_ms": _median(answered - began for began, _, answered in moments),
        "quiet_ms": _median(quiets),
        "stall_ms": _median(stalls),
        "above_quiet_ms": _median(stall - quiet for stall, quiet in zip(stalls, quiets, strict=True)),
        "requests": len(rows),
        "errors": sum(not is_good for *_, is_good in rows),
        "memory_mib": round(memory),
        "agent_mib": round(agent),
    }


def _longest(rows: list[Row], begin: float, end: float) -> float:
    """The longest request that was under way between two moments, seconds."""
    return max((seconds for began, seconds, _ in rows if began < end and began + seconds > begin), default=0.0)


def _median(seconds: Any) -> float:
    return round(statistics.median(seconds) * 1000, 1)


def push_many(node: Node, pushes: int, connections: int) -> dict[str, Any]:
    """`pushes` edits back to back under traffic."""
    node.post(table(PUSHED_SIZE, node.upstream))
    node.until_live("/hot")
    early = 0.0
    load = Load(node.plane.proxy_port, connections)
    began = time.monotonic()
    for number in range(pushes):
        node.post(table(PUSHED_SIZE, node.upstream, f"push{number}"))
        if number == pushes // 10:
            early = sum(node.memory())
    seconds = time.monotonic() - began
    node.until_live(f"/push{pushes - 1}")
    rows = load.stop()
    return {
        "pushes": pushes,
        "routes": PUSHED_SIZE,
        "seconds": round(seconds, 1),
        "last_is_live": True,
        "requests": len(rows),
        "errors": sum(not is_good for *_, is_good in rows),
        "memory_mib_early": round(early),
        "memory_mib_end": round(sum(node.memory())),
    }


COLUMNS = (
    ("routes", "routes"),
    ("first post, s", "first_post_s"),
    ("live, ms", "live_ms"),
    ("post, ms", "post_ms"),
    ("quiet, ms", "quiet_ms"),
    ("stall, ms", "stall_ms"),
    ("above quiet, ms", "above_quiet_ms"),
    ("requests", "requests"),
    ("errors", "errors"),
    ("memory, MiB", "memory_mib"),
    ("agent, MiB", "agent_mib"),
)


def markdown(results: list[dict[str, Any]]) -> str:
    """The results as a table."""
    lines = ["| " + " | ".join(title for title, _ in COLUMNS) + " |", "|" + "---:|" * len(COLUMNS)]
    lines += ["| " + " | ".join(f"{result[key]:,}" for _, key in COLUMNS) + " |" for result in results]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run and print; 1 when a request failed."""
    parser = argparse.ArgumentParser(
        prog="bench.whole.swap", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sizes", metavar="SIZE", type=int, nargs="*", default=SIZES, help="routes (1000 10000 100000)")
    parser.add_argument("--swaps", type=int, default=5, help="edits per size (5)")
    parser.add_argument("--connections", type=int, default=8, help="kept-alive connections of the load (8)")
    parser.add_argument("--pushes", type=int, default=0, help="then this many edits back to back (0)")
    parser.add_argument("--renew", action="store_true", help="each edit replaces all routes, instead of adding one")
    options = parser.parse_args(arguments)
    results, errors = [], 0
    for size in options.sizes:
        with started() as node:
            results.append(measure(node, size, options.swaps, options.connections, options.renew))
        errors += results[-1]["errors"]
        print(json.dumps(results[-1]), flush=True)
    if options.pushes:
        with started() as node:
            pushed = push_many(node, options.pushes, options.connections)
        errors += pushed["errors"]
        print(json.dumps(pushed), flush=True)
    if results:
        print(markdown(results))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
