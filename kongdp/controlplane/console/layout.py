"""What every page has around its content: header, menu, breadcrumbs, heading.

In: a visit.  Out: elements. Nothing is asked here but what the session says already. Cold.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nicegui import ui

if TYPE_CHECKING:
    from kongdp.controlplane.console.visit import Visit

HEAD = """
<link rel="stylesheet" href="/static/console.css">
<script defer src="/static/console.js"></script>
"""
PRODUCT = "kongdp"


# Makes a text of the heading.
Show = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the menu; `role` is what it takes in the whole control plane ("none": anyone)."""

    key: str
    text: str
    path: str
    icon: str
    role: str = "none"


MENU = (
    Entry("overview", "Overview", "/", "insights"),
    Entry("services", "Service Hub", "/services", "hub"),
    Entry("runtimes", "Runtime Manager", "/runtimes", "dns"),
    Entry("certificates", "Certificates", "/certificates", "verified_user"),
    Entry("portal", "Dev Portal", "/portal", "menu_book", "viewer"),
    Entry("audit", "Audit", "/audit", "history", "admin"),
    Entry("accounts", "Accounts", "/accounts", "group", "admin"),
    Entry("me", "My account", "/me", "account_circle"),
)


@contextmanager
def frame(visit: "Visit") -> Iterator[None]:
    """Header and menu; the block makes the content."""
    ui.add_head_html(HEAD)
    ui.add_body_html('<a class="skip" href="#content">Skip to content</a>')
    with ui.header().classes("top"):
        toggle = ui.button(icon="menu", color=None).props('flat round dense aria-label="Menu"').classes("menu-toggle")
        with ui.element("a").props('href="/" aria-label="kongdp, overview"').classes("brand"):
            ui.element("span").classes("brand-mark")
            ui.label(PRODUCT)
        ui.element("div").classes("grow")
        _user(visit)
    with _drawer() as drawer, ui.element("nav").props('aria-label="Main"'):
        for entry in MENU:
            if visit.may(entry.role):
                _entry(entry, is_current=entry.key == visit.menu)
    # In the browser: whether it stands open there is no news for the control plane.
    toggle.on("click", js_handler=f"() => getElement({drawer.id}).toggle()")
    with content():
        yield


@contextmanager
def content() -> Iterator[None]:
    """The column of the page's content."""
    with ui.element("div").props('id="content" tabindex="-1"').classes("content"):
        yield


def _drawer() -> ui.element:
    """The menu's place: beside the content where there is room, over it where there is not.

    NiceGUI's own drawer asks the browser at every page whether it is open, and calls it an error when that takes a second.
    """
    client = ui.context.client
    with client.layout:
        drawer = ui.element("q-drawer").props("show-if-above :width=232 :breakpoint=1023").classes("side")
    # "L": it stays while the content scrolls.
    view = str(client.layout.props["view"])
    client.layout.props["view"] = f"{view[:4]}L{view[5:]}"
    # Before the content, for those who go from one to the next by keyboard.
    drawer.move(target_index=client.layout.default_slot.children.index(client.page_container))
    return drawer


def _entry(entry: Entry, *, is_current: bool) -> None:
    with link(entry.path) as shown:
        shown.classes(replace="menu-entry")
        if is_current:
            shown.props('aria-current="page"')
        ui.icon(entry.icon).props('aria-hidden="true"')
        ui.label(entry.text)


def _user(visit: "Visit") -> None:
    ui.label(visit.identity.name).classes("user-name").props('title="signed in"')
    with (
        ui.element("form").props('method="post" action="/sign-out"'),
        ui.element("button").props('type="submit"').classes("sign-out"),
    ):
        ui.label("Sign out")


def heading(
    visit: "Visit",
    title: str,
    *,
    crumbs: Sequence[tuple[str, str]] = (),
    about: str = "",
    show_title: Show | None = None,
    show_about: Show | None = None,
) -> ui.element:
    """Breadcrumbs, the page's name and, in the row it returns, room for its actions.

    `show_title` and `show_about` make the two texts otherwise: as ones that can be edited.
    """
    ui.page_title(f"{title} · {PRODUCT}")
    if crumbs:
        with ui.element("nav").props('aria-label="Breadcrumbs"').classes("crumbs"), ui.element("ol"):
            for text, path in crumbs:
                with ui.element("li"), link(path):
                    ui.label(text)
            with ui.element("li").props('aria-current="page"'):
                ui.label(title)
    with ui.element("div").classes("heading"):
        with ui.element("div").classes("heading-text"):
            (show_title or _title)(title)
            if about or show_about:
                with ui.element("div").classes("about"):
                    (show_about or ui.label)(about)
        return ui.element("div").classes("actions")


def _title(text: str) -> None:
    with ui.element("h1"):
        ui.label(text)


def link(path: str) -> ui.element:
    """A link to a page of the console; the block makes its text."""
    element = ui.element("a").classes("link")
    element.props["href"] = path
    return element


def section(title: str) -> ui.element:
    """A part of a page with a heading; returns the row for its actions. Use it inside a `card`."""
    with ui.element("div").classes("section-head"):
        with ui.element("h2"):
            ui.label(title)
        return ui.element("div").classes("actions")


def card(label: str = "") -> ui.element:
    """A box."""
    element = ui.element("section").classes("card")
    if label:
        element.props["aria-label"] = label
    return element


def tabs(visit: "Visit", choices: Sequence[tuple[str, str, str]], current: str, *, label: str) -> None:
    """Links that look like tabs: (key, text, address). Each has an address, and the browser's "back" works."""
    with ui.element("nav").classes("tabs").props(f'aria-label="{label}"'):
        for key, text, path in choices:
            with link(path) as tab:
                tab.classes(replace="tab")
                if key == current:
                    tab.props('aria-current="page"')
                ui.label(text)
