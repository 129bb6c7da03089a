"""What a control plane with many routes takes: importing them, writing them one by one, listing them, editing one.

    .venv/bin/python -m bench.whole.control_plane [--routes 10000] [--databases sqlite postgresql]

Starts a control plane (a process of its own, with a prefix and ports of its own) over an empty SQLite file, and another over a
PostgreSQL server of this program's own where one is installed (as the tests': without fsync, so that its figures are
about our work and not about the disk's; SQLite's commits are synced). Prints one JSON object a database and then a Markdown
table. What the columns mean:

import        seconds of `kongdp config import FILE` as a command, from its start to its exit, into the empty control plane
again         seconds of the same once more: nothing to change
puts          seconds of as many PUT /routes/{id} from one client, one after the other on one connection
puts x10      the same from ten connections at once, as decK does
first, last   ms of a page of 1,000 routes, the first and the last (by following `next`); median of five
edit          ms from sending PATCH /routes/{id} until the hub has the new configuration (the answer of
              expected-config-hash, which waits for it, tells a new hash); median of twenty
counts        ms until the counters of one node are stored, whose every route was asked in the last ten seconds, status codes
              alone (what a Kong would have, if it sent any)
with times    the same with the time that the requests took, as nodes send them; both in this process, median of eight

Bar: import 5 s, puts 60 s, edit 100 ms, and pages that do not slow down.
"""

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kongdp.controlplane import activity
from kongdp.controlplane.store.database import Database
from kongdp.controlplane.store.migrations import migrate
from kongdp.sync.messages import COUNTER_ROWS_MAX, CounterFrame
from kongdp.telemetry.totals import LATENCY_SOURCE
from tests.support import shared
from tests.support.control_plane_process import Process
from tests.support.postgres import PostgresServer, why_not

ROUTES_A_SERVICE = 10
CONNECTIONS = 10
PAGE = 1000
PAGES_TIMED = 5
EDITS = 20
PUSHES = 8
NAMESPACE = uuid.UUID("7d9d3f2e-6f0c-4d8b-9a39-1c1c8d6f6a10")
JSON = {"Content-Type": "application/json"}
COLUMNS = ("import", "again", "puts", "puts x10", "first", "last", "edit", "counts", "with times")


def route(number: int, way: str) -> dict[str, Any]:
    """One route, as a client would write it."""
    return {
        "name": f"{way}{number}",
        "hosts": [f"h{number % 100}.test"],
        "paths": [f"/{way}/team{number % 50}/{number}"],
    }


def table(count: int) -> bytes:
    """The declarative configuration."""
    services = [
        {
            "name": f"s{first}",
            "url": f"http://s{first}.test",
            "routes": [route(number, "r") for number in range(first, min(first + ROUTES_A_SERVICE, count))],
        }
        for first in range(0, count, ROUTES_A_SERVICE)
    ]
    return json.dumps({"_format_version": "3.0", "services": services}).encode()


class Client:
    """One kept-alive connection."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=120)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer; anything but success ends the bench."""
        self._connection.request(method, path, None if body is None else json.dumps(body), JSON)
        with self._connection.getresponse() as response:
            content = response.read()
        if response.status >= 300:
            raise SystemExit(f"{method} {path}: {response.status} {content[:500]!r}")
        return json.loads(content) if content else None


