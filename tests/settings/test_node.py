"""The value that the rest of the node gets, and the commented file that describes it."""

import json
from pathlib import Path

from kongdp.settings import Settings, load_settings
from kongdp.settings.document import render
from kongdp.settings.model import ROWS
from tests.support.node_settings import CONF, conf, load


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
