"""Access log: one finished exchange -> one line, with secrets redacted.

In: plain arguments. Out: bytes with a line feed; nobody's bytes can start a new line or end a quoted field.
Formats: Kong's own, nginx's combined, and JSON with a list of fields. No field of any format holds Authorization, Cookie or
a credential in a header; credentials in a query (of the request and of the Referer) and user information in a URL are
replaced. Warm: once for each exchange where the log is on, so the time is rendered once a second by `tick` and the
common field is passed after one search.
Source: Kong 3.9.1 kong_log_format (templates/nginx_kong.lua); escaping: nginx log_format escape=default and escape=json.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from time import gmtime
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import unquote_to_bytes

import orjson

from kongdp.errors import KongdpError, Source

REDACTED: Final = b"REDACTED"

# Query arguments that carry credentials: key-auth's default name and its usual spellings, jwt's, OAuth 2's (RFC 6749 2.3.1,
# RFC 6750 2.3, RFC 7636), signed URLs'.
_KEYS = (b"apikey", b"api_key", b"api-key", b"key", b"secret", b"token", b"jwt", b"password")
_OAUTH = (b"access_token", b"refresh_token", b"id_token", b"client_secret", b"code_verifier")
_SIGNED = (b"sig", b"signature", b"x-amz-signature", b"x-amz-security-token", b"x-goog-signature")
SECRET_ARGUMENTS: Final = frozenset((*_KEYS, *_OAUTH, *_SIGNED))

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class AccessLogError(KongdpError):
    """An access log that cannot be set up: unknown format or field; the message lists what there is."""

    source = Source.OPERATOR


class Exchange(NamedTuple):
    """What a line can tell. Times in ms; -1 where something did not happen; b"" and "" where something is absent.

    `request_line` is method, target and version as received; `bytes_sent` is the response with its head, `body_bytes_sent`
    without; `source` is "kong" or "service".
    """

    remote_addr: bytes
    remote_user: bytes
    request_line: bytes
    status: int
    body_bytes_sent: int
    referer: bytes
    user_agent: bytes
    request_id: bytes
    host: bytes = b""
    scheme: str = "http"
    request_bytes: int = 0
    bytes_sent: int = 0
    request_ms: int = 0
    kong_ms: int = 0
    upstream_ms: int = -1
    upstream_addr: str = ""
    upstream_status: int = 0
    source: str = "kong"
    route_id: str = ""
    service_id: str = ""
    consumer_id: str = ""
    tries: int = 0
    started_at: float = 0


class Line:
    """Renders lines of one format. `tick` is called once a second; between ticks the time of a line is that second."""

    __slots__ = ("_fields", "_iso", "_local", "_redact", "_render", "_secrets")

    def __init__(
        self,
        format_name: str,
        *,
        fields: Sequence[str] = (),
        secret_arguments: Collection[bytes] = SECRET_ARGUMENTS,
        formats: Mapping[str, "Renderer"] = MappingProxyType({}),
    ) -> None:
        """`format_name` is kong_log_format (or kong), combined, json or one of `formats`; `fields` are JSON's, all when empty.

        `secret_arguments` are lower-case names of query arguments whose values are replaced; `hide` adds those that plugins
        are configured with. Raises AccessLogError for an unknown format or field.
        """
        known_formats = {**_FORMATS, **formats}
        render = known_formats.get(format_name)
        if render is None:
            raise AccessLogError(f"access log: unknown format '{format_name}' ({', '.join(sorted(known_formats))})")
        unknown = [name for name in fields if name not in JSON_FIELDS]
        if unknown:
            known = ", ".join(JSON_FIELDS)
            raise AccessLogError(f"access log: unknown field '{unknown[0]}' ({known})")
        self._render = render
        self._fields = tuple(fields) or tuple(JSON_FIELDS)
        self._secrets = frozenset(secret_arguments)
        self._redact = Redaction(self._secrets)
        self._local = b""
        self._iso = ""
        self.tick(0)

    def tick(self, now: float, offset_s: int = 0) -> None:
        """Render the time of following lines: `now` is Unix time, `offset_s` how far local time is ahead of UTC."""
        t = gmtime(int(now) + offset_s)
        sign, away = "-" if offset_s < 0 else "+", abs(offset_s) // 60
        clock = f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
        zone = f"{sign}{away // 60:02}{away % 60:02}"
        self._local = f"{t.tm_mday:02}/{_MONTHS[t.tm_mon - 1]}/{t.tm_year:04}:{clock} {zone}".encode()
        self._iso = f"{t.tm_year:04}-{t.tm_mon:02}-{t.tm_mday:02}T{clock}{zone[:3]}:{zone[3:]}"

    def hide(self, more: Collection[bytes]) -> None:
        """Replace the values of these arguments, too, from now on; in place of what was added before."""
        self._redact = Redaction({*self._secrets, *more})

    def render(self, exchange: Exchange) -> bytes:
        """The line, with its line feed. Never raises, whatever bytes the peers sent."""
        return self._render(self, exchange)

    def _combined(self, e: Exchange) -> bytes:
        return b'%b - %b [%b] "%b" %d %d "%b" "%b"' % (
            escape(e.remote_addr),
            escape(e.remote_user),
            self._local,
            escape(self._redact.request_line(e.request_line)),
            e.status,
            e.body_bytes_sent,
            escape(self._redact.url(e.referer)),
            escape(e.user_agent),
        )

    def combined(self, exchange: Exchange) -> bytes:
        """nginx's combined format."""
        return self._combined(exchange) + b"\n"

    def kong(self, exchange: Exchange) -> bytes:
        """Kong's format: combined and the request id."""
        return b'%b kong_request_id: "%b"\n' % (self._combined(exchange), escape(exchange.request_id))

    def json(self, exchange: Exchange) -> bytes:
        """One JSON object a line; absent values are left out."""
        found = {}
        for name in self._fields:
            value = JSON_FIELDS[name](self, exchange)
            if value is not None:
                found[name] = value
        return orjson.dumps(found, option=orjson.OPT_APPEND_NEWLINE)

    def request_line(self, exchange: Exchange) -> bytes:
        """The request line without credentials."""
        return self._redact.request_line(exchange.request_line)

    def referer(self, exchange: Exchange) -> bytes:
        """The Referer field without credentials."""
        return self._redact.url(exchange.referer)

    @property
    def time_local(self) -> bytes:
        """The time of following lines as nginx writes it."""
        return self._local

    @property
    def time(self) -> str:
        """The time of following lines, RFC 3339."""
        return self._iso


