"""A list of Gateway entities, paged and searched where the data is, with what may be done to each. Cold."""

from nicegui import ui

from kongdp.controlplane.console import layout
from kongdp.controlplane.console.parts import entity_form, states
from kongdp.controlplane.console.parts.buttons import main_button, quiet_button
from kongdp.controlplane.console.parts.entity_form import Place
from kongdp.controlplane.console.parts.kinds import Entity, Kind, address_of, name_of
from kongdp.controlplane.console.parts.table import Column, PagedTable, Row, Wanted
from kongdp.controlplane.console.visit import Visit

CONTAINS = "filter[name][contains]"


class EntityTable:
    """The entities of a kind in a group, or below one entity."""

    def __init__(self, visit: Visit, place: Place, kind: Kind, *, page: int = 1, search: str = "") -> None:
        self._visit = visit
        self._place = place
        self._kind = kind
        self._may_edit = visit.may("editor", place.group_id)
        self._is_child = place.parent is not None
        columns = list(kind.columns)
        if self._may_edit:
            columns.append(Column("actions", "", "actions"))
        self.table = PagedTable(
            columns,
            self._fetch,
            label=kind.title,
            page=page,
            search=search,
            size=10 if self._is_child else 25,
            has_search=not self._is_child,
            address=self._address_of_child if self._is_child else visit.address,
            empty=self._nothing,
            act=self._act,
        )

    async def show(self) -> None:
        """Read the first page."""
        await self.table.refresh()

    def add_button(self, *, is_main: bool = True) -> None:
        """The button that makes one, for whoever may."""
        if self._may_edit:
            (main_button if is_main else quiet_button)(f"New {self._kind.one}", self.create, icon="add")

    def _address_of_child(self, *, page: int | None, q: str) -> str:
        """Of several lists one is not at its first page; the fragment leads back to it."""
        del q
        kind = self._kind.path
        return f"{self._visit.address(below=kind if page else None, page=page)}#{kind}"

    def _nothing(self) -> None:
        if self._is_child:
            ui.label("None yet").classes("hint")
            return
        action = f"New {self._kind.one}" if self._may_edit else ""
        states.empty(f"No {self._kind.title} yet", self._kind.about, action=action, on_click=self.create)

    async def create(self) -> None:
        """The dialog that makes one; that of a page's only list is part of its address."""
        await entity_form.create(self._place, self._kind, self.table.refresh, key="" if self._is_child else "new")

    async def _fetch(self, wanted: Wanted) -> tuple[list[Row], int]:
        query = {"page.size": wanted.size, "page.number": wanted.number, CONTAINS: wanted.search or None}
        found = await self._place.ask.get(self._place.path(self._kind), **query)
        return [self._row(each) for each in found["items"]], found["page"]["total_count"]

    def _row(self, row: Entity) -> Row:
        kind = self._kind
        name = name_of(row)
        cells: Row = {"id": row["id"], "name": name, "_name": name, **kind.cells(row)}
        if kind.has_page:
            cells["name_href"] = address_of(self._place.group_id, kind.path, row)
        actions = [{"key": "edit", "text": "Edit"}] if kind.is_editable else []
        cells["actions"] = [*actions, {"key": "delete", "text": "Delete"}]
        return cells

    async def _act(self, act: str, key: str) -> None:
        row = await self._place.ask.get(self._place.path(self._kind, {"id": key}))
        if act == "edit":
            await entity_form.change(self._place, self._kind, row, self.table.refresh)
        elif act == "delete":
            await entity_form.delete(self._place, self._kind, row, self.table.refresh)


async def children(visit: Visit, place: Place, kind: Kind, page: int) -> None:
    """A card with what is below an entity."""
    with layout.card(kind.title).props(f'id="{kind.path}"').classes("anchor"):
        with layout.section(kind.title) as side:
            pass
        table = EntityTable(visit, place, kind, page=page)
        await table.show()
    with side:
        table.add_button(is_main=False)
