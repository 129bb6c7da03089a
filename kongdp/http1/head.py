"""What the fields of a head mean: framing, keep-alive, what is hop-by-hop, what the gateway replaces.

In: what `scan` found in the field lines of a head that llhttp has accepted (so: tokens for names, no control characters, CRLF line
ends, no folding).  Out: the same, judged, on a RequestHead or ResponseHead, and `kept`, the lines that travel on.
House rule: whatever two parsers could read differently is refused here (BadMessage), even where llhttp lets it pass.
Hot.
Source: RFC 9110 sections 7.6 and 10, RFC 9112; Kong's rules of what is removed and kept (proxying contract, section 1).
"""

import re

from kongdp.http1 import fields as kind
from kongdp.http1.fields import KEEP_ALIVE, may_be_nominated, tokens
from kongdp.http1.framing import CLEARED_STATUSES, check_transfer_encoding, content_length
from kongdp.http1.messages import NO_LENGTH, BadMessage, RequestHead, ResponseHead
from kongdp.http1.scan import Scanned

_PORT = rb"(?:[0-5]?[0-9]{1,4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_HOST = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]+|\[[0-9A-Fa-f:.]+\])(?::" + _PORT + rb")?")

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


def is_host(value: bytes) -> bool:
    """Whether a Host, or the authority of a request-target, is a name or an address with an optional port and nothing else."""
    return _HOST.fullmatch(value) is not None


def _bad(detail: str) -> BadMessage:
    return BadMessage(400, "Bad request", detail)


def edit_request(head: RequestHead, scanned: Scanned) -> None:
    """Read what was found in a request into `head` and set `head.kept`. Raises BadMessage."""
    kept, found, _ = scanned
    connection: list[bytes] | None = None
    upgrade: bytes | None = None
    for what, value in found:
        if what == kind.HOST:
            if head.host is not None:
                raise _bad("more than one Host field")
            if not is_host(value):
                raise _bad(f"Host is not a name with an optional port: {value[:80]!r}")
            head.host = value
        elif what == kind.CONNECTION:
            connection = tokens(value) if connection is None else connection + tokens(value)
        elif what in _FIRST_LINE_ONLY:
            attribute = _FIRST_LINE_ONLY[what]
            if getattr(head, attribute) is None:
                setattr(head, attribute, value)
        elif what == kind.CONTENT_LENGTH:
            if head.content_length >= 0:
                raise _bad("more than one Content-Length field")
            head.content_length = content_length(value)
        elif what == kind.TRANSFER_ENCODING:
            _request_coding(head, value)
        elif what == kind.EXPECT:
            head.expect_continue = value.lower() == b"100-continue"
        elif what == kind.UPGRADE:
            # Kong forwards this token alone, whatever Connection and the version say (nginx asks upstreams in HTTP/1.0 unless told
            # otherwise); every other one, and one among several, is removed
            head.websocket = upgrade is None and value.lower() == b"websocket"
            upgrade = value
        elif what == kind.TE:
            head.te_trailers = head.te_trailers or b"trailers" in tokens(value)
    if head.chunked and head.content_length >= 0:
        raise _bad("both Content-Length and Transfer-Encoding")
    if connection is None:
        head.keep_alive = head.minor == 1
    else:
        head.keep_alive = b"close" not in connection and (head.minor == 1 or b"keep-alive" in connection)
        if connection != KEEP_ALIVE:
            kept = _without_nominated(kept, connection)
    head.kept = kept


def edit_response(head: ResponseHead, scanned: Scanned, *, charset: bytes | None) -> None:
    """Read what was found in a response into `head` and set `head.kept`.

    `charset` is appended to the Content-Type of CHARSET_TYPES that name none; None leaves types alone. Raises BadMessage with
    status 502: the upstream's fault.
    """
    kept, found, _ = scanned
    connection: list[bytes] | None = None
    for what, value in found:
        if what == kind.CONTENT_LENGTH:
            if head.content_length >= 0:
                raise _bad("more than one Content-Length field")
            head.content_length = content_length(value)
        elif what == kind.CONTENT_TYPE:
            if charset and lacks_charset(value):
                kept = _with_charset(kept, charset)
        elif what == kind.DATE:
            head.has_date = True
        elif what == kind.SERVER:
            head.has_server = True
        elif what == kind.CONNECTION:
            connection = tokens(value) if connection is None else connection + tokens(value)
        elif what == kind.TRANSFER_ENCODING:
            if head.chunked:
                raise _bad("more than one Transfer-Encoding field")
            check_transfer_encoding(value)
            head.chunked = True
        elif what == kind.VIA:
            head.via = value if head.via is None else head.via + b", " + value
        elif what == kind.UPGRADE:
            head.upgrade = value
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
        named = set(connection).difference(_CONNECTION_OPTIONS) if connection != KEEP_ALIVE else None
        kept = _drop_named(kept, named) if named else kept
    head.kept = kept


def _request_coding(head: RequestHead, value: bytes) -> None:
    if head.minor == 0:
        raise _bad("Transfer-Encoding in an HTTP/1.0 request")
    if head.chunked:
        raise _bad("more than one Transfer-Encoding field")
    check_transfer_encoding(value)
    head.chunked = True


def _without_nominated(kept: bytes, connection: list[bytes]) -> bytes:
    """`kept` without the lines that a Connection field names; refuses to drop what others rely on."""
    nominated = set(connection).difference(_CONNECTION_OPTIONS)
    if not nominated:
        return kept
    for name in nominated:
        if not may_be_nominated(name):
            raise _bad(f"Connection names the field {name[:40]!r}, which is not hop-by-hop")
    return _drop_named(kept, nominated)


def _drop_named(kept: bytes, names: set[bytes]) -> bytes:
    lines = kept.split(b"\r\n")
    return b"\r\n".join([line for line in lines if line.partition(b":")[0].lower() not in names])


def lacks_charset(value: bytes) -> bool:
    """Whether a charset is to be appended to this Content-Type."""
    media_type, _, parameters = value.partition(b";")
    return media_type.strip(b" \t").lower() in CHARSET_TYPES and b"charset=" not in parameters.lower()


def _with_charset(kept: bytes, charset: bytes) -> bytes:
    """`kept` with the charset behind each Content-Type that lacks one."""
    lines = kept.split(b"\r\n")
    for index, line in enumerate(lines):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-type" and lacks_charset(value.strip(b" \t")):
            lines[index] = line.rstrip(b" \t") + b"; charset=" + charset
    return b"\r\n".join(lines)
