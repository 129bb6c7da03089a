"""What many routes cost in counters: memory and the scrape when every one of them had a request.

    python -m bench.whole.cardinality [--routes 1000 10000 100000] [--segment 8m]

For each number of routes and each kind (status codes alone, as without a prometheus plugin; all metrics, with it) a node of
one worker is started and every route is asked once. Shown: resident memory before and after the requests (the processes with
the listener, and the agent), the size of /metrics, how many routes have series of their own there (the others are added up
in the overflow series), and how long the scrape took to arrive. --segment is kongdp_counter_segment_bytes.
"""

import argparse
import http.client
import os
import re
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from bench.whole.configs import Setup, other_routes
from bench.whole.peers import Kongdp
from bench.whole.processes import children, free_port, resident_mib
from bench.whole.run import place_in, say
from bench.whole.upstream import Upstream

SCRAPE_TIMEOUT_S = 120
ROUTE_OF_SERIES = re.compile(rb'^kong_http_requests_total\{[^}]*route="([^"]*)"', re.MULTILINE)
COLUMNS = (
    "routes",
    "metrics",
    "listener, MiB",
    "agent, MiB",
    "after, MiB",
    "agent after, MiB",
    "scrape, MB",
    "own series",
    "scrape, s",
)


class SizedKongdp(Kongdp):
    """A node with counter segments of a given size."""

    segment = ""

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "KONGDP_COUNTER_SEGMENT_BYTES": self.segment}


def ask_each(port: int, paths: list[str]) -> None:
    """One GET for each path, over one connection; raises SystemExit where an answer is not 200."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for path in paths:
        client.request("GET", f"{path}/1k")
        answer = client.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path}/1k: {answer.status}")
    client.close()


def memory(node: Kongdp) -> tuple[float, float]:
    """MiB of the processes with the listener, and of the others."""
    holders = [node.root, *node.find_workers()]
    return resident_mib(holders), resident_mib(set(children(node.root)) - set(holders))


def measure(node: Kongdp) -> list[str]:
    """A row of the table."""
    before = memory(node)
    ask_each(node.place.plain, ["/mock", *other_routes(node.setup)])
    time.sleep(2)  # the agent reads the segments once a second
    began = time.monotonic()
    with urllib.request.urlopen(f"http://127.0.0.1:{node.place.status}/metrics", timeout=SCRAPE_TIMEOUT_S) as answer:
        text = answer.read()
    took = time.monotonic() - began
    after = memory(node)
    figures = [*before, *after]
    return [
        f"{node.setup.routes:,}",
        node.setup.plugin or "status codes",
        *(f"{figure:.0f}" for figure in figures),
        f"{len(text) / 1e6:.1f}",
        f"{len(set(ROUTE_OF_SERIES.findall(text)) - {b'kongdp_overflow'}):,}",
        f"{took:.2f}",
    ]


def main() -> int:
    """Measure each and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.whole.cardinality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--routes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--segment", default="8m", help="counter memory of the worker (8m)")
    given = parser.parse_args()
    SizedKongdp.segment = given.segment
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="kongdp-bench-") as name:
        upstream = Upstream(Path(name), cores[-1], (free_port(), free_port(), free_port()))
        try:
            rows = []
            for routes in given.routes:
                for plugin in ("", "prometheus"):
                    setup = Setup(routes=routes, plugin=plugin)
                    say(f"{setup.label()} ...")
                    node = SizedKongdp(
                        "kongdp", setup, place_in(Path(name) / f"{routes}{plugin}", upstream), set(cores)
                    )
                    try:
                        node.start()
                        rows.append(measure(node))
                    finally:
                        node.stop()
        finally:
            upstream.stop()
    print("| " + " | ".join(COLUMNS) + " |")
    print("|---:|---|" + "---:|" * (len(COLUMNS) - 2))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
