"""Lines beside problems."""

import json
from typing import Any

import pytest

from kongdp.entities.declarative import DeclarativeError, load, parse_text
from kongdp.entities.declarative_lines import DEPTH_MAX, Marks, marks_of

TEXT = """\
_format_version: "3.0"
_comment: &base
  protocol: nonsense
services:
- name: a
  host: a.test
  routes:
  - name: r
    paths:
    - /ok
    - not ok
- <<: *base
  name: b
-
  name: a
  host: other.test
upstreams: 5
"""


def refusal(text: str) -> list[str]:
    with pytest.raises(DeclarativeError) as caught:
        load(parse_text(text))
    return caught.value.lines(marks_of(text))


def line_of(lines: list[str], words: str) -> str:
    (found,) = [line for line in lines if words in line]
    return found.rpartition(" (")[2].rstrip(")")


def test_lines_are_named_when_a_configuration_is_refused() -> None:
    """A field's own line, a missing field's entity, an entity's first, a merged key's source, a list's own."""
    lines = refusal(TEXT)
    assert line_of(lines, "should start with") == "line 11"
    assert line_of(lines, "'host': required field missing") == "line 12"
    assert line_of(lines, "'protocol'") == "line 3"
    assert line_of(lines, "with name set to") == "line 15"
    assert line_of(lines, "'upstreams'") == "line 17"


def test_lines_are_named_when_the_text_is_json() -> None:
    """JSON is YAML."""
    config: dict[str, Any] = {"_format_version": "3.0", "services": [{"name": "a"}]}
    assert line_of(refusal(json.dumps(config, indent=1)), "'host'") == "line 4"


def test_lines_are_as_before_when_nothing_is_known_of_the_text() -> None:
    """No marks, no numbers."""
    with pytest.raises(DeclarativeError) as caught:
        load({"_format_version": "3.0", "services": [{"name": "a"}]})
    assert caught.value.lines() == [
        "in 'services':",
        "  - in entry 1 of 'services':",
        "    in 'host': required field missing",
    ]


@pytest.mark.parametrize("text", ["", "[", "a: *nobody", "[" * (DEPTH_MAX + 2), b"\xff", "\x00"])
def test_marks_are_none_when_the_text_is_no_yaml(text: str | bytes) -> None:
    """Whatever it is."""
    assert marks_of(text) is None


def test_marks_of_a_missing_child_are_its_parents() -> None:
    """The nearest line that there is."""
    marks = Marks(3, {"a": Marks(4)})
    assert (marks.at("a").line, marks.at("b").line, marks.at(0).line) == (4, 3, 3)
