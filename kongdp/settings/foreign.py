"""Keys of Kong that mean nothing here, and why: a kong.conf or a container's environment may go on naming them.

`reason_without_effect(name)` is None for a key that neither Kong nor kongdp knows; the loader then warns about a
mistake. Quiet keys change nothing that an operator could miss, so they give no warning at all.
Cold. Source: Kong 3.9 kong_defaults.lua and the Enterprise and Konnect keys seen in published scripts.
"""

import re

_LUA = "kongdp runs no Lua"
_NGINX = "kongdp is not nginx"
_OWN_STORE = "a kongdp node keeps its configuration in each process and a copy in <prefix>/config.cache.json.gz"
_ENTERPRISE = "a feature of Kong Enterprise that kongdp does not have"

# name -> (why it has no effect, whether to say nothing)
WITHOUT_EFFECT: dict[str, tuple[str, bool]] = {
    "nginx_daemon": ("`kongdp run` stays in the foreground, `kongdp start` goes to the background", True),
    "nginx_main_daemon": ("`kongdp run` stays in the foreground, `kongdp start` goes to the background", True),
    "nginx_user": ("start kongdp as the user it shall run as", True),
    "nginx_main_user": ("start kongdp as the user it shall run as", True),
    "anonymous_reports": ("kongdp never reports to anybody", True),
    "version": ("", True),  # set by Kong's container images, never a setting
    "worker_consistency": ("a new configuration is compiled at once in every worker", True),
    "worker_state_update_frequency": ("a new configuration is compiled at once in every worker", True),
    "worker_events_max_payload": ("kongdp has no such event bus", True),
    "dedicated_config_processing": ("the agent is always a process of its own", True),
    "mem_cache_size": (_OWN_STORE, True),
    "lmdb_environment_path": (_OWN_STORE, True),
    "lmdb_map_size": (_OWN_STORE, True),
    "db_update_frequency": ("changes are pushed after 100 ms, then at most once a second", False),
    "db_update_propagation": ("the control plane has one writer", False),
    "db_cache_ttl": (_OWN_STORE, True),
    "db_cache_neg_ttl": (_OWN_STORE, True),
    "db_resurrect_ttl": (_OWN_STORE, True),
    "db_cache_warmup_entities": (_OWN_STORE, True),
    "cluster_rpc": ("kongdp speaks version 1 of the hybrid protocol", False),
    "cluster_rpc_sync": ("kongdp speaks version 1 of the hybrid protocol", False),
    "cluster_incremental_sync": ("kongdp speaks version 1 of the hybrid protocol", False),
    "cluster_allowed_common_names": (_ENTERPRISE, False),
    "untrusted_lua": (_LUA, True),
    "untrusted_lua_sandbox_requires": (_LUA, False),
    "untrusted_lua_sandbox_environment": (_LUA, False),
    "lua_package_path": (_LUA, False),
    "lua_package_cpath": (_LUA, False),
    "lua_socket_pool_size": (_LUA, True),
    "openresty_path": (_LUA, True),
    "request_debug": ("requests carry no timing output", True),
    "request_debug_token": ("requests carry no timing output", False),
    "host_ports": ("use port_maps", False),
    "legacy_worker_events": ("kongdp has no such event bus", True),
    "pluginserver_names": ("plugins in other languages are not run", False),
    "tracing_instrumentations": ("kongdp does not trace", True),
    "tracing_sampling_rate": ("kongdp does not trace", True),
    "opentelemetry_tracing": ("kongdp does not trace", True),
    "nginx_http_lua_regex_match_limit": ("regular expressions run in linear time", True),
    "nginx_http_lua_regex_cache_max_entries": ("regular expressions are compiled once", True),
    "nginx_events_multi_accept": (_NGINX, True),
    "nginx_admin_client_body_buffer_size": (_NGINX, True),
    "nginx_http_client_header_buffer_size": ("a head is read into one buffer as it comes", True),
    "nginx_proxy_client_header_buffer_size": ("a head is read into one buffer as it comes", True),
    "ssl_session_timeout": ("OpenSSL's own time counts; Python's TLS cannot change it", True),
    "ssl_session_cache_size": ("OpenSSL keeps up to 20,000 sessions in each worker where tickets are off", True),
    "nginx_http_proxy_buffers": ("kongdp_body_buffer_bytes_max bounds what is read ahead", False),
    "nginx_proxy_proxy_buffers": ("kongdp_body_buffer_bytes_max bounds what is read ahead", False),
    "nginx_location_proxy_buffers": ("kongdp_body_buffer_bytes_max bounds what is read ahead", False),
    "nginx_http_proxy_busy_buffers_size": (_NGINX, True),
    "nginx_proxy_proxy_busy_buffers_size": (_NGINX, True),
    "nginx_location_proxy_busy_buffers_size": (_NGINX, True),
    "proxy_stream_access_log": ("streams are not proxied", True),
    "proxy_stream_error_log": ("streams are not proxied", True),
    "admin_api_uri": ("the console calls the control plane's own address", False),
    "password": (_ENTERPRISE, False),
    "license_data": (_ENTERPRISE, True),
    "license_path": (_ENTERPRISE, True),
    "enforce_rbac": (_ENTERPRISE, False),
    "fips": ("use ssl_cipher_suite = fips", False),
    "kic": (_ENTERPRISE, False),
}

