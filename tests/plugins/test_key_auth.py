"""key-auth through a gateway: the spec's table of cases, what the upstream is told, the anonymous consumer, credentials that change."""

import asyncio
from typing import Any

import pytest

from tests.support.loops import run
from tests.support.plugged import Plugged, plugged

CONSUMERS = {
    "consumers": [
        {
            "username": "bob",
            "custom_id": "b-1",
            "id": "b40c0003-2f75-5879-a3c5-52b1e9b7f6e3",
            "keyauth_credentials": [
                {"id": "92b3571a-cbb7-57b4-bc5c-991cbf85185b", "key": "secret"},
                {"id": "92b3571a-cbb7-57b4-bc5c-991cbf85185c", "key": "old", "ttl": 200_000_000},
                {"key": "schlüssel"},
            ],
        },
        {"username": "nobody", "id": "b40c0003-2f75-5879-a3c5-52b1e9b7f6e4"},
    ]
}


def key_auth(**config: Any) -> dict[str, Any]:
    """An instance of the plugin."""
    return {"name": "key-auth", "config": config}


NONE, UNKNOWN, TWICE = "No API key found in request", "Unauthorized", "Duplicate API key found"

CASES: list[tuple[dict[str, Any], dict[str, Any], str | None]] = [
    # (settings, request, message of the 401 or None); source: spec/plugins.md, key-auth
    ({}, {}, NONE),
    ({}, {"apikey": ""}, NONE),
    ({}, {"apikey": "wrong"}, UNKNOWN),
    ({}, {"apikey": "old"}, UNKNOWN),
    ({}, {"apikey": ["secret", "secret"]}, TWICE),
    ({}, {"path": "/?apikey=secret&apikey=secret"}, TWICE),
    ({}, {"apikey": "secret"}, None),
    ({}, {"APIKEY": "secret"}, None),
    ({}, {"path": "/?x=1&apikey=secret"}, None),
    ({}, {"path": "/?apikey"}, NONE),
    ({}, {"path": "/?apikey=s%65cret"}, None),
    ({}, {"path": "/?apikey=schl%C3%BCssel"}, None),
    ({}, {"path": "/?APIKEY=secret"}, NONE),
    ({}, {"apikey": "wrong", "path": "/?apikey=secret"}, UNKNOWN),
    ({"key_names": ["x-a", "x-b"]}, {"x_b": "secret"}, None),
    ({"key_names": ["x-a", "x-b"]}, {"x_a": "wrong", "x_b": "secret"}, UNKNOWN),
    ({"key_in_header": False}, {"apikey": "secret"}, NONE),
    ({"key_in_query": False}, {"path": "/?apikey=secret"}, NONE),
    ({"key_in_body": True}, {"body": b'{"apikey":"secret"}', "content_type": "application/json"}, None),
    ({"key_in_body": True}, {"body": b'{"apikey":["secret"]}', "content_type": "application/json"}, None),
    ({"key_in_body": True}, {"body": b'{"apikey":1}', "content_type": "application/json"}, NONE),
    ({"key_in_body": True}, {"body": b"{nope", "content_type": "application/json"}, NONE),
    ({"key_in_body": True}, {"body": b"a=b&apikey=secret", "content_type": "application/x-www-form-urlencoded"}, None),
    ({"key_in_body": True}, {"body": b"apikey=secret", "content_type": "text/plain"}, NONE),
    ({"key_in_body": True}, {"path": "/?apikey=secret"}, None),
    ({}, {"method": "OPTIONS"}, NONE),
    ({"run_on_preflight": False}, {"method": "OPTIONS"}, None),
]


@pytest.mark.parametrize(("settings", "request_", "message"), CASES)
def test_key_auth_when_asked(settings: dict[str, Any], request_: dict[str, Any], message: str | None) -> None:
    """401 with the message and the challenge, counted for the route as the gateway's; or the request passes."""

    async def story() -> None:
        async with plugged(key_auth(**settings), more=CONSUMERS) as p:
            if "body" in request_:
                request_.setdefault("method", "POST")
            seen = await p.ask(**request_)
            if message is None:
                assert (seen.status, seen.body, p.gateway.counts()) == (200, b"hello", {("r", 200, 1): 1})
                return
            assert seen.status == 401
            assert b'"message":"%b"' % message.encode() in seen.body
            assert b'"request_id":"%b"' % seen.headers["x-kong-request-id"][0].encode() in seen.body
            assert seen.headers["www-authenticate"] == ["Key"]
            assert "x-kong-response-latency" in seen.headers
            assert (p.upstream.heads, p.gateway.counts()) == ([], {("r", 401, 0): 1})

    run(story())


def test_key_auth_when_it_is_refused_in_other_words() -> None:
    """The realm is in the challenge, and the body follows Accept."""

    async def story() -> None:
        async with plugged(key_auth(realm="Kong"), more=CONSUMERS) as p:
            seen = await p.ask(Accept="text/plain")
            assert seen.headers["www-authenticate"] == ['Key realm="Kong"']
            assert seen.headers["content-type"] == ["text/plain; charset=utf-8"]
            assert seen.body.startswith(b"No API key found in request\nrequest_id: ")

    run(story())


