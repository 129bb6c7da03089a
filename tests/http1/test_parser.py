"""Heads: what is accepted, what is refused with which status, and what travels on."""

import pytest

from kongdp.http1.messages import BadMessage
from kongdp.http1.parser import HeadLimits, find_head_end, parse_request_head, parse_response_head, try_response_head

LIMITS = HeadLimits()

BEGIN = b"GET /x HTTP/1.1\r\nHost: gw.test\r\n"

REFUSED = [
    # (raw head, status, source)
    (b"GET /x HTTP/1.1\r\n\r\n", 400, "RFC 9112 section 3.2: no Host"),
    (BEGIN + b"Host: gw.test\r\n\r\n", 400, "RFC 9112 section 3.2: two Hosts"),
    (b"GET /x HTTP/1.1\r\nHost:\r\n\r\n", 400, "Kong: empty Host"),
    (b"GET /x HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "RFC 9110 section 7.2"),
    (b"GET /x HTTP/1.1\r\nHost: u@gw.test\r\n\r\n", 400, "ours: userinfo in Host"),
    (b"GET /x HTTP/1.1\r\nHost: gw.test:xx\r\n\r\n", 400, "ours: port that is no number"),
    (b"GET /x HTTP/1.1\r\nHost: gw.test:\r\n\r\n", 400, "ours: empty port"),
    (b"GET /x HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, "ours: unclosed bracket"),
    (b"GET  /x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "RFC 9112 section 3: one space"),
    (b"GET /x  HTTP/1.1\r\nHost: a\r\n\r\n", 400, "RFC 9112 section 3: one space"),
    (b"GET\t/x\tHTTP/1.1\r\nHost: a\r\n\r\n", 400, "RFC 9112 section 3: no tab"),
    (b"GET /x HTTP/1.1 x\r\nHost: a\r\n\r\n", 400, "RFC 9112 section 3"),
    (b"get /x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "nginx: upper-case methods"),
    (b"G@T /x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "nginx: letters, digits, _ and -"),
    (b"GET /x\r\n\r\n", 400, "HTTP/0.9"),
    (b"GET /x HTTX/1.1\r\nHost: a\r\n\r\n", 400, "not HTTP"),
    (b"GET /x HTTP/1.2\r\nHost: a\r\n\r\n", 505, "ours: a minor version nobody speaks"),
    (b"GET /x HTTP/1.10\r\nHost: a\r\n\r\n", 505, "ours"),
    (b"GET /x HTTP/2.0\r\nHost: a\r\n\r\n", 505, "Kong: 505"),
    (b"GET /x HTTP/0.9\r\nHost: a\r\n\r\n", 505, "ours"),
    (b"GET /x\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "control character in the target"),
    (b"GET /x\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400, "DEL in the target"),
    (b"GET /x HTTP/1.1\nHost: a\r\n\r\n", 400, "bare LF behind the request line"),
    (BEGIN + b"A: b\nC: d\r\n\r\n", 400, "bare LF behind a field"),
    (BEGIN + b"A: b\rC: d\r\n\r\n", 400, "bare CR (CVE-2023-30589)"),
    (BEGIN + b"A: b\x00c\r\n\r\n", 400, "NUL in a value"),
    (BEGIN + b"A: b\x01c\r\n\r\n", 400, "control character in a value"),
    (BEGIN + b"A: b\r\n  folded\r\n\r\n", 400, "RFC 9112 section 5.2: obs-fold"),
    (b"GET /x HTTP/1.1\r\n Host: a\r\n\r\n", 400, "white space before the first field"),
    (BEGIN + b"garbage\r\n\r\n", 400, "field line without colon"),
    (BEGIN + b"A : b\r\n\r\n", 400, "RFC 9112 section 5.1: space before the colon"),
    (BEGIN + b"A B: c\r\n\r\n", 400, "space in a name"),
    (BEGIN + b": c\r\n\r\n", 400, "empty name"),
    (BEGIN + b"A\xff: c\r\n\r\n", 400, "name beyond ASCII"),
    (BEGIN + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400, "RFC 9112 section 6.3: repeated length"),
    (BEGIN + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400, "CL.CL smuggling"),
    (BEGIN + b"Content-Length: 5, 5\r\n\r\n", 400, "list of lengths"),
    (BEGIN + b"Content-Length: +5\r\n\r\n", 400, "sign (CVE-2018-7159)"),
    (BEGIN + b"Content-Length: -5\r\n\r\n", 400, "negative"),
    (BEGIN + b"Content-Length: 0x5\r\n\r\n", 400, "hexadecimal"),
    (BEGIN + b"Content-Length: 5 5\r\n\r\n", 400, "inner space"),
    (BEGIN + b"Content-Length:\r\n\r\n", 400, "empty"),
    (BEGIN + b"Content-Length: 9999999999999999999\r\n\r\n", 400, "19 digits do not fit"),
    (BEGIN + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "CL.TE smuggling"),
    (BEGIN + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400, "TE.CL smuggling"),
    (BEGIN + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 400, "TE.TE smuggling"),
    (BEGIN + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "TE.TE smuggling"),
    (BEGIN + b"Transfer-Encoding: gzip\r\n\r\n", 501, "unknown coding"),
    (BEGIN + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501, "list of codings"),
    (BEGIN + b"Transfer-Encoding: chunked, chunked\r\n\r\n", 501, "list of codings"),
    (BEGIN + b"Transfer-Encoding: xchunked\r\n\r\n", 501, "unknown coding"),
    (BEGIN + b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\n", 501, "identity is no coding"),
    (BEGIN + b"Transfer-Encoding : chunked\r\n\r\n", 400, "space before the colon"),
    (b"POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "RFC 9112 section 6.1: coding in HTTP/1.0"),
    (BEGIN + b"Connection: Host\r\n\r\n", 400, "ours: Connection nominates an end-to-end field"),
    (BEGIN + b"Connection: close, Content-Length\r\nContent-Length: 1\r\n\r\n", 400, "ours"),
    (BEGIN + b"Connection: X-Forwarded-For\r\n\r\n", 400, "ours: hop-by-hop abuse of forwarded fields"),
    (BEGIN + b"Connection: authorization\r\n\r\n", 400, "ours"),
]


@pytest.mark.parametrize(("raw", "status", "source"), REFUSED)
def test_parse_request_head_when_ambiguous(raw: bytes, status: int, source: str) -> None:
    """A head that two parsers could read differently is refused with the right status."""
    with pytest.raises(BadMessage) as refused:
        parse_request_head(raw, LIMITS)
    assert refused.value.status == status, source


KEPT = [
    (b"X-A: 1\r\nX-A: 2\r\n", b"X-A: 1\r\nX-A: 2\r\n"),
    (b"x-lower: 1\r\nX-UPPER: 2\r\n", b"x-lower: 1\r\nX-UPPER: 2\r\n"),
    (b"X-Empty:\r\n", b"X-Empty:\r\n"),
    (b"X-L: caf\xc3\xa9\r\n", b"X-L: caf\xc3\xa9\r\n"),
    (b"Connection: X-Drop, close\r\nX-Drop: 1\r\nX-Keep: 2\r\n", b"X-Keep: 2\r\n"),
    (b"CONNECTION: x-drop\r\nX-DROP: 1\r\n", b""),
    (b"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy: evil\r\n", b""),
    (b"Upgrade: h2c\r\nTE: gzip\r\nExpect: 100-continue\r\n", b""),
    (b"Trailer: X-T\r\n", b"Trailer: X-T\r\n"),
    (b"Proxy-Authorization: Basic x\r\n", b"Proxy-Authorization: Basic x\r\n"),
    (b"X-Forwarded-For: 1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\n", b""),
]


@pytest.mark.parametrize(("lines", "kept"), KEPT)
def test_kept_lines_when_some_are_hop_by_hop(lines: bytes, kept: bytes) -> None:
    """What is not hop-by-hop and not replaced passes as it came, in order and in its own spelling."""
    assert parse_request_head(BEGIN + lines + b"\r\n", LIMITS).kept == kept


def test_request_head_when_everything_is_there() -> None:
    """Every field that means something is found, whatever its letter case."""
    raw = (
        b"POST /p?q HTTP/1.1\r\nhOsT: GW.test:8000\r\ncontent-LENGTH: 12\r\nTE: trailers, gzip\r\nUpgrade: WebSocket\r\n"
        b"Expect: 100-Continue\r\nVia: 1.0 a\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n\r\n"
    )
    head = parse_request_head(raw, LIMITS)
    assert (head.method, head.target, head.minor, head.host) == (b"POST", b"/p?q", 1, b"GW.test:8000")
    assert (head.content_length, head.chunked, head.has_body) == (12, False, True)
    assert (head.te_trailers, head.websocket, head.expect_continue) == (True, True, True)
    assert (head.via, head.forwarded_for) == (b"1.0 a", b"1.1.1.1")


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: keep-alive, Close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive\r\n", True),
    ],
)
def test_keep_alive_when_versions_and_tokens_differ(version: bytes, connection: bytes, keep_alive: bool) -> None:
    """RFC 9112 section 9.3."""
    raw = b"GET / HTTP/" + version + b"\r\nHost: a\r\n" + connection + b"\r\n"
    assert parse_request_head(raw, LIMITS).keep_alive is keep_alive


def test_limits_when_reached() -> None:
    """The longest line, field and head pass; one byte more is refused with the status that says which."""
    line = b"GET /" + b"a" * (8192 - len(b"GET / HTTP/1.1")) + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    parse_request_head(line, LIMITS)
    with pytest.raises(BadMessage, match="request line") as refused:
        parse_request_head(line.replace(b"/a", b"/aa", 1), LIMITS)
    assert refused.value.status == 414
    field = BEGIN + b"A: " + b"b" * (8192 - 3) + b"\r\n\r\n"
    parse_request_head(field, LIMITS)
    with pytest.raises(BadMessage, match="field b'A'") as refused:
        parse_request_head(field.replace(b"bb", b"bbb", 1), LIMITS)
    assert (refused.value.status, refused.value.public) == (400, "Request header or cookie too large")
    whole = BEGIN + b"".join(b"A: " + b"b" * 1019 + b"\r\n" for _ in range(31))
    whole += b"B: " + b"b" * (32768 - len(whole) - 3 - 4) + b"\r\n\r\n"
    assert len(whole) == 32768
    parse_request_head(whole, LIMITS)
    with pytest.raises(BadMessage, match="head of 32769 bytes"):
        parse_request_head(whole.replace(b"B: b", b"B: bb"), LIMITS)
    many = BEGIN + b"".join(b"A: b\r\n" for _ in range(999))
    parse_request_head(many + b"\r\n", LIMITS)
    with pytest.raises(BadMessage, match="1001 field lines"):
        parse_request_head(many + b"A: b\r\n\r\n", LIMITS)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01", 400),  # a TLS hello on a plain port
        (b" GET /", 400),
        (b"\r\n\r", 400),  # more than the two empty lines that were taken off before
        (b"GET /x\r\n", 400),  # HTTP/0.9
        (b"GET /x HTTP/1.1 y\r\nHo", 400),
        (b"GET /x HTTP/2.0\r\nHo", 505),
    ],
)
def test_find_head_end_when_it_never_becomes_a_head(data: bytes, status: int) -> None:
    """Refused at once: its sender would wait for us until the timeout."""
    with pytest.raises(BadMessage) as refused:
        find_head_end(data, 0, LIMITS)
    assert refused.value.status == status


@pytest.mark.parametrize("data", [b"", b"\r", b"GET /x HTTP/1.1\r", b"GET /x HTTP/1.1\r\nHo", BEGIN + b"\r"])
def test_find_head_end_when_more_may_come(data: bytes) -> None:
    """The beginning of a head, wherever it was cut, is waited for."""
    assert find_head_end(data, 0, LIMITS) == -1


@pytest.mark.parametrize(
    "data", [b"SSH-2.0-x\r\n", b"HTTP/2", b"HTTP/1.1 200 OK\nA: b\n\n", b"HTTP/1.1 200 OK\r\nA: b\n\r\n"]
)
def test_try_response_head_when_it_never_becomes_a_head(data: bytes) -> None:
    """Refused at once, as the upstream's fault."""
    with pytest.raises(BadMessage) as refused:
        try_response_head(data, None, 32768)
    assert refused.value.status == 502


@pytest.mark.parametrize("end", range(1, 20))
def test_try_response_head_when_more_may_come(end: int) -> None:
    """The beginning of a head, wherever it was cut, is waited for."""
    assert try_response_head(b"HTTP/1.1 200 OK\r\nA: b\r\n"[:end], None, 32768) is None


def test_find_head_end_when_it_may_not_grow() -> None:
    """An unfinished head is refused as soon as it cannot become acceptable."""
    assert find_head_end(b"GET / HT", 0, LIMITS) == -1
    assert find_head_end(BEGIN + b"\r\nrest", 0, LIMITS) == len(BEGIN) + 2
    with pytest.raises(BadMessage) as refused:
        find_head_end(b"G" * 8193, 0, LIMITS)
    assert refused.value.status == 414
    with pytest.raises(BadMessage) as refused:
        find_head_end(BEGIN + b"A: " + b"b" * 33000, 0, LIMITS)
    assert refused.value.status == 400
    with pytest.raises(BadMessage, match="bare LF"):
        find_head_end(b"GET / HTTP/1.1\nHost: a\n\n", 0, LIMITS)


RESPONSES_REFUSED = [
    b"HTTP/2.0 200 OK\r\n\r\n",
    b"HTTP/1.1 20 OK\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 099 OK\r\n\r\n",
    b"HTTP/1.1  200 OK\r\n\r\n",
    b"HTTP/1.1 200 O\x01K\r\n\r\n",
    b"ICY 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
]


@pytest.mark.parametrize("raw", RESPONSES_REFUSED)
def test_parse_response_head_when_untrustworthy(raw: bytes) -> None:
    """Upstreams get the same suspicion: 502."""
    with pytest.raises(BadMessage) as refused:
        parse_response_head(raw, charset=None)
    assert refused.value.status == 502


def test_response_head_when_hop_by_hop_fields_are_there() -> None:
    """Connection, what it names, framing and nginx's own fields go; the rest stays; a charset is added where Kong adds one."""
    raw = (
        b"HTTP/1.1 200 Fine\r\nServer: s\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nContent-Length: 3\r\nX-Accel-Redirect: /x\r\n"
        b"Content-Type: text/html\r\nSet-Cookie: a=1\r\nVia: 1.1 up\r\nTrailer: X\r\n\r\n"
    )
    head = parse_response_head(raw, charset=b"UTF-8")
    assert head.kept == b"Server: s\r\nContent-Type: text/html; charset=UTF-8\r\nSet-Cookie: a=1\r\n"
    assert (head.status, head.line, head.content_length, head.keep_alive) == (200, b"HTTP/1.1 200 Fine\r\n", 3, False)
    assert (head.via, head.has_server, head.has_date) == (b"1.1 up", True, False)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (b"text/plain", b"text/plain; charset=UTF-8"),
        (b"text/plain;charset=latin1", b"text/plain;charset=latin1"),
        (b"Application/JavaScript", b"Application/JavaScript; charset=UTF-8"),
        (b"application/json", b"application/json"),
        (b"text/css", b"text/css"),
    ],
)
def test_content_type_when_no_charset_is_named(sent: bytes, shown: bytes) -> None:
    """nginx_http_charset: appended to the listed types only."""
    head = parse_response_head(b"HTTP/1.1 200 OK\r\nContent-Type: " + sent + b"\r\n\r\n", charset=b"UTF-8")
    assert head.kept == b"Content-Type: " + shown + b"\r\n"
