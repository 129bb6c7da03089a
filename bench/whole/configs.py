"""The configuration each gateway gets, so that all do the same work.

In: a Setup, the ports and files of this run.  Out: text.  Nothing is started here.

The work: `/mock/...` goes to the upstream with `/mock` stripped, `/secure/...` to the upstream's TLS port, `/ws` to the
WebSocket echo; each upstream request carries the forwarded fields Kong sends (X-Real-IP and X-Forwarded-For, -Proto,
-Host, -Port, -Path, -Prefix, as far as the gateway has them); connections to clients and upstreams are kept alive
without a limit of requests; a plain and a TLS listener (TLS 1.2 and 1.3, the same P-256 certificate). With more than one
route the others are prefixes `/team<i % 50>/svc<i>`, stripped as well. Everything else is the gateway's default, except
that nginx may keep a request body of 128 KiB in memory (its default of 16 KiB would write 64 KiB bodies to a file).
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNLIMITED = 1_000_000_000
IDLE_MAX = 2048  # kept-alive upstream connections, enough for every scenario


@dataclass(frozen=True)
class Setup:
    """How the gateways of a scenario are set up."""

    routes: int = 1
    workers: int = 1
    access_log: bool = False
    counters: bool = True  # kongdp only
    plugin: str = ""  # kongdp and Kong only

    def label(self) -> str:
        """What differs from the plain setup, for tables and keys."""
        parts = [
            f"{self.routes} routes" if self.routes != 1 else "",
            f"{self.workers} workers" if self.workers != 1 else "",
            "access log" if self.access_log else "",
            "" if self.counters else "uncounted",
            self.plugin,
        ]
        return ", ".join(filter(None, parts))


@dataclass(frozen=True)
class Place:
    """Where things are in this run."""

    directory: Path  # the gateway's own
    plain: int
    tls: int
    status: int
    upstream: int
    upstream_tls: int
    websocket: int
    certificate: Path
    key: Path
    bundle: Path  # certificate and key in one file, as HAProxy wants them


def other_routes(setup: Setup) -> Iterator[str]:
    """Prefixes of the routes beside the measured one."""
    for i in range(setup.routes - 1):
        yield f"/team{i % 50}/svc{i}"


FORWARDED = (
    ("Host", "$host"),
    ("X-Real-IP", "$remote_addr"),
    ("X-Forwarded-For", "$proxy_add_x_forwarded_for"),
    ("X-Forwarded-Proto", "$scheme"),
    ("X-Forwarded-Host", "$host"),
    ("X-Forwarded-Port", "$server_port"),
    ("X-Forwarded-Path", "$request_uri"),
)
LEAN = FORWARDED[:3]


def nginx(setup: Setup, place: Place, *, lean: bool = False) -> str:
    """nginx.conf. `lean`: only Host, X-Real-IP and X-Forwarded-For, what a hand-written one mostly has."""
    fields = "".join(f"proxy_set_header {name} {value};" for name, value in (LEAN if lean else FORWARDED))
    log = f"{place.directory}/access.log" if setup.access_log else "off"

    def location(prefix: str, upstream: str) -> str:
        own = "" if lean else f"proxy_set_header X-Forwarded-Prefix {prefix}; "
        kept = 'proxy_set_header Connection "";'  # here: a location with a field of its own inherits none
        return f"location {prefix}/ {{ {kept} {own}{fields} proxy_pass {upstream}; }}\n"

    others = "".join(location(prefix, "http://up/") for prefix in other_routes(setup))
    return f"""
