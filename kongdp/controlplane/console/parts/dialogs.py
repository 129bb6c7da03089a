"""Dialogs: one that holds a form, and one that asks before something is destroyed.

House rule: a question names what will go. Focus goes into a dialog and back to what opened it (Quasar's). Cold.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from nicegui import ui

from kongdp.controlplane.console.parts.buttons import danger_button, quiet_button

LISTED_MAX = 10


@contextmanager
def dialog(title: str, *, is_wide: bool = False, key: str = "") -> Iterator[ui.dialog]:
    """A dialog, open at once and gone when closed; the block makes its content.

    `key`: what the page's address says of it while it is open (`?dialog=`); its screen opens it by that (`open_asked`).
    """
    with ui.dialog(value=True).props('transition-duration="100"') as shown:
        shown.props["aria-label"] = title
        closed = "() => { consoleAt('dialog', ''); emit(); }" if key else "() => emit()"
        shown.on("hide", lambda: shown.delete(), js_handler=closed)
        if key:
            ui.run_javascript(f"consoleAt('dialog', {key!r})")
        with ui.element("div").classes("dialog wide" if is_wide else "dialog") as box:
            box.on("keydown.enter", js_handler="(event) => consoleEnter(event)")
            with ui.element("h2").classes("dialog-title"):
                ui.label(title)
            yield shown
    # Whoever opened it can type at once; a list is left closed.
    first = next((each for each in shown.descendants() if isinstance(each, ui.input | ui.textarea | ui.select)), None)
    if first is not None and not isinstance(first, ui.select):
        first.props("autofocus")


async def open_asked(key: str, dialogs: Mapping[str, Callable[[], Any]]) -> None:
    """Open the dialog that an address asks for, if the visitor is offered it."""
    result = dialogs[key]() if key in dialogs else None
    if inspect.isawaitable(result):
        await result


def confirm(
    title: str,
    on_confirm: Callable[[], Awaitable[None]],
    *,
    goes: Sequence[str],
    action: str = "Delete",
    stays: str = "",
    name: str = "",
) -> None:
    """Ask before destroying something. `goes`: what will be gone; `name`: must be typed before it is done."""
    with dialog(title) as shown:
        ui.label("This will be gone:" if goes else "")
        with ui.element("ul").classes("goes"):
            for each in goes[:LISTED_MAX]:
                with ui.element("li"):
                    ui.label(each)
            if len(goes) > LISTED_MAX:
                with ui.element("li"):
                    ui.label(f"and {len(goes) - LISTED_MAX} more")
        if stays:
            ui.label(stays).classes("hint")
        typed = ui.input(f"Type {name} to confirm").props("outlined dense") if name else None

        async def run() -> None:
            if typed is not None and typed.value != name:
                typed.error = f"This is not {name}"
                return
            await on_confirm()
            shown.close()

        with ui.element("div").classes("dialog-actions"):
            quiet_button("Cancel", shown.close)
            danger_button(action, run)
