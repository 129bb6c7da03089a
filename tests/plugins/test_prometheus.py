"""Counting by consumer: who is counted where, as the prometheus instance that applies says."""

from typing import Any

import pytest

from tests.support.loops import run
from tests.support.plugged import Plugged, plugged

CONSUMERS = {
    "consumers": [
        {"username": "bob", "keyauth_credentials": [{"key": "kb"}]},
        {"username": "eve", "keyauth_credentials": [{"key": "ke"}]},
    ]
}


def by_consumer(p: Plugged) -> dict[tuple[str, int], int]:
    """Counted requests by consumer and status; "" for those of the route itself."""
    identities = p.gateway.env.snapshot.identities
    found = {}
    for row in p.gateway.around.row_of.values():
        owners = {"": row, **{identities.consumers[id_].username: each for id_, each in row._consumers.items()}}
        for name, each in owners.items():
            for code_source, index in each.codes.items():
                found[name, code_source // 2] = p.gateway.env.slots[index]
    return found


@pytest.mark.parametrize(
    ("instances", "expected"),
    [
        ([], {("", 200): 3, ("", 401): 1}),
        ([{}], {("", 200): 3, ("", 401): 1}),
        ([{"config": {"per_consumer": True}}], {("bob", 200): 2, ("eve", 200): 1, ("", 401): 1}),
        # the most specific instance alone decides
        ([{"config": {"per_consumer": True}}, {"service": "s"}], {("", 200): 3, ("", 401): 1}),
        (
            [{}, {"consumer": "bob", "config": {"per_consumer": True}}],
            {("bob", 200): 2, ("", 200): 1, ("", 401): 1},
        ),
    ],
)
def test_requests_are_counted_for_consumers_when_asked(
    instances: list[dict[str, Any]], expected: dict[tuple[str, int], int]
) -> None:
    """Each request once: for its consumer, or for the route."""

    async def story() -> None:
        more = {**CONSUMERS, "plugins": [{"name": "prometheus", **each} for each in instances]}
        async with plugged({"name": "key-auth"}, more=more) as p:
            for key in ("kb", "ke", "kb", "no"):
                await p.ask(apikey=key)
            assert by_consumer(p) == expected

    run(story())
