"""Certificates for tests: an authority, leaves below it, and the pair that `kong hybrid gen_cert` would make.

Small EC keys; nothing is written to disk. Used wherever a test speaks real TLS.
"""

import datetime
import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kongdp.certs.contexts import Pair

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Made:
    """A certificate with its key, as objects and as PEM."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def pair(self) -> Pair:
        return Pair(self.pem, self.key_pem)


def make(
    name: str,
    *,
    issuer: Made | None = None,
    is_authority: bool = False,
    names: tuple[str, ...] = (),
    addresses: tuple[str, ...] = (),
    life_s: float = 3600.0,
    starts_s: float = -60.0,
    key: Key | None = None,
    with_extensions: bool = True,
) -> Made:
    """One certificate: self-signed without `issuer`; `names` and `addresses` become its SAN."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=starts_s)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(seconds=life_s))
    )
    if with_extensions:
        builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        if not is_authority:
            usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    general: list[x509.GeneralName] = [x509.DNSName(entry) for entry in names]
    general += [x509.IPAddress(ipaddress.ip_address(entry)) for entry in addresses]
    if general:
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    return Made(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def authority(name: str = "test authority") -> Made:
    """A self-signed CA."""
    return make(name, is_authority=True)


def common_name(der: bytes) -> str:
    """The subject's CN of a certificate as a peer showed it."""
    return str(next(iter(x509.load_der_x509_certificate(der).subject)).value)


def shared_cluster_pair() -> Made:
    """What both ends of a shared-mode cluster hold: self-signed, CN and nothing else (gen_cert's is also version 1)."""
    return make("kong_clustering", with_extensions=False, key=ec.generate_private_key(ec.SECP384R1()))
