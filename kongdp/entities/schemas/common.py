"""Fields that several collections share.

Where a field shows `len_min: 1` the live Kong shows it too; it holds for every string that does not say otherwise.
Source: kong/db/schema/typedefs.lua 3.9, GET /schemas answers of a live Kong 3.9.1.
"""

import re
from typing import Any

from kongdp.entities.addresses import sni_problem, wildcard_sni_problem
from kongdp.entities.field import Field
from kongdp.entities.paths import service_path_problem
from kongdp.entities.shape import Shape

HTTP_PROTOCOLS = ("grpc", "grpcs", "http", "https")
PROTOCOLS = ("grpc", "grpcs", "http", "https", "tcp", "tls", "tls_passthrough", "udp")

_NAME = re.compile(r"[A-Za-z0-9.\-_~\x80-\U0010ffff]+\Z")
_TAG = re.compile(r"[ !-+\-.0-~\x80-\U0010ffff]+\Z")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+\Z")
_HEADER_NAME = re.compile(r"[A-Za-z0-9\-_]+\Z")


def string(**rules: Any) -> Field:
    """A string field."""
    return Field(type="string", **rules)


def integer(**rules: Any) -> Field:
    """An integer field."""
    return Field(type="integer", **rules)


def number(**rules: Any) -> Field:
    """A number field."""
    return Field(type="number", **rules)


def boolean(**rules: Any) -> Field:
    """A boolean field."""
    return Field(type="boolean", **rules)


def array(elements: Field, **rules: Any) -> Field:
    """A list."""
    return Field(type="array", elements=elements, **rules)


def set_of(elements: Field, **rules: Any) -> Field:
    """A list whose order and doubles mean nothing."""
    return Field(type="set", elements=elements, **rules)


def map_of(keys: Field, values: Field, **rules: Any) -> Field:
    """A record with free keys."""
    return Field(type="map", keys=keys, values=values, **rules)


def record(*fields: tuple[str, Field], shape: Shape | None = None, **rules: Any) -> Field:
    """A record of named fields; `shape` instead of fields where it has checks or shorthands."""
    return Field(type="record", shape=shape or Shape(fields), **rules)


def foreign(reference: str, **rules: Any) -> Field:
    """A reference to an entity of another collection."""
    return Field(type="foreign", reference=reference, **rules)


def _utf8_problem(text: str) -> str | None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"invalid utf-8 character sequence detected at position {error.start + 1}"
    return None


def name_problem(text: str) -> str | None:
    """Why a name is refused, or None."""
    if _NAME.match(text) is None:
        return f"invalid value '{text}': the only accepted ascii characters are alphanumerics or ., -, _, and ~"
    return None if text.isascii() else _utf8_problem(text)


def tag_problem(text: str) -> str | None:
    """Why a tag is refused, or None."""
    if _TAG.match(text) is None:
        return f"invalid tag '{text}': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"
    return None if text.isascii() else _utf8_problem(text)


def header_name_problem(text: str) -> str | None:
    """Why the name of a header field is refused, or None."""
    if _HEADER_NAME.match(text) is None:
        return f"bad header name '{text}', allowed characters are A-Z, a-z, 0-9, '_', and '-'"
    return None


def cookie_name_problem(text: str) -> str | None:
    """Why the name of a cookie is refused, or None."""
    if _TOKEN.match(text) is None:
        return (
            f"bad cookie name '{text}', allowed characters are A-Z, a-z, 0-9, '_', and '-'"
            if not text.isascii() or not text.isprintable()
            else f"'{text}' is not a valid cookie name"
        )
    return None


def plain_id() -> tuple[str, Field]:
    """The primary key, described without a length."""
    return "id", string(auto=True, uuid=True)


def entity_id() -> tuple[str, Field]:
    """The primary key."""
    return "id", string(auto=True, uuid=True, len_min=1)


def timestamp(name: str, kind: str = "integer") -> tuple[str, Field]:
    """`created_at` or `updated_at`, in seconds ("number": with milliseconds as a fraction)."""
    return name, Field(type=kind, auto=True, timestamp=True)


def times(kind: str = "integer") -> tuple[tuple[str, Field], tuple[str, Field]]:
    """Both times."""
    return timestamp("created_at", kind), timestamp("updated_at", kind)


def name_field(name: str = "name", **rules: Any) -> tuple[str, Field]:
    """A unique name."""
    return name, string(unique=True, len_min=1, validator=name_problem, **rules)


def tags(*, len_min: int | None = None) -> tuple[str, Field]:
    """The tags of an entity."""
    return "tags", set_of(string(required=True, validator=tag_problem, len_min=len_min))


NO_EMPTY_SEGMENTS = ({"pattern": "//", "err": "must not have empty segments"},)
PORT = integer(between=(0, 65535))
HEADER_NAME = string(validator=header_name_problem)
COOKIE_NAME = string(validator=cookie_name_problem)
SNI = string(validator=sni_problem)
WILDCARD_SNI = string(validator=wildcard_sni_problem)
PATH = string(match_none=NO_EMPTY_SEGMENTS, starts_with="/", validator=service_path_problem)
