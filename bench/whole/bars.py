"""The bars that a release must hold, and whether a result holds them.

In: a result document (bench.whole.run).  Out: for each bar that was measured its value and a verdict. Adding a bar is adding
a row.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from bench.stats import Spread
from bench.whole.figures import ratio, show


class Bar(NamedTuple):
    """`figure` of `label` divided by that of `base`, within rounds, has a median of at most `limit`."""

    title: str
    scenario: str
    label: str
    base: str
    limit: float
    figure: str = "cpu_us"


BARS = (
    Bar("GET 1 KB with 10 fields", "get-1k", "kongdp", "nginx", 1.15),
    Bar("The same, nothing compiled", "get-1k", "kongdp-pure", "nginx", 1.6),
    Bar("Reply of 64 KB", "reply-64k", "kongdp", "nginx", 0.7),
    Bar("Reply of 1 MB", "reply-1m", "kongdp", "nginx", 0.7),
    Bar("TLS in front, kept alive", "tls", "kongdp", "nginx", 1.2),
    Bar("10,000 routes against one", "routes", "kongdp (10000 routes)", "kongdp", 1.05),
    Bar("Below Envoy by 2.2", "get-1k", "kongdp", "envoy", 1 / 2.2),
    Bar("Below Caddy by 4", "get-1k", "kongdp", "caddy", 1 / 4),
    Bar("1,000 connections: p99", "conns-1000", "kongdp", "nginx", 1.5, "p99_us"),
    Bar("Two workers against one", "workers", "kongdp (2 workers)", "kongdp", 1.05),
    Bar("One connection: p50", "conns-1", "kongdp", "nginx", 1.2, "p50_us"),
)


def judge(document: dict[str, Any], rows: Iterable[Bar] = BARS) -> Iterator[tuple[Bar, Spread, bool]]:
    """Bars whose both sides were measured."""
    for bar in rows:
        contestants = document["scenarios"].get(bar.scenario, {}).get("contestants", {})
        if bar.label in contestants and bar.base in contestants:
            found = ratio(contestants, bar.label, bar.base, bar.figure)
            if found is not None:
                yield bar, found, found.median <= bar.limit


def table(judged: Iterable[tuple[Bar, Spread, bool]]) -> Iterator[str]:
    """As Markdown."""
    yield "| bar | ratio of | at most | measured | |"
    yield "|---|---|---:|---:|---|"
    for bar, value, held in judged:
        unit = "CPU per request" if bar.figure == "cpu_us" else bar.figure.removesuffix("_us")
        verdict = "held" if held else "**missed**"
        yield f"| {bar.title} | {unit}, {bar.label} / {bar.base} | {bar.limit:.2f} | {show(value)} | {verdict} |"
