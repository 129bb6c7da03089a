"""How our own endpoints say what went wrong: {"code", "message", "details"} in the manner of Konnect, one table of
errors.

Kong's paths answer as Kong does (adminapi); this is for /v2. Cold. Source: protocol notes 7.5 (koko's error object).
"""

import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from kongdp.controlplane.catalogue_entries import CatalogueError
from kongdp.controlplane.changes import UnknownGroupError
from kongdp.controlplane.groups import GroupError
from kongdp.controlplane.ledger import PinError
from kongdp.controlplane.managed import ManagedError
from kongdp.controlplane.passwords import SignInError
from kongdp.controlplane.revisions import StaleError, UnknownRevisionError
from kongdp.controlplane.users import AccountError
from kongdp.entities.declarative_errors import DeclarativeError

LOG = logging.getLogger("kongdp.controlplane.api")
# gRPC's codes, which koko and so Konnect use in errors.
CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 405: 12, 412: 9, 413: 11, 415: 3, 429: 8, 500: 13, 503: 14}


# Half a surrogate pair, or (PostgreSQL) the character of number 0: JSON can say what no database keeps.
UNSTORABLE = "a text holds a character that cannot be stored"


class ApiError(Exception):
    """An endpoint's answer that is an error."""

    def __init__(self, status: int, message: str, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.fields = dict(fields or {})


def problem(
    status: int, message: str, fields: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The error object as an answer."""
    return JSONResponse(body_of(status, message, fields), status, dict(headers or {}))


def body_of(status: int, message: str, fields: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The error object."""
    details = [
        {
            "type": "ERROR_TYPE_FIELD",
            "field": _printable(name),
            "messages": [_printable(text) for text in _texts(value)],
        }
        for name, value in _flat(fields or {})
    ]
    return {"code": CODES.get(status, 2), "message": _printable(message), "details": details}


def _flat(fields: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Complaints by dotted name, from as many levels as the Admin API has them: {"route": {"paths": {0: ...}}}."""
    for name, value in fields.items():
        whole = f"{path}.{name}" if path else str(name)
        if isinstance(value, Mapping):
            yield from _flat(value, whole)
        elif isinstance(value, list) and path and name != "@entity":
            yield from ((f"{whole}[{place}]", each) for place, each in enumerate(value) if each is not None)
        else:
            yield whole, value


def _texts(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def _printable(text: str) -> str:
    """Text that can be sent: half characters of the request are not repeated."""
    return text.encode("utf-8", "replace").decode()


def described(error: Exception) -> tuple[int, str, dict[str, Any]]:
    """Status, message and fields of an error; 500 without details for what nobody expected."""
    match error:
        case ApiError() | CatalogueError():
            return error.status, str(error), dict(error.fields)
        case GroupError() | AccountError():
            return error.status, str(error), {error.field: str(error)} if error.field else {}
        case DeclarativeError():
            return 400, "the configuration is not valid", {"config": error.lines()}
        case UnknownGroupError() | UnknownRevisionError():
            return 404, str(error), {}
        case ManagedError():
            return 409, str(error), {}
        case StaleError():
            return 412, str(error), {}
        case PinError():
            return 400, str(error), {"cert": str(error)}
        case SignInError():
            return 429 if error.retry_after_s else 401, str(error), {}
        case sa.exc.DataError() | UnicodeEncodeError():
            return 400, UNSTORABLE, {}
    LOG.error("unexpected: %s", type(error).__name__, exc_info=error)
    return 500, "An unexpected error occurred", {}


# Errors of the rooms below that have an answer of their own.
KNOWN = (
    ApiError,
    CatalogueError,
    GroupError,
    AccountError,
    DeclarativeError,
    UnknownGroupError,
    UnknownRevisionError,
    ManagedError,
    StaleError,
    PinError,
    SignInError,
    sa.exc.DataError,
    UnicodeEncodeError,
)


def install(app: FastAPI) -> None:
    """Have every error of ours answered by its object."""

    async def on_known(_request: Request, error: Exception) -> JSONResponse:
        wait = getattr(error, "retry_after_s", 0.0)
        return problem(*described(error), {"Retry-After": str(math.ceil(wait))} if wait else None)

    for kind in KNOWN:
        app.add_exception_handler(kind, on_known)

    @app.exception_handler(RequestValidationError)
    async def on_validation_error(_request: Request, error: RequestValidationError) -> JSONResponse:
        fields: dict[str, list[str]] = {}
        for each in error.errors():
            path = ".".join(str(part) for part in each["loc"] if part not in ("body", "query", "path"))
            fields.setdefault(path or "@body", []).append(each["msg"])
        return problem(400, "validation error", fields)

    @app.exception_handler(Exception)
    async def on_anything(request: Request, error: Exception) -> JSONResponse:
        # A boundary: the person gets no inner words, the log gets all of them (uvicorn logs the traceback).
        LOG.error("%s %s failed: %s", request.method, request.url.path, type(error).__name__)
        return problem(500, "An unexpected error occurred")
