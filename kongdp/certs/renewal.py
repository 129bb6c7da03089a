"""When to renew the node's certificate, and how loudly to say that it ends. Pure: dates in, a decision out.

In: validity (epoch seconds), now, what attempts were made.  Out: `Decision`.
House rule: no clock, no file, no randomness of its own; the agent asks once a second, so a decision is cheap and
repeatable.
Cold. Source: ours; the marks of 30 and 7 days are the protocol notes' (7.4) for certificates that live six months,
and shrink with shorter lives so that a certificate of one minute does not cry wolf from its first second.
"""

from dataclasses import dataclass
from enum import Enum

DAY_S = 86_400.0
RENEW_AT = 2 / 3
"""Part of the life after which renewal begins: a third of it is left for trying."""

WARN_S = 30 * DAY_S
ALARM_S = 7 * DAY_S
REFERENCE_LIFE_S = 183 * DAY_S
"""The life for which the two marks above are meant."""

RETRY_FIRST_S = 5.0
RETRY_LAST_S = 3600.0
RETRY_PART = 1 / 12
"""A failed attempt waits at most this part of what is left, so that a short life still sees a dozen attempts."""
RETRY_EXPIRED_S = 60.0
"""A node without a valid certificate asks at least once a minute: it is away until it has one."""


class Urgency(Enum):
    """How near the end is."""

    NONE = "ok"
    WARNING = "warning"
    ERROR = "error"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Validity:
    """Both ends of a certificate's life, epoch seconds."""

    not_before: float
    not_after: float

    @property
    def life_s(self) -> float:
        """From the first to the last second, never below one."""
        return max(self.not_after - self.not_before, 1.0)

    def is_valid(self, now: float) -> bool:
        """Whether a peer with the same clock accepts it. The first second is not checked: issuers' clocks run a
        little ahead.
        """
        return now < self.not_after


@dataclass(frozen=True, slots=True)
class Attempts:
    """Renewals that failed in a row: how many, and when the last one ended (epoch seconds)."""

    failures: int = 0
    last_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """`renew`: try now. `next_at`: the earliest moment at which `renew` can become true, epoch seconds."""

    renew: bool
    next_at: float
    urgency: Urgency


def decide(validity: Validity, now: float, attempts: Attempts = Attempts(), *, jitter: float = 0.0) -> Decision:
    """Renew at two thirds of the life; after a failure wait 5 s, 10 s, 20 s ... up to an hour, and never long against
    what is left.

    `jitter` in [0, 1) spreads the first attempt over the next twentieth of the life, for fleets issued at the same
    moment. A last attempt that is still to come was made by a clock that has been set back: nobody waits for it.
    """
    due_at = validity.not_before + validity.life_s * (RENEW_AT + jitter / 20)
    if attempts.failures and attempts.last_at <= now:
        due_at = max(due_at, attempts.last_at + retry_delay_s(attempts.failures, validity.not_after - now))
    return Decision(renew=now >= due_at, next_at=due_at, urgency=urgency(validity, now))


def retry_delay_s(failures: int, left_s: float) -> float:
    """Seconds between the end of the last failed attempt and the next, at least one."""
    doubled = RETRY_FIRST_S * 2.0 ** min(failures - 1, 20)
    return max(1.0, min(doubled, RETRY_LAST_S, left_s * RETRY_PART if left_s > 0 else RETRY_EXPIRED_S))


def urgency(validity: Validity, now: float) -> Urgency:
    """Warning from 30 days before the end, error from 7 days; both marks shrink in proportion for lives under half a
    year.
    """
    left_s = validity.not_after - now
    scale = min(validity.life_s / REFERENCE_LIFE_S, 1.0)
    if left_s <= 0:
        return Urgency.EXPIRED
    if left_s <= ALARM_S * scale:
        return Urgency.ERROR
    return Urgency.WARNING if left_s <= WARN_S * scale else Urgency.NONE
