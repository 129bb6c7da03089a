"""As whom the node meets its control plane, and whom it trusts there: the configured pair, or the certificate it
enrolled for.

In: settings, `<prefix>/certs`, time.  Out: TLS contexts for sync and counters, the names to verify, and the
certificate's expiry.
House rules: of the two, an enrolled certificate is this module's to get and to renew; a configured one is the
operator's, and only its end is announced. Decisions about time are certs.renewal's; the key never leaves the node.
Cold: asked at each connection; `tick` once a second. Source: protocol notes 1.2 and 7.4.
"""

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kongdp.certs import identity, issuer, renewal
from kongdp.certs.contexts import CertificateError, Pair, cluster_client_context
from kongdp.certs.est import EnrolmentError, EnrolmentPending
from kongdp.certs.identity import NodeCertificate
from kongdp.certs.issuer import Enrolment
from kongdp.certs.renewal import Attempts, Urgency, Validity
from kongdp.errors import KongdpError, Source
from kongdp.process.logs import NOTICE
from kongdp.settings import Settings
from kongdp.sync.link import SHARED_SERVER_NAME, Endpoint, ProxyServer

log = logging.getLogger("kongdp.certs")

TELEMETRY_PORT = 8006
SYSTEM = "system"

_SAYINGS = {
    Urgency.WARNING: (logging.WARNING, "ends in %.1f days"),
    Urgency.ERROR: (logging.ERROR, "ends in %.1f days: renew it now"),
    Urgency.EXPIRED: (
        logging.ERROR,
        "has ended %.1f days ago: the control plane will refuse this node, traffic goes on",
    ),
}


class ProxyError(KongdpError):
    """proxy_server names something that cannot be used to reach the control plane."""

    source = Source.OPERATOR


@dataclass(frozen=True, slots=True)
class Identity:
    """What a connection to the control plane is made with."""

    pair: Pair
    anchors: tuple[bytes, ...]
    trusts_system: bool
    validity: Validity
    subject: str = ""
    serial: str = ""

    def context(self) -> ssl.SSLContext:
        """A context for the next connection. Raises CertificateError."""
        return cluster_client_context(self.pair, self.anchors, trusts_system=self.trusts_system)


def configured_identity(settings: Settings) -> Identity | None:
    """The pair of cluster_cert and cluster_cert_key, with what it trusts; None when the node enrols. Raises
    CertificateError.
    """
    if not settings.cluster_cert or not settings.cluster_cert_key:
        return None
    pair = Pair(settings.cluster_cert.encode(), settings.cluster_cert_key.encode())
    listed = [entry.encode() for entry in settings.lua_ssl_trusted_certificate if entry != SYSTEM]
    own = settings.cluster_cert if settings.cluster_mtls == "shared" else settings.cluster_ca_cert
    anchors = (*listed, own.encode()) if own else tuple(listed)
    trusts_system = SYSTEM in settings.lua_ssl_trusted_certificate
    return Identity(pair, anchors, trusts_system, identity.validity(pair.cert))


def endpoints(settings: Settings) -> tuple[Endpoint, Endpoint]:
    """(control plane, its telemetry listener), each with the name to verify. Raises ProxyError."""
    host, port = _split(settings.cluster_control_plane)
    proxy = _proxy(settings.proxy_server) if settings.cluster_use_proxy and settings.proxy_server else None
    if settings.cluster_cert and settings.cluster_mtls == "shared":
        name = SHARED_SERVER_NAME
    elif settings.cluster_cert:
        name = settings.cluster_server_name or host
    else:
        name = settings.cluster_server_name or issuer.SERVER_NAME
    telemetry = settings.cluster_telemetry_endpoint
    telemetry_host, telemetry_port = _split(telemetry) if telemetry else (host, TELEMETRY_PORT)
    telemetry_name = settings.cluster_telemetry_server_name or name
    return Endpoint(host, port, name, proxy), Endpoint(telemetry_host, telemetry_port, telemetry_name, proxy)


def read_enrolment(settings: Settings) -> Enrolment:
    """How to ask for a certificate. Raises EnrolmentError when the password file cannot be read."""
    assert settings.kongdp_enroll_url is not None
    password = None
    if settings.kongdp_enroll_password_file:
        try:
            lines = Path(settings.kongdp_enroll_password_file).read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise EnrolmentError(f"kongdp_enroll_password_file cannot be read: {error}") from None
        password = lines[0] if lines else None
    ca = settings.kongdp_enroll_ca
    return Enrolment(
        url=settings.kongdp_enroll_url,
        ca=ca.encode() if ca else None,
        ca_fingerprint=settings.kongdp_enroll_ca_fingerprint,
        user=settings.kongdp_enroll_user,
        password=password,
        token=settings.kongdp_enroll_token,
    )


