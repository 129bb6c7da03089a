"""One message's head from raw bytes to a validated head object.

In: bytes that begin with a head.  Out: RequestHead or ResponseHead; None while the head is not whole; or BadMessage.
House rules: an ordinary head is read by the kernel (`_head`, where it was compiled); every other one goes the plain way, which explains
what is wrong with it. There llhttp (httptools) validates the field lines, without field callbacks; the start line is ours, because
llhttp refuses unknown methods, accepts repeated spaces and HTTP/2.0, and would skip a body after Upgrade. Framing is decided by
`framing`, never by llhttp's flags. A fresh llhttp parser for each head costs 0.16 µs and has no state to go wrong.
Hot. Strictness beyond llhttp lives here (start line, limits) and in `head` (fields), nowhere else; `scan` only reads.
Source: RFC 9112 sections 3 to 5; statuses and messages as Kong's nginx gives them (proxying contract, section 6).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from kongdp.http1 import known_heads
from kongdp.http1._head import IS_COMPILED, read_request, read_response
from kongdp.http1.fields import REQUEST_FIELDS, RESPONSE_FIELDS, NameKinds
from kongdp.http1.head import edit_request, edit_response
from kongdp.http1.messages import BadMessage, RequestHead, ResponseHead
from kongdp.http1.scan import KnownLines, Scanned

TOO_LARGE = "Request header or cookie too large"
BAD_REQUEST = "Bad request"

# nginx takes capital letters, "_" and "-" in a method; "get" and "G3T" are refused. The target is one run of visible bytes (bytes
# beyond ASCII are served percent-encoded, as Kong does); one space each side.
_REQUEST_LINE = re.compile(rb"([A-Z_\-]{1,32}) ([!-~\x80-\xff]+) HTTP/1\.([01])\r\n")
_METHOD_SIGNS = (b"_", b"-")
_VERSION = re.compile(rb"\S+ \S+ HTTP/([0-9]{1,3})\.([0-9]{1,3})\r\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])( [\t\x20-\x7e\x80-\xff]*)?\r\n")

_REQUEST_LINES = KnownLines(NameKinds(REQUEST_FIELDS, drops_odd=True))
_RESPONSE_LINES = KnownLines(NameKinds(RESPONSE_FIELDS))

_LLHTTP_START = b"GET / HTTP/1.1"


@dataclass(frozen=True)
class HeadLimits:
    """Bounds of a request head. Bytes: `line_bytes_max` request line, `field_bytes_max` one field line, `head_bytes_max` in all."""

    line_bytes_max: int = 8192
    field_bytes_max: int = 8192
    head_bytes_max: int = 32768
    fields_max: int = 1000


def find_head_end(data: bytes | bytearray, start: int, limits: HeadLimits) -> int:
    """Index after the head's empty line in `data`, or -1 when it has not come yet. Raises BadMessage when it may not grow further."""
    end = data.find(b"\r\n\r\n", start)
    if end >= 0:
        return end + 4
    if len(data) > limits.line_bytes_max and data.find(b"\r\n", 0, limits.line_bytes_max) < 0:
        raise _line_too_long(limits)
    if len(data) > limits.head_bytes_max:
        raise BadMessage(400, TOO_LARGE, f"head longer than {limits.head_bytes_max} bytes")
    # what never becomes a head is refused at once instead of after a timeout: one that ends in bare LFs, a TLS hello, HTTP/0.9
    if b"\n\n" in data or b"\n\r\n" in data:
        raise BadMessage(400, BAD_REQUEST, "bare LF as line end")
    if data[:1].isalnum() or data[:1] in _METHOD_SIGNS or data in (b"", b"\r"):
        line_end = data.find(b"\r\n")
        # only while no field line is complete, so that a head that trickles in is not read again and again
        if line_end < 0 or data.find(b"\r\n", line_end + 2) >= 0 or _REQUEST_LINE.match(data):
            return -1
    raise _bad_start_line(bytes(data), limits)


def try_request_head(data: bytes, limits: HeadLimits) -> RequestHead | None:
    """The request head that `data` begins with, or None while it is not whole. Raises BadMessage as parse_request_head does."""
    head = read_request(data, limits.line_bytes_max, limits.field_bytes_max, limits.head_bytes_max, limits.fields_max)
    if head is not None:
        return head
    end = find_head_end(data, 0, limits)
    if end < 0:
        return None
    return parse_request_head(data if end == len(data) else data[:end], limits)


def try_response_head(data: bytes, charset: bytes | None, head_bytes_max: int) -> ResponseHead | None:
    """The response head that `data` begins with, or None while it is not whole. Raises BadMessage with status 502."""
    head = read_response(data, charset, head_bytes_max)
    if head is not None:
        return head
    end = data.find(b"\r\n\r\n") + 4
    if end > head_bytes_max or (end < 4 and len(data) > head_bytes_max):
        raise BadMessage(502, "", f"response head longer than {head_bytes_max} bytes")
    if end < 4:
        _check_beginning(data)
        return None
    return parse_response_head(data if end == len(data) else data[:end], charset=charset)


