"""**Accounts**: who may come in, and what each may do. For administrators of the whole control plane. Cold."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nicegui import ui

from kongdp.controlplane.console import layout
from kongdp.controlplane.console.asking import at
from kongdp.controlplane.console.parts import roles
from kongdp.controlplane.console.parts.buttons import main_button, quiet_button
from kongdp.controlplane.console.parts.dialogs import confirm, dialog, open_asked
from kongdp.controlplane.console.parts.facts import moment
from kongdp.controlplane.console.parts.form import Form
from kongdp.controlplane.console.parts.table import Column, PagedTable, Row, Wanted
from kongdp.controlplane.console.visit import Visit, screen

ABOUT = "A role counts everywhere; a role in a runtime group counts there. The higher one wins."
COLUMNS = (
    Column("name", "Name"),
    Column("role", "Role"),
    Column("roles", "In runtime groups"),
    Column("created", "Since", "time"),
    Column("actions", "", "actions"),
)
Done = Callable[[], Awaitable[None]]


@screen("/accounts", title="Accounts", menu="accounts")
async def accounts(visit: Visit, page: int = 1, dialog: str = "") -> None:
    """The users."""
    actions = layout.heading(visit, "Accounts", about=ABOUT)
    found = await visit.ask.get("/v2/control-planes", page_size=1000)
    groups = {group["id"]: group["name"] for group in found["items"]}

    async def fetch(wanted: Wanted) -> tuple[list[Row], int]:
        users = (await visit.ask.get("/v2/users"))["items"]
        start = (wanted.number - 1) * wanted.size
        return [_row(each, groups) for each in users[start : start + wanted.size]], len(users)

    async def act(act: str, key: str) -> None:
        user = await visit.ask.get(at("/v2/users/{}", key))
        if act == "edit":
            _edit(visit, user, groups, table.refresh)
        elif act == "delete":
            _delete(visit, user, table.refresh)

    with layout.card("Accounts"):
        table = PagedTable(COLUMNS, fetch, label="Accounts", page=page, address=visit.address, act=act)
        await table.refresh()
    with actions:
        main_button("New user", lambda: _edit(visit, None, groups, table.refresh), icon="person_add")
    await open_asked(dialog, {"new": lambda: _edit(visit, None, groups, table.refresh)})


def _row(user: Mapping[str, Any], groups: Mapping[str, str]) -> Row:
    return {
        "id": user["id"],
        "name": user["name"],
        "_name": user["name"],
        "role": user["role"],
        "roles": roles.role_lines(user["roles"], groups).replace("\n", ", "),
        "created": user["created_at"],
        "actions": [{"key": "edit", "text": "Edit"}, {"key": "delete", "text": "Delete"}],
    }


def _edit(visit: Visit, user: Mapping[str, Any] | None, groups: Mapping[str, str], done: Done) -> None:
    row = user or {"name": "", "role": "none", "roles": {}}
    with dialog("Edit user" if user else "New user", key="" if user else "new") as shown:
        form = Form()
        with ui.element("div").classes("form"):
            if user is None:
                form.text("name", "User name", is_required=True)
            password = form.text("password", "New password" if user else "Password *", hint="8 characters or more")
            password.props("type=password autocomplete=new-password")
            form.choice("role", "Role", roles.TEXTS, row["role"])
            lines = ui.textarea("Roles in runtime groups", value=roles.role_lines(row["roles"], groups))
            lines.props("outlined dense autogrow")
            lines.props["hint"] = roles.HINT
            form.custom("roles", lines, roles.read_roles)
            if user is not None:
                ui.label(f"Changed last {moment(user['updated_at'])}. A new password ends all sessions.").classes(
                    "hint"
                )
            form.problem()

        async def save() -> None:
            values = form.values()
            if values is None:
                return
            if user is None:
                is_done = await form.submit(lambda: visit.ask.post("/v2/users", values))
            else:
                if not values["password"]:
                    del values["password"]
                is_done = await form.submit(lambda: visit.ask.patch(at("/v2/users/{}", user["id"]), values))
            if is_done:
                shown.close()
                await done()

        with ui.element("div").classes("dialog-actions"):
            quiet_button("Cancel", shown.close)
            main_button("Save" if user else "Create", save)


def _delete(visit: Visit, user: Mapping[str, Any], done: Done) -> None:
    async def delete() -> None:
        await visit.ask.delete(at("/v2/users/{}", user["id"]))
        await done()

    goes = [f"the user {user['name']}", "their sessions and access tokens"]
    confirm("Delete user", delete, goes=goes, stays="What they changed stays, with their name.")
