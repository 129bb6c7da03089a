"""Half an hour of mixed load with configuration changes: does a node's memory stay flat, does it give descriptors back?

    bench/soak                      30 minutes
    bench/soak --minutes 3 --rate 500

A node of two workers with 1,000 routes gets, at fixed rates, what traffic is made of: GET, POST of 1 KB and 64 KB, replies
of 64 KB and 1 MB, chunked replies, TLS kept alive and TLS with a new connection each, and clients that go away in the
middle of a request or a reply; every few seconds a route is added or removed through POST /config. Every few seconds
resident memory and open descriptors of each of its processes are read. At the end the load stops, idle connections time
out, and descriptors are read once more.

Verdict: memory is flat when the median of the last fifth of a process is at most 3 % and 1 MiB above the median of the
second fifth (the first is warm-up); descriptors are given back when the process at rest has at most 4 more than it had
before the load; errors are answers that a client of the regular load did not get, or got with a status other than 200.
Writes soak.json and soak.svg into --out and returns 1 when the verdict is bad.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from bench import machine, svg
from bench.generator import Driver, Plan, Tally, driver_of
from bench.load import plan_of_url
from bench.whole import configs
from bench.whole.configs import Setup
from bench.whole.peers import Kongdp
from bench.whole.processes import count_descriptors, free_port, resident_mib
from bench.whole.run import place_in
from bench.whole.upstream import Upstream

ROUTES, WORKERS = 1000, 2
KINDS = (
    # name, share of the rate, TLS, path, method, body bytes, new connection each time
    ("GET 1 KB", 0.40, False, "/mock/1k", "GET", 0, False),
    ("POST 1 KB", 0.15, False, "/mock/1k", "POST", 1 << 10, False),
    ("POST 64 KB", 0.05, False, "/mock/1k", "POST", 64 << 10, False),
    ("reply 64 KB", 0.08, False, "/mock/64k", "GET", 0, False),
    ("reply 1 MB", 0.01, False, "/mock/1m", "GET", 0, False),
    ("chunked", 0.08, False, "/mock/chunked", "GET", 0, False),
    ("TLS kept alive", 0.15, True, "/mock/1k", "GET", 0, False),
    ("TLS new", 0.02, True, "/mock/1k", "GET", 0, True),
    ("TLS upstream", 0.04, False, "/secure/1k", "GET", 0, False),
)
ABORTED_SHARE = 0.02
REST_S = 12.0  # after the load: longer than the idle timeout below
SETTINGS = {
    "KONG_UPSTREAM_KEEPALIVE_IDLE_TIMEOUT": "5",
    "KONG_NGINX_ADMIN_CLIENT_MAX_BODY_SIZE": "16m",
}
GROWTH_SHARE, GROWTH_MIB, LEFT_OPEN_MAX = 0.03, 1.0, 4


class Node(Kongdp):
    """The node, with an Admin API for the changes."""

    def environment(self) -> dict[str, str]:
        if not hasattr(self, "admin_port"):
            self.admin_port = free_port()
        return {**super().environment(), **SETTINGS, "KONG_ADMIN_LISTEN": f"127.0.0.1:{self.admin_port}"}

    def post(self, routes: int) -> None:
        """Replace the configuration by one of so many routes."""
        body = configs.kong(Setup(routes=routes), self.place).encode()
        url = f"http://127.0.0.1:{self.admin_port}/config"
        with urllib.request.urlopen(
            urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=60
        ) as answer:
            answer.read()

    def processes(self) -> dict[int, str]:
        """Pid -> what it is."""
        workers = {pid: f"worker {number}" for number, pid in enumerate(self.find_workers())}
        others = {pid: "supervisor" if pid == self.root else "agent" for pid in self.everyone() if pid not in workers}
        return {**others, **workers}


@dataclass
class Samples:
    """What a process had, over time."""

    seconds: list[float] = field(default_factory=list)
    mib: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    before: int = 0
    after: int = 0


@dataclass(frozen=True)
class Finding:
    """One process judged."""

    name: str
    early_mib: float
    late_mib: float
    highest_mib: float
    before: int
    highest: int
    after: int

    @property
    def is_flat(self) -> bool:
        """Memory has not grown after the warm-up."""
        return self.late_mib <= self.early_mib * (1 + GROWTH_SHARE) + GROWTH_MIB

    @property
    def gave_back(self) -> bool:
        """Descriptors are back to where they were."""
        return self.after <= self.before + LEFT_OPEN_MAX


def judge(name: str, samples: Samples) -> Finding:
    """The second and the last fifth compared."""
    fifth = max(1, len(samples.mib) // 5)
    early, late = samples.mib[fifth : 2 * fifth] or samples.mib, samples.mib[-fifth:]
    return Finding(
        name,
        statistics.median(early),
        statistics.median(late),
        max(samples.mib),
        samples.before,
        max(samples.descriptors),
        samples.after,
    )


async def abort_clients(host: str, port: int, rate: float, until: float) -> int:
    """Clients that leave: before their body is whole, before the answer, or in the middle of a 1 MB reply."""
    dice, count = random.Random(1), 0
    openings = (
        b"POST /mock/1k HTTP/1.1\r\nHost: soak\r\nContent-Length: 65536\r\n\r\n" + b"x" * 4096,
        b"GET /mock/1m HTTP/1.1\r\nHost: soak\r\n\r\n",
        b"GET /mock/1k HTTP/1.1\r\nHost: soak\r\n",
    )
    while time.perf_counter() < until:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(dice.choice(openings))
            if dice.random() < 0.5:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(16384), 0.05)
            writer.transport.abort()
            count += 1
        await asyncio.sleep(dice.expovariate(rate))
    return count


class Soak:
    """One soak: load, changes and samples over one node."""

    def __init__(self, node: Node, seconds: float, rate: float, every_s: float, swap_s: float) -> None:
        self._node = node
        self._seconds = seconds
        self._rate = rate
        self._every_s = every_s
        self._swap_s = swap_s
        self.samples: dict[str, Samples] = {}
        self.swaps = 0
        self.aborted = 0
        self.tallies: dict[str, Tally] = {}

    async def run(self) -> None:
        """Everything at once, until the time is over and the node is at rest."""
        for pid, name in self._node.processes().items():
            self.samples[name] = Samples(before=count_descriptors(pid))
        self._began = time.perf_counter()
        until = self._began + self._seconds
        drivers = {kind[0]: self._driver(kind) for kind in KINDS}
        place = self._node.place
        *tallies, self.aborted, _, _ = await asyncio.gather(
            *(driver.run() for driver in drivers.values()),
            abort_clients("127.0.0.1", place.plain, self._rate * ABORTED_SHARE, until),
            self._swap(until),
            self._sample(until),
        )
        self.tallies = dict(zip(drivers, tallies, strict=True))
        await asyncio.sleep(REST_S)
        for pid, name in self._node.processes().items():
            self.samples.setdefault(name, Samples()).after = count_descriptors(pid)

    def _driver(self, kind: tuple[Any, ...]) -> Driver:
        _, share, tls, path, method, body, is_new = kind
        place = self._node.place
        url = f"https://127.0.0.1:{place.tls}{path}" if tls else f"http://127.0.0.1:{place.plain}{path}"
        fields = ["Connection: close"] if is_new else []
        plan: Plan = plan_of_url(url, method, fields, b"x" * body, 20, self._rate * share, self._seconds)
        return driver_of(plan)

    async def _swap(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        while time.perf_counter() + self._swap_s < until:
            await asyncio.sleep(self._swap_s)
            await loop.run_in_executor(None, self._node.post, ROUTES + self.swaps % 7)
            self.swaps += 1

    async def _sample(self, until: float) -> None:
        last = self._began
        while time.perf_counter() < until:
            await asyncio.sleep(self._every_s)
            now = time.perf_counter()
            for pid, name in self._node.processes().items():
                row = self.samples.setdefault(name, Samples())
                row.seconds.append(now - self._began)
                row.mib.append(resident_mib([pid]))
                row.descriptors.append(count_descriptors(pid))
            if now - last >= 60:
                last = now
                self._tell(now)

    def _tell(self, now: float) -> None:
        parts = [
            f"{name} {row.mib[-1]:.1f} MiB {row.descriptors[-1]} fds" for name, row in self.samples.items() if row.mib
        ]
        print(
            f"{(now - self._began) / 60:5.1f} min, {self.swaps} swaps: {', '.join(parts)}", file=sys.stderr, flush=True
        )


def errors_of(tally: Tally) -> int:
    """Requests without an answer of 200."""
    return tally.errors.total() + sum(count for status, count in tally.statuses.items() if status != 200)


def plot(samples: dict[str, Samples], title: str) -> str:
    """Memory and descriptors over the minutes."""
    panels = []
    for unit, name in (("MiB resident", "mib"), ("open descriptors", "descriptors")):
        series = [
            svg.Line(label, [(at / 60, value) for at, value in zip(row.seconds, getattr(row, name), strict=True)])
            for label, row in samples.items()
            if row.seconds
        ]
        panels.append(svg.lines(title if name == "mib" else "", series, x_label="minutes", y_label=unit, height=260))
    return svg.stack(panels)


def report(soak: Soak, findings: Sequence[Finding]) -> str:
    """The verdict in words and figures."""
    lines = [
        "| process | memory, early MiB | late | most | descriptors before | most | after | |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for one in findings:
        judged = ("flat" if one.is_flat else "GROWS") + ", " + ("given back" if one.gave_back else "LEAKS")
        lines.append(
            f"| {one.name} | {one.early_mib:.1f} | {one.late_mib:.1f} | {one.highest_mib:.1f} | {one.before} "
            f"| {one.highest} | {one.after} | {judged} |"
        )
    lines += ["", "| load | requests | not 200 | p50 ms | p99 ms | max ms |", "|---|---:|---:|---:|---:|---:|"]
    for name, tally in soak.tallies.items():
        values = (tally.latency.percentile(share) / 1000 for share in (0.5, 0.99, 1.0))
        shown = " | ".join(f"{value:.2f}" for value in values)
        lines.append(f"| {name} | {tally.latency.count:,} | {errors_of(tally)} | {shown} |")
    reasons = sum((tally.errors for tally in soak.tallies.values()), Counter())
    if reasons:
        lines += ["", "Without an answer: " + ", ".join(f"{why}: {count}" for why, count in reasons.items()) + "."]
    lines += ["", f"{soak.swaps} configuration changes, {soak.aborted:,} clients that went away."]
    return "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="bench/soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="duration of the load (30)")
    parser.add_argument("--rate", type=float, default=1000.0, help="requests per second, all kinds together (1000)")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between samples (5)")
    parser.add_argument("--swap", type=float, default=5.0, help="seconds between configuration changes (5)")
    parser.add_argument(
        "--out", type=Path, default=machine.ROOT / ".artifacts" / "bench", help="directory of the results"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Soak and judge; 1 when something grows, leaks or fails."""
    given = build_parser().parse_args(arguments)
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="kongdp-soak-") as name:
        directory = Path(name)
        upstream = Upstream(directory, cores[-1], (free_port(), free_port(), free_port()))
        node = Node("kongdp", Setup(routes=ROUTES, workers=WORKERS), place_in(directory / "node", upstream), set(cores))
        try:
            node.start()
            version = node.version()
            soak = Soak(node, given.minutes * 60, given.rate, given.every, given.swap)
            uvloop.run(soak.run())
        finally:
            node.stop()
            upstream.stop()
    findings = [judge(name, row) for name, row in soak.samples.items() if row.mib]
    text = report(soak, findings)
    print(f"{version}\n\n{text}")
    write(given.out, soak, text, version)
    errors = sum(map(errors_of, soak.tallies.values()))
    good = all(one.is_flat and one.gave_back for one in findings) and not errors
    print("verdict: " + ("flat, nothing leaked, no errors" if good else f"NOT good ({errors} errors)"))
    return 0 if good else 1


def write(out: Path, soak: Soak, text: str, version: str) -> None:
    """The result files."""
    out.mkdir(parents=True, exist_ok=True)
    samples = {name: vars(row) for name, row in soak.samples.items()}
    document = {"machine": machine.facts(), "version": version, "report": text, "samples": samples}
    (out / "soak.json").write_text(json.dumps(document))
    (out / "soak.svg").write_text(plot(soak.samples, "Mixed load with configuration changes"))
    print(f"\nwritten: {out}/soak.json, soak.svg")


if __name__ == "__main__":
    sys.exit(main())
