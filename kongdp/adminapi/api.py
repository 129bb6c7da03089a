"""The Admin API: a request in, a response out, over any store.

In: a Request, from whatever server mounts it.  Out: a Response; this module raises nothing for what a client can do
wrong. Collections and their paths come from the schemas; what is no collection (/, /schemas, /tags, /config, ...) is in
`endpoints`, which callers may add to. A write opens one transaction of the store; its rules are in `resources`.
Source: kong/api/endpoints.lua, kong/api/api_helpers.lua 3.9; answers of a live Kong 3.9.1.
"""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from kongdp.adminapi import errors
from kongdp.adminapi.context import Context, Handler, NodeInfo
from kongdp.adminapi.endpoints import standard_endpoints
from kongdp.adminapi.errors import ApiError
from kongdp.adminapi.messages import Request, Response, decode_body, empty_response, json_response
from kongdp.adminapi.paging import page_body, parse_page
from kongdp.adminapi.resources import Resources
from kongdp.adminapi.routing import (
    Address,
    ChildPath,
    ChildrenPath,
    CollectionPath,
    EntityPath,
    ParentPath,
    PathTable,
)
from kongdp.adminapi.store import NOWHERE, Reader, Store, Writer
from kongdp.entities.field import is_uuid
from kongdp.entities.schema import Schema
from kongdp.entities.schemas.plugins import PluginSchema
from kongdp.entities.table import Row

CONTAINS = "filter[name][contains]"
_STUMBLED_OVER = [1]
_VERBS = {"POST": "create", "PUT": "create or update", "PATCH": "update", "DELETE": "remove"}
_METHODS: Mapping[type, str] = {
    CollectionPath: "GET, HEAD, OPTIONS, POST",
    ChildrenPath: "GET, HEAD, OPTIONS, POST",
    EntityPath: "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
    ChildPath: "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
    ParentPath: "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
}


