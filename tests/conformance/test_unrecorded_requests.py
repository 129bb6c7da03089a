"""Requests that the recordings do not hold, with the answer that nginx's and Kong's sources say they get.

Each row: a raw request, what it must give, and where that is written. The gateway and the upstream are those of the recordings' replay.
"""

import asyncio
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import uvloop

from kongdp.proxy.environment import Limits
from tests.conformance.test_proxy_vectors import REFERENCE_PORT, REFERENCE_UPSTREAM, VECTORS
from tests.support.echo_upstream import echo_upstream
from tests.support.gateway import running_gateway
from tests.support.raw_client import Seen, ask


def get(target: str = "/strip", *lines: str, host: str = "gw.test", method: str = "GET", version: str = "1.1") -> bytes:
    """A request without body."""
    return "".join(
        f"{line}\r\n" for line in (f"{method} {target} HTTP/{version}", f"Host: {host}", *lines, "")
    ).encode()


def post(body: bytes, *lines: str) -> bytes:
    """A request with these bytes for its body."""
    return get("/strip", *lines, method="POST") + body


class Row(NamedTuple):
    """`status` and `fields` are of the answer; `line` and `sent` what the upstream got ("" for a field it must not get)."""

    raw: bytes
    status: int
    line: str | None = None
    sent: Mapping[str, str] = MappingProxyType({})
    fields: Mapping[str, str] = MappingProxyType({})


CHUNKED = "Transfer-Encoding: chunked"

ROWS = {
    # nginx ngx_http_validate_host: $host loses the dot at its end; an empty label is refused
    "host ends in a dot": Row(get(host="gw.test."), 200, "GET / HTTP/1.1", {"X-Forwarded-Host": "gw.test"}),
    "host ends in a dot, with port": Row(get(host="gw.test.:80"), 200, None, {"X-Forwarded-Host": "gw.test"}),
    "host is a dot": Row(get(host="."), 400),
    "host with two dots": Row(get(host="a..b"), 400),
    "host is an IPv6 address": Row(get(host="[::1]:80"), 200, None, {"X-Forwarded-Host": "[::1]"}),
    # nginx ngx_http_parse_request_line: letters, digits, dots and hyphens make a host there
    "absolute, userinfo": Row(get("http://u:p@gw.test/strip"), 400),
    "absolute, underscore": Row(get("http://a_b.test/strip"), 400),
    "absolute, escape in the host": Row(get("http://gw.te%73t/strip"), 400),
    "absolute, fragment behind the host": Row(get("http://gw.test#f"), 400),
    "absolute, other scheme": Row(get("ftp://gw.test/strip"), 200, "GET / HTTP/1.1"),
    "absolute, IPv6 address": Row(get("http://[::1]:80/strip"), 200, None, {"X-Forwarded-Host": "[::1]"}),
    "absolute, nothing behind the host": Row(get("http://gw.test", method="OPTIONS"), 404),
    "absolute, redirected": Row(
        get("http://Other.test:99/redir/a?b=c"), 301, fields={"location": "https://other.test/redir/a?b=c"}
    ),
    # nginx ngx_http_process_request_header refuses the method once the head is read, ngx_http_parse_request_line the authority form
    "CONNECT, absolute": Row(get("http://gw.test/strip", method="CONNECT"), 405),
    "CONNECT, absolute without a path": Row(get("http://gw.test:80", method="CONNECT"), 405),
    "CONNECT, authority": Row(get("gw.test:80", method="CONNECT"), 400),
    "TRACE, absolute": Row(get("http://gw.test/strip", method="TRACE"), 405),
    # nginx ngx_http_parse_request_line: capital letters, "_" and "-"
    "method with a digit": Row(get(method="G3T"), 400),
    "method that begins with a sign": Row(get(method="_GET"), 200, "_GET / HTTP/1.1"),
    "method that begins with another": Row(get(method="-"), 200, "- / HTTP/1.1"),
    # nginx ngx_http_core_find_config_phase: before Kong's router is asked
    "too long, no route": Row(get("/none", "Content-Length: 1001", method="POST"), 413),
    "too long, redirected": Row(get("/redir", "Content-Length: 1001", method="POST"), 413),
    "too long, method": Row(get("/none", "Content-Length: 1001", method="TRACE"), 405),
    # nginx ngx_http_parse_complex_uri: "#" ends the query
    "fragment behind a query": Row(get("/strip/a?x=1#y"), 200, "GET /a?x=1 HTTP/1.1"),
    "fragment before a query": Row(get("/strip/a#y?x=1"), 200, "GET /a#y HTTP/1.1"),
    "fragment with a bad escape": Row(get("/strip/a#%zz"), 200, "GET /a#%zz HTTP/1.1"),
    # Kong kong/tools/uri.lua and the escaping of its upstream path
    "bare question mark": Row(get("/strip/a?"), 200, "GET /a? HTTP/1.1"),
    "escaped percent": Row(get("/strip/%2541"), 200, "GET /%2541 HTTP/1.1"),
    "escaped line end": Row(get("/strip/a%0d%0aX:%20y"), 200, "GET /a%0D%0AX:%20y HTTP/1.1"),
    "query as it came": Row(get('/strip?a"b<c>\\'), 200, 'GET /?a"b<c>\\ HTTP/1.1'),
    "path that is not UTF-8": Row(get("/strip/%FF"), 404),
    "dots behind the prefix": Row(get("/strip../x"), 200, "GET /x HTTP/1.1"),
    # the field's own product and version follow; the protocol is the client's
    "via of HTTP/1.0": Row(get(version="1.0"), 200, None, {"Via": "1.0 kongdp/0"}, {"via": "1.1 kongdp/0"}),
    "via appended": Row(get("/strip", "Via: 1.1 a", "Via: 1.0 b"), 200, None, {"Via": "1.1 a, 1.1 kongdp/0"}),
    # Kong kong/runloop/handler.lua: upstream_upgrade looks at the token alone
    "upgrade of HTTP/1.0": Row(
        get("/strip", "Upgrade: websocket", version="1.0"), 200, "GET / HTTP/1.1",
        {"Upgrade": "websocket", "Connection": "keep-alive, Upgrade"},
    ),
    "several upgrades": Row(get("/strip", "Upgrade: websocket", "Upgrade: h2c"), 200, None, {"Upgrade": ""}),
    "several connection lines": Row(
        get("/strip", "Connection: X-A", "Connection: X-B", "X-A: 1", "X-B: 2"), 200, None, {"X-A": "", "X-B": ""}
    ),
    # nginx ngx_http_parse_header_line, ignore_invalid_headers: a field of a name that it does not take is left out
    "names with dots and signs": Row(
        get("/strip", "X.A: 1", "X!: 1", "X_B: 1", "x-c: 1"), 200, None, {"X.A": "", "X!": "", "X_B": "1", "x-c": "1"}
    ),
    "trailers among codings": Row(get("/strip", "TE: gzip", "TE: trailers;q=1, Trailers"), 200, None, {"TE": "trailers"}),
    # answers in an upstream's place are proxied ones: Kong kong/init.lua header_filter, constants.HEADERS
    "502": Row(get("/dead"), 502, fields={"via": "1.1 kongdp/0", "x-kong-response-latency": ""}),
    "a chunk that is none": Row(post(b"zz\r\n", CHUNKED), 400, fields={"via": "1.1 kongdp/0", "x-kong-response-latency": ""}),
    "a path that is none": Row(get("/strip/%zz"), 400, fields={"via": "", "x-kong-proxy-latency": ""}),
    # not in Kong's list of error pages: nginx's own
    "501": Row(
        post(b"", "Transfer-Encoding: gzip", "Accept: application/json"), 501, fields={"content-type": "text/html; charset=UTF-8"}
    ),
    "505": Row(get(version="2.0"), 505, fields={"content-type": "text/html; charset=UTF-8"}),
}  # fmt: skip


