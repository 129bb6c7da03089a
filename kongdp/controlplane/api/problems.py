"""How our own endpoints say what went wrong: {"code", "message", "details"} in the manner of Konnect, one table of
errors.

Kong's paths answer as Kong does (adminapi); this is for /v2. Cold. Source: protocol notes 7.5 (koko's error object).
"""

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from kongdp.controlplane.accounts import SignInError
from kongdp.controlplane.catalogue import CatalogueError
from kongdp.controlplane.changes import UnknownGroupError
from kongdp.controlplane.ledger import PinError
from kongdp.controlplane.revisions import StaleError, UnknownRevisionError

LOG = logging.getLogger("kongdp.controlplane.api")
# gRPC's codes, which koko and so Konnect use in errors.
CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 412: 9, 413: 11, 429: 8, 500: 13, 503: 14}


class ApiError(Exception):
    """An endpoint's answer that is an error."""

    def __init__(self, status: int, message: str, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.fields = dict(fields or {})


def problem(status: int, message: str, fields: Mapping[str, Any] | None = None) -> JSONResponse:
    """The error object."""
    details = [
        {"type": "ERROR_TYPE_FIELD", "field": name, "messages": [text] if isinstance(text, str) else text}
        for name, text in (fields or {}).items()
    ]
    return JSONResponse({"code": CODES.get(status, 2), "message": message, "details": details}, status)


def install(app: FastAPI) -> None:
    """Have every error of ours answered by its object."""

    @app.exception_handler(ApiError)
    async def on_api_error(_request: Request, error: ApiError) -> JSONResponse:
        return problem(error.status, str(error), error.fields)

    @app.exception_handler(CatalogueError)
    async def on_catalogue_error(_request: Request, error: CatalogueError) -> JSONResponse:
        return problem(error.status, str(error), error.fields)

    @app.exception_handler(UnknownGroupError)
    async def on_unknown_group(_request: Request, error: UnknownGroupError) -> JSONResponse:
        return problem(404, str(error))

    @app.exception_handler(UnknownRevisionError)
    async def on_unknown_revision(_request: Request, error: UnknownRevisionError) -> JSONResponse:
        return problem(404, str(error))

    @app.exception_handler(StaleError)
    async def on_stale(_request: Request, error: StaleError) -> JSONResponse:
        return problem(412, str(error))

    @app.exception_handler(PinError)
    async def on_pin_error(_request: Request, error: PinError) -> JSONResponse:
        return problem(400, str(error), {"cert": str(error)})

    @app.exception_handler(SignInError)
    async def on_sign_in_error(_request: Request, error: SignInError) -> JSONResponse:
        return problem(429 if error.retry_after_s else 401, str(error))

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
