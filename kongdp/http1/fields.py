"""Field names and list-valued fields: which names mean something to a gateway, and how lists are read.

House rule: a name is recognised by the exact spelling a peer sent, through a bounded cache from spelling to kind; so an ordinary line
costs one dictionary look-up and no lower-casing.
Hot.
Source: RFC 9110 sections 5.6.1 and 7.6.1; the list of fields removed or replaced is Kong's (proxying contract, section 1).
"""

from collections.abc import Mapping

ORDINARY = 0

# Request fields
HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT, UPGRADE, TE, DROPPED = range(1, 9)
VIA, REQUEST_ID, REAL_IP = range(9, 12)
X_FOR, X_PROTO, X_HOST, X_PORT, X_PATH, X_PREFIX = range(12, 18)
# Response fields beside CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE, DROPPED and VIA
TRAILER = 18

NOTED = 64
"""Kinds from here on are told of and stay among the kept lines; those below are told of and taken out."""
SERVER, DATE, CONTENT_TYPE = range(NOTED, NOTED + 3)

REQUEST_FIELDS: Mapping[bytes, int] = {
    b"host": HOST,
    b"connection": CONNECTION,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"expect": EXPECT,
    b"upgrade": UPGRADE,
    b"te": TE,
    b"keep-alive": DROPPED,
    b"proxy": DROPPED,
    b"proxy-connection": DROPPED,
    b"via": VIA,
    b"x-kong-request-id": REQUEST_ID,
    b"x-real-ip": REAL_IP,
    b"x-forwarded-for": X_FOR,
    b"x-forwarded-proto": X_PROTO,
    b"x-forwarded-host": X_HOST,
    b"x-forwarded-port": X_PORT,
    b"x-forwarded-path": X_PATH,
    b"x-forwarded-prefix": X_PREFIX,
}

RESPONSE_FIELDS: Mapping[bytes, int] = {
    b"connection": CONNECTION,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"upgrade": UPGRADE,
    b"keep-alive": DROPPED,
    b"via": VIA,
    b"server": SERVER,
    b"date": DATE,
    b"content-type": CONTENT_TYPE,
    b"trailer": TRAILER,
    # nginx acts on these and hides them; we only hide them: an upstream must not be able to redirect inside the gateway
    b"x-accel-expires": DROPPED,
    b"x-accel-redirect": DROPPED,
    b"x-accel-limit-rate": DROPPED,
    b"x-accel-buffering": DROPPED,
    b"x-accel-charset": DROPPED,
    b"x-pad": DROPPED,
    # ours: written by the gateway itself, an upstream's own would stand beside it
    b"x-kong-request-id": DROPPED,
    b"x-kong-upstream-latency": DROPPED,
    b"x-kong-proxy-latency": DROPPED,
    b"x-kong-response-latency": DROPPED,
}

NEVER_NOMINATED = frozenset(
    (
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"authorization",
        b"cookie",
        b"via",
        b"x-real-ip",
        b"x-kong-request-id",
    )
)
"""A Connection field that names one of these tries to make the gateway drop what others rely on: refused."""

PLAIN_NAME = b"-_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""What nginx takes for a name in a request: it drops a line of any other (ignore_invalid_headers), whatever RFC 9110 allows, because
behind a gateway names are written as variables, where `X.A` and `X_A` would be one."""

SPELLINGS_MAX = 4096
"""Spellings remembered by a NameKinds; enough for any honest traffic, small enough (about 400 KiB) for any other."""


class NameKinds(dict[bytes, int]):
    """Spelling of a field name -> kind; learns new spellings up to SPELLINGS_MAX, then works without remembering.

    `drops_odd`: names of other characters than PLAIN_NAME are DROPPED.
    """

    __slots__ = ("_by_lower_name", "_drops_odd")

    def __init__(self, by_lower_name: Mapping[bytes, int], *, drops_odd: bool = False) -> None:
        super().__init__(by_lower_name)
        self._by_lower_name = by_lower_name
        self._drops_odd = drops_odd
        for name, kind in by_lower_name.items():
            self[name.title()] = kind

    def __missing__(self, name: bytes) -> int:
        kind = self._by_lower_name.get(name.lower(), ORDINARY)
        if self._drops_odd and name.translate(None, PLAIN_NAME):
            kind = DROPPED
        if len(self) < SPELLINGS_MAX and len(name) <= 64:
            self[name] = kind
        return kind


KEEP_ALIVE = [b"keep-alive"]
"""The members of nearly every Connection field."""


def tokens(value: bytes) -> list[bytes]:
    """The members of a comma-separated list in lower case, empty members dropped (RFC 9110 section 5.6.1). Not to be changed."""
    if value == b"keep-alive":
        return KEEP_ALIVE
    return [member for member in (part.strip(b" \t").lower() for part in value.split(b",")) if member]


def may_be_nominated(name: bytes) -> bool:
    """Whether a Connection field may name this field (lower case) as hop-by-hop."""
    return name not in NEVER_NOMINATED and not name.startswith(b"x-forwarded-")
