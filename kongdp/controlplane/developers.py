"""Developers of the portal: accounts apart from the control plane's users, each with a status.

In: what a visitor types; what an administrator decides.  Out: values without secrets; SignInError or CatalogueError.
Signing up answers the same whether an address is known or not. Only an approved developer can sign in; what keeps the
others out is said after the right password alone. Sessions are random, kept as digests, and end when idle, when old,
and with the approval.
House rule: what a status means for keys at the gateway is `applications`' business, in the same transaction.
Cold; called off the event loop. Source: walkthrough section 11.
"""

import re
import secrets
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from kongdp.controlplane.catalogue_entries import CatalogueError, check_edition, check_name, check_storable
from kongdp.controlplane.passwords import PASSWORD_LENGTH_MAX, Passwords, SignInError
from kongdp.controlplane.portal_settings import read as read_settings
from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import Database
from kongdp.controlplane.users import PASSWORD_LENGTH_MIN, digest

PENDING, APPROVED, REJECTED, REVOKED = STATUSES = ("pending", "approved", "rejected", "revoked")
# What each status may become: a request is decided on, an approval taken back, a refusal reconsidered.
STEPS = {PENDING: (APPROVED, REJECTED), APPROVED: (REVOKED,), REJECTED: (APPROVED,), REVOKED: (APPROVED,)}
SESSION_IDLE_S = 8 * 3600.0
SESSION_LIFETIME_S = 7 * 86_400.0
USED_STEP_S = 60.0
SECRET_BYTES = 32
# Sign-ups come from strangers: beyond this many undecided ones nobody can sign up.
PENDING_MAX = 1000
# Enough for every mail server; not a judgement on what an address may look like.
EMAIL = re.compile(r"[^@\s\"'<>()\\,;:]{1,64}@[^@\s\"'<>()\\,;:]{1,190}")
REFUSED = {
    PENDING: "your account waits for approval",
    REJECTED: "your sign-up was rejected",
    REVOKED: "your access was revoked",
}


@dataclass(frozen=True, slots=True)
class Developer:
    """A developer, without secrets."""

    id: str
    email: str
    name: str
    status: str
    edition: int
    created_at: float
    updated_at: float