class Trust:
    """The identity in force. `on_renewed` is called when another one takes its place."""

    def __init__(
        self,
        settings: Settings,
        node_id: str,
        *,
        on_renewed: Callable[[], None] = lambda: None,
        wall: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Reads what is there already. Raises CertificateError for a configured pair that cannot be used; a damaged
        enrolled one is reported and asked for again.
        """
        self._settings = settings
        self._node_id = node_id
        self._directory = settings.paths.certificates
        self._on_renewed = on_renewed
        self._wall = wall
        self._sleep = sleep
        self._jitter = jitter()
        self._random = jitter
        self._attempts = Attempts()
        self._renewing: asyncio.Task[None] | None = None
        self._is_obtaining = False
        self.urgency = Urgency.NONE
        self._enrolled: NodeCertificate | None = None
        self.identity = configured_identity(settings)
        self.enrols = self.identity is None and bool(settings.kongdp_enroll_url)
        self.last_error: str | None = None
        if self.identity is not None:
            self.identity.context()
        elif self.enrols:
            self._take(self._load())

    def context(self) -> ssl.SSLContext:
        """A context for the next connection, always with the newest certificate."""
        assert self.identity is not None, "nobody connects before there is a certificate"
        return self.identity.context()

    async def obtain(self) -> None:
        """Return when there is a certificate that is valid now; enrol until then, politely. Renewals wait meanwhile: one
        enrolment at a time, since a token may be good for one only.
        """
        self._is_obtaining = True
        try:
            if self._renewing is not None:
                await asyncio.wait([self._renewing])
            await self._enrol_until_valid()
        finally:
            self._is_obtaining = False

    async def _enrol_until_valid(self) -> None:
        failures = 0
        while self.enrols and (self.identity is None or not self.identity.validity.is_valid(self._wall())):
            wait_s = renewal.retry_delay_s(failures + 1, 0) * (1 + self._random() / 2)
            try:
                self._keep(await issuer.enroll(read_enrolment(self._settings), self._node_id))
                return
            except EnrolmentPending as error:
                wait_s = error.retry_after_s
                self._failed("enrolment is waiting", error)
            except (EnrolmentError, CertificateError) as error:
                self._failed("enrolment failed", error)
            failures += 1
            await self._sleep(wait_s)

    def tick(self) -> None:
        """Once a second: say how near the end is, and begin a renewal when it is due."""
        if self.identity is None:
            return
        now = self._wall()
        decision = renewal.decide(self.identity.validity, now, self._attempts, jitter=self._jitter)
        if decision.urgency is not self.urgency:
            self.urgency = decision.urgency
            self._say(now)
        if decision.renew:
            self._begin_renewal()

    def renew_now(self) -> None:
        """The control plane asks for it. A configured certificate is its operator's to replace."""
        if not self.enrols:
            log.warning("asked for a new certificate, but this node's is configured (cluster_cert) and not enrolled")
        self._begin_renewal()

    def _begin_renewal(self) -> None:
        is_asking = self._is_obtaining or (self._renewing is not None and not self._renewing.done())
        if self.enrols and self.identity is not None and not is_asking:
            self._renewing = asyncio.create_task(self._renew(), name="certificate renewal")

    def close(self) -> None:
        """Give up a renewal under way."""
        if self._renewing is not None:
            self._renewing.cancel()

    async def _renew(self) -> None:
        """One attempt: with the present certificate, or, when that has ended, with credentials again."""
        try:
            enrolment = read_enrolment(self._settings)
            assert self._enrolled is not None
            if self._enrolled.validity.is_valid(self._wall()):
                fresh = await issuer.reenroll(enrolment, self._node_id, self._enrolled)
            else:
                fresh = await issuer.enroll(enrolment, self._node_id)
        except (EnrolmentError, CertificateError) as error:
            self._attempts = Attempts(self._attempts.failures + 1, self._wall())
            self._failed("the node's certificate could not be renewed", error)
            return
        self._attempts = Attempts()
        self._keep(fresh)
        self._on_renewed()

    def _keep(self, certificate: NodeCertificate) -> None:
        """Put a certificate in force, on disk first; a disk that does not take it is reported and not fatal."""
        try:
            identity.save(certificate, self._directory)
        except OSError as error:
            log.error("the node's certificate cannot be kept in %s: %s", self._directory, error.strerror)
        self._take(certificate)
        self.last_error = None
        log.log(
            NOTICE,
            "certificate %s for %s is in force until %s",
            certificate.serial,
            certificate.subject,
            time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(certificate.validity.not_after)),
        )

    def _load(self) -> NodeCertificate | None:
        """The kept certificate, unless it is damaged or of another authority than the one that the settings name now."""
        try:
            kept = identity.load(self._directory)
            wanted = self._settings.kongdp_enroll_ca_fingerprint
            if kept is not None and wanted and not identity.has_anchor(kept, wanted):
                raise CertificateError(f"it was issued by another authority than {wanted}")
        except CertificateError as error:
            self._failed("the kept certificate is not used", error)
            return None
        return kept

    def _take(self, certificate: NodeCertificate | None) -> None:
        if certificate is None:
            return
        self._enrolled = certificate
        listed = [entry.encode() for entry in self._settings.lua_ssl_trusted_certificate if entry != SYSTEM]
        self.identity = Identity(
            pair=certificate.pair,
            anchors=(certificate.anchors, *listed),
            trusts_system=False,
            validity=certificate.validity,
            subject=certificate.subject,
            serial=certificate.serial,
        )

    def _failed(self, what: str, error: Exception) -> None:
        self.last_error = str(error)
        log.warning("%s: %s", what, error)

    def _say(self, now: float) -> None:
        assert self.identity is not None
        if self.urgency in _SAYINGS:
            level, text = _SAYINGS[self.urgency]
            log.log(
                level, "the node's cluster certificate " + text, abs(self.identity.validity.not_after - now) / 86400
            )


def _split(place: str) -> tuple[str, int]:
    host, _, port = place.rpartition(":")
    return host.strip("[]"), int(port)


def _proxy(text: str) -> ProxyServer:
    parts = urlsplit(text)
    if parts.scheme != "http" or not parts.hostname:
        raise ProxyError(f"proxy_server must be http://[user:password@]host:port, got the scheme {parts.scheme!r}")
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    return ProxyServer(parts.hostname, parts.port or 80, user, password)