worker_processes {setup.workers}; worker_rlimit_nofile 16384; pid {place.directory}/pid; daemon on;
error_log {place.directory}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log {log}; client_body_temp_path {place.directory}/body; proxy_temp_path {place.directory}/proxy;
  keepalive_requests {UNLIMITED}; client_body_buffer_size 128k; client_max_body_size 0;
  proxy_http_version 1.1;
  map_hash_bucket_size 256; variables_hash_max_size 4096;
  upstream up {{ server 127.0.0.1:{place.upstream}; keepalive {IDLE_MAX}; keepalive_requests {UNLIMITED}; }}
  upstream tls {{ server 127.0.0.1:{place.upstream_tls}; keepalive {IDLE_MAX}; keepalive_requests {UNLIMITED}; }}
  server {{
    listen 127.0.0.1:{place.plain} backlog=16384 reuseport; listen 127.0.0.1:{place.tls} ssl backlog=16384 reuseport;
    ssl_certificate {place.certificate}; ssl_certificate_key {place.key}; ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:s:10m;
    {location("/mock", "http://up/")} {location("/secure", "https://tls/")}
    location /ws {{ proxy_set_header Connection upgrade; proxy_set_header Upgrade $http_upgrade; {fields}
      proxy_pass http://127.0.0.1:{place.websocket}; }}
    {others}
  }}
}}
"""


def haproxy(setup: Setup, place: Place) -> str:
    """haproxy.cfg. Routes beyond the first are looked up in a map, its way to have many."""
    routes = place.directory / "routes.map"
    routes.write_text("".join(f"{prefix}/ up\n" for prefix in ["/mock", *other_routes(setup)]))
    log = "log 127.0.0.1:1 local0 info" if setup.access_log else ""
    return f"""
global
  nbthread {setup.workers}
  maxconn 8192
  ssl-default-bind-options ssl-min-ver TLSv1.2
  {log}
defaults
  mode http
  timeout connect 5s
  timeout client 75s
  timeout server 60s
  option http-keep-alive
  http-reuse always
  {"log global" if log else ""}
  {"option httplog" if log else ""}
frontend f
  bind 127.0.0.1:{place.plain} backlog 16384
  bind 127.0.0.1:{place.tls} ssl crt {place.bundle} backlog 16384
  http-request set-header X-Forwarded-Path %[path]
  http-request set-header X-Real-IP %[src]
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-Port %[dst_port]
  http-request set-header X-Forwarded-Prefix /mock
  option forwardfor
  use_backend ws if {{ path /ws }}
  use_backend secure if {{ path_beg /secure/ }}
  use_backend %[path,map_beg({routes})]
backend up
  http-request replace-path {"/mock/(.*)" if setup.routes == 1 else "/(?:mock|team[0-9]+/svc[0-9]+)/(.*)"} /\\1
  server u 127.0.0.1:{place.upstream}
backend secure
  http-request replace-path /secure/(.*) /\\1
  server u 127.0.0.1:{place.upstream_tls} ssl verify none
backend ws
  timeout tunnel 1h
  server u 127.0.0.1:{place.websocket}
