"""Where settings come from: sources in their order, vault references, names that are none."""

import json
from pathlib import Path

import pytest

from kongdp.settings import find_prefix, load_settings
from tests.support.node_settings import DB_LESS, conf, load, problems


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


def test_kubernetes_service_links_are_no_settings() -> None:
    """A service called kong-proxy in the namespace gives variables that only look like settings."""
    settings = load(
        KONG_PROXY_SERVICE_HOST="10.0.0.1",
        KONG_PROXY_SERVICE_PORT_KONG_PROXY="80",
        KONG_PROXY_PORT="tcp://10.0.0.1:80",
        KONG_PROXY_PORT_80_TCP_ADDR="10.0.0.1",
    )
    assert not [warning for warning in settings.warnings if "unknown" in warning]


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
