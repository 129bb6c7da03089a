"""Requests and responses of the Admin API, and the arguments a request carries.

In: method, path, query, fields and body, from whatever server mounts the API.  Out: decoded arguments, or ApiError.
House rule: no web framework here, and no size limit either: the server that reads the body has one.
Source: kong/api/{api_helpers,arguments}.lua 3.9 (content types, how form fields become typed values).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl

import orjson

from kongdp.adminapi.errors import ApiError, plain
from kongdp.entities.field import Field
from kongdp.entities.schema import Schema
from kongdp.entities.shape import Shape

JSON_TYPE = "application/json; charset=utf-8"
# Form fields are few; more would be an attempt to keep us busy.
FORM_FIELDS_MAX = 1000
FORM_DEPTH_MAX = 20

_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?\Z", re.ASCII)
_INDEX = re.compile(r"\[(\d*)\]\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `path` is percent-encoded and has no query; header names in lower case; `actor`: who asks, for the
    store's history."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    actor: str = ""

    def arguments(self) -> dict[str, str]:
        """The query's arguments; of several with one name the first counts."""
        arguments: dict[str, str] = {}
        for name, value in parse_qsl(self.query, keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX):
            arguments.setdefault(name, value)
        return arguments

    def media_type(self) -> str:
        """The body's type without parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Response:
    """One answer; `body` is empty where there is none."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


def json_response(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Response:
    """An answer with a JSON body."""
    return Response(status, {"Content-Type": JSON_TYPE, **(headers or {})}, encode_json(value))


def empty_response(status: int, headers: Mapping[str, str] | None = None) -> Response:
    """An answer without a body."""
    return Response(status, dict(headers or {}))


def encode_json(value: Any) -> bytes:
    """JSON text. Text that is no Unicode (a lone surrogate, sent back in a reason) is replaced rather than refused."""
    try:
        return orjson.dumps(value)
    except (TypeError, ValueError):
        return orjson.dumps(_encodable(value), option=orjson.OPT_NON_STR_KEYS, default=str)


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encodable(item) for item in value]
    if isinstance(value, int) and abs(value) >= 2**63:
        return float(value) if abs(value) < 1 << 1000 else str(value)
    return value


def decode_body(request: Request, schema: Schema | None) -> Any:
    """The arguments in a request's body: a dict, or the list that the JSON holds. `schema` says which types form fields
    have.

    Raises ApiError: 400 for a body that cannot be read, 415 for a type nobody knows.
    """
    if not request.body:
        return {}
    media_type = request.media_type()
    if media_type == "application/json":
        return _decode_json(request.body)
    if media_type == "application/x-www-form-urlencoded":
        return _typed_form(_decode_form(request.body), schema)
    if media_type == "multipart/form-data":
        return _typed_form(decode_multipart(request), schema)
    raise ApiError(415, None)


def _typed_form(pairs: list[tuple[str, str]], schema: Schema | None) -> dict[str, Any]:
    arguments = _nested(pairs)
    return typed(arguments, schema.shape_of(arguments)) if schema is not None else arguments


def _decode_json(body: bytes) -> Any:
    try:
        value = orjson.loads(body)
    except ValueError:
        raise plain(400, "Cannot parse JSON body") from None
    if not isinstance(value, (dict, list)):
        raise plain(400, "Cannot parse JSON body")
    return value


def _decode_form(body: bytes) -> list[tuple[str, str]]:
    try:
        text = body.decode("utf-8")
        return parse_qsl(text, keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX)
    except ValueError:
        raise plain(400, "Cannot parse form body") from None


def decode_multipart(request: Request) -> list[tuple[str, str]]:
    """Names and values of a multipart body."""
    boundary = request.headers["content-type"].partition("boundary=")[2].partition(";")[0].strip('" ')
    # Counted before they are taken apart, which takes some 50 us a part.
    if request.body.count(b"--" + boundary.encode("latin-1", "replace")) > FORM_FIELDS_MAX + 1:
        raise plain(400, "Cannot parse multipart body")
    head = b"Content-Type: " + request.headers["content-type"].encode("latin-1", "replace") + b"\r\n\r\n"
    message = BytesParser(policy=HTTP).parsebytes(head + request.body)
    fields: list[tuple[str, str]] = []
    if not message.is_multipart():
        raise plain(400, "Cannot parse multipart body")
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            fields.append((name, content.decode("utf-8", "replace")))
    return fields


def _nested(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Form fields as nested values: `config.minute`, `tags[]`, `hosts[2]`, a repeated name."""
    arguments: dict[str, Any] = {}
    for name, value in pairs:
        index = _INDEX.search(name)
        path = (name[: index.start()] if index else name).split(".")
        if len(path) > FORM_DEPTH_MAX:
            raise plain(400, "Cannot parse form body")
        holder = arguments
        for step in path[:-1]:
            inner = holder.get(step)
            if not isinstance(inner, dict):
                inner = holder[step] = {}
            holder = inner
        known = holder.get(path[-1])
        if isinstance(known, list):
            known.append(value)
        elif known is not None and not isinstance(known, dict):
            holder[path[-1]] = [known, value]
        else:
            holder[path[-1]] = [value] if index else value
    return arguments


def typed(arguments: Mapping[str, Any], shape: Shape | None) -> dict[str, Any]:
    """Form values as the types their fields have; what does not look like its type stays text, to be refused with a
    reason."""
    fields = shape.fields if shape is not None else {}
    return {name: _typed_value(value, fields.get(name)) for name, value in arguments.items()}


def _typed_value(value: Any, rule: Field | None) -> Any:
    if rule is None:
        return value
    if value == "":
        return None
    match rule.type:
        case "array" | "set":
            items = value if isinstance(value, list) else [value]
            return [_typed_value(item, rule.elements) for item in items]
        case "map" if isinstance(value, dict):
            return {key: _typed_value(item, rule.values) for key, item in value.items()}
        case "record" if isinstance(value, dict):
            return typed(value, rule.shape)
        case "integer" | "number" if isinstance(value, str) and _NUMBER.match(value):
            return orjson.loads(value) if not value.lstrip("-").startswith("0") else float(value)
        case "boolean" if value in ("true", "false"):
            return value == "true"
    return value
