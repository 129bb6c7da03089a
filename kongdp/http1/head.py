"""The one pass over a raw head: finds the few fields that matter, drops hop-by-hop lines, keeps the rest as it came.

In: the field lines of a head that llhttp has accepted (so: tokens for names, no control characters, CRLF line ends, no folding).
Out: what was found, set on a RequestHead or ResponseHead, and `kept`, the lines that travel on.
House rule: whatever two parsers could read differently is refused here (BadMessage), even where llhttp lets it pass.
Hot. The plain-Python twin of the compiled kernel; a property test holds the two equal.
Source: RFC 9110 sections 7.6 and 10, RFC 9112; Kong's rules of what is removed and kept (proxying contract, section 1).
"""

import re

from kongdp.http1 import fields as kind
from kongdp.http1.fields import REQUEST_FIELDS, RESPONSE_FIELDS, NameKinds, may_be_nominated, tokens
from kongdp.http1.framing import CLEARED_STATUSES, check_transfer_encoding, content_length
from kongdp.http1.messages import NO_LENGTH, BadMessage, RequestHead, ResponseHead

_REQUEST_KINDS = NameKinds(REQUEST_FIELDS)
_RESPONSE_KINDS = NameKinds(RESPONSE_FIELDS)

_HOST = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")

CHARSET_TYPES = frozenset(
    (
        b"text/html",
        b"text/xml",
        b"text/plain",
        b"text/vnd.wap.wml",
        b"application/javascript",
        b"application/rss+xml",
    )
)
"""Types to which nginx (and so Kong) appends a charset when the upstream named none."""

_CONNECTION_OPTIONS = (b"close", b"keep-alive", b"upgrade")
"""Members of a Connection field that are no field names; a field of such a name is an ordinary one."""

_FIRST_LINE_ONLY = {
    kind.X_FOR: "forwarded_for",
    kind.X_PROTO: "forwarded_proto",
    kind.X_HOST: "forwarded_host",
    kind.X_PORT: "forwarded_port",
    kind.X_PATH: "forwarded_path",
    kind.X_PREFIX: "forwarded_prefix",
    kind.VIA: "via",
    kind.REQUEST_ID: "request_id",
    kind.REAL_IP: "real_ip",
}


def _bad(detail: str) -> BadMessage:
    return BadMessage(400, "Bad request", detail)


def edit_request(head: RequestHead, lines: list[bytes]) -> None:
    """Read the field lines of a request into `head` and set `head.kept`. Raises BadMessage."""
    kept: list[bytes] = []
    keep = kept.append
    kinds = _REQUEST_KINDS
    connection: list[bytes] | None = None
    for line in lines:
        name, _, value = line.partition(b":")
        what = kinds[name]
        if not what:
            keep(line)
        elif what == kind.HOST:
            if head.host is not None:
                raise _bad("more than one Host field")
            head.host = _host(value)
        elif what == kind.CONNECTION:
            connection = tokens(value) if connection is None else connection + tokens(value)
        elif what in _FIRST_LINE_ONLY:
            attribute = _FIRST_LINE_ONLY[what]
            if getattr(head, attribute) is None:
                setattr(head, attribute, value.strip(b" \t"))
        elif what == kind.CONTENT_LENGTH:
            if head.content_length >= 0:
                raise _bad("more than one Content-Length field")
            head.content_length = content_length(value)
        elif what == kind.TRANSFER_ENCODING:
            _request_coding(head, value)
        elif what == kind.EXPECT:
            head.expect_continue = value.strip(b" \t").lower() == b"100-continue"
        elif what == kind.UPGRADE:
            # Kong forwards this token alone, whatever Connection says; every other one is removed
            head.websocket = head.minor == 1 and value.strip(b" \t").lower() == b"websocket"
        elif what == kind.TE:
            head.te_trailers = head.te_trailers or b"trailers" in tokens(value)
    if head.chunked and head.content_length >= 0:
        raise _bad("both Content-Length and Transfer-Encoding")
    if connection is None:
        head.keep_alive = head.minor == 1
    else:
        head.keep_alive = b"close" not in connection and (head.minor == 1 or b"keep-alive" in connection)
        kept = _without_nominated(kept, connection)
    if kept:
        kept.append(b"")
    head.kept = b"\r\n".join(kept)


