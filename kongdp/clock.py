"""Time, handed in: a monotonic clock for deadlines, a wall clock for people, and the HTTP date rendered once a second.

Hot: `Clock.date_line` is read for each answer the gateway makes itself, and never formats.
"""

import time
from email.utils import formatdate


class Clock:
    """The real clock of one process. `tick` is called once a second by its owner; between ticks the date line is a plain read."""

    __slots__ = ("date_line",)

    def __init__(self) -> None:
        self.date_line = b""
        self.tick()

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean anything."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time()

    def tick(self) -> None:
        """Render the Date field for the current second (RFC 9110 section 6.6.1)."""
        self.date_line = b"Date: " + formatdate(self.wall(), usegmt=True).encode("ascii") + b"\r\n"
