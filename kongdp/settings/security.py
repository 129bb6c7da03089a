"""Settings of TLS, of hybrid mode, of enrolment and of the control plane. See rows.py for how to read this table."""

from dataclasses import dataclass
from typing import NamedTuple

from kongdp.settings.kinds import (
    BOOLEAN,
    FINGERPRINT,
    HOST_PORT,
    LABELS,
    MAYBE_TEXT,
    TEXT,
    TEXTS,
    number,
    optional,
    sized,
    spaced_words,
    whole,
    words,
)
from kongdp.settings.pem import CERTIFICATE, CERTIFICATES, DH_PARAMETERS, KEY, KEYS, TRUSTED_CERTIFICATES
from kongdp.settings.rows import elsewhere, setting

TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")


class CipherSuite(NamedTuple):
    """What a value of ssl_cipher_suite stands for; the ciphers are those of TLS 1.2 and older."""

    protocols: tuple[str, ...]
    ciphers: str
    prefer_server_ciphers: bool


_INTERMEDIATE = ":".join(
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "DHE-RSA-AES128-GCM-SHA256",
        "DHE-RSA-AES256-GCM-SHA384",
        "DHE-RSA-CHACHA20-POLY1305",
    )
)
# Mozilla's server side TLS recommendations under Kong's names; `old` also needs OpenSSL's security level 0 for its
# versions.
CIPHER_SUITES = {
    "modern": CipherSuite(("TLSv1.3",), "", False),
    "intermediate": CipherSuite(("TLSv1.2", "TLSv1.3"), _INTERMEDIATE, False),
    "old": CipherSuite(
        TLS_VERSIONS,
        f"{_INTERMEDIATE}:"
        "ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:"
        "ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA:"
        "DHE-RSA-AES128-SHA256:DHE-RSA-AES256-SHA256:AES128-GCM-SHA256:AES256-GCM-SHA384:"
        "AES128-SHA256:AES256-SHA256:AES128-SHA:AES256-SHA:DES-CBC3-SHA:@SECLEVEL=0",
        True,
    ),
    "fips": CipherSuite(
        ("TLSv1.2",),
        "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
        "ECDHE-RSA-AES256-GCM-SHA384",
        True,
    ),
}


@dataclass(frozen=True, kw_only=True)
class TlsSettings:
    """TLS"""

    ssl_cert: tuple[str, ...] = setting(
        CERTIFICATES,
        "",
        "Default certificate (with its chain) of proxy_listen addresses with ssl: a path, PEM text or base64 of "
        "PEM; two of them for RSA and ECDSA. Unset: a self-signed pair is made in <prefix>/ssl.",
    )
    ssl_cert_key: tuple[str, ...] = setting(KEYS, "", "Its key, in the same order.", secret=True)
    ssl_cipher_suite: str = setting(
        words("modern", "intermediate", "old", "fips", "custom"),
        "intermediate",
        "Versions and ciphers by Mozilla's names: modern is TLS 1.3 only, intermediate 1.2 and 1.3, old everything, "
        "fips 1.2 with approved ciphers. custom takes the following settings.",
    )
    ssl_protocols: tuple[str, ...] = setting(
        spaced_words(*TLS_VERSIONS), "TLSv1.2 TLSv1.3", "Versions; counts only with custom.",
        aliases=elsewhere("ssl_protocols", "http", "proxy"),
    )  # fmt: skip
    ssl_ciphers: str | None = setting(
        MAYBE_TEXT,
        "",
        "OpenSSL cipher list; counts only with custom.",
        aliases=elsewhere("ssl_ciphers", "http", "proxy"),
    )
    ssl_prefer_server_ciphers: bool = setting(
        BOOLEAN,
        "on",
        "Whose order of ciphers wins; counts only with custom.",
        aliases=elsewhere("ssl_prefer_server_ciphers", "http", "proxy"),
    )
    ssl_dhparam: str | None = setting(
        DH_PARAMETERS,
        "",
        "Diffie-Hellman parameters: a path, PEM text, base64, or ffdhe2048. Unset: ffdhe2048, with custom none.",
    )
    ssl_session_tickets: bool = setting(
        BOOLEAN,
        "on",
        "Resume sessions by tickets. Each worker has keys of its own, so a session resumes only where it began.",
    )
    nginx_http_ssl_verify_client: str = setting(
        words("off", "on", "optional"),
        "off",
        "Ask clients for a certificate; on: demand it. One that fails verification ends the handshake (nginx answers "
        "400). optional_no_ca cannot be had: Python's TLS passes no certificate that it has not verified.",
        aliases=elsewhere("ssl_verify_client", "proxy"),
    )
    nginx_http_ssl_client_certificate: str | None = setting(
        CERTIFICATE,
        "",
        "CA certificates for clients' certificates.",
        aliases=elsewhere("ssl_client_certificate", "proxy"),
    )
    client_ssl: bool = setting(
        BOOLEAN, "off", "Present client_ssl_cert to upstreams of services that have no certificate of their own."
    )
    client_ssl_cert: str | None = setting(CERTIFICATE, "", "That certificate.")
    client_ssl_cert_key: str | None = setting(KEY, "", "Its key.", secret=True)
    status_ssl_cert: tuple[str, ...] = setting(CERTIFICATES, "", "Certificate of status_listen addresses with ssl.")
    status_ssl_cert_key: tuple[str, ...] = setting(KEYS, "", "Its key.", secret=True)
    admin_ssl_cert: tuple[str, ...] = setting(CERTIFICATES, "", "Certificate of admin_listen addresses with ssl.")
    admin_ssl_cert_key: tuple[str, ...] = setting(KEYS, "", "Its key.", secret=True)
    admin_gui_ssl_cert: tuple[str, ...] = setting(
        CERTIFICATES, "", "Certificate of admin_gui_listen addresses with ssl."
    )
    admin_gui_ssl_cert_key: tuple[str, ...] = setting(KEYS, "", "Its key.", secret=True)
    lua_ssl_trusted_certificate: tuple[str, ...] = setting(
        TRUSTED_CERTIFICATES,
        "system",
        "CA certificates for connections that the node itself makes (control plane, plugins): system, paths, PEM, "
        "base64. Not for proxied upstreams.",
    )
    lua_ssl_verify_depth: int = setting(whole(0, 100), "1", "Intermediate certificates allowed in such a chain.")
    lua_ssl_protocols: tuple[str, ...] = setting(
        spaced_words(*TLS_VERSIONS), "TLSv1.2 TLSv1.3", "Versions of such connections."
    )
    nginx_proxy_proxy_ssl_trusted_certificate: str | None = setting(
        CERTIFICATE,
        "",
        "CA certificates for upstreams whose service names none.",
        aliases=elsewhere("proxy_ssl_trusted_certificate", "http", "location"),
    )
    nginx_proxy_proxy_ssl_verify: bool = setting(
        BOOLEAN,
        "off",
        "Verify upstreams whose service does not say.",
        aliases=elsewhere("proxy_ssl_verify", "http", "location"),
    )
    nginx_proxy_proxy_ssl_verify_depth: int = setting(
        whole(0, 100),
        "1",
        "Intermediate certificates allowed in an upstream's chain, for services that do not say; 0 takes only a certificate "
        "that is trusted itself.",
        aliases=elsewhere("proxy_ssl_verify_depth", "http", "location"),
    )
    nginx_proxy_proxy_ssl_protocols: tuple[str, ...] = setting(
        spaced_words(*TLS_VERSIONS),
        "TLSv1.2 TLSv1.3",
        "Versions of connections to upstreams.",
        aliases=elsewhere("proxy_ssl_protocols", "http", "location"),
    )


