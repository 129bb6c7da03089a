"""Users, their sessions and their access tokens over the database.

In: what administrators and users ask for; tokens of requests.  Out: rows without secrets; identities (access.Identity).
Tokens and sessions are random, shown once and kept as digests. A session ends when it was idle or open too long, and
with a change of the password; a token at its date. Cold; called off the event loop.
"""

import hashlib
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from argon2 import PasswordHasher

from kongdp.controlplane import groups
from kongdp.controlplane.access import RANKS, ROLES, Identity
from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import Database
from kongdp.errors import KongdpError, Source

TOKEN_PREFIX = "kdp_pat_"
SECRET_BYTES = 32
TOKEN_LIFETIME_S = 90 * 86_400.0
TOKEN_LIFETIME_S_MAX = 366 * 86_400.0
TOKENS_MAX = 100
SESSION_IDLE_S = 2 * 3600.0
SESSION_LIFETIME_S = 12 * 3600.0
# A session or token that is in use is written at most this often.
USED_STEP_S = 60.0
NAME_LENGTH_MAX = 128
PASSWORD_LENGTH_MIN = 8
PASSWORD_LENGTH_MAX = 1024


class AccountError(KongdpError):
    """An account cannot be made or changed; `status` is HTTP's, `field` names what is wrong."""

    source = Source.CLIENT

    def __init__(self, status: int, message: str, field: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.field = field


@dataclass(frozen=True, slots=True)
class Account:
    """A user as administrators see one; `roles` by group id."""

    id: str
    name: str
    role: str
    roles: dict[str, str]
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Token:
    """An access token without its secret. `groups` None: wherever its owner has a role."""

    id: str
    name: str
    role: str
    groups: list[str] | None
    created_at: float
    expires_at: float
    used_at: float | None


def all_accounts(connection: sa.Connection) -> list[Account]:
    """Every user, by name."""
    rows = connection.execute(sa.select(tables.users).order_by(tables.users.c.name))
    return [_account(connection, row) for row in rows]


def find(connection: sa.Connection, id_or_name: str) -> Account:
    """A user by id or name. Raises AccountError."""
    table = tables.users
    row = connection.execute(
        sa.select(table).where(sa.or_(table.c.id == id_or_name, table.c.name == id_or_name))
    ).first()
    if row is None:
        raise AccountError(404, f"there is no user {id_or_name!r}")
    return _account(connection, row)


def create(
    connection: sa.Connection,
    hasher: PasswordHasher,
    *,
    name: str,
    password: str,
    role: str,
    roles: Mapping[str, str],
    now: float,
) -> Account:
    """A new user; `roles` by group id or name. Raises AccountError."""
    _check_name(name)
    _check_role("role", role)
    if connection.scalar(sa.select(tables.users.c.id).where(tables.users.c.name == name)) is not None:
        raise AccountError(409, f"there is a user {name!r} already", "name")
    id = str(uuid.uuid4())
    row = {"id": id, "name": name, "password_hash": _hashed(hasher, password), "role": role}
    connection.execute(sa.insert(tables.users), {**row, "created_at": now, "updated_at": now})
    _write_roles(connection, id, roles)
    return find(connection, id)


def update(
    connection: sa.Connection,
    hasher: PasswordHasher,
    account: Account,
    *,
    now: float,
    password: str | None = None,
    role: str | None = None,
    roles: Mapping[str, str] | None = None,
) -> Account:
    """Change what is given. A new password ends every session. Raises AccountError; also when no admin would be left."""
    values: dict[str, Any] = {"updated_at": now}
    if role is not None:
        _check_role("role", role)
        values["role"] = role
    if password is not None:
        values["password_hash"] = _hashed(hasher, password)
        connection.execute(sa.delete(tables.sessions).where(tables.sessions.c.user_id == account.id))
    connection.execute(sa.update(tables.users).where(tables.users.c.id == account.id).values(values))
    if roles is not None:
        _write_roles(connection, account.id, roles)
    check_admin_left(connection)
    return find(connection, account.id)


def delete(connection: sa.Connection, account: Account) -> None:
    """Delete a user with sessions and tokens. Raises AccountError for the last admin."""
    connection.execute(sa.delete(tables.users).where(tables.users.c.id == account.id))
    check_admin_left(connection)


def open_session(connection: sa.Connection, user_id: str, address: str, now: float) -> str:
    """A new session; returns its secret, which is kept nowhere."""
    secret = secrets.token_urlsafe(SECRET_BYTES)
    row = {"digest": digest(secret), "user_id": user_id, "address": address, "created_at": now, "used_at": now}
    table = tables.sessions
    expired = sa.or_(table.c.created_at < now - SESSION_LIFETIME_S, table.c.used_at < now - SESSION_IDLE_S)
    connection.execute(sa.delete(table).where(expired))
    connection.execute(sa.insert(table), row)
    return secret


def close_session(connection: sa.Connection, secret: str) -> None:
    """End a session; silent when there is none."""
    connection.execute(sa.delete(tables.sessions).where(tables.sessions.c.digest == digest(secret)))


def csrf_token(secret: str) -> str:
    """What a page must send beside the session's cookie: who cannot read the cookie cannot work it out."""
    return hashlib.sha256(b"csrf " + secret.encode("utf-8", "surrogatepass")).hexdigest()


def try_session(database: Database, secret: str, now: float, *, is_use: bool = True) -> Identity | None:
    """Whose a session is, or None when it is unknown or over. `is_use` False: what a page asks by itself does not keep
    the session alive.
    """
    table = tables.sessions
    with database.read() as connection:
        row = connection.execute(sa.select(table).where(table.c.digest == digest(secret))).first()
        if row is None or row.created_at < now - SESSION_LIFETIME_S or row.used_at < now - SESSION_IDLE_S:
            return None
        identity = _identity(connection, row.user_id, via="session")
    if is_use and row.used_at < now - USED_STEP_S:
        with database.write() as connection:
            connection.execute(sa.update(table).where(table.c.digest == row.digest).values(used_at=now))
    return identity


def create_token(
    connection: sa.Connection,
    owner: Identity,
    *,
    name: str,
    role: str,
    group_names: Sequence[str] | None,
    lifetime_s: float,
    now: float,
) -> tuple[Token, str]:
    """A token for its owner that may do no more than its owner, and its secret. Raises AccountError."""
    _check_role("role", role)
    _check_text("name", name)
    table = tables.access_tokens
    held = sa.select(sa.func.count()).select_from(table).where(table.c.user_id == owner.user_id)
    if (connection.scalar(held) or 0) >= TOKENS_MAX:
        raise AccountError(400, f"a user may have at most {TOKENS_MAX} tokens", "name")
    if RANKS[role] > RANKS[owner.limit]:
        raise AccountError(403, f"a token that may act as {owner.limit} cannot make one that may more", "role")
    ids = None if group_names is None else [_group_id(connection, each) for each in group_names]
    if owner.groups is not None and (ids is None or not owner.groups.issuperset(ids)):
        raise AccountError(403, "a token of some groups cannot make one of others", "groups")
    secret = TOKEN_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    token = Token(str(uuid.uuid4()), name, role, ids, now, now + lifetime_s, None)
    values = {column: getattr(token, column) for column in Token.__slots__}
    connection.execute(sa.insert(table), {**values, "user_id": owner.user_id, "digest": digest(secret)})
    return token, secret


def tokens_of(connection: sa.Connection, user_id: str) -> list[Token]:
    """A user's tokens, newest first."""
    table = tables.access_tokens
    query = sa.select(*(table.c[name] for name in Token.__slots__)).where(table.c.user_id == user_id)
    return [Token(**row._mapping) for row in connection.execute(query.order_by(table.c.created_at.desc()))]


def delete_token(connection: sa.Connection, user_id: str, token_id: str) -> bool:
    """Revoke a token; False when the user has no such one."""
    table = tables.access_tokens
    return connection.execute(sa.delete(table).where(table.c.user_id == user_id, table.c.id == token_id)).rowcount > 0


def try_token(database: Database, secret: str, now: float) -> Identity | None:
    """Whose a token is, or None when it is unknown or expired."""
    table = tables.access_tokens
    with database.read() as connection:
        row = connection.execute(sa.select(table).where(table.c.digest == digest(secret))).first()
        if row is None or row.expires_at <= now:
            return None
        limits = frozenset(row.groups) if row.groups is not None else None
        identity = _identity(connection, row.user_id, via="token", limit=row.role, groups=limits)
    if row.used_at is None or row.used_at < now - USED_STEP_S:
        with database.write() as connection:
            connection.execute(sa.update(table).where(table.c.id == row.id).values(used_at=now))
    return identity


def identity_of(database: Database, user_id: str, *, via: str) -> Identity | None:
    """The identity of a user who has signed in by password."""
    with database.read() as connection:
        return _identity(connection, user_id, via=via)


def digest(secret: str) -> str:
    """What the database keeps of a secret with more than 128 random bits."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _identity(
    connection: sa.Connection, user_id: str, *, via: str, limit: str = "admin", groups: frozenset[str] | None = None
) -> Identity | None:
    row = connection.execute(sa.select(tables.users).where(tables.users.c.id == user_id)).first()
    if row is None:
        return None
    return Identity(row.id, row.name, row.role, _roles(connection, user_id), limit, groups, via)


def _account(connection: sa.Connection, row: sa.Row[Any]) -> Account:
    return Account(row.id, row.name, row.role, _roles(connection, row.id), row.created_at, row.updated_at)


def _roles(connection: sa.Connection, user_id: str) -> dict[str, str]:
    table = tables.user_roles
    rows = connection.execute(sa.select(table.c.group_id, table.c.role).where(table.c.user_id == user_id))
    return {row.group_id: row.role for row in rows}


def _write_roles(connection: sa.Connection, user_id: str, roles: Mapping[str, str]) -> None:
    table = tables.user_roles
    connection.execute(sa.delete(table).where(table.c.user_id == user_id))
    by_id: dict[str, str] = {}
    for name, role in roles.items():
        _check_role("roles", role)
        by_id[_group_id(connection, name)] = role
    if by_id:
        rows = [{"user_id": user_id, "group_id": id, "role": role} for id, role in by_id.items()]
        connection.execute(sa.insert(table), rows)


def _group_id(connection: sa.Connection, id_or_name: str) -> str:
    _check_text("groups", id_or_name)
    group = groups.find(connection, id_or_name)
    if group is None:
        raise AccountError(400, f"there is no runtime group {id_or_name!r}", "groups")
    return group.id


def check_admin_left(connection: sa.Connection) -> None:
    """Raise AccountError when there is no administrator (any more)."""
    admins = sa.select(sa.func.count()).select_from(tables.users).where(tables.users.c.role == "admin")
    if not connection.scalar(admins):
        raise AccountError(400, "the last administrator cannot be deleted or given another role", "role")


def _check_role(field: str, role: str) -> None:
    if role not in ROLES:
        raise AccountError(400, f"{field}: must be one of {', '.join(ROLES)}", field)


def _check_name(name: str) -> None:
    _check_text("name", name)
    if not name.strip() or name != name.strip() or len(name) > NAME_LENGTH_MAX or ":" in name:
        # A colon would end the name in HTTP's basic authentication (RFC 7617 section 2).
        raise AccountError(400, f"name: 1 to {NAME_LENGTH_MAX} characters without colons and outer spaces", "name")


def _check_text(field: str, text: str) -> None:
    if not text.isprintable() or len(text) > 256:
        raise AccountError(400, f"{field}: at most 256 printable characters", field)


def _hashed(hasher: PasswordHasher, password: str) -> str:
    if not PASSWORD_LENGTH_MIN <= len(password) <= PASSWORD_LENGTH_MAX:
        raise AccountError(400, f"password: {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters", "password")
    try:
        return hasher.hash(password)
    except UnicodeEncodeError:
        raise AccountError(400, "password: not valid Unicode", "password") from None
