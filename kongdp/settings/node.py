"""Settings of the node itself: role, state, processes, listeners, logs, names (DNS). See rows.py for how to read this
table.
"""

from dataclasses import dataclass

from kongdp.settings.kinds import (
    BOOLEAN,
    CORES,
    DIRECTORY,
    EXISTING_FILE,
    MAYBE_TEXT,
    PORT_MAPS,
    RESOLVERS,
    TEXT,
    TEXTS,
    URLS,
    UUID,
    auto_or_whole,
    number,
    one_of,
    optional,
    sized,
    whole,
    words,
)
from kongdp.settings.listening import LISTENERS, Listener
from kongdp.settings.paths import PREFIX_DEFAULT
from kongdp.settings.rows import elsewhere, setting

LOG_LEVELS = ("debug", "info", "notice", "warn", "error", "crit", "alert", "emerg")
DNS_TYPES = ("LAST", "SRV", "A", "AAAA", "CNAME")


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """Node"""

    prefix: str = setting(
        DIRECTORY,
        PREFIX_DEFAULT,
        "Directory of all state: pid files, node id, cached configuration, certificates, counters, logs. Where the "
        "default is not writable for this user, ~/.kongdp is used instead.",
    )
    role: str = setting(
        words("traditional", "control_plane", "data_plane"),
        "traditional",
        "data_plane takes its configuration from a control plane. traditional needs database = off and is a DB-less "
        "node. control_plane is started by `kongdp control-plane run`.",
    )
    database: str = setting(
        words("postgres", "off"),
        "postgres",
        "off is required by a data plane and by a DB-less node: they keep their configuration in memory. A control "
        "plane stores it in the database that kongdp_database_url names.",
    )
    declarative_config: str | None = setting(
        MAYBE_TEXT,
        "",
        "Path of a declarative file (YAML or JSON) that a DB-less node loads at start. Without it the node waits for "
        "POST /config on admin_listen. A data plane uses it only until it has a configuration of its control plane.",
    )
    declarative_config_string: str | None = setting(MAYBE_TEXT, "", "The same as text instead of a path.", secret=True)
    node_id: str | None = setting(optional(UUID), "", "The node's id. Unset: made once and kept in <prefix>/kong.id.")
    nginx_worker_processes: int | None = setting(
        auto_or_whole(1),
        "auto",
        "Number of worker processes; auto is one for each core.",
        aliases=("nginx_main_worker_processes",),
    )
    kongdp_worker_cpu_affinity: str = setting(
        CORES,
        "off",
        "Binds each worker to one core: the cores listed are given to the workers in turn, auto lists all that the node "
        "may use. off leaves the choice to the kernel, which is better where other programs share the cores.",
    )
    nginx_main_worker_rlimit_nofile: int | None = setting(
        auto_or_whole(64),
        "auto",
        "Limit of open files of each process; auto raises the soft limit to the hard one.",
    )
    kongdp_connections_max: int = setting(
        whole(1),
        "16384",
        "Most client connections of one worker; further ones are closed at once. Kong derives the same number from the "
        "limit of open files.",
        aliases=("nginx_events_worker_connections",),
    )
    kongdp_drain_timeout_s: float = setting(
        number(0),
        "30",
        "How long exchanges in flight may take to finish after SIGTERM, SIGQUIT or a reload; then they are cut.",
        unit="seconds",
    )
    kongdp_start_timeout_s: float = setting(
        number(1),
        "120",
        "How long a worker or the agent may take from its start to accepting connections; then the start has failed.",
        unit="seconds",
    )
    kongdp_worker_silence_s: float = setting(
        number(0.1),
        "5",
        "A worker that gives no sign of life for this long is killed and replaced. The agent, which may pause while it "
        "validates a large configuration, has six times as long.",
        unit="seconds",
    )
    kongdp_counter_segment_bytes: int = setting(
        sized(65536, 1 << 32),
        "8m",
        "Shared memory for the counters of one worker, taken at start. 8m hold about 10,000 routes that had "
        "traffic; what does not fit is counted in one common row.",
        unit="bytes",
    )
    kongdp_rate_limiting_bytes: int = setting(
        sized(4096, 1 << 32),
        "512k",
        "Shared memory for what rate limits of one worker count, taken twice at start. 512k hold some 20,000 counts, one "
        "for each consumer (or address) and period; beyond it the count whose window ends first is forgotten.",
        unit="bytes",
    )
    kongdp_proxy_cache_bytes: int = setting(
        sized(65536, 1 << 36),
        "32m",
        "Answers that proxy-cache plugins keep in the memory of one worker; beyond it the least recently used goes. One "
        "answer may take an eighth of it.",
        unit="bytes",
    )
    kongdp_counters: bool = setting(
        BOOLEAN,
        "on",
        "off: requests are not counted at all, neither on /metrics nor at the control plane. Only for measuring what "
        "counting costs.",
    )
    kongdp_metrics_status_codes: bool = setting(
        BOOLEAN,
        "on",
        "Show each route's status codes on /metrics also where no prometheus plugin asks for them. off: as in Kong.",
    )
    kongdp_metrics_series_max: int = setting(
        whole(1),
        "100000",
        "Most routes, and as many consumers on routes, with series of their own on /metrics; further ones are added up "
        "in series whose service and route, or consumer, is kongdp_overflow.",
    )
    plugins: tuple[str, ...] = setting(
        TEXTS,
        "bundled",
        "Plugins that a configuration may use: a list of names; bundled stands for all that come with kongdp, off for "
        "none.",
    )
    vaults: tuple[str, ...] = setting(
        TEXTS,
        "bundled",
        "Vaults that {vault://...} references may name: bundled or env (the environment), off for none.",
    )
    vault_env_prefix: str | None = setting(
        MAYBE_TEXT, "", "Put before the variable's name that a {vault://env/...} reference gives."
    )


