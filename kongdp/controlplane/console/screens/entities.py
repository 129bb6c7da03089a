"""Lists of a group's Gateway entities, and the page of each: what it is, what is below it, and how to write it down.

One pair of screens serves every kind (`parts/kinds.py`). Cold. Source: walkthrough, section 7.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from nicegui import ui

from kongdp.controlplane.console import layout
from kongdp.controlplane.console.asking import at, maybe
from kongdp.controlplane.console.parts import entity_form
from kongdp.controlplane.console.parts.buttons import menu_button, quiet_button
from kongdp.controlplane.console.parts.code import code
from kongdp.controlplane.console.parts.declaration import curl, declaration, missing
from kongdp.controlplane.console.parts.dialogs import dialog, open_asked
from kongdp.controlplane.console.parts.entity_form import Place
from kongdp.controlplane.console.parts.entity_table import EntityTable, children
from kongdp.controlplane.console.parts.facts import facts, moment
from kongdp.controlplane.console.parts.kinds import KINDS, Entity, Kind, address_of, is_secret, name_of, readable
from kongdp.controlplane.console.parts.schema_form import AUTOMATIC, LONG_TEXTS, label_of
from kongdp.controlplane.console.parts.status_codes import Shown, StatusCodes
from kongdp.controlplane.console.screens.group import MANAGER, group_heading
from kongdp.controlplane.console.visit import Visit, reload, screen

PAGES = tuple(kind for kind in KINDS.values() if kind.has_page)
PARENTS = {"service": "services", "route": "routes", "consumer": "consumers", "certificate": "certificates"}
# What stands for a text nobody wants to read in a list of facts.
LONG = "(text, see the declaration)"
STORED = "Stored, not shown"
# A plugin's route, and the service of that.
GENERATIONS = 2
# More parents than these are looked for in the list of all.
ONE_BY_ONE_MAX = 50
PAGE_SIZE = 1000


async def _list(visit: Visit, kind: Kind, group: str, q: str, page: int, dialog: str) -> None:
    found, actions = await group_heading(visit, group, kind.path)
    with layout.card(kind.title):
        with layout.section(kind.title) as side:
            pass
        table = EntityTable(visit, Place(visit.ask, found["id"]), kind, page=page, search=q)
        await table.show()
    with side:
        quiet_button("Copy as decK YAML", lambda: _copy_all(visit, found["id"], kind), icon="content_copy")
    with actions:
        table.add_button()
    if visit.may("editor", found["id"]):
        await open_asked(dialog, {"new": table.create})


async def _copy_all(visit: Visit, group_id: str, kind: Kind) -> None:
    """The page that is shown could be one of many: what is copied is the first thousand."""
    place = Place(visit.ask, group_id)
    found = await visit.ask.get(place.path(kind), **{"page.size": PAGE_SIZE})
    whole = await with_parents(place, kind, found["items"])
    total = found["page"]["total_count"]
    note = "" if total <= PAGE_SIZE else f"The first 1,000 of {total:,}. For all of them: kongdp config export"
    with dialog("Declarative YAML (decK)") as shown:
        if note:
            ui.label(note).classes("hint")
        code(declaration(whole), label=kind.title)
        with ui.element("div").classes("dialog-actions"):
            quiet_button("Close", shown.close)


async def with_parents(place: Place, kind: Kind, rows: Sequence[Entity]) -> dict[str, list[Entity]]:
    """Rows with what they belong to, so that a file of them can be read alone."""
    found = {kind.path: [readable(kind, row) for row in rows]}
    for _generation in range(GENERATIONS):
        for path, ids in missing(found).items():
            parents = await _of_ids(place, KINDS[path], ids)
            found.setdefault(path, []).extend(readable(KINDS[path], row) for row in parents)
    return found


async def _of_ids(place: Place, kind: Kind, ids: Sequence[str]) -> list[Entity]:
    """Those of these ids that there still are."""
    if len(ids) <= ONE_BY_ONE_MAX:
        asked = [await maybe(place.ask.get(place.path(kind, {"id": each}))) for each in ids]
        return [row for row in asked if row is not None]
    found: list[Entity] = []
    wanted, number, total = set(ids), 0, 1
    while number * PAGE_SIZE < total and len(found) < len(wanted):
        number += 1
        listed = await place.ask.get(place.path(kind), **{"page.size": PAGE_SIZE, "page.number": number})
        total = listed["page"]["total_count"]
        found.extend(row for row in listed["items"] if row["id"] in wanted)
    return found


async def _one(
    visit: Visit,
    kind: Kind,
    group: str,
    entity: str,
    status: Shown,
    pages: Mapping[str, int],
    dialog: str,
) -> None:
    owner = await visit.ask.get(at("/v2/control-planes/{}", group))
    place = Place(visit.ask, owner["id"])
    row = await visit.ask.get(place.path(kind, {"id": entity}))
    of_kind = at("/runtimes/{}/{}", owner["id"], kind.path)
    crumbs = [MANAGER, (owner["name"], at("/runtimes/{}", owner["id"])), (kind.title, of_kind)]
    about = f"{kind.one[:1].upper()}{kind.one[1:]} of {owner['name']}"
    actions = layout.heading(visit, name_of(row), crumbs=crumbs, about=about)
    if visit.may("editor", owner["id"]):
        with actions:
            _menu(place, kind, row, of_kind)
    await _facts(place, kind, row)
    below = Place(visit.ask, owner["id"], kind, row)
    for path in kind.children:
        await children(visit, below, KINDS[path], pages.get(path, 1))
    if kind.path in ("routes", "services"):
        record = at("/v2/control-planes/{}/activity", owner["id"])
        query = {kind.path.removesuffix("s"): row["id"]}
        counted = "matches this route" if kind.path == "routes" else "matches a route of this Gateway service"
        codes = StatusCodes(visit, record, status, query=query, counted=counted)
        await codes.show()
    await _written(visit, place, kind, row)
    if visit.may("editor", owner["id"]):
        await open_asked(dialog, {"edit": lambda: _edit(place, kind, row)})


async def _edit(place: Place, kind: Kind, row: Entity) -> None:
    async def shown_again() -> None:
        reload()

    await entity_form.change(place, kind, row, shown_again, key="edit")


def _menu(place: Place, kind: Kind, row: Entity, of_kind: str) -> None:
    async def gone() -> None:
        ui.navigate.to(of_kind)

    menu_button(
        "Actions",
        [
            ("Edit", lambda: _edit(place, kind, row)),
            ("Delete", lambda: entity_form.delete(place, kind, row, gone)),
        ],
    )


async def _facts(place: Place, kind: Kind, row: Entity) -> None:
    pairs = [("ID", str(row["id"]))]
    links = []
    for name, value in row.items():
        if name in AUTOMATIC or value in (None, [], {}) or name == "name":
            continue
        if name in kind.write_only and is_secret(value):
            pairs.append((label_of(name), STORED))
        elif name in PARENTS and isinstance(value, Mapping):
            parent = await place.ask.get(place.path(KINDS[PARENTS[name]], value))
            links.append((name, parent))
        else:
            pairs.append((label_of(name), LONG if name in LONG_TEXTS else _told(value)))
    pairs += [("Created", moment(row.get("created_at"))), ("Modified", moment(row.get("updated_at")))]
    with layout.card("Facts"):
        facts(pairs)
        with ui.element("div").classes("actions"):
            for name, value in links:
                with layout.link(address_of(place.group_id, PARENTS[name], value)):
                    ui.label(f"{label_of(name)} {name_of(value)}")


def _told(value: Any) -> str:
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if isinstance(value, list) and not any(isinstance(each, (dict, list)) for each in value):
        return ", ".join(str(each) for each in value)
    return orjson.dumps(value).decode() if isinstance(value, (dict, list)) else str(value)


async def _written(visit: Visit, place: Place, kind: Kind, row: Entity) -> None:
    whole = await with_parents(place, kind, [row])
    with layout.card("As text"):
        with layout.section("As text"):
            pass
        code(declaration(whole), label="Declarative YAML (decK)", is_folded=True)
        if not visit.admin:
            ui.label("As a request: the Admin API has no address (admin_listen is off).").classes("hint")
            return
        url = visit.admin + at("/v2/control-planes/{}/core-entities/{}/{}", place.group_id, kind.path, str(row["id"]))
        shown = readable(kind, row)
        body = {name: value for name, value in shown.items() if name not in AUTOMATIC and value is not None}
        code(curl("PUT", url, orjson.dumps(body).decode()), label="curl (Admin API)", is_folded=True)
        for name in row.keys() - shown.keys():
            ui.label(f"Put in {name}, which is stored and not shown.").classes("hint")


def _register(kind: Kind) -> None:
    """The two pages of a kind."""

    @screen("/runtimes/{group}/" + kind.path, title=kind.title, menu="runtimes")
    async def listed(visit: Visit, group: str, q: str = "", page: int = 1, dialog: str = "") -> None:
        """The list."""
        await _list(visit, kind, group, q, page, dialog)

    @screen("/runtimes/{group}/" + kind.path + "/{entity}", title=kind.one, menu="runtimes")
    async def one(
        visit: Visit,
        group: str,
        entity: str,
        frame: str = "",
        start: str = "",
        end: str = "",
        view: str = "",
        zone: str = "",
        below: str = "",
        page: int = 1,
        dialog: str = "",
    ) -> None:
        """One entity; `below` is the list whose page is said."""
        await _one(visit, kind, group, entity, Shown(frame, start, end, view, zone), {below: page}, dialog)


for _kind in PAGES:
    _register(_kind)
