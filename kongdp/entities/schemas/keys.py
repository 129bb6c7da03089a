"""Schemas of keys, key sets and vaults.

Source: kong/db/schema/entities/{keys,key_sets,vaults}.lua 3.9.
"""

import json
from typing import Any

from kongdp.entities.checks import AtLeastOneOf, Custom, MutuallyExclusive
from kongdp.entities.field import Field
from kongdp.entities.pem import key_problem, public_key_problem
from kongdp.entities.schema import Schema, Variants
from kongdp.entities.schemas.common import entity_id, foreign, record, string, tags, times
from kongdp.entities.shape import Shape
from kongdp.entities.table import Row

KEY_SETS = Schema(
    name="key_sets",
    admin_path="key-sets",
    endpoint_key="name",
    cache_key=("name",),
    fields=(entity_id(), ("name", string(required=False, unique=True)), tags(), *times()),
)


def _key_problem(row: Row) -> str | None:
    """A JWK carries the same `kid` as the entity; a PEM has at least one half."""
    jwk, pem = row["jwk"], row["pem"]
    if jwk is not None and not jwk.startswith("{vault://"):
        try:
            decoded = json.loads(jwk)
        except (ValueError, RecursionError):
            return "could not json decode jwk string"
        if not isinstance(decoded, dict) or decoded.get("kid") != row["kid"]:
            return "kid in jwk.kid must be equal to keys.kid"
        if not isinstance(decoded.get("kty"), str):
            return "could not load JWK"
    if pem is not None and not (pem["private_key"] or pem["public_key"]):
        return "need to supply a PEM formatted public and/or private key."
    return None


KEYS = Schema(
    name="keys",
    endpoint_key="name",
    cache_key=("kid", "set"),
    fields=(
        entity_id(),
        ("set", foreign("key_sets", required=False, on_delete="cascade")),
        ("name", string(required=False, unique=True)),
        ("kid", string(required=True, unique=False)),
        ("jwk", string(referenceable=True, encrypted=True)),
        (
            "pem",
            record(
                (
                    "private_key",
                    string(required=False, referenceable=True, encrypted=True, validator=key_problem),
                ),
                ("public_key", string(required=False, referenceable=True, validator=public_key_problem)),
            ),
        ),
        tags(),
        *times(),
    ),
    checks=(
        MutuallyExclusive(("jwk", "pem")),
        AtLeastOneOf(("jwk", "pem")),
        Custom(("jwk", "pem", "kid"), _key_problem),
    ),
)

# Kinds of vault that Kong and Konnect have. References are not resolved by their own rules here, so only `env` has
# some.
_VAULT_KINDS = ("aws", "azure", "conjur", "env", "gcp", "hcv", "konnect")


def _vault_fields(config: Field) -> tuple[tuple[str, Field], ...]:
    return (
        entity_id(),
        (
            "prefix",
            string(
                required=True,
                unique=True,
                unique_across_ws=True,
                match="^[a-z][a-z%d-]-[a-z%d]+$",
                not_one_of=_VAULT_KINDS,
            ),
        ),
        ("name", string(required=True)),
        ("description", string()),
        ("config", config),
        *times(),
        tags(),
    )


def _vault_shapes() -> dict[str, Shape]:
    opaque: Any = Field(type="record", abstract=True)
    env = record(("prefix", string(match="^[%a_][%a%d_]*$")), required=True)
    return {kind: Shape(_vault_fields(env if kind == "env" else opaque)) for kind in _VAULT_KINDS}


VAULTS = Schema(
    name="vaults",
    endpoint_key="prefix",
    cache_key=("prefix",),
    fields=_vault_fields(Field(type="record", abstract=True)),
    variants=Variants("name", _vault_shapes(), unknown="vault '%s' is not installed"),
)
