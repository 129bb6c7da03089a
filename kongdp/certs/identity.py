"""The node's own certificate: its key made here, its request, its file, its dates.

In: the directory `<prefix>/certs`, and what an authority issued.  Out: `NodeCertificate` values and CSRs.
House rules: a private key never leaves this machine and no other code reads the file; key and certificate live in one
file, so a renewal is one rename and no crash can leave a key beside another key's certificate. Everything is 0600.
Cold; uses cryptography, so only the agent and the command line import it, never a worker. Source: ours.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import NameOID

from kongdp.certs.contexts import CertificateError, Pair
from kongdp.certs.renewal import Validity
from kongdp.files import replace_file

PAIR_FILE = "node.pem"
ANCHORS_FILE = "ca.pem"


@dataclass(frozen=True, slots=True)
class NodeCertificate:
    """An issued certificate with its key, and the authority's certificates (PEM) that its issuer's servers are
    checked against.
    """

    pair: Pair
    anchors: bytes
    validity: Validity
    subject: str
    serial: str


@dataclass(frozen=True, slots=True)
class Request:
    """A fresh key (PEM) and the certificate request for it (DER)."""

    key: bytes
    csr: bytes


def make_request(common_name: str) -> Request:
    """A new P-256 key and a PKCS#10 request for it; the authority decides what else the certificate says."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Request(pem, csr.public_bytes(serialization.Encoding.DER))


def accept(request: Request, issued: list[x509.Certificate], anchors: list[x509.Certificate]) -> NodeCertificate:
    """Check what an authority answered. Raises CertificateError unless one certificate is for our key and signed by
    an anchor (directly, or through the intermediates that came along).
    """
    key = serialization.load_pem_private_key(request.key, None)
    public = key.public_key()
    own = [certificate for certificate in issued if certificate.public_key() == public]
    if not own:
        raise CertificateError("the authority answered with a certificate for another key")
    leaf = own[0]
    chain = [leaf, *_intermediates(leaf, [certificate for certificate in issued if certificate is not leaf])]
    if not any(_is_issued_by(chain[-1], anchor) for anchor in anchors):
        raise CertificateError("the authority answered with a certificate that none of its own CA certificates signed")
    return _value(request.key, chain, _pem(anchors))


def save(certificate: NodeCertificate, directory: Path) -> None:
    """Put the certificate in force on disk: anchors first, then the pair by one rename. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace_file(directory / ANCHORS_FILE, certificate.anchors)
    replace_file(directory / PAIR_FILE, certificate.pair.key + certificate.pair.cert)


def load(directory: Path) -> NodeCertificate | None:
    """The certificate on disk, None when there is none. Raises CertificateError for files that cannot be used."""
    try:
        text = (directory / PAIR_FILE).read_bytes()
        anchors = (directory / ANCHORS_FILE).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CertificateError(f"cannot read the node's certificate: {error}") from None
    try:
        chain = x509.load_pem_x509_certificates(text)
        key = serialization.load_pem_private_key(text, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{directory / PAIR_FILE} is damaged: {error}") from None
    try:
        x509.load_pem_x509_certificates(anchors)
    except ValueError as error:
        raise CertificateError(f"{directory / ANCHORS_FILE} is damaged: {error}") from None
    if chain[0].public_key() != key.public_key():
        raise CertificateError(f"{directory / PAIR_FILE} is damaged: key and certificate do not belong together")
    return _value(text[: text.index(b"-----BEGIN CERTIFICATE-----")], chain, anchors)


def validity(cert: bytes) -> Validity:
    """The dates of the first certificate in PEM text. Raises CertificateError."""
    try:
        with warnings.catch_warnings():
            # `kong hybrid gen_cert` gives every certificate the serial number 0, which RFC 5280 does not allow.
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            certificate = x509.load_pem_x509_certificate(cert)
    except ValueError as error:
        raise CertificateError(f"not a certificate: {error}") from None
    return _validity(certificate)


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER form, lower-case hex without colons."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def has_anchor(certificate: NodeCertificate, wanted: str) -> bool:
    """Whether an authority with this fingerprint (any case, colons allowed) is among the anchors it came with."""
    plain = plain_fingerprint(wanted)
    return any(fingerprint(anchor) == plain for anchor in x509.load_pem_x509_certificates(certificate.anchors))


def plain_fingerprint(text: str) -> str:
    """A fingerprint as somebody wrote it, in the form of `fingerprint`."""
    return text.replace(":", "").strip().lower()


def _value(key: bytes, chain: list[x509.Certificate], anchors: bytes) -> NodeCertificate:
    leaf = chain[0]
    return NodeCertificate(
        pair=Pair(_pem(chain), key),
        anchors=anchors,
        validity=_validity(leaf),
        subject=leaf.subject.rfc4514_string(),
        serial=f"{leaf.serial_number:x}",
    )


def _validity(certificate: x509.Certificate) -> Validity:
    return Validity(certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp())


def _intermediates(leaf: x509.Certificate, others: list[x509.Certificate]) -> list[x509.Certificate]:
    """Those of `others` that lead up from `leaf`, in order; self-signed ones are anchors and not sent."""
    chain: list[x509.Certificate] = []
    current = leaf
    while True:
        above = [other for other in others if other.subject != other.issuer and _is_issued_by(current, other)]
        if not above or above[0] in chain:
            return chain
        current = above[0]
        chain.append(current)


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _pem(certificates: list[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)
