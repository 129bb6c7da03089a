"""Upstream paths: the whole table of service path, route path and request, for both handlings, kept and stripped.

Source: Kong spec/fixtures/router_path_handling_tests.lua, as tabulated in the router reference.
"""

import pytest

from kongdp.http1.target import normalize
from kongdp.routing.path_handling import forwarded_prefix, remainder, upstream_path
from kongdp.routing.router import build
from tests.support.routes import make_route

# service path, route path (None: no paths), request, v0 keep, v0 strip, v1 keep, v1 strip
TABLE = [
    ("/", "/", "/", "/", "/", "/", "/"),
    ("/", "/", "/route", "/route", "/route", "/route", "/route"),
    ("/", "/", "/route/", "/route/", "/route/", "/route/", "/route/"),
    ("/", "/", "/routereq", "/routereq", "/routereq", "/routereq", "/routereq"),
    ("/", "/", "/route/req", "/route/req", "/route/req", "/route/req", "/route/req"),
    ("/", None, "/", "/", "/", "/", "/"),
    ("/", None, "/route", "/route", "/route", "/route", "/route"),
    ("/", None, "/route/", "/route/", "/route/", "/route/", "/route/"),
    ("/", None, "/route/req", "/route/req", "/route/req", "/route/req", "/route/req"),
    ("/", "/route", "/route", "/route", "/", "/route", "/"),
    ("/", "/route", "/route/", "/route/", "/", "/route/", "/"),
    ("/", "/route", "/routereq", "/routereq", "/req", "/routereq", "/req"),
    ("/", "/route", "/route/req", "/route/req", "/req", "/route/req", "/req"),
    ("/", "/route", "/route./req", "/route./req", "/req", "/route./req", "/req"),
    ("/", "/route", "/route../req", "/route../req", "/req", "/route../req", "/req"),
    ("/", "/route/", "/route/", "/route/", "/", "/route/", "/"),
    ("/", "/route/", "/route/req", "/route/req", "/req", "/route/req", "/req"),
    ("/srv", "/", "/", "/srv", "/srv", "/srv", "/srv"),
    ("/srv", "/", "/route", "/srv/route", "/srv/route", "/srvroute", "/srvroute"),
    ("/srv", "/", "/route/", "/srv/route/", "/srv/route/", "/srvroute/", "/srvroute/"),
    ("/srv", "/", "/routereq", "/srv/routereq", "/srv/routereq", "/srvroutereq", "/srvroutereq"),
    ("/srv", "/", "/route/req", "/srv/route/req", "/srv/route/req", "/srvroute/req", "/srvroute/req"),
    ("/srv", None, "/", "/srv", "/srv", "/srv", "/srv"),
    ("/srv", None, "/route", "/srv/route", "/srv/route", "/srvroute", "/srvroute"),
    ("/srv", None, "/route/", "/srv/route/", "/srv/route/", "/srvroute/", "/srvroute/"),
    ("/srv", None, "/route/req", "/srv/route/req", "/srv/route/req", "/srvroute/req", "/srvroute/req"),
    ("/srv", "/route", "/route", "/srv/route", "/srv", "/srvroute", "/srv"),
    ("/srv", "/route", "/route/", "/srv/route/", "/srv/", "/srvroute/", "/srv/"),
    ("/srv", "/route", "/routereq", "/srv/routereq", "/srv/req", "/srvroutereq", "/srvreq"),
    ("/srv", "/route", "/route/req", "/srv/route/req", "/srv/req", "/srvroute/req", "/srv/req"),
    ("/srv", "/route", "/route./req", "/srv/route./req", "/srv/req", "/srvroute./req", "/srvreq"),
    ("/srv", "/route", "/route../req", "/srv/route../req", "/srv/req", "/srvroute../req", "/srvreq"),
    ("/srv", "/route/", "/route/", "/srv/route/", "/srv/", "/srvroute/", "/srv"),
    ("/srv", "/route/", "/route/req", "/srv/route/req", "/srv/req", "/srvroute/req", "/srvreq"),
    ("/srv/", "/", "/", "/srv/", "/srv/", "/srv/", "/srv/"),
    ("/srv/", "/", "/route", "/srv/route", "/srv/route", "/srv/route", "/srv/route"),
    ("/srv/", "/", "/route/", "/srv/route/", "/srv/route/", "/srv/route/", "/srv/route/"),
    ("/srv/", "/", "/routereq", "/srv/routereq", "/srv/routereq", "/srv/routereq", "/srv/routereq"),
    ("/srv/", "/", "/route/req", "/srv/route/req", "/srv/route/req", "/srv/route/req", "/srv/route/req"),
    ("/srv/", None, "/", "/srv/", "/srv/", "/srv/", "/srv/"),
    ("/srv/", None, "/route", "/srv/route", "/srv/route", "/srv/route", "/srv/route"),
    ("/srv/", None, "/route/", "/srv/route/", "/srv/route/", "/srv/route/", "/srv/route/"),
    ("/srv/", None, "/route/req", "/srv/route/req", "/srv/route/req", "/srv/route/req", "/srv/route/req"),
    ("/srv/", "/route", "/route", "/srv/route", "/srv", "/srv/route", "/srv/"),
    ("/srv/", "/route", "/route/", "/srv/route/", "/srv/", "/srv/route/", "/srv/"),
    ("/srv/", "/route", "/routereq", "/srv/routereq", "/srv/req", "/srv/routereq", "/srv/req"),
    ("/srv/", "/route", "/route/req", "/srv/route/req", "/srv/req", "/srv/route/req", "/srv/req"),
    ("/srv/", "/route", "/route./req", "/srv/route./req", "/srv/req", "/srv/route./req", "/srv/req"),
    ("/srv/", "/route", "/route../req", "/srv/route../req", "/srv/req", "/srv/route../req", "/srv/req"),
    ("/srv/", "/route/", "/route/", "/srv/route/", "/srv/", "/srv/route/", "/srv/"),
    ("/srv/", "/route/", "/route/req", "/srv/route/req", "/srv/req", "/srv/route/req", "/srv/req"),
]

