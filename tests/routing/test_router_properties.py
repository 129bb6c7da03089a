"""The compiled routers against a naive one that tries every route by the written rules, on random tables.

Also: a router changed step by step equals one built at once, and the router it came from answers as before.
"""

import random
from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kongdp.routing.router import (
    EXPRESSIONS,
    ORIGINAL,
    STRICT,
    TRADITIONAL,
    TRADITIONAL_COMPATIBLE,
    Router,
    build,
    finish,
)
from tests.support.naive_expressions import Meaning, match_expressions, random_expression
from tests.support.naive_router import Found, NaiveRequest, match_compatible, match_traditional
from tests.support.routes import StubRoute, number_id

CROWDED_TABLES = 40

Naive = Callable[[Sequence[StubRoute], NaiveRequest], Found | None]

HOSTS = [
    "a.test",
    "b.a.test",
    "*.a.test",
    "*.test",
    "a.*",
    "b.*",
    "a.test:8000",
    "a.test:80",
    "*.a.test:8443",
    "c.b.a.test",
]
REQUEST_HOSTS = [
    "",
    "a.test",
    "b.a.test",
    "c.b.a.test",
    "a.test:8000",
    "b.a.test:8443",
    "a.org",
    "b.org:80",
    "x.test",
    ".a.test",
]
PATHS = [
    "/",
    "/a",
    "/ab",
    "/a/",
    "/a/b",
    "/a/bc",
    "/b",
    "/é",
    "~/a",
    "~/a/\\d+",
    "~/a/(?<id>[a-z]+)$",
    "~/a|/b",
    "~/.*c",
    "~/(a|b)/b?",
]
REQUEST_PATHS = [
    "/",
    "/a",
    "/ab",
    "/a/",
    "/a/b",
    "/a/b/c",
    "/a/bc",
    "/a/12",
    "/a/12/b",
    "/b",
    "/b/b",
    "/c",
    "/é",
    "/é/x",
    "/xc",
]
METHODS = ["GET", "POST", "PURGE", "MKCOL", "PROPFIND"]
HEADERS = [("x-a", ["1", "2", "~*^1", "~*[a-c]$", "V"]), ("x_b", ["1", "2"]), ("X-C", ["b"])]
REQUEST_HEADERS = [
    ("x-a", ["1", "12", "v", "abc"]),
    ("x_a", ["1", "2"]),
    ("x-b", ["1", "2"]),
    ("x_b", ["2"]),
    ("x-c", ["B"]),
]
SNIS = ["a.test", "b.a.test", "a.test."]
WILDCARD_SNIS = [*SNIS, "*.a.test", "a.*"]


def some(pool: Sequence[str], most: int) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(pool), unique=True, min_size=1, max_size=most).map(tuple)


def headers_of(pool: Sequence[tuple[str, Sequence[str]]]) -> st.SearchStrategy[tuple[tuple[str, tuple[str, ...]], ...]]:
    line = st.sampled_from(pool).flatmap(lambda entry: st.tuples(st.just(entry[0]), some(entry[1], 2)))
    return st.lists(line, unique_by=lambda entry: entry[0], min_size=1, max_size=2).map(tuple)


@st.composite
def routes(draw: st.DrawFn, snis: Sequence[str]) -> list[StubRoute]:
    numbers = draw(st.lists(st.integers(1, 60), unique=True, min_size=1, max_size=8))
    return [draw(route(number, snis)) for number in numbers]


@st.composite
def route(draw: st.DrawFn, number: int, snis: Sequence[str]) -> StubRoute:
    pools: Mapping[str, st.SearchStrategy[object]] = {
        "paths": some(PATHS, 4),
        "hosts": some(HOSTS, 3),
        "methods": some(METHODS, 2),
        "headers": headers_of(HEADERS),
        "snis": some(snis, 2),
    }
    used = draw(st.lists(st.sampled_from(sorted(pools)), unique=True, min_size=1, max_size=5))
    return StubRoute(
        id=number_id(number),
        regex_priority=draw(st.sampled_from([0, 0, 1, 5])),
        created_at=draw(st.sampled_from([1, 2, 3, None])),
        protocols=draw(st.sampled_from([("http",), ("http", "https"), ("https",)])),
        **{field: draw(pools[field]) for field in used},
    )


