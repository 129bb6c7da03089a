"""**Audit**: who signed in, who changed what is no Gateway entity, and who was refused. Cold.

What is looked for is the page's address; the control plane looks for it, and pages what it finds.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nicegui import ui

from kongdp.controlplane.activity_record import SpanError, read_moment
from kongdp.controlplane.console import layout
from kongdp.controlplane.console.asking import RefusedError
from kongdp.controlplane.console.parts import states
from kongdp.controlplane.console.parts.buttons import quiet_link
from kongdp.controlplane.console.parts.dates import CUSTOM, Dates
from kongdp.controlplane.console.parts.form import Form
from kongdp.controlplane.console.parts.table import Column, PagedTable, Row, Wanted, pill_cells
from kongdp.controlplane.console.visit import Visit, screen

ABOUT = "Changes of Gateway entities are in the History of their runtime group."
COLUMNS = (
    Column("at", "When", "time"),
    Column("actor", "Who"),
    Column("address", "From"),
    Column("action", "What"),
    Column("status", "Answer", "pill"),
)
KINDS: Mapping[str, str] = {
    "sign-in": "Sign-ins",
    "user": "Users",
    "token": "Tokens",
    "group": "Runtime groups",
    "node": "Runtime instances",
    "certificate": "Certificates",
    "service": "Services",
    "version": "Versions",
    "developer": "Developers",
    "application": "Applications",
    "portal": "Portal settings",
    "other": "Anything else",
}
# Seconds back from now.
FRAMES: Mapping[str, tuple[str, int]] = {
    "1h": ("Last Hour", 3_600),
    "24h": ("Last 24 Hours", 86_400),
    "7d": ("Last 7 Days", 604_800),
    "30d": ("Last 30 Days", 2_592_000),
}
# What the API calls the parts of an address that it looks for.
ASKED = {
    "who": "filter[actor][contains]",
    "kind": "filter[kind][eq]",
    "method": "filter[method][eq]",
    "text": "filter[text][contains]",
}
METHODS = ("POST", "PUT", "PATCH", "DELETE", "GET")


@dataclass(frozen=True, slots=True)
class Looked:
    """What is looked for, as the address has it."""

    who: str = ""
    kind: str = ""
    method: str = ""
    text: str = ""
    frame: str = ""
    start: str = ""
    end: str = ""

    @property
    def is_custom(self) -> bool:
        """Whether it is from one moment to another."""
        return bool(self.start or self.end)

    def query(self, now: float) -> dict[str, object]:
        """As the API is asked for it."""
        start: object = self.start or None
        if not self.is_custom and self.frame in FRAMES:
            start = int(now) - FRAMES[self.frame][1]
        filters = {asked: getattr(self, name) or None for name, asked in ASKED.items()}
        return {**filters, "start": start, "end": self.end or None}


@screen("/audit", title="Audit", menu="audit")
async def audit(
    visit: Visit,
    who: str = "",
    kind: str = "",
    method: str = "",
    text: str = "",
    frame: str = "",
    start: str = "",
    end: str = "",
    page: int = 1,
) -> None:
    """The log, newest first."""
    layout.heading(visit, "Audit", about=ABOUT)
    looked = Looked(who, kind, method, text, frame, start, end)
    is_narrow = any(asdict(looked).values())

    async def fetch(wanted: Wanted) -> tuple[list[Row], int]:
        query = looked.query(time.time())
        found = await visit.ask.get("/v2/audit", page_size=wanted.size, page_number=wanted.number, **query)
        first = (wanted.number - 1) * wanted.size
        rows = [_row(first + place, entry) for place, entry in enumerate(found["items"])]
        return rows, found["page"]["total_count"]

    with layout.card("Audit log"):
        form = _filters(visit, looked, is_narrow=is_narrow)
        with ui.element("div") as listed:
            table = PagedTable(
                COLUMNS,
                fetch,
                label="Audit log",
                page=page,
                size=50,
                address=visit.address,
                empty=lambda: _nothing(is_narrow=is_narrow),
            )
        try:
            await table.refresh()
        except RefusedError as error:
            if error.status != 400:
                raise
            # The address looks for what cannot be.
            listed.visible = False
            form.refused(error)


def _nothing(*, is_narrow: bool) -> None:
    if is_narrow:
        states.empty("Nothing found", "No entry is all that is looked for.", icon="search_off")
    else:
        states.empty("Nothing has happened yet", "Sign-ins and changes will be listed here.")


def _filters(visit: Visit, looked: Looked, *, is_narrow: bool) -> Form:
    """What is looked for; the address has it after **Find**."""
    form = Form()
    methods = {each: each for each in METHODS}
    frames = {key: name for key, (name, _seconds) in FRAMES.items()} | {CUSTOM: "Custom dates"}
    with ui.element("div").classes("form filters"):
        with ui.element("div").classes("form-row"):
            form.text(ASKED["who"], "Who", looked.who)
            form.choice(ASKED["kind"], "Object", {"": "Any", **KINDS}, _known(looked.kind, KINDS))
            form.choice(ASKED["method"], "Method", {"": "Any", **methods}, _known(looked.method, methods))
            form.text(ASKED["text"], "Text", looked.text)
            held = CUSTOM if looked.is_custom else _known(looked.frame, frames)
            choice = form.choice("frame", "Time frame", {"": "Any time", **frames}, held)
        with ui.element("div").classes("form-row dates") as custom:
            dates = Dates(form, needs_start=False)
        custom.bind_visibility_from(choice, "value", lambda value: value == CUSTOM)
        dates.fill(_moments(looked))
        form.problem()
        with ui.element("div").classes("actions"):
            finding = dates.button("Find", lambda start, end: _find(visit, form, start, end))
            if is_narrow:
                quiet_link("Everything", visit.path)
    for name in ("who", "text"):
        # As the button: only the browser knows the dates.
        form.fields[ASKED[name]].element.on("keydown.enter", js_handler=f"() => getHtmlElement({finding.id}).click()")
    return form


def _known(value: str, values: Mapping[str, str]) -> str:
    return value if value in values else ""


def _moments(looked: Looked) -> dict[str, float]:
    """The dates of an address; one that cannot be read is the API's to complain about."""
    found: dict[str, float] = {}
    for name, text in (("start", looked.start), ("end", looked.end)):
        try:
            if text:
                found[name] = read_moment(name, text, is_end=name == "end")
        except SpanError:
            continue
    return found


def _find(visit: Visit, form: Form, start: str, end: str) -> None:
    values = form.values() or {}
    when: dict[str, object] = {"frame": values["frame"], "start": None, "end": None}
    if values["frame"] == CUSTOM:
        when = {"frame": None, "start": start, "end": end}
    asked = {name: values[field] for name, field in ASKED.items()}
    ui.navigate.to(visit.address(**asked, **when, page=None))


def _row(place: int, entry: Mapping[str, Any]) -> Row:
    status = entry["status"]
    tone = "good" if status < 400 else "warn" if status in (401, 403, 404) else "bad"
    return {
        "id": str(place),
        "at": entry["at"],
        "actor": entry["actor"],
        "address": entry["address"],
        "action": entry["action"],
        **pill_cells("status", str(status), tone),
    }
