"""The door of the HTTP application: who is this, may they do it, and what goes into the audit log.

In: every request.  Out: the request with an identity, or 401, 403, 429. Credentials: `Authorization: Bearer` or
`Kong-Admin-Token` with an access token (decK can send headers), HTTP basic with name and password, or a session's cookie
together with `X-CSRF-Token` for anything that changes something. On a guarded listener credentials are required; on an
open one (loopback, as Kong's default) they are not, but whoever shows some is held to them.
House rule: nothing behind this door decides on access again, except what lists only what one may see. Cold.
"""

import base64
import binascii
import hmac
import logging
import math
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kongdp.controlplane import access, audit, groups, users
from kongdp.controlplane.access import SAFE, Identity, Need
from kongdp.controlplane.api import origins
from kongdp.controlplane.api.actors import IDENTITY, actor_of
from kongdp.controlplane.api.origins import Origins
from kongdp.controlplane.api.problems import problem
from kongdp.controlplane.passwords import SignInError
from kongdp.controlplane.plane import Plane

LOG = logging.getLogger("kongdp.controlplane.api")
COOKIE = "kongdp_session"
CSRF_HEADER = "x-csrf-token"
CREDENTIALS_MAX = 4096
# Set in a scope inside this process, by the console: nobody clicked, a page asks by itself.
UNATTENDED = "kongdp.unattended"
# Their changes are revisions.
UNAUDITED = ("core-entities", "config", "revisions")


class _RefusedError(Exception):
    def __init__(self, status: int, message: str, retry_after_s: float = 0.0, identity: Identity | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.identity = identity
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class _Shown:
    """The credentials of a request."""

    token: str = ""
    basic: str = ""
    session: str = ""
    csrf: str = ""
    is_unattended: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.token or self.basic or self.session)