_ESCAPED = re.compile(rb'[\x00-\x1f"\\\x7f-\xff]')
_HEX = {byte: b"\\x%02X" % byte for byte in range(256)}


def escape(value: bytes) -> bytes:
    """A value as nginx writes it: "-" when empty; quote, backslash, control and non-ASCII bytes as \\xXX.

    Source: nginx ngx_http_log_escape (escape=default).
    """
    if not value:
        return b"-"
    if _ESCAPED.search(value) is None:
        return value
    return _ESCAPED.sub(lambda match: _HEX[match[0][0]], value)


class Redaction:
    """Replaces the values of secret query arguments, and user information in URLs."""

    __slots__ = ("_secrets",)

    # name=value after "?", "&" or ";". A name may be percent-encoded; it is decoded before it is compared.
    _ARGUMENT = re.compile(rb"(?<=[?&;])([^=&;#]+)=([^&;#]*)")
    _USER = re.compile(rb"(?<=//)[^/?#@]*@")

    def __init__(self, secrets: Collection[bytes]) -> None:
        """`secrets`: lower-case names."""
        self._secrets = frozenset(secrets)

    def url(self, value: bytes) -> bytes:
        """A URL, or a path with its query."""
        # PERF: `in` takes bytes for a number first: four of them are 1.4 us of a line's 2.7
        if value.find(b"@") >= 0:
            value = self._USER.sub(REDACTED + b"@", value)
        if value.find(b"?") >= 0:
            value = self._ARGUMENT.sub(self._replace, value)
        return value

    def request_line(self, value: bytes) -> bytes:
        """A whole request line."""
        if value.find(b"?") < 0 and value.find(b"@") < 0:
            return value
        method, space, target = value.partition(b" ")
        target, last_space, version = target.rpartition(b" ")
        if not version.startswith(b"HTTP/"):
            # A refused request may have no version, or spaces in its target: all of it counts as target then.
            target, last_space, version = target + last_space + version, b"", b""
        return method + space + self.url(target) + last_space + version

    def _replace(self, match: re.Match[bytes]) -> bytes:
        name = unquote_to_bytes(match[1].replace(b"+", b" ")).strip().lower()
        return match[1] + b"=" + REDACTED if name in self._secrets else match[0]


def _text(value: bytes) -> str | None:
    return value.decode("utf-8", "backslashreplace") if value else None


def _part(number: int) -> Callable[[Line, Exchange], str | None]:
    """A part of the request line: method, target, version."""

    def pick(line: Line, e: Exchange) -> str | None:
        parts = line.request_line(e).split(b" ")
        return _text(parts[number]) if len(parts) == 3 else None

    return pick


def _known_ms(value: int) -> int | None:
    return value if value >= 0 else None


# JSON field -> its value, or None to leave it out.
JSON_FIELDS: Final[dict[str, Callable[[Line, Exchange], str | int | float | None]]] = {
    "time": lambda line, e: line.time,
    "started_at": lambda line, e: e.started_at or None,
    "request_id": lambda line, e: _text(e.request_id),
    "remote_addr": lambda line, e: _text(e.remote_addr),
    "remote_user": lambda line, e: _text(e.remote_user),
    "request": lambda line, e: _text(line.request_line(e)),
    "method": _part(0),
    "uri": _part(1),
    "protocol": _part(2),
    "host": lambda line, e: _text(e.host),
    "scheme": lambda line, e: e.scheme,
    "status": lambda line, e: e.status,
    "source": lambda line, e: e.source,
    "request_bytes": lambda line, e: e.request_bytes,
    "bytes_sent": lambda line, e: e.bytes_sent,
    "body_bytes_sent": lambda line, e: e.body_bytes_sent,
    "referer": lambda line, e: _text(line.referer(e)),
    "user_agent": lambda line, e: _text(e.user_agent),
    "request_ms": lambda line, e: e.request_ms,
    "kong_ms": lambda line, e: e.kong_ms,
    "upstream_ms": lambda line, e: _known_ms(e.upstream_ms),
    "upstream_addr": lambda line, e: e.upstream_addr or None,
    "upstream_status": lambda line, e: e.upstream_status or None,
    "tries": lambda line, e: e.tries,
    "route_id": lambda line, e: e.route_id or None,
    "service_id": lambda line, e: e.service_id or None,
    "consumer_id": lambda line, e: e.consumer_id or None,
}

Renderer: TypeAlias = Callable[[Line, Exchange], bytes]

_FORMATS: dict[str, Renderer] = {
    "kong": Line.kong,
    "kong_log_format": Line.kong,
    "combined": Line.combined,
    "json": Line.json,
}
