"""correlation-id, ip-restriction, basic-auth, request-size-limiting and request-termination through a gateway: the spec's tables."""

import base64
import json
import re
from typing import Any

import pytest

from kongdp.proxy.addresses import Trust
from tests.support.loops import run
from tests.support.plugged import plugged

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"


@pytest.mark.parametrize(
    ("generator", "form"),
    [
        ("uuid", UUID),
        ("uuid#counter", UUID + r"#\d+"),
        ("tracker", r"127\.0\.0\.1-\d+-\d+-\d+-1-\d+\.\d{3}"),
    ],
)
def test_correlation_id_when_it_is_made(generator: str, form: str) -> None:
    """In the generator's form, to both sides; another one for the next request; an empty one of the client's is replaced."""

    async def story() -> None:
        config = {"generator": generator, "echo_downstream": True, "header_name": "X-Id"}
        async with plugged({"name": "correlation-id", "config": config}) as p:
            made = []
            for sent in ({}, {"x_id": ""}):
                seen = await p.ask(**sent)
                assert p.passed()["x-id"] == seen.headers["x-id"]
                made += seen.headers["x-id"]
                assert re.fullmatch(form, made[-1])
            assert made[0] != made[1]

    run(story())


def test_correlation_id_when_the_client_brings_one() -> None:
    """It is kept; told back only when asked; and made anew for requests that never came to access."""

    async def story() -> None:
        async with plugged({"name": "correlation-id"}) as p:
            seen = await p.ask(Kong_Request_ID="mine")
            assert (p.passed()["kong-request-id"], "kong-request-id" in seen.headers) == (["mine"], False)
        everywhere = {"plugins": [{"name": "correlation-id", "config": {"echo_downstream": True}}]}
        async with plugged(more=everywhere, route={"paths": ["/only"]}) as p:
            assert (await p.ask("/only", Kong_Request_ID="mine")).headers["kong-request-id"] == ["mine"]
            assert (await p.ask("/elsewhere", Kong_Request_ID="mine")).headers["kong-request-id"] == ["mine"]
            assert re.fullmatch(UUID + r"#\d+", (await p.ask("/elsewhere")).headers["kong-request-id"][0])

    run(story())


@pytest.mark.parametrize(
    ("config", "client", "status"),
    [
        ({"allow": ["10.0.0.0/8"]}, "10.1.2.3", 200),
        ({"allow": ["10.0.0.0/8"]}, "11.1.2.3", 403),
        ({"allow": ["10.1.2.3", "::1"]}, "::1", 200),
        ({"allow": ["10.0.0.0/8"]}, "::1", 403),
        ({"deny": ["10.0.0.0/8"]}, "10.1.2.3", 403),
        ({"deny": ["10.0.0.0/8"]}, "11.1.2.3", 200),
        ({"allow": ["10.0.0.0/8"], "deny": ["10.1.0.0/16"]}, "10.1.2.3", 403),
        ({"allow": ["10.0.0.0/8"], "deny": ["10.1.0.0/16"]}, "10.2.2.3", 200),
        ({"deny": ["10.0.0.0/8"], "status": 418, "message": "go away"}, "10.1.2.3", 418),
    ],
)
def test_ip_restriction_when_an_address_comes(config: dict[str, Any], client: str, status: int) -> None:
    """Denied first, then allowed; the address is the client's behind trusted peers."""

    async def story() -> None:
        trust = Trust.build(["127.0.0.1"], "X-Real-IP", recursive=False)
        async with plugged({"name": "ip-restriction", "config": config}, trust=trust) as p:
            seen = await p.ask(X_Real_IP=client)
            assert seen.status == status
            if status != 200:
                text = config.get("message") or f"IP address not allowed: {client}"
                assert f'"message":"{text}"'.encode() in seen.body

    run(story())


BASIC = {
    "consumers": [
        {
            "username": "bob",
            "id": "b40c0003-2f75-5879-a3c5-52b1e9b7f6e3",
            "basicauth_credentials": [{"username": "b", "password": "p:w"}, {"username": "e", "password": "x"}],
        },
        {"username": "anon"},
    ]
}


