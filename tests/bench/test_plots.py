"""What the charts take from results."""

from bench.parts import plots as parts
from bench.whole import plots
from tests.bench.test_report import document


def row(name: str, **extra: float) -> dict[str, object]:
    return {"name": name, "extra_info": extra}


def test_ratio_chart_shows_ratios_to_nginx_of_the_same_setup() -> None:
    """And nothing for a gateway that nginx did not run beside."""
    chart = plots.charts(document([12.0, 22.0]))[""]
    assert "1.15 · 17 us" in chart
    assert "nginx = 1" in chart
    assert "2 workers" not in chart


def test_result_without_nginx_has_no_chart_of_ratios() -> None:
    """There is nothing to divide by."""
    alone = document([12.0, 22.0])
    del alone["scenarios"]["get-1k"]["contestants"]["nginx"]
    assert plots.charts(alone) == {}


def test_match_times_are_sorted_out_by_kind_and_traffic() -> None:
    """Whatever the order of a test's parameters."""
    found = parts.match_times(
        [
            row("test_match[prefix-10-hot]", **{parts.NS: 150}),
            row("test_match[hot-10000-prefix]", **{parts.NS: 160}),
            row("test_match[host-10-uniform]", **{parts.NS: 900}),
            row("test_build[10000-prefix]", **{"µs per route": 10}),
        ]
    )
    assert found == {"prefix": {"hot": [(10, 150), (10_000, 160)]}, "host": {"uniform": [(10, 900)]}}


def test_charts_without_figures_are_not_made() -> None:
    """A run of some of the benches writes what it has."""
    assert parts.match_chart([]) is None
    assert parts.weights_chart([row("test_head")]) is None
    assert "666" in (parts.weights_chart([row("test_memory_of_a_route[prefix]", **{"bytes per route": 666})]) or "")