def timed(work: Callable[[], Any]) -> float:
    """Seconds that something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def run_import(url: str, file: Path) -> float:
    """The command, as an operator types it."""
    command = [sys.executable, "-m", "kongdp", "config", "import", str(file), "--url", url]
    return timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))


def put_all(url: str, numbers: range, way: str) -> None:
    """Write routes one by one."""
    client = Client(url)
    for number in numbers:
        client.ask("PUT", f"/routes/{uuid.uuid5(NAMESPACE, f'{way}{number}')}", route(number, way))


def put_at_once(url: str, count: int) -> None:
    """The same from several connections."""
    shares = [range(start, count, CONNECTIONS) for start in range(CONNECTIONS)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(lambda share: put_all(url, share, "q"), shares))


def page_times(client: Client) -> tuple[float, float]:
    """Milliseconds of the first and of the last page, medians."""
    path, pages = f"/routes?size={PAGE}", []
    while path:
        pages.append(path)
        path = client.ask("GET", path)["next"]
    return page_time(client, pages[0]), page_time(client, pages[-1])


def page_time(client: Client, path: str) -> float:
    """Milliseconds of one page, median."""
    return 1000 * statistics.median(timed(lambda: client.ask("GET", path)) for _ in range(PAGES_TIMED))


def edit_time(client: Client) -> float:
    """Milliseconds from an edit until the hub has it, median."""
    expected = "/v2/control-planes/default/expected-config-hash"
    edited = client.ask("GET", "/routes?size=1")["data"][0]["id"]
    hashes, times = {client.ask("GET", expected)["expected_hash"]}, []
    for number in range(EDITS):
        began = time.perf_counter()
        client.ask("PATCH", f"/routes/{edited}", {"paths": [f"/edited/{number}"]})
        now = client.ask("GET", expected)["expected_hash"]
        times.append(time.perf_counter() - began)
        if now in hashes:
            raise SystemExit("an edit was answered, and the hub's configuration is still the old one")
        hashes.add(now)
    return 1000 * statistics.median(times)


def counting_time(database: Database, boot: str, count: int, *, with_times: bool) -> float:
    """Milliseconds to store one push of counters, median. Each push raises every counter."""
    routes = [str(uuid.uuid5(NAMESPACE, str(number))) for number in range(count)]
    node, now = str(NAMESPACE), time.time()
    times = []
    for push in range(1, PUSHES + 1):
        rows = [(route_id, 200, "service", push) for route_id in routes]
        if with_times:
            rows += [(route_id, 0, LATENCY_SOURCE, 7 * push) for route_id in routes]
        pieces = [tuple(rows[at : at + COUNTER_ROWS_MAX]) for at in range(0, len(rows), COUNTER_ROWS_MAX)]
        at = now + push * activity.FINE_S
        frames = [
            CounterFrame(node, boot, push * len(pieces) + number, at, piece) for number, piece in enumerate(pieces)
        ]
        began = time.perf_counter()
        activity.add(database, frames, at)
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


@contextmanager
def started(environment: Mapping[str, str], directory: Path) -> Iterator[str]:
    """A control plane's Admin API."""
    process = Process(directory, **environment)
    try:
        yield process.until_ready().admin
    finally:
        process.kill()


@contextmanager
def databases(kind: str, directory: Path) -> Iterator[tuple[dict[str, str], str]]:
    """The environment that gives a control plane an empty database, and the URL of another empty one."""
    if kind == "sqlite":
        yield {}, f"sqlite:///{directory / 'counts.db'}"
        return
    server = PostgresServer()
    try:
        yield {"KONGDP_DATABASE_URL": server.create_database()}, server.create_database()
    finally:
        server.close()


def measure(database: str, count: int) -> dict[str, Any]:
    """All figures of one database."""
    found: dict[str, Any] = {"database": database, "routes": count}
    with tempfile.TemporaryDirectory() as name, databases(database, Path(name)) as (environment, empty):
        with started(environment, Path(name)) as url:
            file = Path(name, "kong.json")
            file.write_bytes(table(count))
            client = Client(url)
            found["import"] = run_import(url, file)
            found["again"] = run_import(url, file)
            found["edit"] = edit_time(client)
            found["first"], found["last"] = page_times(client)
            found["puts"] = timed(lambda: put_all(url, range(count), "p"))
            found["puts x10"] = timed(lambda: put_at_once(url, count))
        store = Database(empty)
        try:
            migrate(store)
            found["counts"] = counting_time(store, "codes", count, with_times=False)
            found["with times"] = counting_time(store, "times", count, with_times=True)
        finally:
            store.close()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routes", type=int, default=10_000)
    parser.add_argument("--databases", nargs="+", choices=("sqlite", "postgresql"), default=("sqlite", "postgresql"))
    arguments = parser.parse_args()
    rows = []
    shared.open_directory()
    try:
        for database in arguments.databases:
            reason = why_not() if database == "postgresql" else None
            if reason is not None:
                print(f"{database} is left out: {reason}", file=sys.stderr)
                continue
            rows.append(measure(database, arguments.routes))
            print(json.dumps(rows[-1]), flush=True)
    finally:
        PostgresServer.stop_shared()
        shared.close_directory()
    print(f"\n| database | {' | '.join(COLUMNS)} |\n|---|{'---:|' * len(COLUMNS)}")
    for row in rows:
        print(f"| {row['database']} | {' | '.join(f'{row[name]:.2f}' for name in COLUMNS)} |")


if __name__ == "__main__":
    main()
