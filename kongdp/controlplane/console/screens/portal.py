"""**Dev Portal**, as administrators run it: its address and settings, developers, applications, requests. Cold.

House rule: developers have accounts of their own, in the portal; nothing here signs anybody in.
Source: walkthrough, sections 11 and 12.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nicegui import ui

from kongdp.controlplane.console import layout
from kongdp.controlplane.console.asking import at
from kongdp.controlplane.console.parts import states
from kongdp.controlplane.console.parts.buttons import main_button
from kongdp.controlplane.console.parts.dialogs import confirm
from kongdp.controlplane.console.parts.facts import moment
from kongdp.controlplane.console.parts.form import Form
from kongdp.controlplane.console.parts.table import Column, PagedTable, Row, Wanted, pill_cells
from kongdp.controlplane.console.screens import password_link
from kongdp.controlplane.console.visit import Visit, screen, tell

TABS = (
    ("settings", "Settings"),
    ("developers", "Developers"),
    ("applications", "Applications"),
    ("requests", "Requests"),
)
TONES = {"approved": "good", "pending": "warn", "rejected": "bad", "revoked": "bad"}
DECISIONS = {
    "pending": [{"key": "approved", "text": "Approve"}, {"key": "rejected", "text": "Reject"}],
    "approved": [{"key": "revoked", "text": "Revoke"}],
    "rejected": [{"key": "approved", "text": "Approve"}],
    "revoked": [{"key": "approved", "text": "Approve"}],
}
DELETE = [{"key": "delete", "text": "Delete"}]
PASSWORD_LINK = {"key": "password-link", "text": "Password link"}


@screen("/portal", title="Dev Portal", menu="portal")
async def portal(visit: Visit, tab: str = "settings", page: int = 1) -> None:
    """The page."""
    layout.heading(visit, "Dev Portal", about="Where developers find what is published, and get keys for it")
    current = tab if tab in dict(TABS) else "settings"
    choices = [(key, text, visit.address(tab=None if key == "settings" else key, page=None)) for key, text in TABS]
    layout.tabs(visit, choices, current, label="Dev Portal")
    with layout.card(dict(TABS)[current]):
        if current == "settings":
            await _settings(visit)
        else:
            await _LISTS[current](visit, page)


async def _settings(visit: Visit) -> None:
    found = await visit.ask.get("/v2/portal/settings")
    form = Form()
    if visit.portal:
        with ui.element("div").classes("actions").style("margin-bottom:16px"):
            ui.label("Portal URL").classes("hint")
            with layout.link(visit.portal):
                ui.label(visit.portal)
    else:
        ui.label("The portal has no address: kongdp_portal_listen is off.").classes("hint")
    with ui.element("div").classes("form"):
        form.text("title", "Title", found["title"], is_required=True)
        form.text("proxy_url", "Proxy URL", found["proxy_url"], hint="Where developers reach the gateway")
        form.switch("is_public", "Public Portal", found["is_public"])
        ui.label("A public portal shows what is published to everyone and has no application registration.").classes(
            "hint"
        )
        form.switch("auto_approve_developers", "Auto-approve developers", found["auto_approve_developers"])
        form.switch("auto_approve_applications", "Auto-approve applications", found["auto_approve_applications"])
        form.problem()

        async def save() -> None:
            values = form.values()
            if values is not None and await form.submit(lambda: visit.ask.patch("/v2/portal/settings", values)):
                tell("Saved", is_good=True)

        if visit.may("editor"):
            with ui.element("div").classes("actions"):
                main_button("Save", save)


async def _developers(visit: Visit, page: int) -> None:
    columns = (
        Column("name", "Name"),
        Column("email", "E-mail address"),
        Column("status", "Status", "pill"),
        Column("since", "Since"),
        Column("actions", "Actions", "actions"),
    )

    def row(each: Mapping[str, Any]) -> Row:
        cells = _status(visit, each)
        if visit.may("admin"):
            cells["actions"] = [PASSWORD_LINK, *cells["actions"]]
        return {"id": each["id"], "_name": each["name"], "name": each["name"], "email": each["email"], **cells}

    async def act(act: str, key: str) -> None:
        path = at("/v2/portal/developers/{}", key)
        if act == PASSWORD_LINK["key"]:
            password_link.offer(visit, await visit.ask.get(path))
        elif act == "delete":
            each = await visit.ask.get(path)
            goes = [f"the developer {each['email']}", "their applications, with all keys"]
            confirm("Delete developer", lambda: _deleted(visit, path, table), goes=goes)
        elif act == "revoked":
            each = await visit.ask.get(path)
            goes = [f"the access of {each['email']} to the portal", "the keys of their applications"]
            stays = "Their applications stay. Approved again, they need new keys."
            _ask_to_revoke(lambda: _decided(visit, path, act, table), goes, stays)
        else:
            await _decided(visit, path, act, table)

    table = _table(visit, columns, "/v2/portal/developers", row, "Developers", page, act)
    await table.refresh()


async def _applications(visit: Visit, page: int) -> None:
    columns = (
        Column("name", "Name"),
        Column("reference", "Reference ID"),
        Column("description", "Description"),
        Column("since", "Since"),
        Column("actions", "Actions", "actions"),
    )

    def row(each: Mapping[str, Any]) -> Row:
        return {
            "id": each["id"],
            "_name": each["name"],
            "name": each["name"],
            "reference": each["reference_id"],
            "description": each["description"],
            "since": moment(each["created_at"]),
            "actions": DELETE if visit.may("editor") else [],
        }

    async def act(_act: str, key: str) -> None:
        path = at("/v2/portal/applications/{}", key)
        each = await visit.ask.get(path)
        goes = [f"the application {each['name']}", "its keys: requests with them are refused"]
        confirm("Delete application", lambda: _deleted(visit, path, table), goes=goes)

    table = _table(visit, columns, "/v2/portal/applications", row, "Applications", page, act)
    await table.refresh()


async def _requests(visit: Visit, page: int) -> None:
    columns = (
        Column("application", "Application"),
        Column("version", "Version", "link"),
        Column("status", "Status", "pill"),
        Column("since", "Since"),
        Column("actions", "Actions", "actions"),
    )
    names: dict[str, tuple[str, str]] = {}

    async def fetch(wanted: Wanted) -> tuple[list[Row], int]:
        path = "/v2/portal/registrations"
        listed = await visit.ask.get(path, page_size=wanted.size, page_number=wanted.number)
        return [await row(each) for each in listed["items"]], listed["page"]["total_count"]

    async def row(each: Mapping[str, Any]) -> Row:
        application = await visit.ask.get(at("/v2/portal/applications/{}", each["application_id"]))
        text, address = await named(each["version_id"])
        return {
            "id": each["id"],
            "_name": application["name"],
            "application": application["name"],
            "version": text,
            "version_href": address,
            **_status(visit, each),
        }

    async def named(version_id: str) -> tuple[str, str]:
        if version_id not in names:
            version = await visit.ask.get(at("/v2/catalogue/versions/{}", version_id))
            service = await visit.ask.get(at("/v2/catalogue/services/{}", version["service_id"]))
            address = at("/services/{}/versions/{}", service["id"], version_id)
            names[version_id] = (f"{service['name']} {version['name']}", address)
        return names[version_id]

    async def act(act: str, key: str) -> None:
        path = at("/v2/portal/registrations/{}", key)
        if act in ("delete", "revoked"):
            asked = next(each for each in table.table.rows if each["id"] == key)
            goes = [f"the access of {asked['application']} to {asked['version']}: requests with its keys are refused"]
            if act == "delete":
                stays = "It may be asked for again."
                confirm("Delete request", lambda: _deleted(visit, path, table), goes=goes, stays=stays)
            else:
                _ask_to_revoke(lambda: _decided(visit, path, act, table), goes, "It can be approved again.")
        else:
            await _decided(visit, path, act, table)

    table = PagedTable(
        columns, fetch, label="Requests", page=page, address=visit.address, act=act, empty=_nothing("Requests")
    )
    await table.refresh()


def _status(visit: Visit, each: Mapping[str, Any]) -> Row:
    actions = [*DECISIONS.get(each["status"], []), *DELETE] if visit.may("editor") else []
    return {
        **pill_cells("status", each["status"].capitalize(), TONES.get(each["status"], "idle")),
        "since": moment(each["created_at"]),
        "actions": actions,
    }


def _table(
    visit: Visit,
    columns: tuple[Column, ...],
    path: str,
    row: Callable[[Mapping[str, Any]], Row],
    label: str,
    page: int,
    act: Callable[[str, str], Awaitable[None]],
) -> PagedTable:
    async def fetch(wanted: Wanted) -> tuple[list[Row], int]:
        listed = await visit.ask.get(path, page_size=wanted.size, page_number=wanted.number)
        return [row(each) for each in listed["items"]], listed["page"]["total_count"]

    return PagedTable(columns, fetch, label=label, page=page, address=visit.address, act=act, empty=_nothing(label))


def _nothing(label: str) -> Callable[[], None]:
    hints = {
        "Developers": "Developers sign up in the portal; those of a private one wait here for approval.",
        "Applications": "Developers make applications in the portal and register them with versions.",
        "Requests": "An application that asks for a version without Auto-Approve waits here.",
    }
    return lambda: states.empty(f"No {label.lower()} yet", hints[label], icon="group")


def _ask_to_revoke(revoke: Callable[[], Awaitable[None]], goes: list[str], stays: str) -> None:
    confirm("Revoke access", revoke, goes=goes, action="Revoke", stays=stays)


async def _decided(visit: Visit, path: str, status: str, table: PagedTable) -> None:
    await visit.ask.patch(path, {"status": status})
    await table.refresh()


async def _deleted(visit: Visit, path: str, table: PagedTable) -> None:
    await visit.ask.delete(path)
    await table.refresh()


_LISTS: Mapping[str, Callable[[Visit, int], Awaitable[None]]] = {
    "developers": _developers,
    "applications": _applications,
    "requests": _requests,
}