@st.composite
def requests(draw: st.DrawFn) -> NaiveRequest:
    scheme = draw(st.sampled_from(["http", "http", "https"]))
    return NaiveRequest(
        method=draw(st.sampled_from([*METHODS, "PUT", "get"])),
        host=draw(st.sampled_from(REQUEST_HOSTS)),
        path=draw(st.sampled_from(REQUEST_PATHS)),
        headers=draw(st.just(()) | headers_of(REQUEST_HEADERS)),
        scheme=scheme,
        sni=draw(st.sampled_from([None, "a.test", "b.a.test", "a.org"])) if scheme == "https" else None,
        port=draw(st.sampled_from([80, 8000])),
    )


def ask(router: Router, request: NaiveRequest) -> Found | None:
    fields = {name.encode(): [value.encode() for value in values] for name, values in request.headers}
    match = router.match(
        request.method.encode(),
        request.host.encode(),
        request.path.encode(),
        lambda: fields,
        scheme=request.scheme.encode(),
        sni=None if request.sni is None else request.sni.encode(),
        port=request.port,
        source=None if request.source is None else (request.source, 4711),
        query=request.query.encode(),
    )
    if match is None:
        return None
    assert match.prefix_length == len(match.prefix)
    return Found(match.route_id, match.prefix.decode())


def strict(table: Sequence[StubRoute], request: NaiveRequest) -> Found | None:
    return match_compatible(table, request, strict=True)


FLAVORS = [
    pytest.param(TRADITIONAL_COMPATIBLE, ORIGINAL, match_compatible, WILDCARD_SNIS, id="compatible"),
    pytest.param(TRADITIONAL_COMPATIBLE, STRICT, strict, WILDCARD_SNIS, id="compatible-strict"),
    pytest.param(TRADITIONAL, ORIGINAL, match_traditional, SNIS, id="traditional"),
]


