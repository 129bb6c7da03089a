"""What is made of a result document."""

from typing import Any

from bench.stats import Spread
from bench.whole import report


def contestant(peer: str, costs: list[float], setup: str = "", **more: Any) -> dict[str, Any]:
    names = dict.fromkeys(report.COLUMNS, 1000.0)
    return {"peer": peer, "setup": setup, "trials": [{**names, "cpu_us": cost, "errors": 0} for cost in costs], **more}


def document(costs: list[float], date: str = "2026-01-01 00:00 UTC") -> dict[str, Any]:
    facts = {"date": date, "commit": "c0ffee", "processor": "P", "cores": 2, "memory_gib": 4, "kernel": "6"}
    contestants = {
        "nginx": contestant("nginx", [10.0, 20.0]),
        "kongdp": contestant("kongdp", costs, system_calls=4.04),
        "kongdp (2 workers)": contestant("kongdp", [13.0, 26.0], "2 workers", connections=[30, 34]),
    }
    scenarios = {"get-1k": {"title": "GET", "contestants": contestants}}
    return {"machine": {**facts, "load_average": 0.5}, "versions": {"kongdp": "0.1, compiled"}, "scenarios": scenarios}


def test_ratio_is_of_rounds_and_to_nginx_of_the_same_setup() -> None:
    """A setup that nginx did not run has no ratio to it, but one to the same gateway's first setup."""
    contestants = document([12.0, 22.0])["scenarios"]["get-1k"]["contestants"]
    assert report.base_of(contestants, "kongdp") == "nginx"
    assert report.base_of(contestants, "kongdp (2 workers)") is None
    assert report.base_of(contestants, "nginx") is None
    assert report.first_of(contestants, "kongdp (2 workers)") == "kongdp"
    assert report.first_of(contestants, "kongdp") is None
    found = report.ratio(contestants, "kongdp", "nginx")
    assert found is not None
    assert report.show(found) == "1.15 (1.10-1.20)"


def test_markdown_is_headed_by_machine_and_versions() -> None:
    """And shows ratios, system calls, and what the table has no column for."""
    text = report.markdown(document([12.0, 22.0]))
    assert text.startswith("2026-01-01 00:00 UTC, commit c0ffee. P, 2 cores")
    assert "- kongdp: 0.1, compiled" in text
    assert "| kongdp | 17.0 (12.0-22.0) | 1.15 (1.10-1.20) | - |" in text
    assert "| 4.0 |" in text
    assert "kongdp (2 workers): connections per worker 30, 34." in text


def test_errors_are_named() -> None:
    """A fast gateway that refuses is not fast."""
    wrong = document([12.0, 22.0])
    wrong["scenarios"]["get-1k"]["contestants"]["kongdp"]["trials"][1]["errors"] = 7
    assert "kongdp: 7 errors." in report.markdown(wrong)


def test_comparison_tells_change_from_noise() -> None:
    """Ranges that overlap are no change; contestants that are in one result only are left out."""
    text = report.markdown(document([12.0, 22.0]), document([24.0, 44.0], date="2025-12-31 00:00 UTC"))
    assert "### Compared with 2025-12-31 00:00 UTC" in text
    assert "| get-1k | kongdp | 2.30 (2.20-2.40) | 1.15 (1.10-1.20) | -50 % |" in text
    assert report.verdict(Spread(1.2, 1.1, 1.3, 3), Spread(1.25, 1.2, 1.4, 3)) == "+4 % (within the spread)"
