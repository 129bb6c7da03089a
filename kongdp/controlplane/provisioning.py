"""A node's key and certificate made here, for a host that cannot enrol by itself.

In: a runtime group.  Out: a node id, its key and its certificate as PEM, which are in no store: whoever asked has the
only copy. An enrolled node's key never leaves it, so enrolment is the better way wherever it is possible.
Cold; called off the event loop. Source: walkthrough, section 8.2.
"""

import uuid
from dataclasses import dataclass

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kongdp.controlplane import ledger
from kongdp.controlplane.authority import Authority


@dataclass(frozen=True, slots=True)
class Provision:
    """What a node needs in order to join: settings `node_id`, `cluster_cert`, `cluster_cert_key`, `cluster_ca_cert`."""

    node_id: str
    cert: str
    key: str
    ca_cert: str
    expires_at: float


def provision(
    connection: sa.Connection, authority: Authority, group_id: str, *, lifetime_s: int, issued_to: str, now: float
) -> Provision:
    """Make a node of a group; its certificate is recorded, its key is not."""
    node_id = str(uuid.uuid4())
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, node_id)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    certificate = authority.issue_node(request, group_id, lifetime_s)
    identity = authority.try_identify(certificate)
    assert identity is not None, "a certificate just issued identifies its node"
    ledger.record(connection, identity, issued_to=issued_to, now=now)
    return Provision(
        node_id=node_id,
        cert=certificate.public_bytes(Encoding.PEM).decode(),
        key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        ca_cert=authority.certificate_pem.decode(),
        expires_at=identity.not_after,
    )
