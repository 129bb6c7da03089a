"""The card **Status Codes**: what was answered, as a graph or a list, in a time frame, live, with export as CSV; of a service
by version, unless status codes are chosen.

In: the address of a record in the API (a version's, a service's, a route's).  Out: the card. Its time frame (a usual one,
or from one moment to another), view, zone and grouping are part of the page's address.
Cold. Source: walkthrough, sections 3 and 10.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nicegui import ui

from kongdp.controlplane.activity_record import FRAME_DEFAULT, FRAMES
from kongdp.controlplane.console import layout
from kongdp.controlplane.console.asking import RefusedError
from kongdp.controlplane.console.parts import charts, states
from kongdp.controlplane.console.parts.buttons import main_button, quiet_button
from kongdp.controlplane.console.parts.dates import CUSTOM, Dates
from kongdp.controlplane.console.parts.dialogs import dialog
from kongdp.controlplane.console.parts.facts import moment, number
from kongdp.controlplane.console.parts.form import Form
from kongdp.controlplane.console.parts.live import Live
from kongdp.controlplane.console.visit import Visit

BY_CODE = "code"
UNITS = {"m": "Minutes", "h": "Hours", "d": "Days"}


def frame_name(key: str) -> str:
    """A frame as people read it: "Last 5 Minutes"."""
    count, unit = key[:-1], UNITS[key[-1]]
    return f"Last {unit[:-1]}" if count == "1" else f"Last {count} {unit}"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page's address says of the card: `start` and perhaps `end` stand in place of a `frame`."""

    frame: str = ""
    start: str = ""
    end: str = ""
    view: str = ""
    zone: str = ""
    by: str = ""

    def query(self) -> dict[str, str | None]:
        """The span as the API is asked for it."""
        if self.start or self.end:
            return {"start": self.start or None, "end": self.end or None}
        return {"frame": self.frame if self.frame in FRAMES else FRAME_DEFAULT}


