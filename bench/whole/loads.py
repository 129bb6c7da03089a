"""Load on a gateway: a generator in a process of its own, on the load's core, and what it saw.

In: a Load and a gateway's place.  Out: a Seen: requests, errors, latencies.
wrk makes the closed loops (each connection asks again when it was answered), bench.load the fixed rates (requests are due
at their moment whatever the answers do, and latency runs from that moment), bench.whole.handshakes new connections,
bench.whole.websocket messages.
"""

import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.whole.configs import BASIC, KEY, Place, Setup, other_routes
from bench.whole.processes import CommandError, pinned
from bench.whole.scenarios import Load

BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br",
    "Cookie": "session=0123456789abcdef0123456789abcdef; theme=dark; _ga=GA1.2.1234567890.1234567890",
    "X-Trace-Id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "Authorization": "Bearer " + "e" * 110,
    "Cache-Control": "no-cache",
    "Referer": "http://example.com/some/page",
}
DONE = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\nRESULT {"requests": %d, "seconds": %f, "bytes": %d, "errors": %d, "p50_us": %d, "p90_us": %d,'
    .. ' "p99_us": %d, "p999_us": %d, "max_us": %d}\\n', summary.requests, summary.duration / 1e6, summary.bytes,
    e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(90),
    latency:percentile(99), latency:percentile(99.9), latency.max))
end
"""


@dataclass(frozen=True)
class Seen:
    """What a generator saw. Latencies in microseconds."""

    requests: int
    seconds: float
    errors: int
    p50_us: float
    p90_us: float
    p99_us: float
    p999_us: float
    max_us: float
    bytes: int = 0


def fields_of(load: Load, setup: Setup) -> dict[str, str]:
    """The request fields, with the credentials that a plugin asks for."""
    fields = dict(BROWSER) if load.fields else {}
    if setup.plugin in ("key-auth", "acl"):
        fields["apikey"] = KEY
    if setup.plugin == "basic-auth":
        fields["Authorization"] = BASIC
    return fields


def wrk_script(load: Load, setup: Setup) -> str:
    """wrk's Lua: method, fields and body fixed before the run; paths in turn where the load is spread."""
    lines = [f'wrk.method = "{load.method}"']
    lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in fields_of(load, setup).items()]
    if load.body_bytes:
        lines.append(f'wrk.body = string.rep("x", {load.body_bytes})')
    if load.spread:
        step = max(1, (setup.routes - 1) // load.spread)
        paths = list(other_routes(setup))[::step][: load.spread]
        lines.append("local paths = {" + ", ".join(f'"{path}/1k"' for path in paths) + "}")
        lines += in_turn("for i, p in ipairs(paths) do ready[i] = wrk.format(nil, p) end")
    if load.paths:
        # and a trace id in each, so that no gateway meets the same fields again soon
        traced = 'wrk.headers["X-Trace-Id"] = string.format("%032x", i)'
        lines += in_turn(f'for i = 1, {load.paths} do {traced}; ready[i] = wrk.format(nil, "{load.path}/" .. i) end')
    return "\n".join(lines) + DONE


def in_turn(fill: str) -> list[str]:
    """Lua that asks the requests of `ready`, which `fill` makes before the run, one after the other."""
    return [
        "local ready, at = {}, 0",
        f"init = function() {fill} end",
        "request = function() at = at % #ready + 1; return ready[at] end",
    ]


def parse_wrk(output: str) -> Seen:
    """What wrk reported; CommandError with its words when it did not."""
    for line in output.splitlines():
        if line.startswith("RESULT "):
            return Seen(**json.loads(line.removeprefix("RESULT ")))
    raise CommandError(f"wrk gave no result:\n{output[-1000:]}")


def command_of(load: Load, setup: Setup, place: Place, seconds: float) -> list[str]:
    """The generator's command line."""
    url = f"https://127.0.0.1:{place.tls}" if load.tls else f"http://127.0.0.1:{place.plain}"
    url += load.path
    if load.generator == "wrk":
        script = place.directory / "wrk.lua"
        script.write_text(wrk_script(load, setup))
        return ["wrk", "-t1", f"-c{load.connections}", f"-d{max(1, round(seconds))}s", "-s", str(script), url]
    python = [sys.executable, "-m"]
    common = ["--seconds", str(seconds), "--json"]
    if load.generator == "rate":
        fields = [item for name, value in fields_of(load, setup).items() for item in ("--header", f"{name}: {value}")]
        rate = ["--rate", str(load.rate), "--connections", str(load.connections)]
        return [*python, "bench.load", url, *rate, *common, *fields]
    if load.generator == "websocket":
        return [*python, "bench.whole.websocket", "load", url, "--connections", str(load.connections), *common]
    resumed = ["--resume"] if load.generator == "resume" else []
    return [*python, "bench.whole.handshakes", url, "--connections", str(load.connections), *common, *resumed]


def run(load: Load, setup: Setup, place: Place, seconds: float, core: int) -> Seen:
    """Put the load on the gateway and wait for its end."""
    with _scraping(place.status if load.scraped else 0):
        done = subprocess.run(
            pinned(command_of(load, setup, place, seconds), {core}),
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=False,
        )
    if done.returncode != 0:
        raise CommandError(f"load generator failed ({done.returncode}):\n{(done.stdout + done.stderr)[-2000:]}")
    if load.generator == "wrk":
        return parse_wrk(done.stdout)
    return Seen(**json.loads(done.stdout))


@contextmanager
def _scraping(port: int) -> Iterator[None]:
    """Fetch /metrics each second, when there is a port."""
    stop = threading.Event()

    def scrape() -> None:
        while not stop.is_set():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                answer.read()
            stop.wait(1.0)

    thread = threading.Thread(target=scrape, daemon=True)
    if port:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if port:
            thread.join(20)
