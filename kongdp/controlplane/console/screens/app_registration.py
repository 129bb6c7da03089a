"""**Enable app registration** of a version, and the way back. Cold. Source: walkthrough, section 12."""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from kongdp.controlplane.console.asking import at
from kongdp.controlplane.console.parts.buttons import main_button, quiet_button
from kongdp.controlplane.console.parts.dialogs import confirm, dialog
from kongdp.controlplane.console.parts.form import Form
from kongdp.controlplane.console.visit import Visit, reload


def _path(version: Mapping[str, Any]) -> str:
    return at("/v2/catalogue/versions/{}/app-registration", version["id"])


def enable(visit: Visit, version: Mapping[str, Any]) -> None:
    """The dialog: auth type and **Auto-Approve**."""
    form = Form()
    with dialog("Enable app registration") as shown:
        ui.label("Requests to this version will need a key of a registered application.")
        with ui.element("div").classes("form"):
            form.choice("auth_type", "Auth type", ["key-auth"], "key-auth")
            form.switch("auto_approve", "Auto-Approve")
            form.problem()

        async def save() -> None:
            values = form.values()
            if values is not None and await form.submit(lambda: visit.ask.put(_path(version), values)):
                reload()

        with ui.element("div").classes("dialog-actions"):
            quiet_button("Cancel", shown.close)
            main_button("Enable", save)


def disable(visit: Visit, version: Mapping[str, Any]) -> None:
    """Asks first: the version answers without a key afterwards."""

    async def delete() -> None:
        await visit.ask.delete(_path(version))
        reload()

    goes = ["the key-auth and acl plugins of this version: it answers without a key again"]
    confirm("Disable app registration", delete, goes=goes, action="Disable")
