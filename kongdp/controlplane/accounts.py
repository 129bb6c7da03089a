"""People and one-time tokens: the first administrator, passwords, who may enrol a data plane.

In: names, passwords, tokens.  Out: users; errors that say no more than a stranger may know. Passwords are kept as
argon2 hashes, tokens as digests; neither is ever logged. Guessing is throttled by name and by address.
Cold: checking a password takes tens of milliseconds on purpose, so `sign_in` is called off the event loop.
"""

import hashlib
import secrets
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from argon2 import PasswordHasher

from kongdp.controlplane.passwords import Passwords, SignInError
from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import Database

ADMIN = "admin"
# 128 bits: cannot be guessed, and short enough to be copied by hand.
PASSWORD_BYTES = 16
TOKEN_PREFIX = "kdp_enrol_"
TOKEN_BYTES = 24
TOKEN_LIFETIME_S = 3600.0
TOKEN_LIFETIME_S_MAX = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class User:
    """Who signed in."""

    id: str
    name: str
    role: str


class Accounts:
    """Users and tokens over the database."""

    def __init__(
        self, database: Database, *, clock: Callable[[], float] = time.time, hasher: PasswordHasher | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._passwords = Passwords(clock, hasher)

    @property
    def hasher(self) -> PasswordHasher:
        """What makes password hashes."""
        return self._passwords.hasher

    def ensure_admin(self) -> str | None:
        """Make the first administrator when there is no user yet; returns the generated password, which is kept
        nowhere.
        """
        count = sa.select(sa.func.count()).select_from(tables.users)
        with self._database.read() as connection:
            if connection.scalar(count):
                return None
        password = secrets.token_urlsafe(PASSWORD_BYTES)
        hashed = self.hasher.hash(password)  # too long for a transaction
        now = self._clock()
        row = {"id": str(uuid.uuid4()), "name": ADMIN, "password_hash": hashed, "role": "admin"}
        try:
            with self._database.write() as connection:
                if connection.scalar(count):
                    return None
                connection.execute(sa.insert(tables.users), {**row, "created_at": now, "updated_at": now})
        except sa.exc.IntegrityError:  # a replica that starts at the same moment was first
            return None
        return password

    def sign_in(self, name: str, password: str, address: str) -> User:
        """Check a password. Raises SignInError, also while the name or the address must wait."""
        keys = (f"name:{name[:256]}", f"address:{address}")
        self._passwords.check_wait(*keys)
        if "\0" in name or any("\ud800" <= character <= "\udfff" for character in name):
            raise SignInError("wrong user name or password")
        with self._database.read() as connection:
            row = connection.execute(sa.select(tables.users).where(tables.users.c.name == name)).first()
        # A name that does not exist is checked too, so that the time of an answer does not tell which names do.
        hashed = None if row is None else row.password_hash
        if not self._passwords.is_right(hashed, password, *keys) or row is None:
            raise SignInError("wrong user name or password")
        return User(row.id, row.name, row.role)

    def check_address(self, address: str) -> None:
        """Raise SignInError while an address that presented wrong tokens must wait."""
        self._passwords.check_wait(f"address:{address}")

    def wrong_token(self, address: str) -> None:
        """Count a wrong token of an address."""
        self._passwords.failed(f"address:{address}")


def create_token(
    connection: sa.Connection, group_id: str, *, created_by: str, lifetime_s: float, now: float
) -> dict[str, Any]:
    """Make a one-time enrolment token for a group; the answer holds the only copy of its text."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    row = {
        "id": str(uuid.uuid4()),
        "group_id": group_id,
        "created_at": now,
        "created_by": created_by,
        "expires_at": now + lifetime_s,
    }
    connection.execute(sa.insert(tables.enrolment_tokens), {**row, "digest": _digest(token)})
    return {**row, "token": token}


def try_use_token(connection: sa.Connection, token: str, *, used_by: str, now: float) -> tuple[str, str] | None:
    """Use up a token: (token id, group id), or None when it is unknown, used or expired. Rolled back, it may be used
    again.
    """
    table = tables.enrolment_tokens
    is_good = (table.c.digest == _digest(token), table.c.used_at.is_(None), table.c.expires_at > now)
    # One statement: of two requests with one token only one gets a row.
    row = connection.execute(
        sa.update(table).where(*is_good).values(used_at=now, used_by=used_by).returning(table.c.id, table.c.group_id)
    ).first()
    return None if row is None else (row.id, row.group_id)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
