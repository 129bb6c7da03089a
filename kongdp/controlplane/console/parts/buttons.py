"""Buttons and links that look like them: one main action, quiet ones beside it, destructive ones in red. Cold."""

import inspect
from collections.abc import Callable
from typing import Any

from nicegui import events, ui

OnClick = Callable[[], Any]
# The second click of a double click is none: what was made once is not made twice.
SINGLE_CLICK = "(event) => { if (event.detail < 2) emit(); }"


def main_button(text: str, on_click: OnClick, *, icon: str = "") -> ui.button:
    """What most people came here to do."""
    return _acting_once(text, on_click, icon, "main-button")


def telling_button(text: str, on_click: Callable[[Any], Any], tells: str) -> ui.button:
    """A main button that says with its click what only the browser knows: the value of a JavaScript expression."""

    def told(event: events.GenericEventArguments) -> Any:
        return on_click(event.args)

    return _button(text, None, "", "main-button").on("click", told, js_handler=f"() => emit({tells})")


def quiet_button(text: str, on_click: OnClick, *, icon: str = "") -> ui.button:
    """Anything else."""
    return _button(text, on_click, icon, "quiet-button")


def danger_button(text: str, on_click: OnClick, *, icon: str = "") -> ui.button:
    """What destroys something; it asks first (`dialogs.confirm`)."""
    return _acting_once(text, on_click, icon, "danger-button")


def icon_button(icon: str, label: str, on_click: OnClick) -> ui.button:
    """A button without room for its name, which is said and shown as a tooltip."""
    button = (
        ui.button(icon=icon, on_click=on_click, color=None).props("flat round dense no-caps").classes("icon-button")
    )
    button.props["aria-label"] = label
    with button:
        ui.tooltip(label)
    return button


def main_link(text: str, path: str) -> ui.element:
    """A link as the main action."""
    return _link(text, path, "main-button")


def quiet_link(text: str, path: str, *, icon: str = "") -> ui.element:
    """A link among actions."""
    return _link(text, path, "quiet-button", icon)


def menu_button(text: str, choices: list[tuple[str, OnClick]]) -> ui.button:
    """A button that opens a menu of actions."""
    button = ui.button(text, icon="expand_more", color=None).props("no-caps unelevated aria-haspopup=menu")
    button.classes("quiet-button icon-right")
    with button, ui.menu():
        for name, on_click in choices:
            ui.menu_item(name, on_click).props("role=menuitem")
    return button


def _acting_once(text: str, on_click: OnClick, icon: str, kind: str) -> ui.button:
    """A button that takes no further click while it is at work."""
    is_busy = False

    async def run(_event: events.GenericEventArguments) -> None:
        nonlocal is_busy
        if is_busy:
            return
        is_busy = True
        try:
            result = on_click()
            # A dialog is awaitable, too, which opens it: closing one returns it.
            if inspect.iscoroutine(result):
                await result
        finally:
            is_busy = False

    button = _button(text, None, icon, kind)
    button.on("click", run, js_handler=SINGLE_CLICK)
    return button


def _button(text: str, on_click: OnClick | None, icon: str, kind: str) -> ui.button:
    return ui.button(text, on_click=on_click, icon=icon or None, color=None).props("no-caps unelevated").classes(kind)


def _link(text: str, path: str, kind: str, icon: str = "") -> ui.element:
    element = ui.element("a").classes(f"button-link {kind}")
    element.props["href"] = path
    with element:
        if icon:
            ui.icon(icon).props('aria-hidden="true"')
        ui.label(text)
    return element