@dataclass(frozen=True, kw_only=True)
class HybridSettings:
    """Hybrid mode: data plane and control plane"""

    cluster_control_plane: str = setting(HOST_PORT, "127.0.0.1:8005", "Where the control plane takes data planes.")
    cluster_cert: str | None = setting(
        CERTIFICATE,
        "",
        "The node's certificate towards the control plane: a path, PEM text or base64 of PEM. A data plane that enrols "
        "(kongdp_enroll_url) gets its own and needs none here. `kongdp hybrid gen_cert` makes a shared pair.",
    )
    cluster_cert_key: str | None = setting(KEY, "", "Its key.", secret=True)
    cluster_mtls: str = setting(
        words("shared", "pki"),
        "shared",
        "shared: every node has the same certificate; pki: each has its own of a common CA.",
    )
    cluster_ca_cert: str | None = setting(CERTIFICATE, "", "The CA of pki.")
    cluster_server_name: str | None = setting(
        MAYBE_TEXT, "", "Name in the control plane's certificate (pki); unset: the host of cluster_control_plane."
    )
    cluster_telemetry_endpoint: str | None = setting(
        optional(HOST_PORT),
        "",
        "Where the control plane takes counters; unset: port 8006 of the control plane's host. Used only with a "
        "control plane that announces that it takes them.",
    )
    cluster_telemetry_server_name: str | None = setting(
        MAYBE_TEXT, "", "Name in the certificate there; unset: as for the control plane."
    )
    cluster_dp_labels: tuple[tuple[str, str], ...] = setting(
        LABELS, "", "Labels of a data plane that its control plane shows: key:value, at most 10."
    )
    cluster_max_payload: int = setting(
        whole(0), "16777216", "Largest configuration message, compressed; at least 4194304.", unit="bytes"
    )
    cluster_ocsp: str = setting(words("off", "on", "optional"), "off", "Revocation checks by the control plane (pki).")
    cluster_data_plane_purge_delay: float = setting(
        number(0), "1209600", "After this long without contact a data plane leaves the list.", unit="seconds"
    )
    cluster_use_proxy: bool = setting(BOOLEAN, "off", "Reach the control plane through proxy_server.")
    proxy_server: str | None = setting(
        MAYBE_TEXT, "", "HTTP proxy for cluster_use_proxy: http(s)://[user:password@]host:port.", secret=True
    )
    proxy_server_ssl_verify: bool = setting(BOOLEAN, "on", "Verify that proxy's certificate.")
    konnect_mode: bool = setting(
        BOOLEAN, "off", "on: tell the control plane about configurations that could not be applied."
    )


