"""A version's OpenAPI spec, rendered. Cold. Source: walkthrough, section 5."""

from nicegui import ui

from kongdp.controlplane.console import layout
from kongdp.controlplane.console.asking import at
from kongdp.controlplane.console.parts.code import code
from kongdp.controlplane.console.parts.spec_view import spec_view
from kongdp.controlplane.console.screens.service import HUB, version_address
from kongdp.controlplane.console.visit import Visit, screen


@screen("/services/{service}/versions/{version}/spec", title="Spec", menu="services")
async def spec(visit: Visit, service: str, version: str, view: str = "") -> None:
    """The page; `view=file` shows the file itself."""
    found = await visit.ask.get(at("/v2/catalogue/versions/{}", version))
    owner = await visit.ask.get(at("/v2/catalogue/services/{}", found["service_id"]))
    path = at("/v2/catalogue/versions/{}/spec", version)
    file = await visit.ask.get(path)
    crumbs = [
        HUB,
        (owner["name"], at("/services/{}", owner["id"])),
        (found["name"], version_address(owner["id"], found["id"])),
    ]
    layout.heading(visit, file["title"] or "Spec", crumbs=crumbs, about=file["dialect"])
    choices = [("", "Rendered", visit.address(view=None)), ("file", "File", visit.address(view="file"))]
    layout.tabs(visit, choices, "file" if view == "file" else "", label="Spec")
    with layout.card("Spec"), ui.element("div").classes("form"):
        if view == "file":
            code(file["content"], label=file["name"])
        else:
            spec_view(await visit.ask.get(path + "/view"))