@pytest.mark.parametrize(("flavor", "calculation", "naive", "snis"), FLAVORS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_compiled_router_equals_naive_one_when_tables_are_random(
    flavor: str, calculation: str, naive: Naive, snis: Sequence[str], data: st.DataObject
) -> None:
    """The same route and the same prefix for every request, asked twice (the second answer may come from the cache)."""
    table = data.draw(routes(snis))
    router = build(table, flavor, calculation)
    for request in data.draw(st.lists(requests(), min_size=1, max_size=12)):
        want = naive(table, request)
        assert ask(router, request) == want
        assert ask(router, request) == want


@pytest.mark.parametrize(("flavor", "calculation", "naive", "snis"), FLAVORS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_changed_router_equals_built_one_when_edits_are_random(
    flavor: str, calculation: str, naive: Naive, snis: Sequence[str], data: st.DataObject
) -> None:
    """Any chain of edits leads to the answers of a full build, and every router on the way keeps giving its own."""
    table = {each.id: each for each in data.draw(routes(snis))}
    router = build(table.values(), flavor, calculation)
    asked = data.draw(st.lists(requests(), min_size=1, max_size=6))
    history = [(router, [ask(router, request) for request in asked])]
    for _ in range(data.draw(st.integers(1, 4))):
        removed = data.draw(st.sets(st.sampled_from(sorted(table) or [number_id(99)]), max_size=4))
        added = {each.id: each for each in data.draw(routes(snis))}
        router = finish(router.with_changes(removed, added.values()))
        table = {key: each for key, each in table.items() if key not in removed} | added
        rebuilt = build(table.values(), flavor, calculation)
        answers = [ask(router, request) for request in asked]
        assert answers == [ask(rebuilt, request) for request in asked]
        assert len(router) == len(rebuilt) == len(table)
        history.append((router, answers))
    for router, answers in history:
        assert [ask(router, request) for request in asked] == answers


def random_route(dice: random.Random, number: int, snis: Sequence[str]) -> StubRoute:
    """Few values, so that routes share hosts and paths and the finer rules of rank decide."""

    def some_of(pool: Sequence[str], most: int) -> tuple[str, ...]:
        return tuple(dice.sample(pool, dice.randint(1, min(most, len(pool)))))

    names = dice.sample(HEADERS, dice.randint(1, 2))
    makers: Mapping[str, Callable[[], object]] = {
        "paths": lambda: some_of(PATHS, 3),
        "hosts": lambda: some_of(HOSTS[:8], 3),
        "methods": lambda: some_of(METHODS[:3], 2),
        "headers": lambda: tuple((name, some_of(values, 2)) for name, values in names),
        "snis": lambda: some_of(snis, 2),
    }
    used = dice.sample(["paths", "hosts", "paths", "hosts", "methods", "headers", "snis"], dice.randint(1, 5))
    return StubRoute(
        id=number_id(number),
        regex_priority=dice.choice([0, 0, 1, 5]),
        created_at=dice.randint(1, 3),
        protocols=dice.choice([("http",), ("http", "https"), ("https",)]),
        **{field: makers[field]() for field in dict.fromkeys(used)},
    )


def random_request(dice: random.Random) -> NaiveRequest:
    scheme = dice.choice(["http", "http", "https"])
    return NaiveRequest(
        method=dice.choice(METHODS[:3]),
        host=dice.choice(REQUEST_HOSTS),
        path=dice.choice(REQUEST_PATHS),
        headers=tuple((name, tuple(dice.sample(values, 1))) for name, values in dice.sample(REQUEST_HEADERS, 2)),
        scheme=scheme,
        sni=dice.choice([None, "a.test", "b.a.test"]) if scheme == "https" else None,
        source=dice.choice([None, "10.1.2.3", "10.2.0.1", "fd00::1", "192.0.2.1"]),
        query=dice.choice(["", "?", "?x=1", "?x", "?x=a+b", "?y=1&x=a%20b"]),
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("flavor", "calculation", "naive", "snis"), FLAVORS)
def test_compiled_router_equals_naive_one_when_tables_are_crowded(
    flavor: str, calculation: str, naive: Naive, snis: Sequence[str], seed: int
) -> None:
    """Many routes that match the same requests: ranks, buckets and ties decide."""
    dice = random.Random(seed)
    for _ in range(CROWDED_TABLES):
        table = [random_route(dice, number, snis) for number in dice.sample(range(1, 99), dice.randint(2, 12))]
        router = build(table, flavor, calculation)
        for request in [random_request(dice) for _ in range(20)]:
            assert ask(router, request) == naive(table, request), (table, request)


@pytest.mark.parametrize("seed", range(4))
def test_expression_router_equals_naive_one_when_tables_are_crowded(seed: int) -> None:
    """Expressions, evaluated and plain, among classic routes; and again after half of the table was taken out."""
    dice = random.Random(seed)
    for _ in range(CROWDED_TABLES):
        table, meanings = random_expression_table(dice)
        router = build(table, EXPRESSIONS)
        smaller = table[::2]
        reduced = finish(router.with_changes([route.id for route in table[1::2]], ()))
        for request in [random_request(dice) for _ in range(20)]:
            assert ask(router, request) == match_expressions(table, meanings, request), (table, request)
            assert ask(reduced, request) == match_expressions(smaller, meanings, request), (smaller, request)


def random_expression_table(dice: random.Random) -> tuple[list[StubRoute], dict[str, Meaning]]:
    table: list[StubRoute] = []
    meanings: dict[str, Meaning] = {}
    for number in dice.sample(range(1, 99), dice.randint(2, 10)):
        if dice.random() < 0.3:
            table.append(random_route(dice, number, WILDCARD_SNIS))
            continue
        text, meanings[number_id(number)] = random_expression(dice, dice.randint(0, 3))
        protocols = dice.choice([("http",), ("http", "https"), ("https",)])
        table.append(
            StubRoute(number_id(number), expression=text, priority=dice.choice([0, 0, 1, 9]), protocols=protocols)
        )
    return table, meanings
