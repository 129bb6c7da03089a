"""The expression language of routes: text to a checked tree.

In: the text of a route's `expression`.  Out: a tree of And, Or, Not and Predicate, or ExpressionError with the place
and reason.
    http.path ^= "/api" && (http.method == "GET" || any(lower(http.headers.x_env)) == "test")
`||` binds tighter than `&&`, as in the engine Kong 3.9 ships. `!` stands only before a
parenthesis. Every field has a type, and the operator and literal must suit it.
Cold. Source: Kong's atc-router 1.7.1, grammar, parser and semantics.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Literal = str | int | Address | Network

STRING, INT, ADDRESS = "String", "Int", "IpAddr"

FIELD_TYPES: Mapping[str, str] = {
    "net.protocol": STRING,
    "tls.sni": STRING,
    "http.method": STRING,
    "http.host": STRING,
    "http.path": STRING,
    "http.path.segments.len": INT,
    "net.src.port": INT,
    "net.dst.port": INT,
    "net.src.ip": ADDRESS,
    "net.dst.ip": ADDRESS,
}
HEADER_FIELD = "http.headers."
QUERY_FIELD = "http.queries."
SEGMENT_FIELD = "http.path.segments."
_ALIASES: Mapping[str, str] = {"net.port": "net.dst.port"}

_SPACE = re.compile(r"[ \t\r\n]*")
_IDENT = re.compile(r"[A-Za-z][A-Za-z0-9_.]*")
_OPERATOR = re.compile(r"==|!=|~|\^=|=\^|>=|>|<=|<|contains\b|in\b|not[ \t\r\n]*in\b")
_STRING = re.compile(r'"((?:[^"\\]|\\["\\nrt])*)"')
_RAW_STRING = re.compile(r'r#"(.*?)"#', re.DOTALL)
_ADDRESS = re.compile(r"(\d{1,3}(?:\.\d{1,3}){3}|(?::|[0-9A-Fa-f]{1,4}):[0-9A-Fa-f:]*)(/\d{1,3})?")
_INT = re.compile(r"(-?)(?:0x([0-9A-Fa-f]+)|0([0-7]+)|([0-9]+))")
_SEGMENT = re.compile(r"\d+(?:_\d+)?")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES: Mapping[str, str] = {"n": "\n", "r": "\r", "t": "\t"}
_INT_MAX = (1 << 63) - 1
_DEPTH_MAX = 64  # parentheses inside parentheses; each costs some frames of the interpreter's stack at evaluation


class ExpressionError(ValueError):
    """An expression that cannot be taken; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Predicate:
    """One comparison. A field with several values must agree in all, or with `any` in one."""

    field: str
    operator: str
    value: Literal
    lower: bool = False
    any: bool = False


@dataclass(frozen=True, slots=True)
class And:
    """All parts hold; a chain of `&&` is one node, so that a tree is no deeper than its parentheses."""

    parts: "tuple[Tree, ...]"


@dataclass(frozen=True, slots=True)
class Or:
    """Some part holds; the first that does decides what was matched."""

    parts: "tuple[Tree, ...]"


@dataclass(frozen=True, slots=True)
class Not:
    inner: "Tree"


Tree = And | Or | Not | Predicate


def parse(text: str) -> Tree:
    """The tree of an expression, its types checked. Raises ExpressionError."""
    return _Parser(text).parse()


