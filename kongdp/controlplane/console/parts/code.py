"""Text to be copied: a command, a certificate, a declaration. Copying happens in the browser, by console.js. Cold."""

from nicegui import ui


def code(text: str, *, button: str = "Copy", label: str = "", is_folded: bool = False) -> ui.element:
    """A block with a button that copies it; `is_folded`: its text is seen only after **Show**."""
    box = ui.element("div").classes("code")
    with box:
        with ui.element("div").classes("code-bar"):
            ui.label(label).classes("code-label")
            copying = ui.button(button, icon="content_copy", color=None).props("no-caps unelevated dense")
            copying.classes("quiet-button").on("click", js_handler="(event) => consoleCopy(event)")
        if is_folded:
            with ui.element("details"):
                with ui.element("summary"):
                    ui.label("Show")
                _text(text, label or button)
        else:
            _text(text, label or button)
    return box


def copy_icon(label: str) -> None:
    """A small button that copies the `.copy-text` beside it, within a `.copyable`."""
    button = ui.button(icon="content_copy", color=None).props("flat round dense no-caps").classes("icon-button")
    button.props["aria-label"] = label
    button.on("click", js_handler="(event) => consoleCopy(event)")
    with button:
        ui.tooltip(label)


def _text(text: str, label: str) -> None:
    with ui.element("pre").props('tabindex="0"') as block:
        block.props["aria-label"] = label
        # Text, never HTML.
        ui.element("code").props["textContent"] = text
