"""Declarative files as text: what is read, and what is refused with its place."""

from typing import Any

import pytest

from kongdp.entities.declarative import DeclarativeError, parse_text

_PREFIX = "failed parsing declarative configuration: "


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        ("a: 1", {"a": 1}),
        ("{a: 1,}", {"a": 1}),
        ('a: "1"\nb: 1.5\nc: 0x1f\nd: yes\ne: ~\nf: 2024-01-01\n1: x\non: y', {
            "a": "1", "b": 1.5, "c": 31, "d": True, "e": None, "f": "2024-01-01", "1": "x", "on": "y",
        }),
        ("a: &x [1]\nb: *x\nc: {<<: {d: 1}, e: 2}\nf: {<<: [{d: 1}, {d: 2}], e: 1}", {
            "a": [1], "b": [1], "c": {"d": 1, "e": 2}, "f": {"d": 1, "e": 1},
        }),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("a: 99999999999999999999", {"a": 1e20}),
    ],
)  # fmt: skip
def test_parse_text_when_json_or_yaml(text: str | bytes, value: Any) -> None:
    """JSON, YAML in both styles, aliases and merges; dates and keys stay text."""
    assert parse_text(text) == value


@pytest.mark.parametrize(
    ("text", "hint", "reason"),
    [
        ('{"a": [}', "", "at line 1 column 8"),
        ('{"a":\n 1,}', "kong.json", "trailing comma is not allowed at line 2 column 3"),
        ("a: [1,\nb: 2", "", "at line"),
        ("a: @x", "kong.yaml", "at line 1 column 4"),
        ("- 1", "", "expected an object"),
        ("", "", "expected an object"),
        ("a: *x", "", "undefined alias x at line 1 column 4"),
        ("a: &x [*x]", "", "undefined alias x at line 1 column 8"),
        ("a: !!python/name:os.system x", "", "tag python/name:os.system is not known here at line 1 column 4"),
        ("a: !!set {b}", "", "is not known here"),
        ("? [a]\n: b", "", "a key must be text"),
        ("a: 1\n---\nb: 2", "", "expected a single document"),
        ("a: {<<: 5}", "", "expected a mapping to merge"),
        ("a: !!int x", "", "not a number: x"),
        (b"a: \xff", "", "not UTF-8 (byte 3)"),
        ("a: \x01", "", "not allowed"),
    ],
)
def test_parse_text_when_it_cannot_be_read(text: str | bytes, hint: str, reason: str) -> None:
    """The reason says what and where."""
    with pytest.raises(DeclarativeError) as caught:
        parse_text(text, hint)
    assert caught.value.fields["error"].startswith(_PREFIX)
    assert reason in caught.value.fields["error"]


def test_parse_text_when_the_file_is_of_another_kind() -> None:
    """Only JSON and YAML files are taken."""
    with pytest.raises(DeclarativeError) as caught:
        parse_text("", "kong.toml")
    assert caught.value.fields == {"error": "unknown file type: kong.toml. (Accepted types: json, yaml)"}


def test_parse_text_when_nested_without_end() -> None:
    """Depth that would overflow a recursive reader is refused."""
    for text in ("[" * 100_000, '{"a":' * 100_000, "a: " + "[" * 5000, "a: " + "{a: " * 200):
        with pytest.raises(DeclarativeError):
            parse_text(text)


def test_parse_text_when_aliases_multiply() -> None:
    """A file whose aliases stand for a thousand million values is refused before they are built."""
    lines = ["x0: &x0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"x{level}: &x{level} [{', '.join([f'*x{level - 1}'] * 10)}]" for level in range(1, 10)]
    with pytest.raises(DeclarativeError, match="more than 20000000 values"):
        parse_text("\n".join(lines))