def test_upstream_when_a_key_was_right() -> None:
    """It is told the consumer and the credential's id; what the client says under these names is not believed."""

    async def story() -> None:
        async with plugged(key_auth(), more=CONSUMERS) as p:
            spoofed = {"X_Consumer_ID": "me", "X_Consumer_Username": "root", "X_Anonymous_Consumer": "true"}
            assert (await p.ask(apikey="secret", **spoofed)).status == 200
            passed = p.passed()
            assert passed["x-consumer-id"] == ["b40c0003-2f75-5879-a3c5-52b1e9b7f6e3"]
            assert passed["x-consumer-username"] == ["bob"]
            assert passed["x-consumer-custom-id"] == ["b-1"]
            assert passed["x-credential-identifier"] == ["92b3571a-cbb7-57b4-bc5c-991cbf85185b"]
            assert passed["apikey"] == ["secret"]
            assert "x-anonymous-consumer" not in passed

    run(story())


def test_spoofed_fields_behind_many_others() -> None:
    """What is to be taken out does not hide behind the hundredth line, where Kong's plugins see no more."""

    async def story() -> None:
        many = {f"x_{number}": "1" for number in range(150)}
        async with plugged(key_auth(hide_credentials=True), more=CONSUMERS) as p:
            spoofed = {"X_Consumer_Username": "root", "X_Anonymous_Consumer": "true", "apikey": "secret"}
            assert (await p.ask(**many, **spoofed)).status == 200
            passed = p.passed()
            assert (passed["x-consumer-username"], passed["x-149"]) == (["bob"], ["1"])
            assert not {"x-anonymous-consumer", "apikey"} & passed.keys()

    run(story())


def test_upstream_when_the_key_is_hidden() -> None:
    """It is taken out of field, query and body; everything else stays as it came."""

    async def story() -> None:
        async with plugged(key_auth(hide_credentials=True, key_in_body=True), more=CONSUMERS) as p:
            await p.ask("/x?a=%20&apikey=secret&b=c+d", apikey="secret", x_other="1")
            assert p.passed()[""] == ["GET /x?a=%20&b=c+d HTTP/1.1"]
            assert ("apikey" in p.passed(), p.passed()["x-other"]) == (False, ["1"])
            form = "application/x-www-form-urlencoded"
            await p.ask("/?apikey=secret", method="POST", body=b"apikey=secret&a=b%20c", content_type=form)
            assert (p.passed()[""], p.bodies[-1]) == (["POST / HTTP/1.1"], b"apikey=secret&a=b+c"[14:])
            await p.ask(method="POST", body=b'{"a":[1],"apikey":"secret"}', content_type="application/json")
            assert p.bodies[-1] == b'{"a":[1]}'
            part = b'--X\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
            body = part % (b"apikey", b"secret") + part % (b"f", b"a\r\nb") + b"--X--\r\n"
            await p.ask(method="POST", body=body, content_type="multipart/form-data; boundary=X")
            assert p.bodies[-1] == part % (b"f", b"a\r\nb") + b"--X--\r\n"

    run(story())


def test_anonymous_when_no_key_was_right() -> None:
    """The request passes as the anonymous consumer, by name or id; one that does not exist is a 500."""

    async def story() -> None:
        for name in ("nobody", "b40c0003-2f75-5879-a3c5-52b1e9b7f6e4"):
            async with plugged(key_auth(anonymous=name), more=CONSUMERS) as p:
                assert (await p.ask(apikey="wrong", X_Credential_Identifier="x")).status == 200
                passed = p.passed()
                assert (passed["x-anonymous-consumer"], passed["x-consumer-username"]) == (["true"], ["nobody"])
                assert "x-credential-identifier" not in passed
        async with plugged(key_auth(anonymous="ghost"), more=CONSUMERS) as p:
            seen = await p.ask()
            assert seen.status == 500
            assert b"anonymous consumer ghost is configured but doesn't exist" in seen.body

    run(story())


def test_long_body_when_the_key_is_looked_for_in_it() -> None:
    """A body that is longer than what is held is not read: the key must be elsewhere, and the body passes whole."""

    async def story() -> None:
        async with plugged(key_auth(key_in_body=True), more=CONSUMERS) as p:
            body = b'{"apikey":"secret","x":"' + b"x" * (2 << 20) + b'"}'
            seen = await p.ask(method="POST", body=body, content_type="application/json")
            assert seen.status == 401
            seen = await p.ask("/?apikey=secret", method="POST", body=body, content_type="application/json")
            assert (seen.status, p.bodies[-1] == body) == (200, True)

    run(story())


def test_client_when_it_leaves_while_its_body_is_awaited() -> None:
    """The task that waits ends with the exchange; nothing goes upstream."""

    async def story() -> None:
        async with plugged(key_auth(key_in_body=True), more=CONSUMERS) as p:
            before = asyncio.all_tasks()
            seen = await _half_a_body(p)
            await asyncio.sleep(0)
            assert asyncio.all_tasks() <= before
            assert (seen, p.upstream.heads, p.gateway.counts()) == (True, [], {("r", 499, 0): 1})

    run(story())


async def _half_a_body(p: Plugged) -> bool:
    _, writer = await asyncio.open_connection("127.0.0.1", p.gateway.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 9\r\n\r\nhalf")
    while not p.gateway.node("requests_total"):
        await asyncio.sleep(0.001)
    writer.close()
    for _ in range(10_000):
        if not p.gateway.env.connections:
            return True
        await asyncio.sleep(0.001)
    return False
