"""The Admin API as an OpenAPI 3.1 document, from the same schemas that answer.

In: the collections, the plugins, the paths that are no collection.  Out: `paths` and `components`, for whoever serves the
document. Nothing is described twice: a field's JSON Schema comes from its rules, a path's methods from the kind of thing
it addresses. What a JSON Schema cannot say (rules that span fields, uniqueness, texts of errors) is left to the answers.
Cold: made once.
Source: OpenAPI 3.1.0; JSON Schema 2020-12.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kongdp.adminapi.paging import SIZE_DEFAULT, SIZE_MAX
from kongdp.adminapi.routing import Address, ChildPath, ChildrenPath, CollectionPath, EntityPath, ParentPath
from kongdp.entities.field import UNSET, Field
from kongdp.entities.schema import Schema
from kongdp.entities.schemas.plugins import PluginSchema
from kongdp.entities.shape import Shape

Json = dict[str, Any]

_TYPES = {
    "string": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "array": "array",
    "set": "array",
    "map": "object",
    "record": "object",
    "foreign": "object",
}
_LIST_COMPARED = {"len_min": "minItems", "len_max": "maxItems"}
_PAGING: list[Json] = [
    {
        "name": "size",
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "maximum": SIZE_MAX, "default": SIZE_DEFAULT},
        "description": "how many entities a page has",
    },
    {
        "name": "offset",
        "in": "query",
        "schema": {"type": "string"},
        "description": "what the page before said; none for the first",
    },
]
_TAGS: Json = {
    "name": "tags",
    "in": "query",
    "schema": {"type": "string"},
    "description": "only entities with all of `a,b`, or with at least one of `a/b`",
}
ERROR: Json = {
    "type": "object",
    "required": ["message"],
    "properties": {
        "code": {"type": "integer", "description": "Kong's code of the error"},
        "name": {"type": "string"},
        "message": {"type": "string"},
        "fields": {"type": "object", "description": "what is wrong, by field; `@entity` for the whole"},
        "options": {"type": "object", "description": "what is wrong with the query"},
    },
}
_METHODS: Mapping[type, tuple[str, ...]] = {
    CollectionPath: ("get", "post"),
    ChildrenPath: ("get", "post"),
    EntityPath: ("get", "put", "patch", "delete"),
    ChildPath: ("get", "put", "patch", "delete"),
    ParentPath: ("get", "put", "patch"),
}
_VERBS = {"get": "Get", "post": "Create", "put": "Create or replace", "patch": "Change", "delete": "Delete"}


@dataclass(frozen=True, slots=True)
class Style:
    """How a document describes the entities' paths: where they are, which bodies and methods they take.

    `list_of` makes the answer of a list from the schema of its members; `errors` are responses by status.
    """

    prefix: str = ""
    media_types: Sequence[str] = ("application/json", "application/x-www-form-urlencoded")
    methods: frozenset[str] = frozenset(("get", "post", "put", "patch", "delete"))
    parameters: Sequence[Json] = ()
    change_parameters: Sequence[Json] = ()
    paging: Sequence[Json] = (*_PAGING, _TAGS)
    list_of: Callable[[Json], Json] = lambda member: listed(member)
    errors: Mapping[str, Json] = field(default_factory=lambda: {"4XX": {"$ref": "#/components/responses/KongError"}})
    tag: str = ""


def listed(member: Json) -> Json:
    """The schema of a list's answer."""
    return {
        "type": "object",
        "required": ["data", "next"],
        "properties": {
            "data": {"type": "array", "items": member},
            "next": {"type": ["string", "null"], "description": "address of the next page"},
            "offset": {"type": "string", "description": "`offset` of the next page"},
        },
    }


