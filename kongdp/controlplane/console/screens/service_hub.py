"""**Service Hub**: the services of the catalogue as cards or as a list, with a search, and **New service**. Cold.

Source: walkthrough, section 2.
"""

from collections.abc import Sequence
from typing import Any

from nicegui import ui

from kongdp.controlplane.access import DEFAULT
from kongdp.controlplane.console import layout
from kongdp.controlplane.console.asking import RefusedError, at
from kongdp.controlplane.console.parts import states
from kongdp.controlplane.console.parts.buttons import main_button, quiet_button
from kongdp.controlplane.console.parts.dialogs import dialog, open_asked
from kongdp.controlplane.console.parts.facts import pill, tag
from kongdp.controlplane.console.parts.form import Form
from kongdp.controlplane.console.parts.table import Column, PagedTable, Row, Wanted, pill_cells
from kongdp.controlplane.console.visit import Visit, leave, screen

ABOUT = "Create a service to manage and proxy an existing API or publish to a portal."
NAME_HINT = "Letters, digits, spaces and . - _ ~ : (a space counts as -)"
COLUMNS = (
    Column("name", "Name", "link"),
    Column("description", "Description"),
    Column("versions", "Versions"),
    Column("portal", "Dev Portal", "pill"),
)
# Cards are for looking around; whoever has more services searches, or takes the list.
CARDS_MAX = 60


@screen("/services", title="Service Hub", menu="services")
async def service_hub(visit: Visit, q: str = "", view: str = "cards", page: int = 1, dialog: str = "") -> None:
    """The list."""
    actions = layout.heading(visit, "Service Hub", about=ABOUT)
    if visit.may("editor"):
        with actions:
            main_button("New service", lambda: new_service(visit), icon="add")
    found = await _services(visit, q)
    with ui.element("div").classes("toolbar"):
        _search(visit, q)
        is_cards = view != "list"
        layout.tabs(
            visit,
            [("cards", "Cards", visit.address(view=None, page=None)), ("list", "List", visit.address(view="list"))],
            "cards" if is_cards else "list",
            label="View",
        )
    if not found:
        _nothing(visit, q)
    elif is_cards:
        _cards(found[:CARDS_MAX])
        if len(found) > CARDS_MAX:
            ui.label(f"{len(found) - CARDS_MAX} more: search, or take the list.").classes("hint")
    else:
        await _list(visit, found, page)
    if visit.may("editor"):
        await open_asked(dialog, {"new": lambda: new_service(visit)})


async def _services(visit: Visit, search: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await visit.ask.get("/v2/catalogue/services"))["items"]
    wanted = search.strip().lower()
    return [each for each in found if wanted in each["name"].lower() or wanted in each["description"].lower()]


def _search(visit: Visit, value: str) -> None:
    field = ui.input(label="Search services", value=value).props("outlined dense clearable").classes("search")
    go = lambda: ui.navigate.to(visit.address(q=field.value or None, page=None))  # noqa: E731
    field.on("keydown.enter", go)
    field.on("clear", go)
    quiet_button("Search", go, icon="search")


def _nothing(visit: Visit, search: str) -> None:
    with layout.card("Services"):
        if search:
            states.empty("No service matches", f"Nothing has “{search}” in its name or description.", icon="search_off")
            return
        states.empty(
            "No services yet",
            "A service is an API that you manage here: give it a name, then a version, then an implementation.",
            icon="hub",
            action="New service" if visit.may("editor") else "",
            on_click=lambda: new_service(visit),
        )


def _cards(found: Sequence[dict[str, Any]]) -> None:
    with ui.element("ul").classes("cards").style("list-style:none;margin:0;padding:0"):
        for service in found:
            with ui.element("li"), layout.link(_address(service)) as card:
                card.classes(replace="service-card")
                with ui.element("h2"):
                    ui.label(service["name"])
                ui.label(service["description"] or "No description").classes("hint")
                with ui.element("div").classes("actions"):
                    tag(_versions(service))
                    if service["published"]:
                        pill("Published", "good")


async def _list(visit: Visit, found: list[dict[str, Any]], page: int) -> None:
    async def fetch(wanted: Wanted) -> tuple[list[Row], int]:
        start = (wanted.number - 1) * wanted.size
        return [_row(each) for each in found[start : start + wanted.size]], len(found)

    await PagedTable(COLUMNS, fetch, label="Services", page=page, address=visit.address).refresh()


def _row(service: dict[str, Any]) -> Row:
    portal = pill_cells("portal", "Published", "good") if service["published"] else pill_cells("portal", "", "idle")
    return {
        "id": service["id"],
        "name": service["name"],
        "name_href": _address(service),
        "description": service["description"],
        "versions": _versions(service),
        **portal,
    }


def _versions(service: dict[str, Any]) -> str:
    count = service.get("version_count", 0)
    return f"{count} Version{'' if count == 1 else 's'}"


def _address(service: dict[str, Any]) -> str:
    return at("/services/{}", service["id"])


def new_service(visit: Visit) -> None:
    """The dialog **New service**: display name, description, and a first version if wanted."""
    form = Form()
    made: dict[str, Any] = {}
    with dialog("New service", key="new") as shown:
        with ui.element("div").classes("form"):
            form.text("name", "Display name", hint=NAME_HINT, is_required=True)
            form.text("description", "Description", is_long=True, hint="Shown here and in the Dev Portal")
            form.text("version", "Version name", hint="Optional: a first version in the runtime group default")
            form.problem()

        async def create() -> None:
            values = form.values()
            if values is None:
                return
            version = values.pop("version")

            async def make_service() -> None:
                made.update(await visit.ask.post("/v2/catalogue/services", values))

            async def make_version() -> None:
                path = at("/v2/catalogue/services/{}/versions", made["id"])
                try:
                    await visit.ask.post(path, {"name": version, "group": DEFAULT})
                except RefusedError as error:
                    error.fields = {"version": error.fields["name"]} if "name" in error.fields else error.fields
                    raise

            # The service is there when its version is refused: the next attempt makes the version alone.
            if (made or await form.submit(make_service)) and (not version or await form.submit(make_version)):
                leave(_address(made))

        with ui.element("div").classes("dialog-actions"):
            quiet_button("Cancel", shown.close)
            main_button("Create", create)
