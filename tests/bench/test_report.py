"""What is made of a result document."""

from typing import Any

from bench.stats import Spread
from bench.whole import bars, figures, report


def contestant(peer: str, costs: list[float], setup: str = "", **more: Any) -> dict[str, Any]:
    names = dict.fromkeys(figures.COLUMNS, 1000.0)
    return {"peer": peer, "setup": setup, "trials": [{**names, "cpu_us": cost, "errors": 0} for cost in costs], **more}


def document(costs: list[float], date: str = "2026-01-01 00:00 UTC") -> dict[str, Any]:
    facts = {
        "date": date,
        "commit": "c0ffee",
        "processor": "P",
        "cores": 2,
        "memory_gib": 4,
        "kernel": "6",
        "python": "3",
    }
    contestants = {
        "nginx": contestant("nginx", [10.0, 20.0]),
        "caddy": contestant("caddy", [60.0, 80.0]),
        "kongdp": contestant("kongdp", costs, system_calls=4.04),
        "kongdp (2 workers)": contestant("kongdp", [13.0, 26.0], "2 workers", connections=[30, 34]),
    }
    scenarios = {"get-1k": {"title": "GET", "contestants": contestants}}
    return {"machine": {**facts, "load_average": 0.5}, "versions": {"kongdp": "0.1, compiled"}, "scenarios": scenarios}


def test_ratio_is_of_rounds_and_to_nginx_of_the_same_setup() -> None:
    """A setup that nginx did not run has no ratio to it, but one to the same gateway's first setup."""
    contestants = document([12.0, 22.0])["scenarios"]["get-1k"]["contestants"]
    assert figures.base_of(contestants, "kongdp") == "nginx"
    assert figures.base_of(contestants, "kongdp (2 workers)") is None
    assert figures.base_of(contestants, "nginx") is None
    assert figures.first_of(contestants, "kongdp (2 workers)") == "kongdp"
    assert figures.first_of(contestants, "kongdp") is None
    found = figures.ratio(contestants, "kongdp", "nginx")
    assert found is not None
    assert figures.show(found) == "1.15 (1.10-1.20)"


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


def test_difference_to_the_first_setup_is_of_pairs() -> None:
    """Microseconds, with the quartiles that outliers cannot move."""
    text = report.markdown(document([12.0, 22.0]))
    assert "kongdp (2 workers): +2.5 us a request against kongdp (quartiles +1.8 to +3.2, 2 pairs)." in text


def test_bars_are_judged_by_the_median_of_paired_ratios() -> None:
    """1.15 to nginx is held, four times below Caddy is held, what was not measured is not judged."""
    judged = {(bar.title, held): value.median for bar, value, held in bars.judge(document([12.0, 22.0]))}
    assert [(title, held) for title, held in judged] == [
        ("GET 1 KB with 10 fields", True),
        ("Below Caddy by 4", True),
    ]
    assert not all(held for *_, held in bars.judge(document([12.0, 24.0])))