def components(schemas: Mapping[str, Schema], plugins: Mapping[str, PluginSchema]) -> Json:
    """Schemas of all collections, as answers show them and (`new-`) as requests give them, and the error's response."""
    found: Json = {}
    for name, schema in schemas.items():
        found[name] = shown_entity(schema)
        found[f"new-{name}"] = given_entity(schema)
    for name, plugin in plugins.items():
        config = dict(plugin.fields)["config"]
        found[f"plugin-config-{name}"] = field_schema(config, is_given=True)
    if plugins:
        found["new-plugins"] = {"oneOf": [_given_plugin(schemas["plugins"], name) for name in plugins]}
    found["kong-error"] = ERROR
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/kong-error"}}}
    return {
        "schemas": found,
        "responses": {
            "KongError": {"description": "Kong's error; empty where there is no more to say", "content": content}
        },
    }


def shown_entity(schema: Schema) -> Json:
    """An entity in an answer: every field is there."""
    return _object(schema.shape, is_given=False)


def given_entity(schema: Schema) -> Json:
    """An entity in a request: what is not given takes its default."""
    return _object(schema.shape, is_given=True)


def _given_plugin(schema: Schema, name: str) -> Json:
    given = given_entity(schema)
    given["properties"] = {
        **given["properties"],
        "name": {"const": name},
        "config": {"$ref": f"#/components/schemas/plugin-config-{name}"},
    }
    return given


def _object(shape: Shape, *, is_given: bool) -> Json:
    fields = dict(shape.fields)
    properties = {name: field_schema(field, is_given=is_given) for name, field in fields.items()}
    if is_given:
        properties |= {each.name: field_schema(each.field, is_given=True) for each in shape.shorthands}
        required = [name for name in shape.required if not shape.fields[name].auto]
        # What a shorthand may stand for need not be given.
        required = [] if shape.shorthands else required
    else:
        properties |= {each.name: {} for each in shape.shorthands if each.back}
        required = list(fields)
    shown: Json = {"type": "object", "properties": properties}
    if required:
        shown["required"] = required
    if is_given:
        shown["additionalProperties"] = False
    return shown


def field_schema(rule: Field, *, is_given: bool) -> Json:
    """One field's JSON Schema. `is_given`: as a request may give it, else as answers show it."""
    if rule.eq is None:
        return {"type": "null"}
    if rule.type == "any" or (rule.abstract and rule.type == "record" and rule.shape is None):
        return {"type": ["object", "null"]} if rule.type == "record" else {}
    schema = dict(_typed(rule, is_given=is_given))
    if not rule.required:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    if rule.default is not UNSET and rule.default is not None and is_given:
        schema["default"] = list(rule.default) if isinstance(rule.default, tuple) else rule.default
    return schema


def _typed(rule: Field, *, is_given: bool) -> Iterator[tuple[str, Any]]:
    """Keywords of a field that is not null."""
    yield "type", _TYPES[rule.type]
    if rule.type == "string":
        yield from _string_keywords(rule, is_given=is_given)
    elif rule.type in ("array", "set"):
        assert rule.elements is not None
        yield "items", field_schema(rule.elements.but(required=True), is_given=is_given)
        yield from ((name, getattr(rule, ours)) for ours, name in _LIST_COMPARED.items() if getattr(rule, ours))
    elif rule.type == "map":
        if rule.values is not None:
            yield "additionalProperties", field_schema(rule.values.but(required=True), is_given=is_given)
    elif rule.type == "foreign":
        yield "properties", {"id": {"type": "string", "format": "uuid"}}
        yield "required", ["id"]
    elif rule.shape is not None:
        yield from (item for item in _object(rule.shape, is_given=is_given).items() if item[0] != "type")
    if rule.one_of is not None:
        yield "enum", list(rule.one_of)
    if rule.between is not None:
        yield from zip(("minimum", "maximum"), rule.between, strict=True)
    if rule.gt is not None:
        yield "exclusiveMinimum", rule.gt


def _string_keywords(rule: Field, *, is_given: bool) -> Iterator[tuple[str, Any]]:
    if rule.uuid:
        yield "format", "uuid"
    elif is_given and rule.one_of is None:
        yield "minLength", 1 if rule.len_min is None else rule.len_min
        if rule.len_max is not None:
            yield "maxLength", rule.len_max
        if rule.starts_with is not None:
            yield "pattern", f"^{rule.starts_with}"


