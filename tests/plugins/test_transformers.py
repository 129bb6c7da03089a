"""request-transformer and response-transformer through a gateway. Source: spec/plugins.md, section 4."""

import json
from typing import Any

import pytest

from tests.support.loops import run
from tests.support.plugged import plugged

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


def request(**config: Any) -> dict[str, Any]:
    """An instance of request-transformer."""
    return {"name": "request-transformer", "config": config}


def response(**config: Any) -> dict[str, Any]:
    """An instance of response-transformer."""
    return {"name": "response-transformer", "config": config}


@pytest.mark.parametrize(
    ("config", "sent", "passed"),
    [
        ({"remove": {"headers": ["X-A"]}}, {"x_a": ["1", "2"], "x_b": "3"}, {"x-a": None, "x-b": ["3"]}),
        ({"rename": {"headers": ["x-a:X-N"]}}, {"X_A": ["1", "2"]}, {"x-a": None, "x-n": ["1", "2"]}),
        ({"rename": {"headers": ["x-a:x-n"]}}, {"x_n": "0"}, {"x-a": None, "x-n": ["0"]}),
        ({"replace": {"headers": ["X-A:new"]}}, {"x_a": ["1", "2"]}, {"x-a": ["new"]}),
        ({"replace": {"headers": ["x-a:new"]}}, {}, {"x-a": None}),
        ({"replace": {"headers": ["host:other.test:81"]}}, {}, {"host": ["other.test:81"]}),
        ({"add": {"headers": ["x-a:new", "host:other"]}}, {}, {"x-a": ["new"]}),
        ({"add": {"headers": ["x-a:new"]}}, {"x_a": "1"}, {"x-a": ["1"]}),
        ({"append": {"headers": ["x-a:new"]}}, {"x_a": "1"}, {"x-a": ["1", "new"]}),
        ({"append": {"headers": ["x-a:h:p"]}}, {}, {"x-a": ["h:p"]}),
        (
            {"remove": {"headers": ["x-a"]}, "add": {"headers": ["x-a:new"]}, "append": {"headers": ["x-a:more"]}},
            {"x_a": "1"},
            {"x-a": ["new", "more"]},
        ),
        (
            {"add": {"headers": ["connection:x", "content-length:9", "x-forwarded-for:1.1.1.1"]}},
            {},
            {"connection": ["keep-alive"], "content-length": None, "x-forwarded-for": ["127.0.0.1"]},
        ),
        (
            {"add": {"headers": ["x-a:$(headers['x-b'])-$(query_params.q)"]}},
            {"x_b": "1", "path": "/?q=a%0d%0aX-Evil:1"},
            {"x-a": ["1-a  X-Evil:1"], "x-evil": None},
        ),
    ],
)
def test_fields_when_they_are_transformed(config: dict[str, Any], sent: dict[str, Any], passed: dict[str, Any]) -> None:
    """Each operation at its turn; what the gateway writes itself is not to be had; values start no line of their own."""

    async def story() -> None:
        async with plugged(request(**config)) as p:
            assert (await p.ask(**sent)).status == 200
            found = p.passed()
            assert {name: found.get(name) for name in passed} == passed

    run(story())


