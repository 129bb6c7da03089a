"""Parts of an exchange as plain tables of text, as Kong shows and logs them.

In: field lines, queries, entities.  Out: values for JSON. Where a name has several values they are a list; an argument without value
is true. Bytes that are no UTF-8 are shown as their escapes.
Warm: for what is logged or echoed. Source: spec of bundled plugins, section 5 (the serialised entry).
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from kongdp.entities.model import Consumer, Route, Service
from kongdp.plugins.fields import FieldLines, arguments


def text(value: bytes) -> str:
    """A value to show."""
    return value.decode("utf-8", "backslashreplace")


def field_table(lines: FieldLines) -> dict[str, Any]:
    """Lower-case name -> value, or list of values."""
    return {text(name): text(values[0]) if len(values) == 1 else [*map(text, values)] for name, values in lines}


def argument_table(query: bytes) -> dict[str, Any]:
    """Name -> value, list of values, or true."""
    found: dict[str, Any] = {}
    for name, value in arguments(query):
        add_to(found, text(name), True if value is None else text(value))
    return found


def add_to(table: dict[str, Any], name: str, value: Any) -> None:
    """One more value of a name."""
    if name not in table:
        table[name] = value
    elif isinstance(table[name], list):
        table[name].append(value)
    else:
        table[name] = [table[name], value]


_FOREIGN = {"service_id": "service", "client_certificate_id": "client_certificate"}


def entity(value: Route | Service | Consumer | None) -> dict[str, Any] | None:
    """An entity in Kong's JSON shape: foreign keys as {"id"}, nothing that is not set."""
    if value is None or not is_dataclass(value):
        return None
    shown: dict[str, Any] = {}
    for field in fields(value):
        held = getattr(value, field.name)
        if held is None or held == () or (field.name == "priority" and not held):
            continue
        if field.name == "headers":
            held = {name: list(values) for name, values in held}
        elif field.name in ("sources", "destinations"):
            held = [{"ip": each.ip, "port": each.port} for each in held]
        elif isinstance(held, tuple):
            held = list(held)
        foreign = _FOREIGN.get(field.name)
        shown[foreign or field.name] = {"id": held} if foreign else held
    return shown
