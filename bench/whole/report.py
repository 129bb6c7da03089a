"""Results as a reader sees them: summaries, ratios, Markdown, and the comparison with an earlier result.

In: a result document (bench.whole.run).  Out: plain values and text.
"""

from collections.abc import Iterator
from typing import Any

from bench.stats import Spread, paired_differences, quartiles, spread
from bench.whole import bars
from bench.whole.figures import base_of, column, first_of, ratio, show, summarize


def brief(micros: float) -> str:
    """Microseconds in the unit that reads best."""
    return f"{micros / 1000:,.2f} ms" if micros >= 1000 else f"{micros:.0f} us"


def heading(document: dict[str, Any]) -> list[str]:
    """Machine and versions: they head every result."""
    facts = document["machine"]
    lines = [
        f"{facts['date']}, commit {facts['commit'] or 'unknown'}. {facts['processor']}, {facts['cores']} cores, "
        f"{facts['memory_gib']} GiB, Linux {facts['kernel']}; load average at the end {facts['load_average']}. "
        f"Python {facts['python']}.",
        "",
    ]
    lines += [f"- {name}: {version}" for name, version in document["versions"].items()]
    return lines


TITLES = (
    "", "CPU us/request", "to nginx", "to own first", "whole node", "requests/s", "p50", "p99", "p99.9", "RSS MiB", "calls"
)  # fmt: skip


def table(contestants: dict[str, Any]) -> Iterator[str]:
    """One scenario as a Markdown table."""
    yield "| " + " | ".join(TITLES) + " |"
    yield "|---|" + "---:|" * (len(TITLES) - 1)
    for label, entry in contestants.items():
        figures = summarize(entry)
        calls = entry.get("system_calls")
        cells = [
            label,
            show(figures["cpu_us"], 1),
            show(ratio(contestants, label, base_of(contestants, label))),
            show(ratio(contestants, label, first_of(contestants, label))),
            f"{figures['node_us'].median:.1f}",
            f"{figures['rps'].median:,.0f}",
            *(brief(figures[name].median) for name in ("p50_us", "p99_us", "p999_us")),
            f"{figures['rss_mib'].median:.0f}",
            "-" if calls is None else f"{calls:.1f}",
        ]
        yield "| " + " | ".join(cells) + " |"


def notes(contestants: dict[str, Any]) -> Iterator[str]:
    """What a table has no column for: errors, how connections spread over workers, what a setup adds."""
    for label, entry in contestants.items():
        first = first_of(contestants, label)
        if first is not None:
            added = paired_differences(column(entry, "cpu_us"), column(contestants[first], "cpu_us"))
            low, high = quartiles(added)
            yield (
                f"{label}: {spread(added).median:+.1f} us a request against {first} "
                f"(quartiles {low:+.1f} to {high:+.1f}, {len(added)} pairs)."
            )
        errors = sum(trial["errors"] for trial in entry["trials"])
        if errors:
            yield f"{label}: {errors} errors."
        if "connections" in entry:
            yield f"{label}: connections per worker {', '.join(map(str, entry['connections']))}."


def markdown(document: dict[str, Any], earlier: dict[str, Any] | None = None) -> str:
    """The whole document."""
    lines = heading(document)
    for name, scenario in document["scenarios"].items():
        contestants = scenario["contestants"]
        rounds = len(next(iter(contestants.values()))["trials"])
        lines += ["", f"### {scenario['title']} (`{name}`, {rounds} rounds)", "", *table(contestants)]
        lines += ["", *(f"- {note}" for note in notes(contestants))]
    judged = list(bars.judge(document))
    if judged:
        lines += ["", "### Bars", "", *bars.table(judged)]
    if earlier is not None:
        lines += ["", *compare(document, earlier)]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def compare(document: dict[str, Any], earlier: dict[str, Any]) -> list[str]:
    """Ratios to nginx now and in the earlier result, for contestants that are in both."""
    lines = [
        f"### Compared with {earlier['machine']['date']}, commit {earlier['machine']['commit'] or 'unknown'}",
        "",
        "| scenario | gateway | ratio to nginx then | now | change |",
        "|---|---|---:|---:|---:|",
    ]
    for name, scenario in document["scenarios"].items():
        before = earlier["scenarios"].get(name, {}).get("contestants", {})
        for label in scenario["contestants"]:
            if label in before:
                now = ratio(scenario["contestants"], label, base_of(scenario["contestants"], label))
                then = ratio(before, label, base_of(before, label))
                if now is not None and then is not None:
                    lines.append(f"| {name} | {label} | {show(then)} | {show(now)} | {verdict(then, now)} |")
    return lines


def verdict(then: Spread, now: Spread) -> str:
    """The change in percent, called noise when the two ranges overlap."""
    change = f"{(now.median / then.median - 1) * 100:+.0f} %"
    overlap = now.low <= then.high and then.low <= now.high
    return f"{change} (within the spread)" if overlap else change
