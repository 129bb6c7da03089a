"""The charts of a result: CPU per request of each gateway, as a ratio to nginx in the same setup.

In: a result document (bench.whole.run).  Out: SVG text.
"""

import statistics
from typing import Any

from bench import svg
from bench.whole.figures import base_of, column, ratio, summarize

MARK = "nginx = 1"
MOST = 8.0  # times nginx; longer bars are broken off


def ratios(document: dict[str, Any]) -> str | None:
    """A group a scenario, a bar a gateway; whiskers are the range over the rounds. None without nginx to compare with."""
    groups = []
    for scenario in document["scenarios"].values():
        found = list(_bars(scenario["contestants"]))
        if found:
            groups.append((scenario["title"], found))
    title = "CPU time per request, one worker, ratio to nginx (less is better)"
    return svg.bars(title, groups, mark=1.0, mark_label=MARK, most=MOST) if groups else None


def _bars(contestants: dict[str, Any]) -> Any:
    for label, entry in contestants.items():
        base = base_of(contestants, label)
        found = ratio(contestants, label, base)
        if found is not None:
            cost = summarize(entry)["cpu_us"].median
            ours = entry["peer"].startswith("kongdp")
            yield svg.Bar(label, found.median, found.low, found.high, ours, f"{cost:,.0f} us")


def latencies(document: dict[str, Any]) -> str | None:
    """Latency by percentile of the fixed rates, a panel a rate; None when none was measured."""
    panels = []
    for scenario in document["scenarios"].values():
        if "open loop" in scenario["title"]:
            series = [svg.Line(label, _percentiles(entry)) for label, entry in scenario["contestants"].items()]
            panels.append(
                svg.lines(
                    scenario["title"],
                    series,
                    x_label="share of requests that were at most this slow",
                    y_label="milliseconds",
                    x_axis=lambda low, high, start, end: svg.percentiles(0.999, start, end),
                    y_axis=svg.logarithmic,
                    height=260,
                )
            )
    return svg.stack(panels) if panels else None


def _percentiles(entry: dict[str, Any]) -> list[tuple[float, float]]:
    shares = ((0.5, "p50_us"), (0.9, "p90_us"), (0.99, "p99_us"), (0.999, "p999_us"))
    return [(share, statistics.median(column(entry, name)) / 1000) for share, name in shares]


def charts(document: dict[str, Any]) -> dict[str, str]:
    """Every chart there are figures for: what its file's name ends with -> SVG."""
    found = {"": ratios(document), "-latency": latencies(document)}
    return {ending: chart for ending, chart in found.items() if chart is not None}
