"""Does a scrape each second disturb the clients? Latency at a fixed rate with and without, in turn.

    python -m bench.whole.scrape [--routes 10000] [--rate 1500] [--seconds 10] [--runs 3]

A node of one worker has --routes routes, each of which had a request, and the prometheus plugin with all metrics where it
runs. Open-loop load asks one route; every other run /metrics is fetched each second beside it. The bar: the median p99 with
scrapes is not above the highest p99 without.
"""

import argparse
import os
import statistics
import sys
import tempfile
import urllib.request
from dataclasses import replace
from pathlib import Path

from bench.whole import loads
from bench.whole.configs import Setup
from bench.whole.peers import Kongdp
from bench.whole.processes import CommandError, free_port
from bench.whole.run import place_in
from bench.whole.scenarios import Load
from bench.whole.upstream import Upstream


def started(directory: Path, upstream: Upstream, routes: int, cores: set[int]) -> Kongdp:
    """A node with the prometheus plugin, or without where it does not run."""
    for plugin in ("prometheus", ""):
        node = Kongdp(
            "kongdp", Setup(routes=routes, plugin=plugin), place_in(directory / f"node{plugin}", upstream), cores
        )
        try:
            node.start()
        except CommandError as error:
            if "not enabled" not in str(error):
                raise
        else:
            return node
    raise SystemExit("the node does not start")


def scrape(node: Kongdp) -> int:
    """One scrape; its bytes."""
    with urllib.request.urlopen(f"http://127.0.0.1:{node.place.status}/metrics", timeout=30) as answer:
        return len(answer.read())


def main() -> int:
    """Measure in turn, print, judge."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.whole.scrape", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--routes", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=1500)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=3, help="of each kind (3)")
    given = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    load = Load(generator="rate", rate=given.rate, connections=64)
    with tempfile.TemporaryDirectory(prefix="kongdp-bench-") as name:
        upstream = Upstream(Path(name), cores[-1], (free_port(), free_port(), free_port()))
        try:
            node = started(Path(name), upstream, given.routes, set(cores))
            try:
                warm = replace(Load(), spread=given.routes - 1)
                loads.run(warm, node.setup, node.place, 5, cores[-1])
                print(f"{node.version()}; scrape of {scrape(node):,} bytes, {node.setup.label()}")
                found = measure(node, load, given.runs, given.seconds, cores[-1])
            finally:
                node.stop()
        finally:
            upstream.stop()
    quiet, scraped = found[False], found[True]
    held = statistics.median(scraped) <= max(quiet)
    for label, values in (("without", quiet), ("with", scraped)):
        print(f"p99 {label}: " + ", ".join(f"{value / 1000:.2f}" for value in values) + " ms")
    print("held" if held else "MISSED")
    return 0 if held else 1


def measure(node: Kongdp, load: Load, runs: int, seconds: float, core: int) -> dict[bool, list[float]]:
    """p99 of each run, without and with scrapes in turn."""
    found: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(runs):
        for is_scraped in (False, True):
            seen = loads.run(replace(load, scraped=is_scraped), node.setup, node.place, seconds, core)
            found[is_scraped].append(seen.p99_us)
    return found


if __name__ == "__main__":
    sys.exit(main())
