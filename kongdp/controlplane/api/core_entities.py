"""Gateway entities of any runtime group in Konnect's manner: the Admin API below /v2/control-planes/{group}/core-entities.

In: HTTP with JSON bodies only; PUT instead of PATCH.  Out: entities as Kong shows them; lists as {"items", "page"} with
`page.size` and `page.number`, or as Kong's {"data", "next", "offset"} for a client that asks with `size` or `offset` as
go-kong does; errors as Konnect's. Each entity has an ETag, which If-Match holds to inside the transaction. Cold.
Source: protocol notes 7.5.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Request, Response

from kongdp.adminapi import messages
from kongdp.adminapi.api import AdminApi
from kongdp.adminapi.errors import ApiError as AdminError
from kongdp.controlplane.api import admin, preconditions
from kongdp.controlplane.api.actors import actor_of
from kongdp.controlplane.api.parameters import GroupName, find_group, page
from kongdp.controlplane.api.problems import CODES, ApiError
from kongdp.controlplane.changes import JoinedStore
from kongdp.controlplane.plane import Plane

PREFIX = "/v2/control-planes/{group}/core-entities"
METHODS = ("GET", "POST", "PUT", "DELETE")
CONSTRAINTS = (3, 4, 5, 13, 19)
PAGE_SIZE = 100
PAGE_SIZE_MAX = 1000
DETAIL = "type.googleapis.com/kong.admin.model.v1.ErrorDetail"


@dataclass(frozen=True, slots=True)
class _Call:
    """One request, taken apart."""

    group_id: str
    prefix: str
    request: messages.Request
    if_match: str | None


class _RefusedError(Exception):
    """Rolls a transaction back because of an answer."""

    def __init__(self, response: messages.Response) -> None:
        super().__init__(response.status)
        self.response = response


def make_router(plane: Plane, make: admin.Make, body_bytes_max: int) -> APIRouter:
    """The endpoints over a running control plane."""
    router = APIRouter(tags=["core entities"])

    @router.api_route(PREFIX + "/{path:path}", methods=[*METHODS, "PATCH", "OPTIONS", "HEAD"], include_in_schema=False)
    async def entities(
        group: GroupName, path: str, request: Request, if_match: preconditions.IfMatch = None
    ) -> Response:
        """Any entity of the group."""
        found = await find_group(plane, group)
        if request.method not in METHODS:
            raise ApiError(405, f"the method {request.method} is not allowed here, only {', '.join(METHODS)}")
        body = await admin.read_body(request, body_bytes_max)
        if body is None:
            raise ApiError(413, f"the body has more than {body_bytes_max} bytes")
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if body and kind != "application/json":
            raise ApiError(415, "only JSON bodies are understood here")
        call = _Call(
            found.id,
            f"/v2/control-planes/{quote(group, safe='')}/core-entities",
            messages.Request(
                method=request.method,
                path="/" + _raw_tail(request, path),
                query=request.scope["query_string"].decode("latin-1"),
                headers={"content-type": "application/json"} if body else {},
                body=body,
                actor=actor_of(request),
            ),
            if_match,
        )
        return await plane.database.run(_answer, plane, make, call)

    return router


def _raw_tail(request: Request, path: str) -> str:
    """What follows core-entities in the address, still percent-encoded."""
    raw = request.scope.get("raw_path")
    if not isinstance(raw, bytes):
        return quote(path)
    return raw.decode("latin-1").partition("/core-entities/")[2]


def _answer(plane: Plane, make: admin.Make, call: _Call) -> Response:
    store = plane.changes.store(call.group_id)
    if call.request.method == "GET":
        api = make(store)
        listed = _numbered_page(api, call.request)
        return listed if listed is not None else _shown(api.handle(call.request), call)
    if call.if_match is None:
        return _shown(make(store).handle(call.request), call)
    return _shown(_conditional(plane, make, call), call)


def _conditional(plane: Plane, make: admin.Make, call: _Call) -> messages.Response:
    """A write that happens only if the entity is what the caller has seen."""
    request = call.request
    try:
        with plane.changes.transaction(actor=request.actor, summary=f"{request.method} {request.path}") as transaction:
            api = make(JoinedStore(transaction.group(call.group_id)))
            seen = api.handle(messages.Request("GET", request.path, actor=request.actor))
            preconditions.check(call.if_match, orjson.loads(seen.body) if seen.status == 200 else None)
            response = api.handle(request)
            if response.status >= 400:
                raise _RefusedError(response)
            return response
    except _RefusedError as refused:
        return refused.response


def _numbered_page(api: AdminApi, request: messages.Request) -> Response | None:
    """A list by page number, unless the client counts as Kong does; None for what is no list."""
    arguments = request.arguments()
    if "size" in arguments or "offset" in arguments:
        return None
    size = _number(arguments, "page.size", PAGE_SIZE, PAGE_SIZE_MAX)
    number = _number(arguments, "page.number", 1, 1_000_000)
    try:
        listed = api.listed(request.path, arguments, size=size, skip=(number - 1) * size)
    except AdminError as error:
        body = b"" if error.body is None else messages.encode_json(error.body)
        return problem_of(error.status, orjson.loads(body) if body else None)
    if listed is None:
        return None
    rows, total = listed
    return _json(200, page(rows, total, size, number))


def _number(arguments: Mapping[str, str], name: str, usual: int, highest: int) -> int:
    text = arguments.get(name, str(usual))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= highest):
        said = f"must be an integer between 1 and {highest}"
        raise ApiError(400, f"{name} {said}", {name: said})
    return int(text)


def _shown(response: messages.Response, call: _Call) -> Response:
    body = orjson.loads(response.body) if response.body else None
    if response.status >= 400:
        return problem_of(response.status, body)
    headers = {}
    if isinstance(body, dict) and isinstance(body.get("next"), str):
        body["next"] = call.prefix + body["next"]
    if isinstance(body, dict) and "id" in body:
        headers["ETag"] = preconditions.etag(body)
    return _json(response.status, body, headers)


def _json(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Response:
    content = b"" if body is None else messages.encode_json(body)
    return Response(content, status, dict(headers or {}), "application/json" if content else None)


def problem_of(status: int, body: Any) -> Response:
    """One of Kong's errors as Konnect's error object."""
    known = body if isinstance(body, dict) else {}
    code = known.get("code")
    message = str(known.get("message", "error"))
    details = list(_details(known.get("fields") or known.get("options") or {}, "", code in CONSTRAINTS))
    if code in CONSTRAINTS:
        details = [{**detail, "messages": [message]} for detail in details]
    if not details and code is not None:
        details = [{"@type": DETAIL, "type": "ERROR_TYPE_ENTITY", "messages": [message]}]
    titles = {2: "validation error", **dict.fromkeys(CONSTRAINTS, "data constraint error")}
    title = titles.get(code, message) if isinstance(code, int) else message
    return _json(status, {"code": CODES.get(status, 2), "message": title, "details": details})


def _details(problems: Any, path: str, is_constraint: bool) -> Iterator[dict[str, Any]]:
    """Each problem with the dotted name of its field."""
    kind = "ERROR_TYPE_REFERENCE" if is_constraint else "ERROR_TYPE_FIELD"
    if isinstance(problems, Mapping) and not (is_constraint and path):
        for name, inner in problems.items():
            if name == "@entity":
                # Of a record inside the entity: which one.
                where = {"field": path} if path else {}
                yield {"@type": DETAIL, "type": "ERROR_TYPE_ENTITY", **where, "messages": [str(each) for each in inner]}
            else:
                yield from _details(inner, f"{path}.{name}" if path else str(name), is_constraint)
    elif isinstance(problems, list) and not is_constraint:
        for position, inner in enumerate(problems):
            if inner is not None:
                yield from _details(inner, f"{path}[{position}]", is_constraint)
    else:
        yield {"@type": DETAIL, "type": kind, "field": path, "messages": [str(problems)]}
