"""The expressions flavor: routes that carry an expression and a priority, and classic routes beside them.

In: a route.  Out: its placements; RouteError when the expression does not parse or fit.
Most expressions are a conjunction of what classic routes say too: paths, hosts, methods. Those become the same
candidates, indexed and without an evaluator. All others are evaluated, under whatever hosts and path prefixes their
tree makes necessary, so that they too are met only by requests they could match. Classic routes are compiled as in
traditional_compatible, with a lower priority than any expression. To both the protocols are added as a test, except
to a route for https alone (so that it can answer with a redirect).
Cold. Source: Kong 3.9 expressions.lua, transform.lua; atc-router 1.7.1.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kongdp.routing.base import EXPRESSIONS, Router
from kongdp.routing.candidate import Candidate, Check, Guard, Scheme
from kongdp.routing.compatible import HostKey, compile_compatible, is_stream, path_pattern, place_path
from kongdp.routing.evaluation import Evaluator
from kongdp.routing.expression_parser import And, ExpressionError, Not, Or, Predicate, Tree, parse
from kongdp.routing.index import ANY_HOST, Placement
from kongdp.routing.pattern import EXACT, PREFIX, SUFFIX, PatternError, literal_prefix
from kongdp.routing.priority import compatible_order, expression_priority
from kongdp.routing.route import Match, RouteError, RouteLike

PLACES_MAX = 256  # hosts times prefixes an expression is filed under; one with more waits under fewer prefixes
_SCHEMES = {"http": b"http", "grpc": b"http", "https": b"https", "grpcs": b"https"}
_PATH_FIELD = "http.path"


class ExpressionRouter(Router):
    """Routes compiled for matching by the rules of the expressions flavor."""

    __slots__ = ()

    flavor = EXPRESSIONS

    def _compile(self, route: RouteLike) -> Iterator[Placement]:
        checks = scheme_checks(route.protocols)
        if route.expression is None:
            return compile_compatible(route, self._calculation, checks)
        return compile_expression(route, checks)


def judge(expression: str) -> str | None:
    """Why an expression cannot be taken, or None. For schemas, which refuse a route before it gets here."""
    try:
        Evaluator("", parse(expression))
    except (ExpressionError, PatternError) as error:
        return str(error)
    return None


def scheme_checks(protocols: Sequence[str]) -> tuple[Check, ...]:
    """The test of the connection's protocol, when there is one to make."""
    schemes = frozenset(_SCHEMES[protocol] for protocol in protocols if protocol in _SCHEMES)
    if tuple(protocols) == ("https",) or not schemes or len(schemes) == len(set(_SCHEMES.values())):
        return ()
    return (Scheme(schemes),)


def compile_expression(route: RouteLike, checks: tuple[Check, ...]) -> Iterator[Placement]:
    """Placements of a route that carries an expression; none for one that only takes streams."""
    if is_stream(route):
        return
    assert route.expression is not None
    order = compatible_order(expression_priority(route.priority or 0), route.id)
    try:
        tree = parse(route.expression)
        plain = _try_plain(tree)
        if plain is not None:
            yield from _place_plain(route, plain, order, checks)
        else:
            yield from _place_evaluated(route, tree, order, checks)
    except (ExpressionError, PatternError) as error:
        raise RouteError(route, f"expression: {error}") from error


class Plain(NamedTuple):
    """An expression that says no more than a classic route: any of the paths, any of the hosts, any of the methods."""

    paths: tuple[Predicate, ...]
    hosts: tuple[HostKey, ...]
    methods: tuple[str, ...]


def _try_plain(tree: Tree) -> Plain | None:
    """The plain reading of a conjunction of three disjunctions, each over one field and at most once; None when it is
    more.
    """
    said: dict[str, list[Predicate]] = {}
    for part in _conjuncts(tree):
        predicates = _disjuncts(part)
        field = predicates[0].field if predicates else ""
        if not all(each.field == field and _is_plain(each) for each in predicates) or field in said or not field:
            return None
        said[field] = predicates
    hosts = dict.fromkeys(key for each in said.get("http.host", ()) if (key := _host_key(each)) is not None)
    methods = dict.fromkeys(str(each.value) for each in said.get("http.method", ()))
    return Plain(tuple(said.get(_PATH_FIELD, ())), tuple(hosts), tuple(methods))


def _conjuncts(tree: Tree) -> Iterator[Tree]:
    if not isinstance(tree, And):
        yield tree
        return
    for part in tree.parts:
        yield from _conjuncts(part)


