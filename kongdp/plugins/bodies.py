"""Request bodies that have named values at their top: JSON objects, URL-encoded and multipart forms.

In: Content-Type and the whole body.  Out: a body that plugins read and edit, and its bytes again; None for what is none of these.
House rule: what is not edited comes out as it went in, byte for byte, except where JSON is written anew.
Hot for routes whose plugins look into bodies. Source: RFC 8259, RFC 7578; which types Kong reads (kong.request.get_body).
"""

from __future__ import annotations

import re
from typing import Any, Protocol
from urllib.parse import quote_plus

import orjson

from kongdp.plugins.entries import add_to, text
from kongdp.plugins.fields import arguments

JSON, FORM, MULTIPART = b"application/json", b"application/x-www-form-urlencoded", b"multipart/form-data"


class NamedBody(Protocol):
    """A body with named values at its top."""

    def texts(self, name: bytes) -> list[bytes | None]:
        """The values of that name that are text, in order."""

    def __contains__(self, name: bytes) -> bool:
        """Whether there is such a value, text or not."""

    def set(self, name: bytes, value: bytes) -> None:
        """Exactly one value of that name, in place of what is there."""

    def append(self, name: bytes, value: bytes) -> None:
        """One more value of that name."""

    def remove(self, name: bytes) -> bool:
        """No value of that name any more; whether there was one."""

    def rename(self, old: bytes, new: bytes) -> None:
        """What was called `old` is called `new`."""

    def render(self) -> bytes:
        """The body with all edits."""

    def as_table(self) -> dict[str, Any]:
        """The names with their values, to show."""


def read_body(content_type: bytes | None, body: bytes) -> NamedBody | None:
    """The body as its Content-Type says, or None where it is of no such type or not well formed."""
    media_type, _, parameters = (content_type or b"").partition(b";")
    media_type = media_type.strip().lower()
    if media_type == JSON:
        try:
            value = orjson.loads(body or b"{}")
        except orjson.JSONDecodeError:
            return None
        return JsonBody(value) if isinstance(value, dict) else None
    if media_type == FORM:
        return FormBody(body)
    if media_type == MULTIPART:
        boundary = _BOUNDARY.search(parameters)
        return MultipartBody(body, boundary[1] or boundary[2]) if boundary else None
    return None


class JsonBody:
    """A JSON object."""

    def __init__(self, value: dict[str, Any]) -> None:
        self._value = value

    def texts(self, name: bytes) -> list[bytes | None]:
        """The value where it is a string, or the strings of a list."""
        value = self._value.get(_text(name))
        return [each.encode() for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]

    def __contains__(self, name: bytes) -> bool:
        return _text(name) in self._value

    def set(self, name: bytes, value: bytes) -> None:
        """A string."""
        self._value[_text(name)] = _text(value)

    def append(self, name: bytes, value: bytes) -> None:
        """A list of what was there and a string."""
        held = self._value.get(_text(name))
        before = held if isinstance(held, list) else [] if held is None else [held]
        self._value[_text(name)] = [*before, _text(value)]

    def remove(self, name: bytes) -> bool:
        """Whatever it is."""
        found = _text(name) in self._value
        self._value.pop(_text(name), None)
        return found

    def rename(self, old: bytes, new: bytes) -> None:
        """Whatever it is."""
        if _text(old) in self._value:
            self._value[_text(new)] = self._value.pop(_text(old))

    def render(self) -> bytes:
        """Compact JSON."""
        return orjson.dumps(self._value)

    def as_table(self) -> dict[str, Any]:
        """As it is."""
        return self._value


