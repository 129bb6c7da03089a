"""HTML on a page: only what the API says is safe, and cleaned once more in the browser (DOMPurify). Cold."""

from nicegui import ui


def markup(html: str) -> ui.html:
    """A rendered document."""
    return ui.html(html, sanitize=True).classes("document")
