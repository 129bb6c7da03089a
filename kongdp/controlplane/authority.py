"""The control plane's own certificate authority: its key on disk, its server certificate, certificates for nodes.

In: certificate signing requests of nodes (already authorised by `cluster.est`), names of this control plane. Out:
certificates. Which were issued, and which of them are revoked, is kept by `ledger`; here is only what the key can
say. A node's certificate: subject CN = node id, a URI SAN that names its group, clientAuth. Cold; signing takes well
under a millisecond.
Source: RFC 5280; profiles are ours.
"""

import ipaddress
import os
import socket
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kongdp.errors import KongdpError, Source

CA_LIFETIME_S = 20 * 365 * 86_400
# A year and a month, as public authorities used to allow; renewed at every start and once a third of it is left.
SERVER_LIFETIME_S = 398 * 86_400
# Nodes whose clock is behind must accept a new certificate; short-lived ones leave less room, or renewal would come
# too early.
BACKDATE_S_MAX = 300
BACKDATE_SHARE = 20
RSA_BITS_MIN = 2048
CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
GROUP_URI = "urn:kongdp:group:"
SERVER_FILE = "server.crt"
SERVER_NAMES = ("kongdp-control-plane", "kong_clustering", "localhost", "127.0.0.1", "::1")

SigningKey = ec.EllipticCurvePrivateKey


class AuthorityError(KongdpError):
    """Files of the authority are missing, unreadable or do not belong together; the message names the file."""

    source = Source.OPERATOR


class RequestRefusedError(KongdpError):
    """A certificate signing request that must not be signed; the message says why and may be shown to the requester."""

    source = Source.CLIENT


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """What a certificate of ours says about its holder; times in epoch seconds."""

    node_id: str
    group_id: str
    serial: str
    fingerprint: str
    not_before: float
    not_after: float


class Authority:
    """A key that signs, and the certificate everyone trusts it by."""

    def __init__(
        self, key: SigningKey, certificate: x509.Certificate, directory: Path, clock: Callable[[], float]
    ) -> None:
        self._key = key
        self._directory = directory
        self._clock = clock
        self.certificate = certificate
        self.certificate_pem = certificate.public_bytes(serialization.Encoding.PEM)
        self.fingerprint = certificate.fingerprint(hashes.SHA256()).hex()

    @classmethod
    def open(cls, directory: Path, clock: Callable[[], float]) -> "Authority":
        """Load the authority from `directory`, or make it there (first start). Raises AuthorityError."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        key_path, certificate_path = directory / "ca.key", directory / "ca.crt"
        # A key alone was left by a first start that ended between the two files; nobody has its certificate, or there
        # would be the server's beside it.
        if not certificate_path.exists() and not (directory / SERVER_FILE).exists():
            key = ec.generate_private_key(ec.SECP256R1())
            certificate = _make_root(key, clock())
            write_private(key_path, _pem(key))
            _replace(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
            return cls(key, certificate, directory, clock)
        key, certificate = _load_pair(key_path, certificate_path)
        if certificate.not_valid_after_utc.timestamp() <= clock():
            raise AuthorityError(f"{certificate_path} has expired: move {directory} away and enrol every node again")
        return cls(key, certificate, directory, clock)

    def server_certificate(self, extra_names: Iterable[str] = ()) -> tuple[Path, Path]:
        """Paths of the server's certificate and key; issued anew when missing, due for renewal or lacking a name."""
        names = tuple(dict.fromkeys((*SERVER_NAMES, socket.gethostname(), *extra_names)))
        certificate_path, key_path = self._directory / SERVER_FILE, self._directory / "server.key"
        if not self._serves(certificate_path, key_path, names):
            key = ec.generate_private_key(ec.SECP256R1())
            certificate = self._issue(
                key.public_key(),
                _common_name("kongdp-control-plane"),
                [_general_name(name) for name in names],
                SERVER_LIFETIME_S,
                ExtendedKeyUsageOID.SERVER_AUTH,
            )
            write_private(key_path, _pem(key))
            _replace(
                certificate_path, certificate.public_bytes(serialization.Encoding.PEM) + self.certificate_pem, 0o644
            )
        return certificate_path, key_path

    def issue_node(self, request: x509.CertificateSigningRequest, group_id: str, lifetime_s: int) -> x509.Certificate:
        """Sign a node's request. Raises RequestRefusedError for a bad signature, a weak key or a name that is no node
        id.
        """
        node_id = requested_node_id(request)
        if not request.is_signature_valid:
            raise RequestRefusedError("the request's signature is not valid")
        return self._issue(
            _strong(request.public_key()),
            _common_name(node_id),
            [x509.UniformResourceIdentifier(GROUP_URI + group_id)],
            lifetime_s,
            ExtendedKeyUsageOID.CLIENT_AUTH,
        )

    def try_identify(self, certificate: x509.Certificate) -> NodeIdentity | None:
        """Who holds this certificate, or None when it is not a node certificate of this authority or not valid now."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return None
        groups = [uri for uri in names.get_values_for_type(x509.UniformResourceIdentifier) if uri.startswith(GROUP_URI)]
        subject = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        identity = NodeIdentity(
            node_id=str(subject[0].value) if subject else "",
            group_id=groups[0].removeprefix(GROUP_URI) if groups else "",
            serial=format(certificate.serial_number, "x"),
            fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
            not_before=certificate.not_valid_before_utc.timestamp(),
            not_after=certificate.not_valid_after_utc.timestamp(),
        )
        is_valid = identity.not_before <= self._clock() < identity.not_after
        return identity if identity.node_id and identity.group_id and is_valid else None

    def _serves(self, certificate_path: Path, key_path: Path, names: tuple[str, ...]) -> bool:
        """Whether the present server certificate can go on being used."""
        if not (certificate_path.exists() and key_path.exists()):
            return False
        try:
            _key, certificate = _load_pair(key_path, certificate_path)
            certificate.verify_directly_issued_by(self.certificate)
            present = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (AuthorityError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return False
        left = certificate.not_valid_after_utc.timestamp() - self._clock()
        return left > SERVER_LIFETIME_S / 3 and all(_general_name(name) in present for name in names)

    def _issue(
        self,
        public_key: CertificatePublicKeyTypes,
        subject: x509.Name,
        names: list[x509.GeneralName],
        lifetime_s: int,
        usage: x509.ObjectIdentifier,
    ) -> x509.Certificate:
        now = self._clock()
        backdate = min(BACKDATE_S_MAX, lifetime_s // BACKDATE_SHARE)
        not_after = min(now + lifetime_s, self.certificate.not_valid_after_utc.timestamp())
        issuer_key = self.certificate.public_key()
        assert isinstance(issuer_key, ec.EllipticCurvePublicKey)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_moment(now - backdate))
            .not_valid_after(_moment(not_after))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def requested_node_id(request: x509.CertificateSigningRequest) -> str:
    """The node id that a request asks for: its one common name, a UUID. Raises RequestRefusedError."""
    attributes = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(attributes) != 1:
        raise RequestRefusedError("the request's subject must have exactly one common name: the node's id")
    name = str(attributes[0].value)
    try:
        canonical = str(uuid.UUID(name))
    except ValueError:
        canonical = ""
    if canonical != name:
        raise RequestRefusedError("the request's common name must be the node's id, a UUID in lower case")
    return name


def node_fingerprint(der: bytes) -> str:
    """SHA-256 of a certificate in hexadecimal: how certificates are compared and listed."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    return digest.finalize().hex()


