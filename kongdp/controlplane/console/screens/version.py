"""A version's overview: **New Implementation**, routes, **Status Codes**, and what can be done with it. Cold.

Source: walkthrough, sections 5, 6 and 10.
"""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from kongdp.controlplane.console import layout
from kongdp.controlplane.console.asking import at, maybe
from kongdp.controlplane.console.parts import entity_form, states
from kongdp.controlplane.console.parts.buttons import main_button, menu_button, quiet_button, quiet_link
from kongdp.controlplane.console.parts.code import code
from kongdp.controlplane.console.parts.declaration import declaration
from kongdp.controlplane.console.parts.dialogs import confirm, dialog, open_asked
from kongdp.controlplane.console.parts.entity_form import Place
from kongdp.controlplane.console.parts.facts import facts, moment, pill, tag
from kongdp.controlplane.console.parts.form import Form
from kongdp.controlplane.console.parts.kinds import KINDS, endpoint
from kongdp.controlplane.console.parts.status_codes import Shown, StatusCodes
from kongdp.controlplane.console.parts.upload import upload_button
from kongdp.controlplane.console.screens import app_registration, implementation, spec_routes
from kongdp.controlplane.console.screens.service import HUB
from kongdp.controlplane.console.visit import Visit, reload, screen

SPEC_ENDINGS = ".json,.yaml,.yml"


@screen("/services/{service}/versions/{version}", title="Version", menu="services")
async def version(
    visit: Visit,
    service: str,
    version: str,
    frame: str = "",
    start: str = "",
    end: str = "",
    view: str = "",
    zone: str = "",
    dialog: str = "",
) -> None:
    """The page."""
    found = await visit.ask.get(at("/v2/catalogue/versions/{}", version))
    owner = await visit.ask.get(at("/v2/catalogue/services/{}", found["service_id"]))
    made = await maybe(visit.ask.get(at("/v2/catalogue/versions/{}/implementation", version)))
    registration = await maybe(visit.ask.get(registration_path(version)))
    crumbs = [HUB, (owner["name"], at("/services/{}", owner["id"]))]
    actions = layout.heading(visit, found["name"], crumbs=crumbs, about=f"Version of {owner['name']}")
    may_edit = visit.may("editor")
    if may_edit:
        with actions:
            if made is None:
                main_button("New Implementation", lambda: implementation.create(visit, found), icon="add")
            _menu(visit, owner, found, made, registration)
    await _facts(visit, found, made, registration)
    if made is None:
        _nothing(visit, found, may_edit=may_edit)
    else:
        _routes(visit, found, made, may_edit=may_edit)
        await _plugins(visit, found, made)
    await _spec(visit, owner, found, has_implementation=made is not None)
    path = at("/v2/catalogue/versions/{}/status-codes", version)
    await StatusCodes(visit, path, Shown(frame, start, end, view, zone)).show()
    await open_asked(dialog, _dialogs(visit, found, made, may_edit=may_edit))


def _dialogs(
    visit: Visit, found: Mapping[str, Any], made: Mapping[str, Any] | None, *, may_edit: bool
) -> Mapping[str, Any]:
    """Those that have an address."""
    if not may_edit:
        return {}
    if made is None:
        return {"implementation": lambda: implementation.create(visit, found)}
    return {
        "configuration": lambda: view_configuration(made),
        "edit": lambda: implementation.edit(visit, found, made),
    }


def registration_path(version_id: str) -> str:
    """Where application registration of a version is switched."""
    return at("/v2/catalogue/versions/{}/app-registration", version_id)


def _menu(
    visit: Visit,
    owner: Mapping[str, Any],
    found: Mapping[str, Any],
    made: Mapping[str, Any] | None,
    registration: Mapping[str, Any] | None,
) -> None:
    choices: list[tuple[str, Any]] = [("Rename version", lambda: _rename(visit, found))]
    if made is not None:
        choices += [
            ("View configuration", lambda: view_configuration(made)),
            ("Edit implementation", lambda: implementation.edit(visit, found, made)),
            ("Delete implementation", lambda: _delete_implementation(visit, found, made)),
        ]
        if registration is None:
            choices.append(("Enable app registration", lambda: app_registration.enable(visit, found)))
        else:
            choices.append(("Disable app registration", lambda: app_registration.disable(visit, found)))
    choices.append(("Delete version", lambda: _delete_version(visit, owner, found, made)))
    menu_button("Actions", choices)


async def _facts(
    visit: Visit, found: Mapping[str, Any], made: Mapping[str, Any] | None, registration: Mapping[str, Any] | None
) -> None:
    group = await visit.ask.get(at("/v2/control-planes/{}", found["group_id"]))
    proxy_url = (await visit.ask.get("/v2/portal/settings"))["proxy_url"]
    paths = [path for route in (made["routes"] if made else ()) for path in route.get("paths") or ()]
    with layout.card("Facts"):
        facts(
            [
                ("Proxy URL", f"{proxy_url}{paths[0]}" if paths else proxy_url if made else ""),
                ("Upstream URL", endpoint(made["service"]) if made else ""),
                ("Runtime group", group["name"]),
                ("App registration", _registering(registration)),
                ("Created", moment(found["created_at"])),
                ("Modified", moment(found["updated_at"])),
            ],
            copied=("Proxy URL",),
        )


