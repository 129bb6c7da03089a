"""The router's own promises: rules of the reference one by one, refusals, the cache's bounds, changes in steps.

The flavors as wholes are held against a naive router in test_router_properties and against Kong in tests/conformance.
"""

from collections.abc import Mapping, Sequence

import pytest

from kongdp.routing import base
from kongdp.routing.router import (
    EXPRESSIONS,
    STRICT,
    TRADITIONAL,
    TRADITIONAL_COMPATIBLE,
    RouteError,
    Router,
    build,
    compile_steps,
    finish,
)
from tests.support.routes import StubRoute, make_route, number_id

Fields = Mapping[bytes, Sequence[bytes]]

COMPATIBLE = TRADITIONAL_COMPATIBLE
CLASSIC = [COMPATIBLE, TRADITIONAL, EXPRESSIONS]


def winner(
    routes: Sequence[StubRoute],
    path: bytes = b"/",
    *,
    flavor: str = COMPATIBLE,
    method: bytes = b"GET",
    host: bytes = b"a.test",
    fields: Fields | None = None,
    calculation: str = "original",
    scheme: bytes = b"http",
    sni: bytes | None = None,
    port: int = 8000,
) -> str | None:
    """The name of the route that answers."""
    router = build(routes, flavor, calculation)
    match = router.match(method, host, path, lambda: fields or {}, scheme=scheme, sni=sni, port=port)
    names = {route.id: route.name for route in routes}
    return names[match.route_id] if match is not None else None


def test_match_is_the_same_object_when_a_prefix_route_answers_again() -> None:
    """Prefix and host routes answer with a prebuilt Match, cached or not."""
    router = build([make_route("a", paths=["/a"])])
    first = router.match(b"GET", b"a.test", b"/a/1")
    assert first is router.match(b"GET", b"a.test", b"/a/2")
    assert first is not None
    assert (first.prefix, first.prefix_length, first.captures) == (b"/a", 2, None)


def test_captures_are_told_when_a_regex_has_groups() -> None:
    """Numbered and named groups of what the regex consumed."""
    router = build([make_route("a", paths=["~/users/(?<id>\\d+)"])])
    match = router.match(b"GET", b"a.test", b"/users/42/x")
    assert match is not None
    assert match.prefix == b"/users/42"
    assert match.captures is not None
    assert match.captures.positional == (b"/users/42", b"42")
    assert match.captures.named == {"id": b"42"}


@pytest.mark.parametrize("flavor", CLASSIC)
def test_empty_router_matches_nothing(flavor: str) -> None:
    """No route, no match."""
    assert build([], flavor).match(b"GET", b"a.test", b"/") is None


@pytest.mark.parametrize("flavor", CLASSIC)
def test_host_is_compared_as_received(flavor: str) -> None:
    """No lower-casing and no removal of a trailing dot."""
    routes = [make_route("a", hosts=["a.test"])]
    assert winner(routes, flavor=flavor, host=b"a.test:8000") == "a"
    assert winner(routes, flavor=flavor, host=b"A.test") is None
    assert winner(routes, flavor=flavor, host=b"a.test.") is None
    assert winner(routes, flavor=flavor, host=b"") is None


def test_host_port_is_compared_with_the_destination_when_compatible() -> None:
    """A written port goes before the listener's; a host without one takes any."""
    routes = [make_route("a", hosts=["a.test:80"])]
    assert winner(routes, host=b"a.test", port=80) == "a"
    assert winner(routes, host=b"a.test:80", port=8000) == "a"
    assert winner(routes, host=b"a.test", port=8000) is None
    assert winner(routes, host=b"a.test:81", port=80) is None


def test_host_port_is_compared_literally_when_traditional() -> None:
    """`a.test:80` is a host of its own."""
    routes = [make_route("a", hosts=["a.test:80"])]
    assert winner(routes, flavor=TRADITIONAL, host=b"a.test:80") == "a"
    assert winner(routes, flavor=TRADITIONAL, host=b"a.test", port=80) is None


def test_wildcard_hosts_take_labels_but_not_the_apex() -> None:
    """One label or more; a bare suffix counts in the newer flavors only."""
    routes = [make_route("left", hosts=["*.a.test"]), make_route("right", hosts=["b.*"])]
    for flavor, bare in ((COMPATIBLE, "left"), (TRADITIONAL, None)):
        assert winner(routes, flavor=flavor, host=b"x.y.a.test:1") == "left"
        assert winner(routes, flavor=flavor, host=b"a.test") is None
        assert winner(routes, flavor=flavor, host=b"b.org") == "right"
        assert winner(routes, flavor=flavor, host=b".a.test") == bare


