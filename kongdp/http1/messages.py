"""What the HTTP/1 room says about a message: the parsed heads, a field view made on demand, and why a message was refused.

Heads are values: made by `head`, read by everyone, changed by nobody. A head keeps the lines that pass unchanged as one bytes object
(`kept`), because the gateway edits heads and does not rebuild them. `Fields` is the expensive view, made only when a route plan asks.
Hot: one head object per message.
"""

from collections.abc import Iterator

from kongdp.errors import KongdpError, Source

NO_LENGTH = -1
"""`content_length` of a message that states none."""

FIELDS_VISIBLE_MAX = 100
"""How many field lines routing and plugins see (Kong: lua_max_req_headers, default 100)."""


class BadMessage(KongdpError):
    """A peer sent what nobody can trust. `status` is the answer a client gets; `public` is its message (Kong's words)."""

    source = Source.CLIENT

    def __init__(self, status: int, public: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.public = public


class RequestHead:
    """The head of one request, already validated and stripped of what must not travel on.

    PERF: defaults stand on the class and only what was found is set on the instance; a slotted class would pay for twenty
    assignments per request (bench/parts/test_head.py).
    """

    method: bytes
    target: bytes
    minor: int  # 1 for HTTP/1.1, 0 for HTTP/1.0
    kept: bytes  # field lines that pass as they came, each with its CRLF
    raw: bytes  # the whole head as it came, for Fields and the log

    host: bytes | None = None
    keep_alive: bool = True
    content_length: int = NO_LENGTH
    chunked: bool = False
    expect_continue: bool = False
    websocket: bool = False
    te_trailers: bool = False
    via: bytes | None = None
    request_id: bytes | None = None
    real_ip: bytes | None = None
    forwarded_for: bytes | None = None
    forwarded_proto: bytes | None = None
    forwarded_host: bytes | None = None
    forwarded_port: bytes | None = None
    forwarded_path: bytes | None = None
    forwarded_prefix: bytes | None = None

    @property
    def has_body(self) -> bool:
        """Whether body bytes follow the head."""
        return self.chunked or self.content_length > 0


class ResponseHead:
    """The head of one response of an upstream; defaults on the class as in RequestHead."""

    status: int
    reason: bytes
    minor: int
    kept: bytes
    raw: bytes

    keep_alive: bool = True
    content_length: int = NO_LENGTH
    chunked: bool = False
    upgrade: bytes | None = None
    via: bytes | None = None
    has_server: bool = False
    has_date: bool = False


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
