"""Answers made by the gateway itself: bodies, and the two ways Kong chooses their type.

In: status, message, what the client accepts.  Out: bytes of a whole response.
House rule: both producers stand here. K is Kong's own code (no route, no service, plugins): JSON unless Accept says otherwise. N is
nginx's error page (bad request, timeouts, upstream failures): Accept, else the request's Content-Type, else `error_default_type`.
Warm: no formatting happens for proxied answers.
Source: Kong's proxying contract, section 6. The message is inserted as it is, without escaping, as Kong does; messages are ours alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kongdp.http1.writer import CLOSE, KEEP_ALIVE, content_length_line, status_line
from kongdp.proxy.failures import NGINX_PAGES

JSON, PLAIN, HTML, XML = "application/json", "text/plain", "text/html", "application/xml"

TEMPLATES: Mapping[str, str] = {
    JSON: '{\n  "message":"%s",\n  "request_id":"%s"\n}',
    PLAIN: "%s\nrequest_id: %s\n",
    HTML: (
        '<!doctype html>\n<html>\n  <head>\n    <meta charset="utf-8">\n    <title>Error</title>\n  </head>\n  <body>\n'
        "    <h1>Error</h1>\n    <p>%s.</p>\n    <p>request_id: %s</p>\n  </body>\n</html>\n"
    ),
    XML: (
        '<?xml version="1.0" encoding="UTF-8"?>\n<error>\n  <message>%s</message>\n  <requestid>%s</requestid>\n</error>\n'
    ),
}


@dataclass(frozen=True, slots=True)
class ErrorPages:
    """`default_type`: error_default_type. `templates`: error_template_*, each with two %s for message and request id."""

    default_type: str = PLAIN
    templates: Mapping[str, str] = field(default_factory=lambda: TEMPLATES)

    def body(self, media_type: str, message: str, request_id: bytes) -> bytes:
        """The body of an error in one of the four types."""
        template = self.templates.get(media_type) or TEMPLATES[media_type]
        head, _, rest = template.partition("%s")
        middle, _, tail = rest.partition("%s")
        return f"{head}{message}{middle}{request_id.decode('latin-1')}{tail}".encode()


def nginx_page(status: int, message: str) -> bytes:
    """nginx's own page, which comes where Kong's handler is not asked; the message stands in its title."""
    heading = status_line(status)[9:-2].decode()
    title = heading if status in NGINX_PAGES else f"{status} {message}"
    note = "" if title == heading else f"<center>{message}</center>\r\n"
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{heading}</h1></center>\r\n"
        f"{note}</body>\r\n</html>\r\n"
    ).encode()


def negotiate(accept: list[bytes]) -> str | None:
    """The type for these Accept lines: highest q wins, the first of equals; None when there is no Accept."""
    if not accept:
        return None
    best, best_quality = JSON, 0.0
    for entry in b",".join(accept).split(b","):
        media_range, _, parameters = entry.strip().lower().partition(b";")
        quality = _quality(parameters)
        if media_range and quality > best_quality:
            best, best_quality = _type_of(media_range.strip()), quality
    return best


def _quality(parameters: bytes) -> float:
    for parameter in parameters.split(b";"):
        name, _, value = parameter.strip().partition(b"=")
        if name == b"q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _type_of(media_range: bytes) -> str:
    name = media_range.decode("latin-1")
    if name in TEMPLATES:
        return name
    return PLAIN if name == "text/*" else JSON


def type_for_nginx_error(accept: list[bytes], content_type: bytes | None, default: str) -> str:
    """Producer N's choice: Accept, else the request's Content-Type, else the default."""
    chosen = negotiate(accept)
    if chosen is None and content_type is not None:
        chosen = negotiate([content_type])
    return chosen or default


@dataclass(frozen=True)
class Stamps:
    """Which fields the gateway adds (setting `headers`), rendered: b"" where a field is switched off.

    `server` and `via` are whole lines; `via_value` the bare value for appending; the flags switch the others.
    """

    server: bytes
    via: bytes
    via_value: bytes
    request_via: bytes
    proxy_latency: bool = True
    upstream_latency: bool = True
    response_latency: bool = True
    upstream_status: bool = False
    request_id: bool = True
    request_id_upstream: bool = True


_LATENCIES = 2048
RESPONSE_LATENCY = tuple(b"X-Kong-Response-Latency: %d\r\n" % ms for ms in range(_LATENCIES))
PROXY_LATENCY = tuple(b"X-Kong-Proxy-Latency: %d\r\n" % ms for ms in range(_LATENCIES))
UPSTREAM_LATENCY = tuple(b"X-Kong-Upstream-Latency: %d\r\n" % ms for ms in range(_LATENCIES))

_LATENCIES_USUAL = 256
LATENCIES_USUAL = tuple(line + PROXY_LATENCY[0] for line in UPSTREAM_LATENCY[:_LATENCIES_USUAL])
"""Both lines, where the gateway itself took less than a millisecond."""


def response_latency(ms: int) -> bytes:
    """The X-Kong-Response-Latency line."""
    return RESPONSE_LATENCY[ms] if ms < _LATENCIES else b"X-Kong-Response-Latency: %d\r\n" % ms


def proxy_latencies(stamps: Stamps, proxy_ms: int, upstream_ms: int) -> bytes:
    """The latency lines of a proxied answer, as far as they are switched on."""
    if proxy_ms == 0 and upstream_ms < _LATENCIES_USUAL and stamps.upstream_latency and stamps.proxy_latency:
        return LATENCIES_USUAL[upstream_ms]
    if proxy_ms < _LATENCIES and upstream_ms < _LATENCIES:
        upstream, proxy = UPSTREAM_LATENCY[upstream_ms], PROXY_LATENCY[proxy_ms]
    else:
        upstream, proxy = b"X-Kong-Upstream-Latency: %d\r\n" % upstream_ms, b"X-Kong-Proxy-Latency: %d\r\n" % proxy_ms
    if stamps.upstream_latency and stamps.proxy_latency:
        return upstream + proxy
    return (upstream if stamps.upstream_latency else b"") + (proxy if stamps.proxy_latency else b"")


def own_response(
    status: int,
    body: bytes,
    content_type: bytes | None,
    *,
    date_line: bytes,
    lines: bytes,
    keep_alive: bool,
    head_only: bool,
) -> bytes:
    """A whole response of ours. `lines`: further field lines, each with its CRLF. HEAD gets the fields without the body."""
    return b"".join(
        (
            status_line(status),
            date_line,
            b"Content-Type: %b\r\n" % content_type if content_type else b"",
            content_length_line(len(body)),
            KEEP_ALIVE if keep_alive else CLOSE,
            lines,
            b"\r\n",
            b"" if head_only else body,
        )
    )
