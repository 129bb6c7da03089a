"""An OpenAPI document as people read it: operations with parameters, bodies, responses and examples.

In: a document that openapi_text has accepted.  Out: frozen values of plain texts, the same for all three dialects, which
the portal and the console show as they like. Texts that OpenAPI means as Markdown stay Markdown.
House rule: trusts nothing but the document's structure: what is oddly made is left out, references are followed to a
depth, and rows of one schema and of the whole view are bounded, so that a view costs no more than a long page.
Pure. Cold.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kongdp.controlplane.openapi_text import resolve

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
SCHEMA_DEPTH_MAX = 6
SCHEMA_ROWS_MAX = 200
OPERATIONS_MAX = 2000
# Rows of all schemas of one view; beyond it operations are listed without.
ROWS_MAX = 20_000
# Schemas looked into for one body: a few that refer to each other can stand for endlessly many.
SCHEMA_STEPS_MAX = 2000
EXAMPLE_VALUES_MAX = 200
TEXT_LENGTH_MAX = 10_000
WITHOUT_TAG = "Operations"


@dataclass(frozen=True, slots=True)
class SchemaRow:
    """One property of a schema, `depth` levels below its top; `kind` is its type in words."""

    depth: int
    name: str
    kind: str
    required: bool
    description: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter; `place` is path, query, header or cookie."""

    name: str
    place: str
    kind: str
    required: bool
    description: str


@dataclass(frozen=True, slots=True)
class Content:
    """A body in one media type, with an example as text ("" when there is none)."""

    media_type: str
    kind: str
    rows: tuple[SchemaRow, ...]
    example: str


