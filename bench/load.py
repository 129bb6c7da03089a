"""Load-test a running gateway and see what its clients would.

    bench/load http://127.0.0.1:8000/mock                          10 connections, 10 s, as fast as it answers
    bench/load http://127.0.0.1:8000/mock --rate 2000 --seconds 30 --connections 100
    bench/load https://127.0.0.1:8443/mock -X POST --body @order.json -H 'Content-Type: application/json'
    python -m bench.load URL --json

With --rate requests are due at fixed moments and latency runs from that moment, whether or not a connection was free:
what users feel when the gateway cannot keep up. Without it each connection asks again when it was answered. Prints a
table and writes a plot (latency by percentile). Targets that are not on this machine need --remote: a load test of
somebody else's server is an attack.
"""

import argparse
import ipaddress
import json
import socket
import ssl
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import uvloop

from bench import svg
from bench.generator import Plan, Second, Tally, driver_of
from bench.histogram import Histogram

PERCENTILES = (0.5, 0.75, 0.9, 0.99, 0.999, 1.0)
CONNECTIONS_MAX = 20_000


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="bench/load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", help="http:// or https:// URL of the route to ask")
    parser.add_argument("-r", "--rate", type=float, default=0.0, help="requests per second, all connections together")
    parser.add_argument("-c", "--connections", type=int, default=10, help="connections; with --rate: at most (10)")
    parser.add_argument("-d", "--seconds", type=float, default=10.0, help="duration (10)")
    parser.add_argument("-X", "--method", default="GET", help="method (GET)")
    parser.add_argument("-b", "--body", default="", help="request body, or @FILE")
    parser.add_argument("-H", "--header", action="append", default=[], metavar="'NAME: VALUE'", help="a request field")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds until an answer counts as missing (10)")
    parser.add_argument(
        "--verify", action="store_true", help="check the server's certificate (off: test nodes sign their own)"
    )
    parser.add_argument("--remote", action="store_true", help="allow a target that is not on this machine")
    parser.add_argument("--plot", type=Path, default=Path("load.svg"), help="file of the plot (load.svg)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON; no table, no plot, no progress")
    return parser


def render_request(url: SplitResult, method: str, fields: list[str], body: bytes) -> bytes:
    """The request's bytes. A field given with --header replaces ours of that name."""
    named = {}
    for line in fields:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise SystemExit(f"--header {line!r}: expected 'Name: value'")
        named[name.strip().lower()] = (name.strip(), value.strip())
    own = {"host": ("Host", url.netloc.rpartition("@")[2]), "user-agent": ("User-Agent", "kongdp-bench")}
    if body or method in ("POST", "PUT", "PATCH"):
        own["content-length"] = ("Content-Length", str(len(body)))
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    lines = [f"{name}: {value}\r\n" for name, value in {**own, **named}.values()]
    return f"{method} {target} HTTP/1.1\r\n{''.join(lines)}\r\n".encode() + body


def require_local(host: str) -> None:
    """SystemExit unless every address of the host is on the loopback."""
    try:
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError as error:
        raise SystemExit(f"{host}: {error.strerror}") from error
    if not all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in addresses):
        raise SystemExit(f"{host} is not on this machine; with --remote it is loaded all the same: ask its owner first")


def plan_of(given: argparse.Namespace) -> Plan:
    """The plan that the options describe; SystemExit for what makes no sense."""
    url = urlsplit(given.url)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise SystemExit(f"{given.url}: expected http://HOST[:PORT]/PATH or https://...")
    if not 1 <= given.connections <= CONNECTIONS_MAX or given.seconds <= 0 or given.rate < 0:
        raise SystemExit(f"--connections is 1 to {CONNECTIONS_MAX}, --seconds more than 0, --rate not negative")
    if not given.remote:
        require_local(url.hostname)
    body = Path(given.body[1:]).read_bytes() if given.body.startswith("@") else given.body.encode()
    plan = plan_of_url(
        given.url, given.method.upper(), given.header, body, given.connections, given.rate, given.seconds
    )
    verified = ssl.create_default_context() if given.verify and plan.tls else plan.tls
    return replace(plan, timeout_s=given.timeout, tls=verified)


