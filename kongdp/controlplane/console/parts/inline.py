"""Text that is edited where it stands: a click on it, or on its pencil, makes it a field.

Enter, the checkmark or (of a line of text) a click elsewhere saves, Escape gives up; what the API says is wrong stands
at the field. Cold.
Source: walkthrough, section 3.
"""

from collections.abc import Awaitable, Callable

from nicegui import ui

from kongdp.controlplane.console.asking import RefusedError
from kongdp.controlplane.console.parts.buttons import icon_button
from kongdp.controlplane.console.visit import said

Save = Callable[[str], Awaitable[None]]
# The two buttons beside the field say themselves what is to be done; a page that is left says nothing.
ELSEWHERE = """(event) => {
    const box = event.target.closest(".inline-text");
    if (document.hasFocus() && !box.contains(event.relatedTarget)) emit();
}"""


class InlineText:
    """A text with its field. `name` is what screen readers call it, `shown` stands where the text is empty, `tag` is the
    element that the text is (a heading has no button in it).
    """

    def __init__(
        self, text: str, name: str, save: Save, *, shown: str = "", is_long: bool = False, tag: str = "div"
    ) -> None:
        self._text = text
        self._save = save
        # A field that is left because it was saved is not saved again.
        self._is_saving = False
        with ui.element("div").classes("inline-text") as self._reading:
            with ui.element(tag).classes("editable").on("click", self._edit):
                ui.label(text or shown)
            icon_button("edit", f"Edit {name}", self._edit)
        with ui.element("div").classes("inline-text") as self._editing:
            make = ui.textarea if is_long else ui.input
            self._field = make(label=name.capitalize(), value=text).props("outlined dense").classes("inline-field")
            icon_button("check", f"Save {name}", self._done)
            icon_button("close", f"Leave {name} as it was", self._give_up)
        if not is_long:
            self._field.on("keydown.enter", self._done)
            self._field.on("blur", self._done, js_handler=ELSEWHERE)
        self._field.on("keydown.escape", self._give_up)
        self._editing.visible = False

    def _edit(self) -> None:
        self._reading.visible, self._editing.visible = False, True
        self._field.run_method("focus")

    def _read(self) -> None:
        self._reading.visible, self._editing.visible = True, False

    def _give_up(self) -> None:
        self._field.value, self._field.error = self._text, None
        self._read()

    async def _done(self) -> None:
        typed = str(self._field.value or "")
        if typed == self._text:
            self._read()
            return
        if self._is_saving:
            return
        self._is_saving = True
        try:
            await self._save(typed)
        except RefusedError as error:
            if error.status == 401:
                raise
            self._field.error = next(iter(error.fields.values()), said(error))
        finally:
            self._is_saving = False
