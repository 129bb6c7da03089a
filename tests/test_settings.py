"""Node settings: sources, kinds, rules, the value, the commented file."""

import ast
import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kongdp.certs.contexts import FFDHE2048
from kongdp.cli.hybrid import make_pair
from kongdp.settings import Buffers, Listener, Settings, SettingsError, environment_name, find_prefix, load_settings
from kongdp.settings.document import render
from kongdp.settings.foreign import UNUSED, WITHOUT_EFFECT
from kongdp.settings.model import KEYS, ROWS

DB_LESS = {"KONG_DATABASE": "off"}
CONF = Path(__file__).parents[1] / "conf" / "kongdp.conf"


@pytest.fixture(scope="module")
def pairs() -> list[tuple[str, str]]:
    """Two certificates with their keys, as PEM text."""
    now = datetime.now(UTC)
    return [(certificate.decode(), key.decode()) for certificate, key in (make_pair(1, now), make_pair(1, now))]


def load(path: Path | None = None, /, **environ: str) -> Settings:
    return load_settings(str(path) if path else None, {**DB_LESS, **environ})


def problems(path: Path | None = None, /, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(path, **environ)
    return caught.value.problems


def conf(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "kong.conf"
    path.write_text(text)
    return path


# -- sources


def test_precedence_is_default_file_environment_command_line(tmp_path: Path) -> None:
    """Each source beats the one before it."""
    path = conf(tmp_path, "dns_cache_size = 1\nlog_level = warn\nrouter_flavor = traditional\n")
    environ = {**DB_LESS, "KONG_LOG_LEVEL": "info", "KONG_ROUTER_FLAVOR": "expressions"}
    settings = load_settings(str(path), environ, {"router_flavor": "traditional_compatible"})
    assert settings.dns_cache_size == 1
    assert settings.log_level == "info"
    assert settings.router_flavor == "traditional_compatible"
    assert settings.dns_stale_ttl == 3600
    assert set(settings.given) == {"database", "log_level", "dns_cache_size", "router_flavor"}


def test_comments_are_cut_in_the_file_only(tmp_path: Path) -> None:
    """A trailing comment ends at the line in a file, where \\# is the character; the environment is taken whole."""
    path = conf(tmp_path, "real_ip_header = X-Client # behind a balancer\nnginx_http_charset = a\\#b\n")
    settings = load(path)
    assert settings.real_ip_header == "X-Client"
    assert settings.nginx_http_charset == "a#b"
    assert load(KONG_REAL_IP_HEADER="X-Client # whole").real_ip_header == "X-Client # whole"


def test_a_line_without_equals_is_named_with_its_number(tmp_path: Path) -> None:
    """A broken file names its lines."""
    path = conf(tmp_path, "# fine\n\nlog_level warn\n")
    assert problems(path) == [f"{path} line 3: expected `key = value`, got 'log_level warn'"]


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    """A file that was asked for must be there."""
    missing = tmp_path / "none.conf"
    assert problems(missing) == [f"cannot read the settings file {missing}: No such file or directory"]


@pytest.mark.parametrize("text", ["", "NONE"])
def test_empty_and_none_mean_unset(text: str) -> None:
    """Unset is None or an empty list where that means something, and the default elsewhere."""
    settings = load(
        KONG_NODE_ID=text, KONG_TRUSTED_IPS=text, KONG_STATUS_LISTEN=text, KONG_LOG_LEVEL=text, KONG_HEADERS=text
    )
    assert settings.node_id is None
    assert settings.trusted_ips == ()
    assert settings.status_listen == ()
    assert settings.headers == ()
    assert settings.log_level == "notice"


def test_the_last_alias_wins_inside_one_source(tmp_path: Path) -> None:
    """nginx's inner block beats the outer one; a higher source beats both."""
    path = conf(tmp_path, "nginx_location_keepalive_requests = 3\n")
    assert load(KONG_NGINX_HTTP_KEEPALIVE_REQUESTS="1", KONG_NGINX_PROXY_KEEPALIVE_REQUESTS="2").nginx_http_keepalive_requests == 2  # fmt: skip  # noqa: E501
    assert load(path, KONG_NGINX_HTTP_KEEPALIVE_REQUESTS="1").nginx_http_keepalive_requests == 1
    assert load(KONG_NGINX_MAIN_WORKER_PROCESSES="3").nginx_worker_processes == 3


def test_every_problem_is_listed_at_once(tmp_path: Path) -> None:
    """File, environment and kinds are all heard before the error is raised."""
    path = conf(tmp_path, "nonsense\nlog_level = loud\n")
    found = problems(path, KONG_DNS_CACHE_SIZE="many", KONG_TRUSTED_IPS="here")
    assert len(found) == 4


def test_unknown_keys_give_warnings_that_name_them(tmp_path: Path) -> None:
    """A mistake in a name is shown with the name that was probably meant; nothing is refused."""
    path = conf(tmp_path, "proxy_listn = 0.0.0.0:1\n")
    settings = load(path, KONG_PLUGNIS="a", KONGDP_DRAIN_TIMEOUT="1", KONG_KONGDP_DRAIN_TIMEOUT_S="1")
    warnings = [warning for warning in settings.warnings if warning.startswith("unknown")]
    assert warnings == [
        f"unknown setting proxy_listn ({path} line 1) is ignored; did you mean proxy_listen?",
        "unknown setting KONG_PLUGNIS is ignored; did you mean KONG_PLUGINS?",
        "unknown setting KONGDP_DRAIN_TIMEOUT is ignored; did you mean KONGDP_DRAIN_TIMEOUT_S?",
        "unknown setting KONG_KONGDP_DRAIN_TIMEOUT_S is ignored; did you mean KONGDP_DRAIN_TIMEOUT_S?",
    ]


def test_settings_of_kong_without_effect_say_why_or_nothing() -> None:
    """A kong.conf may go on naming what we do not need; only what an operator could miss is mentioned."""
    settings = load(KONG_PG_HOST="db", KONG_MEM_CACHE_SIZE="1g", KONG_NGINX_DAEMON="off", KONG_NGINX_HTTP_GZIP="on")
    assert [warning for warning in settings.warnings if "no effect" in warning] == [
        "setting KONG_PG_HOST has no effect: a control plane's database is named by kongdp_database_url",
        "setting KONG_NGINX_HTTP_GZIP has no effect: this nginx directive is not mapped",
    ]


def test_kubernetes_service_links_are_no_settings() -> None:
    """A service called kong-proxy in the namespace gives variables that only look like settings."""
    settings = load(
        KONG_PROXY_SERVICE_HOST="10.0.0.1",
        KONG_PROXY_SERVICE_PORT_KONG_PROXY="80",
        KONG_PROXY_PORT="tcp://10.0.0.1:80",
        KONG_PROXY_PORT_80_TCP_ADDR="10.0.0.1",
    )
    assert not [warning for warning in settings.warnings if "unknown" in warning]


def test_no_key_is_both_a_setting_and_without_effect() -> None:
    """The two tables do not overlap."""
    assert not set(KEYS) & set(WITHOUT_EFFECT)


def test_every_setting_acts_or_says_that_it_does_not() -> None:
    """A setting that nothing reads would be a promise: it stands in UNUSED with the reason, and one that is read does not."""
    package = CONF.parents[1] / "kongdp"
    files = [path for path in package.rglob("*.py") if path.parent.name != "settings" or path.name == "rules.py"]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text()))]
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    read |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    read |= {"vault_env_prefix"}  # while settings are loaded
    read |= {"status_ssl_cert", "status_ssl_cert_key"}  # by a name put together
    assert set(ROWS) - read == set(UNUSED)


