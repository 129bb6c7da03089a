"""cors through a gateway: preflights and actual requests for each kind of configuration. Source: spec/plugins.md, cors."""

from typing import Any

import pytest

from kongdp.plugins.cors.handler import normalized
from tests.support.loops import run
from tests.support.plugged import plugged

A, B = "https://a.test", "https://b.test"
ALLOW, CREDENTIALS = "access-control-allow-origin", "access-control-allow-credentials"

CASES: list[tuple[dict[str, Any], str | None, str | None, bool, bool]] = [
    # (settings, Origin, allowed origin, credentials, Vary)
    ({}, A, "*", False, False),
    ({}, None, "*", False, False),
    ({"origins": ["*"]}, A, "*", False, False),
    ({"credentials": True}, A, A, True, True),
    ({"credentials": True}, None, "*", False, False),
    ({"origins": [A]}, A, A, False, True),
    ({"origins": [A]}, B, A, False, True),
    ({"origins": [A]}, None, A, False, True),
    ({"origins": [A], "credentials": True}, B, A, True, True),
    ({"origins": [A, B]}, B, B, False, True),
    ({"origins": [A, B]}, "https://c.test", None, False, True),
    ({"origins": [A, B]}, None, None, False, True),
    ({"origins": [A, "https://b.test:443"]}, B, B, False, True),
    ({"origins": [A, B]}, "https://b.test:443", B, False, True),
    ({"origins": [r".*\.b\.test"]}, "https://x.b.test", "https://x.b.test", False, True),
    ({"origins": [r".*\.b\.test"]}, "https://x.b.test:8000", "https://x.b.test:8000", False, True),
    ({"origins": [r".*\.b\.test"]}, "https://x.b.test.evil", None, False, True),
    ({"origins": [r"https?://.*\.b\.test"]}, "https://x.b.test", "https://x.b.test", False, True),
    ({"origins": [r"https?://.*\.b\.test"]}, "https://x.b.test:8000", None, False, True),
]


@pytest.mark.parametrize(("settings", "origin", "allowed", "credentials", "varies"), CASES)
def test_origin_when_asked(
    settings: dict[str, Any], origin: str | None, allowed: str | None, credentials: bool, varies: bool
) -> None:
    """The same in a preflight's answer and in an actual one, where upstream's own words are replaced and its Vary kept."""

    async def story() -> None:
        asked = {"origin": origin} if origin else {}
        async with plugged({"name": "cors", "config": settings}) as p:
            p.answer = (
                b"HTTP/1.1 200 OK\r\nVary: Accept\r\nAccess-Control-Allow-Origin: evil\r\nContent-Length: 0\r\n\r\n"
            )
            seen = await p.ask(**asked)
            assert seen.headers.get(ALLOW) == (None if allowed is None else [allowed])
            assert seen.headers.get(CREDENTIALS) == (["true"] if credentials else None)
            assert seen.headers["vary"] == ["Accept", *(["Origin"] if varies else [])]
            assert len(p.upstream.heads) == 1
            if origin is not None:
                seen = await p.ask(method="OPTIONS", access_control_request_method="PUT", **asked)
                assert (seen.status, seen.body, len(p.upstream.heads)) == (200, b"", 1)
                assert seen.headers.get(ALLOW) == (None if allowed is None else [allowed])
                assert seen.headers.get("vary") == (["Origin"] if varies else None)

    run(story())


def test_preflight_when_everything_is_configured() -> None:
    """Methods and headers joined by commas, age, private network when asked; and a request's own list where none is configured."""

    async def story() -> None:
        preflight = {"method": "OPTIONS", "origin": A, "access_control_request_method": "PUT"}
        config = {"headers": ["X-A", "X-B"], "methods": ["GET", "PUT"], "max_age": 3600, "private_network": True}
        async with plugged({"name": "cors", "config": config}) as p:
            asked = {"access_control_request_headers": "x-c", "access_control_request_private_network": "true"}
            seen = await p.ask(**preflight, **asked)
            found = {name: values for name, values in seen.headers.items() if name.startswith("access-control")}
            assert found == {
                ALLOW: ["*"],
                "access-control-allow-headers": ["X-A,X-B"],
                "access-control-allow-methods": ["GET,PUT"],
                "access-control-max-age": ["3600"],
                "access-control-allow-private-network": ["true"],
            }
            assert "access-control-allow-private-network" not in (await p.ask(**preflight)).headers
        async with plugged({"name": "cors"}) as p:
            seen = await p.ask(**preflight, access_control_request_headers="x-c, x-d")
            assert seen.headers["access-control-allow-headers"] == ["x-c, x-d"]
            every = "GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS,TRACE,CONNECT"
            assert seen.headers["access-control-allow-methods"] == [every]

    run(story())


def test_options_when_it_is_no_preflight_or_is_passed_on() -> None:
    """Without Access-Control-Request-Method it is an ordinary request; passed on, a preflight's answer is the upstream's alone."""

    async def story() -> None:
        async with plugged({"name": "cors", "config": {"exposed_headers": ["X-A", "X-B"]}}) as p:
            seen = await p.ask(method="OPTIONS", origin=A)
            assert (seen.body, seen.headers["access-control-expose-headers"]) == (b"hello", ["X-A,X-B"])
        async with plugged({"name": "cors", "config": {"preflight_continue": True}}) as p:
            seen = await p.ask(method="OPTIONS", origin=A, access_control_request_method="PUT")
            assert (seen.body, ALLOW in seen.headers) == (b"hello", False)

    run(story())


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("HTTP://A.test:80", "http://a.test"),
        ("https://a.test:443", "https://a.test"),
        ("http://a.test:443", "http://a.test:443"),
        ("null", "null"),
        ("http://[::1]:80", "http://[::1]"),
        ("http://a:x", "http://a:x"),
    ],
)
def test_normalized_origin(origin: str, expected: str) -> None:
    """Lower case, without a port that says nothing."""
    assert normalized(origin) == expected
