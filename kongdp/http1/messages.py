"""What the HTTP/1 room says about a message: the parsed heads, a field view made on demand, and why a message was refused.

Heads are values: made by `head`, read by everyone, changed by nobody. A head keeps the lines that pass unchanged as one bytes object
(`kept`), because the gateway edits heads and does not rebuild them. `Fields` is the expensive view, made only when a route plan asks.
Hot: one head object per message.
"""

from collections.abc import Iterator
from typing import TypeAlias

from kongdp.errors import KongdpError, Source

NO_LENGTH = -1
"""`content_length` of a message that states none."""

FIELDS_VISIBLE_MAX = 100
"""How many field lines routing and plugins see (Kong: lua_max_req_headers, default 100)."""


RequestFacts: TypeAlias = tuple[
    int,
    bool,
    int,
    bool,
    bool,
    bool,
    bool,
    bytes | None,
    bytes | None,
    bytes | None,
    bytes | None,
    bytes | None,
    bytes | None,
    bytes | None,
    bytes | None,
    bytes | None,
    bytes | None,
    bytes,
]
ResponseFacts: TypeAlias = tuple[bytes, int, int, bool, int, bool, bool, bool, bytes | None, bytes | None, bytes]
"""What a head said beside its method and target, as its `facts` gives it and its `take` wants it."""


class BadMessage(KongdpError):
    """A peer sent what nobody can trust. `status` is the answer a client gets; `public` is its message (Kong's words)."""

    source = Source.CLIENT

    def __init__(self, status: int, public: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.public = public


class RequestHead:
    """The head of one request, already validated and stripped of what must not travel on.

    `kept`: field lines that pass as they came, each with its CRLF.  `raw`: the whole head as it came, for Fields and the log.
    `minor`: 1 for HTTP/1.1, 0 for HTTP/1.0.  `path` and `query` (with its question mark): those of a target in origin form, where whoever
    read the head cut it; an empty path says nothing.  `is_plain`: known to have one of the usual methods, and a `path` that `http1.target`
    would neither refuse nor change; False says nothing.
    """

    __slots__ = (
        "chunked",
        "content_length",
        "expect_continue",
        "forwarded_for",
        "forwarded_host",
        "forwarded_path",
        "forwarded_port",
        "forwarded_prefix",
        "forwarded_proto",
        "host",
        "is_plain",
        "keep_alive",
        "kept",
        "method",
        "minor",
        "path",
        "query",
        "raw",
        "real_ip",
        "request_id",
        "target",
        "te_trailers",
        "via",
        "websocket",
    )

    method: bytes
    target: bytes
    kept: bytes

    def __init__(self, raw: bytes = b"", minor: int = 1) -> None:
        self.raw = raw
        self.minor = minor
        self.keep_alive = True
        self.content_length = NO_LENGTH
        self.chunked = False
        self.expect_continue = False
        self.websocket = False
        self.te_trailers = False
        self.is_plain = False
        self.path = b""
        self.query = b""
        self.host: bytes | None = None
        self.via: bytes | None = None
        self.request_id: bytes | None = None
        self.real_ip: bytes | None = None
        self.forwarded_for: bytes | None = None
        self.forwarded_proto: bytes | None = None
        self.forwarded_host: bytes | None = None
        self.forwarded_port: bytes | None = None
        self.forwarded_path: bytes | None = None
        self.forwarded_prefix: bytes | None = None

    def facts(self) -> RequestFacts:
        """All that the version and the fields said, for `take`."""
        return (
            self.minor,
            self.keep_alive,
            self.content_length,
            self.chunked,
            self.expect_continue,
            self.websocket,
            self.te_trailers,
            self.host,
            self.via,
            self.request_id,
            self.real_ip,
            self.forwarded_for,
            self.forwarded_proto,
            self.forwarded_host,
            self.forwarded_port,
            self.forwarded_path,
            self.forwarded_prefix,
            self.kept,
        )

    def take(self, facts: RequestFacts) -> None:
        """Say what a head with the same version and fields said."""
        (
            self.minor,
            self.keep_alive,
            self.content_length,
            self.chunked,
            self.expect_continue,
            self.websocket,
            self.te_trailers,
            self.host,
            self.via,
            self.request_id,
            self.real_ip,
            self.forwarded_for,
            self.forwarded_proto,
            self.forwarded_host,
            self.forwarded_port,
            self.forwarded_path,
            self.forwarded_prefix,
            self.kept,
        ) = facts

    def fields(self) -> dict[bytes, list[bytes]]:
        """Every field line by name, for the router's checks."""
        return Fields(self.raw).as_mapping()

    @property
    def has_body(self) -> bool:
        """Whether body bytes follow the head."""
        return self.chunked or self.content_length > 0


class ResponseHead:
    """The head of one response of an upstream, of `length` bytes. `line`: the status line as a client of HTTP/1.1 gets it, with CRLF."""

    __slots__ = (
        "chunked",
        "content_length",
        "has_date",
        "has_server",
        "keep_alive",
        "kept",
        "length",
        "line",
        "minor",
        "status",
        "upgrade",
        "via",
    )

    kept: bytes

    def __init__(self, length: int, line: bytes, status: int, minor: int) -> None:
        self.length = length
        self.line = line
        self.status = status
        self.minor = minor
        self.keep_alive = True
        self.content_length = NO_LENGTH
        self.chunked = False
        self.has_server = False
        self.has_date = False
        self.upgrade: bytes | None = None
        self.via: bytes | None = None

    def facts(self) -> ResponseFacts:
        """All that the status line and the fields said, for `take`."""
        return (
            self.line,
            self.status,
            self.minor,
            self.keep_alive,
            self.content_length,
            self.chunked,
            self.has_server,
            self.has_date,
            self.upgrade,
            self.via,
            self.kept,
        )

    def take(self, facts: ResponseFacts) -> None:
        """Say what a head of the same bytes said."""
        (
            self.line,
            self.status,
            self.minor,
            self.keep_alive,
            self.content_length,
            self.chunked,
            self.has_server,
            self.has_date,
            self.upgrade,
            self.via,
            self.kept,
        ) = facts


class Fields:
    """Field lines of a head by lower-case name; a line is never split at commas. Names are bytes, values stripped bytes."""

    __slots__ = ("_by_name",)

    def __init__(self, head: bytes, lines_max: int = FIELDS_VISIBLE_MAX) -> None:
        """`head` is a whole validated head, start line included; only the first `lines_max` lines are visible."""
        by_name: dict[bytes, list[bytes]] = {}
        for line in head.split(b"\r\n")[1 : 1 + lines_max]:
            name, colon, value = line.partition(b":")
            if colon:
                by_name.setdefault(name.lower(), []).append(value.strip(b" \t"))
        self._by_name = by_name

    def all(self, name: bytes) -> list[bytes]:
        """Every value of the field, in order; `name` in lower case."""
        return self._by_name.get(name, [])

    def first(self, name: bytes) -> bytes | None:
        """The value of the first line of that name, or None."""
        values = self._by_name.get(name)
        return values[0] if values else None

    def as_mapping(self) -> dict[bytes, list[bytes]]:
        """Lower-case name to values: what the router's header checks read."""
        return self._by_name

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._by_name)