@dataclass(frozen=True, kw_only=True)
class ListenSettings:
    """Listeners"""

    proxy_listen: tuple[Listener, ...] = setting(
        LISTENERS,
        "0.0.0.0:8000 reuseport backlog=16384, 0.0.0.0:8443 http2 ssl reuseport backlog=16384",
        "Addresses that take traffic. Flags: ssl, http2 (accepted; HTTP/1.1 is offered), proxy_protocol, deferred, "
        "bind, reuseport, backlog=N, ipv6only=on|off, so_keepalive=on|off|idle:interval:count. Every worker always "
        "has its own socket. unix:/path works too.",
    )
    admin_listen: tuple[Listener, ...] = setting(
        LISTENERS,
        "127.0.0.1:8001 reuseport backlog=16384",
        "Addresses of the Admin API: on a control plane, and on a DB-less node. A data plane never opens them. Kong "
        "also opens 127.0.0.1:8444 with a self-signed certificate; add it here if you want it.",
    )
    status_listen: tuple[Listener, ...] = setting(
        LISTENERS,
        "127.0.0.1:8007 reuseport backlog=16384",
        "Addresses of the Status API (/status, /status/ready, /metrics) of a data plane or DB-less node.",
    )
    admin_gui_listen: tuple[Listener, ...] = setting(
        LISTENERS,
        "127.0.0.1:8002",
        "Addresses of the control plane's web console. Kong's default is every interface; ours is this machine only.",
    )
    admin_gui_url: tuple[str, ...] = setting(
        URLS,
        "",
        "Addresses of Kong Manager or a console elsewhere, as browsers see them: pages of these origins may use the Admin "
        "API. Empty: pages served on this machine's loopback may, and no others.",
    )
    kongdp_portal_listen: tuple[Listener, ...] = setting(
        LISTENERS, "127.0.0.1:8003", "Addresses of the control plane's developer portal."
    )
    cluster_listen: tuple[Listener, ...] = setting(
        LISTENERS, "0.0.0.0:8005", "Addresses where a control plane takes data planes (always TLS)."
    )
    kongdp_cluster_telemetry_listen: tuple[Listener, ...] = setting(
        LISTENERS,
        "0.0.0.0:8006",
        "Addresses where a control plane takes its data planes' counters (always TLS).",
        aliases=("cluster_telemetry_listen",),
    )
    stream_listen: tuple[Listener, ...] = setting(
        LISTENERS, "off", "TCP and TLS streams are not proxied by this version: only off is taken."
    )
    port_maps: tuple[tuple[int, int], ...] = setting(
        PORT_MAPS,
        "",
        "Ports as clients see them, where something in front changes them: external:internal, for X-Forwarded-Port "
        "and for matching.",
    )


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """Logs"""

    log_level: str = setting(words(*LOG_LEVELS), "notice", "Least severe level that the error logs hold.")
    proxy_access_log: str = setting(
        TEXT,
        "logs/access.log",
        "File of the access log, relative to the prefix, or off, /dev/stdout, /dev/stderr, or "
        "syslog:server=ADDRESS[:PORT][,facility=local7][,severity=info][,tag=kongdp][,nohostname], where ADDRESS may be "
        "unix:PATH. A second word names the format: kong_log_format, combined, json, or the one that "
        "nginx_http_log_format declares.",
        aliases=elsewhere("access_log", "http", "proxy"),
    )
    nginx_http_log_format: str | None = setting(
        MAYBE_TEXT,
        "",
        "A format of the access log as nginx has it: a name, perhaps escape=json, and quoted text with variables such as "
        "$remote_addr, $time_iso8601, $request, $status, $bytes_sent, $request_time, $upstream_response_time, "
        "$http_user_agent, $kong_request_id; an unknown one is named with all there are.",
        aliases=("nginx_proxy_log_format",),
    )
    proxy_error_log: str = setting(
        TEXT,
        "logs/error.log",
        "File of the error log of workers and supervisor, relative to the prefix, or /dev/stderr.",
        aliases=elsewhere("error_log", "main", "http", "proxy"),
    )
    admin_access_log: str = setting(TEXT, "logs/admin_access.log", "Access log of the Admin API, or off.")
    admin_error_log: str = setting(TEXT, "logs/error.log", "Error log of the Admin API.")
    status_access_log: str = setting(TEXT, "off", "Access log of the Status API, or off.")
    status_error_log: str = setting(TEXT, "logs/status_error.log", "Error log of the Status API.")
    kongdp_access_log_format: str = setting(
        words("kong", "combined", "json"),
        "kong",
        "Format of the access log where proxy_access_log names none.",
    )
    kongdp_access_log_fields: tuple[str, ...] = setting(TEXTS, "", "Fields of the json format, in order; unset: all.")


