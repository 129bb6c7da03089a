"""Put measured results into bench/results and bench/RESULTS.md.

    python -m bench.publish headline=.artifacts/bench/20261126-154500.json others=... soak=.artifacts/bench/soak.json

Each NAME=FILE (a result, or a text or Markdown file with what a command printed) replaces what stands in RESULTS.md
between `<!-- NAME -->` and `<!-- /NAME -->`, and writes its charts and, shortened to four digits, its figures to
bench/results. Figures of `parts` come from `.ci/bench parts`, of `soak` from bench/soak.
"""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from bench.machine import ROOT
from bench.whole import plots, report

RESULTS = ROOT / "bench" / "results"
TITLES = {"": "CPU per request, ratios to nginx", "-latency": "Latency at fixed rates"}
PAGE = ROOT / "bench" / "RESULTS.md"


def shortened(value: Any) -> Any:
    """The same with numbers of four significant digits: what a measurement is good for."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: shortened(one) for key, one in value.items()}
    if isinstance(value, list):
        return [shortened(one) for one in value]
    return value


def replaced(page: str, name: str, text: str) -> str:
    """The page with another text between the marks of that name. Raises ValueError where there are none."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{PAGE.name} has no {begin} ... {end}")
    return f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}"


def whole(name: str, source: Path) -> str:
    """A result of bench.whole: chart, tables, figures."""
    document = json.loads(source.read_text())
    (RESULTS / f"{name}.json").write_text(json.dumps(shortened(document)) + "\n")
    shown = []
    for ending, chart in plots.charts(document).items():
        (RESULTS / f"{name}{ending}.svg").write_text(chart)
        shown.append(f"![{TITLES[ending]}](results/{name}{ending}.svg)")
    return "\n\n".join([*shown, report.markdown(document).strip()])


def soak(name: str, source: Path) -> str:
    """A result of bench/soak: its chart stands beside its figures."""
    document = json.loads(source.read_text())
    shutil.copyfile(source.with_suffix(".svg"), RESULTS / f"{name}.svg")
    facts = document["machine"]
    head = f"{facts['date']}, commit {facts['commit'] or 'unknown'}; {', '.join(document['version'].split(chr(10)))}."
    return "\n\n".join([head, document["report"], f"![Memory and descriptors](results/{name}.svg)"])


def parts(name: str, source: Path) -> str:
    """A run of the part benches: the charts, and a line a bench."""
    document = json.loads(source.read_text())
    charts = []
    for chart in ("match", "routes"):
        made = source.parent / f"{chart}.svg"
        if made.exists():
            shutil.copyfile(made, RESULTS / f"{chart}.svg")
            charts.append(f"![{chart}](results/{chart}.svg)")
    lines = ["| bench | fastest round, us | |", "|---|---:|---|"]
    for one in document["benchmarks"]:
        facts = ", ".join(f"{key} {value:,}" for key, value in one["extra_info"].items())
        test = re.sub(r"^test_", "", one["name"])
        lines.append(f"| {test} | {one['stats']['min'] * 1e6:,.2f} | {facts} |")
    return "\n\n".join([*charts, "\n".join(lines)])


def text(name: str, source: Path) -> str:
    """What a command printed: Markdown as it is, anything else as it looked."""
    words = source.read_text().strip()
    return words if source.suffix == ".md" else f"```\n{words}\n```"


KINDS = {"soak": soak, "parts": parts}


def main(arguments: list[str]) -> int:
    """Publish each of the given results."""
    RESULTS.mkdir(exist_ok=True)
    page = PAGE.read_text()
    for argument in arguments:
        name, _, source = argument.partition("=")
        if not source:
            raise SystemExit(f"{argument}: expected NAME=FILE; see the top of bench/publish.py")
        usual = whole if source.endswith(".json") else text
        page = replaced(page, name, KINDS.get(name, usual)(name, Path(source)))
        print(f"published: {name}")
    PAGE.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
