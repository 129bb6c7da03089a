"""Expression trees made executable: a function of the request that says yes or no, and notes what the path
comparisons matched.

In: a tree of expression_parser.  Out: an `Evaluator`, or PatternError when a regex does not compile.
As in Kong's engine, a comparison of `http.path` that holds leaves what it compared with as the matched prefix, and a
regex leaves its captures; both sides of `&&` and the branch of `||` that held leave theirs, the later over the earlier.
Hot for requests that reach an expression candidate; compiling is cold. Source: atc-router 1.7.1 interpreter, Kong 3.9
fields.lua.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from kongdp.routing.candidate import Request, lower, parse_address
from kongdp.routing.expression_parser import (
    HEADER_FIELD,
    QUERY_FIELD,
    SEGMENT_FIELD,
    And,
    Not,
    Predicate,
    Tree,
)
from kongdp.routing.pattern import Regex
from kongdp.routing.route import Captures, Match

QUERY_ARGUMENTS_MAX = 100  # as lua_max_uri_args


class Findings:
    """What the comparisons left behind: the prefix, and groups by number and name."""

    __slots__ = ("groups", "names", "prefix")

    def __init__(self) -> None:
        self.prefix = b""
        self.groups: list[bytes | None] = []
        self.names: dict[str, bytes] = {}

    def note_captures(self, captures: Captures) -> None:
        for at, group in enumerate(captures.positional):
            if at >= len(self.groups):
                self.groups.append(group)
            elif group is not None:
                self.groups[at] = group
        self.names.update(captures.named)


@dataclass(slots=True)
class MergedCaptures:
    """What the regexes of an expression left together."""

    positional: tuple[bytes | None, ...]
    named: Mapping[str, bytes]


Test = Callable[[Request, Findings], bool]
Values = Callable[[Request], Sequence[Any]]


class Evaluator:
    """An expression of one route, ready to be asked."""

    __slots__ = ("_route_id", "_test")

    def __init__(self, route_id: str, tree: Tree) -> None:
        self._route_id = route_id
        self._test = compile_test(tree)

    def match(self, request: Request) -> Match | None:
        """The route's Match when the expression holds."""
        findings = Findings()
        if not self._test(request, findings):
            return None
        captures = MergedCaptures(tuple(findings.groups), findings.names) if len(findings.groups) > 1 else None
        return Match(self._route_id, findings.prefix, len(findings.prefix), captures)


def compile_test(tree: Tree) -> Test:
    """The function of a tree."""
    if isinstance(tree, Predicate):
        return _compile_predicate(tree)
    if isinstance(tree, Not):
        inner = compile_test(tree.inner)
        return lambda request, findings: not inner(request, findings)
    parts = tuple(compile_test(part) for part in tree.parts)
    if isinstance(tree, And):
        return lambda request, findings: all(part(request, findings) for part in parts)
    return lambda request, findings: any(part(request, findings) for part in parts)


def _compile_predicate(predicate: Predicate) -> Test:
    values_of = compile_field(predicate.field)
    if predicate.operator == "~":
        compare = _compile_regex(predicate)
    else:
        compare = _compile_comparison(predicate)
    lowers, one_is_enough = predicate.lower, predicate.any

    def test(request: Request, findings: Findings) -> bool:
        values = values_of(request)
        for value in values:
            if compare(lower(value) if lowers else value, findings):
                if one_is_enough:
                    return True
            elif not one_is_enough:
                return False
        return bool(values) and not one_is_enough

    return test


def _compile_regex(predicate: Predicate) -> Callable[[Any, Findings], bool]:
    assert isinstance(predicate.value, str)
    regex = Regex(predicate.value)
    is_path = predicate.field == "http.path"

    def compare(value: bytes, findings: Findings) -> bool:
        consumed = regex.consume(value)
        if consumed is None:
            return False
        text, captures = consumed
        if is_path:
            findings.prefix = text
        if captures is not None:
            findings.note_captures(captures)
        return True

    return compare


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "^=": bytes.startswith,
    "=^": bytes.endswith,
    "contains": operator.contains,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "in": lambda address, network: address in network,
    "not in": lambda address, network: address not in network,
}
_LEAVES_PREFIX = frozenset({"==", "^=", "=^"})


def _compile_comparison(predicate: Predicate) -> Callable[[Any, Findings], bool]:
    holds = _COMPARISONS[predicate.operator]
    right = predicate.value.encode() if isinstance(predicate.value, str) else predicate.value
    if predicate.field != "http.path" or predicate.operator not in _LEAVES_PREFIX:
        return lambda value, _: holds(value, right)
    assert isinstance(right, bytes)
    prefix = right

    def compare(value: bytes, findings: Findings) -> bool:
        if not holds(value, prefix):
            return False
        findings.prefix = prefix
        return True

    return compare


_FIELDS: Mapping[str, Values] = {
    "http.method": lambda request: (request.method,),
    "http.host": lambda request: (request.host,) if request.host else (),
    "http.path": lambda request: (request.path,),
    "http.path.segments.len": lambda request: (len(_segments(request.path)),),
    "net.protocol": lambda request: (request.scheme,),
    "tls.sni": lambda request: () if request.sni is None else (request.sni,),
    "net.src.ip": lambda request: _address(request.source),
    "net.src.port": lambda request: () if request.source is None else (request.source[1],),
    "net.dst.ip": lambda request: _address(request.destination),
    "net.dst.port": lambda request: (request.port,),
}


def compile_field(field: str) -> Values:
    """How a field's values are read from a request; none when the request lacks it."""
    known = _FIELDS.get(field)
    if known is not None:
        return known
    if field.startswith(HEADER_FIELD):
        return _compile_header(field.removeprefix(HEADER_FIELD))
    if field.startswith(QUERY_FIELD):
        name = field.removeprefix(QUERY_FIELD).encode()
        return lambda request: _arguments(request.query).get(name, ())
    return _compile_segments(field.removeprefix(SEGMENT_FIELD))


def _compile_header(name: str) -> Values:
    """Found under the name as written, else with dashes."""
    literal = name.lower().encode()
    dashed = literal.replace(b"_", b"-")

    def values(request: Request) -> Sequence[bytes]:
        return request.fields.get(literal) or request.fields.get(dashed) or ()

    return values


def _compile_segments(span: str) -> Values:
    start_text, _, end_text = span.partition("_")
    start = int(start_text)
    end = int(end_text) if end_text else start

    def values(request: Request) -> Sequence[bytes]:
        segments = _segments(request.path)
        if end >= len(segments) or (end_text and start >= end):
            return ()
        return (b"/".join(segments[start : end + 1]),)

    return values


def _segments(path: bytes) -> list[bytes]:
    """The segments of a path, counted from 0; empty ones at the end do not count."""
    trimmed = path[1:].rstrip(b"/")
    return trimmed.split(b"/") if trimmed else []


def _address(endpoint: tuple[str, int] | None) -> Sequence[Any]:
    address = parse_address(endpoint[0]) if endpoint is not None else None
    return () if address is None else (address,)


def _arguments(query: bytes) -> dict[bytes, list[bytes]]:
    """The decoded arguments of a query; one without a value has the value ""."""
    arguments: dict[bytes, list[bytes]] = {}
    for argument in query.removeprefix(b"?").split(b"&", QUERY_ARGUMENTS_MAX)[:QUERY_ARGUMENTS_MAX]:
        name, _, value = argument.partition(b"=")
        if name:
            arguments.setdefault(_decode(name), []).append(_decode(value))
    return arguments


def _decode(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
