"""What is measured: one row a scenario. Adding a case is adding a row.

A scenario is a load (what is asked, how, by which generator) and the setups it is put on. Its figures are compared with
nginx in the same setup, and where it has more than one setup, with the same gateway in the first.
"""

from dataclasses import dataclass, field

from bench.whole.configs import PLUGINS, Setup

PLAIN = Setup()


@dataclass(frozen=True)
class Load:
    """One kind of load."""

    path: str = "/mock/1k"
    method: str = "GET"
    body_bytes: int = 0
    fields: bool = True  # the ten of a browser, about 640 bytes in all; without: Host alone
    connections: int = 64
    tls: bool = False
    generator: str = "wrk"  # wrk, rate, handshake, resume, websocket
    rate: float = 0.0  # requests per second, of the open-loop generator
    scraped: bool = False  # /metrics is fetched each second meanwhile
    reply_bytes: int = 0  # of large replies: requests are counted by bytes, so that unfinished ones count in part
    spread: int = 0  # this many other routes are asked in turn
    paths: int = 0  # this many paths below `path` are asked in turn, each with an X-Trace-Id of its own


@dataclass(frozen=True)
class Scenario:
    """A row of the bench."""

    title: str
    load: Load
    setups: tuple[Setup, ...] = (PLAIN,)
    only: tuple[str, ...] = ()  # peers it is for, by name ("kongdp" also stands for other checkouts); empty: all
    tags: frozenset[str] = field(default_factory=frozenset)


QUICK = frozenset({"quick", "headline"})
HEADLINE = frozenset({"headline"})
OURS = ("kongdp", "kong")

SCENARIOS: dict[str, Scenario] = {
    "get-1k": Scenario("GET, 10 fields, reply of 1 KB", Load(), tags=QUICK),
    "get-plain": Scenario("GET, no fields, reply of 1 KB", Load(fields=False)),
    "post-1k": Scenario("POST 1 KB", Load(method="POST", body_bytes=1 << 10)),
    "post-64k": Scenario("POST 64 KB", Load(method="POST", body_bytes=64 << 10)),
    "reply-64k": Scenario("Reply of 64 KB", Load(path="/mock/64k"), tags=QUICK),
    "reply-1m": Scenario("Reply of 1 MB", Load(path="/mock/1m", connections=16, reply_bytes=1 << 20), tags=QUICK),
    "reply-100m": Scenario("Reply of 100 MB", Load(path="/mock/100m", connections=4, reply_bytes=100 << 20)),
    "chunked": Scenario("Reply of 64 KB, chunked", Load(path="/mock/chunked")),
    "conns-1": Scenario("One connection", Load(connections=1), tags=QUICK),
    "conns-1000": Scenario("1,000 connections", Load(connections=1000), tags=QUICK),
    "tls": Scenario("TLS in front, kept alive", Load(tls=True), tags=QUICK),
    "tls-full": Scenario("TLS in front, full handshake", Load(tls=True, generator="handshake", connections=8)),
    "tls-resumed": Scenario("TLS in front, resumed", Load(tls=True, generator="resume", connections=8)),
    "tls-upstream": Scenario("TLS to the upstream", Load(path="/secure/1k")),
    "websocket": Scenario("WebSocket, messages of 100 bytes", Load(path="/ws", generator="websocket", connections=32)),
    "rate-1000": Scenario("1,000 requests/s, open loop", Load(generator="rate", rate=1000)),
    "rate-4000": Scenario("4,000 requests/s, open loop", Load(generator="rate", rate=4000)),
    "routes": Scenario(
        "10,000 routes, one asked",
        Load(),
        (PLAIN, Setup(routes=10_000)),
        only=("nginx", "haproxy", "envoy", "kongdp", "kong"),
        tags=HEADLINE,
    ),
    "routes-spread": Scenario(
        "1,000 routes asked in turn of 10,000",
        Load(spread=1000),
        (Setup(routes=1001), Setup(routes=10_000)),
        only=("nginx", "haproxy", "kongdp", "kong"),
    ),
    "paths-many": Scenario(
        "20,000 paths of one route asked in turn, each with a trace id",
        Load(path="/mock/items", paths=20_000),
        tags=HEADLINE,
    ),
    "workers": Scenario(
        "Two workers", Load(), (PLAIN, Setup(workers=2)), only=("nginx", "kongdp", "kong"), tags=HEADLINE
    ),
    "access-log": Scenario("Access log on", Load(), (PLAIN, Setup(access_log=True))),
    "counters": Scenario(
        "Cost of counting", Load(), (Setup(counters=False), PLAIN), only=("kongdp",), tags=frozenset({"counters"})
    ),
    "scraped": Scenario("/metrics scraped each second", Load(scraped=True), only=OURS),
    **{
        f"plugin-{name}": Scenario(f"Plugin {name}", Load(), (PLAIN, Setup(plugin=name)), only=OURS) for name in PLUGINS
    },
}


def select(names: list[str]) -> dict[str, Scenario]:
    """Scenarios by name, by a name's beginning with `*`, or by a tag: quick, headline, full (all)."""
    chosen: dict[str, Scenario] = {}
    for name in names:
        found = {key: scenario for key, scenario in SCENARIOS.items() if _is_meant(name, key, scenario)}
        if not found:
            raise SystemExit(f"no such scenario: {name}; there are {', '.join(SCENARIOS)}; quick, headline, full")
        chosen |= found
    return chosen


def _is_meant(name: str, key: str, scenario: Scenario) -> bool:
    return name in ("full", key) or name in scenario.tags or (name.endswith("*") and key.startswith(name[:-1]))
