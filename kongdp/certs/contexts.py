"""TLS contexts of both sides: what a listener offers, what we demand of upstreams and of control planes.

In: PEM bytes and names as Kong's settings have them.  Out: `ssl.SSLContext`, or CertificateError that names what
cannot be used.
House rules: the ssl module only. Workers import this file, so neither cryptography nor a loop is loaded here. Private
keys reach OpenSSL through an anonymous memory file, never through the disk.
Cold: contexts are built when the configuration changes, or once for each certificate at its first handshake.
Source: proxy.md section 9, settings.md section 6 (Kong 3.9.1; cipher lists are Mozilla's), protocol notes 1.2.
"""

import ipaddress
import os
import ssl
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from kongdp.errors import KongdpError, Source

ALPN_HTTP1 = ("http/1.1",)

SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where distributions keep their trust store, in Kong's order of looking (util.lua); OpenSSL's own default comes
first here.
"""

INTERMEDIATE_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:"
    "DHE-RSA-CHACHA20-POLY1305"
)
OLD_CIPHERS = (
    INTERMEDIATE_CIPHERS
    + ":ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:"
    "ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA:DHE-RSA-AES128-SHA256:"
    "DHE-RSA-AES256-SHA256:AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA256:AES256-SHA256:AES128-SHA:AES256-SHA:@SECLEVEL=0"
)
"""TLS 1.0 and 1.1 need SHA-1 signatures, which OpenSSL 3 allows only at security level 0."""
FIPS_CIPHERS = "TLSv1.2+FIPS:kRSA+FIPS:!eNULL:!aNULL"

FFDHE2048 = b"""-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""
"""The group of RFC 7919 appendix A.1, which Kong names `ffdhe2048`."""

VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


SESSIONS_MAX = 128
"""Names whose last session one context towards upstreams keeps, about 20 KiB each; names may come from clients (preserve_host)."""

RECORD_BYTES_MAX = 1 << 14
"""Most plain text of one TLS record (RFC 8446 section 5.1), which is also the most that one read of OpenSSL gives."""

C = TypeVar("C", bound=ssl.SSLContext)


class CertificateError(KongdpError):
    """A certificate, key, trust anchor or cipher list that OpenSSL does not accept."""

    source = Source.OPERATOR


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate (PEM, with its chain behind it) and its private key (PEM). Never shown whole: the key is a
    secret.
    """

    cert: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"<Pair of {len(self.cert)} bytes>"


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a TLS listener speaks, whichever certificate it shows."""

    minimum: ssl.TLSVersion
    maximum: ssl.TLSVersion
    ciphers: str | None
    prefers_server_ciphers: bool
    session_tickets: bool
    dh_params: bytes | None = None
    verifies_client: ssl.VerifyMode = ssl.CERT_NONE
    client_anchors: str | None = None
    alpn: tuple[str, ...] = ALPN_HTTP1


SUITES = {
    "modern": (("TLSv1.3",), None, False, None),
    "intermediate": (("TLSv1.2", "TLSv1.3"), INTERMEDIATE_CIPHERS, False, FFDHE2048),
    "old": (("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"), OLD_CIPHERS, True, FFDHE2048),
    "fips": (("TLSv1.2",), FIPS_CIPHERS, True, FFDHE2048),
}
"""Kong's `ssl_cipher_suite` names: protocols, ciphers (of TLS 1.2 and below), whose order counts, Diffie-Hellman
group.
"""


def server_options(
    suite: str,
    *,
    protocols: Iterable[str] = ("TLSv1.2", "TLSv1.3"),
    ciphers: str | None = None,
    prefers_server_ciphers: bool = True,
    session_tickets: bool = True,
    dh_params: bytes | None = None,
    verifies_client: ssl.VerifyMode = ssl.CERT_NONE,
    client_anchors: str | None = None,
) -> ServerOptions:
    """Kong's TLS settings as options. `protocols`, `ciphers` and `prefers_server_ciphers` count only with the suite
    `custom`. `client_anchors`: PEM of the CAs that clients' certificates must come from.

    Protocols that leave a gap (1.0 and 1.3) are offered as the whole range between them. Raises CertificateError for
    a suite or protocol name that Kong does not have.
    """
    if suite in SUITES:
        protocols, ciphers, prefers_server_ciphers, group = SUITES[suite]
        dh_params = dh_params or group
    elif suite != "custom":
        raise CertificateError(f"unknown cipher suite {suite!r} ({', '.join([*SUITES, 'custom'])})")
    known = [VERSIONS[name] for name in protocols if name in VERSIONS]
    if not known:
        raise CertificateError(f"ssl_protocols names no usable protocol ({', '.join(VERSIONS)})")
    return ServerOptions(
        minimum=min(known),
        maximum=max(known),
        ciphers=ciphers or None,
        prefers_server_ciphers=prefers_server_ciphers,
        session_tickets=session_tickets,
        dh_params=FFDHE2048 if dh_params == b"ffdhe2048" else dh_params,
        verifies_client=verifies_client,
        client_anchors=client_anchors,
    )


