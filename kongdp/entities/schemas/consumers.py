"""Schemas of consumers and their credentials.

Source: kong/db/schema/entities/consumers.lua and kong/plugins/*/daos.lua 3.9; texts of a live Kong 3.9.1.
"""

import hashlib

from kongdp.entities.checks import AtLeastOneOf, Conditional
from kongdp.entities.field import Field
from kongdp.entities.pem import public_key_problem
from kongdp.entities.schema import Schema
from kongdp.entities.schemas.common import entity_id, foreign, string, tags, times, timestamp
from kongdp.entities.table import Row

CONSUMERS = Schema(
    name="consumers",
    endpoint_key="username",
    fields=(
        entity_id(),
        *times(),
        ("username", string(unique=True, len_min=1)),
        ("custom_id", string(unique=True, len_min=1)),
        tags(len_min=1),
    ),
    checks=(AtLeastOneOf(("custom_id", "username")),),
)


def _owner() -> tuple[str, Field]:
    return "consumer", foreign("consumers", required=True, on_delete="cascade")


KEYAUTH_CREDENTIALS = Schema(
    name="keyauth_credentials",
    admin_path="key-auths",
    nested_path="key-auth",
    endpoint_key="key",
    cache_key=("key",),
    expires=True,
    fields=(
        entity_id(),
        timestamp("created_at"),
        _owner(),
        ("key", string(unique=True, auto=True)),
        tags(),
    ),
)


def _with_hashed_password(row: Row) -> Row:
    """Passwords are stored as the hex SHA-1 of password and consumer id (Kong's form: data planes compare with it)."""
    salted = row["password"] + row["consumer"]["id"]
    return {**row, "password": hashlib.sha1(salted.encode(), usedforsecurity=False).hexdigest()}


BASICAUTH_CREDENTIALS = Schema(
    name="basicauth_credentials",
    admin_path="basic-auths",
    nested_path="basic-auth",
    endpoint_key="username",
    cache_key=("username",),
    fields=(
        entity_id(),
        timestamp("created_at"),
        _owner(),
        ("username", string(required=True, unique=True)),
        ("password", string(required=True, encrypted=True)),
        tags(),
    ),
    transform=_with_hashed_password,
    transform_input=("password",),
)

_ASYMMETRIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA")
_ALGORITHMS = ("HS256", "HS384", "HS512", *_ASYMMETRIC[:3], "ES256", "ES384", "ES512", *_ASYMMETRIC[3:])

JWT_SECRETS = Schema(
    name="jwt_secrets",
    admin_path="jwts",
    nested_path="jwt",
    endpoint_key="key",
    cache_key=("key",),
    fields=(
        entity_id(),
        timestamp("created_at"),
        _owner(),
        ("key", string(unique=True, auto=True)),
        ("secret", string(auto=True, encrypted=True)),
        ("rsa_public_key", string(validator=public_key_problem)),
        ("algorithm", string(default="HS256", one_of=_ALGORITHMS)),
        tags(),
    ),
    checks=(Conditional("algorithm", {"one_of": _ASYMMETRIC}, "rsa_public_key", {"required": True}),),
)

ACLS = Schema(
    name="acls",
    nested_key="group",
    cache_key=("consumer", "group"),
    fields=(
        entity_id(),
        timestamp("created_at"),
        _owner(),
        ("group", string(required=True)),
        tags(),
    ),
)

HMACAUTH_CREDENTIALS = Schema(
    name="hmacauth_credentials",
    admin_path="hmac-auths",
    nested_path="hmac-auth",
    endpoint_key="username",
    cache_key=("username",),
    fields=(
        entity_id(),
        timestamp("created_at"),
        _owner(),
        ("username", string(required=True, unique=True)),
        ("secret", string(auto=True, encrypted=True)),
        tags(),
    ),
)