def test_wildcard_host_with_port_takes_the_scheme_s_port_when_traditional() -> None:
    """A Host without port is given 80 or 443 first."""
    routes = [make_route("a", hosts=["*.a.test:443"])]
    assert winner(routes, flavor=TRADITIONAL, host=b"x.a.test", scheme=b"https") == "a"
    assert winner(routes, flavor=TRADITIONAL, host=b"x.a.test", scheme=b"http") is None
    assert winner(routes, flavor=TRADITIONAL, host=b"x.a.test:443") == "a"


def test_ipv6_brackets_are_peeled_when_traditional() -> None:
    """A literal is found with and without the request's port."""
    routes = [make_route("a", hosts=["::1"])]
    assert winner(routes, flavor=TRADITIONAL, host=b"[::1]") == "a"
    assert winner(routes, flavor=TRADITIONAL, host=b"[::1]:8000") == "a"
    assert winner(routes, flavor=COMPATIBLE, host=b"[::1]:8000") is None


@pytest.mark.parametrize("flavor", CLASSIC)
def test_paths_are_byte_prefixes(flavor: str) -> None:
    """No segment boundary, case-sensitive, a trailing slash counts."""
    routes = [make_route("plain", paths=["/api"]), make_route("slash", paths=["/s/"])]
    assert winner(routes, b"/apiary", flavor=flavor) == "plain"
    assert winner(routes, b"/API", flavor=flavor) is None
    assert winner(routes, b"/s", flavor=flavor) is None
    assert winner(routes, b"/s/x", flavor=flavor) == "slash"


def test_methods_compare_exactly() -> None:
    """HEAD is not implied; unknown tokens are told apart although they share a bit."""
    routes = [make_route("get", methods=["GET"]), make_route("foo", methods=["FOO"])]
    assert winner(routes, method=b"GET") == "get"
    assert winner(routes, method=b"HEAD") is None
    assert winner(routes, method=b"FOO") == "foo"
    assert winner(routes, method=b"BAR") is None
    assert winner(routes, method=b"get") is None


HEADER_ROWS = [
    ({"x-a": ["1"]}, {b"x-a": [b"1"]}, True, True),
    ({"x-a": ["1"]}, {b"x_a": [b"1"]}, True, False),
    ({"x_a": ["1"]}, {b"x-a": [b"1"]}, True, True),
    ({"x_a": ["1"]}, {b"x_a": [b"2"], b"x-a": [b"1"]}, False, False),
    ({"x-a": ["One"]}, {b"x-a": [b"oNE"]}, True, True),
    ({"x-a": ["1", "2"]}, {b"x-a": [b"0", b"2"]}, True, True),
    ({"x-a": ["1"]}, {b"x-a": [b"1, 2"]}, False, False),
    ({"x-a": ["1"], "x-b": ["2"]}, {b"x-a": [b"1"]}, False, False),
    ({"x-a": ["~*^pro"]}, {b"x-a": [b"PRODUCTION"]}, True, True),
    ({"x-a": ["~*^Pro"]}, {b"x-a": [b"production"]}, True, False),
    ({"x-a": ["~*^pro", "x"]}, {b"x-a": [b"production"]}, True, False),
    ({"x-a": ["~*^\\D$"]}, {b"x-a": [b"5"]}, True, False),
    ({"x-a": ["1"]}, {}, False, False),
]


@pytest.mark.parametrize(("headers", "fields", "compatible", "traditional"), HEADER_ROWS)
def test_headers_match_when_the_flavor_says_so(
    headers: dict[str, list[str]], fields: Fields, compatible: bool, traditional: bool
) -> None:
    """All names, any value; lines are never split; the flavors differ in spelling and in regexes."""
    routes = [make_route("a", headers=headers)]
    assert winner(routes, fields=fields) == ("a" if compatible else None)
    assert winner(routes, fields=fields, flavor=TRADITIONAL) == ("a" if traditional else None)


def test_fields_are_not_asked_for_when_no_candidate_needs_them() -> None:
    """Parsing the fields is left to the request that reaches a route with headers, and happens once for it."""
    router = build([make_route("a", paths=["/a"]), make_route("b", paths=["/b"], headers={"x": ["1"], "y": ["1"]})])
    asked = []

    def fields() -> Fields:
        asked.append(1)
        return {b"x": [b"1"], b"y": [b"1"]}

    assert router.match(b"GET", b"a.test", b"/a", fields) is not None
    assert asked == []
    assert router.match(b"GET", b"a.test", b"/b", fields) is not None
    assert asked == [1]