class StatusCodes:
    """The card. Call `show` once."""

    def __init__(
        self,
        visit: Visit,
        path: str,
        shown: Shown,
        *,
        title: str = "Status Codes",
        query: Mapping[str, str] | None = None,
        counted: str = "matches a route of this version",
        also: Callable[[], Awaitable[None]] | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> None:
        """`counted`: which requests are; `also`: what else on the page follows them; `versions`: names by id, where the record
        has points by version.
        """
        self._visit = visit
        self._also = also
        self._counted = counted
        self._path = path
        self._versions = versions
        self._is_by_version = versions is not None and shown.by != BY_CODE
        self._query = dict(query or {})
        self._title = title
        self._span = shown.query()
        self._frame = self._span.get("frame") or CUSTOM
        self._is_list = shown.view == "list"
        self._is_utc = shown.zone == "utc"
        self._shown: Any = None
        self._form = Form()

    async def show(self) -> None:
        """Make the card."""
        with layout.card(self._title):
            with layout.section(self._title):
                self._controls()
            self._dates()
            with ui.element("div").classes("toolbar"):
                self._sum = ui.label("").classes("hint grow")
                live = ui.element("div")
            self._body = ui.element("div")
            try:
                await self._read(is_first=True)
            except RefusedError as error:
                if error.status != 400 or self._frame != CUSTOM:
                    raise
                self._form.refused(error)
                return
            with live:
                Live(self._read)

    def _controls(self) -> None:
        visit = self._visit
        frames = ui.select(
            {key: frame_name(key) for key in FRAMES} | {CUSTOM: "Custom dates"}, value=self._frame, label="Time frame"
        )
        frames.props("outlined dense").classes("frame-select")
        frames.on_value_change(lambda event: self._choose(event.value))
        zone = ui.checkbox("UTC", value=self._is_utc)
        zone.on_value_change(lambda event: ui.navigate.to(visit.address(zone="utc" if event.value else None)))
        if self._versions is not None:
            layout.tabs(
                visit,
                [
                    ("version", "By version", visit.address(by=None)),
                    (BY_CODE, "By status code", visit.address(by=BY_CODE)),
                ],
                "version" if self._is_by_version else BY_CODE,
                label=f"{self._title}: grouping",
            )
        layout.tabs(
            visit,
            [("graph", "Graph", visit.address(view=None)), ("list", "List", visit.address(view="list"))],
            "list" if self._is_list else "graph",
            label=f"{self._title}: view",
        )
        quiet_button("Export", self._export, icon="download")

    def _choose(self, frame: str) -> None:
        """Another frame is another address; dates are to be said first."""
        self._custom.visible = frame == CUSTOM
        if frame != CUSTOM:
            ui.navigate.to(self._visit.address(frame=frame, start=None, end=None))

    def _dates(self) -> None:
        """From one moment to another."""
        with ui.element("div").classes("form dates") as self._custom:
            with ui.element("div").classes("form-row"):
                self._fields = Dates(self._form, is_utc=self._is_utc)
                self._fields.button("Show", self._apply)
            self._form.problem()
        self._custom.visible = self._frame == CUSTOM

    def _apply(self, start: str, end: str) -> None:
        self._form.clear()
        if not start:
            self._form.show({"start": "is required"})
            return
        ui.navigate.to(self._visit.address(frame=None, start=start, end=end))

    async def _read(self, *, is_first: bool = False) -> None:
        ask = self._visit.ask if is_first else self._visit.ask.unattended()
        by = {"by": "version"} if self._is_by_version else {}
        record = await ask.get(self._path, **self._query, **self._span, **by)
        if is_first and self._frame == CUSTOM:
            # What is shown, whatever the address says.
            ends = {"end": record["end"]} if self._span["end"] else {}
            self._fields.fill({"start": record["start"], **ends})
        # Points of versions change with these.
        found = (record["codes"], record["points"], record["end"] // record["step"])
        if found == self._shown:
            return
        had = self._shown is not None and bool(self._shown[0])
        self._shown = found
        if self._also is not None and not is_first:
            await self._also()
        self._sum.text = f"{number(record['total'])} {self._when(record)}" if record["total"] else ""
        if self._is_list or not record["total"] or not had:
            self._body.clear()
            with self._body:
                self._draw(record)
        else:
            self._chart.options.update(self._options(record))
            self._chart.props["aria-label"] = self._said(record)
            self._chart.update()
            self._list.clear()
            with self._list:
                self._list_amounts(record)

    def _when(self, record: Mapping[str, Any]) -> str:
        """The span in words."""
        if self._frame != CUSTOM:
            return f"in the {frame_name(self._frame)}"
        last = moment(record["end"]) if self._span["end"] else "now"
        return f"from {moment(record['start'])} to {last}"

    def _draw(self, record: Mapping[str, Any]) -> None:
        if not record["total"]:
            states.empty(
                f"No requests {self._when(record)}",
                f"Every request that {self._counted} is counted here, also those that are refused.",
                icon="bar_chart",
            )
        elif self._is_list:
            self._list_amounts(record)
        else:
            self._chart = charts.chart(self._options(record), self._said(record))
            self._list = ui.element("div")
            with self._list:
                self._list_amounts(record)

    def _said(self, record: Mapping[str, Any]) -> str:
        """The graph in words."""
        return f"{self._title}: " + ", ".join(f"{name}: {count}" for name, count in self._amounts(record))

    def _options(self, record: Mapping[str, Any]) -> dict[str, Any]:
        if self._is_by_version:
            return charts.by_version(record, self._versions or {}, is_utc=self._is_utc)
        return charts.by_code(record, is_utc=self._is_utc)

    def _amounts(self, record: Mapping[str, Any]) -> list[tuple[str, int]]:
        """What the graph shows, in all."""
        if not self._is_by_version:
            return list(record["codes"].items())
        counts: dict[str, int] = dict.fromkeys(self._versions or {}, 0)
        for point in record["version_points"]:
            counts[point["version"]] = counts.get(point["version"], 0) + point["count"]
        return [((self._versions or {}).get(version, version), count) for version, count in counts.items()]

    def _list_amounts(self, record: Mapping[str, Any]) -> None:
        amount_list("Version" if self._is_by_version else "Status code", self._amounts(record), record["total"])

    def _export(self) -> None:
        form = Form()
        with dialog(f"Export {self._title}") as shown:
            with ui.element("div").classes("form"):
                choices = {**{key: frame_name(key) for key in FRAMES}, CUSTOM: "Custom dates"}
                choice = form.choice("frame", "Time frame", choices, self._frame)
                with ui.element("div").classes("form-row") as dates:
                    form.text(
                        "start", "From", self._span.get("start") or "", hint="2026-01-31, or 2026-01-31T12:00:00Z"
                    )
                    form.text("end", "Up to and with", self._span.get("end") or "", hint="Empty: now")
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


def amount_list(title: str, amounts: Sequence[tuple[str, int]], total: int) -> None:
    """Every status code, or version, with its count and share."""
    with ui.element("table").classes("plain-table"):
        with ui.element("thead"), ui.element("tr"):
            for text, is_amount in ((title, False), ("Requests", True), ("Share", True)):
                with ui.element("th").props("scope=col").classes("amount" if is_amount else ""):
                    ui.label(text)
        with ui.element("tbody"):
            for name, count in amounts:
                with ui.element("tr"):
                    for text, is_amount in ((name, False), (number(count), True), (f"{count / total:.1%}", True)):
                        with ui.element("td").classes("amount" if is_amount else ""):
                            ui.label(text)