def write_private(path: Path, content: bytes) -> None:
    """Write a secret file that only its owner can read, whole or not at all."""
    _replace(path, content, 0o600)


def _replace(path: Path, content: bytes, mode: int) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def _load_pair(key_path: Path, certificate_path: Path) -> tuple[SigningKey, x509.Certificate]:
    try:
        key, certificate = key_path.read_bytes(), certificate_path.read_bytes()
    except OSError as error:
        raise AuthorityError(f"cannot read {error.filename}: {error.strerror}") from None
    return check_pair(key, certificate, key_path, certificate_path)


def check_pair(
    key_pem: bytes,
    certificate_pem: bytes,
    key_path: Path = Path("ca.key"),
    certificate_path: Path = Path("ca.crt"),
) -> tuple[SigningKey, x509.Certificate]:
    """A key and its certificate. Raises AuthorityError, which names the files, when they are none or not of each other."""
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except (ValueError, TypeError) as error:
        raise AuthorityError(f"{key_path} or {certificate_path} is damaged: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise AuthorityError(f"{key_path} is not the key of {certificate_path}")
    return key, certificate


def _make_root(key: SigningKey, now: float) -> x509.Certificate:
    # The random part keeps two installations apart in a trust store that holds both.
    name = _common_name(f"kongdp authority {uuid.uuid4().hex[:8]}")
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(now - BACKDATE_S_MAX))
        .not_valid_after(_moment(now + CA_LIFETIME_S))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _strong(key: CertificatePublicKeyTypes) -> CertificatePublicKeyTypes:
    """The key, if it is of a kind that we sign. Raises RequestRefusedError."""
    is_strong = (
        (isinstance(key, rsa.RSAPublicKey) and key.key_size >= RSA_BITS_MIN)
        or (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, CURVES))
        or isinstance(key, ed25519.Ed25519PublicKey)
    )
    if not is_strong:
        kinds = f"EC P-256, P-384 or P-521, Ed25519, or RSA of {RSA_BITS_MIN} bits"
        raise RequestRefusedError(f"the request's key must be {kinds}")
    return key


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)


def _pem(key: SigningKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