"""


def caddy(setup: Setup, place: Place) -> str:
    """A Caddyfile."""

    def site(prefix: str, upstream: str) -> str:
        tls = "tls_insecure_skip_verify\n" if upstream.startswith("https") else ""
        return (
            f"handle_path {prefix}/* {{\nreverse_proxy {upstream} {{\nheader_up X-Real-IP {{remote_host}}\n"
            f"header_up X-Forwarded-Port {{http.request.port}}\nheader_up X-Forwarded-Prefix {prefix}\n"
            f"header_up X-Forwarded-Path {{http.request.orig_uri.path}}\n"
            f"transport http {{\nversions 1.1\nkeepalive_idle_conns_per_host {IDLE_MAX}\n{tls}}}\n}}\n}}\n"
        )

    upstream = f"http://127.0.0.1:{place.upstream}"
    routes = "".join(site(prefix, upstream) for prefix in ["/mock", *other_routes(setup)])
    routes += site("/secure", f"https://127.0.0.1:{place.upstream_tls}")
    routes += f"handle /ws {{\nreverse_proxy http://127.0.0.1:{place.websocket}\n}}\n"
    log = f"log {{\noutput file {place.directory}/access.log\n}}\n" if setup.access_log else ""
    return (
        "{\nadmin off\nauto_https off\npersist_config off\ndefault_sni localhost\nservers {\nprotocols h1\n}\n}\n"
        f"http://:{place.plain} {{\nbind 127.0.0.1\n{log}{routes}}}\n"
        f"https://:{place.tls} {{\nbind 127.0.0.1\ntls {place.certificate} {place.key}\n{log}{routes}}}\n"
    )


def envoy(setup: Setup, place: Place) -> str:
    """A bootstrap file. Limits that would refuse 1,000 connections or cut 100 MB replies are lifted."""

    def route(prefix: str, cluster: str) -> dict[str, Any]:
        return {
            "match": {"prefix": f"{prefix}/"},
            "route": {"cluster": cluster, "prefix_rewrite": "/", "timeout": "0s"},
            "request_headers_to_add": [_envoy_field("X-Forwarded-Prefix", prefix)],
        }

    routes = [route(prefix, "up") for prefix in other_routes(setup)]
    routes += [route("/mock", "up"), route("/secure", "secure")]
    routes.append({"match": {"path": "/ws"}, "route": {"cluster": "ws", "timeout": "0s"}})
    added = [
        _envoy_field("X-Real-IP", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
        _envoy_field("X-Forwarded-Host", "%REQ(:AUTHORITY)%"),
        _envoy_field("X-Forwarded-Port", "%DOWNSTREAM_LOCAL_PORT%"),
        _envoy_field("X-Forwarded-Path", "%REQ(:PATH)%"),
    ]
    manager: dict[str, Any] = {
        "@type": _envoy_type("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "in",
        "codec_type": "HTTP1",
        "use_remote_address": True,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes, "request_headers_to_add": added}]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": _envoy_type("filters.http.router.v3.Router")},
            }
        ],
    }
    if setup.access_log:
        kind = _envoy_type("access_loggers.file.v3.FileAccessLog")
        manager["access_log"] = [
            {"name": "file", "typed_config": {"@type": kind, "path": f"{place.directory}/access.log"}}
        ]
    certificate = {
        "certificate_chain": {"filename": str(place.certificate)},
        "private_key": {"filename": str(place.key)},
    }
    tls = {
        "@type": _envoy_type("transport_sockets.tls.v3.DownstreamTlsContext"),
        "common_tls_context": {"tls_certificates": [certificate]},
    }
    listeners = [_envoy_listener("plain", place.plain, manager), _envoy_listener("tls", place.tls, manager)]
    listeners[1]["filter_chains"][0]["transport_socket"] = {"name": "tls", "typed_config": tls}
    secure = _envoy_cluster("secure", place.upstream_tls)
    upstream_tls = {"@type": _envoy_type("transport_sockets.tls.v3.UpstreamTlsContext")}
    secure["transport_socket"] = {"name": "tls", "typed_config": upstream_tls}
    clusters = [_envoy_cluster("up", place.upstream), secure, _envoy_cluster("ws", place.websocket)]
    return json.dumps({"static_resources": {"listeners": listeners, "clusters": clusters}})


def _envoy_type(name: str) -> str:
    return f"type.googleapis.com/envoy.extensions.{name}"


def _envoy_field(name: str, value: str) -> dict[str, Any]:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _envoy_address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _envoy_listener(name: str, port: int, manager: dict[str, Any]) -> dict[str, Any]:
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {
        "name": name,
        "address": _envoy_address(port),
        "tcp_backlog_size": 16384,
        "filter_chains": [{"filters": filters}],
    }


def _envoy_cluster(name: str, port: int) -> dict[str, Any]:
    many = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), 1_000_000)
    return {
        "name": name,
        "type": "STATIC",
        "circuit_breakers": {"thresholds": [many]},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _envoy_address(port)}}]}],
        },
    }


KEY = "bench-key-0123456789"
BASIC = "Basic " + base64.b64encode(f"bench:{KEY}".encode()).decode()
PLUGINS: dict[str, tuple[dict[str, Any], ...]] = {
    "prometheus": (
        {
            "name": "prometheus",
            "config": {
                "status_code_metrics": True,
                "latency_metrics": True,
                "bandwidth_metrics": True,
                "upstream_health_metrics": True,
            },
        },
    ),
    "key-auth": ({"name": "key-auth"},),
    "acl": ({"name": "key-auth"}, {"name": "acl", "config": {"allow": ["bench"]}}),
    "basic-auth": ({"name": "basic-auth"},),
    "rate-limiting": ({"name": "rate-limiting", "config": {"hour": UNLIMITED, "policy": "local"}},),
    "ip-restriction": ({"name": "ip-restriction", "config": {"allow": ["127.0.0.0/8"]}},),
    "correlation-id": ({"name": "correlation-id", "config": {"header_name": "X-Correlation-ID"}},),
    "cors": ({"name": "cors", "config": {"origins": ["*"]}},),
    "request-size-limiting": ({"name": "request-size-limiting", "config": {"allowed_payload_size": 8}},),
    "request-transformer": ({"name": "request-transformer", "config": {"add": {"headers": ["X-Bench: 1"]}}},),
    "response-transformer": ({"name": "response-transformer", "config": {"add": {"headers": ["X-Bench: 1"]}}},),
    "bot-detection": ({"name": "bot-detection"},),
}
"""Common plugins in a setting that lets the measured request through. Which of them run is asked of the gateway."""


def kong(setup: Setup, place: Place) -> str:
    """Kong's declarative file, for Kong and for us, as JSON (which is YAML)."""

    def service(name: str, prefix: str, url: str, strip: bool = True) -> dict[str, Any]:
        return {"name": name, "url": url, "routes": [{"name": name, "paths": [prefix], "strip_path": strip}]}

    url = f"http://127.0.0.1:{place.upstream}/"
    services = [service(f"s{i}", prefix, url) for i, prefix in enumerate(other_routes(setup))]
    services.append(service("mock", "/mock", url))
    services.append(service("secure", "/secure", f"https://127.0.0.1:{place.upstream_tls}/"))
    services.append(service("ws", "/ws", f"http://127.0.0.1:{place.websocket}/", strip=False))
    document: dict[str, Any] = {"_format_version": "3.0", "services": services}
    if setup.plugin:
        document |= _with_plugin(setup.plugin)
    return json.dumps(document)


