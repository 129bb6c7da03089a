"""Calls of the control plane's own HTTP application, inside the process, as the person who looks at the page.

In: method, path, JSON.  Out: JSON, or RefusedError with the API's message and fields. The request goes through the guard
with the visitor's session and address, so roles, CSRF, revisions and the audit log are those of the API.
House rule: this module knows no screen, and nothing in the console knows another way to read or change anything. Cold.
"""

import math
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlencode

import orjson
from starlette.types import ASGIApp, Message, Scope

from kongdp.controlplane import users
from kongdp.controlplane.api.guard import COOKIE, CSRF_HEADER, UNATTENDED
from kongdp.errors import KongdpError, Source

UNREADABLE = "the control plane's answer cannot be read"


class RefusedError(KongdpError):
    """The API said no. `fields` are its complaints by dotted field name."""

    source = Source.CLIENT

    def __init__(self, status: int, message: str, fields: Mapping[str, str] | None = None, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.fields = dict(fields or {})
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Answer:
    """One response of the API."""

    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def field(self, name: bytes) -> str:
        """The first field of a name, or ""."""
        return next((value.decode("latin-1") for key, value in self.fields if key == name), "")

    def json(self) -> Any:
        """The body; None when there is none. Raises RefusedError for an error's."""
        if self.status >= 400:
            raise refused(self)
        return orjson.loads(self.body) if self.body else None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the session's secret, and where the browser is."""

    session: str
    address: str
    is_tls: bool = False


class Asking:
    """The API as one visitor may use it."""

    def __init__(self, application: ASGIApp, caller: Caller, *, is_unattended: bool = False) -> None:
        self._application = application
        self._caller = caller
        self._is_unattended = is_unattended

    def unattended(self) -> "Asking":
        """The same for what a page asks by itself: a session is not kept alive by it."""
        return Asking(self._application, self._caller, is_unattended=True)

    async def get(self, path: str, **query: object) -> Any:
        """What is at a path. Query arguments that are None are left out; a "_" in a name stands for "."."""
        return (await self.answer("GET", path, query=query)).json()

    async def text(self, path: str, **query: object) -> str:
        """The same for what is no JSON."""
        answer = await self.answer("GET", path, query=query)
        if answer.status >= 400:
            raise refused(answer)
        return answer.body.decode("utf-8", "replace")

    async def post(self, path: str, body: Any = None) -> Any:
        """Make something, or have something done."""
        return (await self.answer("POST", path, body)).json()

    async def put(self, path: str, body: Any = None, *, if_match: str | None = None) -> Any:
        """Replace something."""
        return (await self.answer("PUT", path, body, if_match=if_match)).json()

    async def patch(self, path: str, body: Any = None, *, if_match: str | None = None) -> Any:
        """Change something; with `if_match` only if it is still as it was seen."""
        return (await self.answer("PATCH", path, body, if_match=if_match)).json()

    async def delete(self, path: str, *, if_match: str | None = None, **query: object) -> None:
        """Remove something."""
        (await self.answer("DELETE", path, if_match=if_match, query=query)).json()

    async def answer(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        if_match: str | None = None,
        query: Mapping[str, object] | None = None,
        media_type: bytes = b"application/json",
    ) -> Answer:
        """One call; `body` is JSON, or bytes of `media_type`. Errors are answers here."""
        raw = b"" if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
        headers = [(b"host", b"console"), *_credentials(self._caller.session)]
        if raw:
            headers += [(b"content-type", media_type), (b"content-length", b"%d" % len(raw))]
        if if_match is not None:
            headers.append((b"if-match", if_match.encode("latin-1", "replace")))
        arguments = {name.replace("_", "."): value for name, value in (query or {}).items() if value is not None}
        scope = _scope(self._caller, method, path, urlencode(arguments, doseq=True), headers)
        if self._is_unattended:
            scope[UNATTENDED] = True
        return await _call(self._application, scope, raw)


def at(template: str, *names: str) -> str:
    """A path with names put in its {} places, whatever characters they have."""
    return template.format(*(quote(name, safe="") for name in names))


async def maybe(asking: Awaitable[Any]) -> Any:
    """What is there, or None where the API says that it is not (404)."""
    try:
        return await asking
    except RefusedError as error:
        if error.status == 404:
            return None
        raise


def refused(answer: Answer) -> RefusedError:
    """The error that an answer is: ours of /v2, or one of Kong's."""
    try:
        body = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    fields: dict[str, str] = {}
    for detail in body.get("details") or ():
        name = str(detail.get("field") or "@entity")
        said = "; ".join(str(each) for each in detail.get("messages") or ())
        fields[name] = f"{fields[name]}; {said}" if name in fields else said
    wait = answer.field(b"retry-after")
    message = str(body.get("message") or UNREADABLE)
    return RefusedError(answer.status, message, fields, float(wait) if wait.isdigit() else 0.0)


def _credentials(session: str) -> list[tuple[bytes, bytes]]:
    if not session:
        return []
    return [
        (b"cookie", f"{COOKIE}={session}".encode("latin-1", "replace")),
        (CSRF_HEADER.encode(), users.csrf_token(session).encode()),
    ]


def _scope(caller: Caller, method: str, path: str, query: str, headers: list[tuple[bytes, bytes]]) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https" if caller.is_tls else "http",
        "path": unquote(path),
        "raw_path": path.encode("latin-1", "replace"),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": (caller.address, 0),
        "server": ("console", 0),
    }


async def _call(application: ASGIApp, scope: Scope, body: bytes) -> Answer:
    status = 0
    fields: tuple[tuple[bytes, bytes], ...] = ()
    pieces: list[bytes] = []
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status, fields
        if message["type"] == "http.response.start":
            status, fields = message["status"], tuple(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            pieces.append(message.get("body", b""))

    try:
        await application(scope, receive, send)
    except Exception:
        # Starlette raises again what it has answered with 500, for the server to log.
        if not status:
            raise
    return Answer(status, fields, b"".join(pieces))


def waiting(seconds: float) -> str:
    """How long to wait, in words."""
    return f"{math.ceil(seconds)} s"
