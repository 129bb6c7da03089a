"""What a page shows when there is nothing to show: an error, or an empty list with the first step. Cold."""

from collections.abc import Callable
from typing import Any

from nicegui import ui

from kongdp.controlplane.console.asking import RefusedError, waiting
from kongdp.controlplane.console.parts.buttons import main_button, main_link

TITLES = {403: "Not allowed", 404: "Not found", 429: "Too many attempts"}


def problem(error: RefusedError) -> None:
    """The API's error instead of a page's content."""
    with ui.element("section").classes("state").props('role="alert"'):
        ui.icon("block" if error.status == 403 else "error_outline").props('aria-hidden="true"')
        with ui.element("h1"):
            ui.label(TITLES.get(error.status, "This cannot be shown"))
        ui.label(error.message + (f": try again in {waiting(error.wait_s)}" if error.wait_s else ""))
        main_link("To the overview", "/")


def empty(
    text: str, hint: str, *, icon: str = "inbox", action: str = "", on_click: Callable[[], Any] | None = None
) -> None:
    """An empty list: what it is for, and the first step."""
    with ui.element("div").classes("state"):
        ui.icon(icon).props('aria-hidden="true"')
        ui.label(text).classes("state-text")
        ui.label(hint).classes("hint")
        if action and on_click is not None:
            main_button(action, on_click)