def entity_paths(addresses: Iterable[tuple[str, Address]], style: Style) -> Json:
    """The paths of collections, entities, children and parents."""
    paths: Json = {}
    for path, address in addresses:
        methods = [method for method in _METHODS[type(address)] if method in style.methods]
        names = [name.partition("}")[0] for name in path.split("{")[1:]]
        item: Json = {"parameters": [*style.parameters, *(_named(name) for name in names)]}
        for method in methods:
            item[method] = _operation(method, path, address, style)
        paths[style.prefix + path] = item
    return paths


def _named(name: str) -> Json:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
        "description": "its id, or the name it may be addressed by",
    }


def _operation(method: str, path: str, address: Address, style: Style) -> Json:
    schema = address.parent if isinstance(address, ParentPath) else address.schema
    shown = {"$ref": f"#/components/schemas/{schema.name}"}
    is_list = isinstance(address, (CollectionPath, ChildrenPath))
    what = f"{schema.name} below it" if isinstance(address, (ChildrenPath, ChildPath)) else schema.name
    operation: Json = {
        "operationId": _operation_id(f"{style.tag.replace(' ', '_')}{method}{path}"),
        "summary": f"{'List' if is_list and method == 'get' else _VERBS[method]} {what}",
        "tags": [style.tag or schema.name],
        "responses": dict(_responses(method, is_list, shown, style)),
    }
    if is_list and method == "get":
        operation["parameters"] = list(style.paging)
    elif method != "get" and not is_list and style.change_parameters:
        operation["parameters"] = list(style.change_parameters)
    if method in ("post", "put", "patch"):
        operation["requestBody"] = _body(method, schema, style)
    return operation


def _responses(method: str, is_list: bool, shown: Json, style: Style) -> Iterator[tuple[str, Json]]:
    if method == "delete":
        yield "204", {"description": "it is not there any more, or never was"}
    else:
        answer = style.list_of(shown) if is_list and method == "get" else shown
        content = {"application/json": {"schema": answer}}
        yield ("201" if method == "post" else "200"), {"description": "the answer", "content": content}
    yield from style.errors.items()


def _body(method: str, schema: Schema, style: Style) -> Json:
    given: Json = {"$ref": f"#/components/schemas/new-{schema.name}"}
    if method == "patch":
        given = {"type": "object", "properties": given_entity(schema)["properties"], "additionalProperties": False}
    return {"required": method != "patch", "content": {kind: {"schema": given} for kind in style.media_types}}


def endpoint_paths(endpoints: Mapping[str, Mapping[str, Any]]) -> Json:
    """Paths that are no collection: what their handlers say of themselves."""
    paths: Json = {}
    for path, methods in sorted(endpoints.items()):
        names = [name.partition("}")[0] for name in path.split("{")[1:]]
        item = paths[path] = {"parameters": [_named(name) for name in names]}
        for method, handler in methods.items():
            item[method.lower()] = _endpoint_operation(method.lower(), path, handler)
    return paths


def _endpoint_operation(method: str, path: str, handler: Any) -> Json:
    content = {"application/json": {"schema": {"type": "object"}}}
    operation: Json = {
        "operationId": _operation_id(f"{method}{path}"),
        "summary": (inspect.getdoc(handler) or path).partition("\n")[0],
        "tags": ["node"],
        "responses": {
            "2XX": {"description": "the answer", "content": content},
            "4XX": {"$ref": "#/components/responses/KongError"},
        },
    }
    if method in ("post", "put", "patch"):
        operation["requestBody"] = {"content": content}
    elif "data" in path or path.startswith("/tags"):
        operation["parameters"] = list(_PAGING)
    return operation


def _operation_id(text: str) -> str:
    return text.replace("/", "_").replace("{", "").replace("}", "")