def _with_plugin(name: str) -> dict[str, Any]:
    consumer: dict[str, Any] = {"username": "bench"}
    if name in ("key-auth", "acl"):
        consumer["keyauth_credentials"] = [{"key": KEY}]
    if name == "acl":
        consumer["acls"] = [{"group": "bench"}]
    if name == "basic-auth":
        consumer["basicauth_credentials"] = [{"username": "bench", "password": KEY}]
    return {"plugins": list(PLUGINS[name]), "consumers": [consumer]}


def kong_settings(setup: Setup, place: Place) -> dict[str, str]:
    """The settings of a Kong, or of us."""
    return {
        "KONG_PREFIX": str(place.directory / "node"),
        "KONG_DATABASE": "off",
        "KONG_DECLARATIVE_CONFIG": str(place.directory / "kong.json"),
        "KONG_PROXY_LISTEN": f"127.0.0.1:{place.plain} reuseport backlog=16384, "
        f"127.0.0.1:{place.tls} ssl reuseport backlog=16384",
        "KONG_STATUS_LISTEN": f"127.0.0.1:{place.status}",
        "KONG_ADMIN_LISTEN": "off",
        "KONG_NGINX_WORKER_PROCESSES": str(setup.workers),
        "KONG_PROXY_ACCESS_LOG": "logs/access.log" if setup.access_log else "off",
        "KONG_SSL_CERT": str(place.certificate),
        "KONG_SSL_CERT_KEY": str(place.key),
        "KONG_UPSTREAM_KEEPALIVE_POOL_SIZE": str(IDLE_MAX),
        "KONG_UPSTREAM_KEEPALIVE_MAX_REQUESTS": str(UNLIMITED),
        "KONG_NGINX_HTTP_KEEPALIVE_REQUESTS": str(UNLIMITED),
    }
