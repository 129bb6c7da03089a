"""The OpenAPI document of everything that this control plane answers, at /v2/openapi.json.

In: the FastAPI application (our own endpoints) and the Admin API (Kong's, and below core-entities the same in Konnect's
manner).  Out: one document. What FastAPI cannot know is put right here: that a bad request is 400 and not 422, how errors look,
how one signs in. Cold: made at the first request, then kept.
Source: OpenAPI 3.1.0.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from kongdp.adminapi.api import AdminApi
from kongdp.adminapi.openapi import Style, components, endpoint_paths, entity_paths, listed
from kongdp.controlplane.api.core_entities import METHODS, PAGE_SIZE, PAGE_SIZE_MAX, PREFIX
from kongdp.entities.schemas.plugins import PluginSchema

Json = dict[str, Any]

DESCRIPTION = (
    "Kong's Admin API for the runtime group `default`, and below `/v2` runtime groups with their entities, configurations and"
    " revisions, the catalogue, status codes, accounts. `ETag` of an answer goes into `If-Match` of a change."
)
PROBLEM: Json = {
    "type": "object",
    "required": ["code", "message", "details"],
    "properties": {
        "code": {"type": "integer", "description": "gRPC's code of the error"},
        "message": {"type": "string"},
        "details": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "messages"],
                "properties": {
                    "@type": {"type": "string"},
                    "type": {"enum": ["ERROR_TYPE_FIELD", "ERROR_TYPE_ENTITY", "ERROR_TYPE_REFERENCE"]},
                    "field": {"type": "string"},
                    "messages": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
    },
}
ERRORS: Mapping[str, Json] = {
    "4XX": {"$ref": "#/components/responses/Problem"},
    "503": {"$ref": "#/components/responses/Problem"},
}
SECURITY: Json = {
    "token": {"type": "http", "scheme": "bearer", "description": "an access token"},
    "kong-admin-token": {"type": "apiKey", "in": "header", "name": "Kong-Admin-Token", "description": "the same"},
    "password": {"type": "http", "scheme": "basic"},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "kongdp_session",
        "description": "what POST /v2/session sets; changes need X-CSRF-Token as well",
    },
}
# Nothing, too: a listener on loopback asks for no credentials.
SECURED: list[Json] = [*({name: []} for name in SECURITY), {}]
GROUP: Json = {
    "name": "group",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 256},
    "description": "id or name of a runtime group; `default` always exists",
}
IF_MATCH: Json = {
    "name": "If-Match",
    "in": "header",
    "schema": {"type": "string", "maxLength": 1000},
    "description": "ETag of what the caller has seen; 412 when it has changed since",
}


def install(app: FastAPI, admin: AdminApi, plugins: Mapping[str, PluginSchema]) -> None:
    """Have the application serve the whole document instead of its own part."""

    def document() -> Json:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, admin, plugins)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's way to extend it


def _document(app: FastAPI, admin: AdminApi, plugins: Mapping[str, PluginSchema]) -> Json:
    own = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
    paths = {path: _corrected(item) for path, item in own["paths"].items()}
    addresses = list(admin.addresses())
    kong = {**entity_paths(addresses, Style()), **endpoint_paths(admin.endpoints)}
    core = entity_paths(addresses, _core_style())
    known = own.get("components", {}).get("schemas", {})
    shared = components(admin.schemas, plugins)
    for name in ("HTTPValidationError", "ValidationError"):
        known.pop(name, None)
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/problem"}}}
    return {
        **own,
        "paths": {**kong, **core, **paths},
        "components": {
            "schemas": {**known, **shared["schemas"], "problem": PROBLEM},
            "responses": {**shared["responses"], "Problem": {"description": "what is wrong", "content": content}},
            "securitySchemes": SECURITY,
        },
        "security": SECURED,
    }


def _corrected(item: Json) -> Json:
    """A path of FastAPI's with our errors."""
    for operation in item.values():
        responses = operation["responses"]
        responses.pop("422", None)
        operation["responses"] = {**ERRORS, **responses}
    return item


def _core_style() -> Style:
    """Entities in Konnect's manner."""
    number = {"type": "integer", "minimum": 1}
    paging = [
        {"name": "page.size", "in": "query", "schema": {**number, "maximum": PAGE_SIZE_MAX, "default": PAGE_SIZE}},
        {"name": "page.number", "in": "query", "schema": {**number, "maximum": 1_000_000, "default": 1}},
    ]
    style = Style()
    return Style(
        prefix=PREFIX,
        media_types=("application/json",),
        methods=frozenset(method.lower() for method in METHODS),
        parameters=(GROUP,),
        paging=(*paging, *style.paging),
        change_parameters=(IF_MATCH,),
        list_of=lambda member: {"anyOf": [_numbered(member), listed(member)]},
        errors=ERRORS,
        tag="core entities",
    )


def _numbered(member: Json) -> Json:
    """A list by page number; with `size` or `offset` it is Kong's."""
    page = {
        "type": "object",
        "required": ["total_count"],
        "properties": {"total_count": {"type": "integer"}, "next_page_num": {"type": "integer"}},
    }
    return {
        "type": "object",
        "required": ["items", "page"],
        "properties": {"items": {"type": "array", "items": member}, "page": page},
    }
