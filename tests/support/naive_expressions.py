"""Random route expressions, each as text and as a Python function that says what the text means.

The function is put together beside the text, so that no parser and no evaluator of ours takes part in the expectation.
"""

import random
import re
from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network

from tests.support.naive_router import Found, NaiveRequest, compatible_prefix, priority, split
from tests.support.routes import StubRoute

Meaning = Callable[[NaiveRequest, dict[str, str]], bool]
Expression = tuple[str, Meaning]
Leaf = Callable[[random.Random], Expression]

PATHS = ["/", "/a", "/a/", "/a/b", "/ab", "/b"]
HOSTS = ["a.test", "b.a.test", "a.org"]


def path_leaf(dice: random.Random) -> Expression:
    operator = dice.choice(["^=", "^=", "==", "=^", "contains", "!="])
    text = dice.choice(PATHS)
    holds: dict[str, Callable[[str], bool]] = {
        "^=": lambda path: path.startswith(text),
        "==": lambda path: path == text,
        "=^": lambda path: path.endswith(text),
        "contains": lambda path: text in path,
        "!=": lambda path: path != text,
    }

    def meaning(request: NaiveRequest, notes: dict[str, str]) -> bool:
        if not holds[operator](request.path):
            return False
        if operator in ("^=", "==", "=^"):
            notes["prefix"] = text
        return True

    return f'http.path {operator} "{text}"', meaning


def regex_leaf(dice: random.Random) -> Expression:
    pattern = dice.choice(["^/a", "^/a/[a-z]", "^/(a|b)", "/b$", "^/a|/b", r"^/a/\d+"])

    def meaning(request: NaiveRequest, notes: dict[str, str]) -> bool:
        found = re.search(pattern, request.path)
        if found:
            notes["prefix"] = found[0]
        return bool(found)

    return f'http.path ~ r#"{pattern}"#', meaning


def host_leaf(dice: random.Random) -> Expression:
    operator, text = dice.choice(
        [("==", "a.test"), ("==", "b.a.test"), ("=^", ".a.test"), ("^=", "a."), ("=^", "test"), ("!=", "a.test")]
    )
    holds: dict[str, Callable[[str], bool]] = {
        "==": lambda host: host == text,
        "!=": lambda host: host != text,
        "=^": lambda host: host.endswith(text),
        "^=": lambda host: host.startswith(text),
    }

    def meaning(request: NaiveRequest, _: dict[str, str]) -> bool:
        name, _, port = request.host.partition(":")
        host = name if port.isdigit() else request.host
        return bool(host) and holds[operator](host)

    return f'http.host {operator} "{text}"', meaning


def method_leaf(dice: random.Random) -> Expression:
    operator, method = dice.choice([("==", "GET"), ("==", "POST"), ("==", "PURGE"), ("!=", "GET")])
    return f'http.method {operator} "{method}"', lambda request, _: (request.method == method) == (operator == "==")


def header_leaf(dice: random.Random) -> Expression:
    name, value = dice.choice([("x_a", "1"), ("x_b", "2"), ("x_c", "b")])
    one, lowers, operator = dice.random() < 0.5, dice.random() < 0.5, dice.choice(["==", "!=", "^="])
    holds: dict[str, Callable[[str], bool]] = {
        "==": lambda line: line == value,
        "!=": lambda line: line != value,
        "^=": lambda line: line.startswith(value),
    }

    def meaning(request: NaiveRequest, _: dict[str, str]) -> bool:
        lines = request.lines(name) or request.lines(name.replace("_", "-"))
        results = [holds[operator](line.lower() if lowers else line) for line in lines]
        return bool(results) and (any(results) if one else all(results))

    field = f"http.headers.{name}"
    field = f"lower({field})" if lowers else field
    return f'{f"any({field})" if one else field} {operator} "{value}"', meaning


