"""Names with values, moments, states: the small things that every page shows.

House rule: a state is a word with a symbol, never a colour alone. Times are shown in the browser's zone, with the whole
moment in UTC as their title. Cold.
"""

import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Literal

from nicegui import ui

from kongdp.controlplane.console.parts.code import copy_icon

Tone = Literal["good", "warn", "bad", "idle"]
SYMBOLS: dict[str, str] = {"good": "check_circle", "warn": "warning", "bad": "error", "idle": "remove_circle_outline"}
# Data planes ping every 30 s.
JUST_NOW_S = 45


def facts(pairs: Sequence[tuple[str, str]], *, copied: Collection[str] = ()) -> None:
    """A list of names and values; those named in `copied` have a button that copies them."""
    with ui.element("dl").classes("facts"):
        for name, value in pairs:
            with ui.element("div"):
                with ui.element("dt"):
                    ui.label(name)
                with ui.element("dd").classes("copyable" if name in copied and value else ""):
                    ui.label(value or "–").classes("copy-text")
                    if name in copied and value:
                        copy_icon(f"Copy {name}")


def pill(text: str, tone: Tone) -> ui.element:
    """A state."""
    with ui.element("span").classes(f"pill pill-{tone}") as element:
        ui.icon(SYMBOLS[tone]).props('aria-hidden="true"')
        ui.label(text)
    return element


def tag(text: str) -> None:
    """A word that is no state: a count, a label."""
    with ui.element("span").classes("tag"):
        ui.label(text)


def tile(name: str, value: str) -> ui.label:
    """A figure with its name; returns the figure, for live ones."""
    with ui.element("div").classes("tile"):
        ui.label(name).classes("tile-name")
        return ui.label(value).classes("tile-value")


def moment(at: float | None) -> str:
    """A moment in UTC."""
    return "–" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def ago(seconds: float) -> str:
    """How long ago, as people say it."""
    if seconds < JUST_NOW_S:
        return "Just now"
    for name, length in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        count = int(seconds // length)
        if count:
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "Just now"


def since(at: float) -> str:
    """How long a moment is past."""
    return ago(max(0.0, time.time() - at))


def number(value: float) -> str:
    """A count for people."""
    return f"{value:,.0f}"
