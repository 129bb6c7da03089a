"""Results that are put into the page of results."""

import pytest

from bench import publish


def test_text_between_the_marks_is_replaced() -> None:
    """And nothing else."""
    page = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n<!-- y -->\n<!-- /y -->\n"
    once = publish.replaced(page, "x", "new")
    assert once == "a\n<!-- x -->\n\nnew\n\n<!-- /x -->\nb\n<!-- y -->\n<!-- /y -->\n"
    assert publish.replaced(once, "x", "new") == once


def test_unknown_name_is_refused() -> None:
    """A result without a place would be lost silently."""
    with pytest.raises(ValueError, match="has no <!-- z -->"):
        publish.replaced("a", "z", "new")


def test_figures_are_shortened_to_what_they_are_good_for() -> None:
    """Four digits, at any depth; counts stay."""
    assert publish.shortened({"a": [1.23456, 2], "b": {"c": 123456.7, "d": "x"}}) == {
        "a": [1.235, 2],
        "b": {"c": 123500.0, "d": "x"},
    }


def test_page_has_a_place_for_every_kind() -> None:
    """As it is committed."""
    page = publish.PAGE.read_text()
    for name in ("headline", "others", "counters", "soak", "parts"):
        publish.replaced(page, name, "")
