"""Bodies and query of requests, and JSON of answers."""

import json
from typing import Any

import pytest

from kongdp.adminapi.errors import ApiError
from kongdp.adminapi.messages import FORM_FIELDS_MAX, Request, decode_body, encode_json, json_response
from kongdp.entities.schemas import SCHEMAS, build_schemas
from kongdp.plugins.configs import PLUGIN_SCHEMAS

_FORM = "application/x-www-form-urlencoded"


def _decoded(body: bytes, media_type: str = _FORM, collection: str = "services") -> Any:
    schemas = build_schemas(plugins=PLUGIN_SCHEMAS)
    return decode_body(Request("POST", "/", "", {"content-type": media_type}, body), schemas[collection])


@pytest.mark.parametrize(
    ("body", "collection", "value"),
    [
        (b"name=s&port=81&enabled=false", "services", {"name": "s", "port": 81, "enabled": False}),
        (b"tags=a", "services", {"tags": ["a"]}),
        (b"tags=a&tags=b", "services", {"tags": ["a", "b"]}),
        (b"tags[]=a&tags[]=b", "services", {"tags": ["a", "b"]}),
        (b"tags[1]=a&tags[2]=b", "services", {"tags": ["a", "b"]}),
        (b"port=x&retries=", "services", {"port": "x", "retries": None}),
        (b"headers.x-a[]=1&headers.x-a[]=2", "routes", {"headers": {"x-a": ["1", "2"]}}),
        (b"service.id=5&what=6", "routes", {"service": {"id": "5"}, "what": "6"}),
        (
            b"name=rate-limiting&config.minute=5&config.redis.port=0",
            "plugins",
            {"name": "rate-limiting", "config": {"minute": 5, "redis": {"port": 0}}},
        ),
        (
            b"name=u&healthchecks.active.healthy.http_statuses=200&healthchecks.active.timeout=1.5",
            "upstreams",
            {"name": "u", "healthchecks": {"active": {"healthy": {"http_statuses": [200]}, "timeout": 1.5}}},
        ),
        (b"", "services", {}),
    ],
)
def test_decode_body_when_a_form(body: bytes, collection: str, value: Any) -> None:
    """Form fields nest, repeat, and get the types of their fields; what does not fit stays text."""
    assert _decoded(body, collection=collection) == value


def test_decode_body_when_multipart() -> None:
    """Parts are fields, a file among them."""
    body = (
        b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\ns\r\n'
        b'--x\r\nContent-Disposition: form-data; name="port"; filename="f"\r\nContent-Type: text/plain\r\n\r\n81\r\n--x--\r\n'
    )
    assert _decoded(body, "multipart/form-data; boundary=x") == {"name": "s", "port": 81}


@pytest.mark.parametrize(
    ("body", "media_type", "status", "message"),
    [
        (b"{nope", "application/json", 400, "Cannot parse JSON body"),
        (b"5", "application/json", 400, "Cannot parse JSON body"),
        (b'"\\ud800"', "application/json", 400, "Cannot parse JSON body"),
        (b"[" * 100_000, "application/json", 400, "Cannot parse JSON body"),
        (b"x", "text/plain", 415, None),
        (b"x", "", 415, None),
        (b"x", "multipart/form-data", 400, "Cannot parse multipart body"),
        (b"a=%ff" + b"&a=1" * FORM_FIELDS_MAX, _FORM, 400, "Cannot parse form body"),
        (b".".join([b"a"] * 50) + b"=1", _FORM, 400, "Cannot parse form body"),
        (b"a=\xff", _FORM, 400, "Cannot parse form body"),
    ],
)
def test_decode_body_when_it_cannot_be_read(body: bytes, media_type: str, status: int, message: str | None) -> None:
    """Refused with Kong's words, and with a limit on what a form may hold."""
    with pytest.raises(ApiError) as caught:
        _decoded(body, media_type)
    assert caught.value.status == status
    assert (caught.value.body or {}).get("message") == message


def test_decode_body_when_json() -> None:
    """JSON is taken as it is; parameters of the type do not matter."""
    assert _decoded(b'{"port": "81"}', "application/json; charset=utf-8") == {"port": "81"}
    assert decode_body(Request("POST", "/"), SCHEMAS["services"]) == {}


def test_arguments_when_repeated() -> None:
    """The first of several counts, blank values too."""
    assert Request("GET", "/", "a=1&a=2&b=").arguments() == {"a": "1", "b": ""}


def test_encode_json_when_it_holds_what_json_cannot() -> None:
    """Half a character and huge numbers are replaced, not refused: they are someone's input sent back."""
    assert json.loads(encode_json({"a": "\udcff", "b": [1 << 80], 5: ("x",)})) == {"a": "?", "b": [2.0**80], "5": ["x"]}
    assert json_response(200, {}).headers["Content-Type"] == "application/json; charset=utf-8"