def test_a_setting_that_nothing_acts_on_is_named_when_it_is_given() -> None:
    """Also words of one that have no effect."""
    settings = load(KONG_DNS_RESOLVER="10.0.0.1", KONG_NGINX_PROXY_PROXY_NEXT_UPSTREAM="error http_503")
    assert [warning for warning in settings.warnings if "no effect" in warning] == [
        "nginx_proxy_proxy_next_upstream: http_503 has no effect: no status is tried again",
        "setting dns_resolver has no effect: names are resolved by the system, by /etc/resolv.conf and /etc/hosts",
    ]


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


# -- vault references


def test_a_vault_reference_takes_the_environment_variable() -> None:
    """`-` becomes `_`, case is upper, the prefix setting is put before; what came from a vault is masked."""
    settings = load(
        KONG_REAL_IP_HEADER="{vault://env/my-header}",
        MY_HEADER="X-One",
        KONG_NGINX_HTTP_CHARSET="{vault://env/settings-json/charset}",
        SETTINGS_JSON=json.dumps({"charset": "latin1"}),
    )
    assert settings.real_ip_header == "X-One"
    assert settings.nginx_http_charset == "latin1"
    assert settings.masked()["real_ip_header"] == "******"
    assert load(KONG_VAULT_ENV_PREFIX="app_", KONG_REAL_IP_HEADER="{vault://env/h}", APP_H="X").real_ip_header == "X"


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("{vault://env/missing}", "the environment has no MISSING"),
        ("{vault://env/plain/key}", "PLAIN is no JSON object with 'key'"),
        ("{vault://aws/thing}", "only {vault://env/<name>[/<key>]} is known"),
    ],
)
def test_a_vault_reference_that_cannot_be_resolved_is_a_problem(reference: str, words: str) -> None:
    """The message names setting and variable, never a value."""
    (found,) = problems(KONG_REAL_IP_HEADER=reference, PLAIN="very secret")
    assert found.startswith("real_ip_header: ")
    assert words in found
    assert "very secret" not in found


