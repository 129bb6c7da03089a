"""**Certificates** of the data planes: when each began and ends, who got it, what was refused, and **Renew now**. Cold.

Source: walkthrough, section 8.4; bars show how much of a certificate's life is over.
"""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from kongdp.controlplane.access import DEFAULT
from kongdp.controlplane.console import layout
from kongdp.controlplane.console.asking import at
from kongdp.controlplane.console.parts import states
from kongdp.controlplane.console.parts.buttons import main_link
from kongdp.controlplane.console.parts.facts import moment
from kongdp.controlplane.console.parts.live import Live
from kongdp.controlplane.console.parts.table import Column, PagedTable, Row, Wanted, pill_cells
from kongdp.controlplane.console.screens.group import certificate_cells
from kongdp.controlplane.console.visit import Visit, screen, tell

NODE_COLUMNS = (
    Column("state", "State", "pill"),
    Column("life", "Timeline", "life"),
    Column("issued", "Issued to"),
    Column("serial", "Serial", "code"),
)
COLUMNS = (Column("host", "Host", "link"), *NODE_COLUMNS, Column("actions", "Actions", "actions"))
ABOUT = (
    "Each data plane has a certificate of its own. One that enrolled renews it by itself before it ends; one that was "
    "generated is replaced by hand."
)
# A renewal takes a node about a second.
PERIOD_S = 3.0
RENEW = [{"key": "renew", "text": "Renew now"}]
REPLACE = [{"key": "replace", "text": "Replace"}]


@screen("/certificates", title="Certificates", menu="certificates")
async def certificates(visit: Visit, group: str = "", page: int = 1) -> None:
    """The page: one runtime group's certificates."""
    layout.heading(visit, "Certificates", about=ABOUT)
    groups = (await visit.ask.get("/v2/control-planes", page_size=1000))["items"]
    current = next((each for each in groups if group in (each["id"], each["name"])), None)
    current = current or next((each for each in groups if each["name"] == DEFAULT), groups[0] if groups else None)
    if current is None:
        states.empty("No runtime group", "You have no role in any runtime group yet.", icon="dns")
        return
    if len(groups) > 1:
        choices = [(each["id"], each["name"], visit.address(group=each["id"], page=None)) for each in groups]
        layout.tabs(visit, choices, current["id"], label="Runtime group")
    with layout.card("Issued"):
        with layout.section("Issued certificates") as side:
            pass
        may_renew = visit.may("admin", current["id"])
        table = PagedTable(
            COLUMNS if may_renew else COLUMNS[:-1],
            lambda wanted: fetch_issued(visit, current["id"], wanted),
            label="Issued certificates",
            page=page,
            address=visit.address,
            empty=lambda: _nothing(visit, current["id"]),
            act=lambda act, key: _act(visit, current["id"], act, key.partition(" ")[0]),
        )
        await table.refresh()
        with side:
            Live(table.refresh, period_s=PERIOD_S)
    if visit.may("viewer"):
        await _refusals(visit)


def _nothing(visit: Visit, group_id: str) -> None:
    states.empty(
        "No certificates yet", "A data plane gets one when it enrols: configure a runtime.", icon="verified_user"
    )
    if visit.may("admin", group_id):
        with ui.element("div").classes("state-action"):
            main_link("Configure Runtime", at("/runtimes/{}/configure", group_id))


async def fetch_issued(
    visit: Visit, group_id: str, wanted: Wanted, *, node: str | None = None
) -> tuple[list[Row], int]:
    """A page of issued certificates."""
    path = at("/v2/control-planes/{}/node-certificates", group_id)
    ask = visit.ask.unattended()
    listed = await ask.get(path, node=node, page_size=wanted.size, page_number=wanted.number)
    newest: set[str] = set()
    rows = []
    for each in listed["items"]:
        is_newest = each["node"] not in newest and each["state"] == "valid"
        newest.add(each["node"])
        rows.append(_row(group_id, each, listed["now"], may_renew=is_newest))
    return rows, listed["page"]["total_count"]


def _row(group_id: str, each: Mapping[str, Any], now: float, *, may_renew: bool) -> Row:
    life = each["not_after"] - each["not_before"]
    over = min(1.0, max(0.0, (now - each["not_before"]) / life)) if life > 0 else 1.0
    return {
        "id": f"{each['node']} {each['serial']}",
        "_name": each["hostname"],
        "host": each["hostname"] or each["node"][:8],
        "host_href": at("/runtimes/{}/instances/{}", group_id, each["node"]) if each["hostname"] else "",
        **_state(each, now),
        "life": round(over, 3),
        "life_note": f"{moment(each['not_before'])[:10]} to {moment(each['not_after'])[:10]}",
        "issued": each["issued_to"],
        "serial": each["serial"][:16],
        "serial_title": each["serial"],
        "actions": (RENEW if each["is_renewed"] else REPLACE) if may_renew and each["hostname"] else [],
    }


def _state(each: Mapping[str, Any], now: float) -> Row:
    if each["state"] == "revoked":
        return pill_cells("state", "Revoked", "bad", moment(each["revoked_at"]))
    return certificate_cells("state", each["not_after"], now)


async def _act(visit: Visit, group_id: str, act: str, node_id: str) -> None:
    if act == "renew":
        await renew(visit, group_id, node_id)
    else:
        ui.navigate.to(at("/runtimes/{}/configure", group_id) + "?tab=linux")


async def renew(visit: Visit, group_id: str, node_id: str) -> None:
    """Ask a node; its new certificate appears in the table."""
    await visit.ask.post(at("/v2/control-planes/{}/nodes/{}/renew-certificate", group_id, node_id))
    tell("Asked the instance for a new certificate. The present one stays valid.", is_good=True)


async def _refusals(visit: Visit) -> None:
    """The last errors: what was refused, to whom, why."""
    found = (await visit.ask.get("/v2/certificate-refusals"))["items"]
    with layout.card("Last refused requests"):
        with layout.section("Last refused requests"):
            pass
        if not found:
            ui.label("None since this control plane was started.").classes("hint")
            return
        with ui.element("div").classes("scroll-x"), ui.element("table").classes("plain-table"):
            with ui.element("thead"), ui.element("tr"):
                for text in ("When", "From", "Request", "Why"):
                    with ui.element("th").props("scope=col"):
                        ui.label(text)
            with ui.element("tbody"):
                for each in found:
                    with ui.element("tr"):
                        for text in (moment(each["at"]), each["address"], each["operation"], each["message"]):
                            with ui.element("td"):
                                ui.label(text)
