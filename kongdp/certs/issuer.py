"""Gets the node its certificate: the first one with credentials, the next ones with the certificate it has.

In: `Enrolment` (URL, what to trust, credentials).  Out: a saved-ready NodeCertificate, or EnrolmentError /
CertificateError.
House rule: no credential is sent before the server has proven itself against the CA certificate that the operator
named, by its text or by its fingerprint. With a fingerprint only, /cacerts is fetched unverified, the certificate
with exactly that fingerprint becomes the one anchor, and a second, verified connection is made. Without either
nothing is sent at all.
Cold. Source: RFC 7030 section 4.1.1 (bootstrap by out-of-band fingerprint).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kongdp.certs import est, identity
from kongdp.certs.contexts import CertificateError, Pair, cluster_client_context, unverified_context
from kongdp.certs.est import EnrolmentError, EnrolmentUrl, Trust, UntrustedAuthority
from kongdp.certs.identity import NodeCertificate

SERVER_NAME = "kongdp-control-plane"
"""A name that every certificate of our own control plane carries, so that nodes verify it under whatever address they
reach it.
"""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Everything needed to ask for a certificate. Exactly one of `ca` (PEM) and `ca_fingerprint` (SHA-256 hex) is
    enough.
    """

    url: str
    ca: bytes | None = None
    ca_fingerprint: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)


async def enroll(enrolment: Enrolment, common_name: str) -> NodeCertificate:
    """A first certificate. Raises EnrolmentError (also when credentials or trust are missing) or CertificateError."""
    url = EnrolmentUrl.parse(enrolment.url)
    authorization = _authorization(enrolment)
    anchors = await _trusted_anchors(url, enrolment)
    request = identity.make_request(common_name)

    async def ask(trust: Trust) -> NodeCertificate:
        authority = await est.fetch_ca_certificates(url, trust)
        issued = await est.enroll(url, trust, request.csr, authorization)
        return identity.accept(request, issued, authority)

    return await _with_either_name(url, anchors, None, ask)


async def reenroll(enrolment: Enrolment, common_name: str, current: NodeCertificate) -> NodeCertificate:
    """The next certificate, with a new key, asked for with the current one and checked against the anchors it came
    with.
    """
    url = EnrolmentUrl.parse(enrolment.url)
    request = identity.make_request(common_name)

    async def ask(trust: Trust) -> NodeCertificate:
        authority = await est.fetch_ca_certificates(url, trust)
        issued = await est.reenroll(url, trust, request.csr)
        return identity.accept(request, issued, authority)

    return await _with_either_name(url, [current.anchors], current.pair, ask)


def _authorization(enrolment: Enrolment) -> bytes:
    if enrolment.token:
        return est.bearer(enrolment.token)
    if enrolment.user and enrolment.password:
        return est.basic(enrolment.user, enrolment.password)
    raise EnrolmentError("enrolment needs a token, or a user and a password file")


async def _trusted_anchors(url: EnrolmentUrl, enrolment: Enrolment) -> list[bytes]:
    """The CA certificates (PEM) that the operator named. Sends nothing but a GET for /cacerts."""
    if enrolment.ca:
        return [enrolment.ca]
    if not enrolment.ca_fingerprint:
        raise EnrolmentError(
            "refusing to send credentials: set KONGDP_ENROLL_CA or KONGDP_ENROLL_CA_FINGERPRINT "
            f"so that {url.authority} can be verified"
        )
    wanted = identity.plain_fingerprint(enrolment.ca_fingerprint)
    offered = await est.fetch_ca_certificates(url, Trust(unverified_context(), None))
    for certificate in offered:
        if identity.fingerprint(certificate) == wanted:
            return [certificate.public_bytes(serialization.Encoding.PEM)]
    raise EnrolmentError(
        f"refusing to send credentials: {url.authority} shows a CA certificate with fingerprint "
        f"{_fingerprints(offered)}, not {wanted}"
    )


def _fingerprints(certificates: list[x509.Certificate]) -> str:
    return ", ".join(identity.fingerprint(certificate) for certificate in certificates)


async def _with_either_name(
    url: EnrolmentUrl, anchors: list[bytes], pair: Pair | None, ask: Callable[[Trust], Awaitable[T]]
) -> T:
    """Verify under our control plane's fixed name, or under the URL's host where another server stands in front."""
    try:
        context = cluster_client_context(pair, anchors, trusts_system=False)
    except CertificateError as error:
        raise EnrolmentError(f"cannot verify {url.authority}: {error}") from None
    try:
        return await ask(Trust(context, SERVER_NAME))
    except UntrustedAuthority as error:
        if not error.wrong_name:
            raise
        return await ask(Trust(context, url.host))
