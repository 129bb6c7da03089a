"""Route expressions: the language, its refusals, and what of it the index understands.

Random tables are held against a naive evaluator in test_router_properties.
"""

import pytest

from kongdp.routing.expression_parser import And, ExpressionError, Not, Or, Predicate, parse
from kongdp.routing.router import EXPRESSIONS, RouteError, build, judge
from tests.support.routes import StubRoute, make_route, number_id

A = Predicate("http.path", "==", "/a")
B = Predicate("http.method", "==", "GET")
C = Predicate("http.host", "^=", "c.")

PARSED = [
    ('http.path == "/a"', A),
    (' ( (http.path=="/a") )\n', A),
    ('http.path == "/a" && http.method == "GET" && http.host ^= "c."', And((A, B, C))),
    ('http.path == "/a" && http.method == "GET" || http.host ^= "c."', And((A, Or((B, C))))),
    ('http.path == "/a" || http.method == "GET" && http.host ^= "c."', And((Or((A, B)), C))),
    ('http.path == "/a" || (http.method == "GET" && http.host ^= "c.")', Or((A, And((B, C))))),
    ('!(http.path == "/a")', Not(A)),
    ('! ( http.path == "/a" ) && http.method == "GET"', And((Not(A), B))),
    ('any(lower(http.headers.x_a)) == "b"', Predicate("http.headers.x_a", "==", "b", lower=True, any=True)),
    ('lower(any(http.queries.q)) contains "b"', Predicate("http.queries.q", "contains", "b", lower=True, any=True)),
    ('http.path == "a\\"\\\\\\n"', Predicate("http.path", "==", 'a"\\\n')),
    ('http.path ~ r#"^/\\d+"x"#', Predicate("http.path", "~", '^/\\d+"x')),
    ("net.dst.port == 0x50", Predicate("net.dst.port", "==", 80)),
    ("net.dst.port != 0120", Predicate("net.dst.port", "!=", 80)),
    ("net.port >= -1", Predicate("net.dst.port", ">=", -1)),
    ("http.path.segments.len < 3", Predicate("http.path.segments.len", "<", 3)),
    ('http.path.segments.1_3 =^ "x"', Predicate("http.path.segments.1_3", "=^", "x")),
]

REFUSED = [
    ("", "expected a field"),
    ("http.path", "expected an operator"),
    ("http.path ==", "expected a string, an integer or an address"),
    ('http.path == "/a', "expected a string"),
    ('http.path == "/a" &&', "expected a field"),
    ('http.path == "/a" http.path == "/b"', "expected && or || or the end"),
    ('(http.path == "/a"', r"expected \)"),
    ('!http.path == "/a"', r"expected \( after !"),
    ('http.pat == "/a"', "Unknown LHS field"),
    ('http.path.segments.x == "/a"', "Unknown LHS field"),
    ("http.path == 1", "Type mismatch between the LHS and RHS values of predicate"),
    ('net.dst.port == "80"', "Type mismatch"),
    ("net.src.ip == 10.0.0.0/8", "Type mismatch"),
    ("net.src.ip in 10.0.0.1", "In/NotIn operators only supports IP in CIDR"),
    ("net.src.ip in 10.0.0.1/8", "host bits set"),
    ("net.src.ip == 300.0.0.1", "300"),
    ('lower(net.dst.port) == "80"', "lower-case transformation function only supported with String"),
    ('upper(http.path) == "/a"', "unknown transformation function: upper"),
    ("http.path > 1", "Type mismatch|only supports integer operands"),
    ('http.path > "a"', "only supports integer operands"),
    ("http.path ~ 1", "regex operator can only be used with String operands"),
    ("net.dst.port == 99999999999999999999", "number too large"),
    ('http.path ~ "("', "does not compile"),
    ("(" * 300 + 'http.path == "/a"' + ")" * 300, "nested"),
]


