"""`kongdp hybrid gen_cert`: the pair that all nodes of a cluster share (cluster_mtls = shared).

An EC P-384 key and a self-signed certificate named kong_clustering. Unlike Kong's own (X.509 version 1, no
extensions) it is a version 3 certificate with name, usages and key identifiers, which strict verifiers (Python 3.13)
ask for; Kong nodes take it as well, because they compare digests.
In: arguments.  Out: an exit code.  Cold.
"""

import argparse
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kongdp.cli.console import fail, fail_all, say

CLUSTER_NAME: Final = "kong_clustering"
DAYS_MAX: Final = 36500
CLOCK_SKEW = timedelta(minutes=5)  # nodes whose clock is a little behind can use it at once


def gen_cert(arguments: argparse.Namespace) -> int:
    """Write the pair; existing files are left alone."""
    if (arguments.cert is None) != (arguments.key is None):
        return fail("give both the certificate's and the key's file, or neither")
    if not 1 <= arguments.days <= DAYS_MAX:
        return fail(f"-d must be between 1 and {DAYS_MAX} days, got {arguments.days}")
    certificate_path, key_path = Path(arguments.cert or "cluster.crt"), Path(arguments.key or "cluster.key")
    taken = [path for path in (certificate_path, key_path) if path.exists()]
    if taken:
        return fail_all(f"{path} already exists and is not overwritten" for path in taken)
    certificate, key = make_pair(arguments.days, datetime.now(UTC))
    for path, content, mode in ((key_path, key, 0o600), (certificate_path, certificate, 0o644)):
        try:
            _write_new(path, content, mode)
        except OSError as error:
            return fail(f"cannot write {path}: {error.strerror}")
    say(f"wrote {certificate_path} and {key_path}, valid for {arguments.days} days; keep the key secret")
    return 0


def make_pair(days: int, now: datetime) -> tuple[bytes, bytes]:
    """(certificate, key) as PEM, valid from `now` for `days`."""
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CLUSTER_NAME)])
    public = key.public_key()
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(purposes, critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(CLUSTER_NAME)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA384())
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """O_EXCL: also a file that appeared since we looked is not overwritten."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(fd, "wb") as file:
        os.fchmod(fd, mode)
        file.write(content)
