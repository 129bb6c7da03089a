"""The one table from what went wrong in an exchange to what the client gets, whose fault it is and whether another try is safe.

Hot code only compares; the table is read when something failed.
Source: Kong's proxying contract, sections 3 and 6.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

INVALID_RESPONSE = "An invalid response was received from the upstream server"
TIMING_OUT = "The upstream server is timing out"
UNAVAILABLE = "The upstream server is currently unavailable"
UNEXPECTED = "An unexpected error occurred"
NO_PEER = "failure to get a peer from the ring-balancer"
NO_NAME = "name resolution failed"
NO_LOOKUP = "failed the initial dns/balancer resolve for '{name}' with: {error}"
NO_ROUTE = "no Route matched with those values"
NO_SERVICE = "no Service found with those values"

IDEMPOTENT_UNSAFE = frozenset((b"POST", b"LOCK", b"PATCH"))
"""Methods that nginx never sends twice once a request may have been received (proxy_next_upstream)."""


class Retry(Enum):
    """When another try is safe."""

    ALWAYS = "nothing of the request was sent"
    IDEMPOTENT = "the method may be repeated"


class Failure(Enum):
    """What can go wrong with an upstream: status and message of the last try, the retry rule, and nginx's word for it."""

    CONNECT = (502, INVALID_RESPONSE, Retry.ALWAYS, "error")
    CONNECT_TIMEOUT = (504, TIMING_OUT, Retry.ALWAYS, "timeout")
    CLOSED = (502, INVALID_RESPONSE, Retry.IDEMPOTENT, "error")
    TIMEOUT = (504, TIMING_OUT, Retry.IDEMPOTENT, "timeout")
    INVALID = (502, INVALID_RESPONSE, Retry.IDEMPOTENT, "invalid_header")
    POOL_FULL = (503, UNAVAILABLE, Retry.ALWAYS, "")  # our own bound: no condition names it

    def __init__(self, status: int, message: str, retry: Retry, condition: str) -> None:
        self.status = status
        self.message = message
        self.retry = retry
        self.condition = condition


@dataclass(frozen=True, slots=True)
class RetryRules:
    """What may be tried again: nginx's proxy_next_upstream and proxy_next_upstream_tries (0: as many as the service says).

    `unsafe_methods` are not sent again once an upstream may have one; the condition non_idempotent empties them.
    """

    conditions: frozenset[str] = frozenset(("error", "timeout"))
    unsafe_methods: frozenset[bytes] = IDEMPOTENT_UNSAFE
    tries_max: int = 0

    @classmethod
    def read(cls, words: Collection[str], tries_max: int) -> RetryRules:
        """The rules that the two settings ask for."""
        conditions = frozenset[str]() if "off" in words else frozenset(words)
        unsafe = frozenset[bytes]() if "non_idempotent" in conditions else IDEMPOTENT_UNSAFE
        return cls(conditions, unsafe, tries_max)


PLAIN_ON_TLS = "The plain HTTP request was sent to HTTPS port"

NGINX_PAGES = frozenset((501, 505))
"""Statuses for which nginx's own page comes, not Kong's handler."""