def _check_beginning(data: bytes) -> None:
    """Refuse what never becomes a response head, rather than wait for the rest of it until a timeout."""
    if not data.startswith(b"HTTP/1."[: len(data)]):
        raise BadMessage(502, "", f"not a response head: {data[:60]!r}")
    if b"\n\n" in data or b"\n\r\n" in data:
        raise BadMessage(502, "", "bare LF as line end")


def parse_request_head(raw: bytes, limits: HeadLimits) -> RequestHead:
    """Read one whole request head the plain way. Raises BadMessage; its status and message are the answer."""
    line = _REQUEST_LINE.match(raw)
    if line is None:
        raise _bad_start_line(raw, limits)
    scanned = _read_fields(raw, line.end(), _REQUEST_LINES, _judge_request_fields)
    if len(raw) > limits.field_bytes_max:
        _check_sizes(raw, limits)
    if scanned[2] > limits.fields_max:
        raise BadMessage(400, TOO_LARGE, f"{scanned[2]} field lines; the limit is {limits.fields_max}")
    head = RequestHead(raw, 1 if line[3] == b"1" else 0)
    head.method = line[1]
    head.target = line[2]
    edit_request(head, scanned)
    if head.host is None and head.minor == 1:
        raise BadMessage(400, BAD_REQUEST, "no Host field in an HTTP/1.1 request")
    if not IS_COMPILED:
        known_heads.remember_request(raw[line.start(3) :], head, scanned[2])
    return head


def parse_response_head(raw: bytes, *, charset: bytes | None) -> ResponseHead:
    """Read one whole response head the plain way. Raises BadMessage with status 502."""
    line = _STATUS_LINE.match(raw)
    if line is None:
        raise BadMessage(502, "", f"malformed status line: {raw[:60]!r}")
    scanned = _read_fields(raw, line.end(), _RESPONSE_LINES, _judge_response_fields)
    shown = b"HTTP/1.1 %b%b\r\n" % (line[2], line[3] or b" ")
    head = ResponseHead(len(raw), shown, int(line[2]), 1 if line[1] == b"1" else 0)
    try:
        edit_response(head, scanned, charset=charset)
    except BadMessage as problem:
        problem.status = 502
        raise
    if not IS_COMPILED:
        known_heads.remember_response(raw, head, charset)
    return head


def _read_fields(raw: bytes, start: int, known: KnownLines, judge: Callable[[list[bytes]], bool]) -> Scanned:
    """Sort the field lines behind a start line. What llhttp accepted once, line by line, it need not see again."""
    lines = raw[start:].split(b"\r\n")
    del lines[-2:]
    return known.read(lines, judge)


def _judge_request_fields(lines: list[bytes]) -> bool:
    return _judge_fields(lines, 400)


def _judge_response_fields(lines: list[bytes]) -> bool:
    return _judge_fields(lines, 502)


def _judge_fields(lines: list[bytes], status: int) -> bool:
    """Let llhttp judge field lines behind a start line it knows. False when it stopped at what `head` refuses."""
    try:
        HttpRequestParser(None).feed_data(b"\r\n".join((_LLHTTP_START, *lines, b"\r\n")))
    except HttpParserUpgrade:
        return True
    except HttpParserError as problem:
        detail = str(problem)
        if "Transfer-Encoding" in detail:
            return False  # the field pass says this with the right status
        raise BadMessage(status, BAD_REQUEST, f"malformed field line: {detail}") from None
    return True


def _check_sizes(raw: bytes, limits: HeadLimits) -> None:
    lines = raw.split(b"\r\n")
    if len(lines[0]) > limits.line_bytes_max:
        raise _line_too_long(limits)
    if len(raw) > limits.head_bytes_max:
        raise BadMessage(400, TOO_LARGE, f"head of {len(raw)} bytes; the limit is {limits.head_bytes_max}")
    for field in lines[1:]:
        if len(field) > limits.field_bytes_max:
            name = field.partition(b":")[0][:60]
            raise BadMessage(
                400, TOO_LARGE, f"field {name!r} of {len(field)} bytes; the limit is {limits.field_bytes_max}"
            )


def _line_too_long(limits: HeadLimits) -> BadMessage:
    return BadMessage(414, "URI too long", f"request line longer than {limits.line_bytes_max} bytes")


def _bad_start_line(raw: bytes, limits: HeadLimits) -> BadMessage:
    end = raw.find(b"\r\n")
    if end > limits.line_bytes_max:
        return _line_too_long(limits)
    version = _VERSION.match(raw)
    if version and (version[1], version[2]) not in ((b"1", b"0"), (b"1", b"1")):
        return BadMessage(
            505, "HTTP version not supported", f"HTTP version {version[1].decode()}.{version[2].decode()}"
        )
    return BadMessage(400, BAD_REQUEST, f"malformed request line: {raw[: min(end, 60) if end >= 0 else 60]!r}")