class Guard:
    """ASGI middleware around the application. `is_open`: the listener asks for no credentials. `origins`: the web pages that
    may use it.
    """

    def __init__(self, app: ASGIApp, plane: Plane, *, is_open: bool, origins: Origins | None = None) -> None:
        self._app = app
        self._plane = plane
        self._is_open = is_open
        self._origins = origins or Origins()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or pass on one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        method, path = scope["method"], scope["path"]
        address = connection.client.host if connection.client is not None else "unix socket"
        need = access.need_of(method, path)
        status = 500
        is_ours = self._origins.allow(connection.headers)

        async def watching(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _tell_browser(message, connection.headers, is_ours)
            await send(message)

        if is_ours and method == "OPTIONS" and "access-control-request-method" in connection.headers:
            await Response(status_code=204, headers=origins.preflight_fields())(scope, receive, watching)
            return
        shown = _shown(connection)
        try:
            identity = None
            if not is_ours and method not in SAFE:
                raise _RefusedError(403, "web pages of that origin may not do this: admin_gui_url names those that may")
            if not self._is_for_all(shown, need, method):
                identity = await self._plane.database.run(self._admit, shown, need, method, address)
        except _RefusedError as refused:
            if refused.identity is not None:
                scope[IDENTITY] = refused.identity
            await self._refuse(refused, scope, receive, watching)
        else:
            if identity is not None:
                scope[IDENTITY] = identity
            await self._app(scope, receive, watching)
        if _is_audited(method, path, status):
            # PostgreSQL's texts cannot hold the character of number 0.
            action = f"{method} {path}".replace("\0", "%00")
            entry = audit.Entry(self._plane.clock(), actor_of(connection), address, action, status)
            try:
                await self._plane.database.run(audit.record, self._plane.database, entry)
            except Exception:
                # A boundary: the answer has gone out, and the database may be away for a moment.
                LOG.exception("cannot write to the audit log: %s", entry)

    async def _refuse(self, refused: _RefusedError, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {"WWW-Authenticate": 'Bearer realm="kongdp"'} if refused.status == 401 else {}
        if refused.retry_after_s:
            headers["Retry-After"] = str(math.ceil(refused.retry_after_s))
        response = problem(refused.status, str(refused), headers=headers)
        await response(scope, receive, send)

    def _is_for_all(self, shown: _Shown, need: Need, method: str) -> bool:
        """Whether nobody need say who they are, and nobody has."""
        return need.role is None or (shown.is_empty and (self._is_open or method == "OPTIONS"))

    def _admit(self, shown: _Shown, need: Need, method: str, address: str) -> Identity:
        """Who it is; raises _RefusedError. Asks the database."""
        if shown.is_empty:
            raise _RefusedError(401, "credentials are required: an access token, a session, or name and password")
        try:
            identity = self._identify(shown, method, address)
        except SignInError as error:
            status = 429 if error.retry_after_s else 401
            raise _RefusedError(status, str(error), error.retry_after_s) from None
        group_id = None if need.group is None else self._group_id(need.group)
        if need.role not in (None, "none") and not identity.may(need.role, group_id):
            where = "" if need.group is None else f" in the runtime group {need.group!r}"
            raise _RefusedError(403, f"this takes the role {need.role}{where}", identity=identity)
        return identity

    def _identify(self, shown: _Shown, method: str, address: str) -> Identity:
        plane = self._plane
        if shown.basic:
            name, password = _name_and_password(shown.basic)
            user = plane.accounts.sign_in(name, password, address)
            identity = users.identity_of(plane.database, user.id, via="password")
        elif shown.token:
            plane.accounts.check_address(address)
            identity = users.try_token(plane.database, shown.token, plane.clock())
            if identity is None:
                plane.accounts.wrong_token(address)
        else:
            identity = users.try_session(plane.database, shown.session, plane.clock(), is_use=not shown.is_unattended)
            if identity is not None and method not in SAFE:
                _check_csrf(shown)
        if identity is None:
            raise _RefusedError(401, "the access token or session is unknown, or it is over")
        return identity

    def _group_id(self, id_or_name: str) -> str:
        """The id of a group; of one that is not there, what nobody has a role in but those who have it everywhere."""
        if "\0" in id_or_name:
            return ""
        with self._plane.database.read() as connection:
            group = groups.find(connection, id_or_name)
        return group.id if group is not None else ""


def _shown(connection: HTTPConnection) -> _Shown:
    headers = connection.headers
    scheme, _space, value = headers.get("authorization", "")[:CREDENTIALS_MAX].partition(" ")
    token = value.strip() if scheme.lower() == "bearer" else headers.get("kong-admin-token", "")[:CREDENTIALS_MAX]
    return _Shown(
        token=token,
        basic=value.strip() if scheme.lower() == "basic" else "",
        session=session_of(headers),
        csrf=headers.get(CSRF_HEADER, ""),
        is_unattended=UNATTENDED in connection.scope,
    )


def session_of(headers: Headers) -> str:
    """The session's secret in a request's cookies."""
    return cookie_parser(headers.get("cookie", "")[:CREDENTIALS_MAX]).get(COOKIE, "")


def _tell_browser(message: Message, headers: Headers, is_ours: bool) -> None:
    """Let the page of a request read the answer, or see to it that it cannot."""
    if "origin" not in headers:
        return
    answer = MutableHeaders(raw=message["headers"])
    if is_ours:
        answer.update(origins.answer_fields(headers))
    elif "access-control-allow-origin" in answer:
        del answer["access-control-allow-origin"]


def _name_and_password(text: str) -> tuple[str, str]:
    try:
        decoded = base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        raise _RefusedError(401, "the basic credentials cannot be read") from None
    name, colon, password = decoded.partition(":")
    if not colon or "\0" in name:
        raise _RefusedError(401, "the basic credentials cannot be read")
    return name, password


def _check_csrf(shown: _Shown) -> None:
    if not hmac.compare_digest(shown.csrf.encode(), users.csrf_token(shown.session).encode()):
        raise _RefusedError(403, f"a session that changes something must send its {CSRF_HEADER}")


def _is_audited(method: str, path: str, status: int) -> bool:
    if status in (401, 403):
        return True
    if method in SAFE or not path.startswith("/v2/"):
        return False
    parts = path.split("/")
    return not (len(parts) > 4 and parts[2] == "control-planes" and parts[4] in UNAUDITED)