class FormBody:
    """application/x-www-form-urlencoded: decoded pairs in order."""

    def __init__(self, body: bytes) -> None:
        self._pairs = arguments(body)

    def texts(self, name: bytes) -> list[bytes | None]:
        """Decoded."""
        return [value for found, value in self._pairs if found == name]

    def __contains__(self, name: bytes) -> bool:
        return any(found == name for found, _ in self._pairs)

    def set(self, name: bytes, value: bytes) -> None:
        """In the place of the first one, or at the end."""
        for index, (found, _) in enumerate(self._pairs):
            if found == name:
                rest = [pair for pair in self._pairs[index + 1 :] if pair[0] != name]
                self._pairs = [*self._pairs[:index], (name, value), *rest]
                return
        self._pairs.append((name, value))

    def append(self, name: bytes, value: bytes) -> None:
        """At the end."""
        self._pairs.append((name, value))

    def remove(self, name: bytes) -> bool:
        """All of that name."""
        kept = [pair for pair in self._pairs if pair[0] != name]
        found = len(kept) != len(self._pairs)
        self._pairs = kept
        return found

    def rename(self, old: bytes, new: bytes) -> None:
        """All of that name."""
        self._pairs = [(new if name == old else name, value) for name, value in self._pairs]

    def render(self) -> bytes:
        """Encoded as forms are."""
        return render_arguments(self._pairs)

    def as_table(self) -> dict[str, Any]:
        """Lists for names that stand several times."""
        found: dict[str, Any] = {}
        for name, value in self._pairs:
            add_to(found, text(name), True if value is None else text(value))
        return found

    @property
    def pairs(self) -> list[tuple[bytes, bytes | None]]:
        """Names and values in order."""
        return self._pairs


def render_arguments(pairs: list[tuple[bytes, bytes | None]]) -> bytes:
    """The pairs of a query or a form, encoded; a value of None stands without "="."""
    parts = []
    for name, value in pairs:
        parts.append(quote_plus(name) if value is None else f"{quote_plus(name)}={quote_plus(value)}")
    return "&".join(parts).encode()


_BOUNDARY = re.compile(rb'boundary=(?:"([^"]+)"|([^\s;,]+))', re.IGNORECASE)
_NAME = re.compile(rb'[;\s]name="((?:[^"\\]|\\.)*)"|[;\s]name=([^\s;"]+)', re.IGNORECASE)


class MultipartBody:
    """multipart/form-data: parts with their heads as they came. A part without a name is kept and has none."""

    def __init__(self, body: bytes, boundary: bytes) -> None:
        self._boundary = boundary
        delimiter = b"--" + boundary
        first, *rest = (b"\r\n" + body).split(b"\r\n" + delimiter)
        self._preamble = first
        self._parts: list[tuple[bytes | None, bytes, bytes]] = []
        self._epilogue = b"--\r\n"
        for part in rest:
            if part.startswith(b"--"):
                self._epilogue = part
                break
            head, _, value = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
            found = _NAME.search(head)
            self._parts.append(((found[1] or found[2]) if found else None, head, value))

    def texts(self, name: bytes) -> list[bytes | None]:
        """Contents of the parts of that name."""
        return [value for found, _, value in self._parts if found == name]

    def __contains__(self, name: bytes) -> bool:
        return any(found == name for found, _, _ in self._parts)

    def set(self, name: bytes, value: bytes) -> None:
        """One part, in place of the others."""
        self.remove(name)
        self.append(name, value)

    def append(self, name: bytes, value: bytes) -> None:
        """A part at the end."""
        self._parts.append((name, b'Content-Disposition: form-data; name="%b"' % name, value))

    def remove(self, name: bytes) -> bool:
        """All parts of that name."""
        kept = [part for part in self._parts if part[0] != name]
        found = len(kept) != len(self._parts)
        self._parts = kept
        return found

    def rename(self, old: bytes, new: bytes) -> None:
        """All parts of that name; their heads say no more than the name afterwards."""
        disposition = b'Content-Disposition: form-data; name="%b"' % new
        self._parts = [(new, disposition, part[2]) if part[0] == old else part for part in self._parts]

    def render(self) -> bytes:
        """The parts between their delimiters."""
        delimiter = b"\r\n--" + self._boundary
        parts = b"".join([b"%b\r\n%b\r\n\r\n%b" % (delimiter, head, value) for _, head, value in self._parts])
        return (self._preamble + parts + delimiter + self._epilogue).removeprefix(b"\r\n")

    def as_table(self) -> dict[str, Any]:
        """Lists for names that stand several times."""
        found: dict[str, Any] = {}
        for name, _, value in self._parts:
            if name is not None:
                add_to(found, text(name), text(value))
        return found


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
