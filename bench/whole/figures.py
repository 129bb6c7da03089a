"""Figures of a result: medians, and ratios to nginx in the same setup or to the same gateway's first setup.

In: the contestants of a scenario (bench.whole.run).  Out: Spreads.
"""

from typing import Any

from bench.stats import Spread, paired_ratios, spread

BASE = "nginx"
COLUMNS = ("cpu_us", "node_us", "rps", "p50_us", "p99_us", "p999_us", "rss_mib", "node_mib", "busy", "user_share")


def column(entry: dict[str, Any], name: str) -> list[float]:
    """One figure of all rounds."""
    return [trial[name] for trial in entry["trials"]]


def summarize(entry: dict[str, Any]) -> dict[str, Spread]:
    """Median and range of each figure over the rounds."""
    return {name: spread(column(entry, name)) for name in COLUMNS}


def base_of(contestants: dict[str, Any], label: str) -> str | None:
    """The label of nginx in the same setup."""
    setup = contestants[label]["setup"]
    for other, entry in contestants.items():
        if entry["peer"] == BASE and entry["setup"] == setup and other != label:
            return other
    return None


def first_of(contestants: dict[str, Any], label: str) -> str | None:
    """The label of the same gateway in the scenario's first setup, when this is not the first."""
    peer = contestants[label]["peer"]
    first = next(other for other, entry in contestants.items() if entry["peer"] == peer)
    return first if first != label else None


def ratio(contestants: dict[str, Any], label: str, base: str | None, name: str = "cpu_us") -> Spread | None:
    """The paired ratio of a figure to another contestant's; None where there is nothing to compare with."""
    if base is None:
        return None
    ratios = paired_ratios(column(contestants[label], name), column(contestants[base], name))
    return spread(ratios) if ratios else None


def show(value: Spread | None, digits: int = 2) -> str:
    """`1.23 (1.20-1.31)`, a dash for nothing."""
    if value is None:
        return "-"
    return f"{value.median:.{digits}f} ({value.low:.{digits}f}-{value.high:.{digits}f})"
