"""Texts with `$(...)` in them, filled in for each request.

In: a text as configured, and tables of the request.  Out: the text. What stands in the brackets is compiled when the configuration is:
look-ups (`headers.x`, `headers["x-y"]`, `query_params.q`, `uri_captures[1]`, `uri_captures.name`, `shared.x`), literals, `or`, `and`,
`..` and brackets. Kong runs Lua there, in a sandbox; anything beyond this is refused with the configuration.
House rule: a template can read what its tables hold and do nothing else.
Hot for routes whose plugins have templates. Source: spec of bundled plugins, section 4; Lua 5.1 manual, section 2.5.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from kongdp.plugins.base import ExchangeView, PluginError
from kongdp.plugins.fields import arguments

Tables = Mapping[str, Callable[[str], str | None]]
"""Name -> look-up of one of its values."""

Part = Callable[[Tables], str | None]

TABLES = ("headers", "query_params", "uri_captures", "shared")

_TOKEN = re.compile(
    r"""\s*(?:(?P<name>[A-Za-z_]\w*)|(?P<number>\d+)|(?P<text>"[^"]*"|'[^']*')|(?P<sign>\.\.|[.\[\]()]))"""
)


class Template:
    """A text; `render` fills it in. One without `$(` is itself."""

    __slots__ = ("_parts", "text")

    def __init__(self, text: str) -> None:
        """Raises PluginError for what is not understood."""
        self.text = text
        self._parts: list[Part] | None = None
        if "$(" in text:
            self._parts = _compile(text)

    def render(self, tables: Tables) -> str:
        """The text for one request; what is absent is nothing."""
        if self._parts is None:
            return self.text
        return "".join([part(tables) or "" for part in self._parts])


def _compile(text: str) -> list[Part]:
    parts: list[Part] = []
    at = 0
    while (begin := text.find("$(", at)) >= 0:
        if begin > at:
            parts.append(_constant(text[at:begin]))
        end = _closing(text, begin + 1)
        if end < 0:
            raise PluginError(f"template '{text}': a bracket is not closed")
        parts.append(_Parser(text, text[begin + 2 : end]).parse())
        at = end + 1
    if at < len(text):
        parts.append(_constant(text[at:]))
    return parts


def _closing(text: str, at: int) -> int:
    """Where the bracket at `at` closes, brackets within counted; -1 when it does not."""
    depth = 0
    for index in range(at, len(text)):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if not depth:
            return index
    return -1


def _constant(text: str | None) -> Part:
    return lambda tables: text


class _Parser:
    """One expression, by recursive descent; `or` binds loosest, then `and`, then `..`."""

    def __init__(self, template: str, source: str) -> None:
        self._template = template
        self._source = source
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while source[at:].strip():
            found = _TOKEN.match(source, at)
            if found is None:
                raise self._problem(source[at:].strip())
            self._tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
            at = found.end()

    def parse(self) -> Part:
        """The whole expression."""
        found = self._either()
        if self._tokens:
            raise self._problem(self._tokens[0][1])
        return found

    def _problem(self, what: str) -> PluginError:
        known = ", ".join(TABLES)
        return PluginError(
            f"template '{self._template}': '{what}' is not understood; look-ups in {known}, literals, or, and, .. are"
        )

    def _take(self, value: str) -> bool:
        if self._tokens and self._tokens[0][0] != "text" and self._tokens[0][1] == value:
            self._tokens.pop(0)
            return True
        return False

    def _either(self) -> Part:
        left = self._both()
        while self._take("or"):
            left = _or(left, self._both())
        return left

    def _both(self) -> Part:
        left = self._joined()
        while self._take("and"):
            left = _and(left, self._joined())
        return left

    def _joined(self) -> Part:
        left = self._value()
        while self._take(".."):
            left = _join(left, self._value())
        return left

    def _value(self) -> Part:
        if self._take("("):
            found = self._either()
            if not self._take(")"):
                raise self._problem("(")
            return found
        kind, value = self._tokens.pop(0) if self._tokens else ("", "")
        if kind == "text":
            return _constant(value[1:-1])
        if kind == "number":
            return _constant(value)
        if value in ("nil", "false"):
            return _constant(None)
        if value == "true":
            return _constant("true")
        if value in TABLES:
            return self._look_up(value)
        raise self._problem(value or self._source)

    def _look_up(self, table: str) -> Part:
        if self._take(".") and self._tokens and self._tokens[0][0] == "name":
            return _from(table, self._tokens.pop(0)[1])
        if self._take("[") and self._tokens and self._tokens[0][0] in ("text", "number"):
            kind, value = self._tokens.pop(0)
            if self._take("]"):
                return _from(table, value[1:-1] if kind == "text" else value)
        raise self._problem(table)


def _or(left: Part, right: Part) -> Part:
    def value(tables: Tables) -> str | None:
        found = left(tables)
        return right(tables) if found is None else found

    return value


def _and(left: Part, right: Part) -> Part:
    return lambda tables: None if left(tables) is None else right(tables)


def _join(left: Part, right: Part) -> Part:
    return lambda tables: (left(tables) or "") + (right(tables) or "")


def _from(table: str, name: str) -> Part:
    return lambda tables: tables[table](name)


def request_tables(exchange: ExchangeView) -> Tables:
    """The tables of one exchange. Names of fields are found whatever their case, with `_` for `-`."""

    def headers(name: str) -> str | None:
        found = exchange.request_fields.first(name.lower().replace("_", "-").encode())
        return None if found is None else found.decode("utf-8", "surrogateescape")

    def query(name: str) -> str | None:
        wanted = name.encode()
        found = next((value or b"true" for each, value in arguments(exchange.query) if each == wanted), None)
        return None if found is None else found.decode("utf-8", "surrogateescape")

    return {
        "headers": headers,
        "query_params": query,
        "uri_captures": exchange.captures.get,
        "shared": lambda name: None,
    }