def plan_of_url(
    address: str, method: str, fields: list[str], body: bytes, connections: int, rate: float, seconds: float
) -> Plan:
    """A plan for a URL that is known to be one; certificates are not checked."""
    url = urlsplit(address)
    assert url.hostname is not None
    context = ssl._create_unverified_context() if url.scheme == "https" else None
    return Plan(
        host=url.hostname,
        port=url.port or (443 if context else 80),
        request=render_request(url, method, fields, body),
        method=method,
        connections=connections,
        rate=rate,
        seconds=seconds,
        tls=context,
        server_name=url.hostname if context else None,
    )


def summary(tally: Tally) -> dict[str, float]:
    """The figures every generator of the bench reports, and the bytes."""
    wrong = sum(count for status, count in tally.statuses.items() if status >= 400)
    errors = tally.errors.total() + wrong + tally.unsent
    return {**tally.latency.summary(tally.elapsed_s, errors), "bytes": tally.bytes}


def brief(micros: float) -> str:
    """A latency in the unit that reads best."""
    return f"{micros / 1e6:.2f} s" if micros >= 1e6 else f"{micros / 1e3:.2f} ms"


def table(plan: Plan, tally: Tally) -> str:
    """The result for a reader."""
    done = tally.latency.count
    wanted = f" of {plan.rate:,.0f} wanted" if plan.rate else ""
    lines = [
        f"requests     {done:,} in {tally.elapsed_s:.1f} s, {plan.connections} connections",
        f"rate         {done / tally.elapsed_s:,.0f}/s{wanted}; {tally.bytes / tally.elapsed_s / 1e6:,.2f} MB/s received",
        "statuses     " + (", ".join(f"{code}: {count:,}" for code, count in sorted(tally.statuses.items())) or "none"),
    ]
    troubles = [f"{why}: {count:,}" for why, count in tally.errors.items()]
    troubles += [f"due but never sent: {tally.unsent:,}"] if tally.unsent else []
    lines.append("errors       " + (", ".join(troubles) or "none"))
    if done:
        lines.append("latency      " + _percentiles(tally.latency))
    if done and plan.rate:
        lines.append("from sending " + _percentiles(tally.service))
    return "\n".join(lines)


def _percentiles(histogram: Histogram) -> str:
    names = [("max" if share == 1.0 else f"p{share * 100:g}") for share in PERCENTILES]
    return ", ".join(
        f"{name} {brief(histogram.percentile(share))}" for name, share in zip(names, PERCENTILES, strict=True)
    )


def plot(plan: Plan, tally: Tally, title: str) -> str:
    """Latency by percentile; with a rate also from sending, so that waiting shows."""
    series = [svg.Line("latency", curve(tally.latency))]
    if plan.rate:
        series.append(svg.Line("from sending", curve(tally.service)))
    highest = max((share for line in series for share, _ in line.points), default=0.9)
    return svg.lines(
        title,
        series,
        x_label="share of requests that were at most this slow",
        y_label="milliseconds",
        x_axis=lambda low, high, start, end: svg.percentiles(highest, start, end),
        y_axis=svg.logarithmic,
    )


def curve(histogram: Histogram) -> list[tuple[float, float]]:
    """(share of values below, milliseconds) of each bucket, but for the last value, whose share is 1."""
    points, seen = [], 0
    for upper, count in histogram.steps():
        points.append((seen / histogram.count, upper / 1000))
        seen += count
    return points


def show_second(row: Second) -> None:
    """One line of progress."""
    print(
        f"{row.at:6.1f} s  {row.requests:>8,} requests  p50 {brief(row.p50_us)}  p99 {brief(row.p99_us)}  max {brief(row.max_us)}",
        file=sys.stderr,
    )


def main(arguments: list[str] | None = None) -> int:
    """Load, print; 1 when anything failed."""
    given = build_parser().parse_args(arguments)
    plan = plan_of(given)
    tally = uvloop.run(driver_of(plan, None if given.json else show_second).run())
    figures = summary(tally)
    if given.json:
        print(json.dumps(figures))
        return 0
    print(table(plan, tally))
    if tally.latency.count:
        given.plot.write_text(plot(plan, tally, f"{plan.method} {given.url}"))
        print(f"plot         {given.plot}")
    return 1 if figures["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
