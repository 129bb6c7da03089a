"""A runtime instance: whether it has its configuration and why not, its certificates, its requests. Cold."""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from kongdp.controlplane.console import layout
from kongdp.controlplane.console.asking import at
from kongdp.controlplane.console.parts.buttons import menu_button, quiet_button
from kongdp.controlplane.console.parts.dialogs import confirm
from kongdp.controlplane.console.parts.facts import ago, facts, moment, pill
from kongdp.controlplane.console.parts.live import Live
from kongdp.controlplane.console.parts.status_codes import Shown, StatusCodes
from kongdp.controlplane.console.parts.table import PagedTable
from kongdp.controlplane.console.screens.certificates import NODE_COLUMNS, fetch_issued, renew
from kongdp.controlplane.console.screens.group import MANAGER, sync_cells
from kongdp.controlplane.console.visit import Visit, screen

# A renewal takes the node about a second.
CERTIFICATES_PERIOD_S = 3.0


@screen("/runtimes/{group}/instances/{node}", title="Runtime instance", menu="runtimes")
async def node(
    visit: Visit,
    group: str,
    node: str,
    frame: str = "",
    start: str = "",
    end: str = "",
    view: str = "",
    zone: str = "",
    page: int = 1,
) -> None:
    """The page."""
    owner = await visit.ask.get(at("/v2/control-planes/{}", group))
    path = at("/v2/control-planes/{}/nodes/{}", owner["id"], node)
    found = (await visit.ask.get(path))["item"]
    name = found["hostname"] or found["ip"]
    crumbs = [MANAGER, (owner["name"], at("/runtimes/{}", owner["id"]))]
    actions = layout.heading(visit, name, crumbs=crumbs, about=f"Data plane of {owner['name']}")
    if visit.may("admin", owner["id"]):
        with actions:
            menu_button(
                "Actions",
                [
                    ("Forget instance", lambda: _forget(visit, owner, found)),
                    ("Revoke certificates", lambda: _revoke(visit, owner, found)),
                ],
            )
    _status(visit, path, found)
    await _certificates(visit, owner, found, page)
    record = at("/v2/control-planes/{}/activity", owner["id"])
    shown = Shown(frame, start, end, view, zone)
    await StatusCodes(visit, record, shown, query={"node": node}, counted="reaches this instance").show()


def _status(visit: Visit, path: str, found: dict[str, Any]) -> None:
    with layout.card("Status"):
        with layout.section("Status") as side:
            pass
        body = ui.element("div")
        shown: dict[str, Any] = {}

        def draw(node: Mapping[str, Any]) -> None:
            told = _told(node)
            if told == shown.get("told"):
                return
            shown["told"] = told
            body.clear()
            with body:
                _draw_status(node, told)

        async def read() -> None:
            draw((await visit.ask.unattended().get(path))["item"])

        draw(found)
        with side:
            Live(read)


def _told(node: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("Last Ping", ago(node["last_ping_age_s"])),
        ("Version", node["version"]),
        ("Address", node["ip"]),
        ("ID", node["id"]),
        ("Configuration hash", node["config_hash"]),
        ("Expected hash", node["expected_hash"]),
        ("Certificate ends", moment(node["cert_expiry"])),
        ("Known since", moment(node["created_at"])),
        ("Labels", ", ".join(f"{key}: {value}" for key, value in (node["labels"] or {}).items())),
    ]


def _draw_status(node: Mapping[str, Any], told: list[tuple[str, str]]) -> None:
    cells = sync_cells("sync", node)
    with ui.element("div").classes("actions").style("margin-bottom:14px"):
        pill(cells["sync"], cells["sync_tone"])
        ui.label(cells["sync_note"])
    error = node["last_error"]
    if error and not node["in_sync"]:
        with ui.element("div").classes("problem").style("margin-bottom:14px"):
            ui.label(f"Last rejection ({error.get('name', 'error')}): {error.get('message', '')}")
    facts(told)


async def _certificates(visit: Visit, owner: Mapping[str, Any], found: Mapping[str, Any], page: int) -> None:
    with layout.card("Certificates"):
        with layout.section("Certificates") as side:
            if visit.may("admin", owner["id"]):
                quiet_button("Renew now", lambda: renew(visit, owner["id"], found["id"]), icon="autorenew")
        table = PagedTable(
            NODE_COLUMNS,
            lambda wanted: fetch_issued(visit, owner["id"], wanted, node=found["id"]),
            label="Certificates",
            page=page,
            size=10,
            address=visit.address,
        )
        await table.refresh()
    with side:
        Live(table.refresh, period_s=CERTIFICATES_PERIOD_S)


def _forget(visit: Visit, owner: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    async def forget() -> None:
        await visit.ask.delete(at("/v2/control-planes/{}/nodes/{}", owner["id"], found["id"]))
        ui.navigate.to(at("/runtimes/{}", owner["id"]))

    goes = [f"the row of {found['hostname'] or found['ip']} ({found['id']})"]
    confirm("Forget instance", forget, goes=goes, action="Forget", stays="One that still runs comes back by itself.")


def _revoke(visit: Visit, owner: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    async def revoke() -> None:
        await visit.ask.delete(at("/v2/control-planes/{}/nodes/{}", owner["id"], found["id"]), revoke="true")
        ui.navigate.to(at("/runtimes/{}", owner["id"]))

    goes = [f"the row of {found['hostname'] or found['ip']}", "all of its certificates: it cannot connect any more"]
    stays = "It goes on serving its last configuration until it is stopped."
    confirm("Revoke certificates", revoke, goes=goes, action="Revoke", stays=stays)