def test_snis_are_ignored_on_plain_http() -> None:
    """Kong issue 6425; `strict` refuses it where the route takes https only."""
    routes = [make_route("a", snis=["a.test."], protocols=["https"])]
    assert winner(routes) == "a"
    assert winner(routes, scheme=b"https", sni=b"a.test") == "a"
    assert winner(routes, scheme=b"https", sni=b"b.test") is None
    assert winner(routes, scheme=b"https") is None
    assert winner(routes, calculation=STRICT) is None


def test_sni_wildcards_match_when_compatible() -> None:
    """The traditional flavor compares them as names."""
    routes = [make_route("a", snis=["*.a.test", "b.*"])]
    assert winner(routes, scheme=b"https", sni=b"x.a.test") == "a"
    assert winner(routes, scheme=b"https", sni=b"b.org") == "a"
    assert winner(routes, scheme=b"https", sni=b"x.a.test", flavor=TRADITIONAL) is None


def test_path_that_is_no_utf8_finds_nothing_when_any_route_has_a_path() -> None:
    """Kong's engine takes UTF-8 only; a table without paths does not hand it the path."""
    by_host = make_route("host", hosts=["a.test"])
    assert winner([by_host], b"/\xff") == "host"
    assert winner([by_host, make_route("path", paths=["/x"])], b"/\xff") is None
    assert winner([by_host, make_route("path", paths=["/x"])], b"/\xff", flavor=TRADITIONAL) == "host"


def test_stream_routes_take_no_part() -> None:
    """A route for tcp or tls answers no HTTP request."""
    routes = [make_route("tcp", protocols=["tcp"], snis=["a.test"]), make_route("http", paths=["/"])]
    for flavor in CLASSIC:
        assert winner(routes, flavor=flavor) == "http"


# two routes that both match GET http://a.test/a/b (x: 1), and who wins in T, C as shipped, C as intended
PRECEDENCE = [
    ({"hosts": ["a.test"]}, {"paths": ["/a"]}, "left", "left", "left"),
    ({"hosts": ["a.test"]}, {"paths": ["~/a"]}, "left", "left", "left"),
    ({"hosts": ["*.test"]}, {"paths": ["/a"]}, "left", "right", "right"),
    ({"hosts": ["*.test"]}, {"headers": {"x": ["1"]}}, "left", "right", "right"),
    ({"headers": {"x": ["1"]}}, {"paths": ["/a"]}, "left", "left", "left"),
    ({"headers": {"x": ["1"]}}, {"paths": ["~/a"]}, "left", "right", "left"),
    ({"paths": ["/a"], "methods": ["GET"]}, {"hosts": ["a.test"]}, "left", "right", "left"),
    ({"paths": ["/a"], "methods": ["GET"]}, {"paths": ["~/a"]}, "left", "right", "left"),
    ({"paths": ["/a/b"]}, {"paths": ["/a"]}, "left", "left", "left"),
    ({"paths": ["~/a"]}, {"paths": ["/a/b"]}, "left", "left", "left"),
    ({"paths": ["~/a"], "regex_priority": 0}, {"paths": ["~/a/b"], "regex_priority": 1}, "right", "right", "right"),
]


@pytest.mark.parametrize(("left", "right", "traditional", "original", "strict"), PRECEDENCE)
def test_precedence_when_both_routes_match(
    left: dict[str, object], right: dict[str, object], traditional: str, original: str, strict: str
) -> None:
    """The pairs of the reference, section 5."""
    routes = [make_route("left", created_at=2, **left), make_route("right", created_at=1, **right)]
    fields = {b"x": [b"1"]}
    assert winner(routes, b"/a/b", fields=fields, flavor=TRADITIONAL) == traditional
    assert winner(routes, b"/a/b", fields=fields) == original
    assert winner(routes, b"/a/b", fields=fields, calculation=STRICT) == strict


def test_identical_routes_fall_to_age_or_to_the_greater_id() -> None:
    """Traditional: the older; compatible: the greater uuid."""
    routes = [
        make_route("old", id=number_id(1), paths=["/"], created_at=1),
        make_route("new", id=number_id(2), paths=["/"], created_at=2),
    ]
    assert winner(routes, flavor=TRADITIONAL) == "old"
    assert winner(routes) == "new"


