"""Heads and chunks to bytes: status lines and fixed fields rendered at import.

Hot. Returns shared bytes objects wherever the value is one of few.
"""

from http import HTTPStatus

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
KEEP_ALIVE = b"Connection: keep-alive\r\n"
CLOSE = b"Connection: close\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LAST_CHUNK = b"0\r\n\r\n"

REASONS = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
# nginx's own words, which clients of Kong see
REASONS |= {
    302: b"Moved Temporarily",
    413: b"Request Entity Too Large",
    414: b"Request-URI Too Large",
    503: b"Service Temporarily Unavailable",
}
REASONS |= {504: b"Gateway Time-out"}

STATUS_LINES = {status: b"HTTP/1.1 %d %s\r\n" % (status, reason) for status, reason in REASONS.items()}

_SMALL = 1024
_LENGTH_LINES = tuple(b"Content-Length: %d\r\n" % n for n in range(_SMALL))


def status_line(status: int) -> bytes:
    """The status line of an answer of our own."""
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status


def content_length_line(length: int) -> bytes:
    """The Content-Length field line for `length` bytes."""
    if 0 <= length < _SMALL:
        return _LENGTH_LINES[length]
    return b"Content-Length: %d\r\n" % length


def chunk(data: bytes) -> bytes:
    """`data` as one chunk (RFC 9112 section 7.1); nothing for no data, because a chunk of zero ends the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