def basic(text: str, scheme: str = "Basic") -> str:
    """A field's value."""
    return f"{scheme} {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 401),
        ({"authorization": basic("b:p:w")}, 200),
        ({"authorization": basic("b:p:w", "basic")}, 200),
        ({"authorization": basic("b:p:w", "Bearer")}, 401),
        ({"authorization": basic("b:wrong")}, 401),
        ({"authorization": basic("b:")}, 401),
        ({"authorization": basic("b")}, 401),
        ({"authorization": basic(":p:w")}, 401),
        ({"authorization": basic("nobody:p:w")}, 401),
        ({"authorization": "Basic ???"}, 401),
        ({"authorization": "Basic"}, 401),
        ({"proxy_authorization": basic("b:p:w")}, 200),
        ({"proxy_authorization": basic("b:wrong"), "authorization": basic("b:p:w")}, 401),
        ({"proxy_authorization": basic("nobody:x"), "authorization": basic("b:p:w")}, 200),
    ],
)
def test_basic_auth_when_asked(fields: dict[str, str], status: int) -> None:
    """401 with the challenge whatever was wrong; else through with the user name as the credential's identifier."""

    async def story() -> None:
        async with plugged({"name": "basic-auth"}, more=BASIC) as p:
            seen = await p.ask(**fields)
            assert seen.status == status
            if status == 401:
                assert seen.headers["www-authenticate"] == ['Basic realm="service"']
                assert b'"message":"Unauthorized"' in seen.body
            else:
                assert (p.passed()["x-credential-identifier"], p.passed()["x-consumer-username"]) == (["b"], ["bob"])

    run(story())


def test_basic_auth_when_it_is_hidden_or_one_of_two() -> None:
    """The field is taken out; with an anonymous consumer either plugin lets through; without one, both must."""

    async def story() -> None:
        config = {"hide_credentials": True, "realm": "r"}
        async with plugged({"name": "basic-auth", "config": config}, more=BASIC) as p:
            assert (await p.ask(authorization=basic("b:p:w"))).status == 200
            assert "authorization" not in p.passed()
            assert (await p.ask()).headers["www-authenticate"] == ['Basic realm="r"']
        both = [{"name": name, "config": {"anonymous": "anon"}} for name in ("basic-auth", "key-auth")]
        more = {"consumers": [{**BASIC["consumers"][0], "keyauth_credentials": [{"key": "k"}]}, BASIC["consumers"][1]]}
        async with plugged(*both, more=more) as p:
            for fields, name in (({"authorization": basic("b:p:w")}, "bob"), ({"apikey": "k"}, "bob"), ({}, "anon")):
                await p.ask(**fields)
                assert p.passed()["x-consumer-username"] == [name]
                assert ("x-anonymous-consumer" in p.passed()) is (name == "anon")
        async with plugged({"name": "basic-auth"}, {"name": "key-auth"}, more=more) as p:
            statuses = [(await p.ask(**f)).status for f in ({"authorization": basic("b:p:w")}, {"apikey": "k"})]
            assert statuses == [401, 401]
            assert (await p.ask(authorization=basic("b:p:w"), apikey="k")).status == 200

    run(story())


def sized(**config: Any) -> dict[str, Any]:
    """An instance of request-size-limiting."""
    return {"name": "request-size-limiting", "config": config}


CHUNKED = {"Transfer_Encoding": "chunked"}


