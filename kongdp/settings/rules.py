"""What several settings must agree on: a list of rules, each a function from settings to problems.

In: Settings whose single values are valid.  Out: every problem as a sentence.  Warnings about accepted but weaker
things come from `warn`. Knows nothing of sources.
Cold. Source: Kong 3.9 conf_loader/parse.lua for what hybrid mode and certificates ask; "ours" where a rule says so.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from urllib.parse import urlsplit

from kongdp.settings.foreign import UNUSED
from kongdp.settings.listening import Listener
from kongdp.settings.model import Settings
from kongdp.settings.pem import check_pair
from kongdp.settings.rows import environment_name

LABELS_MAX = 10
PAYLOAD_BYTES_MIN = 4194304
PURGE_DELAY_S_MIN = 60
LOOPBACK = ("localhost", "127.0.0.1", "::1")

Rule = Callable[[Settings], Iterator[str]]


def find_problems(settings: Settings) -> list[str]:
    """Every broken rule, in the order of RULES."""
    return [problem for rule in RULES for problem in rule(settings)]


def warn(settings: Settings) -> list[str]:
    """What works, but not as the operator may expect."""
    warnings = []
    if any(listener.http2 for listener in settings.proxy_listen) and settings.role != "control_plane":
        warnings.append("proxy_listen: http2 is accepted, but clients are offered HTTP/1.1")
    if settings.ssl_cipher_suite != "custom":
        ignored = [name for name in ("ssl_protocols", "ssl_ciphers") if name in settings.given]
        warnings += [f"{name} counts only with ssl_cipher_suite = custom" for name in ignored]
    statuses = [word for word in settings.nginx_proxy_proxy_next_upstream if word.startswith("http_")]
    if statuses:
        warnings.append(
            f"nginx_proxy_proxy_next_upstream: {' '.join(statuses)} has no effect: no status is tried again"
        )
    unused = [name for name in settings.given if name in UNUSED and not UNUSED[name][1]]
    warnings += [f"setting {name} has no effect: {UNUSED[name][0]}" for name in sorted(unused)]
    if settings.role == "data_plane" and "admin_listen" in settings.given and settings.admin_listen:
        warnings.append("admin_listen is not opened by a data plane")
    return warnings


def _role(settings: Settings) -> Iterator[str]:
    if settings.role == "traditional" and settings.database != "off":
        yield (
            "role = traditional needs database = off (a DB-less node). "
            "Hint: a gateway with a database is a control plane, `kongdp control-plane run`, and data planes with "
            f"{environment_name('role')}=data_plane {environment_name('database')}=off that join it"
        )
    if settings.role == "data_plane" and settings.database != "off":
        yield (
            'only in-memory storage can be used when role = "data_plane". '
            f"Hint: set database = off in your settings file ({environment_name('database')}=off)"
        )
    if settings.role == "control_plane" and settings.database == "off":
        yield 'in-memory storage can not be used when role = "control_plane"'
    if settings.cluster_dp_labels and settings.role != "data_plane":
        yield 'cluster_dp_labels can only be used when role = "data_plane"'
    if len(settings.cluster_dp_labels) > LABELS_MAX:
        yield f"cluster_dp_labels: labels validation failed: count exceeded {LABELS_MAX} max elements"


def _listening(settings: Settings) -> Iterator[str]:
    if settings.stream_listen:
        yield "stream_listen: TCP and TLS streams are not proxied by this version; set it to off"
    if not settings.proxy_listen and settings.role != "control_plane":
        yield f'proxy_listen must be specified when role = "{settings.role}"'
    taken: dict[str, str] = {}
    for name, listeners in opened(settings).items():
        for listener in listeners:
            rival = _rival(listener, taken)
            if rival is not None:
                yield f"{name} and {rival} both name {listener.place}"
            taken.setdefault(listener.place, name)


def opened(settings: Settings) -> dict[str, tuple[Listener, ...]]:
    """The addresses that a node of this role opens, by setting."""
    names: tuple[str, ...] = ("proxy_listen", "status_listen")
    if settings.role == "traditional":
        names = ("proxy_listen", "status_listen", "admin_listen")
    if settings.role == "control_plane":
        names = (
            "admin_listen",
            "admin_gui_listen",
            "kongdp_portal_listen",
            "cluster_listen",
            "kongdp_cluster_telemetry_listen",
        )
    return {name: getattr(settings, name) for name in names}


def _rival(listener: Listener, taken: dict[str, str]) -> str | None:
    """The setting that already has this address, also by having the port on every address (ours: nginx finds out by
    binding).
    """
    if listener.path is None and listener.port == 0:
        return None
    places = [listener.place]
    if listener.path is None:
        wildcard, family = ("::", "[::]") if listener.is_ipv6 else ("0.0.0.0", "0.0.0.0")
        places.append(f"{family}:{listener.port}")
        if listener.address == wildcard:
            suffix = f":{listener.port}"
            places += [place for place in taken if place.endswith(suffix) and place.startswith("[") == listener.is_ipv6]
    return next((taken[place] for place in places if place in taken), None)


def _certificates(settings: Settings) -> Iterator[str]:
    for prefix in ("", "status_", "admin_", "admin_gui_"):
        name = f"{prefix}ssl_cert"
        yield from _pairs(name, getattr(settings, name), getattr(settings, f"{name}_key"))
    yield from _pairs("client_ssl_cert", _maybe(settings.client_ssl_cert), _maybe(settings.client_ssl_cert_key))
    yield from _pairs("cluster_cert", _maybe(settings.cluster_cert), _maybe(settings.cluster_cert_key))
    if settings.client_ssl and settings.client_ssl_cert is None:
        yield "client_ssl_cert must be specified when client_ssl is on"
    if settings.nginx_http_ssl_verify_client in ("on", "optional") and not settings.nginx_http_ssl_client_certificate:
        yield "nginx_http_ssl_client_certificate must be specified when nginx_http_ssl_verify_client is on"


def _maybe(value: str | None) -> tuple[str, ...]:
    return () if value is None else (value,)


def _pairs(name: str, certificates: tuple[str, ...], keys: tuple[str, ...]) -> Iterator[str]:
    key_name = f"{name}_key"
    if certificates and not keys:
        yield f"{key_name} must be specified"
    elif keys and not certificates:
        yield f"{name} must be specified"
    elif len(certificates) != len(keys):
        yield f"{name} was specified {len(certificates)} times while {key_name} was specified {len(keys)} times"
    else:
        for certificate, key in zip(certificates, keys, strict=True):
            problem = check_pair(name, certificate, key_name, key)
            if problem is not None:
                yield problem


def _hybrid(settings: Settings) -> Iterator[str]:
    if settings.role == "data_plane" and not _has_identity(settings):
        yield (
            "cluster certificate and key must be provided to use Hybrid mode. "
            "Hint: set cluster_cert and cluster_cert_key, "
            f"or let the node enrol with {environment_name('kongdp_enroll_url')}"
        )
    has_own_pair = settings.role == "control_plane" and settings.cluster_cert is not None
    if has_own_pair and settings.cluster_mtls == "pki" and settings.cluster_ca_cert is None:
        yield 'cluster_ca_cert must be specified when cluster_mtls = "pki"'
    if settings.cluster_use_proxy and not settings.proxy_server:
        yield "cluster_use_proxy is turned on but no proxy_server is configured"
    if settings.cluster_data_plane_purge_delay < PURGE_DELAY_S_MIN:
        yield f"cluster_data_plane_purge_delay must be {PURGE_DELAY_S_MIN} or greater"
    if settings.cluster_max_payload < PAYLOAD_BYTES_MIN:
        yield f"cluster_max_payload must be {PAYLOAD_BYTES_MIN} (4MB) or greater"


def _has_identity(settings: Settings) -> bool:
    if settings.cluster_cert and settings.cluster_cert_key:
        return True
    if settings.cluster_cert or settings.cluster_cert_key:
        return True  # the half pair is reported by _certificates
    paths = settings.paths
    return bool(settings.kongdp_enroll_url) or (paths.cluster_certificate.is_file() and paths.cluster_key.is_file())


def _enrolment(settings: Settings) -> Iterator[str]:
    """Ours."""
    if settings.kongdp_enroll_url is None:
        return
    parts = urlsplit(settings.kongdp_enroll_url)
    is_local = parts.hostname in LOOPBACK
    if parts.scheme not in ("http", "https") or not parts.hostname:
        yield f"kongdp_enroll_url must be an http(s) URL, got '{settings.kongdp_enroll_url}'"
    elif parts.scheme == "http" and not is_local:
        yield "kongdp_enroll_url must be an https URL, because a password or token is sent there"
    if parts.username or parts.password:
        yield "kongdp_enroll_url must not hold credentials; use kongdp_enroll_user and kongdp_enroll_password_file"
    has_user = settings.kongdp_enroll_user is not None
    if has_user != (settings.kongdp_enroll_password_file is not None):
        yield "kongdp_enroll_user and kongdp_enroll_password_file must be given together"
    is_enrolled = settings.paths.cluster_certificate.is_file()
    if not has_user and settings.kongdp_enroll_token is None and not is_enrolled:
        yield "kongdp_enroll_url needs kongdp_enroll_token, or kongdp_enroll_user and kongdp_enroll_password_file"


def _declarative(settings: Settings) -> Iterator[str]:
    if settings.declarative_config and settings.declarative_config_string:
        yield "declarative_config and declarative_config_string cannot both be given"


def _activity(settings: Settings) -> Iterator[str]:
    """Ours: what became wider cannot become finer again."""
    names = ("kongdp_activity_10s_kept_s", "kongdp_activity_1m_kept_s", "kongdp_activity_1h_kept_s")
    for finer, wider in pairwise(names):
        if getattr(settings, wider) < getattr(settings, finer):
            yield f"{wider} must not be less than {finer}"


def _oidc(settings: Settings) -> Iterator[str]:
    issuer = settings.kongdp_oidc_issuer
    if issuer is None:
        return
    parsed = urlsplit(issuer)
    is_local = parsed.scheme == "http" and parsed.hostname in ("127.0.0.1", "::1", "localhost")
    if not (parsed.scheme == "https" or is_local) or not parsed.hostname or parsed.query or parsed.fragment:
        yield "kongdp_oidc_issuer must be an https address without query (http only on loopback)"
    if settings.kongdp_oidc_client_id is None:
        yield "kongdp_oidc_client_id must be specified with kongdp_oidc_issuer"
    for each in settings.kongdp_oidc_roles:
        group, mark, role = each.rpartition("=")
        if not (mark and group) or role not in ("viewer", "editor", "admin"):
            yield f"kongdp_oidc_roles: {each!r} is not of the form group=viewer, group=editor or group=admin"


RULES: tuple[Rule, ...] = (_role, _listening, _certificates, _hybrid, _enrolment, _declarative, _activity, _oidc)
