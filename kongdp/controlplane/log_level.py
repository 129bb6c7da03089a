"""How much this process logs: changed for a while by the Admin API, then what the settings say again.

In: one of Kong's levels and seconds.  Out: the level of the root logger. Any thread may call it. Cold.
Source: kong/api/routes/debug.lua 3.9.
"""

import logging
import threading
from collections.abc import Callable, Mapping

# nginx's level, which Kong logs its life at.
NOTICE = 25
LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": NOTICE,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "crit": logging.CRITICAL,
    "alert": logging.CRITICAL,
    "emerg": logging.CRITICAL,
}


class ProcessLogLevel:
    """The level (adminapi.context.LogLevel). `configured`: the setting's; `tell_others`: the other replicas, if there are any."""

    def __init__(
        self, configured: str, tell_others: Callable[[str, float], None] = lambda level, timeout_s: None
    ) -> None:
        self._configured = configured
        self._tell_others = tell_others
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self.now = configured

    def change(self, level: str, timeout_s: float) -> None:
        """Log at this level from now on, for so long."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            timer = self._timer = threading.Timer(timeout_s, self._revert)
            # The process must be able to end meanwhile.
            timer.daemon = True
            self._set(level)
            timer.start()

    def change_everywhere(self, level: str, timeout_s: float) -> None:
        """The same at every control plane over this database."""
        self.change(level, timeout_s)
        self._tell_others(level, timeout_s)

    def _revert(self) -> None:
        with self._lock:
            # One that was cancelled too late finds another in its place.
            if self._timer is threading.current_thread():
                self._timer = None
                self._set(self._configured)

    def _set(self, level: str) -> None:
        self.now = level
        root = logging.getLogger()
        number = LEVELS.get(level, logging.WARNING)
        root.setLevel(number)
        for handler in root.handlers:
            if handler.level:
                handler.setLevel(number)