def port_leaf(dice: random.Random) -> Expression:
    operator, number = dice.choice([("==", 8000), (">=", 8000), ("<", 8000), ("!=", 80)])
    written = dice.choice([str(number), hex(number), "0" + oct(number)[2:]])
    holds: dict[str, Callable[[int], bool]] = {
        "==": lambda port: port == number,
        "!=": lambda port: port != number,
        ">=": lambda port: port >= number,
        "<": lambda port: port < number,
    }

    def meaning(request: NaiveRequest, _: dict[str, str]) -> bool:
        _, _, port = request.host.partition(":")
        return holds[operator](int(port) if port.isdigit() else request.port)

    return f"net.dst.port {operator} {written}", meaning


def address_leaf(dice: random.Random) -> Expression:
    operator = dice.choice(["in", "not in"])
    network = dice.choice(["10.0.0.0/8", "10.1.0.0/16", "fd00::/8"])

    def meaning(request: NaiveRequest, _: dict[str, str]) -> bool:
        if request.source is None:
            return False
        return (ip_address(request.source) in ip_network(network)) == (operator == "in")

    return f"net.src.ip {operator} {network}", meaning


def sni_leaf(dice: random.Random) -> Expression:
    name = dice.choice(["a.test", "b.a.test"])
    return f'tls.sni == "{name}"', lambda request, _: request.sni == name


def segment_leaf(dice: random.Random) -> Expression:
    first, last, text = dice.choice([(0, None, "a"), (1, None, "b"), (0, 1, "a/b"), (1, 2, "b/c")])

    def meaning(request: NaiveRequest, _: dict[str, str]) -> bool:
        segments = request.path[1:].rstrip("/").split("/") if request.path.strip("/") else []
        end = first if last is None else last
        return end < len(segments) and "/".join(segments[first : end + 1]) == text

    span = str(first) if last is None else f"{first}_{last}"
    return f'http.path.segments.{span} == "{text}"', meaning


def query_leaf(dice: random.Random) -> Expression:
    value = dice.choice(["1", "", "a b"])

    def meaning(request: NaiveRequest, _: dict[str, str]) -> bool:
        return {"?x=1": "1", "?x": "", "?x=a+b": "a b", "?y=1&x=a%20b": "a b"}.get(request.query) == value

    return f'http.queries.x == "{value}"', meaning


LEAVES: Sequence[Leaf] = (
    path_leaf,
    path_leaf,
    regex_leaf,
    host_leaf,
    method_leaf,
    header_leaf,
    port_leaf,
    address_leaf,
    sni_leaf,
    segment_leaf,
    query_leaf,
)


def random_expression(dice: random.Random, depth: int = 3) -> Expression:
    """A tree of the given depth at most, fully in parentheses."""
    if not depth or dice.random() < 0.3:
        return dice.choice(LEAVES)(dice)
    shape = dice.choice(["and", "and", "or", "or", "not"])
    left_text, left = random_expression(dice, depth - 1)
    if shape == "not":
        return f"!({left_text})", lambda request, notes: not left(request, notes)
    right_text, right = random_expression(dice, depth - 1)
    if shape == "and":
        return f"({left_text} && {right_text})", lambda request, notes: left(request, notes) and right(request, notes)
    return f"({left_text} || {right_text})", lambda request, notes: left(request, notes) or right(request, notes)


def match_expressions(routes: Sequence[StubRoute], meanings: dict[str, Meaning], request: NaiveRequest) -> Found | None:
    """The expressions flavor by the rules: all matchers in order of priority and id, protocols as a test."""
    matchers: list[tuple[int, str, StubRoute]] = []
    for route in routes:
        if route.expression is not None:
            matchers.append((0xFF << 56 | (route.priority or 0), route.id, route))
        else:
            matchers.extend((priority(part, False), id_, part) for part, id_ in split(route))
    for _, _, route in sorted(matchers, key=lambda matcher: matcher[:2], reverse=True):
        if route.protocols != ("https",) and request.scheme not in route.protocols:
            continue
        notes = {"prefix": ""}
        if route.expression is None:
            prefix = compatible_prefix(route, request, strict=False)
        else:
            holds = meanings[route.id](request, notes)
            prefix = notes["prefix"] if holds else None
        if prefix is not None:
            return Found(route.id, prefix)
    return None