def edit_response(head: ResponseHead, lines: list[bytes], *, charset: bytes | None) -> None:
    """Read the field lines of a response into `head` and set `head.kept`.

    `charset` is appended to the Content-Type of CHARSET_TYPES that name none; None leaves types alone. Raises BadMessage with
    status 502: the upstream's fault.
    """
    kept: list[bytes] = []
    keep = kept.append
    kinds = _RESPONSE_KINDS
    connection: list[bytes] | None = None
    for line in lines:
        name, _, value = line.partition(b":")
        what = kinds[name]
        if not what:
            keep(line)
        elif what == kind.CONTENT_LENGTH:
            if head.content_length >= 0:
                raise _bad("more than one Content-Length field")
            head.content_length = content_length(value)
        elif what == kind.CONTENT_TYPE:
            keep(_with_charset(line, value, charset) if charset else line)
        elif what == kind.DATE:
            head.has_date = True
            keep(line)
        elif what == kind.SERVER:
            head.has_server = True
            keep(line)
        elif what == kind.CONNECTION:
            connection = tokens(value) if connection is None else connection + tokens(value)
        elif what == kind.TRANSFER_ENCODING:
            if head.chunked:
                raise _bad("more than one Transfer-Encoding field")
            check_transfer_encoding(value)
            head.chunked = True
        elif what == kind.VIA:
            head.via = value.strip(b" \t") if head.via is None else head.via + b", " + value.strip(b" \t")
        elif what == kind.UPGRADE:
            head.upgrade = value.strip(b" \t")
    if head.chunked and head.content_length >= 0:
        raise _bad("both Content-Length and Transfer-Encoding")
    if head.chunked and (head.minor == 0 or head.status < 200 or head.status == 204):
        # a 304 may state the coding its body would have had (RFC 9112 section 6.1); these may not
        raise _bad("Transfer-Encoding in an HTTP/1.0 response or one that has no body")
    if head.status in CLEARED_STATUSES:
        head.content_length = NO_LENGTH
    if connection is None:
        head.keep_alive = head.minor == 1
    else:
        head.keep_alive = b"close" not in connection and (head.minor == 1 or b"keep-alive" in connection)
        named = set(connection).difference(_CONNECTION_OPTIONS)
        kept = _drop_named(kept, named) if named else kept
    if kept:
        kept.append(b"")
    head.kept = b"\r\n".join(kept)


def _host(value: bytes) -> bytes:
    """A Host value as it came, checked: a name or bracketed address and an optional port, nothing else."""
    value = value.strip(b" \t")
    if not _HOST.fullmatch(value):
        raise _bad(f"Host is not a name with an optional port: {value[:80]!r}")
    return value


def _request_coding(head: RequestHead, value: bytes) -> None:
    if head.minor == 0:
        raise _bad("Transfer-Encoding in an HTTP/1.0 request")
    if head.chunked:
        raise _bad("more than one Transfer-Encoding field")
    check_transfer_encoding(value)
    head.chunked = True


def _without_nominated(kept: list[bytes], connection: list[bytes]) -> list[bytes]:
    """`kept` without the lines that a Connection field names; refuses to drop what others rely on."""
    nominated = set(connection).difference(_CONNECTION_OPTIONS)
    if not nominated:
        return kept
    for name in nominated:
        if not may_be_nominated(name):
            raise _bad(f"Connection names the field {name[:40]!r}, which is not hop-by-hop")
    return _drop_named(kept, nominated)


def _drop_named(kept: list[bytes], names: set[bytes]) -> list[bytes]:
    return [line for line in kept if line.partition(b":")[0].lower() not in names]


def _with_charset(line: bytes, value: bytes, charset: bytes) -> bytes:
    media_type, _, parameters = value.strip(b" \t").partition(b";")
    if media_type.strip(b" \t").lower() in CHARSET_TYPES and b"charset=" not in parameters.lower():
        return line.rstrip(b" \t") + b"; charset=" + charset
    return line
