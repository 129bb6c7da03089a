"""The certificates a node shows when the operator configured none: self-signed, made once, kept under the prefix.

In: the directory `<prefix>/ssl`.  Out: paths of an RSA and an ECDSA pair for `CN=localhost`, created when absent.
House rules: keys are 0600 from their first byte; files appear whole (written beside, then renamed), and an existing
pair is never touched, whoever made it. Several processes may ask at once: they take turns on a lock file.
Cold: once at start. Source: proxy.md section 9; file names are Kong's (cmd/utils/prefix_handler.lua).
"""

import datetime
import fcntl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kongdp.certs.contexts import Pair
from kongdp.files import replace_file

LIFE = datetime.timedelta(days=20 * 365)
"""Kong's default pair lives 20 years: nobody trusts it, so nobody would notice it end until it did."""

NAMES = {"rsa": "kong-default", "ecdsa": "kong-default-ecdsa"}
_PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class PairPaths:
    """Where a pair lies."""

    cert: Path
    key: Path

    def read(self) -> Pair:
        """Both texts."""
        return Pair(self.cert.read_bytes(), self.key.read_bytes())


def ensure_default_pairs(directory: Path) -> tuple[PairPaths, PairPaths]:
    """The RSA and the ECDSA pair in `directory`, made now where one is missing. Raises OSError when the directory is
    not writable.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o755)
    with open(directory / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _ensure(directory, "rsa"), _ensure(directory, "ecdsa")


def _ensure(directory: Path, kind: str) -> PairPaths:
    paths = PairPaths(directory / f"{NAMES[kind]}.crt", directory / f"{NAMES[kind]}.key")
    if not (paths.cert.exists() and paths.key.exists()):
        key: _PrivateKey = (
            rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
        )
        # lasting: an empty file after a power cut would be an existing pair
        replace_file(paths.key, _key_bytes(key))
        replace_file(paths.cert, _certificate(key), mode=0o644)
    return paths


def _certificate(key: _PrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _key_bytes(key: _PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
