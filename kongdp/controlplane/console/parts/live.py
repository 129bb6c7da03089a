"""Live parts: what updates itself every second and says when it does not.

In: a coroutine that reads and shows.  Out: a line that says Live, Paused, or Stale since when and why. The browser
judges staleness by itself (console.js): a control plane that is gone cannot say so.
House rules: one reading at a time; a reading that fails is told, and tried again more and more slowly; a session that
is over stops it. Reading does not keep the session alive. Cold.
"""

import time
from collections.abc import Awaitable, Callable

from nicegui import ui

from kongdp.controlplane.console.asking import RefusedError
from kongdp.controlplane.console.parts.facts import moment

PERIOD_S = 1.0
# After failures the next reading waits, twice as long each time, up to this.
WAIT_S_MAX = 30.0


class Live:
    """A live part of a page. `read` is called once a period, while the page is open, seen and not paused."""

    def __init__(self, read: Callable[[], Awaitable[None]], *, period_s: float = PERIOD_S) -> None:
        self._read = read
        self._is_reading = False
        self._is_paused = False
        self._is_seen = True
        self._failures = 0
        # When the first of them was.
        self._since = 0.0
        self._not_before = 0.0
        with ui.element("div").classes("live").props('role="status"') as self._box:
            self._symbol = ui.icon("circle").props('aria-hidden="true"')
            self._text = ui.label("Live").classes("live-text")
            # The browser's own, which this side leaves empty.
            ui.label("").classes("live-offline")
            self._button = ui.button("Pause", on_click=self._toggle, color=None).props("no-caps flat dense")
            self._button.classes("live-button")
        self._timer = ui.timer(period_s, self._tick, immediate=False)
        # The browser says when its tab is hidden: nobody reads what is not seen.
        ui.on("console-seen", lambda event: self._seen(bool(event.args)))
        self._show("on", "Live")

    async def _tick(self) -> None:
        if self._is_reading or self._is_paused or not self._is_seen or time.monotonic() < self._not_before:
            return
        self._is_reading = True
        try:
            await self._read()
        except RefusedError as error:
            if error.status == 401:
                self._timer.cancel()
                raise
            self._failed(error.message)
        else:
            self._succeeded()
        finally:
            self._is_reading = False

    def _succeeded(self) -> None:
        if self._failures:
            self._show("on", "Live")
        self._failures, self._since = 0, 0.0

    def _failed(self, why: str) -> None:
        self._failures += 1
        self._not_before = time.monotonic() + min(WAIT_S_MAX, PERIOD_S * 2**self._failures)
        self._since = self._since or time.time()
        self._show("stale", f"Stale since {moment(self._since)}: {why}")

    def _seen(self, is_seen: bool) -> None:
        self._is_seen = is_seen

    def _toggle(self) -> None:
        self._is_paused = not self._is_paused
        self._button.text = "Resume" if self._is_paused else "Pause"
        if self._is_paused:
            self._show("paused", "Paused")
        elif self._failures:
            # It is live when a reading has succeeded.
            self._not_before = 0.0
            self._show("stale", f"Stale since {moment(self._since)}")
        else:
            self._show("on", "Live")

    def _show(self, state: str, text: str) -> None:
        self._box.props(f'data-state="{state}"')
        self._text.text = text
        self._symbol.name = {"on": "circle", "paused": "pause_circle", "stale": "warning"}[state]
