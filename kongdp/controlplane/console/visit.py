"""One visit of one page: who looks, how to ask, and what happens when the API refuses.

In: a request that the door has let in.  Out: a `Visit` for a screen's function, which is registered by `screen`.
House rule: no screen handles sessions, redirects or unexpected errors itself. Cold.
"""

import inspect
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from nicegui import ui
from starlette.responses import RedirectResponse, Response

from kongdp.controlplane.access import Identity
from kongdp.controlplane.api.actors import IDENTITY
from kongdp.controlplane.console import layout
from kongdp.controlplane.console.asking import Asking, RefusedError, waiting
from kongdp.controlplane.console.door import ASK, PLACES, SIGN_IN, Places
from kongdp.controlplane.console.parts import states

LOG = logging.getLogger("kongdp.controlplane.console")
# What a page may take before its visitor is told so; lists ask for one page of rows, which takes milliseconds.
BUILD_S = 20.0
UNEXPECTED = "Something went wrong here. The control plane's log has the details."

Screen = Callable[..., Awaitable[Response | None]]


@dataclass(frozen=True, slots=True)
class Visit:
    """One page that somebody looks at. `host` is the control plane's name in the browser, `portal` and `admin` the addresses
    of developer portal and Admin API there, `menu` the entry of the menu that the page belongs to.
    """

    ask: Asking
    identity: Identity
    path: str
    query: str
    host: str = ""
    portal: str = ""
    admin: str = ""
    menu: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)

    def may(self, role: str, group_id: str | None = None) -> bool:
        """Whether to offer something at all; the API decides anyway."""
        return self.identity.may(role, group_id)

    def address(self, **changes: object) -> str:
        """This page's address with other query arguments; those that are None or "" are left out, and the open dialog."""
        asked = {**self.arguments, "dialog": None, **changes}
        kept = {name: value for name, value in asked.items() if value not in (None, "")}
        return self.path + (f"?{urlencode(kept)}" if kept else "")


def screen(path: str, *, title: str, menu: str = "") -> Callable[[Screen], Screen]:
    """Register a page. Its function is given a Visit, and arguments of path and query by name."""

    def register(function: Screen) -> Screen:
        takes = list(inspect.signature(function).parameters.values())[1:]
        queried = [each.name for each in takes if "{" + each.name not in path]

        @wraps(function)
        async def page(request: Request, **arguments: Any) -> Response | None:
            shown = {name: arguments[name] for name in queried if name in arguments}
            scope = request.scope
            host = request.url.hostname or ""
            places: Places = scope[PLACES]
            visit = Visit(
                scope[ASK],
                scope[IDENTITY],
                request.url.path,
                request.url.query,
                host,
                f"{places.portal.seen_from(host)}/" if places.portal else "",
                places.admin.seen_from(host) if places.admin else "",
                menu,
                shown,
            )
            ui.on_exception(partial(_on_error, visit))
            try:
                with layout.frame(visit):
                    return await function(visit, **arguments)
            except RefusedError as refused:
                if refused.status == 401:
                    return RedirectResponse(sign_in_address(visit), 303)
                ui.context.client.status_code = refused.status
                with layout.content():
                    states.problem(refused)
            return None

        first = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Request)
        page.__signature__ = inspect.Signature([first, *takes])  # type: ignore[attr-defined]
        ui.page(path, title=f"{title} · kongdp", response_timeout=BUILD_S)(page)
        return function

    return register


def sign_in_address(visit: Visit) -> str:
    """Where to sign in again and come back."""
    wanted = visit.path + (f"?{visit.query}" if visit.query else "")
    return f"{SIGN_IN}?next={quote(wanted, safe='')}"


def _on_error(visit: Visit, error: Exception) -> None:
    """Something failed in an event handler: say what the API said, or that it is our mistake."""
    if not isinstance(error, RefusedError):
        LOG.error("%s failed: %s", visit.path, type(error).__name__, exc_info=error)
        tell(UNEXPECTED)
    elif error.status == 401:
        ui.navigate.to(sign_in_address(visit))
    else:
        tell(said(error))


def reload() -> None:
    """The page again, as it is now, without the dialog that was open over it."""
    ui.run_javascript("consoleAt('dialog', ''); location.reload()")


def leave(path: str) -> None:
    """Another page; the way back from it leads to this one, without the dialog that was open over it."""
    ui.run_javascript(f"consoleAt('dialog', ''); location.assign({json.dumps(path)})")


def said(error: RefusedError) -> str:
    """An error in one sentence."""
    inner = "; ".join(f"{name}: {text}" for name, text in error.fields.items() if text != error.message)
    text = f"{error.message} ({inner})" if inner else error.message
    return f"{text}: try again in {waiting(error.wait_s)}" if error.wait_s else text


def tell(text: str, *, is_good: bool = False) -> None:
    """A short message over the page, spoken by screen readers."""
    ui.notify(
        text,
        type="positive" if is_good else "negative",
        position="bottom",
        actions=[{"label": "Dismiss", "color": "white"}],
        multi_line=True,
        timeout=4_000 if is_good else 12_000,
    )
