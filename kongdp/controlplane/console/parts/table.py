"""A table that is paged where the data is: the browser holds one page of rows, whatever the list's length.

In: columns, and a coroutine that reads one page.  Out: a table with a search field, a pager, and addresses that keep
both (`?page=2&q=foo`).
House rules: a cell is text; a link's address is made by the screen and begins with "/". What a row's button sends back
is only the row's key, which the API judges again. Cold.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nicegui import ui

from kongdp.controlplane.console.parts.buttons import quiet_button
from kongdp.controlplane.console.parts.facts import SYMBOLS, number

PAGE_SIZE = 25
Row = dict[str, Any]
Kind = Literal["text", "link", "pill", "code", "time", "life", "actions"]
SEARCH_WAIT_MS = 300
# With so many columns a row needs the width of a desktop; with less room its cells stand below each other (console.css).
WIDE = 8

# Vue templates; values are bound, so they stay text. A cell has its column's name for when it stands below another.
_SLOTS: Mapping[str, str] = {
    "text": """<q-td :props="props" :data-label="props.col.label">{{ props.value }}</q-td>""",
    "link": """<q-td :props="props" :data-label="props.col.label"><a v-if="props.row[props.col.name + '_href']" class="link"
        :href="props.row[props.col.name + '_href']">{{ props.value }}</a><span v-else>{{ props.value }}</span></q-td>""",
    "pill": """<q-td :props="props" :data-label="props.col.label"><span v-if="props.value"
        :class="'pill pill-' + props.row[props.col.name + '_tone']">
        <q-icon :name="props.row[props.col.name + '_symbol']" aria-hidden="true" /><span>{{ props.value }}</span></span>
        <div v-if="props.row[props.col.name + '_note']" class="note">{{ props.row[props.col.name + '_note'] }}</div></q-td>""",
    "code": """<q-td :props="props" :data-label="props.col.label"><code
        :title="props.row[props.col.name + '_title'] || null">{{ props.value }}</code>
        </q-td>""",
    "time": """<q-td :props="props" :data-label="props.col.label"><time v-if="props.value"
        :title="new Date(props.value * 1000).toISOString()">
        {{ new Date(props.value * 1000).toLocaleString() }}</time></q-td>""",
    "life": """<q-td :props="props" :data-label="props.col.label"><div class="life" role="img"
        :aria-label="Math.round(props.value * 100) + ' % of its life is over'"><span :style="{width: props.value * 100 + '%'}">
        </span></div><div class="note">{{ props.row[props.col.name + '_note'] }}</div></q-td>""",
    "actions": """<q-td :props="props" class="row-actions"><q-btn v-for="each in props.value" :key="each.key" flat dense
        no-caps class="quiet-button" :label="each.text" :aria-label="each.text + ' ' + (props.row._name || '')"
        @click="() => $parent.$emit('act', {act: each.key, key: props.row.id})" /></q-td>""",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column. A link's address is the row's `<name>_href`; a pill's tone is set by `pill_cells`."""

    name: str
    label: str
    kind: Kind = "text"
    align: Literal["left", "right"] = "left"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The page that is wanted: `number` counts from 1."""

    number: int
    size: int
    search: str


Fetch = Callable[[Wanted], Awaitable[tuple[list[Row], int]]]


def pill_cells(name: str, text: str, tone: str, note: str = "") -> Row:
    """The cells of a pill column."""
    return {name: text, f"{name}_tone": tone, f"{name}_symbol": SYMBOLS[tone], f"{name}_note": note}


class PagedTable:
    """A table on a page. `act` is called with (action, row key) when a row's button is pressed."""

    def __init__(
        self,
        columns: Sequence[Column],
        fetch: Fetch,
        *,
        label: str,
        page: int = 1,
        search: str = "",
        size: int = PAGE_SIZE,
        has_search: bool = False,
        address: Callable[..., str] | None = None,
        empty: Callable[[], None] | None = None,
        act: Callable[[str, str], Awaitable[None]] | None = None,
    ) -> None:
        self._fetch = fetch
        self._wanted = Wanted(max(1, page), size, search)
        self._address = address
        self._empty = empty
        self._total = 0
        if has_search:
            # What Quasar calls debounce: nobody asks for every letter.
            self._search = ui.input(label=f"Search {label}", value=search, on_change=self._on_search)
            self._search.props(f'outlined dense clearable debounce="{SEARCH_WAIT_MS}"').classes("search")
        self._nothing = ui.element("div")
        self._nothing.visible = False
        self.table = ui.table(rows=[], columns=[_quasar(each) for each in columns], row_key="id")
        self.table.props('flat bordered hide-pagination no-data-label="Nothing found" :rows-per-page-options="[0]"')
        self.table.props["table-aria-label"] = label
        if len(columns) >= WIDE:
            self.table.classes("wide")
        for column in columns:
            self.table.add_slot(f"body-cell-{column.name}", _SLOTS[column.kind])
        if act is not None:
            self.table.on("act", lambda event: act(str(event.args["act"]), str(event.args["key"])))
        with ui.element("div").classes("pager") as self._pager:
            self._range = ui.label("").props('role="status"')
            self._previous = quiet_button("Previous", lambda: self._go(-1), icon="chevron_left")
            self._next = quiet_button("Next", lambda: self._go(1), icon="chevron_right")

    async def refresh(self) -> None:
        """Read the page again; the first time too."""
        rows, self._total = await self._fetch(self._wanted)
        if self.table.rows != rows:
            self.table.rows = rows
        self._show_range(len(rows))
        is_nothing = self._total == 0 and not self._wanted.search and self._empty is not None
        if is_nothing and not self._nothing.visible and self._empty is not None:
            self._nothing.clear()
            with self._nothing:
                self._empty()
        self._nothing.visible = is_nothing
        self.table.visible = not is_nothing

    def _show_range(self, count: int) -> None:
        wanted = self._wanted
        first = (wanted.number - 1) * wanted.size
        self._range.text = f"{number(first + 1)}–{number(first + count)} of {number(self._total)}" if count else ""
        _enable(self._previous, wanted.number > 1)
        _enable(self._next, first + wanted.size < self._total)
        self._pager.visible = self._total > wanted.size or wanted.number > 1

    async def _go(self, step: int) -> None:
        wanted = Wanted(max(1, self._wanted.number + step), self._wanted.size, self._wanted.search)
        if self._address is None:
            await self._want(wanted)
        else:
            # A page of its own: the browser's "back" leads to the one before.
            ui.navigate.to(self._address_of(wanted))

    async def _on_search(self) -> None:
        await self._want(Wanted(1, self._wanted.size, str(self._search.value or "")))

    async def _want(self, wanted: Wanted) -> None:
        self._wanted = wanted
        if self._address is not None:
            ui.navigate.history.replace(self._address_of(wanted))
        await self.refresh()

    def _address_of(self, wanted: Wanted) -> str:
        assert self._address is not None
        return self._address(page=wanted.number if wanted.number > 1 else None, q=wanted.search)


def _enable(button: ui.button, is_enabled: bool) -> None:
    if button.enabled != is_enabled:
        button.set_enabled(is_enabled)


def _quasar(column: Column) -> dict[str, Any]:
    align = "right" if column.kind == "actions" else column.align
    return {"name": column.name, "label": column.label, "field": column.name, "align": align}
