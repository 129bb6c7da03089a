"""A group's **History**: who changed what, what the difference is, which data planes have it, and the way back.

Cold. Source: ours; revisions are `controlplane/revisions.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from nicegui import ui

from kongdp.controlplane.console import layout
from kongdp.controlplane.console.asking import at
from kongdp.controlplane.console.parts import states
from kongdp.controlplane.console.parts.buttons import main_button
from kongdp.controlplane.console.parts.dialogs import confirm
from kongdp.controlplane.console.parts.facts import facts, moment, number
from kongdp.controlplane.console.parts.live import Live
from kongdp.controlplane.console.parts.table import Column, PagedTable, Row, Wanted
from kongdp.controlplane.console.screens.group import MANAGER, group_heading, sync_cells
from kongdp.controlplane.console.visit import Visit, screen

COLUMNS = (
    Column("number", "Revision", "link"),
    Column("at", "When", "time"),
    Column("actor", "Who"),
    Column("summary", "What"),
    Column("count", "Changes", align="right"),
)
ROLL_OUT_COLUMNS = (
    Column("host", "Host", "link"),
    Column("sync", "Sync Status", "pill"),
    Column("hash", "Config hash", "code"),
)
# Of one comparison; the API has them all.
CHANGES_SHOWN = 200
MARKS = {"create": "+", "delete": "−", "update": "~"}
# What the control plane sets by itself, and says nothing.
SILENT = frozenset(("created_at", "updated_at"))
HIDDEN = "(hidden)"
SECRETS = frozenset(("key", "password", "secret", "client_secret", "cert_alt", "key_alt"))


@screen("/runtimes/{group}/revisions", title="History", menu="runtimes")
async def history(visit: Visit, group: str, page: int = 1, nodes: int = 1) -> None:
    """The list, and how far the newest one has got; `nodes` is the page of the data planes."""
    found, _actions = await group_heading(visit, group, "revisions")
    await _roll_out(visit, found, nodes)
    with layout.card("Revisions"):
        with layout.section("Revisions"):
            pass
        table = PagedTable(
            COLUMNS,
            lambda wanted: _fetch(visit, found["id"], wanted),
            label="Revisions",
            page=page,
            address=visit.address,
            empty=lambda: states.empty(
                "Nothing was changed yet", "Every change of this group will be listed here.", icon="history"
            ),
        )
        await table.refresh()


async def _fetch(visit: Visit, group_id: str, wanted: Wanted) -> tuple[list[Row], int]:
    path = at("/v2/control-planes/{}/revisions", group_id)
    found = await visit.ask.get(path, page_size=wanted.size, page_number=wanted.number)
    return [_row(group_id, each) for each in found["items"]], found["page"]["total_count"]


def _row(group_id: str, revision: Mapping[str, Any]) -> Row:
    return {
        "id": str(revision["number"]),
        "number": f"#{revision['number']}",
        "number_href": at("/runtimes/{}/revisions/{}", group_id, str(revision["number"])),
        "at": revision["at"],
        "actor": revision["actor"],
        "summary": revision["summary"],
        "count": number(revision["count"]),
    }


async def _roll_out(visit: Visit, found: Mapping[str, Any], page: int) -> None:
    """Which data planes have the newest configuration, and why the others have not."""
    path = at("/v2/control-planes/{}/nodes", found["id"])

    async def fetch(wanted: Wanted) -> tuple[list[Row], int]:
        ask = visit.ask.unattended()
        listed = await ask.get(path, page_size=wanted.size, page_number=wanted.number)
        # All of the group's, whatever page of them is shown.
        groups = (await ask.get("/v2/live"))["groups"]
        progress.text = next((_progress(each) for each in groups if each["id"] == found["id"]), "")
        return [_node_row(found["id"], node) for node in listed["items"]], listed["page"]["total_count"]

    with layout.card("Roll-out"):
        with layout.section("Roll-out") as side:
            pass
        progress = ui.label("").props('role="status"')
        table = PagedTable(
            ROLL_OUT_COLUMNS,
            fetch,
            label="Roll-out",
            size=10,
            page=page,
            address=lambda page, q: visit.address(nodes=page, q=q),
        )
        await table.refresh()
    with side:
        Live(table.refresh)


def _progress(group: Mapping[str, Any]) -> str:
    if not group["nodes"]:
        return "No runtime instances"
    return f"{number(group['in_sync'])} of {number(group['nodes'])} have the newest configuration"


def _node_row(group_id: str, node: Mapping[str, Any]) -> Row:
    return {
        "id": node["id"],
        "host": node["hostname"] or node["ip"],
        "host_href": at("/runtimes/{}/instances/{}", group_id, node["id"]),
        "hash": node["config_hash"][:8],
        "hash_title": node["config_hash"],
        **sync_cells("sync", node),
    }


@screen("/runtimes/{group}/revisions/{revision}", title="Revision", menu="runtimes")
async def revision(visit: Visit, group: str, revision: str, compare: str = "") -> None:
    """What one revision changed, or (`compare=newest`) what has been changed since."""
    owner = await visit.ask.get(at("/v2/control-planes/{}", group))
    path = at("/v2/control-planes/{}/revisions/{}", owner["id"], revision)
    found = await visit.ask.get(path)
    crumbs = [
        MANAGER,
        (owner["name"], at("/runtimes/{}", owner["id"])),
        ("History", at("/runtimes/{}/revisions", owner["id"])),
    ]
    actions = layout.heading(visit, f"Revision {found['number']}", crumbs=crumbs, about=found["summary"])
    since = (await visit.ask.get(path + "/diff"))["changes"]
    if visit.may("editor", owner["id"]) and since:
        with actions:
            main_button("Restore", lambda: _restore(visit, owner, found, since), icon="restore")
    with layout.card("Facts"):
        facts([("Who", found["actor"]), ("When", moment(found["at"])), ("Changes", number(found["count"]))])
    views = [
        ("", "What it changed", visit.address(compare=None)),
        ("newest", "What has changed since", visit.address(compare="newest")),
    ]
    layout.tabs(visit, views, "newest" if compare == "newest" else "", label="Comparison")
    with layout.card("Changes"):
        _changes(since if compare == "newest" else found["changes"])


def _changes(changes: Sequence[Mapping[str, Any]]) -> None:
    if not changes:
        states.empty("No difference", "The configuration is the same.", icon="done")
    for change in changes[:CHANGES_SHOWN]:
        with ui.element("details").classes("advanced") as details:
            if len(changes) <= 5:
                details.props("open")
            with ui.element("summary"):
                title = f"{MARKS[change['kind']]} {change['collection']} {change.get('name') or change['id']}"
                ui.label(f"{title} ({change['kind']}d)")
            _fields(change)
    if len(changes) > CHANGES_SHOWN:
        ui.label(f"and {number(len(changes) - CHANGES_SHOWN)} more").classes("hint")


def _fields(change: Mapping[str, Any]) -> None:
    """The fields before and after, one row each."""
    with ui.element("div").classes("scroll-x"), ui.element("table").classes("plain-table"):
        with ui.element("thead"), ui.element("tr"):
            for text in ("Field", "Before", "After"):
                with ui.element("th").props("scope=col"):
                    ui.label(text)
        with ui.element("tbody"):
            for name, before, after in differing(change):
                with ui.element("tr"):
                    for text in (name, before, after):
                        with ui.element("td"):
                            ui.label(text)


def differing(change: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(field, before, after) of what differs; secrets are not shown."""
    if change["kind"] == "update":
        pairs = {name: (each["before"], each["after"]) for name, each in change["fields"].items()}
    else:
        row = change["after"] or change["before"] or {}
        side = 1 if change["after"] else 0
        pairs = {name: (None, value) if side else (value, None) for name, value in row.items() if value is not None}
    return [
        (name, _told(name, before), _told(name, after)) for name, (before, after) in pairs.items() if name not in SILENT
    ]


def _told(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if name in SECRETS:
        return HIDDEN
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _restore(
    visit: Visit, owner: Mapping[str, Any], found: Mapping[str, Any], since: Sequence[Mapping[str, Any]]
) -> None:
    async def restore() -> None:
        path = at("/v2/control-planes/{}/revisions/{}/restore", owner["id"], str(found["number"]))
        made = await visit.ask.post(path)
        ui.navigate.to(at("/runtimes/{}/revisions/{}", owner["id"], str(made["number"])))

    undone = [f"{each['kind']} of {each['collection']} {each.get('name') or each['id']}" for each in since]
    stays = "Restoring makes a new revision, so it can be taken back."
    confirm(f"Restore revision {found['number']}", restore, goes=undone, stays=stays, action="Restore")
