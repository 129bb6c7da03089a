"""**Create routes** of a version's spec: which ones it would make, chosen by tick boxes, made all or none. Cold."""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from kongdp.controlplane.console.asking import at
from kongdp.controlplane.console.parts.buttons import main_button, quiet_button
from kongdp.controlplane.console.parts.dialogs import dialog
from kongdp.controlplane.console.parts.form import Form
from kongdp.controlplane.console.visit import Visit, reload

SHOWN_MAX = 200


async def offer(visit: Visit, version: Mapping[str, Any]) -> None:
    """The dialog."""
    path = at("/v2/catalogue/versions/{}/spec/routes", version["id"])
    found = await visit.ask.get(path)
    form = Form()
    boxes: dict[str, ui.checkbox] = {}
    with dialog("Create routes from the spec", is_wide=True) as shown:
        for route in found["routes"][:SHOWN_MAX]:
            box = ui.checkbox(f"{route['method'].upper()} {route['path']}", value=not route["exists"])
            if route["exists"]:
                box.disable()
            else:
                boxes[route["name"]] = box
        if len(found["routes"]) > SHOWN_MAX:
            ui.label(f"{len(found['routes']) - SHOWN_MAX} more are not shown here; the API makes them all.").classes(
                "hint"
            )
        form.problem()

        async def create() -> None:
            body = {"names": [name for name, box in boxes.items() if box.value]}
            if await form.submit(lambda: visit.ask.post(path, body)):
                reload()

        with ui.element("div").classes("dialog-actions"):
            quiet_button("Cancel", shown.close)
            main_button("Create", create)