def _registering(registration: Mapping[str, Any] | None) -> str:
    if registration is None:
        return "Not enabled"
    return f"{registration['auth_type']}, {'approved at once' if registration['auto_approve'] else 'on approval'}"


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
        with ui.element("div").classes("scroll-x"), ui.element("table").classes("plain-table stacks"):
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
        with _cell("Name"), layout.link(at("/runtimes/{}/routes/{}", found["group_id"], route["id"])):
            ui.label(route.get("name") or route["id"])
        for label in ("Methods", "Paths", "Hosts"):
            with _cell(label), ui.element("div").classes("actions"):
                for each in route.get(label.lower()) or ["any"]:
                    tag(each)
        with _cell(""), ui.element("div").classes("actions"):
            if may_edit:
                quiet_button("Edit", lambda: implementation.edit_route(visit, found, made, route))
                if len(made["routes"]) > 1:
                    quiet_button("Delete", lambda: _delete_route(visit, found, route))


def _cell(label: str) -> ui.element:
    """A cell that says its column's name where cells stand below each other."""
    return ui.element("td").props(f'data-label="{label}"')


async def _plugins(visit: Visit, found: Mapping[str, Any], made: Mapping[str, Any]) -> None:
    """Section **Plugins**: those of the Gateway service; each has its page among the group's."""
    path = at("/v2/control-planes/{}/core-entities/services/{}/plugins", found["group_id"], made["service"]["id"])
    plugins = (await visit.ask.get(path))["items"]
    with layout.card("Plugins"):
        with layout.section("Plugins"):
            quiet_link("All plugins of the group", at("/runtimes/{}/plugins", found["group_id"]))
            if visit.may("editor", found["group_id"]):
                quiet_button("Add plugin", lambda: _add_plugin(visit, found, made), icon="add")
        if not plugins:
            ui.label("None on this version. Plugins authenticate, limit, transform and observe requests.").classes(
                "hint"
            )
        for plugin in plugins:
            with ui.element("div").classes("actions"):
                with layout.link(at("/runtimes/{}/plugins/{}", found["group_id"], plugin["id"])):
                    ui.label(plugin["name"])
                pill("Enabled", "good") if plugin["enabled"] else pill("This plugin is Disabled", "idle")
                for each in plugin.get("tags") or ():
                    tag(each)


async def _add_plugin(visit: Visit, found: Mapping[str, Any], made: Mapping[str, Any]) -> None:
    async def shown_again() -> None:
        reload()

    place = Place(visit.ask, found["group_id"], KINDS["services"], made["service"])
    await entity_form.create(place, KINDS["plugins"], shown_again)


async def _spec(visit: Visit, owner: Mapping[str, Any], found: Mapping[str, Any], *, has_implementation: bool) -> None:
    """Card **Version Spec**: one OpenAPI file."""
    path = at("/v2/catalogue/versions/{}/spec", found["id"])
    spec = await maybe(visit.ask.get(path))

    async def upload(name: str, content: str) -> None:
        await visit.ask.put(path, {"name": name, "content": content})
        reload()

    async def delete() -> None:
        await visit.ask.delete(path)
        reload()

    with layout.card("Version Spec"):
        with layout.section("Version Spec"):
            if spec is not None:
                quiet_link("Show", at("/services/{}/versions/{}/spec", owner["id"], found["id"]), icon="menu_book")
            if visit.may("editor"):
                if spec is not None and has_implementation:
                    quiet_button("Create routes", lambda: spec_routes.offer(visit, found), icon="route")
                text = "Upload Spec" if spec is None else "Replace"
                upload_button(text, SPEC_ENDINGS, upload, is_main=spec is None)
                if spec is not None:
                    goes = [f"the spec {spec['name']}"]
                    quiet_button("Delete", lambda: confirm("Delete spec", delete, goes=goes), icon="delete")
        if spec is None:
            ui.label("Document your version using an OpenAPI spec (JSON or YAML). It makes no routes.").classes("hint")
        else:
            facts([("Title", spec["title"]), ("Kind", spec["dialect"]), ("File", spec["name"])])


def view_configuration(made: Mapping[str, Any]) -> None:
    """What the implementation is in the gateway, to look at and to copy."""
    with dialog("Configuration", is_wide=True, key="configuration") as shown:
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
                reload()

        with ui.element("div").classes("dialog-actions"):
            quiet_button("Cancel", shown.close)
            main_button("Save", save)


def _going(made: Mapping[str, Any]) -> list[str]:
    goes = [f"the Gateway service {made['service'].get('name')} and its plugins"]
    return goes + [f"the route {route.get('name') or route['id']} and its plugins" for route in made["routes"]]


def _delete_implementation(visit: Visit, found: Mapping[str, Any], made: Mapping[str, Any]) -> None:
    async def delete() -> None:
        await visit.ask.delete(at("/v2/catalogue/versions/{}/implementation", found["id"]))
        reload()

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
        reload()

    confirm("Delete route", delete, goes=[f"the route {route.get('name') or route['id']} and its plugins"])
