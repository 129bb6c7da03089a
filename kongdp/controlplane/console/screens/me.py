"""**My account**: what one may do, one's password, and one's access tokens. Cold."""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from kongdp.controlplane.console import layout
from kongdp.controlplane.console.asking import at
from kongdp.controlplane.console.parts import roles
from kongdp.controlplane.console.parts.buttons import main_button, quiet_button
from kongdp.controlplane.console.parts.code import code
from kongdp.controlplane.console.parts.dialogs import confirm, dialog, open_asked
from kongdp.controlplane.console.parts.facts import facts
from kongdp.controlplane.console.parts.form import Form
from kongdp.controlplane.console.parts.table import Column, PagedTable, Row, Wanted
from kongdp.controlplane.console.visit import Visit, screen, sign_in_address

DAY_S = 86_400
USUAL_DAYS = 90
TOKEN_ROLES = {name: text for name, text in roles.TEXTS.items() if name != "none"}
COLUMNS = (
    Column("name", "Name"),
    Column("role", "May be used as"),
    Column("groups", "In runtime groups"),
    Column("ends", "Ends", "time"),
    Column("used", "Last used", "time"),
    Column("actions", "", "actions"),
)


@screen("/me", title="My account", menu="me")
async def me(visit: Visit, page: int = 1, dialog: str = "") -> None:
    """The page."""
    found = await visit.ask.get("/v2/me")
    layout.heading(visit, "My account", about=found["name"])
    listed = await visit.ask.get("/v2/control-planes", page_size=1000)
    groups = {group["id"]: group["name"] for group in listed["items"]}
    with layout.card("What I may do"):
        with layout.section("What I may do"):
            quiet_button("Change password", lambda: _password(visit), icon="password")
        own = roles.role_lines(found["roles"], groups).replace("\n", ", ")
        facts([("Everywhere", roles.TEXTS[found["role"]]), ("In runtime groups", own)])
    await _tokens(visit, groups, page, dialog)


async def _tokens(visit: Visit, groups: Mapping[str, str], page: int, dialog: str) -> None:
    async def fetch(wanted: Wanted) -> tuple[list[Row], int]:
        tokens = (await visit.ask.get("/v2/tokens"))["items"]
        start = (wanted.number - 1) * wanted.size
        return [_row(each, groups) for each in tokens[start : start + wanted.size]], len(tokens)

    async def act(act: str, key: str) -> None:
        tokens = (await visit.ask.get("/v2/tokens"))["items"]
        name = next((token["name"] for token in tokens if token["id"] == key), key)

        async def revoke() -> None:
            await visit.ask.delete(at("/v2/tokens/{}", key))
            await table.refresh()

        if act == "revoke":
            confirm("Revoke access token", revoke, goes=[f"the access token {name}"], action="Revoke")

    with layout.card("Access tokens"):
        with layout.section("Access tokens"):
            quiet_button("New access token", lambda: _new(visit, groups, table), icon="add")
        ui.label("For programs: Authorization: Bearer …").classes("hint")
        table = PagedTable(
            COLUMNS, fetch, label="Access tokens", page=page, address=visit.address, act=act, empty=_nothing
        )
        await table.refresh()
    offered = {"token": lambda: _new(visit, groups, table), "password": lambda: _password(visit)}
    await open_asked(dialog, offered)


def _nothing() -> None:
    ui.label("None yet").classes("hint")


def _row(token: Mapping[str, Any], groups: Mapping[str, str]) -> Row:
    limited = token["groups"]
    return {
        "id": token["id"],
        "name": token["name"],
        "_name": token["name"],
        "role": token["role"],
        "groups": "all of mine" if limited is None else ", ".join(groups.get(each, each) for each in limited),
        "ends": token["expires_at"],
        "used": token["used_at"],
        "actions": [{"key": "revoke", "text": "Revoke"}],
    }


def _new(visit: Visit, groups: Mapping[str, str], table: PagedTable) -> None:
    with dialog("New access token", key="token") as shown:
        form = Form()
        with ui.element("div").classes("form") as fields:
            form.text("name", "Name", hint="What it is for", is_required=True)
            form.choice("role", "May be used as", TOKEN_ROLES, "viewer", hint="Never more than you may yourself")
            form.choices(
                "groups", "Only in runtime groups", sorted(groups.values()), [], hint="Empty: wherever you may"
            )
            form.number("days", "Days until it ends", USUAL_DAYS, hint="1 to 366")
            form.problem()

        async def make() -> None:
            values = form.values()
            if values is None:
                return
            days = values.pop("days")
            body = {**values, "groups": values["groups"] or None, "lifetime_s": (days or USUAL_DAYS) * DAY_S}
            made: dict[str, Any] = {}

            async def call() -> None:
                made.update(await visit.ask.post("/v2/tokens", body))

            if await form.submit(call):
                _show_once(fields, made["token"])
                buttons.clear()
                with buttons:
                    main_button("Done", shown.close)
                await table.refresh()

        with ui.element("div").classes("dialog-actions") as buttons:
            quiet_button("Cancel", shown.close)
            main_button("Create", make)


def _show_once(fields: ui.element, token: str) -> None:
    fields.clear()
    with fields:
        ui.label("Copy it now: it is not shown again.").props('role="status"')
        code(token, label="Access token")


def _password(visit: Visit) -> None:
    with dialog("Change password", key="password") as shown:
        form = Form()
        with ui.element("div").classes("form"):
            for name, label, purpose in (
                ("current", "Current password", "current-password"),
                ("password", "New password", "new-password"),
            ):
                field = form.text(name, label, is_required=True)
                field.props(f"type=password autocomplete={purpose}")
            ui.label("All your sessions end; sign in again with the new one.").classes("hint")
            form.problem()

        async def save() -> None:
            values = form.values()
            if values is not None and await form.submit(lambda: visit.ask.put("/v2/me/password", values)):
                ui.navigate.to(sign_in_address(visit))

        with ui.element("div").classes("dialog-actions"):
            quiet_button("Cancel", shown.close)
            main_button("Change", save)
