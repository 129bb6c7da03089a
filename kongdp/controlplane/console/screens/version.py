"""A version's overview: **New Implementation**, routes, **Status Codes**, and what can be done with it. Cold.

Source: walkthrough, sections 5, 6 and 10.
"""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from kongdp.controlplane.console import layout
from kongdp.controlplane.console.asking import RefusedError, at
from kongdp.controlplane.console.parts import states
from kongdp.controlplane.console.parts.buttons import main_button, menu_button, quiet_button
from kongdp.controlplane.console.parts.code import code
from kongdp.controlplane.console.parts.declaration import declaration
from kongdp.controlplane.console.parts.dialogs import confirm, dialog
from kongdp.controlplane.console.parts.facts import facts, moment, tag
from kongdp.controlplane.console.parts.form import Form
from kongdp.controlplane.console.parts.status_codes import StatusCodes
from kongdp.controlplane.console.screens import implementation
from kongdp.controlplane.console.screens.service import HUB
from kongdp.controlplane.console.visit import Visit, screen

# Where a data plane serves that was set up with the defaults.
PROXY_URL = "http://localhost:8000"


@screen("/services/{service}/versions/{version}", title="Version", menu="services")
async def version(
    visit: Visit, service: str, version: str, frame: str = "", view: str = "", zone: str = "", dialog: str = ""
) -> None:
    """The page. `dialog=implementation` opens the dialog **Create Implementation**."""
    found = await visit.ask.get(at("/v2/catalogue/versions/{}", version))
    owner = await visit.ask.get(at("/v2/catalogue/services/{}", found["service_id"]))
    made = await try_implementation(visit, version)
    crumbs = [HUB, (owner["name"], at("/services/{}", owner["id"]))]
    actions = layout.heading(visit, found["name"], crumbs=crumbs, about=f"Version of {owner['name']}")
    may_edit = visit.may("editor")
    if may_edit:
        with actions:
            if made is None:
                main_button("New Implementation", lambda: implementation.create(visit, found), icon="add")
            _menu(visit, owner, found, made)
    await _facts(visit, found, made)
    if made is None:
        _nothing(visit, found, may_edit=may_edit)
    else:
        _routes(visit, found, made, may_edit=may_edit)
    path = at("/v2/catalogue/versions/{}/status-codes", version)
    await StatusCodes(visit, path, frame_key=frame, view=view, zone=zone).show()
    if dialog == "implementation" and made is None and may_edit:
        await implementation.create(visit, found)


async def try_implementation(visit: Visit, version_id: str) -> dict[str, Any] | None:
    """A version's implementation, or None."""
    try:
        found: dict[str, Any] = await visit.ask.get(at("/v2/catalogue/versions/{}/implementation", version_id))
    except RefusedError as error:
        if error.status == 404:
            return None
        raise
    return found


def upstream_url(service: Mapping[str, Any]) -> str:
    """A Gateway service as the URL it was made of."""
    usual = {"http": 80, "https": 443}.get(service.get("protocol", ""))
    port = "" if service.get("port") == usual else f":{service.get('port')}"
    return f"{service.get('protocol')}://{service.get('host')}{port}{service.get('path') or ''}"


def _menu(visit: Visit, owner: Mapping[str, Any], found: Mapping[str, Any], made: Mapping[str, Any] | None) -> None:
    choices: list[tuple[str, Any]] = [("Rename version", lambda: _rename(visit, found))]
    if made is not None:
        choices += [
            ("View configuration", lambda: view_configuration(made)),
            ("Edit implementation", lambda: implementation.edit(visit, found, made)),
            ("Delete implementation", lambda: _delete_implementation(visit, found, made)),
        ]
    choices.append(("Delete version", lambda: _delete_version(visit, owner, found, made)))
    menu_button("Actions", choices)


async def _facts(visit: Visit, found: Mapping[str, Any], made: Mapping[str, Any] | None) -> None:
    group = await visit.ask.get(at("/v2/control-planes/{}", found["group_id"]))
    paths = [path for route in (made["routes"] if made else ()) for path in route.get("paths") or ()]
    with layout.card("Facts"):
        facts(
            [
                ("Proxy URL", f"{PROXY_URL}{paths[0]}" if paths else PROXY_URL if made else ""),
                ("Upstream URL", upstream_url(made["service"]) if made else ""),
                ("Runtime group", group["name"]),
                ("Created", moment(found["created_at"])),
                ("Modified", moment(found["updated_at"])),
            ]
        )