class Developers:
    """Developers and their sessions over the database."""

    def __init__(self, database: Database, passwords: Passwords, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._passwords = passwords
        self._clock = clock

    def sign_up(self, email: str, name: str, password: str, address: str) -> None:
        """Ask for an account. Raises CatalogueError for what can be seen to be wrong, SignInError when an address asks
        too often; says nothing of whether the e-mail address has an account.
        """
        self._passwords.check_wait(f"sign-up:{address}")
        self._passwords.failed(f"sign-up:{address}")
        self.create(email, name, password, is_request=True)

    def create(self, email: str, name: str, password: str, *, is_request: bool = False) -> Developer | None:
        """A new developer: approved, unless it `is_request` of a stranger; such a one is silently None for an address
        that is taken. Raises CatalogueError.
        """
        email = email.strip().lower()
        _check(email, name, password)
        hashed = self._passwords.hasher.hash(password)
        now = self._clock()
        with self._database.write() as connection:
            if is_request:
                self._check_pending(connection)
            status = APPROVED if not is_request or read_settings(connection).auto_approve_developers else PENDING
            if connection.scalar(sa.select(tables.developers.c.id).where(tables.developers.c.email == email)):
                if is_request:
                    return None
                raise CatalogueError(409, f"email: {email} has an account already", {"email": "must be unique"})
            made = Developer(str(uuid.uuid4()), email, name.strip(), status, 1, now, now)
            row = {column: getattr(made, column) for column in Developer.__slots__}
            connection.execute(sa.insert(tables.developers), {**row, "password_hash": hashed})
        return made

    def sign_in(self, email: str, password: str, address: str) -> tuple[Developer, str]:
        """The developer and a new session's secret. Raises SignInError."""
        email = email.strip().lower()
        keys = (f"developer:{email[:256]}", f"address:{address}")
        self._passwords.check_wait(*keys)
        row = None
        if EMAIL.fullmatch(email) and email.isprintable():
            with self._database.read() as connection:
                table = tables.developers
                row = connection.execute(sa.select(table).where(table.c.email == email)).first()
        hashed = None if row is None else row.password_hash
        if not self._passwords.is_right(hashed, password, *keys) or row is None:
            raise SignInError("wrong e-mail address or password")
        if row.status != APPROVED:
            raise SignInError(REFUSED[row.status])
        secret = secrets.token_urlsafe(SECRET_BYTES)
        with self._database.write() as connection:
            self._open_session(connection, row.id, secret)
        return _developer(row), secret

    def try_session(self, secret: str) -> Developer | None:
        """Whose a session is; None when it is unknown or over, or its developer no longer approved."""
        if not secret:
            return None
        table, now = tables.developer_sessions, self._clock()
        with self._database.read() as connection:
            row = connection.execute(sa.select(table).where(table.c.digest == digest(secret))).first()
            if row is None or row.created_at < now - SESSION_LIFETIME_S or row.used_at < now - SESSION_IDLE_S:
                return None
            found = find(connection, row.developer_id)
        if found.status != APPROVED:
            return None
        if row.used_at < now - USED_STEP_S:
            with self._database.write() as connection:
                connection.execute(sa.update(table).where(table.c.digest == row.digest).values(used_at=now))
        return found

    def close_session(self, secret: str) -> None:
        """End a session; silent when there is none."""
        with self._database.write() as connection:
            table = tables.developer_sessions
            connection.execute(sa.delete(table).where(table.c.digest == digest(secret)))

    def page(self, *, status: str | None = None, size: int, skip: int = 0) -> tuple[list[Developer], int]:
        """Developers by e-mail address, and how many there are."""
        table = tables.developers
        wanted = [] if status is None else [table.c.status == status]
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(table).where(*wanted).order_by(table.c.email).limit(size).offset(skip)
            ).all()
            total = connection.scalar(sa.select(sa.func.count()).select_from(table).where(*wanted)) or 0
        return [_developer(row) for row in rows], total

    def get(self, developer_id: str) -> Developer:
        """A developer by id or e-mail address. Raises CatalogueError."""
        with self._database.read() as connection:
            return find(connection, developer_id)

    def _open_session(self, connection: sa.Connection, developer_id: str, secret: str) -> None:
        table, now = tables.developer_sessions, self._clock()
        over = sa.or_(table.c.created_at < now - SESSION_LIFETIME_S, table.c.used_at < now - SESSION_IDLE_S)
        connection.execute(sa.delete(table).where(over))
        row = {"digest": digest(secret), "developer_id": developer_id, "created_at": now, "used_at": now}
        connection.execute(sa.insert(table), row)

    def _check_pending(self, connection: sa.Connection) -> None:
        table = tables.developers
        waiting = sa.select(sa.func.count()).select_from(table).where(table.c.status == PENDING)
        if (connection.scalar(waiting) or 0) >= PENDING_MAX:
            raise CatalogueError(503, "too many sign-ups wait for approval; try again later")


def find(connection: sa.Connection, id_or_email: str, *, lock: bool = False) -> Developer:
    """A developer. Raises CatalogueError 404."""
    check_storable("developer", id_or_email)
    table = tables.developers
    query = sa.select(table).where(sa.or_(table.c.id == id_or_email, table.c.email == id_or_email.lower()))
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise CatalogueError(404, f"there is no developer {id_or_email!r}")
    return _developer(row)


def decide(connection: sa.Connection, developer: Developer, status: str, now: float, expected: int | None) -> Developer:
    """Write another status; what is not approved has no session. Raises CatalogueError for a step that makes no sense."""
    check_edition(developer.edition, expected)
    check_step(developer.status, status)
    table = tables.developers
    values = {"status": status, "edition": developer.edition + 1, "updated_at": now}
    connection.execute(sa.update(table).where(table.c.id == developer.id).values(values))
    sessions = tables.developer_sessions
    connection.execute(sa.delete(sessions).where(sessions.c.developer_id == developer.id))
    return find(connection, developer.id)


def check_step(old: str, new: str) -> None:
    """Raise CatalogueError 409 unless a status may become another."""
    if new not in STEPS[old]:
        said = f"what is {old} can become {' or '.join(STEPS[old])}, not {new}"
        raise CatalogueError(409, f"status: {said}", {"status": said})


def _developer(row: sa.Row[Any]) -> Developer:
    return Developer(*(getattr(row, name) for name in Developer.__slots__))


def _check(email: str, name: str, password: str) -> None:
    if not EMAIL.fullmatch(email) or not email.isprintable():
        said = "must be an e-mail address"
        raise CatalogueError(400, f"email: {said}", {"email": said})
    check_storable("email", email)
    check_name("name", name.strip())
    check_storable("name", name)
    check_password(password)


def check_password(password: str) -> None:
    """Raise CatalogueError for a password that is too short or too long."""
    if not PASSWORD_LENGTH_MIN <= len(password) <= PASSWORD_LENGTH_MAX:
        said = f"must have {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters"
        raise CatalogueError(400, f"password: {said}", {"password": said})
    check_storable("password", password)