def _disjuncts(tree: Tree) -> list[Predicate]:
    """The predicates of a disjunction, in order; empty when something else is among them."""
    if isinstance(tree, Predicate):
        return [tree]
    if not isinstance(tree, Or):
        return []
    parts = [_disjuncts(part) for part in tree.parts]
    return [each for part in parts for each in part] if all(parts) else []


def _is_plain(predicate: Predicate) -> bool:
    if predicate.lower:
        return False
    if predicate.field == _PATH_FIELD:
        return predicate.operator in ("^=", "~")
    if predicate.field == "http.method":
        return predicate.operator == "=="
    return predicate.field == "http.host" and _host_key(predicate) is not None


def _host_key(predicate: Predicate) -> HostKey | None:
    """The key under which the index finds exactly the hosts of this comparison."""
    text = str(predicate.value).encode()
    if predicate.operator == "==" and text:
        return HostKey(EXACT, text, None)
    if predicate.operator == "=^" and text.startswith(b"."):
        return HostKey(SUFFIX, text, None)
    if predicate.operator == "^=" and text.endswith(b"."):
        return HostKey(PREFIX, text, None)
    return None


def _place_plain(route: RouteLike, plain: Plain, order: int, checks: tuple[Check, ...]) -> Iterator[Placement]:
    hosts = plain.hosts or (HostKey(ANY_HOST, b"", None),)
    patterns = [
        path_pattern(route.id, str(each.value), is_regex=each.operator == "~") for each in dict.fromkeys(plain.paths)
    ] or [path_pattern(route.id, "", is_regex=False)]
    for position, pattern in enumerate(patterns):
        yield from place_path(pattern, order + position, plain.methods, hosts, checks)


def _place_evaluated(route: RouteLike, tree: Tree, order: int, checks: tuple[Check, ...]) -> Iterator[Placement]:
    evaluator = Evaluator(route.id, tree)
    guard = Guard((), None, checks, evaluator, uses_path=_mentions_path(tree))
    candidate = Candidate(order, Match(route.id), guard)
    places = _places(tree)
    hosts = places.hosts or (HostKey(ANY_HOST, b"", None),)
    prefixes = places.prefixes or (b"",)
    if len(hosts) * len(prefixes) > PLACES_MAX:
        prefixes = (b"",)
    for kind, host, _ in hosts:
        for prefix in prefixes:
            yield Placement(kind, host, prefix, candidate)


class Places(NamedTuple):
    """What a request must have for a tree to hold: one of the hosts, one of the path prefixes (None: no telling)."""

    hosts: tuple[HostKey, ...] | None
    prefixes: tuple[bytes, ...] | None


def _places(tree: Tree) -> Places:
    if isinstance(tree, Predicate):
        return _places_of_predicate(tree)
    if isinstance(tree, Not):
        return Places(None, None)
    parts = [_places(part) for part in tree.parts]
    hosts = [part.hosts for part in parts if part.hosts is not None]
    prefixes = [part.prefixes for part in parts if part.prefixes is not None]
    if isinstance(tree, And):
        # of conditions that must all hold any one will do: the first host, the path whose shortest prefix is longest
        telling = max(prefixes, key=lambda each: min(map(len, each)), default=None)
        return Places(hosts[0] if hosts else None, telling)
    return Places(
        tuple(dict.fromkeys(key for each in hosts for key in each)) if len(hosts) == len(parts) else None,
        tuple(dict.fromkeys(key for each in prefixes for key in each)) if len(prefixes) == len(parts) else None,
    )


def _places_of_predicate(predicate: Predicate) -> Places:
    if predicate.lower:
        return Places(None, None)
    if predicate.field == "http.host":
        key = _host_key(predicate)
        return Places(None if key is None else (key,), None)
    if predicate.field != _PATH_FIELD:
        return Places(None, None)
    text = str(predicate.value)
    if predicate.operator in ("==", "^="):
        return Places(None, (text.encode(),))
    if predicate.operator == "~" and text.startswith("^"):
        return Places(None, (literal_prefix(text[1:]),))
    return Places(None, None)


def _mentions_path(tree: Tree) -> bool:
    if isinstance(tree, Predicate):
        return tree.field.startswith(_PATH_FIELD)
    if isinstance(tree, Not):
        return _mentions_path(tree.inner)
    return any(_mentions_path(part) for part in tree.parts)
