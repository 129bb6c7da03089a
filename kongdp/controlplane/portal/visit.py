"""One request to the portal: who it is, whether a form is ours, what goes into the audit log, how a page is made.

In: a Starlette request.  Out: a Visit, which page functions are given. A form carries a token worked out from two cookies,
which no other site can read; where the browser names an origin, it must be ours. Cold.
"""

import hashlib
import hmac
import logging
import secrets
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from kongdp.controlplane import audit, markdown, portal_settings
from kongdp.controlplane.developers import Developer
from kongdp.controlplane.plane import Plane
from kongdp.controlplane.portal_rooms import PortalRooms
from kongdp.controlplane.portal_settings import PortalSettings

P = ParamSpec("P")
T = TypeVar("T")

LOG = logging.getLogger("kongdp.controlplane.portal")
SESSION = "kongdp_portal_session"
FORM = "kongdp_portal_form"
FORM_BYTES_MAX = 65_536
FIELDS_MAX = 20
COOKIE_LENGTH_MAX = 200
SIGN_IN = "/sign-in"


class LeaveError(Exception):
    """Ends a page function with another answer."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


@dataclass
class Visit:
    """A request, and what pages need for answering it."""

    request: Request
    plane: Plane
    rooms: PortalRooms
    settings: PortalSettings
    developer: Developer | None
    form_secret: str
    session: str
    form: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where the visitor is."""
        return self.request.client.host if self.request.client is not None else "unix socket"

    @property
    def actor(self) -> str:
        """Who does what is done, for revisions and the audit log."""
        return f"developer {self.developer.email}" if self.developer is not None else "portal"

    @property
    def token(self) -> str:
        """What a form must send back."""
        return form_token(self.form_secret, self.session)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call what asks the database, off the event loop."""
        return await self.plane.database.run(function, *args, **kwargs)

    def member(self) -> Developer:
        """The developer; whoever has not signed in is sent to do so."""
        if self.developer is None:
            raise LeaveError(self.to_sign_in())
        return self.developer

    def to_sign_in(self) -> Response:
        """To the form, and back here afterwards."""
        here = self.request.url.path
        wanted = f"?next={quote(here, safe='')}" if self.request.method == "GET" and here != "/" else ""
        return RedirectResponse(SIGN_IN + wanted, 303)

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page."""
        usual = {
            "token": Markup('<input type="hidden" name="token" value="{}">').format(self.token),
            "settings": self.settings,
            "developer": self.developer,
            "path": self.request.url.path,
        }
        response = HTMLResponse(TEMPLATES.get_template(template).render(**usual, **values), status)
        self.set_cookie(response, FORM, self.form_secret, "strict")
        return response

    def set_cookie(self, response: Response, name: str, value: str, same_site: Any) -> None:
        """A cookie that scripts cannot read."""
        is_tls = self.request.url.scheme == "https"
        response.set_cookie(name, value, path="/", secure=is_tls, httponly=True, samesite=same_site)

    async def record(self, status: int) -> None:
        """Put what was asked for into the audit log."""
        action = f"portal: {self.request.method} {self.request.url.path}"
        entry = audit.Entry(self.plane.clock(), self.actor, self.address, action, status)
        try:
            await self.run(audit.record, self.plane.database, entry)
        except Exception:
            # A boundary: what was done is done, and the database may be away for a moment.
            LOG.exception("cannot write to the audit log: %s", entry)


async def begin(request: Request, plane: Plane, rooms: PortalRooms) -> Visit:
    """The visit of a request. Raises LeaveError for a form that is not ours."""
    session = request.cookies.get(SESSION, "")[:COOKIE_LENGTH_MAX]
    form_secret = request.cookies.get(FORM, "")[:COOKIE_LENGTH_MAX]

    def read() -> tuple[PortalSettings, Developer | None]:
        developer = rooms.developers.try_session(session)
        with plane.database.read() as connection:
            settings = portal_settings.read(connection)
        # A public portal has no accounts: everyone sees the same.
        return settings, None if settings.is_public else developer

    settings, developer = await plane.database.run(read)
    visit = Visit(request, plane, rooms, settings, developer, form_secret or secrets.token_urlsafe(16), session)
    if request.method == "POST":
        visit.form = await _form(request)
        if not (_is_same_origin(request) and _is_token(visit.form.get("token", ""), form_secret, session)):
            raise LeaveError(
                visit.page("problem.html", 403, title="Please try again", text="This form is too old, or not ours.")
            )
    return visit


def form_token(form_secret: str, session: str) -> str:
    """The token of a visitor's forms; another after signing in or out."""
    text = f"portal form {form_secret} {session}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def inside(address: str) -> str:
    """An address of this portal, or "/": nobody is sent anywhere else after signing in."""
    is_path = address.startswith("/") and not address.startswith(("//", "/\\", SIGN_IN)) and address.isprintable()
    return quote(address, safe="/?&=%+:@,;~._-") if is_path else "/"


def _is_token(shown: str, form_secret: str, session: str) -> bool:
    return bool(form_secret) and hmac.compare_digest(shown.encode(), form_token(form_secret, session).encode())


def _is_same_origin(request: Request) -> bool:
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host", "")


async def _form(request: Request) -> dict[str, str]:
    """The fields of a small urlencoded form. Raises LeaveError for a large one."""
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > FORM_BYTES_MAX:
            raise LeaveError(Response(f"a form has at most {FORM_BYTES_MAX} bytes", 413))
        pieces.append(piece)
    try:
        text = b"".join(pieces).decode("utf-8", "replace")
        parsed = parse_qs(text, keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        raise LeaveError(Response(f"a form has at most {FIELDS_MAX} fields", 400)) from None
    return {name: values[0] for name, values in parsed.items()}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


TEMPLATES = Environment(
    loader=PackageLoader("kongdp.controlplane.portal"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip
TEMPLATES.filters["markdown"] = lambda text: Markup(markdown.render(text))  # made safe there
TEMPLATES.filters["moment"] = _moment
# What people copy into a shell is one word there, whatever characters a route's path has.
TEMPLATES.filters["shell"] = shlex.quote
