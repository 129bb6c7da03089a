"""The place of a complaint at what has none of its own: a switch, a group of fields. Cold."""

from nicegui import ui


class Complaint(ui.label):
    """A line of text after `about`; without an `error` it takes no room. A switch gets the focus itself, a group's line does."""

    def __init__(self, about: ui.element) -> None:
        super().__init__("")
        self.classes("complaint").props('role="alert" tabindex="-1"')
        self.visible = False
        self._about = about
        self._error: str | None = None

    @property
    def error(self) -> str | None:
        """What is wrong; None takes it away."""
        return self._error

    @error.setter
    def error(self, text: str | None) -> None:
        if text == self._error:
            return
        self._error = text
        self.text, self.visible = text or "", text is not None
        described = {"aria-describedby": self.html_id}
        if isinstance(self._about, ui.switch):
            described["aria-invalid"] = "true"
        for name, value in described.items():
            if text is None:
                self._about.props.pop(name, None)
            else:
                self._about.props[name] = value

    def lead_there(self) -> None:
        """Put the focus there."""
        if isinstance(self._about, ui.switch):
            # Quasar's switch has no method for it.
            self.client.run_javascript(f"getHtmlElement({self._about.id})?.focus()")
        else:
            self.run_method("focus")