@pytest.mark.parametrize(
    ("config", "path", "line"),
    [
        ({"remove": {"querystring": ["a"]}}, "/?a=1&b=%20&a=2", "GET /?b=+ HTTP/1.1"),
        ({"remove": {"querystring": ["c"]}}, "/?a=1&b=%20", "GET /?a=1&b=%20 HTTP/1.1"),
        ({"remove": {"querystring": ["a"]}}, "/?a", "GET / HTTP/1.1"),
        ({"rename": {"querystring": ["a:n"]}}, "/?a=1&b=2", "GET /?n=1&b=2 HTTP/1.1"),
        ({"replace": {"querystring": ["a:x y"]}}, "/?b=2&a=1", "GET /?b=2&a=x+y HTTP/1.1"),
        ({"replace": {"querystring": ["a:x"]}}, "/?b=2", "GET /?b=2 HTTP/1.1"),
        ({"add": {"querystring": ["a:x"]}}, "/", "GET /?a=x HTTP/1.1"),
        ({"add": {"querystring": ["a:x"]}}, "/?a=1", "GET /?a=1 HTTP/1.1"),
        ({"append": {"querystring": ["a:x"]}}, "/?a=1", "GET /?a=1&a=x HTTP/1.1"),
        ({"add": {"querystring": ["a:$(headers.host)"]}}, "/", "GET /?a=gw.test HTTP/1.1"),
        ({"replace": {"uri": "/new/$(uri_captures.id)"}}, "/u/7?q=1", "GET /new/7?q=1 HTTP/1.1"),
        (
            {"replace": {"uri": "/n/$(query_params.q)"}},
            "/?q=a%0d%0ab%20c",
            "GET /n/a%0D%0Ab%20c?q=a%0d%0ab%20c HTTP/1.1",
        ),
        ({"http_method": "PUT"}, "/", "PUT / HTTP/1.1"),
    ],
)
def test_request_line_when_it_is_transformed(config: dict[str, Any], path: str, line: str) -> None:
    """Query, path and method; a query no operation touched stays as it came."""

    async def story() -> None:
        async with plugged(request(**config), route={"paths": ["~/u/(?<id>[0-9]+)", "/"], "strip_path": False}) as p:
            assert (await p.ask(path)).status == 200
            assert p.passed()[""] == [line]

    run(story())


@pytest.mark.parametrize(
    ("config", "content_type", "body", "passed"),
    [
        ({"remove": {"body": ["a"]}}, JSON, b'{"a":1,"b":2}', b'{"b":2}'),
        ({"rename": {"body": ["a:n"]}}, JSON, b'{"a":1}', b'{"n":1}'),
        ({"replace": {"body": ["a:x"]}}, JSON, b'{"a":1,"b":2}', b'{"a":"x","b":2}'),
        ({"add": {"body": ["a:x", "b:y"]}}, "application/json; charset=utf-8", b'{"a":1}', b'{"a":1,"b":"y"}'),
        ({"append": {"body": ["a:x", "b:y"]}}, JSON, b'{"a":1}', b'{"a":[1,"x"],"b":["y"]}'),
        ({"add": {"body": ["a:x"]}}, JSON, b"{nope", b"{nope"),
        ({"add": {"body": ["a:x"]}}, JSON, b"[1]", b"[1]"),
        ({"add": {"body": ["a:x"]}}, "text/plain", b"x", b"x"),
        ({"remove": {"body": ["a"]}, "add": {"body": ["c:x y"]}}, FORM, b"a=1&b=2", b"b=2&c=x+y"),
        ({"replace": {"body": ["a:x"]}}, FORM, b"a=1&b=2&a=3", b"a=x&b=2"),
        ({"append": {"body": ["a:x"]}}, FORM, b"a=1", b"a=1&a=x"),
        (
            {"replace": {"body": ["a:x"]}, "append": {"body": ["b:y"]}},
            "multipart/form-data; boundary=X",
            b'--X\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--X--\r\n',
            b'--X\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--X--\r\n',
        ),
    ],
)
def test_body_when_it_is_transformed(config: dict[str, Any], content_type: str, body: bytes, passed: bytes) -> None:
    """Top-level values; the length is that of the new body; what cannot be read passes as it came."""

    async def story() -> None:
        async with plugged(request(**config)) as p:
            assert (await p.ask(method="POST", body=body, content_type=content_type)).status == 200
            assert p.bodies[-1] == passed
            assert p.passed()["content-length"] == [str(len(passed))]

    run(story())


def test_path_when_a_template_gives_no_slash() -> None:
    """It is a path nevertheless, never another host's URL."""

    async def story() -> None:
        async with plugged(request(replace={"uri": "$(query_params.u)"})) as p:
            await p.ask("/?u=http://evil.test/x")
            assert p.passed()[""] == ["GET /http://evil.test/x?u=http://evil.test/x HTTP/1.1"]

    run(story())


