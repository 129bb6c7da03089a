"""Lua's text forms that show in Kong's answers: patterns in schemas, tables printed in messages.

In: a Lua pattern, or a plain value.  Out: a compiled `re` pattern, or the text Kong prints for it.
Cold: patterns are compiled once, when a schema is made; values are printed when something was refused.
Source: Lua 5.1 manual section 5.4.1 (patterns), 5.4 (`%q`); Penlight's `pretty.write` layout as Kong's answers show it.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

_CLASSES = {
    "a": "A-Za-z",
    "c": r"\x00-\x1f\x7f",
    "d": "0-9",
    "l": "a-z",
    "p": r"!-/:-@\[-`{-~",
    "s": r"\t-\r ",
    "u": "A-Z",
    "w": "A-Za-z0-9",
    "x": "A-Fa-f0-9",
}
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def compile_pattern(pattern: str) -> Callable[[str], object]:
    """Translate a Lua pattern into a search function (truthy when found).

    Knows what our schemas use: classes, sets, anchors and the quantifiers `* + - ?`; not `%b`, `%f` or back-references.
    """
    out: list[str] = []
    index = 0
    while index < len(pattern):
        char = pattern[index]
        if char == "%":
            index += 1
            out.append(_escaped(pattern[index]))
        elif char == "[":
            text, index = _set(pattern, index)
            out.append(text)
        elif char == "^" and index == 0:
            out.append(r"\A")
        elif char == "$" and index == len(pattern) - 1:
            out.append(r"\Z")
        elif char == "-":
            out.append("*?")
        elif char in "*+?.()":
            out.append(char)
        else:
            out.append(re.escape(char))
        index += 1
    return re.compile("".join(out), re.DOTALL).search


def _escaped(char: str) -> str:
    name = char.lower()
    if name not in _CLASSES or not char.isalpha():
        return re.escape(char)
    return f"[{'^' if char.isupper() else ''}{_CLASSES[name]}]"


def _set(pattern: str, index: int) -> tuple[str, int]:
    """A set that begins at `index`; returns its translation and the index of its closing bracket."""
    out = ["["]
    index += 1
    if pattern[index] == "^":
        out.append("^")
        index += 1
    while pattern[index] != "]":
        char = pattern[index]
        if char == "%":
            index += 1
            out.append(_CLASSES.get(pattern[index]) or re.escape(pattern[index]))
        elif char == "-":
            out.append("-")
        else:
            out.append(re.escape(char))
        index += 1
    out.append("]")
    return "".join(out), index


def quote(text: str) -> str:
    """A string as Lua's `%q` writes it; one with line breaks in long brackets, as Penlight does."""
    if "\n" in text and "\r" not in text:
        level = 0
        while f"]{'=' * level}]" in text + "]":
            level += 1
        equals = "=" * level
        return f"[{equals}[{chr(10) if text.startswith(chr(10)) else ''}{text}]{equals}]"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\\n").replace("\r", "\\r")
    return '"' + escaped.replace("\0", "\\0") + '"'


def scalar(value: object) -> str:
    """A value that is not a table as Lua's `tostring` shows it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"{value:.14g}"
    return str(value)


def one_line(value: Any) -> str:
    """A table without white space: `{name="x",service={id="..."}}`, keys sorted."""
    return _write(value, "", "", "=", ",", "")


def pretty(value: Any) -> str:
    """A table over several lines, indented by two spaces, keys sorted."""
    return _write(value, "", "\n", " = ", ",\n", "  ")


def _write(value: Any, indent: str, newline: str, equals: str, comma: str, step: str) -> str:
    if isinstance(value, str):
        return quote(value)
    if not isinstance(value, (Mapping, list, tuple)):
        return scalar(value)
    deeper = indent + step
    items = [
        f"{deeper}{key}{_write(item, deeper, newline, equals, comma, step)}" for key, item in _entries(value, equals)
    ]
    if not items:
        return "{" + newline + indent + "}" if newline else "{}"
    return "{" + newline + comma.join(items) + newline + indent + "}"


def _entries(value: Mapping[Any, Any] | list[Any] | tuple[Any, ...], equals: str) -> list[tuple[str, Any]]:
    """Keys with their equals sign, and values, in the order in which they are printed."""
    if isinstance(value, Mapping):
        return [(_key(key) + equals, value[key]) for key in sorted(value, key=str)]
    entries: list[tuple[str, Any]] = []
    hole = False
    for position, item in enumerate(value, 1):
        if item is None:
            hole = True
        else:
            entries.append((f"[{position}]{equals}" if hole else "", item))
    return entries


def _key(key: object) -> str:
    if isinstance(key, str) and _IDENTIFIER.match(key):
        return key
    return f"[{quote(key) if isinstance(key, str) else scalar(key)}]"
