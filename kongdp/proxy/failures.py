"""The one table from what went wrong in an exchange to what the client gets, whose fault it is and whether another try is safe.

Hot code only compares; the table is read when something failed.
Source: Kong's proxying contract, sections 3 and 6.
"""

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
    NEVER = "the answer has begun, or cannot be trusted"


class Failure(Enum):
    """What can go wrong with an upstream: status and message of the last try, and the retry rule."""

    CONNECT = (502, INVALID_RESPONSE, Retry.ALWAYS)
    CONNECT_TIMEOUT = (504, TIMING_OUT, Retry.ALWAYS)
    CLOSED = (502, INVALID_RESPONSE, Retry.IDEMPOTENT)
    TIMEOUT = (504, TIMING_OUT, Retry.IDEMPOTENT)
    INVALID = (502, INVALID_RESPONSE, Retry.NEVER)
    POOL_FULL = (503, UNAVAILABLE, Retry.NEVER)

    def __init__(self, status: int, message: str, retry: Retry) -> None:
        self.status = status
        self.message = message
        self.retry = retry


NGINX_PAGES = frozenset((501, 505))
"""Statuses for which nginx's own page comes, not Kong's handler."""
