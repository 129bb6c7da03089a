"""Forms made of Kong's schemas (`/schemas/{entity}` of the Admin API), whatever the entity or plugin.

In: a schema's fields, and the row that is edited, if one is.  Out: fields on a Form, named as the API names them (nested
ones with dots, so that its complaints find them); and of what was typed, the body of a request: for a new entity what
differs from the defaults, for an old one what was changed.
House rule: one table says which type becomes which field. What no field fits (maps of lists, sets of records) is JSON.
Cold. Source: Kong's schema language, kong/db/schema/init.lua.
"""

import json
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from nicegui import ui

from kongdp.controlplane.console.parts.form import FieldError, Form, split_lines

Schema = Mapping[str, Any]
# What the control plane sets itself.
AUTOMATIC = frozenset(("id", "created_at", "updated_at", "ws_id", "cache_key"))
LONG_TEXTS = frozenset(("cert", "key", "cert_alt", "key_alt", "metadata", "rsa_public_key", "cert_digest"))
SECRET_TEXTS = frozenset(("password", "secret", "client_secret", "redis_password"))
SCALARS = frozenset(("string", "integer", "number"))
# Words that people do not write like other words.
WRITTEN = {
    **{each: each.upper() for each in ("ai", "ca", "http", "https", "id", "json", "jwk", "pem", "rsa", "sni", "srv")},
    **{each: each.upper() for each in ("ssl", "tcp", "tls", "ttl", "uri", "url")},
    "lua": "Lua",
    "snis": "SNIs",
}
STORED = "Stored, not shown; what is typed here replaces it"
# What else than its id tells an entity from all others; a certificate has nothing.
NAMES = {"services": "name", "routes": "name", "upstreams": "name", "key_sets": "name", "consumers": "username"}


