"""Which node certificates were issued, which are revoked, and which foreign ones an operator has pinned.

In: certificates and identities (authority).  Out: rows, and the answer to "may this certificate still be used?".
Cold; called off the event loop.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from kongdp.controlplane.authority import NodeIdentity
from kongdp.controlplane.store import tables
from kongdp.errors import KongdpError, Source


class PinError(KongdpError):
    """A certificate that cannot be pinned; the message says why."""

    source = Source.CLIENT


@dataclass(frozen=True, slots=True)
class PinnedCertificate:
    """A self-signed certificate that an operator uploaded for nodes of a group (Konnect's dp-client-certificates)."""

    id: str
    group_id: str
    fingerprint: str
    title: str
    cert: str
    created_at: float
    updated_at: float


def record(connection: sa.Connection, identity: NodeIdentity, *, issued_to: str, now: float) -> None:
    """Note an issued certificate; `issued_to` says on whose authority (user, token, or the certificate it renews)."""
    connection.execute(
        sa.insert(tables.issued_certificates),
        {
            "serial": identity.serial,
            "fingerprint": identity.fingerprint,
            "node_id": identity.node_id,
            "group_id": identity.group_id,
            "not_before": identity.not_before,
            "not_after": identity.not_after,
            "issued_at": now,
            "issued_to": issued_to,
        },
    )


def revoke_node(connection: sa.Connection, node_id: str, now: float) -> int:
    """Revoke every certificate of a node; returns how many were still good."""
    table = tables.issued_certificates
    result = connection.execute(
        sa.update(table)
        .where(table.c.node_id == node_id, table.c.revoked_at.is_(None), table.c.not_after > now)
        .values(revoked_at=now)
    )
    return result.rowcount


def is_revoked(connection: sa.Connection, fingerprint: str) -> bool:
    """Whether this certificate was revoked. One that is not in the ledger was not (a restored backup may be older)."""
    table = tables.issued_certificates
    query = sa.select(table.c.serial).where(table.c.fingerprint == fingerprint, table.c.revoked_at.is_not(None))
    return connection.scalar(query) is not None


def issued(
    connection: sa.Connection, group_id: str, *, node_id: str | None, size: int, skip: int
) -> tuple[Sequence[sa.Row[Any]], int]:
    """Certificates of a group's nodes, or of one of them, newest first, from `skip` on; and how many there are."""
    table = tables.issued_certificates
    whose = [table.c.group_id == group_id, *([table.c.node_id == node_id] if node_id is not None else ())]
    total = connection.scalar(sa.select(sa.func.count()).select_from(table).where(*whose)) or 0
    query = sa.select(table).where(*whose).order_by(table.c.issued_at.desc(), table.c.serial)
    return connection.execute(query.limit(size).offset(skip)).all(), total


def pin(connection: sa.Connection, group_id: str, pem: str, title: str, now: float) -> PinnedCertificate:
    """Accept a foreign certificate for nodes of a group. Raises PinError."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        raise PinError("cert: invalid certificate: expected one PEM block") from None
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
    table = tables.pinned_certificates
    if connection.scalar(sa.select(table.c.id).where(table.c.fingerprint == fingerprint)) is not None:
        raise PinError("cert: this certificate is pinned already")
    pinned = PinnedCertificate(
        id=str(uuid.uuid4()),
        group_id=group_id,
        fingerprint=fingerprint,
        title=title,
        cert=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        created_at=now,
        updated_at=now,
    )
    values = {column.name: getattr(pinned, column.name) for column in table.columns}
    connection.execute(sa.insert(table), values)
    return pinned


def unpin(connection: sa.Connection, group_id: str, id: str) -> bool:
    """Forget a pinned certificate; False when the group has none with this id."""
    table = tables.pinned_certificates
    return connection.execute(sa.delete(table).where(table.c.group_id == group_id, table.c.id == id)).rowcount > 0


def pinned(connection: sa.Connection, group_id: str | None = None) -> list[PinnedCertificate]:
    """Pinned certificates of one group, or of all."""
    table = tables.pinned_certificates
    query = sa.select(table).order_by(table.c.created_at, table.c.id)
    if group_id is not None:
        query = query.where(table.c.group_id == group_id)
    return [PinnedCertificate(**row._mapping) for row in connection.execute(query)]


def try_pinned(connection: sa.Connection, fingerprint: str) -> PinnedCertificate | None:
    """The pinned certificate with this fingerprint, if there is one."""
    table = tables.pinned_certificates
    row = connection.execute(sa.select(table).where(table.c.fingerprint == fingerprint)).first()
    return None if row is None else PinnedCertificate(**row._mapping)