def test_bucket_of_the_longest_path_goes_before_a_plain_host() -> None:
    """A mixed host list counts as wildcard, yet its longer path is the smallest bucket."""
    routes = [
        make_route("mixed", hosts=["a.test", "*.test"], paths=["/a/b"]),
        make_route("plain", hosts=["a.test"], paths=["/a"]),
    ]
    assert winner(routes, b"/a/b", flavor=TRADITIONAL) == "mixed"
    assert winner(routes, b"/a", flavor=TRADITIONAL) == "plain"


def test_walk_starts_at_the_recognised_category_when_traditional() -> None:
    """On plain http a route with snis and host is passed by when the request is known by its host alone."""
    routes = [make_route("sni", hosts=["a.test"], snis=["a.test"]), make_route("host", hosts=["a.test"])]
    assert winner(routes, flavor=TRADITIONAL) == "host"
    assert winner(routes, flavor=COMPATIBLE) == "sni"


BROKEN = [
    ({"paths": ["~/(a"]}, "does not compile"),
    ({"paths": ["~/(?=a)"]}, "does not compile"),
    ({"hosts": ["a.*.test"]}, "wildcard"),
    ({"headers": {"x": ["~*["]}}, "does not compile"),
    ({}, "no field to match by"),
]


@pytest.mark.parametrize("flavor", CLASSIC)
@pytest.mark.parametrize(("fields", "reason"), BROKEN)
def test_route_is_refused_with_name_and_reason_when_it_cannot_be_compiled(
    fields: dict[str, object], reason: str, flavor: str
) -> None:
    """The error says which route and why, and the router it was meant for goes on."""
    router = build([make_route("good", paths=["/"])], flavor)
    route = make_route("bad", **fields)
    with pytest.raises(RouteError, match=reason) as refused:
        finish(router.with_changes([], [make_route("other", paths=["/x"]), route]))
    assert refused.value.route_id == route.id
    assert refused.value.route_name == "bad"
    assert "'bad'" in str(refused.value)
    assert len(router) == 1
    assert router.match(b"GET", b"a.test", b"/x") is not None


def test_cache_stays_bounded_when_paths_never_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full cache rests, then starts anew; long paths are not kept; answers stay right throughout."""
    monkeypatch.setattr(base, "CACHE_ENTRIES_MAX", 10)
    monkeypatch.setattr(base, "CACHE_REST_MISSES", 20)
    router = build([make_route("a", paths=["/a"])])
    for number in range(200):
        assert router.match(b"GET", b"a.test", b"/a/%d" % number) is not None
        assert router.match(b"GET", b"a.test", b"/b/%d" % number) is None
        assert router.count_cached() <= 10
    fresh = build([make_route("a", paths=["/a"])])
    assert fresh.match(b"GET", b"a.test", b"/a" + b"x" * 5000) is not None
    assert fresh.count_cached() == 0


def test_cache_does_not_answer_for_requests_that_differ_in_fields() -> None:
    """What depends on more than method, host and path is never kept."""
    router = build([make_route("a", paths=["/"], headers={"x": ["1"]}), make_route("b", paths=["/"])])
    names = []
    for value in (b"1", b"2", b"1"):
        match = router.match(b"GET", b"a.test", b"/", lambda value=value: {b"x": [value]})
        assert match is not None
        names.append(match.route_id)
    assert names[0] == names[2] != names[1]


@pytest.mark.parametrize("flavor", CLASSIC)
def test_build_yields_between_routes_and_inside_large_ones(flavor: str) -> None:
    """A slice is one route, or 32 places of one."""
    large = make_route("large", paths=[f"/p{number}" for number in range(320)])
    assert sum(1 for _ in compile_steps([large, make_route("small", paths=["/"])], flavor)) >= 12


@pytest.mark.parametrize("flavor", CLASSIC)
def test_changed_router_leaves_the_old_one_as_it_was(flavor: str) -> None:
    """Replacing, adding and removing make a new router; unknown ids are passed over."""
    old = build([make_route("a", paths=["/a"]), make_route("b", paths=["/b"])], flavor)
    new = finish(
        old.with_changes(
            [make_route("b").id, number_id(9)], [make_route("a", paths=["/c"]), make_route("d", paths=["/d"])]
        )
    )

    def known(router: Router) -> list[bytes]:
        return [path for path in (b"/a", b"/b", b"/c", b"/d") if router.match(b"GET", b"", path) is not None]

    assert known(old) == [b"/a", b"/b"]
    assert known(new) == [b"/c", b"/d"]
    assert make_route("d").id in new
    assert make_route("b").id not in new
    assert (len(old), len(new)) == (2, 2)