@pytest.mark.parametrize(
    ("config", "request_", "status"),
    [
        ({"allowed_payload_size": 3, "size_unit": "bytes"}, {"body": b"abc"}, 200),
        ({"allowed_payload_size": 3, "size_unit": "bytes"}, {"body": b"abcd"}, 413),
        ({"allowed_payload_size": 3, "size_unit": "bytes"}, {"body": b"abcd", "expect": "100-continue"}, 417),
        ({"allowed_payload_size": 1, "size_unit": "kilobytes"}, {"body": b"a" * 1024}, 200),
        ({"allowed_payload_size": 1, "size_unit": "kilobytes"}, {"body": b"a" * 1025}, 413),
        ({"allowed_payload_size": 1}, {"body": b"a" * (1 << 20)}, 200),
        ({"allowed_payload_size": 1}, {"body": b"a" * ((1 << 20) + 1)}, 413),
        ({"allowed_payload_size": 3, "size_unit": "bytes"}, {}, 200),
        ({"require_content_length": True}, {}, 411),
        ({"require_content_length": True}, {"body": b""}, 200),
    ],
)
def test_request_size_when_a_length_is_stated(config: dict[str, Any], request_: dict[str, Any], status: int) -> None:
    """By the length alone, before any of the body goes on."""

    async def story() -> None:
        async with plugged(sized(**config)) as p:
            seen = await p.ask(method="POST", **request_)
            assert (seen.status, len(p.upstream.heads)) == (status, int(status == 200))
            if status in (413, 417):
                assert b'"message":"Request size limit exceeded"' in seen.body
            elif status == 411:
                assert b'"message":"A valid Content-Length header is required"' in seen.body

    run(story())


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize(("count", "status"), [(3, 200), (4, 413), (1_000_000, 413)])
def test_request_size_when_the_body_is_chunked(count: int, status: int, buffered: bool) -> None:
    """It is measured as it comes; what was too long is never whole at the upstream."""

    async def story() -> None:
        config = sized(allowed_payload_size=3, size_unit="bytes", require_content_length=True)
        async with plugged(config, route={"request_buffering": buffered}) as p:
            from tests.support.raw_client import ask

            head = b"POST / HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n"
            chunks = b"1\r\nx\r\n" * min(count, 4) + (b"%x\r\n%b\r\n" % (count, b"y" * count) if count > 4 else b"")
            seen = await ask(p.gateway.port, head + chunks + b"0\r\n\r\n")
            assert seen.status == status
            assert p.bodies == ([b"xxx"] if status == 200 else [])
            assert p.gateway.counts() == {("r", status, int(status == 200)): 1}

    run(story())


@pytest.mark.parametrize(
    ("config", "status", "content_type", "body"),
    [
        ({}, 503, "application/json; charset=utf-8", b'{"message":"Service unavailable"}'),
        ({"status_code": 404}, 404, "application/json; charset=utf-8", b'{"message":"Not found"}'),
        ({"status_code": 200}, 200, None, b""),
        ({"status_code": 200, "message": 'a"b'}, 200, "application/json; charset=utf-8", b'{"message":"a\\"b"}'),
        ({"status_code": 418, "body": "<b>", "content_type": "text/html"}, 418, "text/html", b"<b>"),
        ({"status_code": 401, "body": "plain"}, 401, None, b"plain"),
    ],
)
def test_termination_when_asked(config: dict[str, Any], status: int, content_type: str | None, body: bytes) -> None:
    """The body as configured, else a message; nothing is negotiated."""

    async def story() -> None:
        async with plugged({"name": "request-termination", "config": config}) as p:
            seen = await p.ask(Accept="text/plain")
            assert (seen.status, seen.headers.get("content-type"), seen.body) == (
                status,
                None if content_type is None else [content_type],
                body,
            )
            assert p.upstream.heads == []

    run(story())


def test_termination_when_it_waits_for_a_trigger_or_echoes() -> None:
    """A field or a query argument triggers it; the echo shows what was asked and what was matched."""

    async def story() -> None:
        config = {"trigger": "X-Stop", "echo": True, "message": "hi", "status_code": 200}
        route = {"paths": ["~/x/(?<who>[a-z]+)"]}
        async with plugged({"name": "request-termination", "config": config}, route=route) as p:
            assert (await p.ask("/x/abc")).body == b"hello"
            seen = await p.ask(
                "/x/abc?X-Stop&b=1&b=2", method="POST", body=b'{"c":[1]}', content_type="application/json"
            )
            shown = json.loads(seen.body)
            assert (shown["message"], shown["matched_route"]["name"], shown["matched_service"]["name"]) == (
                "hi",
                "r",
                "s",
            )
            assert set(shown["kong"]) == {"node_id", "worker_pid", "hostname"}
            request = shown["request"]
            assert (request["method"], request["path"], request["scheme"], request["host"]) == (
                "POST",
                "/x/abc",
                "http",
                "gw.test",
            )
            assert (request["query"], request["body"], request["raw_body"]) == (
                {"X-Stop": True, "b": ["1", "2"]},
                {"c": [1]},
                '{"c":[1]}',
            )
            assert request["uri_captures"] == {"0": "/x/abc", "1": "abc", "who": "abc"}
            assert request["headers"]["content-type"] == "application/json"
            assert json.loads((await p.ask("/x/abc", X_Stop="1")).body)["message"] == "hi"

    run(story())
