"""Every request of router.jsonl, replayed in memory: what Kong 3.9.1 (traditional_compatible) did with it, we do.

The reference answered 405 to TRACE and 400 to paths nginx refuses before its router ran; those rules are part of the
replay. Each case also holds the marker route that the recorder added. Source: /config and raw requests against a live
Kong, see the file's generator.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kongdp.http1.target import Form, escape, is_refused, normalize, parse
from kongdp.routing.path_handling import compile_upstream_path, forwarded_prefix
from kongdp.routing.router import Router, build
from tests.support.routes import StubRoute, make_route, routes_of_config

DATA = Path(__file__).parent / "data" / "router.jsonl"
FLAVOR = "traditional_compatible"
REQUESTS = 1740

MARKER = make_route("oracle-marker", hosts=["oracle.internal"], paths=["/__oracle"], created_at=1600000000)


class Answer(NamedTuple):
    """What a peer can see of routing: the status, and what the upstream received."""

    status: int
    line: str | None = None
    prefix: str | None = None
    host: str | None = None
    path: str | None = None


class RawRequest(NamedTuple):
    method: bytes
    target: bytes
    fields: dict[bytes, list[bytes]]


@cache
def cases() -> list[dict[str, Any]]:
    with DATA.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def parse_raw(raw: str) -> RawRequest:
    start, *lines = raw.encode("latin-1").split(b"\r\n\r\n")[0].split(b"\r\n")
    method, target, _ = start.split(b" ")
    fields: dict[bytes, list[bytes]] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        fields.setdefault(name.lower(), []).append(value.strip())
    return RawRequest(method, target, fields)


def answer(router: Router, routes: dict[str, StubRoute], request: RawRequest) -> Answer:
    """The gateway's answer as far as routing decides it."""
    target = parse(request.target, request.method)
    if target is None or target.form is not Form.ORIGIN or is_refused(target.path):
        return Answer(400)
    if request.method == b"TRACE":
        return Answer(405)
    path = normalize(target.path)
    host = request.fields[b"host"][0]
    match = router.match(request.method, host, path, lambda: request.fields, port=8311)
    if match is None:
        return Answer(404)
    route = routes[match.route_id]
    handler = compile_upstream_path(route.service_path.encode(), route.strip_path, route.path_handling, FLAVOR)
    upstream = escape(handler(path, match.prefix_length)) + target.query
    prefix = forwarded_prefix(route.strip_path, match.prefix)
    return Answer(
        200,
        f"{request.method.decode()} {upstream.decode()} HTTP/1.1",
        None if prefix is None else prefix.decode("latin-1"),  # as the echo upstream read the raw bytes
        host.decode() if route.preserve_host else route.service_host,
        target.path.decode(),
    )


def expected(observed: dict[str, Any]) -> Answer:
    upstream = observed["upstream"]
    if upstream is None:
        return Answer(observed["status"])
    fields = dict(upstream["headers"])
    return Answer(
        observed["status"],
        upstream["line"],
        fields.get("X-Forwarded-Prefix"),
        fields["Host"],
        fields["X-Forwarded-Path"],
    )


def requests_of(case: dict[str, Any]) -> Iterator[tuple[str, RawRequest, Answer]]:
    for request in case["requests"]:
        yield request["id"], parse_raw(request["raw"]), expected(request["observed"])


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["id"])
def test_router_agrees_with_kong_when_vectors_are_replayed(case: dict[str, Any]) -> None:
    """Status, upstream request line, X-Forwarded-Prefix, X-Forwarded-Path and Host are those Kong produced."""
    routes = [*routes_of_config(case["config"]), MARKER]
    router = build(routes, FLAVOR)
    by_id = {route.id: route for route in routes}
    different = {}
    for name, request, want in requests_of(case):
        got = answer(router, by_id, request)
        if want.status == 200 and want.line is None:  # HEAD: the body that tells what the upstream saw was not sent
            got = Answer(got.status)
        if got != want:
            different[name] = (request, want, got)
    assert different == {}


def test_every_vector_is_replayed() -> None:
    """The file holds the requests it was handed over with; none is skipped."""
    assert sum(len(case["requests"]) for case in cases()) == REQUESTS
    assert not any("rejected" in case for case in cases())
