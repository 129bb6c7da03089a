"""**Password link** of a developer: made after asking, shown once, to be passed on by whoever made it. Cold.

We send no mail: see `developer_passwords`.
"""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from kongdp.controlplane.console.asking import at
from kongdp.controlplane.console.parts.buttons import main_button, quiet_button
from kongdp.controlplane.console.parts.code import code
from kongdp.controlplane.console.parts.dialogs import dialog
from kongdp.controlplane.console.parts.facts import moment
from kongdp.controlplane.console.parts.form import Form
from kongdp.controlplane.console.visit import Visit


def offer(visit: Visit, developer: Mapping[str, Any]) -> None:
    """The dialog."""
    form = Form()
    made: dict[str, Any] = {}
    with dialog("Password link") as shown:
        with ui.element("div").classes("form") as text:
            ui.label(f"{developer['email']} can set a new password by it: once, within a day.")
            ui.label("A link made before works no more. The present password does, until the new one is set.").classes(
                "hint"
            )
            form.problem()

        async def make() -> None:
            async def call() -> None:
                made.update(await visit.ask.post(at("/v2/portal/developers/{}/password-link", developer["id"])))

            if await form.submit(call):
                _show_once(visit, text, developer, made)
                buttons.clear()
                with buttons:
                    main_button("Done", shown.close)

        with ui.element("div").classes("dialog-actions") as buttons:
            quiet_button("Cancel", shown.close)
            main_button("Make link", make)


def _show_once(visit: Visit, text: ui.element, developer: Mapping[str, Any], made: Mapping[str, Any]) -> None:
    text.clear()
    with text:
        ui.label(f"Copy it now, and give it to {developer['email']}: it is not shown again.").props('role="status"')
        code(visit.portal.rstrip("/") + made["path"], label="Password link")
        ui.label(f"It works once, until {moment(made['expires_at'])}.").classes("hint")
        if not visit.portal:
            ui.label("This is the part below the portal's address: kongdp_portal_listen is off.").classes("hint")