COLUMNS = [("v0", False), ("v0", True), ("v1", False), ("v1", True)]
ROWS = [
    (service, route, request, handling, strip, row[at])
    for service, route, request, *row in TABLE
    for at, (handling, strip) in enumerate(COLUMNS)
]


def consumed(route: str | None, request: str) -> int:
    return len(route) if route is not None else 0


@pytest.mark.parametrize(("service", "route", "request_path", "handling", "strip", "want"), ROWS)
def test_upstream_path_when_row_is_of_the_table(
    service: str, route: str | None, request_path: str, handling: str, strip: bool, want: str
) -> None:
    """Service path, matched prefix and request make the path Kong sends."""
    path = request_path.encode()
    got = upstream_path(service.encode(), strip, handling, "traditional", path, consumed(route, request_path))
    assert got.decode() == want


@pytest.mark.parametrize("flavor", ["traditional_compatible", "expressions"])
@pytest.mark.parametrize(("service", "route", "request_path", "handling", "strip", "want"), ROWS)
def test_upstream_path_when_flavor_ignores_v1(
    service: str, route: str | None, request_path: str, handling: str, strip: bool, want: str, flavor: str
) -> None:
    """Both newer flavors read v1 as v0."""
    path, length = request_path.encode(), consumed(route, request_path)
    as_v0 = upstream_path(service.encode(), strip, "v0", "traditional", path, length)
    assert upstream_path(service.encode(), strip, handling, flavor, path, length) == as_v0


@pytest.mark.parametrize(("service", "route", "request_path", "handling", "strip", "want"), ROWS)
def test_upstream_path_when_route_is_a_regex_and_dots_are_encoded(
    service: str, route: str | None, request_path: str, handling: str, strip: bool, want: str
) -> None:
    """The same table holds for `~/[0]?route`, and for dots in the tail spelt as escapes; the router says what was
    consumed.
    """
    path = normalize(request_path.replace("./", "%2E/").encode())
    router = build([make_route("r", methods=["GET"], paths=[] if route is None else [as_regex(route)])])
    match = router.match(b"GET", b"a.test", path)
    assert match is not None
    got = upstream_path(service.encode(), strip, handling, "traditional", path, match.prefix_length)
    assert got.decode() == want


def as_regex(path: str) -> str:
    return "~" + path.replace("/route", "/[0]?route")


@pytest.mark.parametrize(
    ("path", "length", "want"),
    [
        (b"/route.", 6, b""),
        (b"/route..", 6, b""),
        (b"/route./x", 6, b"x"),
        (b"/route../x", 6, b"x"),
        (b"/route../../x", 6, b"../x"),
        (b"/route.x", 6, b".x"),
        (b"/route", 6, b""),
        (b"/a/b", 0, b"a/b"),
        (b"/", 0, b""),
    ],
)
def test_remainder_when_the_cut_uncovers_dots(path: bytes, length: int, want: bytes) -> None:
    """One uncovered dot segment is dropped, so that the upstream path cannot climb by the cut."""
    assert remainder(path, length) == want


@pytest.mark.parametrize(
    ("strip", "prefix", "want"),
    [(True, b"/a", b"/a"), (True, b"/", None), (True, b"", None), (False, b"/a", None)],
)
def test_forwarded_prefix_when_something_was_stripped(strip: bool, prefix: bytes, want: bytes | None) -> None:
    """The field carries what was taken away and is absent when nothing was."""
    assert forwarded_prefix(strip, prefix) == want
