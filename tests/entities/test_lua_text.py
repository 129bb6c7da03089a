"""Lua patterns and printed tables."""

import pytest

from kongdp.entities.lua_text import compile_pattern, one_line, pretty, quote


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("^%u+$", "GET", True),
        ("^%u+$", "get", False),
        ("^%u+$", "GET\n", False),
        ("^%*%.", "*.x", True),
        ("%.%*$", "x.*", True),
        ("^[^*]*%*?[^*]*$", "a*b", True),
        ("^[^*]*%*?[^*]*$", "a*b*", False),
        ("^[a-z][a-z%d-]-[a-z%d]+$", "my-env1", True),
        ("^[a-z][a-z%d-]-[a-z%d]+$", "my-", False),
        ("^[Hh][Oo][Ss][Tt]$", "hOST", True),
        ("^[%a_][%a%d_]*$", "_a1", True),
        ("^[%a_][%a%d_]*$", "1a", False),
        ("%S", " ", False),
    ],
)
def test_compile_pattern_when_matched(pattern: str, text: str, found: bool) -> None:
    """The patterns of our schemas find what Lua finds."""
    assert bool(compile_pattern(pattern)(text)) is found


def test_one_line_when_nested() -> None:
    """Keys sorted, null spelled out, no white space: the form in unique violations."""
    key = {"service": {"id": "1"}, "name": "x", "consumer": None}
    assert one_line(key) == '{consumer=null,name="x",service={id="1"}}'


def test_one_line_when_lists_have_holes() -> None:
    """Elements behind a hole carry their position, keys that are no names are quoted."""
    assert one_line({"a-b": [None, "x", 2]}) == '{["a-b"]={[2]="x",[3]=2}}'
    assert one_line([]) == "{}"


def test_pretty_when_nested() -> None:
    """Two spaces for each level: the form in messages of nested problems."""
    assert pretty({"http_statuses": ["no"]}) == '{\n  http_statuses = {\n    "no"\n  }\n}'


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("a\nb", "[[a\nb]]"),
        ("\nb]]", "[=[\n\nb]]]=]"),
        ("a\r\n", '"a\\r\\\n"'),
    ],
)
def test_quote_when_special(text: str, wanted: str) -> None:
    """Quotes and back-slashes are escaped; line breaks go into long brackets."""
    assert quote(text) == wanted