@pytest.mark.parametrize(("text", "tree"), PARSED)
def test_parse_when_expression_is_of_the_table(text: str, tree: object) -> None:
    """`||` binds tighter than `&&`; literals and fields are read by type."""
    assert parse(text) == tree


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_expression_is_refused_with_its_reason(text: str, reason: str) -> None:
    """The judge for schemas and the router agree, and say what is wrong."""
    assert judge(text) is not None
    with pytest.raises(RouteError, match=reason):
        build([StubRoute(number_id(1), expression=text)], EXPRESSIONS)


def test_refusal_tells_line_and_column() -> None:
    """The place is where the reader must look."""
    with pytest.raises(ExpressionError, match=r"line 2, column 4"):
        parse('http.path == "/a" &&\n   foo == "b"')


def test_judge_has_nothing_to_say_about_a_good_expression() -> None:
    """None means the expression can be taken."""
    assert judge('http.path ~ "^/a/(?<id>[0-9]+)" && net.src.ip not in fd00::/8') is None


def test_expression_outranks_classic_routes_and_priority_decides_among_them() -> None:
    """Then the greater id."""
    routes = [
        make_route("classic", hosts=["a.test"], paths=["/a"], methods=["GET"]),
        make_route("low", id=number_id(3), expression='http.path ^= "/a"', priority=1),
        make_route("high", id=number_id(1), expression='http.path ^= "/"', priority=2),
        make_route("higher-id", id=number_id(2), expression='http.path ^= "/"', priority=2),
    ]
    match = build(routes, EXPRESSIONS).match(b"GET", b"a.test", b"/a")
    assert match is not None
    assert match.route_id == number_id(2)
    assert match.prefix == b"/"


def test_protocols_are_part_of_the_match_but_not_for_https_alone() -> None:
    """A route for http only refuses https; one for https only is met by http, to redirect it."""
    routes = [
        make_route("http", expression='http.path ^= "/h"', protocols=["http"]),
        make_route("https", expression='http.path ^= "/s"', protocols=["https"]),
        make_route("grpcs", paths=["/g"], protocols=["grpcs"]),
    ]
    router = build(routes, EXPRESSIONS)
    assert router.match(b"GET", b"", b"/h", scheme=b"http") is not None
    assert router.match(b"GET", b"", b"/h", scheme=b"https") is None
    assert router.match(b"GET", b"", b"/s", scheme=b"http") is not None
    assert router.match(b"GET", b"", b"/g", scheme=b"http") is None
    assert router.match(b"GET", b"", b"/g", scheme=b"https") is not None


def test_captures_of_an_expression_are_told() -> None:
    """Whether the expression was plain or had to be evaluated."""
    plain = make_route("plain", expression='http.path ~ r#"^/a/(?<id>\\d+)"#')
    evaluated = make_route("evaluated", expression='http.path ~ r#"^/b/(?<id>\\d+)"# && http.headers.x == "1"')
    router = build([plain, evaluated], EXPRESSIONS)
    for path in (b"/a/42/x", b"/b/42/x"):
        match = router.match(b"GET", b"", path, lambda: {b"x": [b"1"]})
        assert match is not None
        assert match.prefix == path[:5]
        assert match.captures is not None
        assert match.captures.positional == (path[:5], b"42")
        assert match.captures.named == {"id": b"42"}


def test_missing_field_fails_every_comparison() -> None:
    """Even `!=`; several lines must all agree unless `any` is said."""
    router = build([make_route("a", expression='http.headers.x != "1"')], EXPRESSIONS)
    assert router.match(b"GET", b"", b"/", dict) is None
    assert router.match(b"GET", b"", b"/", lambda: {b"x": [b"2"]}) is not None
    assert router.match(b"GET", b"", b"/", lambda: {b"x": [b"2", b"1"]}) is None


def test_long_chains_are_evaluated_when_they_have_thousands_of_parts() -> None:
    """Only parentheses make a tree deep, and those are limited."""
    text = " || ".join(f'http.headers.x == "{number}"' for number in range(5000))
    deep = "(" * 60 + text + ")" * 60
    router = build([make_route("a", expression=f'{deep} && http.path ^= "/"')], EXPRESSIONS)
    assert router.match(b"GET", b"", b"/", lambda: {b"x": [b"4999"]}) is not None
    assert router.match(b"GET", b"", b"/", lambda: {b"x": [b"5000"]}) is None