class SchemaForm:
    """The fields of one entity. `skip`: names that the screen sets itself; `stored`: secrets that the row has and that are
    not shown, by each the text that it goes with: what is typed replaces one, and it goes with its text.
    """

    def __init__(
        self,
        form: Form,
        fields: Sequence[Schema],
        row: Schema | None = None,
        *,
        skip: Collection[str] = (),
        stored: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.form = form
        self._stored = stored
        self._names: list[tuple[str, Schema]] = []
        # What each field held before anybody typed.
        self._before: dict[str, Any] = {}
        with ui.element("div").classes("form"):
            for name, schema in (pair for each in fields for pair in each.items()):
                if name in stored:
                    self._add(name, {**schema, "required": False, "description": STORED}, None)
                elif name not in AUTOMATIC and name not in skip:
                    self._add(name, schema, _held(row, name, schema))

    def body(self) -> dict[str, Any] | None:
        """The request's body; None when something cannot be read, which is shown at its field."""
        values = self.form.values()
        if values is None:
            return None
        body: dict[str, Any] = {}
        for name, schema in self._names:
            # A list that was emptied is taken away.
            value = None if values[name] == [] and not schema.get("required") else values[name]
            if not _is_same(value, self._before[name]):
                _put(body, name, value)
        for name, text in self._stored.items():
            if text in body and body[text] is None:
                body.setdefault(name, None)
        return body

    def _add(self, name: str, schema: Schema, value: Any) -> None:
        if schema["type"] == "record" and schema.get("fields"):
            self._add_record(name, schema, value)
            return
        _MAKERS.get(_kind(schema), _json)(self.form, name, schema, value)
        self._names.append((name, schema))
        self._before[name] = value

    def _add_record(self, name: str, schema: Schema, value: Any) -> None:
        with ui.element("fieldset") as fieldset:
            with ui.element("legend"):
                ui.label(label_of(name))
            self.form.group(name, fieldset)
            with ui.element("div").classes("form"):
                for each in schema["fields"]:
                    for inner, inner_schema in each.items():
                        self._add(f"{name}.{inner}", inner_schema, _held(value, inner, inner_schema))


def _held(row: Any, name: str, schema: Schema) -> Any:
    """What a row has in a field; the default where it does not say."""
    return row[name] if isinstance(row, Mapping) and name in row else schema.get("default")


def label_of(name: str) -> str:
    """A field's name as people read it: "config.limit_by" -> "Limit by"."""
    words = " ".join(WRITTEN.get(word, word) for word in name.rpartition(".")[2].split("_"))
    return words[:1].upper() + words[1:]


def _kind(schema: Schema) -> str:
    """Which maker a schema needs."""
    kind = str(schema["type"])
    if kind in SCALARS and "one_of" in schema:
        return "choice"
    if kind in ("set", "array"):
        elements = schema.get("elements") or {}
        if elements.get("type") not in SCALARS:
            return "json"
        return "choices" if kind == "set" and "one_of" in elements else "lines"
    if kind == "map" and (schema.get("values") or {}).get("type") == "string":
        return "pairs"
    return kind


def _string(form: Form, name: str, schema: Schema, value: Any) -> None:
    last = name.rpartition(".")[2]
    element = form.text(name, _label(name, schema), str(value or ""), hint=_hint(schema), is_long=last in LONG_TEXTS)
    if last in SECRET_TEXTS or schema.get("encrypted"):
        element.props("type=password autocomplete=off")
    form.read_with(name, lambda raw: str(raw) if raw else None)


def _number(form: Form, name: str, schema: Schema, value: Any) -> None:
    form.number(name, _label(name, schema), value, hint=_hint(schema), is_integer=schema["type"] == "integer")


def _boolean(form: Form, name: str, schema: Schema, value: Any) -> None:
    if schema.get("default") is None and not schema.get("required"):
        choices = {"": "Not set", "yes": "Yes", "no": "No"}
        form.choice(name, _label(name, schema), choices, {None: "", True: "yes", False: "no"}[value])
        form.read_with(name, lambda raw: {"": None, "yes": True, "no": False}[raw])
        return
    form.switch(name, label_of(name), bool(value))


def _choice(form: Form, name: str, schema: Schema, value: Any) -> None:
    choices: dict[Any, str] = {} if schema.get("required") else {None: "Not set"}
    choices |= {each: str(each) for each in schema["one_of"]}
    form.choice(name, _label(name, schema), choices, value if value in choices else None, hint=_hint(schema))


def _choices(form: Form, name: str, schema: Schema, value: Any) -> None:
    form.choices(name, _label(name, schema), schema["elements"]["one_of"], list(value or ()), hint=_hint(schema))


def _lines(form: Form, name: str, schema: Schema, value: Any) -> None:
    form.lines(name, _label(name, schema), list(value or ()))
    make = {"integer": int, "number": float}.get(schema["elements"]["type"], str)

    def read(raw: Any) -> list[Any]:
        try:
            return [make(line) for line in split_lines(raw)]
        except ValueError:
            raise FieldError("must be one number a line") from None

    form.read_with(name, read)


def _pairs(form: Form, name: str, schema: Schema, value: Any) -> None:
    text = "\n".join(f"{key}: {each}" for key, each in (value or {}).items())
    form.text(name, _label(name, schema), text, hint="key: value, one a line", is_long=True)

    def read(raw: Any) -> dict[str, str] | None:
        pairs = [line.partition(":") for line in split_lines(raw)]
        if any(not colon or not key.strip() for key, colon, _value in pairs):
            raise FieldError("must be key: value, one a line")
        return {key.strip(): value.strip() for key, _colon, value in pairs} or None

    form.read_with(name, read)


def _foreign(form: Form, name: str, schema: Schema, value: Any) -> None:
    held = value.get("id", "") if isinstance(value, Mapping) else ""
    reference = str(schema.get("reference", ""))
    kind, called = reference.replace("_", " ").removesuffix("s"), NAMES.get(reference)
    hint = f"{called.capitalize()} or ID" if called else "ID"
    hint += f" of a {kind}" + ("" if schema.get("required") else "; empty: none")
    form.text(name, _label(name, schema), held, hint=hint)

    def read(raw: Any) -> dict[str, str] | None:
        typed = str(raw or "").strip()
        if not typed:
            return None
        return {called: typed} if called and not _is_id(typed) else {"id": typed}

    form.read_with(name, read)


def _is_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _json(form: Form, name: str, schema: Schema, value: Any) -> None:
    text = "" if value in (None, {}, []) else json.dumps(value, indent=2)
    form.text(name, _label(name, schema), text, hint="As JSON", is_long=True)

    def read(raw: Any) -> Any:
        if not str(raw or "").strip():
            return None
        try:
            return json.loads(raw)
        except json.JSONDecodeError as error:
            raise FieldError(f"is no JSON: {error.msg} in line {error.lineno}") from None

    form.read_with(name, read)


_MAKERS: Mapping[str, Callable[[Form, str, Schema, Any], None]] = {
    "string": _string,
    "integer": _number,
    "number": _number,
    "boolean": _boolean,
    "choice": _choice,
    "choices": _choices,
    "lines": _lines,
    "pairs": _pairs,
    "foreign": _foreign,
}


def _label(name: str, schema: Schema) -> str:
    must = schema.get("required") and schema.get("default") is None
    return label_of(name) + (" *" if must else "")


def _hint(schema: Schema) -> str:
    if "between" in schema:
        return f"{schema['between'][0]} to {schema['between'][1]}"
    if "gt" in schema:
        return f"More than {schema['gt']}"
    if schema.get("auto"):
        return "Empty: one is made"
    return str(schema.get("description") or "")


def _is_same(value: Any, before: Any) -> bool:
    """Whether nothing was typed: absent and empty are the same; sets have no order, but nobody reorders them by accident."""
    nothing: tuple[Any, ...] = (None, [], {}, "")
    return value == before or (value in nothing and before in nothing)


def _put(body: dict[str, Any], name: str, value: Any) -> None:
    *parents, last = name.split(".")
    for parent in parents:
        body = body.setdefault(parent, {})
    body[last] = value
