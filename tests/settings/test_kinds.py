"""What a value may be: kinds of settings and addresses to listen on."""

import base64

import pytest

from kongdp.certs.contexts import FFDHE2048
from kongdp.settings import Buffers, Listener, environment_name
from tests.support.node_settings import load, problems


@pytest.mark.parametrize("value", ["ffdhe2048", "pem", "base64"])
def test_diffie_hellman_parameters_are_read_in_every_form(value: str) -> None:
    """The name of the group that Kong knows, or parameters as PEM or base64; anything else is named."""
    pem = FFDHE2048.decode().strip()
    texts = {"ffdhe2048": "ffdhe2048", "pem": pem, "base64": base64.b64encode(FFDHE2048).decode()}
    found = load(KONG_SSL_DHPARAM=texts[value]).ssl_dhparam
    assert found is not None
    assert found.strip() == ("ffdhe2048" if value == "ffdhe2048" else pem)
    (problem,) = problems(KONG_SSL_DHPARAM="ffdhe9999")
    assert problem == "ssl_dhparam: failed loading parameters from ffdhe9999 (a path, PEM, base64 or ffdhe2048)"


@pytest.mark.parametrize(
    ("text", "expected"), [("on", True), ("true", True), ("off", False), ("1", False), ("yes", False), ("True", False)]
)
def test_booleans_are_kongs(text: str, expected: bool) -> None:
    """Only on and true are true (Kong conf_loader); everything else is silently false."""
    assert load(KONG_ALLOW_DEBUG_HEADER=text).allow_debug_header is expected


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("512", 512), ("8k", 8192), ("8K", 8192), ("10m", 10485760), ("1g", 1 << 30)]
)
def test_sizes_are_nginxs(text: str, size: int) -> None:
    """Bytes, k, m, g."""
    assert load(KONG_NGINX_HTTP_CLIENT_MAX_BODY_SIZE=text).nginx_http_client_max_body_size == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("60s", 60),
        ("60", 60),
        ("5m", 300),
        ("1d", 86400),
        ("1h 30m", 5400),
        ("1m30s", 90),
        ("1.5s", 1.5),
    ],
)
def test_times_are_nginxs(text: str, seconds: float) -> None:
    """Seconds where no unit is given; parts add up."""
    assert load(KONG_NGINX_HTTP_CLIENT_BODY_TIMEOUT=text).nginx_http_client_body_timeout == seconds


def test_the_second_keepalive_time_is_not_added() -> None:
    """keepalive_timeout may have a second value, which is only advertised."""
    assert load(KONG_NGINX_HTTP_KEEPALIVE_TIMEOUT="75s 60s").nginx_http_keepalive_timeout == 75