class _Parser:
    """Recursive descent over the text; `_at` is where it stands."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def parse(self) -> Tree:
        self._skip_space()
        tree = self._all()
        if self._at < len(self._text):
            raise self._error("expected && or || or the end")
        return tree

    def _all(self) -> Tree:
        parts = [self._either()]
        while self._take("&&"):
            parts.append(self._either())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _either(self) -> Tree:
        parts = [self._term()]
        while self._take("||"):
            parts.append(self._term())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _term(self) -> Tree:
        negated = self._take("!")
        if self._take("("):
            self._depth += 1
            if self._depth > _DEPTH_MAX:
                raise self._error(f"more than {_DEPTH_MAX} nested parentheses")
            inner = self._all()
            self._depth -= 1
            if not self._take(")"):
                raise self._error("expected )")
            return Not(inner) if negated else inner
        if negated:
            raise self._error("expected ( after !")
        return self._predicate()

    def _predicate(self) -> Predicate:
        start = self._at
        field, transforms = self._left_side()
        operator = self._match(_OPERATOR, "an operator")[0]
        operator = "not in" if operator.startswith("not") else operator
        predicate = Predicate(field, operator, self._literal(), "lower" in transforms, "any" in transforms)
        reason = _type_problem(predicate)
        if reason is not None:
            raise self._error(reason, start)
        return predicate

    def _left_side(self) -> tuple[str, set[str]]:
        transforms: set[str] = set()
        closing = 0
        while True:
            start = self._at
            name = self._match(_IDENT, "a field")[0]
            if not self._take("("):
                break
            if name not in ("lower", "any"):
                raise self._error(f"unknown transformation function: {name}", start)
            transforms.add(name)
            closing += 1
        for _ in range(closing):
            if not self._take(")"):
                raise self._error("expected )")
        return _ALIASES.get(name, name), transforms

    def _literal(self) -> Literal:
        if found := self._maybe(_RAW_STRING):
            return found[1]
        if found := self._maybe(_STRING):
            return _ESCAPE.sub(lambda escape: _ESCAPES.get(escape[1], escape[1]), found[1])
        start = self._at
        if found := self._maybe(_ADDRESS):
            return self._address(found[0], start)
        sign, hexadecimal, octal, decimal = self._match(_INT, "a string, an integer or an address").groups()
        number = int(hexadecimal, 16) if hexadecimal else int(octal, 8) if octal else int(decimal)
        if number > _INT_MAX:
            raise self._error("number too large to fit in target type", start)
        return -number if sign else number

    def _address(self, text: str, start: int) -> Address | Network:
        try:
            return ip_network(text) if "/" in text else ip_address(text)
        except (AddressValueError, ValueError) as error:
            raise self._error(str(error), start) from error

    def _skip_space(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _take(self, token: str) -> bool:
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        self._skip_space()
        return True

    def _maybe(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        self._skip_space()
        found = pattern.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
            self._skip_space()
        return found

    def _match(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        found = self._maybe(pattern)
        if found is None:
            raise self._error(f"expected {what}")
        return found

    def _error(self, reason: str, at: int | None = None) -> ExpressionError:
        at = self._at if at is None else at
        line = self._text.count("\n", 0, at) + 1
        column = at - (self._text.rfind("\n", 0, at) + 1) + 1
        return ExpressionError(f"{reason} (line {line}, column {column})")


def type_of_field(field: str) -> str | None:
    """The type of a field's values, or None when there is no such field."""
    known = FIELD_TYPES.get(field)
    if known is not None:
        return known
    for family in (HEADER_FIELD, QUERY_FIELD):
        if field.startswith(family) and len(field) > len(family):
            return STRING
    if field.startswith(SEGMENT_FIELD) and _SEGMENT.fullmatch(field.removeprefix(SEGMENT_FIELD)):
        return STRING
    return None


def _type_problem(predicate: Predicate) -> str | None:
    """Why operator and literal do not suit the field, in the engine's words, or None."""
    field_type = type_of_field(predicate.field)
    if field_type is None:
        return f"Unknown LHS field: {predicate.field}"
    if predicate.lower and field_type != STRING:
        return "lower-case transformation function only supported with String type fields"
    return _OPERATOR_PROBLEMS[predicate.operator](field_type, predicate.value)


def _type_of_literal(value: Literal) -> str:
    if isinstance(value, str):
        return STRING
    if isinstance(value, int):
        return INT
    return ADDRESS if isinstance(value, IPv4Address | IPv6Address) else "IpCidr"


_MISMATCH = "Type mismatch between the LHS and RHS values of predicate"


def _equality_problem(field_type: str, value: Literal) -> str | None:
    return None if _type_of_literal(value) == field_type else _MISMATCH


def _regex_problem(field_type: str, value: Literal) -> str | None:
    if not isinstance(value, str):
        return "regex operator can only be used with String operands"
    return None if field_type == STRING else "Regex operators only supports string operands"


def _text_problem(field_type: str, value: Literal) -> str | None:
    if field_type == STRING and isinstance(value, str):
        return None
    return _equality_problem(field_type, value) or "Regex/Prefix/Postfix operators only supports string operands"


def _contains_problem(field_type: str, value: Literal) -> str | None:
    if field_type == STRING and isinstance(value, str):
        return None
    return _equality_problem(field_type, value) or "Contains operator only supports string operands"


def _order_problem(field_type: str, value: Literal) -> str | None:
    if field_type == INT and isinstance(value, int):
        return None
    message = "Greater/GreaterOrEqual/Lesser/LesserOrEqual operators only supports integer operands"
    return _equality_problem(field_type, value) or message


def _membership_problem(field_type: str, value: Literal) -> str | None:
    if field_type == ADDRESS and isinstance(value, IPv4Network | IPv6Network):
        return None
    return "In/NotIn operators only supports IP in CIDR"


_OPERATOR_PROBLEMS = {
    "==": _equality_problem,
    "!=": _equality_problem,
    "~": _regex_problem,
    "^=": _text_problem,
    "=^": _text_problem,
    "contains": _contains_problem,
    ">": _order_problem,
    ">=": _order_problem,
    "<": _order_problem,
    "<=": _order_problem,
    "in": _membership_problem,
    "not in": _membership_problem,
}
