"""nginx's log_format: a line of literal text and variables, compiled once.

In: the directive's value as Kong takes it (`name [escape=default|json] 'text $variable ...' ...`).  Out: its name and a renderer.
House rule: only variables that name nothing secret are known; $http_authorization, $http_cookie, $args and whatever holds a query
unredacted are refused like any unknown one. `escape=none` is refused: a client's bytes could forge a line.
Cold, but for the renderer, which the access log calls for each line.
Source: nginx, ngx_http_log_module; values as `access_log` has them.
"""

import re
from collections.abc import Callable
from typing import TypeAlias

import orjson

from kongdp.telemetry.access_log import AccessLogError, Exchange, Line, Renderer, escape

Variable: TypeAlias = Callable[[Line, Exchange], bytes]


def _seconds(ms: int) -> bytes:
    return b"%d.%03d" % divmod(ms, 1000) if ms >= 0 else b""


def _part(number: int) -> Variable:
    def pick(line: Line, e: Exchange) -> bytes:
        parts = line.request_line(e).split(b" ")
        return parts[number] if len(parts) == 3 else b""

    return pick


def _number(value: int) -> bytes:
    return b"%d" % value if value else b""


VARIABLES: dict[str, Variable] = {
    "remote_addr": lambda line, e: e.remote_addr,
    "remote_user": lambda line, e: e.remote_user,
    "time_local": lambda line, e: line.time_local,
    "time_iso8601": lambda line, e: line.time.encode(),
    "request": lambda line, e: line.request_line(e),
    "request_method": _part(0),
    "request_uri": _part(1),
    "server_protocol": _part(2),
    "status": lambda line, e: b"%d" % e.status,
    "body_bytes_sent": lambda line, e: b"%d" % e.body_bytes_sent,
    "bytes_sent": lambda line, e: b"%d" % e.bytes_sent,
    "request_length": lambda line, e: b"%d" % e.request_bytes,
    "request_time": lambda line, e: _seconds(e.request_ms),
    "upstream_response_time": lambda line, e: _seconds(e.upstream_ms),
    "upstream_addr": lambda line, e: e.upstream_addr.encode(),
    "upstream_status": lambda line, e: _number(e.upstream_status),
    "http_referer": lambda line, e: line.referer(e),
    "http_user_agent": lambda line, e: e.user_agent,
    "http_host": lambda line, e: e.host,
    "host": lambda line, e: e.host.lower().partition(b":")[0] if e.host[:1] != b"[" else e.host,
    "scheme": lambda line, e: e.scheme.encode(),
    "kong_request_id": lambda line, e: e.request_id,
}
"""Variable of nginx, or of Kong, -> its bytes, not escaped; b"" where there is no value."""

_HEAD = re.compile(r"\s*([\w-]+)(?:\s+escape=(\w+))?\s*")
_STRING = re.compile(r"""\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\s*;?""", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def read_format(text: str) -> tuple[str, Renderer]:
    """Name and renderer of a log_format. Raises AccessLogError."""
    head = _HEAD.match(text)
    escaping = (head[2] or "default") if head else ""
    if head is None or escaping not in ("default", "json"):
        raise AccessLogError(f"log_format: not a name, escape=default or escape=json, and quoted text: {text[:80]!r}")
    template, at = "", head.end()
    while at < len(text):
        piece = _STRING.match(text, at)
        if piece is None:
            raise AccessLogError(f"log_format {head[1]}: text is not quoted: {text[at : at + 40]!r}")
        template += re.sub(r"\\(.)", r"\1", piece[1] if piece[1] is not None else piece[2])
        at = piece.end()
    if not template:
        raise AccessLogError(f"log_format {head[1]}: no text")
    return head[1], _renderer(head[1], template, _as_json if escaping == "json" else escape)


def _renderer(name: str, template: str, escaped: Callable[[bytes], bytes]) -> Renderer:
    pieces: list[tuple[bytes, Variable]] = []
    at = 0
    for found in _VARIABLE.finditer(template):
        variable = found[1] or found[2]
        if variable not in VARIABLES:
            raise AccessLogError(f"log_format {name}: unknown variable ${variable} ({', '.join(VARIABLES)})")
        pieces.append((template[at : found.start()].encode(), VARIABLES[variable]))
        at = found.end()
    tail = template[at:].encode() + b"\n"

    def render(line: Line, exchange: Exchange) -> bytes:
        return b"".join([text + escaped(value(line, exchange)) for text, value in pieces]) + tail

    return render


def _as_json(value: bytes) -> bytes:
    return orjson.dumps(value.decode("utf-8", "backslashreplace"))[1:-1]
