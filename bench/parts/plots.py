"""Charts of the part benches, from pytest-benchmark's JSON: a match by the size of the table, and what a route costs.

    python -m bench.parts.plots .artifacts/bench/parts.json DIRECTORY

Writes match.svg and routes.svg, as far as the JSON has their figures. `.ci/bench parts` calls it after each run.
"""

import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from bench import svg

MATCH = re.compile(r"test_match\[(\w+)-(\d+)-(\w+)\]")
NS = "ns per match (fastest round)"
KINDS = ("prefix", "host", "regex")
WEIGHTS = (  # test, key of its extra_info, what it is shown as
    (re.compile(r"test_build\[(\w+)-10000\]|test_build\[10000-(\w+)\]"), "µs per route", "Router built, us a route"),
    (re.compile(r"test_memory_of_a_route\[(\w+)\]"), "bytes per route", "Router in memory, bytes a route"),
    (re.compile(r"test_configuration_(is_compiled)$"), "µs per route", "Whole configuration compiled, us a route"),
    (
        re.compile(r"test_configuration_(weighs)$"),
        "bytes per route and service",
        "In a worker, bytes a route and service",
    ),
    (re.compile(r"test_configuration_(weighs)$"), "bytes per plan in use", "And once it is asked for, bytes"),
)


def match_times(benchmarks: list[dict[str, Any]]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Kind of table -> traffic -> (routes, ns a match)."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for one in benchmarks:
        name = MATCH.fullmatch(one["name"])
        if name and NS in one["extra_info"]:
            parts = sorted(name.groups(), key=lambda part: (part not in KINDS, not part.isdigit()))
            kind, count, traffic = parts
            found[kind][traffic].append((float(count), float(one["extra_info"][NS])))
    return found


def match_chart(benchmarks: list[dict[str, Any]]) -> str | None:
    """A panel a kind of table, a line a kind of traffic."""
    panels = []
    for kind, by_traffic in match_times(benchmarks).items():
        series = [svg.Line(traffic, sorted(points)) for traffic, points in by_traffic.items()]
        panels.append(
            svg.lines(
                f"One match in a table of {kind} routes",
                series,
                x_label="routes",
                y_label="ns",
                x_axis=svg.logarithmic,
                height=240,
            )
        )
    return svg.stack(panels) if panels else None


def weights_chart(benchmarks: list[dict[str, Any]]) -> str | None:
    """What a route costs to build and to keep, each figure on a scale of its own."""
    panels = []
    for pattern, key, title in WEIGHTS:
        rows = []
        for one in benchmarks:
            name = pattern.fullmatch(one["name"])
            if name and key in one["extra_info"]:
                value = float(one["extra_info"][key])
                label = next(filter(None, name.groups()))
                rows.append(svg.Bar(label.replace("_", " "), value, value, value, is_ours=True))
        if rows:
            panels.append(svg.bars(title, [("", rows)]))
    return svg.stack(panels) if panels else None


def main(source: str, directory: str) -> None:
    """Write the charts there are figures for."""
    benchmarks = json.loads(Path(source).read_text())["benchmarks"]
    for name, chart in (("match", match_chart(benchmarks)), ("routes", weights_chart(benchmarks))):
        if chart is not None:
            path = Path(directory) / f"{name}.svg"
            path.write_text(chart)
            print(f"written: {path}")


if __name__ == "__main__":
    main(*sys.argv[1:])
