"""New passwords for developers: by the one before, or by a link that an administrator hands out.

In: what a developer types; for whom a link is made.  Out: a link's secret (told once), a changed password. We send no
mail, so that an administrator passes a link on. It works once and for a day; a newer one replaces it. A new password ends
every session and every link.
Cold; called off the event loop. Source: ours; OWASP's forgot-password cheat sheet.
"""

import secrets
import time
from collections.abc import Callable

import sqlalchemy as sa

from kongdp.controlplane.catalogue_entries import CatalogueError
from kongdp.controlplane.developers import check_password, find
from kongdp.controlplane.passwords import Passwords, SignInError
from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import Database
from kongdp.controlplane.users import digest

LINK_LIFETIME_S = 86_400.0
SECRET_BYTES = 32


class DeveloperPasswords:
    """The changes, over the database."""

    def __init__(self, database: Database, passwords: Passwords, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._passwords = passwords
        self._clock = clock

    def make_link(self, developer: str) -> tuple[str, float]:
        """A link's secret for a developer (id or e-mail address), and when it ends. Raises CatalogueError."""
        secret, until = secrets.token_urlsafe(SECRET_BYTES), self._clock() + LINK_LIFETIME_S
        table = tables.developer_resets
        with self._database.write() as connection:
            found = find(connection, developer, lock=True)
            over = sa.or_(table.c.developer_id == found.id, table.c.expires_at < self._clock())
            connection.execute(sa.delete(table).where(over))
            row = {"digest": digest(secret), "developer_id": found.id, "expires_at": until}
            connection.execute(sa.insert(table), row)
        return secret, until

    def use_link(self, secret: str, password: str, address: str) -> None:
        """Set a password by a link. Raises CatalogueError for the password or a link that is over, SignInError for an
        address that tries too many.
        """
        key = f"reset:{address}"
        self._passwords.check_wait(key)
        check_password(password)
        hashed = self._passwords.hasher.hash(password)
        table = tables.developer_resets
        with self._database.write() as connection:
            fits = (table.c.digest == digest(secret), table.c.expires_at >= self._clock())
            # Deleted by whoever uses it first: of two at once the second finds nothing.
            used = connection.execute(sa.delete(table).where(*fits).returning(table.c.developer_id)).scalar()
            if used is not None:
                self._set(connection, used, hashed)
        if used is None:
            self._passwords.failed(key)
            raise CatalogueError(400, "this link was used, is too old, or was replaced by a newer one: ask for another")

    def change(self, developer_id: str, old: str, new: str, address: str) -> None:
        """Set a password by the one before. Raises CatalogueError, or SignInError when the old one is wrong."""
        keys = (f"developer-change:{developer_id}", f"address:{address}")
        self._passwords.check_wait(*keys)
        table = tables.developers
        with self._database.read() as connection:
            hashed = connection.scalar(sa.select(table.c.password_hash).where(table.c.id == developer_id))
        if not self._passwords.is_right(hashed, old, *keys):
            raise SignInError("the present password is wrong")
        check_password(new)
        made = self._passwords.hasher.hash(new)
        with self._database.write() as connection:
            self._set(connection, developer_id, made)

    def _set(self, connection: sa.Connection, developer_id: str, hashed: str) -> None:
        table = tables.developers
        values = {"password_hash": hashed, "updated_at": self._clock(), "edition": table.c.edition + 1}
        connection.execute(sa.update(table).where(table.c.id == developer_id).values(values))
        for mine in (tables.developer_sessions, tables.developer_resets):
            connection.execute(sa.delete(mine).where(mine.c.developer_id == developer_id))
