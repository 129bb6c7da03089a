"""When the next push of a group is due: a little after the first change, then at most one a second.

In: "something changed", "a push begins", each with the time.  Out: the moment of the next push, or None. No clock of
its own.
Cold. Source: ours; Kong waits up to 5 s between pushes (protocol notes 5.3).
"""

# Long enough that the calls of one edit (service, then route) travel together, short enough that nobody waits for it.
FIRST_DELAY_S = 0.1
# A second less what a data plane needs to apply it: an edit made as soon as the last one is live, is live within a
# second as well.
SPACING_S = 0.95
# After an export that failed: twice as long each time.
RETRY_FIRST_S = 0.5
RETRY_MAX_S = 30.0


class PushSchedule:
    """One group's schedule; times are seconds of any clock that never goes back."""

    def __init__(self) -> None:
        self._changed_at: float | None = None
        self._pushed_at: float | None = None
        self._retry_at: float | None = None
        self._retry_s = RETRY_FIRST_S

    def changed(self, now: float) -> None:
        """Something changed; what changes until the push begins travels with it."""
        if self._changed_at is None:
            self._changed_at = now

    def due(self) -> float | None:
        """When the next push may begin, or None while there is nothing to push."""
        if self._changed_at is None:
            return None
        due = self._changed_at + FIRST_DELAY_S
        if self._pushed_at is not None:
            due = max(due, self._pushed_at + SPACING_S)
        if self._retry_at is not None:
            due = max(due, self._retry_at)
        return due

    def begins(self, now: float) -> None:
        """A push begins: later changes belong to the next one."""
        self._changed_at = None
        self._pushed_at = now

    def succeeded(self) -> None:
        """The export worked."""
        self._retry_at, self._retry_s = None, RETRY_FIRST_S

    def failed(self, now: float) -> None:
        """The export did not work: try again, later each time."""
        self.changed(now)
        self._retry_at = now + self._retry_s
        self._retry_s = min(2 * self._retry_s, RETRY_MAX_S)