def test_buffers_are_a_number_and_a_size() -> None:
    """As KONG_NGINX_PROXY_LARGE_CLIENT_HEADER_BUFFERS=8 64k."""
    settings = load(KONG_NGINX_PROXY_LARGE_CLIENT_HEADER_BUFFERS="8 64k")
    assert settings.nginx_http_large_client_header_buffers == Buffers(8, 65536)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("dns_cache_size", "many", "dns_cache_size is not a number: 'many'"),
        ("dns_cache_size", "nan", "dns_cache_size is not a number: 'nan'"),
        ("dns_cache_size", "1.5", "dns_cache_size must be a whole number, got '1.5'"),
        ("upstream_keepalive_pool_size", "-1", "upstream_keepalive_pool_size must be 0 or greater, got '-1'"),
        ("lua_max_uri_args", "1001", "lua_max_uri_args must be between 1 and 1000, got '1001'"),
        ("log_level", "loud", "log_level has an invalid value: 'loud' (debug, info, notice, warn, error, crit, alert, emerg)"),
        ("trusted_ips", "10.0.0.1, x", "trusted_ips must be a comma separated list in the form of IPv4 or IPv6 address or CIDR block or 'unix:', got 'x'"),  # noqa: E501
        ("headers", "server_tokens,nope", "headers: invalid entry 'nope'"),
        ("dns_order", "A,MX", "dns_order: invalid entry 'MX'"),
        ("dns_resolver", "8.8.8.8:0", "dns_resolver must be a comma separated list in the form of IPv4/6 or IPv4/6:port, got '8.8.8.8:0'"),
        ("dns_hostsfile", "/nowhere", "dns_hostsfile: file does not exist"),
        ("port_maps", "80:x", "invalid port mapping (`port_maps`): 80:x"),
        ("node_id", "seven", "node_id must be a valid UUID, got 'seven'"),
        ("nginx_http_client_max_body_size", "8q", "nginx_http_client_max_body_size must be a size such as 512, 8k, 10m or 1g, got '8q'"),
        ("nginx_http_send_timeout", "soon", "nginx_http_send_timeout must be a time such as 500ms, 60s, 5m or 1d, got 'soon'"),
        ("nginx_http_send_timeout", "1..5s", "nginx_http_send_timeout must be a time such as 500ms, 60s, 5m or 1d, got '1..5s'"),
        (
            "nginx_http_large_client_header_buffers",
            "8k",
            "nginx_http_large_client_header_buffers must be a number and a size such as '4 8k', got '8k'",
        ),
        ("cluster_control_plane", "https://cp", "cluster_control_plane must be of form host:port, got 'https://cp'"),
        ("error_template_json", "{}", "error_template_json must hold two %s (message and request id), found 0"),
        ("cluster_max_payload", "1", "cluster_max_payload must be 4194304 (4MB) or greater"),
        ("cluster_data_plane_purge_delay", "59", "cluster_data_plane_purge_delay must be 60 or greater"),
        ("cluster_use_proxy", "on", "cluster_use_proxy is turned on but no proxy_server is configured"),
        ("cluster_dp_labels", "a:b", 'cluster_dp_labels can only be used when role = "data_plane"'),
        ("kongdp_enroll_ca_fingerprint", "ab", "kongdp_enroll_ca_fingerprint must be a SHA-256 fingerprint of 64 hexadecimal digits, got 'ab'"),  # noqa: E501
        ("stream_listen", "0.0.0.0:9000", "stream_listen: TCP and TLS streams are not proxied by this version; set it to off"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_taken_is_named_with_its_setting(name: str, text: str, message: str) -> None:
    """Kong's messages where Kong has one."""
    assert problems(**{environment_name(name): text}) == [message]


def test_resolvers_have_default_ports_and_bare_ipv6() -> None:
    """Addresses of name servers."""
    settings = load(KONG_DNS_RESOLVER="8.8.8.8, 1.1.1.1:5353, ::1, [::2]:54")
    assert settings.dns_resolver == (("8.8.8.8", 53), ("1.1.1.1", 5353), ("::1", 53), ("::2", 54))


def test_labels_follow_kongs_rules() -> None:
    """Keys may not begin with reserved words; lengths and characters are bounded."""
    common = {"KONG_ROLE": "data_plane", "KONGDP_ENROLL_URL": "https://cp", "KONGDP_ENROLL_TOKEN": "t" * 8}
    labels = load(KONG_CLUSTER_DP_LABELS="created-by:quickstart,type:docker-linuxdockerOS", **common).cluster_dp_labels
    assert labels == (("created-by", "quickstart"), ("type", "docker-linuxdockerOS"))
    assert "begins with a reserved word" in problems(KONG_CLUSTER_DP_LABELS="kong-a:b", **common)[0]
    assert "between 1 and 63 characters" in problems(KONG_CLUSTER_DP_LABELS="a:", **common)[0]
    many = ",".join(f"k{number}:v" for number in range(11))
    assert "count exceeded 10" in problems(KONG_CLUSTER_DP_LABELS=many, **common)[0]


def test_kongs_default_proxy_listen_is_two_addresses() -> None:
    """The shipped value, flags and all, with one warning for http2."""
    settings = load()
    plain, secure = settings.proxy_listen
    assert plain == Listener("0.0.0.0", 8000, reuseport=True, backlog=16384)
    assert secure == Listener("0.0.0.0", 8443, http2=True, ssl=True, reuseport=True, backlog=16384)
    assert settings.warnings == ("proxy_listen: http2 is accepted, but clients are offered HTTP/1.1",)


def test_every_listen_flag_is_understood() -> None:
    """nginx's parameters, IPv6 and Unix sockets."""
    text = "[::1]:80 ipv6only=off so_keepalive=30m::10 deferred bind proxy_protocol backlog=5, unix:/run/k.sock ssl"
    first, second = load(KONG_PROXY_LISTEN=text).proxy_listen
    assert first == Listener(
        "::1", 80, ipv6only=False, so_keepalive="30m::10", deferred=True, bind=True, proxy_protocol=True, backlog=5
    )
    assert first.place == "[::1]:80"
    assert (second.path, second.ssl, second.place) == ("/run/k.sock", True, "unix:/run/k.sock")


@pytest.mark.parametrize(
    "text",
    ["8000", "localhost:8000", "0.0.0.0:70000", "0.0.0.0:1 fast", "::1:80", "[1.2.3.4]:80", "1.2.3.4:8 backlog=0"],
)
def test_bad_listen_syntax_is_refused(text: str) -> None:
    """With Kong's sentence that shows the form."""
    (found,) = problems(KONG_PROXY_LISTEN=text)
    assert found.startswith("proxy_listen must be of form: [off] | <ip>:<port> [ssl] [http2]")
    assert found.endswith(f"got '{text}'")


def test_off_closes_a_listener_but_not_the_proxy() -> None:
    """A node without proxy_listen makes no sense."""
    assert load(KONG_STATUS_LISTEN="off", KONG_ADMIN_LISTEN="off").status_listen == ()
    assert problems(KONG_PROXY_LISTEN="off") == ['proxy_listen must be specified when role = "traditional"']


@pytest.mark.parametrize(
    ("proxy", "status", "place"),
    [
        ("127.0.0.1:8000", "127.0.0.1:8000", "127.0.0.1:8000"),
        ("0.0.0.0:8000", "127.0.0.1:8000", "127.0.0.1:8000"),
        ("127.0.0.1:8000", "0.0.0.0:8000", "0.0.0.0:8000"),
        ("[::]:8000", "[::1]:8000", "[::1]:8000"),
    ],
)
def test_two_settings_cannot_have_one_address(proxy: str, status: str, place: str) -> None:
    """Found before anything is bound."""
    assert problems(KONG_PROXY_LISTEN=proxy, KONG_STATUS_LISTEN=status) == [
        f"status_listen and proxy_listen both name {place}"
    ]


def test_port_zero_may_be_asked_for_again_and_again() -> None:
    """The kernel chooses each time."""
    assert len(load(KONG_PROXY_LISTEN="127.0.0.1:0, 127.0.0.1:0", KONG_STATUS_LISTEN="127.0.0.1:0").proxy_listen) == 2
