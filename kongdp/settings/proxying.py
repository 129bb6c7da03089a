"""Settings of how traffic is proxied: routing, forwarded fields, buffers, limits, timeouts. See rows.py for how to
read this table. nginx directives that Kong lets operators inject stand under their Kong key; what is not listed here
is not mapped.
"""

from dataclasses import dataclass

from kongdp.settings.kinds import (
    BOOLEAN,
    BUFFERS,
    FIRST_TIME,
    SIZE,
    TEMPLATE,
    TEXT,
    TIME,
    TRUSTED,
    Buffers,
    number,
    one_of,
    optional,
    sized,
    spaced_words,
    whole,
    words,
)
from kongdp.settings.rows import elsewhere, setting

HEADER_NAMES = (
    "server_tokens",
    "latency_tokens",
    "X-Kong-Request-Id",
    "X-Kong-Upstream-Latency",
    "X-Kong-Proxy-Latency",
    "X-Kong-Response-Latency",
    "X-Kong-Admin-Latency",
    "X-Kong-Upstream-Status",
    "Server",
    "Via",
    "off",
)
NEXT_UPSTREAM_WORDS = (
    "error",
    "timeout",
    "invalid_header",
    "http_500",
    "http_502",
    "http_503",
    "http_504",
    "http_403",
    "http_404",
    "http_429",
    "non_idempotent",
    "off",
)


@dataclass(frozen=True, kw_only=True)
class ProxySettings:
    """Proxying"""

    router_flavor: str = setting(
        words("traditional_compatible", "traditional", "expressions"),
        "traditional_compatible",
        "How routes match.",
    )
    route_match_calculation: str = setting(
        words("original", "strict"),
        "original",
        "How `traditional_compatible` ranks a route's fields: as Kong ships it, or as it was meant (Kong Enterprise).",
    )
    trusted_ips: tuple[str, ...] = setting(
        TRUSTED,
        "",
        "Peers whose X-Forwarded-* and real_ip_header are believed: addresses, CIDR blocks, unix:. 0.0.0.0/0,::/0 "
        "trusts everybody.",
    )
    real_ip_header: str = setting(
        TEXT,
        "X-Real-IP",
        "Field that a trusted peer names the client in: X-Real-IP, X-Forwarded-For, or proxy_protocol for the "
        "preamble.",
        aliases=elsewhere("real_ip_header", "http", "proxy"),
    )
    real_ip_recursive: bool = setting(
        BOOLEAN,
        "off",
        "on: the last address of the field that is not trusted counts; off: the last one.",
        aliases=elsewhere("real_ip_recursive", "http", "proxy"),
    )
    headers: tuple[str, ...] = setting(
        one_of(HEADER_NAMES, "list of field names"),
        "server_tokens, latency_tokens, X-Kong-Request-Id",
        "Fields that are added to responses. server_tokens stands for Server and Via, latency_tokens for the "
        "X-Kong-*-Latency fields; off as the first entry adds none.",
    )
    headers_upstream: tuple[str, ...] = setting(
        one_of(("X-Kong-Request-Id", "off"), "X-Kong-Request-Id | off"),
        "X-Kong-Request-Id",
        "Fields that are added to requests to the upstream.",
    )
    allow_debug_header: bool = setting(
        BOOLEAN, "off", "on: a request with Kong-Debug: 1 is told the ids of its route and service."
    )
    error_default_type: str = setting(
        words("text/plain", "text/html", "application/json", "application/xml"),
        "text/plain",
        "Type of an error body where the request shows no preference.",
    )
    error_template_json: str | None = setting(
        optional(TEMPLATE),
        "",
        "Error body in JSON, as a path or as text, with two %s: message and request id.",
    )
    error_template_html: str | None = setting(optional(TEMPLATE), "", "The same in HTML.")
    error_template_xml: str | None = setting(optional(TEMPLATE), "", "The same in XML.")
    error_template_plain: str | None = setting(optional(TEMPLATE), "", "The same as plain text.")
    nginx_http_charset: str = setting(
        TEXT,
        "UTF-8",
        "Charset appended to text types that name none, or off.",
        aliases=elsewhere("charset", "proxy", "location"),
    )
    lua_max_req_headers: int = setting(whole(1, 1000), "100", "Most request fields that plugins see.")
    lua_max_resp_headers: int = setting(whole(1, 1000), "100", "Most response fields that plugins see.")
    lua_max_uri_args: int = setting(whole(1, 1000), "100", "Most query arguments that plugins see.")
    lua_max_post_args: int = setting(whole(1, 1000), "100", "Most form arguments that plugins see.")


