"""What settings must be to each other: certificates with their keys, roles, settings that nothing acts on."""

import ast
import base64
from pathlib import Path

import pytest

from kongdp.settings import SettingsError, load_settings
from kongdp.settings.foreign import UNUSED, WITHOUT_EFFECT
from kongdp.settings.model import KEYS, ROWS
from tests.support.node_settings import CONF, load, problems


def test_settings_of_kong_without_effect_say_why_or_nothing() -> None:
    """A kong.conf may go on naming what we do not need; only what an operator could miss is mentioned."""
    settings = load(KONG_PG_HOST="db", KONG_MEM_CACHE_SIZE="1g", KONG_NGINX_DAEMON="off", KONG_NGINX_HTTP_GZIP="on")
    assert [warning for warning in settings.warnings if "no effect" in warning] == [
        "setting KONG_PG_HOST has no effect: a control plane's database is named by kongdp_database_url",
        "setting KONG_NGINX_HTTP_GZIP has no effect: this nginx directive is not mapped",
    ]


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


def test_activity_is_kept_longer_the_wider_its_steps() -> None:
    """What became wider cannot become finer again; equal is possible."""
    load(KONGDP_ACTIVITY_10S_KEPT_S="90000", KONGDP_ACTIVITY_1M_KEPT_S="90000")
    assert problems(KONGDP_ACTIVITY_1M_KEPT_S="1000", KONGDP_ACTIVITY_1H_KEPT_S="86400") == [
        "kongdp_activity_1m_kept_s must not be less than kongdp_activity_10s_kept_s"
    ]
    assert problems(KONGDP_ACTIVITY_1M_KEPT_S="90001", KONGDP_ACTIVITY_1H_KEPT_S="90000") == [
        "kongdp_activity_1h_kept_s must not be less than kongdp_activity_1m_kept_s"
    ]
