"""Raw responses that made two parsers see different messages somewhere, each with its source. Data only; see test_response_splitting.

A row: name, bytes as an upstream sends them to a GET, what the client gets (status and body, or "cut"), whether the upstream's connection
may serve another request, and where the trick comes from.
"""

from dataclasses import dataclass

OK = b"HTTP/1.1 200 OK\r\n"
EVIL = OK + b"Content-Length: 4\r\n\r\nevil"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Row:
    """One trick of an upstream."""

    name: str
    raw: bytes
    status: int | str
    body: bytes
    reused: bool
    source: str


def refused(name: str, raw: bytes, source: str) -> Row:
    """A 502; the connection is never used again."""
    return Row(name, raw, 502, b"", False, source)


def cut(name: str, raw: bytes, source: str) -> Row:
    """Noticed only inside the body: the client's connection is cut."""
    return Row(name, raw, "cut", b"", False, source)


ROWS = (
    Row("length", OK + b"Content-Length: 5\r\n\r\nhello", 200, b"hello", True, "RFC 9112 section 6.3"),
    Row("chunks", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", 200, b"hello", True, "RFC 9112 section 7.1"),
    Row(
        "chunks with trailers",
        CHUNKED + b"5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        200,
        b"hello",
        True,
        "RFC 9112 section 7.1.2",
    ),
    Row(
        "asked to close",
        OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello",
        200,
        b"hello",
        False,
        "RFC 9112 section 9.6",
    ),
    Row("HTTP/1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", False, "RFC 9112 section 9.3"),
    Row(
        "no reason",
        b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello",
        200,
        b"hello",
        True,
        "RFC 9112 section 4: reason may be absent",
    ),
    Row(
        "bytes behind a length",
        OK + b"Content-Length: 5\r\n\r\nhello" + EVIL,
        200,
        b"hello",
        False,
        "response splitting (Klein 2004)",
    ),
    Row(
        "bytes behind chunks",
        CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + EVIL,
        200,
        b"hello",
        False,
        "response splitting (Klein 2004)",
    ),
    Row(
        "bytes behind a 204",
        b"HTTP/1.1 204 No Content\r\n\r\n" + EVIL,
        204,
        b"",
        False,
        "response queue poisoning (Kettle 2022)",
    ),
    Row(
        "body of a 204",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil",
        204,
        b"",
        False,
        "RFC 9112 section 6.3, rule 1",
    ),
    Row(
        "body of a 304",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
        304,
        b"",
        False,
        "RFC 9112 section 6.3, rule 1",
    ),
    Row(
        "nothing of a 304",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n",
        304,
        b"",
        True,
        "RFC 9110 section 8.6",
    ),
    Row(
        "coding of a 304",
        b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
        304,
        b"",
        True,
        "RFC 9112 section 6.1",
    ),
    Row(
        "interim with a body",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 100\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\nhello",
        200,
        b"hello",
        True,
        "RFC 9110 section 15.2: no body",
    ),
    refused(
        "CL and TE",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "RFC 9112 section 6.3: error or attack",
    ),
    refused(
        "TE and CL", OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", "RFC 9112 section 6.3"
    ),
    refused(
        "two lengths", OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "RFC 9112 section 6.3, rule 5"
    ),
    refused("equal lengths", OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "ours"),
    refused("list of lengths", OK + b"Content-Length: 5, 5\r\n\r\nhello", "ours"),
    refused("negative length", OK + b"Content-Length: -1\r\n\r\n", "RFC 9110 section 8.6"),
    refused("signed length", OK + b"Content-Length: +5\r\n\r\nhello", "CVE-2022-24761 (Waitress), the other way round"),
    refused("empty length", OK + b"Content-Length:\r\n\r\n", "CVE-2023-40225 (HAProxy)"),
    refused("unknown coding", OK + b"Transfer-Encoding: gzip\r\n\r\nx", "RFC 9112 section 6.1"),
    refused("coding list", OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "ours"),
    refused("two codings", OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "ours"),
    refused(
        "coding in HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "RFC 9112 section 6.1"
    ),
    refused(
        "coding of a 204",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "RFC 9112 section 6.1: MUST NOT",
    ),
    refused(
        "coding of a 103",
        b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n" + EVIL,
        "RFC 9112 section 6.1: MUST NOT",
    ),
    refused("space before the colon", OK + b"Content-Length : 5\r\n\r\nhello", "RFC 9112 section 5.1"),
    refused(
        "fold",
        OK + b"Content-Length: 5\r\nX: a\r\n b\r\n\r\nhello",
        "RFC 9112 section 5.2; ours: refused, not repaired",
    ),
    refused("LF as line end", b"HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\nhello", "RFC 9112 section 2.2"),
    refused("LF behind a field", OK + b"Content-Length: 5\nX: y\r\n\r\nhello", "RFC 9112 section 2.2"),
    refused(
        "CR in a value",
        OK + b"X: a\rContent-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
        "CVE-2023-30589, the other way round",
    ),
    refused(
        "NUL in a value",
        OK + b"X: a\x00b\r\nContent-Length: 5\r\n\r\nhello",
        "CVE-2024-24795 (Apache): header injection by backends",
    ),
    refused("no colon", OK + b"Content-Length 5\r\n\r\nhello", "RFC 9112 section 5"),
    refused(
        "switch unasked",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" + EVIL,
        "CVE-2026-2833 (Pingora), the other way round",
    ),
    refused("HTTP/2", b"HTTP/2 200 OK\r\nContent-Length: 5\r\n\r\nhello", "RFC 9112 section 2.3"),
    refused("HTTP/0.9", b"hello\r\n\r\n", "RFC 9112 section 4"),
    refused("status of two digits", b"HTTP/1.1 99 x\r\nContent-Length: 5\r\n\r\nhello", "RFC 9112 section 4"),
    refused("status of four digits", b"HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\nhello", "RFC 9112 section 4"),
    refused("control in the reason", b"HTTP/1.1 200 O\x01K\r\nContent-Length: 5\r\n\r\nhello", "RFC 9112 section 4"),
    cut("chunk size", CHUNKED + b"5\r\nhello\r\nx\r\n\r\n", "RFC 9112 section 7.1"),
    cut("chunk without end", CHUNKED + b"5\r\nhelloXX0\r\n\r\n", "CVE-2025-43859 (h11)"),
    cut("chunk ended by LF", CHUNKED + b"5\r\nhello\n0\r\n\r\n", "Weikop, Funky chunks (2025)"),
    cut("chunk extension ended by LF", CHUNKED + b"5;a\nhello\r\n0\r\n\r\n", "Weikop, Funky chunks (2025)"),
    cut("chunk too large", CHUNKED + b"ffffffffffffffff\r\nhello", "CVE-2013-2028 (nginx)"),
    cut(
        "trailer without colon",
        CHUNKED + b"5\r\nhello\r\n0\r\nHTTP/1.1 200 OK\r\n\r\n",
        "CVE-2023-46589 (Tomcat), the other way round",
    ),
)
