"""**Overview**: what the gateway does right now: requests, errors, latencies, nodes. Cold.

House rule: one reading a second, and only what changed goes to the browser.
"""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from kongdp.controlplane.console import layout
from kongdp.controlplane.console.asking import at
from kongdp.controlplane.console.parts import charts, states
from kongdp.controlplane.console.parts.buttons import main_link
from kongdp.controlplane.console.parts.facts import number, tile
from kongdp.controlplane.console.parts.live import Live
from kongdp.controlplane.console.parts.table import Column, PagedTable, Row, Wanted, pill_cells
from kongdp.controlplane.console.visit import Visit, screen

COLUMNS = (
    Column("name", "Runtime group", "link"),
    Column("rate", "Requests/s", align="right"),
    Column("nodes", "Runtime instances", "pill"),
)
BEYOND = "> 60 s"
NOTHING = "–"


@screen("/", title="Overview", menu="overview")
async def overview(visit: Visit, page: int = 1) -> None:
    """The page."""
    actions = layout.heading(visit, "Overview", about="What all data planes do right now")
    board = Board(visit, page)
    await board.show()
    with actions:
        Live(board.read)


class Board:
    """The figures, and what they were: an element is touched only when its figure has changed."""

    def __init__(self, visit: Visit, page: int) -> None:
        self._visit = visit
        self._page = page
        self._live: dict[str, Any] = {}

    async def show(self) -> None:
        """Make the page."""
        self._live = await self._visit.ask.get("/v2/live")
        with ui.element("div").classes("tiles"):
            self._tiles = {
                name: tile(text, NOTHING)
                for name, text in (
                    ("rate", "Requests per second"),
                    ("errors", "Error rate (5xx)"),
                    ("client", "Refused (4xx)"),
                    ("p50", "Latency, median"),
                    ("p95", "Latency, 95 %"),
                    ("p99", "Latency, 99 %"),
                    ("nodes", "Connected instances"),
                )
            }
        with layout.card("Requests per second"):
            with layout.section("The last two minutes"):
                pass
            self._chart = charts.chart(charts.pulse(self._live["points"]), "Requests per second, the last two minutes")
        with layout.card("Runtime groups"):
            with layout.section("Runtime groups"):
                pass
            self._table = PagedTable(
                COLUMNS, self._groups, label="Runtime groups", page=self._page, address=self._visit.address
            )
        self._problems = ui.element("div")
        await self._table.refresh()
        self._figures()
        self._warn()

    async def read(self) -> None:
        """Once a second."""
        before, self._live = self._live, await self._visit.ask.unattended().get("/v2/live")
        self._figures()
        if before["points"] != self._live["points"]:
            self._chart.options["series"] = charts.pulse(self._live["points"])["series"]
            self._chart.update()
        await self._table.refresh()
        if [each["problems"] for each in before["groups"]] != [each["problems"] for each in self._live["groups"]]:
            self._warn()

    def _figures(self) -> None:
        for name, text in figures(self._live).items():
            if self._tiles[name].text != text:
                self._tiles[name].text = text

    async def _groups(self, wanted: Wanted) -> tuple[list[Row], int]:
        groups = self._live["groups"]
        start = (wanted.number - 1) * wanted.size
        return [_row(group) for group in groups[start : start + wanted.size]], len(groups)

    def _warn(self) -> None:
        """Nodes that are not as they should be; or the first step, where there is no node yet."""
        self._problems.clear()
        found = [(group, each) for group in self._live["groups"] for each in group["problems"]]
        with self._problems:
            if found:
                _instances_to_look_at(found)
            elif not any(group["nodes"] for group in self._live["groups"]):
                with layout.card("First step"):
                    states.empty(
                        "No data plane yet",
                        "Configure a runtime: one command starts a data plane and joins it.",
                        icon="rocket_launch",
                    )
                    if self._visit.may("admin"):
                        with ui.element("div").classes("state-action"):
                            main_link("Configure Runtime", "/runtimes/default/configure")


def figures(live: Mapping[str, Any]) -> dict[str, str]:
    """The tiles' texts."""
    latency = live["latency_ms"]
    groups = live["groups"]
    has_traffic = live["requests_per_s"] > 0
    return {
        "rate": number(live["requests_per_s"]) if live["requests_per_s"] >= 10 else f"{live['requests_per_s']:.1f}",
        "errors": f"{live['server_error_share']:.2%}" if has_traffic else NOTHING,
        "client": f"{live['client_error_share']:.2%}" if has_traffic else NOTHING,
        **{name: _bound(latency, name) for name in ("p50", "p95", "p99")},
        "nodes": f"{sum(each['connected'] for each in groups)} of {sum(each['nodes'] for each in groups)}",
    }


def _bound(latency: Mapping[str, float | None], name: str) -> str:
    """A percentile is known to its bucket: no more than this."""
    if name not in latency:
        return NOTHING
    value = latency[name]
    return BEYOND if value is None else f"≤ {value:.0f} ms" if value < 1000 else f"≤ {value / 1000:.0f} s"


def _row(group: Mapping[str, Any]) -> Row:
    count, connected, in_sync = group["nodes"], group["connected"], group["in_sync"]
    if not count:
        cells = pill_cells("nodes", "None", "idle")
    elif in_sync == count:
        cells = pill_cells("nodes", f"{connected} Connected", "good", "All in sync")
    else:
        cells = pill_cells("nodes", f"{connected} of {count} connected", "warn", f"{in_sync} in sync")
    return {
        "id": group["id"],
        "name": group["name"],
        "name_href": at("/runtimes/{}", group["id"]),
        "rate": f"{group['requests_per_s']:,.1f}",
        **cells,
    }


def _instances_to_look_at(found: list[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> None:
    with layout.card("Instances to look at"):
        with layout.section("Instances to look at"):
            pass
        with ui.element("ul").classes("goes"):
            for group, each in found[:20]:
                with ui.element("li"):
                    with layout.link(at("/runtimes/{}/instances/{}", group["id"], each["node"])):
                        ui.label(each["hostname"])
                    ui.label(f"{group['name']}: {each['reason']}").classes("hint")