@dataclass(frozen=True, kw_only=True)
class UpstreamSettings:
    """Upstream connections"""

    upstream_keepalive_pool_size: int = setting(
        whole(0), "512", "Idle connections kept for one endpoint in one worker; 0 keeps none."
    )
    upstream_keepalive_max_requests: int = setting(
        whole(0), "10000", "Requests on one connection before it is closed; 0 is no limit."
    )
    kongdp_upstream_connections_max: int = setting(
        whole(0), "0", "Most connections at once to one endpoint from one worker, idle ones among them; 0 is no limit."
    )
    kongdp_upstream_waiters_max: int = setting(
        whole(0),
        "1024",
        "Most requests that wait for one of them, connect_timeout long; further ones are a 503.",
    )
    upstream_keepalive_idle_timeout: float = setting(
        number(0), "60", "How long an idle connection is kept; 0 is for ever.", unit="seconds"
    )
    kongdp_upstream_head_bytes_max: int = setting(
        sized(1024, 1 << 24),
        "32k",
        "Largest head of an upstream's response; a larger one is a 502. Kong's limit is 4k.",
        unit="bytes",
        aliases=elsewhere("proxy_buffer_size", "http", "proxy", "location"),
    )
    nginx_proxy_proxy_request_buffering: bool = setting(
        BOOLEAN,
        "on",
        "off: request bodies stream to the upstream whatever the route says.",
        aliases=elsewhere("proxy_request_buffering", "http", "location"),
    )
    nginx_proxy_proxy_buffering: bool = setting(
        BOOLEAN,
        "on",
        "off: response bodies are never read ahead, whatever the route says.",
        aliases=elsewhere("proxy_buffering", "http", "location"),
    )
    nginx_proxy_proxy_next_upstream: tuple[str, ...] = setting(
        spaced_words(*NEXT_UPSTREAM_WORDS),
        "error timeout",
        "What is tried again, on the next target where there are several: error, timeout, invalid_header, or off. "
        "non_idempotent lets POST, LOCK and PATCH be sent again. The http_* words have no effect: an answer is an answer.",
        aliases=elsewhere("proxy_next_upstream", "http", "location"),
    )
    nginx_proxy_proxy_next_upstream_tries: int = setting(
        whole(0),
        "0",
        "Most tries of one request; 0 leaves it to the service's retries.",
        aliases=elsewhere("proxy_next_upstream_tries", "http", "location"),
    )


@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """Limits and timeouts of clients"""

    nginx_http_client_max_body_size: int = setting(
        SIZE,
        "0",
        "Largest request body; a larger one is a 413. 0 is no limit.",
        unit="bytes",
        aliases=elsewhere("client_max_body_size", "proxy", "location"),
    )
    nginx_admin_client_max_body_size: int = setting(SIZE, "10m", "Largest request body of the Admin API.", unit="bytes")
    client_body_buffer_size: int = setting(
        SIZE,
        "8k",
        "Largest request body that plugins see.",
        unit="bytes",
        aliases=elsewhere("client_body_buffer_size", "http", "proxy", "location"),
    )
    kongdp_body_buffer_bytes_max: int = setting(
        sized(0, 1 << 30),
        "256k",
        "Of a buffered request or response this much is held in memory before it is passed on; a larger body "
        "streams from there. Kong writes the whole body to a file.",
        unit="bytes",
    )
    kongdp_body_spill_bytes_max: int = setting(
        SIZE,
        "0",
        "With a number, the rest of a larger request body goes to a nameless file in <prefix>/spill, and the upstream is "
        "asked only when the body is whole, as by Kong. The number bounds all files of a worker together; beyond it "
        "bodies stream. 0: no files. Unlike Kong, a request that was sent from a file is not tried again, and a response "
        "never goes to a file: a slow client slows its upstream down.",
        unit="bytes",
    )
    kongdp_stream_buffer_bytes_max: int = setting(
        sized(1024, 1 << 30),
        "64k",
        "Of a body that is not buffered this much is held, either way, while the other side is slower.",
        unit="bytes",
    )
    kongdp_pipeline_bytes_max: int = setting(
        sized(1024, 1 << 24),
        "64k",
        "How much is read ahead of a client that sends its next requests before it has the answer to the first.",
        unit="bytes",
    )
    kongdp_linger_bytes_max: int = setting(
        sized(0, 1 << 30),
        "1m",
        "A connection is kept after a refused request when no more than this is left of its body; it is read and dropped.",
        unit="bytes",
    )
    nginx_http_lingering_timeout: float = setting(
        TIME,
        "5s",
        "How long a client that is told to close may pause in what it still sends.",
        unit="seconds",
        aliases=elsewhere("lingering_timeout", "proxy", "location"),
    )
    nginx_http_lingering_time: float = setting(
        TIME,
        "30s",
        "How long it may go on in all.",
        unit="seconds",
        aliases=elsewhere("lingering_time", "proxy", "location"),
    )
    kongdp_head_fields_max: int = setting(whole(1, 100000), "1000", "Most fields of a request head; more are a 400.")
    nginx_http_large_client_header_buffers: Buffers = setting(  # noqa: RUF009 (a declaration, see rows.py)
        BUFFERS,
        "4 8k",
        "The size bounds the request line (414) and each field (400); number times size bounds the whole head (400).",
        aliases=elsewhere("large_client_header_buffers", "proxy"),
    )
    nginx_http_client_header_timeout: float = setting(
        TIME,
        "60s",
        "How long a client may take for a request head.",
        unit="seconds",
        aliases=elsewhere("client_header_timeout", "proxy"),
    )
    nginx_http_client_body_timeout: float = setting(
        TIME,
        "60s",
        "How long a client may pause inside a body.",
        unit="seconds",
        aliases=elsewhere("client_body_timeout", "proxy", "location"),
    )
    nginx_http_send_timeout: float = setting(
        TIME,
        "60s",
        "How long a client may take nothing of a response.",
        unit="seconds",
        aliases=elsewhere("send_timeout", "proxy", "location"),
    )
    nginx_http_keepalive_timeout: float = setting(
        FIRST_TIME,
        "75s",
        "How long a connection may be idle between requests; 0 closes it after each.",
        unit="seconds",
        aliases=elsewhere("keepalive_timeout", "proxy", "location"),
    )
    nginx_http_keepalive_requests: int = setting(
        whole(1),
        "10000",
        "Most requests on one client connection.",
        aliases=elsewhere("keepalive_requests", "proxy", "location"),
    )