@dataclass(frozen=True, kw_only=True)
class EnrolmentSettings:
    """Enrolment of a data plane"""

    kongdp_enroll_url: str | None = setting(
        MAYBE_TEXT,
        "",
        "Base URL of the control plane's enrolment service. The node makes its key, gets its certificate there and "
        "renews it at two thirds of its life.",
    )
    kongdp_enroll_user: str | None = setting(MAYBE_TEXT, "", "User of the control plane who may enrol nodes.")
    kongdp_enroll_password_file: str | None = setting(MAYBE_TEXT, "", "File whose first line is the user's password.")
    kongdp_enroll_token: str | None = setting(
        MAYBE_TEXT, "", "One-time token, instead of user and password.", secret=True
    )
    kongdp_enroll_ca: str | None = setting(
        CERTIFICATE, "", "CA certificate of the enrolment URL; unset: the system's store or the fingerprint."
    )
    kongdp_enroll_ca_fingerprint: str | None = setting(
        optional(FINGERPRINT),
        "",
        "SHA-256 of that CA certificate (DER), where the certificate itself is not at hand.",
    )


@dataclass(frozen=True, kw_only=True)
class ControlPlaneSettings:
    """Control plane"""

    kongdp_database_url: str | None = setting(
        MAYBE_TEXT,
        "",
        "The control plane's database, as postgresql://user:password@host/name or sqlite:///path; unset: "
        "<prefix>/controlplane.db.",
        secret=True,
    )
    kongdp_cert_lifetime_s: float = setting(
        number(1),
        "15811200",
        "Life of the certificates that data planes get when they enrol (183 days).",
        unit="seconds",
    )
    kongdp_cluster_names: tuple[str, ...] = setting(
        TEXTS, "", "Further names and addresses for the control plane's own certificate."
    )
    kongdp_activity_10s_kept_s: float = setting(
        number(900),
        "3600",
        "How long the record of status codes keeps steps of 10 seconds; then they become minutes.",
        unit="seconds",
    )
    kongdp_activity_1m_kept_s: float = setting(
        number(900),
        "90000",
        "How long it keeps minutes (25 hours); then they become hours. At least kongdp_activity_10s_kept_s.",
        unit="seconds",
    )
    kongdp_activity_1h_kept_s: float = setting(
        number(86400),
        "31622400",
        "How long it keeps hours (366 days); then they go. The number of requests ever counted stays. At least "
        "kongdp_activity_1m_kept_s.",
        unit="seconds",
    )
    kongdp_document_max_size: int = setting(
        sized(1024, 4 << 20),
        "256k",
        "Largest Markdown document of a service. Rendering takes about a second for 256k.",
        unit="bytes",
    )
    kongdp_spec_max_size: int = setting(
        sized(1024, 16 << 20),
        "1m",
        "Largest OpenAPI document of a version. However large, it may have 60,000 values, 64 deep.",
        unit="bytes",
    )
    kongdp_oidc_issuer: str | None = setting(
        MAYBE_TEXT,
        "",
        "OpenID Connect: the provider by which people may sign in to the console, as its discovery document names "
        "itself (https; http only on loopback). Unset: passwords alone.",
    )
    kongdp_oidc_client_id: str | None = setting(MAYBE_TEXT, "", "Our name at that provider.")
    kongdp_oidc_client_secret: str | None = setting(
        MAYBE_TEXT, "", "Our secret there; unset for a public client. PKCE is always used.", secret=True
    )
    kongdp_oidc_scopes: tuple[str, ...] = setting(TEXTS, "openid, profile, email", "What is asked of it.")
    kongdp_oidc_redirect_uri: str | None = setting(
        MAYBE_TEXT,
        "",
        "Where it sends people back, as registered there: the console's address and /auth/oidc/callback. Unset: the "
        "address that the browser used.",
    )
    kongdp_oidc_name_claim: str = setting(TEXT, "email", "Claim that names a new user.")
    kongdp_oidc_roles_claim: str = setting(TEXT, "groups", "Claim with the person's groups or roles there.")
    kongdp_oidc_roles: tuple[str, ...] = setting(
        TEXTS,
        "",
        "What those stand for here: a list of group=role, role being viewer, editor or admin. The highest counts, at "
        "each sign-in anew.",
    )
    kongdp_oidc_default_role: str = setting(
        words("none", "viewer", "editor", "admin"), "none", "Role of whoever has no such group. none: refused."
    )
    kongdp_oidc_domains: tuple[str, ...] = setting(
        TEXTS, "", "Only people with a verified e-mail address in one of these domains may sign in; unset: all."
    )