class RecordReader(ssl.SSLObject):
    """A TLS connection that makes room for one record at each read, which fills no more.

    PERF: event loops ask for 256 KiB, for which every read maps memory and gives it back: 172 -> 11 us a read of 640 bytes here.
    """

    def read(self, len: int = RECORD_BYTES_MAX, buffer: Any = None) -> Any:
        """As in the base class, but never more than a record."""
        if buffer is not None:
            return super().read(len, buffer)
        return super().read(RECORD_BYTES_MAX if len > RECORD_BYTES_MAX else len)


class ListenerContext(ssl.SSLContext):
    """The context of a listener."""

    sslobject_class = RecordReader


def server_context(pairs: Sequence[Pair], options: ServerOptions) -> ssl.SSLContext:
    """A listener's context showing one certificate in up to one variant for each key type (RSA, ECDSA).

    Raises CertificateError for a pair that cannot be read or does not belong together.
    """
    context = ListenerContext(ssl.PROTOCOL_TLS_SERVER)
    _set_versions(context, (options.minimum, options.maximum))
    if options.ciphers is not None:
        _set_ciphers(context, options.ciphers)
    if not options.prefers_server_ciphers:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if not options.session_tickets:
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    if options.dh_params is not None:
        with _MemoryFile(options.dh_params) as path:
            _mapped("ssl_dhparam", context.load_dh_params, path)
    context.set_alpn_protocols(list(options.alpn))
    # in every context alike: after a choice by SNI the mode is still the first context's, but the anchors are the chosen one's
    context.verify_mode = options.verifies_client
    if options.client_anchors:
        _add_anchors(context, options.client_anchors.encode())
    for pair in pairs:
        load_pair(context, pair)
    return context


def load_pair(context: ssl.SSLContext, pair: Pair) -> None:
    """Give a context a certificate with its key. A second pair of another key type stands beside the first. Raises
    CertificateError.
    """
    with _MemoryFile(pair.cert) as cert_path, _MemoryFile(pair.key) as key_path:
        _mapped("certificate", context.load_cert_chain, cert_path, key_path, _no_passphrase)


def cluster_client_context(pair: Pair | None, anchors: Sequence[bytes], *, trusts_system: bool) -> ssl.SSLContext:
    """A data plane's context towards its control plane: always verifies, shows `pair`, trusts `anchors` (PEM) and
    perhaps the system.

    VERIFY_X509_STRICT is cleared: Python 3.13 sets it in `create_default_context`, and it refuses the certificate
    that `kong hybrid gen_cert` makes (X.509 version 1, no extensions) as a trust anchor. Names in the subject's CN
    count where there is no SAN, because that certificate has none either.
    """
    context = _client_context(trusts_system)
    context.check_hostname = True
    context.verify_mode = ssl.CERT_REQUIRED
    for anchor in anchors:
        _add_anchors(context, anchor)
    if pair is not None:
        load_pair(context, pair)
    return context


def unverified_context() -> ssl.SSLContext:
    """A client context that accepts any server. For one purpose: fetching a CA certificate whose fingerprint is
    compared next.
    """
    context = _client_context(trusts_system=False)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def upstream_client_context(
    *,
    verify: bool,
    anchors: Sequence[bytes] = (),
    pair: Pair | None = None,
    protocols: Iterable[str] = ("TLSv1.2", "TLSv1.3"),
) -> "ResumingContext":
    """A context towards a service's targets (ALPN http/1.1). Protocols that leave a gap count as the whole range.

    With `verify` the chain must end in `anchors` and the name must match; without anchors nothing is trusted, as in
    Kong. Depth is not OpenSSL's business here, see `count_issuers`.
    """
    context = _prepared(ResumingContext(ssl.PROTOCOL_TLS_CLIENT), trusts_system=False)
    _set_versions(context, [VERSIONS[name] for name in protocols])
    context.check_hostname = verify
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    context.set_alpn_protocols(list(ALPN_HTTP1))
    if verify:
        for anchor in anchors:
            _add_anchors(context, anchor)
    if pair is not None:
        load_pair(context, pair)
    return context


