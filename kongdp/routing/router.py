"""Routers of every flavor, built at once or in steps. This is the module other rooms import.

In: routes and the flavor's name.  Out: a Router (base), whose `match` answers requests and whose `with_changes` makes
the next one.
Cold. Source: ours; the flavors are Kong 3.9's setting `router_flavor`.
"""

from collections.abc import Callable, Generator, Iterable, Mapping

from kongdp.routing.base import EXPRESSIONS, TRADITIONAL, TRADITIONAL_COMPATIBLE, Router
from kongdp.routing.expressions import ExpressionRouter, judge
from kongdp.routing.priority import ORIGINAL, STRICT
from kongdp.routing.route import Captures, Match, RouteError, RouteLike
from kongdp.routing.traditional import TraditionalRouter

FLAVORS: Mapping[str, Callable[[str], Router]] = {
    TRADITIONAL_COMPATIBLE: Router,
    TRADITIONAL: TraditionalRouter,
    EXPRESSIONS: ExpressionRouter,
}


def compile_steps(
    routes: Iterable[RouteLike], flavor: str = TRADITIONAL_COMPATIBLE, route_match_calculation: str = ORIGINAL
) -> Generator[None, None, Router]:
    """Build a router in steps: yields between slices of work, returns the router.

    `route_match_calculation` is ORIGINAL (as Kong ships it) or STRICT; the traditional flavor has no use for it.
    RouteError names the first route that cannot be compiled.
    """
    return FLAVORS[flavor](route_match_calculation).with_changes((), routes)


def build(
    routes: Iterable[RouteLike], flavor: str = TRADITIONAL_COMPATIBLE, route_match_calculation: str = ORIGINAL
) -> Router:
    """Build a router at once."""
    return finish(compile_steps(routes, flavor, route_match_calculation))


def finish(steps: Generator[None, None, Router]) -> Router:
    """Run steps to their end and take the router."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            router: Router = end.value
            return router


__all__ = [
    "EXPRESSIONS",
    "FLAVORS",
    "ORIGINAL",
    "STRICT",
    "TRADITIONAL",
    "TRADITIONAL_COMPATIBLE",
    "Captures",
    "Match",
    "RouteError",
    "RouteLike",
    "Router",
    "build",
    "compile_steps",
    "finish",
    "judge",
]