def _nothing(visit: Visit, found: Mapping[str, Any], *, may_edit: bool) -> None:
    with layout.card("Implementation"):
        states.empty(
            "No implementation yet",
            "An implementation says where requests go: an upstream URL, and the route that leads there.",
            icon="route",
            action="New Implementation" if may_edit else "",
            on_click=lambda: implementation.create(visit, found),
        )


def _routes(visit: Visit, found: Mapping[str, Any], made: Mapping[str, Any], *, may_edit: bool) -> None:
    with layout.card("Routes"):
        with layout.section("Routes"):
            if may_edit:
                quiet_button("New Route", lambda: implementation.add_route(visit, made), icon="add")
        with ui.element("div").classes("scroll-x"), ui.element("table").classes("plain-table"):
            with ui.element("thead"), ui.element("tr"):
                for text in ("Name", "Methods", "Paths", "Hosts", ""):
                    with ui.element("th" if text else "td").props("scope=col" if text else ""):
                        ui.label(text)
            with ui.element("tbody"):
                for route in made["routes"]:
                    _route_row(visit, found, made, route, may_edit=may_edit)


def _route_row(
    visit: Visit, found: Mapping[str, Any], made: Mapping[str, Any], route: dict[str, Any], *, may_edit: bool
) -> None:
    with ui.element("tr"):
        with ui.element("td"), layout.link(at("/runtimes/{}/routes/{}", found["group_id"], route["id"])):
            ui.label(route.get("name") or route["id"])
        for name, usual in (("methods", "any"), ("paths", "any"), ("hosts", "any")):
            with ui.element("td"), ui.element("div").classes("actions"):
                for each in route.get(name) or [usual]:
                    tag(each)
        with ui.element("td"), ui.element("div").classes("actions"):
            if may_edit:
                quiet_button("Edit", lambda: implementation.edit_route(visit, found, made, route))
                if len(made["routes"]) > 1:
                    quiet_button("Delete", lambda: _delete_route(visit, found, route))


def view_configuration(made: Mapping[str, Any]) -> None:
    """What the implementation is in the gateway, to look at and to copy."""
    with dialog("Configuration", is_wide=True) as shown:
        code(declaration({"services": [made["service"]], "routes": made["routes"]}), label="Declarative YAML (decK)")
        with ui.element("div").classes("dialog-actions"):
            quiet_button("Close", shown.close)


def _rename(visit: Visit, found: Mapping[str, Any]) -> None:
    form = Form()
    with dialog("Rename version") as shown:
        with ui.element("div").classes("form"):
            form.text("name", "Version Name", found["name"], is_required=True)
            form.problem()

        async def save() -> None:
            path, seen = at("/v2/catalogue/versions/{}", found["id"]), f'"{found["edition"]}"'
            values = form.values()
            if values is not None and await form.submit(lambda: visit.ask.patch(path, values, if_match=seen)):
                ui.navigate.reload()

        with ui.element("div").classes("dialog-actions"):
            quiet_button("Cancel", shown.close)
            main_button("Save", save)


def _going(made: Mapping[str, Any]) -> list[str]:
    goes = [f"the Gateway service {made['service'].get('name')}"]
    return goes + [f"the route {route.get('name') or route['id']} and its plugins" for route in made["routes"]]


def _delete_implementation(visit: Visit, found: Mapping[str, Any], made: Mapping[str, Any]) -> None:
    async def delete() -> None:
        await visit.ask.delete(at("/v2/catalogue/versions/{}/implementation", found["id"]))
        ui.navigate.reload()

    confirm("Delete implementation", delete, goes=_going(made), stays=f"The version {found['name']} stays.")


def _delete_version(
    visit: Visit, owner: Mapping[str, Any], found: Mapping[str, Any], made: Mapping[str, Any] | None
) -> None:
    async def delete() -> None:
        await visit.ask.delete(at("/v2/catalogue/versions/{}", found["id"]))
        ui.navigate.to(at("/services/{}", owner["id"]))

    confirm("Delete version", delete, goes=[f"the version {found['name']}", *(_going(made) if made else ())])


def _delete_route(visit: Visit, found: Mapping[str, Any], route: Mapping[str, Any]) -> None:
    async def delete() -> None:
        await visit.ask.delete(at("/v2/control-planes/{}/core-entities/routes/{}", found["group_id"], route["id"]))
        ui.navigate.reload()

    confirm("Delete route", delete, goes=[f"the route {route.get('name') or route['id']} and its plugins"])