_SYSTEM_NAMES = "names are resolved by the system, by /etc/resolv.conf and /etc/hosts"
_LOG_FILE = "the agent and the control plane write one log for all of it"
_LUA_LIMIT = "no plugin of kongdp counts so"

# As above, for settings that kongdp has in its table, because Kong checks their values, but that nothing acts on.
UNUSED: dict[str, tuple[str, bool]] = {
    "admin_access_log": (_LOG_FILE, True),
    "admin_error_log": (_LOG_FILE, True),
    "status_access_log": (_LOG_FILE, True),
    "status_error_log": (_LOG_FILE, True),
    "lua_max_req_headers": (_LUA_LIMIT, True),
    "lua_max_resp_headers": (_LUA_LIMIT, True),
    "lua_max_uri_args": (_LUA_LIMIT, True),
    "lua_max_post_args": (_LUA_LIMIT, True),
    "client_body_buffer_size": ("no plugin of kongdp reads bodies; kongdp_body_buffer_bytes_max bounds buffers", True),
    "dns_resolver": (_SYSTEM_NAMES, False),
    "dns_hostsfile": (_SYSTEM_NAMES, False),
    "dns_order": (_SYSTEM_NAMES, False),
    "dns_no_sync": (_SYSTEM_NAMES, True),
    "resolver_address": (_SYSTEM_NAMES, False),
    "resolver_hosts_file": (_SYSTEM_NAMES, False),
    "resolver_family": (_SYSTEM_NAMES, False),
    "resolver_valid_ttl": ("use dns_valid_ttl", False),
    "resolver_error_ttl": ("use dns_error_ttl", False),
    "resolver_stale_ttl": ("use dns_stale_ttl", False),
    "resolver_lru_cache_size": ("use dns_cache_size", False),
    "lua_ssl_verify_depth": ("a chain to the control plane may have any length", False),
    "lua_ssl_protocols": ("connections to the control plane are TLS 1.2 or 1.3", False),
    "cluster_ocsp": ("certificates of control planes are not asked for revocation", False),
    "proxy_server_ssl_verify": ("a proxy on the way to the control plane is spoken to without TLS", False),
}

# pattern of names -> (why, whether to say nothing); tried in order after the exact names
_FAMILIES: tuple[tuple[re.Pattern[str], str, bool], ...] = (
    (re.compile(r"pg_\w+"), "a control plane's database is named by kongdp_database_url", False),
    (re.compile(r"cassandra_\w+"), "Cassandra is not supported", False),
    (re.compile(r"vitals\w*|analytics_\w+"), "kongdp counts by itself", True),
    (
        re.compile(r"portal(_\w+)?"),
        "the portal is configured in the console; its address is kongdp_portal_listen",
        False,
    ),
    (re.compile(r"(admin_gui|smtp|rbac|audit_log|keyring|event_hooks|tracing|debug)_\w+"), _ENTERPRISE, False),
    (re.compile(r"cluster_fallback_config_\w+"), _ENTERPRISE, False),
    (re.compile(r"wasm(_\w+)?"), "WebAssembly filters are not run", False),
    (re.compile(r"pluginserver_\w+"), "plugins in other languages are not run", False),
    (re.compile(r"vault_\w+"), "only the environment vault exists", False),
    (
        re.compile(
            r"nginx_(main|events|http|proxy|location|upstream|status|admin|s?stream|sproxy|supstream|debug)_\w+"
        ),
        "this nginx directive is not mapped",
        False,
    ),
)

# Kubernetes adds these for every service in the namespace: a service called `kong-proxy` gives KONG_PROXY_PORT_80_TCP.
_SERVICE_LINK = re.compile(r"\w*?_?(service_host|service_port(_\w+)?|port|port_\d+_(tcp|udp|sctp)(_\w+)?)")


def reason_without_effect(name: str) -> tuple[str, bool] | None:
    """(why the key has no effect, whether to say nothing about it), or None for an unknown key."""
    if name in WITHOUT_EFFECT:
        return WITHOUT_EFFECT[name]
    for pattern, reason, is_quiet in _FAMILIES:
        if pattern.fullmatch(name):
            return reason, is_quiet
    return None


def is_service_link(name: str, value: str) -> bool:
    """Whether an environment variable is one of those that Kubernetes makes for services."""
    if not _SERVICE_LINK.fullmatch(name):
        return False
    return "service" in name or value.startswith(("tcp://", "udp://", "sctp://")) or "_port_" in name
