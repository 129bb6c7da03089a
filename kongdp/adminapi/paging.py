"""Pages of lists: size, offset, filter by tags, and the address of the next page.

In: query arguments.  Out: a Page to ask the store for, and the body of the answer. An offset is the base64 of a JSON
list that holds the id of the last row shown (and, for tags, its position), as Kong's are.
Source: kong/api/endpoints.lua, kong/db/dao/init.lua 3.9; offsets of a live Kong 3.9.1.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from kongdp.adminapi.errors import invalid_offset, invalid_option, invalid_size
from kongdp.adminapi.store import TagFilter

SIZE_DEFAULT = 100
SIZE_MAX = 1000

_TAG = r"[\x20-\x2b\x2d\x2e\x30-\x7e\x80-\U0010ffff]+"
_EVERY = re.compile(rf"{_TAG}(?:,{_TAG})*,?\Z")
_ANY = re.compile(rf"{_TAG}(?:/{_TAG})*/?\Z")


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted. `after`: what the offset holds, or None for the beginning."""

    size: int
    after: Sequence[Any] | None
    tags: TagFilter | None

    @property
    def after_id(self) -> str | None:
        """The id after which the page begins."""
        return self.after[0] if self.after else None


def parse_page(arguments: Mapping[str, str], *, tagged: bool = True) -> Page:
    """The page that a query asks for. Raises ApiError."""
    size = _parse_size(arguments.get("size"))
    offset = arguments.get("offset")
    after = None if offset is None else _parse_offset(offset)
    tags = _parse_tags(arguments["tags"]) if tagged and "tags" in arguments else None
    return Page(size, after, tags)


def _parse_size(text: str | None) -> int:
    if text is None:
        return SIZE_DEFAULT
    try:
        size = float(text)
    except ValueError:
        raise invalid_size("size must be a number") from None
    if not 1 <= size <= SIZE_MAX or size != int(size):
        raise invalid_size(f"size must be an integer between 1 and {SIZE_MAX}")
    return int(size)


def _parse_offset(text: str) -> list[Any]:
    padded = text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)
    try:
        decoded = base64.b64decode(padded, validate=True)
    except (binascii.Error, ValueError):
        raise invalid_offset(text, "bad base64 encoding") from None
    try:
        after = orjson.loads(decoded)
    except ValueError:
        raise invalid_offset(text, "bad json encoding") from None
    if not isinstance(after, list) or not after or not isinstance(after[0], str) or "\0" in after[0]:
        raise invalid_offset(text, "bad json encoding")
    return after


def _parse_tags(text: str) -> TagFilter:
    if _EVERY.match(text):
        return TagFilter(tuple(tag for tag in text.split(",") if tag), every=True)
    if _ANY.match(text):
        return TagFilter(tuple(tag for tag in text.split("/") if tag), every=False)
    raise invalid_option("tags", "invalid filter syntax")


def page_body(
    rows: Sequence[Any], last: Sequence[Any] | None, path: str, arguments: Mapping[str, str], *, nested: bool
) -> dict[str, Any]:
    """A list's answer. `last` holds what the offset must say when there is more, else None.

    The next page's address repeats tags and size, below a parent not even those.
    """
    if last is None:
        return {"data": rows, "next": None}
    offset = base64.urlsafe_b64encode(orjson.dumps(last)).decode().rstrip("=")
    query = f"offset={offset}"
    if not nested:
        if "tags" in arguments:
            query += f"&tags={quote(arguments['tags'], safe='')}"
        if "size" in arguments:
            query += f"&size={quote(arguments['size'], safe='')}"
    return {"data": rows, "next": f"{path}?{query}", "offset": offset}
