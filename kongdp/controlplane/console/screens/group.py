"""A runtime group's page: its **Runtime Instances**, and the tabs that its other screens share. Cold.

Source: walkthrough, section 7.
"""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from kongdp.controlplane.console import layout
from kongdp.controlplane.console.asking import at
from kongdp.controlplane.console.parts import states
from kongdp.controlplane.console.parts.buttons import main_link
from kongdp.controlplane.console.parts.facts import ago
from kongdp.controlplane.console.parts.live import Live
from kongdp.controlplane.console.parts.table import Column, PagedTable, Row, Wanted, pill_cells
from kongdp.controlplane.console.visit import Visit, screen

MANAGER = ("Runtime Manager", "/runtimes")
# Tabs of a group: key, text, what follows the group's address.
TABS = (
    ("instances", "Runtime Instances", ""),
    ("services", "Gateway Services", "/services"),
    ("routes", "Routes", "/routes"),
    ("consumers", "Consumers", "/consumers"),
    ("plugins", "Plugins", "/plugins"),
    ("upstreams", "Upstreams", "/upstreams"),
    ("certificates", "Certificates", "/certificates"),
    ("snis", "SNIs", "/snis"),
    ("revisions", "History", "/revisions"),
    ("tester", "Route tester", "/tester"),
)
COLUMNS = (
    Column("host", "Host", "link"),
    Column("kind", "Type"),
    Column("ping", "Last Ping"),
    Column("version", "Version"),
    Column("sync", "Sync Status", "pill"),
    Column("hash", "Config hash", "code"),
    Column("certificate", "Certificate", "pill"),
    Column("rate", "Requests/s", align="right"),
)
DAY_S = 86_400
# Days left of a certificate from which on it is a warning, and an error.
WARN_DAYS, BAD_DAYS = 30, 7


@screen("/runtimes/{group}", title="Runtime group", menu="runtimes")
async def group(visit: Visit, group: str, page: int = 1) -> None:
    """**Runtime Instances**."""
    found, actions = await group_heading(visit, group, "instances")
    if visit.may("admin", found["id"]):
        with actions:
            main_link("Configure Runtime", at("/runtimes/{}/configure", found["id"]))
    with layout.card("Runtime Instances"):
        with layout.section("Runtime Instances") as side:
            pass
        table = PagedTable(
            COLUMNS,
            lambda wanted: _fetch(visit, found["id"], wanted),
            label="Runtime Instances",
            page=page,
            address=visit.address,
            empty=lambda: _nothing(visit, found),
        )
        await table.refresh()
    with side:
        Live(table.refresh)


async def group_heading(visit: Visit, group: str, tab: str) -> tuple[dict[str, Any], ui.element]:
    """The head that all screens of a group have; returns the group, and the row for actions."""
    found: dict[str, Any] = await visit.ask.get(at("/v2/control-planes/{}", group))
    actions = layout.heading(visit, found["name"], crumbs=[MANAGER], about=found["description"])
    address = at("/runtimes/{}", found["id"])
    layout.tabs(visit, [(key, text, address + tail) for key, text, tail in TABS], tab, label="Runtime group")
    return found, actions


def _nothing(visit: Visit, found: Mapping[str, Any]) -> None:
    states.empty(
        "No runtime instances yet",
        "Configure a runtime: one command starts a data plane and joins it to this group.",
        icon="dns",
    )
    if visit.may("admin", found["id"]):
        with ui.element("div").classes("state-action"):
            main_link("Configure Runtime", at("/runtimes/{}/configure", found["id"]))


async def _fetch(visit: Visit, group_id: str, wanted: Wanted) -> tuple[list[Row], int]:
    ask = visit.ask.unattended()
    path = at("/v2/control-planes/{}/nodes", group_id)
    listed = await ask.get(path, page_size=wanted.size, page_number=wanted.number)
    rates = (await ask.get(at("/v2/control-planes/{}/live", group_id)))["nodes"]
    return [node_row(group_id, node, rates) for node in listed["items"]], listed["page"]["total_count"]


def node_row(group_id: str, node: Mapping[str, Any], rates: Mapping[str, float]) -> Row:
    """A data plane as a row."""
    return {
        "id": node["id"],
        "host": node["hostname"] or node["ip"],
        "host_href": at("/runtimes/{}/instances/{}", group_id, node["id"]),
        "kind": "Data plane",
        "ping": ago(node["last_ping_age_s"]),
        "version": node["version"],
        **sync_cells("sync", node),
        "hash": node["config_hash"][:8],
        "hash_title": node["config_hash"],
        **certificate_cells("certificate", node["cert_expiry"], node["last_ping"] + node["last_ping_age_s"]),
        "rate": f"{rates.get(node['id'], 0.0):,.1f}",
    }


def sync_cells(name: str, node: Mapping[str, Any]) -> Row:
    """**Connected** when a live node has the current configuration, else what is amiss and why."""
    if node["in_sync"]:
        return pill_cells(name, "Connected", "good", "In sync")
    if node["connected"]:
        return pill_cells(name, "Out of sync", "warn", node["reason"])
    return pill_cells(name, "Disconnected", "bad", node["reason"])


def certificate_cells(name: str, expiry: float | None, now: float) -> Row:
    """How long a node's certificate is still valid."""
    if expiry is None:
        return pill_cells(name, "", "idle")
    days = int((expiry - now) // DAY_S)
    if expiry <= now:
        return pill_cells(name, "Expired", "bad")
    text = f"{days} days left" if days != 1 else "1 day left"
    return pill_cells(name, text, "bad" if days < BAD_DAYS else "warn" if days < WARN_DAYS else "good")
