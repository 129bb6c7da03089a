"""The words every failure uses: whose fault it is, what the client gets, whether trying again is safe.

Each package derives its few errors from KongdpError. `proxy/failures.py` is the only table that turns a failure of an exchange into
a status. Cold: raised for abnormal cases only.
"""

from enum import Enum


class Source(Enum):
    """Whose fault a failure is."""

    CLIENT = "client"
    UPSTREAM = "upstream"
    GATEWAY = "gateway"
    OPERATOR = "operator"


class KongdpError(Exception):
    """Base of every error this project raises on purpose; `source` says whose fault it is."""

    source = Source.GATEWAY