def problems(row: Row, seen: Seen) -> dict[str, Any]:
    """What is not as the row says."""
    found: dict[str, Any] = {} if seen.status == row.status else {"status": seen.status}
    upstream = json.loads(seen.body) if "x-echo" in seen.headers else {"line": None, "headers": []}
    sent = {name.lower(): value for name, value in upstream["headers"]}
    if row.line is not None and upstream["line"] != row.line:
        found["line"] = upstream["line"]
    got = {name: sent.get(name.lower(), "") for name in row.sent}
    if got != dict(row.sent):
        found["sent"] = got
    fields = {name: ", ".join(seen.headers.get(name, [""])) for name in row.fields}
    if fields != dict(row.fields):
        found["fields"] = fields
    return found


def test_unrecorded_requests() -> None:
    """Every row gets the answer, and sends the upstream the head, that the reference's sources call for."""

    async def story() -> dict[str, Any]:
        config = json.loads(VECTORS.read_text())["config"]
        limits = Limits(body_bytes_max=1000)
        async with echo_upstream() as port:
            loaded = json.loads(json.dumps(config).replace(REFERENCE_UPSTREAM, f"127.0.0.1:{port}"))
            async with running_gateway(loaded, limits=limits, shown_port=REFERENCE_PORT) as gateway:
                answers = await asyncio.gather(*(ask(gateway.port, row.raw) for row in ROWS.values()))
        seen = zip(ROWS.items(), answers, strict=True)
        return {name: found for (name, row), answer in seen if (found := problems(row, answer))}

    assert uvloop.run(story()) == {}
