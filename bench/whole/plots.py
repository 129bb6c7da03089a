"""The charts of a result: CPU per request of each gateway, as a ratio to nginx in the same setup.

In: a result document (bench.whole.run).  Out: SVG text.
"""

from typing import Any

from bench import svg
from bench.whole import report

MARK = "nginx = 1"


def ratios(document: dict[str, Any], names: list[str] | None = None) -> str:
    """A group a scenario, a bar a gateway; whiskers are the range over the rounds."""
    groups = []
    for name, scenario in document["scenarios"].items():
        if names is None or name in names:
            found = list(_bars(scenario["contestants"]))
            if found:
                groups.append((scenario["title"], found))
    title = "CPU time per request, one worker, ratio to nginx (less is better)"
    return svg.bars(title, groups, mark=1.0, mark_label=MARK) if groups else svg.document(svg.WIDTH, 10, [])


def _bars(contestants: dict[str, Any]) -> Any:
    for label, entry in contestants.items():
        base = report.base_of(contestants, label)
        found = report.ratio(contestants, label, base)
        if found is not None:
            cost = report.summarize(entry)["cpu_us"].median
            ours = entry["peer"].startswith("kongdp")
            yield svg.Bar(label, found.median, found.low, found.high, ours, f"{cost:,.0f} us")
