"""Schemas of certificates, server names and certificate authorities.

Source: kong/db/schema/entities/{certificates,snis,ca_certificates}.lua 3.9; texts of a live Kong 3.9.1.
"""

from typing import Any

from kongdp.entities.checks import Custom, MutuallyRequired
from kongdp.entities.pem import (
    authority_problem,
    certificate_problem,
    key_problem,
    pair_matches,
    same_key_type,
    sha256_digest,
)
from kongdp.entities.schema import Schema
from kongdp.entities.schemas.common import (
    WILDCARD_SNI,
    array,
    entity_id,
    foreign,
    plain_id,
    string,
    tags,
    times,
)
from kongdp.entities.table import Row

_CERT = string(required=True, referenceable=True, validator=certificate_problem)
_KEY = string(required=True, referenceable=True, encrypted=True, validator=key_problem)


def _any_reference(*values: Any) -> bool:
    """A value that a vault will supply cannot be compared with another yet."""
    return any(isinstance(value, str) and value.startswith("{vault://") for value in values)


def _pair_problem(row: Row) -> str | None:
    cert, key = row["cert"], row["key"]
    if cert is None or key is None or _any_reference(cert, key) or pair_matches(cert, key):
        return None
    return "certificate does not match key"


def _alternative_pair_problem(row: Row) -> str | None:
    cert, key = row["cert_alt"], row["key_alt"]
    if cert is None or key is None or _any_reference(cert, key) or pair_matches(cert, key):
        return None
    return "alternative certificate does not match key"


def _types_problem(row: Row) -> str | None:
    cert, other = row["cert"], row["cert_alt"]
    if cert is None or other is None or _any_reference(cert, other) or not same_key_type(cert, other):
        return None
    return (
        "certificate and alternative certificate need to have different type (e.g. RSA and ECDSA), "
        "the provided certificates were both of the same type"
    )


CERTIFICATES = Schema(
    name="certificates",
    fields=(
        entity_id(),
        *times(),
        ("cert", _CERT),
        ("key", _KEY),
        ("cert_alt", _CERT.but(required=False)),
        ("key_alt", _KEY.but(required=False)),
        tags(),
        ("snis", array(WILDCARD_SNI, required=False, transient=True)),
    ),
    checks=(
        MutuallyRequired(("cert_alt", "key_alt")),
        Custom(("cert", "key"), _pair_problem),
        Custom(("cert_alt", "key_alt"), _alternative_pair_problem),
        Custom(("cert", "cert_alt"), _types_problem),
    ),
)

SNIS = Schema(
    name="snis",
    endpoint_key="name",
    fields=(
        plain_id(),
        ("name", WILDCARD_SNI.but(required=True, unique=True, unique_across_ws=True)),
        *times(),
        tags(),
        ("certificate", foreign("certificates", required=True)),
    ),
)


def _with_digest(row: Row) -> Row:
    return {**row, "cert_digest": sha256_digest(row["cert"]) or row["cert_digest"]}


CA_CERTIFICATES = Schema(
    name="ca_certificates",
    workspaceable=False,
    fields=(
        plain_id(),
        *times(),
        ("cert", string(required=True, validator=certificate_problem)),
        ("cert_digest", string(unique=True)),
        tags(),
    ),
    checks=(Custom(("cert",), lambda row: authority_problem(row["cert"]) if row["cert"] else None),),
    derive=_with_digest,
)