# -- kinds


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


# -- listeners


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


# -- certificates


def test_a_certificate_may_be_a_path_pem_or_base64(tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    """All three give the same PEM text."""
    certificate, key = pairs[0]
    certificate_path, key_path = tmp_path / "c.pem", tmp_path / "k.pem"
    certificate_path.write_text(certificate)
    key_path.write_text(key)
    encoded = [base64.b64encode(text.encode()).decode() for text in (certificate, key)]
    for cert_text, key_text in ((certificate, key), (str(certificate_path), str(key_path)), encoded):
        settings = load(KONG_SSL_CERT=cert_text, KONG_SSL_CERT_KEY=key_text)
        assert settings.ssl_cert[0].strip() == certificate.strip()
        assert settings.ssl_cert_key[0].strip() == key.strip()


def test_several_certificates_pair_by_position(pairs: list[tuple[str, str]]) -> None:
    """RSA and ECDSA side by side; the counts must agree, and each key must belong to its certificate."""
    (certificate, key), (other_certificate, other_key) = [
        [base64.b64encode(text.encode()).decode() for text in pair] for pair in pairs
    ]
    both = f"{certificate},{other_certificate}"
    assert len(load(KONG_SSL_CERT=both, KONG_SSL_CERT_KEY=f"{key},{other_key}").ssl_cert) == 2
    assert problems(KONG_SSL_CERT=both, KONG_SSL_CERT_KEY=key) == [
        "ssl_cert was specified 2 times while ssl_cert_key was specified 1 times"
    ]
    crossed = problems(KONG_SSL_CERT=both, KONG_SSL_CERT_KEY=f"{other_key},{key}")
    assert crossed == ["ssl_cert_key does not belong to ssl_cert"] * 2


def test_half_a_pair_is_named(pairs: list[tuple[str, str]]) -> None:
    """Kong's messages."""
    certificate, key = pairs[0]
    assert problems(KONG_SSL_CERT=certificate) == ["ssl_cert_key must be specified"]
    assert problems(KONG_CLUSTER_CERT_KEY=key) == ["cluster_cert must be specified"]


def test_what_is_no_certificate_fails_without_showing_keys(tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    """A wrong path is taken for text and fails loading; a key's content is never repeated."""
    missing = tmp_path / "missing.pem"
    certificate, key = pairs[0]
    assert problems(KONG_CLUSTER_CERT=str(missing), KONG_CLUSTER_CERT_KEY=key)[0].startswith(
        f"cluster_cert: failed loading certificate from {missing}"
    )
    assert problems(KONG_SSL_CERT=certificate, KONG_SSL_CERT_KEY=str(missing)) == [
        f"ssl_cert_key: failed loading key from {missing}"
    ]
    garbled = key.replace("M", "m")
    (found,) = problems(KONG_SSL_CERT=certificate, KONG_SSL_CERT_KEY=garbled)
    assert found.startswith("ssl_cert_key: failed loading key from the given text or file")
    assert garbled.splitlines()[1] not in found


# -- roles


def test_a_data_plane_needs_an_identity_and_memory() -> None:
    """Kong's refusals, with our hint towards enrolment."""
    found = load_problems({"KONG_ROLE": "data_plane"})
    assert found[0].startswith('only in-memory storage can be used when role = "data_plane"')
    assert "database = off" in found[0]
    assert found[1].startswith("cluster certificate and key must be provided to use Hybrid mode")
    assert "KONGDP_ENROLL_URL" in found[1]


def load_problems(environ: dict[str, str], overrides: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(None, environ, overrides)
    return caught.value.problems


def test_a_data_plane_starts_with_a_certificate_enrolment_or_an_earlier_enrolment(
    tmp_path: Path, pairs: list[tuple[str, str]]
) -> None:
    """Each of the three is an identity."""
    certificate, key = pairs[0]
    assert load(KONG_ROLE="data_plane", KONG_CLUSTER_CERT=certificate, KONG_CLUSTER_CERT_KEY=key).cluster_cert
    assert load(KONG_ROLE="data_plane", KONGDP_ENROLL_URL="https://cp:8005", KONGDP_ENROLL_TOKEN="t").role
    (tmp_path / "certs").mkdir()
    for name in ("cluster.crt", "cluster.key"):
        (tmp_path / "certs" / name).write_text("x")
    assert load(KONG_ROLE="data_plane", KONG_PREFIX=str(tmp_path)).role == "data_plane"


def test_a_traditional_node_with_a_database_is_refused_with_a_hint() -> None:
    """Ours: the hint leads to the control plane."""
    (found,) = load_problems({})
    assert "kongdp control-plane run" in found
    assert load_settings(None, {}, {"role": "control_plane"}).role == "control_plane"
    assert load_problems({"KONG_DATABASE": "off"}, {"role": "control_plane"})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"URL": "http://cp.example"}, "must be an https URL"),
        ({"URL": "ftp://cp"}, "must be an http(s) URL"),
        ({"URL": "https://u:p@cp"}, "must not hold credentials"),
        ({"TOKEN": ""}, "needs kongdp_enroll_token"),
        ({"USER": "u"}, "must be given together"),
    ],
)
def test_enrolment_settings_must_make_sense(tmp_path: Path, changes: dict[str, str], words: str) -> None:
    """Passwords do not travel in the clear and are not half given."""
    chosen = {"URL": "https://cp", "TOKEN": "t", **changes}
    environ = {f"KONGDP_ENROLL_{name}": value for name, value in chosen.items()}
    (found,) = problems(KONG_ROLE="data_plane", KONG_PREFIX=str(tmp_path), **environ)
    assert words in found


