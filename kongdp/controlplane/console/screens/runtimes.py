"""**Runtime Manager**: the runtime groups. Cold. Source: walkthrough, section 7."""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from kongdp.controlplane.access import DEFAULT
from kongdp.controlplane.console import layout
from kongdp.controlplane.console.asking import at
from kongdp.controlplane.console.parts.buttons import main_button, quiet_button
from kongdp.controlplane.console.parts.dialogs import confirm, dialog, open_asked
from kongdp.controlplane.console.parts.form import Form
from kongdp.controlplane.console.parts.labels import HINT, label_lines, read_labels
from kongdp.controlplane.console.parts.table import Column, PagedTable, Row, Wanted
from kongdp.controlplane.console.visit import Visit, screen

ABOUT = "A runtime group is a configuration and the data planes that have it. default always exists."
COLUMNS = (
    Column("name", "Name", "link"),
    Column("description", "Description"),
    Column("kind", "Type"),
    Column("id_text", "ID", "code"),
    Column("actions", "", "actions"),
)
KIND = "Hybrid"


@screen("/runtimes", title="Runtime Manager", menu="runtimes")
async def runtimes(visit: Visit, page: int = 1, dialog: str = "") -> None:
    """The groups."""
    actions = layout.heading(visit, "Runtime Manager", about=ABOUT)
    if visit.may("admin"):
        with actions:
            main_button("Create Runtime Group", lambda: _edit(visit, None, table.refresh), icon="add")
    table = PagedTable(
        COLUMNS,
        lambda wanted: _fetch(visit, wanted),
        label="Runtime groups",
        page=page,
        address=visit.address,
        act=lambda act, key: _act(visit, act, key, table),
    )
    await table.refresh()
    if visit.may("admin"):
        await open_asked(dialog, {"new": lambda: _edit(visit, None, table.refresh)})


async def _fetch(visit: Visit, wanted: Wanted) -> tuple[list[Row], int]:
    found = await visit.ask.get("/v2/control-planes", page_size=wanted.size, page_number=wanted.number)
    return [_row(visit, group) for group in found["items"]], found["page"]["total_count"]


def _row(visit: Visit, group: Mapping[str, Any]) -> Row:
    actions = [{"key": "edit", "text": "Edit"}] if visit.may("admin", group["id"]) else []
    if actions and visit.may("admin") and group["name"] != DEFAULT:
        actions.append({"key": "delete", "text": "Delete"})
    return {
        "id": group["id"],
        "name": group["name"],
        "name_href": at("/runtimes/{}", group["id"]),
        "_name": group["name"],
        "description": group["description"],
        "kind": KIND,
        "id_text": group["id"],
        "actions": actions,
    }


async def _act(visit: Visit, act: str, key: str, table: PagedTable) -> None:
    group = await visit.ask.get(at("/v2/control-planes/{}", key))
    if act == "edit":
        _edit(visit, group, table.refresh)
    else:
        _delete(visit, group, table)


def _edit(visit: Visit, group: Mapping[str, Any] | None, done: Any) -> None:
    form = Form()
    row = group or {"name": "", "description": "", "labels": {}}
    with dialog("Edit Runtime Group" if group else "Create Runtime Group", key="" if group else "new") as shown:
        with ui.element("div").classes("form"):
            name = form.text("name", "Name", row["name"], is_required=True)
            if row["name"] == DEFAULT:
                name.disable()
            form.text("description", "Description", row["description"], is_long=True)
            labels = ui.textarea("Labels", value=label_lines(row["labels"])).props("outlined dense autogrow")
            labels.props["hint"] = HINT
            form.custom("labels", labels, read_labels)
            form.problem()

        async def save() -> None:
            values = form.values()
            if values is None:
                return
            if group:
                path = at("/v2/control-planes/{}", group["id"])
                is_done = await form.submit(lambda: visit.ask.patch(path, values))
            else:
                is_done = await form.submit(lambda: visit.ask.post("/v2/control-planes", values))
            if is_done:
                shown.close()
                await done()

        with ui.element("div").classes("dialog-actions"):
            quiet_button("Cancel", shown.close)
            main_button("Update" if group else "Create", save)


def _delete(visit: Visit, group: Mapping[str, Any], table: PagedTable) -> None:
    async def delete() -> None:
        await visit.ask.delete(at("/v2/control-planes/{}", group["id"]))
        await table.refresh()

    goes = [
        f"the runtime group {group['name']}",
        "its Gateway services, routes, plugins, consumers, upstreams, certificates and their history",
        "the versions of services that are in it",
    ]
    stays = "Running data planes are orphaned: they keep their last configuration."
    confirm("Delete Runtime Group", delete, goes=goes, stays=stays, name=group["name"])