def upstream_server_name(host: str) -> str | None:
    """The SNI for a Host as it is sent upstream: without port, None for addresses (nginx's rule)."""
    if host.startswith("["):
        return None
    name = host.partition(":")[0] if host.count(":") == 1 else host
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name or None
    return None


def count_issuers(ssl_object: Any) -> int | None:
    """Certificates above the peer's own in the verified chain, with the trust anchor; None where Python cannot tell.

    The ssl module has no setting for a verify depth, so whoever dials compares with `issuers_max` after the handshake
    and before the first byte.
    """
    get_chain = getattr(ssl_object, "get_verified_chain", None) or getattr(
        getattr(ssl_object, "_sslobj", None), "get_verified_chain", None
    )
    chain = get_chain() if get_chain is not None else None
    return len(chain) - 1 if chain else None


def issuers_max(verify_depth: int) -> int:
    """How many issuers a verify depth allows: none for 0, else that many intermediates and the anchor.

    OpenSSL 3 itself takes a certificate that an anchor signed at depth 0 already (tried); a Kong at depth 0 refuses it
    (proxy.md section 9), so 0 is left for a certificate that is an anchor itself. From 1 on both say the same.
    """
    return verify_depth + 1 if verify_depth else 0


class ResumingContext(ssl.SSLContext):
    """A client context whose connections resume the session that an earlier one to the same name has left behind.

    asyncio and uvloop have no argument for a session, but both make their TLS objects by `wrap_bio`. A session is kept
    as the connection's own TLS object, because tickets of TLS 1.3 come after the handshake.
    """

    sslobject_class = RecordReader

    _left: dict[str, ssl.SSLObject]

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """As in the base class, with the name's session if there is one."""
        left = getattr(self, "_left", {}).get(server_hostname)
        if session is None and left is not None and left.session is not None and left.session.has_ticket:
            session = left.session
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    def remember(self, connection: ssl.SSLObject) -> None:
        """Let later connections to the same name resume this one's session. Only for one that passed every check.

        A resumed handshake shows no certificate: it stands on the checks of the first one.
        """
        if not hasattr(self, "_left"):
            self._left = {}
        name = connection.server_hostname or ""
        self._left.pop(name, None)
        if len(self._left) >= SESSIONS_MAX:
            del self._left[next(iter(self._left))]
        self._left[name] = connection


def _client_context(trusts_system: bool) -> ssl.SSLContext:
    return _prepared(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), trusts_system=trusts_system)


def _prepared(context: C, *, trusts_system: bool) -> C:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if trusts_system:
        context.load_default_certs()
        if not context.cert_store_stats()["x509_ca"]:
            for path in SYSTEM_BUNDLES:
                if os.path.exists(path):
                    context.load_verify_locations(cafile=path)
                    break
    return context


def _add_anchors(context: ssl.SSLContext, anchors: bytes) -> None:
    try:
        text = anchors.decode("ascii")
    except UnicodeDecodeError:
        raise CertificateError("trust anchor: not PEM") from None
    _mapped("trust anchor", lambda: context.load_verify_locations(cadata=text))


def _set_versions(context: ssl.SSLContext, versions: Sequence[ssl.TLSVersion]) -> None:
    with warnings.catch_warnings():
        # old versions are asked for by name; Python warns about TLS 1.0
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = min(versions), max(versions)


def _set_ciphers(context: ssl.SSLContext, ciphers: str) -> None:
    try:
        context.set_ciphers(ciphers)
    except ssl.SSLError:
        raise CertificateError(f"ssl_ciphers: OpenSSL knows none of {ciphers[:200]!r}") from None


def _mapped(what: str, function: Callable[..., object], *arguments: object) -> None:
    """Call into OpenSSL; its errors become ours, with the reason but without paths of memory files."""
    try:
        function(*arguments)
    except ssl.SSLError as error:
        reason = error.reason or ("not pem, or damaged" if "PEM lib" in str(error) else str(error))
        raise CertificateError(f"{what}: {reason.replace('_', ' ').lower()}") from None
    except (OSError, ValueError) as error:
        raise CertificateError(f"{what}: {error}") from None


def _no_passphrase() -> str:
    """An encrypted key must fail, not ask on the terminal of whoever started the node."""
    raise CertificateError("the private key is encrypted; keys must be stored without passphrase")


class _MemoryFile:
    """Bytes under a path that only this process can open, for OpenSSL functions that insist on files."""

    __slots__ = ("_data", "_fd")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._fd = -1

    def __enter__(self) -> str:
        self._fd = os.memfd_create("pem", os.MFD_CLOEXEC)
        with open(self._fd, "wb", closefd=False) as file:
            file.write(self._data)
        return f"/proc/self/fd/{self._fd}"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