@dataclass(frozen=True, kw_only=True)
class NameSettings:
    """Names (DNS)"""

    dns_resolver: tuple[tuple[str, int], ...] = setting(
        RESOLVERS, "", "Name servers as address[:port]; unset: those of /etc/resolv.conf."
    )
    dns_hostsfile: str = setting(EXISTING_FILE, "/etc/hosts", "File of fixed names, read at start.")
    dns_order: tuple[str, ...] = setting(
        one_of(DNS_TYPES, "list of LAST, SRV, A, AAAA, CNAME"),
        "LAST,SRV,A,CNAME",
        "Record types in the order they are asked for; LAST is the type that last succeeded for the name.",
    )
    dns_valid_ttl: float | None = setting(
        optional(number(0)), "", "Life of good answers; unset: what the answer says.", unit="seconds"
    )
    dns_stale_ttl: float = setting(
        number(0), "3600", "How long an expired answer still serves while it is refreshed.", unit="seconds"
    )
    dns_not_found_ttl: float = setting(number(0), "30", "Life of empty answers and NXDOMAIN.", unit="seconds")
    dns_error_ttl: float = setting(number(0), "1", "Life of other failures.", unit="seconds")
    dns_cache_size: int = setting(whole(1), "10000", "Most names a worker remembers.")
    dns_no_sync: bool = setting(BOOLEAN, "off", "on: concurrent queries for one name do not share one lookup.")
    new_dns_client: bool = setting(
        BOOLEAN,
        "off",
        "on: GET /status/dns tells DNS statistics, as with Kong's new client. The dns_* settings count in either case.",
    )
    resolver_address: tuple[tuple[str, int], ...] = setting(RESOLVERS, "", "As dns_resolver.")
    resolver_hosts_file: str = setting(EXISTING_FILE, "/etc/hosts", "As dns_hostsfile.")
    resolver_family: tuple[str, ...] = setting(
        one_of(("A", "AAAA", "SRV"), "list of A, AAAA, SRV"), "A,SRV", "Record types that are asked for."
    )
    resolver_valid_ttl: float | None = setting(optional(number(0)), "", "As dns_valid_ttl.", unit="seconds")
    resolver_error_ttl: float = setting(number(0), "1", "Life of failures and NXDOMAIN.", unit="seconds")
    resolver_stale_ttl: float = setting(number(0), "3600", "As dns_stale_ttl.", unit="seconds")
    resolver_lru_cache_size: int = setting(whole(1), "10000", "As dns_cache_size.")
