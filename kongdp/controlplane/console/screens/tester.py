"""The **Route tester**: which route would answer this request? Answered by the data planes' own router. Cold."""

from typing import Any

from nicegui import ui

from kongdp.controlplane.console import layout
from kongdp.controlplane.console.asking import RefusedError, at
from kongdp.controlplane.console.parts import states
from kongdp.controlplane.console.parts.buttons import main_button
from kongdp.controlplane.console.parts.facts import facts
from kongdp.controlplane.console.parts.form import Form
from kongdp.controlplane.console.parts.kinds import address_of, name_of
from kongdp.controlplane.console.screens.group import group_heading
from kongdp.controlplane.console.visit import Visit, screen

ABOUT = "Which route would answer this request, on a data plane that has the newest configuration?"
USUAL_URL = "http://localhost:8000/mock"


@screen("/runtimes/{group}/tester", title="Route tester", menu="runtimes")
async def route_tester(visit: Visit, group: str, method: str = "GET", url: str = "", fields: str = "") -> None:
    """A request, and its route. The question is the page's address, so that it can be sent to somebody."""
    found, _actions = await group_heading(visit, group, "tester")
    form = Form()
    with layout.card("Request"):
        ui.label(ABOUT).classes("hint")
        with ui.element("div").classes("form"):
            lines_of_text = (
                form.text("method", "Method", method, is_required=True),
                form.text("url", "URL", url or USUAL_URL, hint="As a client would ask for it", is_required=True),
            )
            form.lines("header", "Header fields", fields.splitlines(), hint="name: value, one a line")
            form.problem()

        def ask() -> None:
            values = form.values()
            if values is not None:
                lines = "\n".join(values["header"])
                ui.navigate.to(visit.address(method=values["method"], url=values["url"], fields=lines))

        for each in lines_of_text:
            each.on("keydown.enter", ask)
        with ui.element("div").classes("actions"):
            main_button("Find route", ask, icon="alt_route")
    if url:
        await _answer(visit, found["id"], form, method, url, fields.splitlines())


async def _answer(visit: Visit, group_id: str, form: Form, method: str, url: str, lines: list[str]) -> None:
    path = at("/v2/control-planes/{}/route-match", group_id)
    try:
        match = (await visit.ask.get(path, method=method, url=url, header=lines or None))["match"]
    except RefusedError as error:
        if error.status != 400:
            raise
        form.refused(error)
        return
    with layout.card("Answer"):
        if match is None:
            states.empty(
                "No route matches", "The gateway answers 404: no Route matched with those values", icon="block"
            )
        else:
            _show(group_id, match)


def _show(group_id: str, match: dict[str, Any]) -> None:
    route, service = match["route"], match["service"]
    with layout.section(f"Route {name_of(route)}"):
        with layout.link(address_of(group_id, "routes", route)):
            ui.label("Open the route")
        if service is not None:
            with layout.link(address_of(group_id, "services", service)):
                ui.label("Open the Gateway service")
    captures = ", ".join(f"{name} = {value}" for name, value in match["captures"].items())
    facts(
        [
            ("Route", name_of(route)),
            ("Gateway service", name_of(service) if service is not None else "none: the gateway answers 503"),
            ("Part of the path that matched", match["prefix"]),
            ("Captures", captures),
            ("Goes to", match["upstream_url"]),
            ("Revision", f"#{match['revision']}"),
        ]
    )
