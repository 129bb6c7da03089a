"""A clock that moves only when a test says so."""


class FakeClock:
    """Both kinds of time at once: `monotonic` and `wall` read the same number, `advance` moves it."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    def advance(self, seconds: float) -> float:
        """Move on; returns the new time."""
        self.now += seconds
        return self.now
