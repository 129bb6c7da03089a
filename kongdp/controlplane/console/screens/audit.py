"""**Audit**: who signed in, who changed what is no Gateway entity, and who was refused. Cold."""

from collections.abc import Mapping
from typing import Any

from kongdp.controlplane.console import layout
from kongdp.controlplane.console.parts import states
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


@screen("/audit", title="Audit", menu="audit")
async def audit(visit: Visit, page: int = 1) -> None:
    """The log, newest first."""
    layout.heading(visit, "Audit", about=ABOUT)

    async def fetch(wanted: Wanted) -> tuple[list[Row], int]:
        found = await visit.ask.get("/v2/audit", page_size=wanted.size, page_number=wanted.number)
        start = (wanted.number - 1) * wanted.size
        rows = [_row(start + place, entry) for place, entry in enumerate(found["items"])]
        return rows, found["page"]["total_count"]

    with layout.card("Audit log"):
        table = PagedTable(
            COLUMNS,
            fetch,
            label="Audit log",
            page=page,
            size=50,
            address=visit.address,
            empty=lambda: states.empty("Nothing has happened yet", "Sign-ins and changes will be listed here."),
        )
        await table.refresh()


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
