"""Charts are well-formed and put values where they belong."""

import math
from xml.etree import ElementTree

import pytest

from bench import svg


def test_bars_are_drawn_to_one_scale() -> None:
    """Twice the value, twice the width, in every group."""
    groups = [("A", [svg.Bar("x", 1.0, 0.9, 1.1)]), ("B & C", [svg.Bar("y <z>", 2.0, 2.0, 2.0, True, "40 us")])]
    root = ElementTree.fromstring(svg.bars("T", groups, mark=1.0))
    widths = [float(rect.get("width", "0").rstrip("%")) for rect in root.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert widths[1] == pytest.approx(2 * widths[0], abs=0.2)
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "y <z>" in words
    assert "2.00 · 40 us" in words


def test_bar_that_is_too_long_is_broken_off_and_keeps_its_figure() -> None:
    """The others stay readable."""
    chart = svg.bars("T", [("A", [svg.Bar("x", 1.0, 1.0, 1.0), svg.Bar("y", 17.0, 15.0, 21.0)])], most=2.0)
    root = ElementTree.fromstring(chart)
    widths = [float(rect.get("width", "0").rstrip("%")) for rect in root.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert widths[1] == pytest.approx(2 * widths[0], abs=0.2)
    assert "17.00" in chart
    assert chart.count("//</text>") == 1


def test_lines_and_stacks_are_well_formed() -> None:
    """With one point, none, and several panels."""
    series = [svg.Line("a", [(0.0, 1.0), (1.0, 100.0)]), svg.Line("b", [])]
    one = svg.lines("T", series, x_label="x", y_label="y", y_axis=svg.logarithmic)
    ElementTree.fromstring(svg.stack([one, svg.lines("U", [], x_label="x", y_label="y")]))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 7.3), (3, 4), (0, 12345), (5, 5)])
def test_linear_axis_has_a_few_round_ticks(low: float, high: float) -> None:
    """Inside the range, ends at the pixels it was given."""
    axis = svg.linear(low, high, 10, 110)
    assert axis.place(low) == 10
    assert len(axis.ticks) <= 7
    assert all(low - 1e-9 <= value <= max(high, low + 1) for value, _ in axis.ticks)


def test_percentile_axis_gives_each_nine_the_same_room() -> None:
    """0, 90, 99 and 99.9 % are evenly spaced."""
    axis = svg.percentiles(0.999, 0, 300)
    assert [round(axis.place(share)) for share in (0.0, 0.9, 0.99, 0.999)] == [0, 100, 200, 300]
    assert math.isclose(axis.place(1.0), 300)
