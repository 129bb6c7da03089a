"""request-transformer: edit what goes to the upstream: path, method, fields, body, query.

Each part goes through remove, rename, replace, add and append, in this order. Texts may be templates.
Hot for its routes. Source: spec of bundled plugins, section 4; Kong 3.9 plugins/request-transformer/access.lua.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kongdp.entities.model import Plugin
from kongdp.http1.target import escape
from kongdp.plugins.base import Answer, ExchangeView, Handler, Node
from kongdp.plugins.bodies import FormBody, MultipartBody, NamedBody, read_body, render_arguments
from kongdp.plugins.fields import FieldLines
from kongdp.plugins.templates import Tables, Template, request_tables

OPERATIONS = ("remove", "rename", "replace", "add", "append")

_BODILESS = ("GET", "HEAD", "TRACE")

Edit = tuple[str, Template, Template | None]
"""An operation, the name, and the value or new name."""


class RequestTransformer(Handler):
    """One instance of request-transformer."""

    PRIORITY = 801

    def __init__(self, plugin: Plugin, node: Node) -> None:
        super().__init__(plugin, node)
        config = plugin.config
        self._method: str | None = config.get("http_method")
        uri = (config.get("replace") or {}).get("uri")
        self._uri = Template(uri) if uri else None
        self._headers, self._body, self._query = (edits(config, part) for part in ("headers", "body", "querystring"))
        # a form's arguments become the query's where the new method has no body
        self._moves_form = self._method in _BODILESS
        self.waits = bool(self._body) or self._moves_form

    def access(self, exchange: ExchangeView) -> Answer | None:
        """Edit a request whose body is of no interest."""
        self._edit(exchange, None)
        return None

    async def access_waiting(self, exchange: ExchangeView) -> Answer | None:
        """Edit a request with its body; one that is too long to hold passes as it came."""
        self._edit(exchange, await exchange.body())
        return None

    def _edit(self, exchange: ExchangeView, body: bytes | None) -> None:
        # tables are read before anything is edited, as far as templates look
        tables = request_tables(exchange)
        if self._uri is not None:
            path = escape(self._uri.render(tables).encode("utf-8", "surrogateescape"))
            exchange.upstream_path = path if path.startswith(b"/") else b"/" + path
        content_type = exchange.request_fields.first(b"content-type")
        rendered = [_rendered(part, tables) for part in (self._headers, self._body, self._query)]
        if self._method is not None:
            exchange.method = self._method.encode()
            form = read_body(content_type, body) if body and self._moves_form else None
            if isinstance(form, FormBody):
                moved = render_arguments(form.pairs)
                exchange.query = exchange.query + b"&" + moved if exchange.query else moved
        for operation, name, value in rendered[0]:
            _FIELD_EDITS[operation](exchange.request_fields, name, value)
        if body is not None and self._body:
            self._edit_body(exchange, content_type, body, rendered[1])
        if self._query:
            exchange.query = _edited_query(exchange.query, rendered[2])

    def _edit_body(
        self, exchange: ExchangeView, content_type: bytes | None, body: bytes, found: list[tuple[str, bytes, bytes]]
    ) -> None:
        named = read_body(content_type, body)
        if named is None:
            return
        for operation, name, value in found:
            _edit_named(named, operation, name, value)
        fresh = named.render()
        if fresh != body:
            exchange.replace_body(fresh)


def edits(config: Any, part: str) -> list[Edit]:
    """The edits of one part in order. Raises PluginError for a template that is not understood."""
    found: list[Edit] = []
    for operation in OPERATIONS:
        for text in (config.get(operation) or {}).get(part) or ():
            name, colon, value = text.partition(":")
            found.append((operation, Template(name), Template(value) if colon else None))
    return found


def _rendered(part: list[Edit], tables: Tables) -> list[tuple[str, bytes, bytes]]:
    def text(template: Template | None) -> bytes:
        return b"" if template is None else template.render(tables).encode("utf-8", "surrogateescape")

    return [(operation, text(name), text(value)) for operation, name, value in part]


def _remove_field(fields: FieldLines, name: bytes, value: bytes) -> None:
    fields.remove(name.lower())


def _rename_field(fields: FieldLines, name: bytes, value: bytes) -> None:
    values = list(fields.all(name.lower()))
    if values:
        fields.remove(name.lower())
        fields.remove(value.lower())
        for each in values:
            fields.add(value, each)


def _replace_field(fields: FieldLines, name: bytes, value: bytes) -> None:
    if name.lower() in fields:
        fields.set(name, value)


def _add_field(fields: FieldLines, name: bytes, value: bytes) -> None:
    if name.lower() not in fields and name.lower() != b"host":
        fields.add(name, value)


def _append_field(fields: FieldLines, name: bytes, value: bytes) -> None:
    fields.add(name, value)


_FIELD_EDITS: dict[str, Callable[[FieldLines, bytes, bytes], None]] = {
    "remove": _remove_field,
    "rename": _rename_field,
    "replace": _replace_field,
    "add": _add_field,
    "append": _append_field,
}


def _edit_named(body: NamedBody, operation: str, name: bytes, value: bytes) -> None:
    if operation == "remove":
        body.remove(name)
    elif operation == "rename":
        body.rename(name, value)
    elif operation == "append":
        if not isinstance(body, MultipartBody):
            body.append(name, value)
    elif (name in body) == (operation == "replace"):
        body.set(name, value)


def _edited_query(query: bytes, found: list[tuple[str, bytes, bytes]]) -> bytes:
    """The query with all edits; as it came where none of them changed anything."""
    named = FormBody(query)
    before = list(named.pairs)
    for operation, name, value in found:
        _edit_named(named, operation, name, value)
    return query if named.pairs == before else named.render()


HANDLER = RequestTransformer
