"""Instructions per operation, counted by valgrind's callgrind: the same on a busy machine as on a quiet one.

    python -m bench.parts.instructions                          all operations, about five minutes
    python -m bench.parts.instructions exchange exchange-uncounted
    PYTHONPATH=/path/to/other/checkout python -m bench.parts.instructions exchange     another version of the code

An instruction is not a nanosecond, and what caches and branches cost is not in it: a difference of instructions says
that the code does more or less, the whole bench says what that is worth. Counting begins after the warm-up, with the
garbage collector off.
"""

import argparse
import gc
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import uvloop

from bench.parts.memory_exchange import REQUEST, RESPONSE, exchanger
from kongdp.http1.parser import HeadLimits, try_request_head, try_response_head
from kongdp.routing.router import build
from kongdp.telemetry.counters import RouteCounters
from kongdp.telemetry.segment import Segment
from tests.support.routes import StubRoute, number_id
from tests.support.segments import memory

WARM, TIMES = 200, 1000
COLLECTED = re.compile(r"Collected : (\d+)")
LIMITS = HeadLimits()

Operation = Callable[[], object]


@asynccontextmanager
async def request_head() -> AsyncIterator[Operation]:
    """Find the end of a typical request's head, validate it and edit it."""
    yield lambda: try_request_head(REQUEST, LIMITS)


@asynccontextmanager
async def response_head() -> AsyncIterator[Operation]:
    """Find the end of a typical response's head, validate it and edit it."""
    yield lambda: try_response_head(RESPONSE, b"UTF-8", 32768)


@asynccontextmanager
async def count() -> AsyncIterator[Operation]:
    """Count one exchange."""
    with memory() as fd:
        row = RouteCounters(Segment.open(fd), number_id(1))
        yield partial(row.count, 401, 640, 1400, 0, 3, 5)


@asynccontextmanager
async def match(routes: int) -> AsyncIterator[Operation]:
    """Find one of so many prefixes; no path repeats, so that no cache answers."""
    router = build(StubRoute(id=number_id(i + 1), paths=(f"/api/v1/service-{i}/items",)) for i in range(routes))
    paths = iter([b"/api/v1/service-%d/items/%d" % (i % routes, i) for i in range(WARM + TIMES * 4)])
    yield lambda: router.match(b"GET", b"a.test", next(paths))


OPERATIONS = {
    "exchange": lambda: exchanger(),
    "exchange-uncounted": lambda: exchanger(counts=False),
    "exchange-1000-routes": lambda: exchanger(1000),
    "exchange-10000-routes": lambda: exchanger(10_000),
    "request-head": request_head,
    "response-head": response_head,
    "count": count,
    "match-10": lambda: match(10),
    "match-1000": lambda: match(1000),
    "match-10000": lambda: match(10_000),
}


async def run(name: str, times: int) -> None:
    """In the counted process: warm up, switch counting on, operate, switch it off."""
    async with OPERATIONS[name]() as operate:
        for _ in range(WARM):
            operate()
        gc.collect()
        gc.freeze()
        gc.disable()
        switch = Switch()
        switch.turn()
        for _ in range(times):
            operate()
        switch.turn()
        gc.enable()


class Switch:
    """Turns counting on, then off. A process of its own does it, so that little of ours is counted with the operations."""

    SCRIPT = "for state in on off; do read go; callgrind_control -i $state $0 >/dev/null; echo; done"

    def __init__(self) -> None:
        command = ["sh", "-c", self.SCRIPT, str(os.getpid())]
        self._helper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    def turn(self) -> None:
        """Wait until the other state is in force."""
        assert self._helper.stdin is not None
        assert self._helper.stdout is not None
        self._helper.stdin.write(b"\n")
        self._helper.stdout.read(1)


def counted(name: str, times: int) -> int:
    """Instructions of so many operations."""
    child = [sys.executable, "-m", "bench.parts.instructions", name, "--inside", "--times", str(times)]
    valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=/dev/null", *child]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONMALLOC": "pymalloc"}
    done = subprocess.run(valgrind, env=environment, capture_output=True, text=True, timeout=900, check=False)
    found = COLLECTED.search(done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    return int(found[1])


def per_operation(name: str, times: int = TIMES) -> float:
    """Instructions of one operation: the difference of a longer run and a shorter one, so that switching drops out."""
    return (counted(name, 2 * times) - counted(name, times)) / times


def main() -> int:
    """Count and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.parts.instructions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(OPERATIONS)} (all)")
    parser.add_argument("--times", type=int, default=TIMES, help=f"operations of the shorter run ({TIMES})")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    unknown = set(given.names) - OPERATIONS.keys()
    if unknown:
        parser.error(f"no such operation: {', '.join(sorted(unknown))}")
    if given.inside:
        uvloop.run(run(given.names[0], given.times))
        return 0
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is needed: apt-get install valgrind")
    print("| operation | instructions |\n|---|---:|")
    for name in given.names or OPERATIONS:
        print(f"| {name} | {per_operation(name, given.times):,.0f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