class AdminApi:
    """Kong's Admin API over a store.

    `schemas`: those of the node (entities.schemas.build_schemas). `info`: what `/` and error pages say about the node.
    `endpoints`: further paths, ("/status", {"GET": handler}); a name in braces stands for one segment. They win over
    the standard ones.
    """

    def __init__(
        self,
        store: Store,
        schemas: Mapping[str, Schema],
        info: NodeInfo,
        *,
        endpoints: Mapping[str, Mapping[str, Handler]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._resources = Resources(schemas, clock)
        self._paths = PathTable(schemas)
        self._schemas = schemas
        self._info = info
        table = {**standard_endpoints(info), **(endpoints or {})}
        self.endpoints: Mapping[str, Mapping[str, Handler]] = table
        self._exact = {path: methods for path, methods in table.items() if "{" not in path}
        self._patterns = [(path.split("/"), methods) for path, methods in table.items() if "{" in path]
        listed = sorted({*self._paths.listed(), *table})
        self._context = Context(store, self._resources, info, listed)

    @property
    def schemas(self) -> Mapping[str, Schema]:
        """The collections."""
        return self._schemas

    @property
    def paths(self) -> Sequence[str]:
        """Every path, with names in braces."""
        return self._context.paths

    @property
    def plugins(self) -> Mapping[str, PluginSchema]:
        """The plugins that may be configured."""
        return self._info.plugins

    def addresses(self) -> Iterator[tuple[str, Address]]:
        """The paths of collections, and what each addresses."""
        return self._paths.addresses()

    def handle(self, request: Request) -> Response:
        """Answer a request whose handler does not wait."""
        began = time.monotonic()
        answer = self._begin(request)
        if not isinstance(answer, Response):
            raise TypeError(f"{request.method} {request.path} must be awaited: use handle_async")
        return self._finished(request, answer, began)

    async def handle_async(self, request: Request) -> Response:
        """Answer a request; waits where its handler does. Store transactions run in the caller's thread."""
        began = time.monotonic()
        answer = self._begin(request)
        if isinstance(answer, Response):
            return self._finished(request, answer, began)
        try:
            return self._finished(request, await answer, began)
        except ApiError as error:
            return self._finished(request, _failure(error), began)

    def listed(self, path: str, arguments: Mapping[str, str], *, size: int, skip: int) -> tuple[list[Row], int] | None:
        """A part of the list at a path, and how many the whole has; None when the path is no list.

        For callers whose pages are numbered; `filter[name][contains]` is Konnect's search. Raises ApiError.
        """
        address = self._paths.resolve(path)
        if not isinstance(address, (CollectionPath, ChildrenPath)) or self._endpoint(path) is not None:
            return None
        tags = parse_page({"tags": arguments["tags"]} if "tags" in arguments else {}).tags
        contains = arguments.get(CONTAINS, "")
        with self._store.read() as reader:
            where = NOWHERE
            if isinstance(address, ChildrenPath):
                where = {address.field: self._required(reader, address.parent, address.parent_key)["id"]}
            name = address.schema.name
            rows = reader.page(name, where=where, tags=tags, contains=contains, size=size, skip=skip)
            shown = [self._resources.shown(reader, address.schema, row) for row in rows]
            return shown, reader.count(name, where=where, tags=tags, contains=contains)

    def _begin(self, request: Request) -> Response | Awaitable[Response]:
        method = "GET" if request.method == "HEAD" else request.method
        try:
            return self._dispatch(request if method == request.method else replace(request, method=method))
        except ApiError as error:
            return _failure(error)

    def _finished(self, request: Request, response: Response, began: float) -> Response:
        """The response with the fields that all have."""
        headers = {
            "Access-Control-Allow-Origin": "*",
            "X-Kong-Admin-Latency": str(int((time.monotonic() - began) * 1000)),
            "Server": self._info.server,
            **response.headers,
        }
        body = b"" if request.method == "HEAD" else response.body
        return Response(response.status, headers, body)

    def _dispatch(self, request: Request) -> Response | Awaitable[Response]:
        path = request.path if request.path == "/" else request.path.removesuffix("/")
        found = self._endpoint(path)
        if found is not None:
            methods, arguments = found
            allowed = ", ".join(sorted({*methods, "OPTIONS", *(("HEAD",) if "GET" in methods else ())}))
            if request.method == "OPTIONS":
                return _preflight(allowed)
            handler = methods.get(request.method)
            if handler is None:
                raise errors.method_not_allowed(allowed)
            return handler(self._context, request, arguments)
        address = self._paths.resolve(path)
        if address is None:
            raise errors.not_found()
        return self._entity(request, address)

    def _endpoint(self, path: str) -> tuple[Mapping[str, Handler], Mapping[str, str]] | None:
        methods = self._exact.get(path)
        if methods is not None:
            return methods, NOWHERE
        segments = path.split("/")
        for pattern, methods in self._patterns:
            if len(pattern) == len(segments):
                names = {
                    want[1:-1]: unquote(have)
                    for want, have in zip(pattern, segments, strict=True)
                    if want.startswith("{")
                }
                plain = all(want.startswith("{") or want == have for want, have in zip(pattern, segments, strict=True))
                if plain and all(names.values()):
                    return methods, names
        return None

    def _entity(self, request: Request, address: Address) -> Response:
        allowed = _METHODS[type(address)]
        if request.method == "OPTIONS":
            return _preflight(allowed)
        if request.method not in allowed.split(", "):
            raise errors.method_not_allowed(allowed)
        if request.method == "GET":
            with self._store.read() as reader:
                return self._get(reader, request, address)
        self._require_writable(request.method, address)
        arguments = {} if request.method == "DELETE" else self._body(request, address)
        with self._write(request) as writer:
            return self._change(writer, request.method, address, arguments)

    def _write(self, request: Request) -> AbstractContextManager[Writer]:
        return self._store.write(actor=request.actor, summary=f"{request.method} {request.path}")

    def _require_writable(self, method: str, address: Address) -> None:
        if self._store.writable:
            return
        schema = address.parent if isinstance(address, ParentPath) else address.schema
        by = None
        if isinstance(address, (EntityPath, ChildPath)) and not is_uuid(address.key):
            by = schema.endpoint_key
        raise errors.unsupported_without_database(_VERBS[method], schema.name, by)

    def _body(self, request: Request, address: Address) -> dict[str, Any]:
        schema = address.parent if isinstance(address, ParentPath) else address.schema
        value = decode_body(request, schema)
        if isinstance(value, list):
            # Kong takes a list for an object with numbers for names, and stumbles over it; plugins survive that as far as
            # their missing name. We say 500 for what it was recorded with and no other list: it is an alarm to operators.
            if value == _STUMBLED_OVER and schema.name != "plugins":
                raise errors.unexpected()
            if value and schema.name != "plugins":
                raise errors.plain(400, "Cannot parse JSON body")
            return {}
        arguments: dict[str, Any] = value
        return arguments

    def _get(self, reader: Reader, request: Request, address: Address) -> Response:
        match address:
            case CollectionPath(schema):
                return self._list(reader, request, schema, NOWHERE, f"/{schema.admin_path}")
            case EntityPath(schema, key):
                row = self._resources.select(reader, schema, key)
            case ChildrenPath(parent, parent_key, schema, field):
                owner = self._required(reader, parent, parent_key)
                path = f"/{parent.admin_path}/{parent_key}/{schema.nested_path}"
                return self._list(reader, request, schema, {field: owner["id"]}, path)
            case ChildPath(parent, parent_key, schema, field, key):
                owner = self._required(reader, parent, parent_key)
                row = self._resources.select(reader, schema, key, {field: owner["id"]})
            case ParentPath(child, key, field, schema):
                row = self._parent(reader, child, key, field, schema)
        if row is None:
            raise errors.not_found()
        return json_response(200, self._resources.shown(reader, schema, row))

    def _list(self, reader: Reader, request: Request, schema: Schema, where: Mapping[str, str], path: str) -> Response:
        arguments = request.arguments()
        if schema.name == "consumers" and not where and "custom_id" in arguments:
            row = reader.find("consumers", "custom_id", arguments["custom_id"])
            return json_response(200, {"data": [] if row is None else [row], "next": None})
        rows, last = self._resources.page(reader, schema, parse_page(arguments), where)
        return json_response(200, page_body(rows, last, path, arguments, nested=bool(where)))

    def _required(self, reader: Reader, schema: Schema, key: str) -> Row:
        row = self._resources.select(reader, schema, key)
        if row is None:
            raise errors.not_found()
        return row

    def _parent(self, reader: Reader, child: Schema, key: str, field: str, schema: Schema) -> Row | None:
        row = self._required(reader, child, key)
        return None if row[field] is None else reader.get(schema.name, row[field]["id"])

    def _change(self, writer: Writer, method: str, address: Address, arguments: dict[str, Any]) -> Response:
        match address:
            case CollectionPath(schema):
                return json_response(201, self._resources.create(writer, schema, arguments))
            case ChildrenPath(parent, parent_key, schema, field):
                arguments[field] = {"id": self._required(writer, parent, parent_key)["id"]}
                return json_response(201, self._resources.create(writer, schema, arguments))
            case EntityPath(schema, key):
                return self._change_entity(writer, method, schema, key, arguments)
            case ChildPath():
                return self._change_child(writer, method, address, arguments)
            case ParentPath():
                return self._change_parent(writer, method, address, arguments)

    def _change_entity(
        self, writer: Writer, method: str, schema: Schema, key: str, arguments: dict[str, Any]
    ) -> Response:
        if method == "PUT":
            return json_response(200, self._resources.replace(writer, schema, key, arguments))
        row = self._resources.select(writer, schema, key)
        if method == "DELETE":
            if row is not None:
                self._resources.delete(writer, schema, row)
            return empty_response(204)
        if row is None:
            if schema.name == "plugins":
                raise errors.not_found()
            raise errors.entity_not_found({"id": key} if is_uuid(key) else {schema.endpoint_key or "id": key})
        return json_response(200, self._resources.update(writer, schema, row, arguments))

    def _change_child(self, writer: Writer, method: str, address: ChildPath, arguments: dict[str, Any]) -> Response:
        schema, field = address.schema, address.field
        owner = self._required(writer, address.parent, address.parent_key)
        where = {field: owner["id"]}
        if method == "PUT":
            arguments[field] = {"id": owner["id"]}
            return json_response(200, self._resources.replace(writer, schema, address.key, arguments, where))
        row = self._resources.select(writer, schema, address.key, where)
        if row is None:
            raise errors.not_found()
        if method == "DELETE":
            self._resources.delete(writer, schema, row)
            return empty_response(204)
        arguments.setdefault(field, {"id": owner["id"]})
        return json_response(200, self._resources.update(writer, schema, row, arguments))

    def _change_parent(self, writer: Writer, method: str, address: ParentPath, arguments: dict[str, Any]) -> Response:
        child, parent, field = address.schema, address.parent, address.field
        row = self._required(writer, child, address.key)
        current = None if row[field] is None else writer.get(parent.name, row[field]["id"])
        if method == "DELETE":
            if current is None:
                raise errors.not_found()
            raise errors.method_not_allowed("GET, HEAD, OPTIONS, PATCH, PUT")
        if method == "PATCH":
            if current is None:
                raise errors.not_found()
            return json_response(200, self._resources.update(writer, parent, current, arguments))
        if current is not None:
            return json_response(200, self._resources.replace(writer, parent, current["id"], arguments))
        made = self._resources.create(writer, parent, arguments)
        self._resources.update(writer, child, row, {field: {"id": made["id"]}})
        return json_response(200, made)


def _preflight(allowed: str) -> Response:
    methods = ",".join(name for name in allowed.split(", "))
    return empty_response(
        204,
        {"Allow": allowed, "Access-Control-Allow-Methods": methods, "Access-Control-Allow-Headers": "Content-Type"},
    )


def _failure(error: ApiError) -> Response:
    if error.body is None:
        return empty_response(error.status, error.headers)
    return json_response(error.status, error.body, error.headers)