@dataclass(frozen=True, slots=True)
class Response:
    """What an operation answers with a status (or "default")."""

    status: str
    description: str
    contents: tuple[Content, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path. `anchor` is unique in the view and fit for a fragment."""

    anchor: str
    method: str
    path: str
    operation_id: str
    summary: str
    description: str
    is_deprecated: bool
    parameters: tuple[Parameter, ...]
    body_description: str
    body_required: bool
    body: tuple[Content, ...]
    responses: tuple[Response, ...]


@dataclass(frozen=True, slots=True)
class OperationGroup:
    """Operations of one tag, in the document's order."""

    name: str
    description: str
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class SpecView:
    """The whole. `is_cut`: there was more than a page should have."""

    title: str
    version: str
    description: str
    servers: tuple[str, ...]
    groups: tuple[OperationGroup, ...]
    is_cut: bool


@dataclass(frozen=True, slots=True)
class RawOperation:
    """One operation as the document has it, with the parameters of its path."""

    method: str
    path: str
    value: Mapping[str, Any]
    parameters: tuple[Mapping[str, Any], ...]


def view(document: Mapping[str, Any]) -> SpecView:
    """The view of a document."""
    info = _mapping(document.get("info"))
    reader = _Reader(document)
    by_tag: dict[str, list[Operation]] = {}
    for number, raw in enumerate(operations(document)):
        if number >= OPERATIONS_MAX:
            reader.is_cut = True
            break
        tags = raw.value.get("tags")
        tag = next((each for each in tags if isinstance(each, str)), "") if isinstance(tags, list) else ""
        by_tag.setdefault(tag or WITHOUT_TAG, []).append(reader.operation(number, raw))
    described = {
        _text(tag.get("name")): _text(tag.get("description")) for tag in map(_mapping, _sequence(document.get("tags")))
    }
    order = {name: position for position, name in enumerate(described)}
    names = sorted(by_tag, key=lambda name: order.get(name, len(order)))
    groups = tuple(OperationGroup(name, described.get(name, ""), tuple(by_tag[name])) for name in names)
    return SpecView(
        _text(info.get("title")),
        _text(info.get("version")),
        _text(info.get("description")),
        tuple(servers(document)),
        groups,
        reader.is_cut,
    )


def operations(document: Mapping[str, Any]) -> Iterator[RawOperation]:
    """Every operation, in the document's order."""
    for path, item in _mapping(document.get("paths")).items():
        item = resolve(document, item)
        if not isinstance(path, str) or not path.startswith("/") or not isinstance(item, dict):
            continue
        for method in METHODS:
            value = item.get(method)
            if isinstance(value, dict):
                shared = _parameters(document, item.get("parameters"))
                own = _parameters(document, value.get("parameters"))
                merged = {(each.get("in"), each.get("name")): each for each in (*shared, *own)}
                yield RawOperation(method.upper(), path, value, tuple(merged.values()))


def servers(document: Mapping[str, Any]) -> Iterator[str]:
    """Addresses that the document names; paths are below them."""
    if "swagger" in document:
        host, base = _text(document.get("host")), _text(document.get("basePath"))
        schemes = [each for each in _sequence(document.get("schemes")) if isinstance(each, str)]
        if host:
            yield from (f"{scheme}://{host}{base}" for scheme in schemes or ["https"])
        elif base:
            yield base
        return
    for server in _sequence(document.get("servers")):
        url = _text(_mapping(server).get("url"))
        variables = _mapping(_mapping(server).get("variables"))
        for name, variable in variables.items():
            url = url.replace("{" + str(name) + "}", _text(_mapping(variable).get("default")))
        if url:
            yield url


class _Reader:
    """Makes operations; remembers how much the view has already."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._rows = 0
        self._steps_left = 0
        self._example_values = 0
        self.is_cut = False

    def operation(self, number: int, raw: RawOperation) -> Operation:
        value = raw.value
        body = _mapping(resolve(self._document, value.get("requestBody")))
        contents = self._contents(body.get("content"))
        parameters = [each for each in raw.parameters if each.get("in") not in ("body", "formData")]
        if "swagger" in self._document:
            body, contents = self._swagger_body(raw)
        return Operation(
            f"operation-{number}",
            raw.method,
            raw.path,
            _text(value.get("operationId")),
            _text(value.get("summary")),
            _text(value.get("description")),
            value.get("deprecated") is True,
            tuple(self._parameter(each) for each in parameters),
            _text(body.get("description")),
            body.get("required") is True,
            contents,
            tuple(self._response(status, each) for status, each in _mapping(value.get("responses")).items()),
        )

    def _parameter(self, value: Mapping[str, Any]) -> Parameter:
        schema = value.get("schema")
        if schema is None and isinstance(value.get("content"), dict):
            schema = _mapping(next(iter(value["content"].values()), None)).get("schema")
        return Parameter(
            _text(value.get("name")),
            _text(value.get("in")),
            self.kind(value if schema is None else schema),
            value.get("required") is True,
            _text(value.get("description")),
        )

    def _response(self, status: Any, value: Any) -> Response:
        value = _mapping(resolve(self._document, value))
        contents = self._contents(value.get("content"))
        if "schema" in value:
            contents = (self._content("application/json", value),)
        return Response(str(status), _text(value.get("description")), contents)

    def _swagger_body(self, raw: RawOperation) -> tuple[Mapping[str, Any], tuple[Content, ...]]:
        consumes = raw.value.get("consumes", self._document.get("consumes"))
        media_type = next((each for each in _sequence(consumes) if isinstance(each, str)), "application/json")
        for each in raw.parameters:
            if each.get("in") == "body":
                return each, (self._content(media_type, each),)
        fields = [each for each in raw.parameters if each.get("in") == "formData"]
        if not fields:
            return {}, ()
        schema = {
            "type": "object",
            "properties": {_text(each.get("name")): each for each in fields},
            "required": [_text(each.get("name")) for each in fields if each.get("required") is True],
        }
        form = media_type if "form" in media_type else "application/x-www-form-urlencoded"
        return {"required": bool(schema["required"])}, (self._content(form, {"schema": schema}),)

    def _contents(self, value: Any) -> tuple[Content, ...]:
        return tuple(
            self._content(str(media_type), _mapping(resolve(self._document, inner)))
            for media_type, inner in _mapping(value).items()
        )

    def _content(self, media_type: str, value: Mapping[str, Any]) -> Content:
        schema = value.get("schema")
        rows = tuple(self.rows(schema))
        return Content(media_type, self.kind(schema), rows, self._example(value, schema, media_type))

    def _example(self, value: Mapping[str, Any], schema: Any, media_type: str) -> str:
        found = value.get("example")
        if found is None:
            given = value.get("examples")
            if isinstance(given, dict):
                first = _mapping(resolve(self._document, next(iter(given.values()), None)))
                found = first.get("value")
        if found is None and "json" in media_type and self._example_values < ROWS_MAX:
            examples = _Examples(self._document)
            found = examples.of(schema, 0)
            self._example_values += EXAMPLE_VALUES_MAX - examples.left
        if found is None:
            return ""
        text = found if isinstance(found, str) and "json" not in media_type else json.dumps(found, indent=2)
        return text[:TEXT_LENGTH_MAX]

    def rows(self, schema: Any) -> Iterator[SchemaRow]:
        """The properties below a schema, as far as the bounds allow."""
        self._steps_left = SCHEMA_STEPS_MAX
        for count, row in enumerate(self._walk(schema, 0, ())):
            if count >= SCHEMA_ROWS_MAX or self._rows >= ROWS_MAX:
                self.is_cut = True
                return
            self._rows += 1
            yield row

    def _walk(self, schema: Any, depth: int, above: tuple[int, ...]) -> Iterator[SchemaRow]:
        schema = _mapping(resolve(self._document, schema))
        self._steps_left -= 1
        if depth >= SCHEMA_DEPTH_MAX or id(schema) in above or self._steps_left < 0:
            return
        above = (*above, id(schema))
        for part in ("allOf", "oneOf", "anyOf"):
            for inner in _sequence(schema.get(part)):
                yield from self._walk(inner, depth, above)
        required = schema.get("required")
        for name, inner in _mapping(schema.get("properties")).items():
            known = _mapping(resolve(self._document, inner))
            description = _text(known.get("description"))
            is_required = isinstance(required, list) and name in required
            yield SchemaRow(depth, str(name)[:200], self.kind(inner), is_required, description)
            yield from self._walk(inner, depth + 1, above)
        if "items" in schema:
            yield from self._walk(schema["items"], depth, above)

    def kind(self, schema: Any, depth: int = 0) -> str:
        """The type of a schema in words: "array of string (uuid)"."""
        schema = _mapping(resolve(self._document, schema))
        named = schema.get("type")
        words = " or ".join(str(each) for each in named) if isinstance(named, list) else _text(named)
        if "items" in schema and depth < SCHEMA_DEPTH_MAX:
            words = f"{words or 'array'} of {self.kind(schema['items'], depth + 1) or 'anything'}"
        if isinstance(schema.get("format"), str):
            words = f"{words} ({schema['format']})".strip()
        if not words:
            combined = next((each for each in ("oneOf", "anyOf", "allOf") if schema.get(each)), "")
            words = {"oneOf": "one of several", "anyOf": "any of several", "allOf": "object"}.get(combined, "")
            words = words or ("object" if "properties" in schema else "")
        choices = schema.get("enum")
        if isinstance(choices, list) and choices:
            words = f"{words}, one of {', '.join(json.dumps(each) for each in choices[:20])}".lstrip(", ")
        return words[:500]


@dataclass(slots=True)
class _Examples:
    """An example made up from a schema, as a tool for trying out would show it."""

    document: Mapping[str, Any]
    left: int = field(default=EXAMPLE_VALUES_MAX)

    def of(self, schema: Any, depth: int) -> Any:
        """A value that fits, None where nothing can be said."""
        schema = _mapping(resolve(self.document, schema))
        self.left -= 1
        if self.left < 0 or depth > SCHEMA_DEPTH_MAX:
            return None
        for name in ("example", "default", "const"):
            if name in schema:
                return schema[name]
        for name in ("examples", "enum"):
            values = schema.get(name)
            if isinstance(values, list) and values:
                return values[0]
        for name in ("oneOf", "anyOf"):
            choices = _sequence(schema.get(name))
            if choices:
                return self.of(choices[0], depth + 1)
        return self._by_type(schema, depth)

    def _by_type(self, schema: Mapping[str, Any], depth: int) -> Any:
        kind = schema.get("type")
        kind = next((each for each in kind if each != "null"), None) if isinstance(kind, list) else kind
        if "properties" in schema or "allOf" in schema or kind == "object":
            made: dict[str, Any] = {}
            for inner in _sequence(schema.get("allOf")):
                part = self.of(inner, depth + 1)
                made |= part if isinstance(part, dict) else {}
            for name, inner in _mapping(schema.get("properties")).items():
                made[str(name)] = self.of(inner, depth + 1)
            return made
        if kind == "array":
            return [self.of(schema.get("items"), depth + 1)]
        return {"string": "string", "integer": 0, "number": 0, "boolean": True}.get(str(kind))


def _parameters(document: Mapping[str, Any], values: Any) -> list[Mapping[str, Any]]:
    found = (resolve(document, each) for each in _sequence(values))
    return [each for each in found if isinstance(each, dict)]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _text(value: Any) -> str:
    return value[:TEXT_LENGTH_MAX] if isinstance(value, str) else ""