def test_the_control_plane_listens_on_this_machine_only_where_people_log_in() -> None:
    """Ours is safer than Kong's 0.0.0.0; the cluster's listeners are for other machines."""
    settings = load_settings(None, {}, {"role": "control_plane"})
    places = {
        name: [listener.place for listener in getattr(settings, name)]
        for name in (
            "admin_listen", "admin_gui_listen", "kongdp_portal_listen", "cluster_listen",
            "kongdp_cluster_telemetry_listen",
        )
    }  # fmt: skip
    assert places == {
        "admin_listen": ["127.0.0.1:8001"],
        "admin_gui_listen": ["127.0.0.1:8002"],
        "kongdp_portal_listen": ["127.0.0.1:8003"],
        "cluster_listen": ["0.0.0.0:8005"],
        "kongdp_cluster_telemetry_listen": ["0.0.0.0:8006"],
    }


# -- the value


def test_settings_survive_json(pairs: list[tuple[str, str]]) -> None:
    """Children get exactly what the supervisor read, tuples and all."""
    certificate, key = pairs[0]
    settings = load(
        KONG_SSL_CERT=certificate,
        KONG_SSL_CERT_KEY=key,
        KONG_DNS_RESOLVER="8.8.8.8",
        KONG_PORT_MAPS="80:8000",
        KONG_NGINX_PROXY_PROXY_BUFFERS="2 4k",
        KONG_UNKNOWN="x",
    )
    assert Settings.from_json(settings.to_json()) == settings
    assert Settings.from_json(settings.to_plain()) == settings