def test_form_when_the_new_method_has_no_body() -> None:
    """Its arguments are in the query, too."""

    async def story() -> None:
        async with plugged(request(http_method="GET")) as p:
            await p.ask("/?a=1", method="POST", body=b"b=2", content_type=FORM)
            assert p.passed()[""] == ["GET /?a=1&b=2 HTTP/1.1"]

    run(story())


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"remove": {"headers": ["X-A"]}}, {"x-a": None}),
        ({"rename": {"headers": ["x-a:x-n"]}}, {"x-a": None, "x-n": ["1", "2"]}),
        ({"replace": {"headers": ["x-a:new", "x-none:new"]}}, {"x-a": ["new"], "x-none": None}),
        ({"add": {"headers": ["x-a:new", "x-n:a:b"]}}, {"x-a": ["1", "2"], "x-n": ["a:b"]}),
        ({"append": {"headers": ["x-a:new"]}}, {"x-a": ["1", "2", "new"]}),
        ({"remove": {"headers": ["content-length"]}}, {"content-length": ["9"]}),
    ],
)
def test_response_fields_when_they_are_transformed(config: dict[str, Any], expected: dict[str, Any]) -> None:
    """Each operation at its turn, over the upstream's answer and over ours; framing is not to be had."""

    async def story() -> None:
        async with plugged(response(**config), {"name": "key-auth"}) as p:
            seen = await p.ask()
            assert seen.status == 401
            if "add" in config:
                assert seen.headers["x-n"] == ["a:b"]
        async with plugged(response(**config)) as p:
            p.answer = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 9\r\n\r\nsomething"
            seen = await p.ask()
            assert (seen.body, {name: seen.headers.get(name) for name in expected}) == (b"something", expected)

    run(story())


JSON_CASES: list[tuple[dict[str, Any], bytes, Any]] = [
    ({"remove": {"json": ["a"]}}, b'{"a":1,"b":2}', {"b": 2}),
    ({"rename": {"json": ["a:n"]}}, b'{"a":1}', {"n": 1}),
    ({"replace": {"json": ["a:x", "c:x"]}}, b'{"a":1}', {"a": "x"}),
    (
        {"replace": {"json": ["a:5", "b:true", "c:1.5"], "json_types": ["number", "boolean", "number"]}},
        b'{"a":1,"b":1,"c":1}',
        {"a": 5, "b": True, "c": 1.5},
    ),
    ({"add": {"json": ["a:x", "b:7"], "json_types": ["string", "number"]}}, b'{"a":1}', {"a": 1, "b": 7}),
    ({"append": {"json": ["a:x", "b:y"]}}, b'{"a":1}', {"a": [1, "x"], "b": ["y"]}),
    ({"add": {"json": ["a:x"]}}, b"[1]", [1]),
]


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize(("config", "body", "expected"), JSON_CASES)
def test_response_body_when_it_is_transformed(config: dict[str, Any], body: bytes, expected: Any, framing: str) -> None:
    """However the upstream frames it; the client gets a length or chunks that are right."""

    async def story() -> None:
        async with plugged(response(**config)) as p:
            half = len(body) // 2
            framed = {
                "length": b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
                "chunked": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n"
                % (half, body[:half], len(body) - half, body[half:]),
            }[framing]
            p.answer = b"HTTP/1.1 200 OK\r\nContent-Type: Application/JSON; charset=utf-8\r\n" + framed
            seen = await p.ask()
            assert json.loads(seen.body) == expected
            head = await p.ask(method="HEAD")
            assert (head.status, head.body) == (200, b"")

    run(story())


def test_response_body_when_it_is_no_json_or_ours() -> None:
    """Other types and broken JSON pass as they came; an answer of the gateway itself is edited as well."""

    async def story() -> None:
        config = response(add={"json": ["a:x"]})
        async with plugged(config, {"name": "key-auth"}) as p:
            seen = await p.ask()
            assert json.loads(seen.body)["a"] == "x"
            assert seen.headers["content-length"] == [str(len(seen.body))]
        async with plugged(config) as p:
            p.answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n{nope"
            assert (await p.ask()).body == b"{nope"
            p.answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}"
            assert (await p.ask()).body == b"{}"

    run(story())


def test_response_body_when_it_is_too_long_to_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """It passes unchanged from the bound on; up to the bound it is edited."""

    async def story() -> None:
        monkeypatch.setattr("kongdp.plugins.response_transformer.handler.JSON_BYTES_MAX", 100_000)
        for count, edited in ((99_000, True), (600_000, False)):
            async with plugged(response(add={"json": ["a:x"]})) as p:
                body = b'{"b":"%b"}' % (b"y" * count)
                p.answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
                    body
                )
                p.answer += body
                seen = await p.ask()
                assert ("a" in json.loads(seen.body)) is edited

    run(story())
