"""OpenAPI documents as text: judged before anything is kept or shown of them.

In: text of JSON or YAML.  Out: a Document (Swagger 2.0, OpenAPI 3.0 or 3.1), or OpenApiError with every reason.
House rule: nothing in a document costs more than its size allows, and nothing is fetched. Size, nesting and values are
bounded, a YAML alias counting as often as it is used; a reference must point into the document itself; no regular
expression of the document is run; schemas are checked against their meta-schema one by one and never followed along
their references, which can be made to take forever.
Pure. Cold: the largest document takes seconds, so it is called off the event loop and outside of transactions.
Source: OpenAPI 2.0, 3.0.4, 3.1.1; structure and rules by openapi_rules.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from kongdp.entities.declarative_errors import DeclarativeError
from kongdp.entities.declarative_text import parse_text
from kongdp.errors import KongdpError, Source

# GitHub's own description has 12 MB and about 600,000 values; one of a hundred operations has 200 KB and 15,000.
BYTES_MAX = 1 << 20
VALUES_MAX = 60_000
DEPTH_MAX = 64
REFERENCES_IN_A_ROW_MAX = 16
REASONS_MAX = 20
REASON_LENGTH_MAX = 300
DECLARATIVE = "failed parsing declarative configuration: "


class OpenApiError(KongdpError):
    """A text is no OpenAPI document that we take; `reasons` names each place."""

    source = Source.CLIENT

    def __init__(self, reasons: list[str]) -> None:
        super().__init__(f"not a valid OpenAPI document: {reasons[0]}")
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class Document:
    """A document that is valid. `dialect`: "Swagger 2.0", "OpenAPI 3.0" or "OpenAPI 3.1"."""

    dialect: str
    title: str
    value: Mapping[str, Any]


def read(text: str, bytes_max: int = BYTES_MAX) -> Document:
    """The document that a text is. Raises OpenApiError."""
    from kongdp.controlplane import openapi_rules  # a third of a second of libraries, which most processes never need

    value = parse(text, bytes_max)
    dialect = _dialect(value)
    _check_references(value)
    reasons = [_shortened(reason) for reason in openapi_rules.reasons(dialect, value)]
    if reasons:
        raise OpenApiError(list(dict.fromkeys(reasons))[:REASONS_MAX])
    return Document(dialect, str(value["info"]["title"]), value)


def parse(text: str, bytes_max: int = BYTES_MAX) -> Mapping[str, Any]:
    """The value of a text, within the bounds. Raises OpenApiError."""
    if len(text.encode("utf-8", "replace")) > bytes_max:
        raise OpenApiError([f"it has more than {bytes_max} bytes"])
    try:
        value = parse_text(text)
    except DeclarativeError as error:
        raise OpenApiError([line.rpartition(DECLARATIVE)[2] for line in error.lines()]) from None
    _check_bounds(value)
    return value


def resolve(document: Mapping[str, Any], value: Any) -> Any:
    """What a value stands for: itself, or where its `$ref` leads. None where it leads nowhere."""
    for _step in range(REFERENCES_IN_A_ROW_MAX):
        reference = value.get("$ref") if isinstance(value, dict) else None
        if not isinstance(reference, str):
            return value
        value = _pointed(document, reference)
    return None


def _dialect(value: Mapping[str, Any]) -> str:
    version = value.get("openapi", value.get("swagger"))
    text = version if isinstance(version, str) else repr(version)[:20]
    if "swagger" in value and text == "2.0":
        return "Swagger 2.0"
    if "openapi" in value and text.startswith("3.0."):
        return "OpenAPI 3.0"
    if "openapi" in value and text.startswith("3.1."):
        return "OpenAPI 3.1"
    if version is None:
        raise OpenApiError(['it has neither "openapi" nor "swagger"'])
    raise OpenApiError([f"its version is {text[:20]}; 2.0, 3.0.x and 3.1.x are understood"])


def _check_bounds(document: Any) -> None:
    """Count values as somebody meets them who follows every alias; stops at the first bound."""
    count = 0
    levels = [iter((document,))]
    while levels:
        for value in levels[-1]:
            count += 1
            if count > VALUES_MAX:
                raise OpenApiError([f"it has more than {VALUES_MAX} values"])
            if isinstance(value, (dict, list)):
                levels.append(iter(value.values() if isinstance(value, dict) else value))
                if len(levels) > DEPTH_MAX:
                    raise OpenApiError([f"it is nested more than {DEPTH_MAX} deep"])
                break
            if isinstance(value, str):
                _check_text(value)
        else:
            levels.pop()


def _check_text(text: str) -> None:
    # PostgreSQL's text has no NUL, and half characters cannot be sent.
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise OpenApiError(["it has text that is not valid Unicode, or NUL in it"])


def _check_references(document: Mapping[str, Any]) -> None:
    """Each `$ref` leads into this document, and to something. A property called $ref holds no text and is none."""
    reasons = []
    for place, reference in _references(document, ""):
        if not reference.startswith("#"):
            reasons.append(f"{place}: $ref {reference[:100]!r}: only references within the document are followed")
        elif resolve(document, {"$ref": reference}) is None:
            reasons.append(f"{place}: $ref {reference[:100]!r} leads nowhere")
    if reasons:
        raise OpenApiError(reasons[:REASONS_MAX])


def _references(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        reference = value.get("$ref")
        if isinstance(reference, str):
            yield place or "/", reference
        for name, inner in value.items():
            if name not in ("example", "examples", "default", "enum", "const"):
                yield from _references(inner, f"{place}/{name}")
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _references(inner, f"{place}/{position}")


def _pointed(document: Mapping[str, Any], reference: str) -> Any:
    """Where a JSON pointer (RFC 6901, as a URI fragment) leads; None: nowhere."""
    if reference == "#":
        return document
    value: Any = document
    if not reference.startswith("#/"):
        return None
    for part in reference[2:].split("/"):
        name = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and len(name) < 10 and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def _shortened(reason: str) -> str:
    return reason if len(reason) <= REASON_LENGTH_MAX else f"{reason[:REASON_LENGTH_MAX]}..."