def test_masked_settings_hide_every_secret(pairs: list[tuple[str, str]]) -> None:
    """Keys, tokens and URLs with passwords."""
    certificate, key = pairs[0]
    settings = load(
        KONG_SSL_CERT=certificate,
        KONG_SSL_CERT_KEY=key,
        KONGDP_DATABASE_URL="postgresql://u:secret@h/d",
        KONGDP_ENROLL_TOKEN="hidden-token",
    )
    shown = json.dumps(settings.masked())
    for secret in ("PRIVATE KEY", "secret@", "hidden-token"):
        assert secret not in shown
    assert settings.masked()["client_ssl_cert_key"] is None
    assert {"hidden-token", key.strip()} <= {value.strip() for value in settings.secrets()}


def test_tls_settings_follow_the_cipher_suite() -> None:
    """ssl_protocols and ssl_ciphers count only with custom."""
    settings = load(KONG_SSL_PROTOCOLS="TLSv1.1")
    assert settings.tls.protocols == ("TLSv1.2", "TLSv1.3")
    assert "ssl_protocols counts only with ssl_cipher_suite = custom" in settings.warnings
    custom = load(KONG_SSL_CIPHER_SUITE="custom", KONG_SSL_PROTOCOLS="TLSv1.3", KONG_SSL_CIPHERS="ECDHE+AES").tls
    assert (custom.protocols, custom.ciphers) == (("TLSv1.3",), "ECDHE+AES")


def test_the_prefix_falls_back_to_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /usr/local/kong is not writable for this user."""
    monkeypatch.setattr("kongdp.settings.paths.PREFIX_DEFAULT", str(tmp_path / "no" / "such" / "place"))
    assert load(HOME=str(tmp_path)).prefix == str(tmp_path / ".kongdp")
    monkeypatch.setattr("kongdp.settings.paths.PREFIX_DEFAULT", str(tmp_path))
    assert load(HOME=str(tmp_path)).prefix == str(tmp_path)


def test_the_prefix_can_be_found_among_wrong_settings(tmp_path: Path) -> None:
    """`kongdp stop` must work when the file has been broken meanwhile."""
    path = conf(tmp_path, f"prefix = {tmp_path}\nlog_level = loud\n")
    assert find_prefix(str(path), {}) == str(tmp_path)
    assert find_prefix(str(path), {}, {"prefix": "/elsewhere"}) == "/elsewhere"


# -- the commented file


def test_the_commented_file_is_up_to_date() -> None:
    """`python -m kongdp.settings.document > conf/kongdp.conf` after a change of the table."""
    assert CONF.read_text() == render()


def test_every_setting_is_documented_and_nothing_else() -> None:
    """Each name stands once, commented out, and has words above it."""
    lines = CONF.read_text().splitlines()
    documented = [line[1:].partition(" =")[0] for line in lines if line.startswith("#") and not line.startswith(("# ", "#-"))]  # fmt: skip
    assert [name for name in documented if name] == list(ROWS)
    assert all(row.help.endswith(".") for row in ROWS.values())


def test_the_commented_file_is_valid_and_holds_the_defaults(tmp_path: Path) -> None:
    """As shipped it changes nothing, and with every line uncommented it says what the defaults are."""
    assert load(CONF) == load(None)
    text = CONF.read_text()
    for name in ROWS:
        text = text.replace(f"\n#{name} =", f"\n{name} =")
    path = conf(tmp_path, text)
    prefix = load().prefix
    uncommented = load_settings(str(path), {"KONG_DATABASE": "off", "KONG_PREFIX": prefix})
    assert uncommented.masked() == load().masked()


def test_activity_is_kept_longer_the_wider_its_steps() -> None:
    """What became wider cannot become finer again; equal is possible."""
    load(KONGDP_ACTIVITY_10S_KEPT_S="90000", KONGDP_ACTIVITY_1M_KEPT_S="90000")
    assert problems(KONGDP_ACTIVITY_1M_KEPT_S="1000", KONGDP_ACTIVITY_1H_KEPT_S="86400") == [
        "kongdp_activity_1m_kept_s must not be less than kongdp_activity_10s_kept_s"
    ]
    assert problems(KONGDP_ACTIVITY_1M_KEPT_S="90001", KONGDP_ACTIVITY_1H_KEPT_S="90000") == [
        "kongdp_activity_1h_kept_s must not be less than kongdp_activity_1m_kept_s"
    ]
