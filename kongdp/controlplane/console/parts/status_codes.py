"""The card **Status Codes**: what was answered, as a graph or a list, in a time frame, live, with export as CSV.

In: the address of a record in the API (a version's, a service's, a route's).  Out: the card. Its time frame, view and
zone are part of the page's address. Cold. Source: walkthrough, section 10.
"""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from kongdp.controlplane.activity_record import FRAME_DEFAULT, FRAMES
from kongdp.controlplane.console import layout
from kongdp.controlplane.console.parts import charts, states
from kongdp.controlplane.console.parts.buttons import main_button, quiet_button
from kongdp.controlplane.console.parts.dialogs import dialog
from kongdp.controlplane.console.parts.facts import number
from kongdp.controlplane.console.parts.form import Form
from kongdp.controlplane.console.parts.live import Live
from kongdp.controlplane.console.visit import Visit

UNITS = {"m": "Minutes", "h": "Hours", "d": "Days"}
CUSTOM = "custom"


def frame_name(key: str) -> str:
    """A frame as people read it: "Last 5 Minutes"."""
    count, unit = key[:-1], UNITS[key[-1]]
    return f"Last {unit[:-1]}" if count == "1" else f"Last {count} {unit}"


class StatusCodes:
    """The card. Call `show` once."""

    def __init__(
        self,
        visit: Visit,
        path: str,
        *,
        title: str = "Status Codes",
        query: Mapping[str, str] | None = None,
        frame_key: str,
        view: str,
        zone: str,
    ) -> None:
        self._visit = visit
        self._path = path
        self._query = dict(query or {})
        self._title = title
        self._frame = frame_key if frame_key in FRAMES else FRAME_DEFAULT
        self._is_list = view == "list"
        self._is_utc = zone == "utc"
        self._shown: Any = None

    async def show(self) -> None:
        """Make the card."""
        with layout.card(self._title):
            with layout.section(self._title):
                self._controls()
            with ui.element("div").classes("toolbar"):
                self._sum = ui.label("").classes("hint grow")
                Live(self._read)
            self._body = ui.element("div")
            await self._read(is_first=True)

    def _controls(self) -> None:
        visit = self._visit
        frames = ui.select({key: frame_name(key) for key in FRAMES}, value=self._frame, label="Time frame")
        frames.props("outlined dense").classes("frame-select")
        frames.on_value_change(lambda event: ui.navigate.to(visit.address(frame=event.value)))
        zone = ui.checkbox("UTC", value=self._is_utc)
        zone.on_value_change(lambda event: ui.navigate.to(visit.address(zone="utc" if event.value else None)))
        layout.tabs(
            visit,
            [("graph", "Graph", visit.address(view=None)), ("list", "List", visit.address(view="list"))],
            "list" if self._is_list else "graph",
            label=f"{self._title}: view",
        )
        quiet_button("Export", self._export, icon="download")

    async def _read(self, *, is_first: bool = False) -> None:
        ask = self._visit.ask if is_first else self._visit.ask.unattended()
        record = await ask.get(self._path, **self._query, frame=self._frame)
        found = (record["codes"], record["points"], record["end"] // record["step"])
        if found == self._shown:
            return
        had = self._shown is not None and bool(self._shown[0])
        self._shown = found
        self._sum.text = f"{number(record['total'])} in the {frame_name(self._frame)}" if record["total"] else ""
        if self._is_list or not record["total"] or not had:
            self._body.clear()
            with self._body:
                self._draw(record)
        else:
            self._chart.options.update(charts.by_code(record, is_utc=self._is_utc))
            self._chart.props["aria-label"] = self._said(record)
            self._chart.update()
            self._list.clear()
            with self._list:
                code_list(record)

    def _draw(self, record: Mapping[str, Any]) -> None:
        if not record["total"]:
            states.empty(
                f"No requests in the {frame_name(self._frame)}",
                "Every request that matches a route of this version is counted here, also those that are refused.",
                icon="bar_chart",
            )
        elif self._is_list:
            code_list(record)
        else:
            self._chart = charts.chart(charts.by_code(record, is_utc=self._is_utc), self._said(record))
            self._list = ui.element("div")
            with self._list:
                code_list(record)

    def _said(self, record: Mapping[str, Any]) -> str:
        """The graph in words."""
        return f"{self._title}: " + ", ".join(f"{code}: {count}" for code, count in record["codes"].items())

    def _export(self) -> None:
        form = Form()
        with dialog(f"Export {self._title}") as shown:
            with ui.element("div").classes("form"):
                choices = {**{key: frame_name(key) for key in FRAMES}, CUSTOM: "Custom dates"}
                choice = form.choice("frame", "Time frame", choices, self._frame)
                with ui.element("div").classes("form-row") as dates:
                    form.text("start", "From", hint="2026-01-31, or 2026-01-31T12:00:00Z")
                    form.text("end", "Up to and with", hint="Empty: now")
                dates.bind_visibility_from(choice, "value", lambda value: value == CUSTOM)
                form.problem()

            async def export() -> None:
                values = form.values() or {}
                is_custom = values["frame"] == CUSTOM
                query = (
                    {"start": values["start"], "end": values["end"] or None}
                    if is_custom
                    else {"frame": values["frame"]}
                )

                async def call() -> None:
                    text = await self._visit.ask.text(f"{self._path}.csv", **self._query, **query)
                    ui.download.content(text, "status-codes.csv", "text/csv")

                if await form.submit(call):
                    shown.close()

            with ui.element("div").classes("dialog-actions"):
                quiet_button("Cancel", shown.close)
                main_button("Export as CSV", export)


def code_list(record: Mapping[str, Any]) -> None:
    """Every status code with its count and share."""
    total = record["total"]
    with ui.element("table").classes("plain-table"):
        with ui.element("thead"), ui.element("tr"):
            for text, is_amount in (("Status code", False), ("Requests", True), ("Share", True)):
                with ui.element("th").props("scope=col").classes("amount" if is_amount else ""):
                    ui.label(text)
        with ui.element("tbody"):
            for code, count in record["codes"].items():
                with ui.element("tr"):
                    for text, is_amount in ((code, False), (number(count), True), (f"{count / total:.1%}", True)):
                        with ui.element("td").classes("amount" if is_amount else ""):
                            ui.label(text)
