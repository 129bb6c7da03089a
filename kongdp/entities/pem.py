"""Certificates and keys in PEM: whether they can be read, belong together, and may sign.

In: PEM text of a configuration.  Out: the reason for refusing it, or a digest. No private key ever shows in a reason.
Source: kong/db/schema/entities/{certificates,ca_certificates}.lua 3.9 (rules and texts); OpenSSL's own words differ
between its versions and are not imitated.
"""

import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

_BEGIN = "-----BEGIN CERTIFICATE-----"


def _load_certificate(text: str) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(text.encode())
    except (ValueError, UnsupportedAlgorithm, TypeError):
        return None


def _load_key(text: str) -> Any:
    try:
        # Testing RSA primes takes 50 ms a key, and whoever can write configurations need not forge a key to do harm.
        return serialization.load_pem_private_key(text.encode(), password=None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, UnsupportedAlgorithm, TypeError):
        return None


def certificate_problem(text: str) -> str | None:
    """Why this is not a certificate, or None."""
    if _load_certificate(text) is None:
        return "invalid certificate: x509.new: no PEM certificate could be read"
    return None


def key_problem(text: str) -> str | None:
    """Why this is not an unencrypted private key, or None."""
    if _load_key(text) is None:
        return "invalid key: pkey.new:load_key: no unencrypted PEM private key could be read"
    return None


def public_key_problem(text: str) -> str | None:
    """Why this is not a public key, or None."""
    try:
        serialization.load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm, TypeError):
        return "invalid key"
    return None


def pair_matches(cert: str, key: str) -> bool:
    """Whether the key is the one that the certificate names. Both are sound."""
    certificate, private = _load_certificate(cert), _load_key(key)
    if certificate is None or private is None:
        return False
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    try:
        return bool(certificate.public_key().public_bytes(*form) == private.public_key().public_bytes(*form))
    except (ValueError, UnsupportedAlgorithm):
        return False


def same_key_type(cert: str, other: str) -> bool:
    """Whether two sound certificates have keys of one type (RSA, EC, ...)."""
    first, second = _load_certificate(cert), _load_certificate(other)
    if first is None or second is None:
        return False
    try:
        return type(first.public_key()) is type(second.public_key())
    except (ValueError, UnsupportedAlgorithm):
        return False


def authority_problem(text: str, now: datetime.datetime | None = None) -> str | None:
    """Why a sound certificate cannot be a trusted authority, or None."""
    if text.count(_BEGIN) > 1:
        return "please submit only one certificate at a time"
    certificate = _load_certificate(text)
    if certificate is None:
        return None
    if certificate.not_valid_after_utc < (now or datetime.datetime.now(datetime.UTC)):
        return 'certificate expired, "Not After" time is in the past'
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        constraints = None
    if constraints is None or not constraints.ca:
        return 'certificate does not appear to be a CA because it is missing the "CA" basic constraint'
    return None


def sha256_digest(text: str) -> str | None:
    """The SHA-256 of the certificate's DER form, hex."""
    certificate = _load_certificate(text)
    return None if certificate is None else certificate.fingerprint(hashes.SHA256()).hex()
