"""From one moment to another: two fields for dates. What goes into an address is a moment in UTC, so that a link shows the same
everywhere; the fields have it in the browser's zone, or in UTC where that is chosen. Cold.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from nicegui import ui

from kongdp.controlplane.console.parts.buttons import telling_button
from kongdp.controlplane.console.parts.form import Form

FIELDS = ("start", "end")
CUSTOM = "custom"


class Dates:
    """The fields of a form, from left to right; make them where they belong."""

    def __init__(self, form: Form, *, is_utc: bool = False, needs_start: bool = True) -> None:
        self._form = form
        self._is_utc = is_utc
        zone = " (UTC)" if is_utc else ""
        form.text("start", f"From{zone}", is_required=needs_start)
        form.text("end", f"To{zone}", hint="Empty: now")
        self._elements = [form.fields[name].element for name in FIELDS]
        for element in self._elements:
            element.props("type=datetime-local stack-label step=60")

    def button(self, text: str, on_click: Callable[[str, str], Any]) -> ui.button:
        """A button that knows both moments as the browser has them; "" is none."""
        ids = [element.id for element in self._elements]
        tells = f"{ids}.map((id) => consoleMoment(id, {str(self._is_utc).lower()}))"
        return telling_button(text, lambda moments: on_click(*(str(each) for each in moments)), tells)

    def fill(self, moments: Mapping[str, float]) -> None:
        """Put moments in Unix time into the fields of these names."""
        names = [name for name in FIELDS if name in moments]
        held = [int(moments[name]) for name in names]
        if self._is_utc:
            self._put(names, [f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M}" for at in held])
        elif names:
            # Only the browser knows its zone.
            ui.on("console-dates", lambda event: self._put(names, event.args))
            ui.run_javascript(f"emitEvent('console-dates', {held}.map(consoleLocal))")

    def _put(self, names: list[str], texts: Any) -> None:
        for name, text in zip(names, texts, strict=False):
            self._form.fields[name].element.value = str(text)
