"""Signing in by OpenID Connect: a person goes to the provider and comes back as a user of ours, or is refused.

In: settings; a browser that starts, and the same browser that comes back.  Out: an address to go to; a session. Between the two
there is a row for ten minutes, used once, and bound to the browser by a cookie: an answer without that cookie, a second
time, or with another's state is refused.
Who may come in: with `domains`, whoever has a verified e-mail address in one of them; and then by the roles that groups of
the provider stand for. The user is made at the first sign-in, named by a claim; a name that is taken is never taken over.
The role follows the provider at each sign-in, and whoever has none left is refused and loses the sessions.
Cold; called in threads. Source: issue of the control plane; provider side in oidc_provider.
"""

import secrets
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from kongdp.controlplane import users
from kongdp.controlplane.access import RANKS
from kongdp.controlplane.oidc_provider import Client, Provider, ProviderError
from kongdp.controlplane.passwords import NO_PASSWORD
from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import Database
from kongdp.controlplane.users import NAME_LENGTH_MAX, AccountError, digest
from kongdp.errors import KongdpError, Source

ATTEMPT_LIFETIME_S = 600.0
# Anyone can begin to sign in: of so many that are under way the oldest go.
ATTEMPTS_MAX = 1000
SECRET_BYTES = 32
ANSWER_LENGTH_MAX = 4096


class OidcError(KongdpError):
    """Somebody cannot sign in; the message is for them, `status` is HTTP's, `detail` for the log."""

    source = Source.CLIENT

    def __init__(self, status: int, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail or message


@dataclass(frozen=True, slots=True)
class OidcOptions:
    """How to sign in by OpenID Connect. `roles`: group of the provider -> role; `redirect_uri` None: by the request."""

    client: Client
    redirect_uri: str | None = None
    name_claim: str = "email"
    roles_claim: str = "groups"
    roles: Mapping[str, str] = field(default_factory=dict)
    default_role: str = "none"
    domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who came in: the user, a new session's secret, where they wanted to go."""

    user_id: str
    name: str
    session: str
    next: str


class OidcSignIn:
    """Sign-ins over the database and one provider."""

    def __init__(self, database: Database, options: OidcOptions, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._options = options
        self._clock = clock
        self._provider = Provider(options.client, clock)

    def start(self, browser: str, callback: str, next: str) -> str:
        """Where to send the browser that has the secret `browser` in a cookie. Raises OidcError."""
        state, nonce, verifier = (secrets.token_urlsafe(SECRET_BYTES) for _value in range(3))
        redirect_uri = self._options.redirect_uri or callback
        try:
            address = self._provider.address(redirect_uri, state, nonce, verifier)
        except ProviderError as error:
            raise OidcError(502, "the sign-in provider cannot be reached", str(error)) from None
        table, now = tables.sign_in_attempts, self._clock()
        row = {"digest": digest(state), "browser": digest(browser), "nonce": nonce, "verifier": verifier}
        with self._database.write() as connection:
            newest = sa.select(table.c.created_at).order_by(table.c.created_at.desc()).offset(ATTEMPTS_MAX - 2).limit(1)
            oldest = max(connection.scalar(newest) or 0.0, now - ATTEMPT_LIFETIME_S)
            connection.execute(sa.delete(table).where(table.c.created_at < oldest))
            connection.execute(sa.insert(table), {**row, "redirect_uri": redirect_uri, "next": next, "created_at": now})
        return address

    def finish(self, answer: Mapping[str, str], browser: str, old_session: str, address: str) -> SignedIn:
        """The browser is back with the provider's answer. `old_session` is over. Raises OidcError."""
        attempt = self._take_attempt(answer.get("state", ""), browser)
        if "error" in answer:
            detail = f"the provider refuses: {answer['error'][:100]!r}"
            raise OidcError(401, "the sign-in provider has refused", detail)
        code = answer.get("code", "")
        if not 0 < len(code) <= ANSWER_LENGTH_MAX:
            raise OidcError(400, "the answer has no code")
        try:
            self._provider.check_issuer(answer.get("iss"))
            claims = self._provider.claims(code, attempt.redirect_uri, attempt.nonce, attempt.verifier)
        except ProviderError as error:
            raise OidcError(401, "the sign-in provider's answer cannot be trusted", str(error)) from None
        return self._admit(claims, attempt.next, old_session, address)

    def _take_attempt(self, state: str, browser: str) -> sa.Row[Any]:
        """The attempt that a state is of, which is used up. Raises OidcError."""
        table = tables.sign_in_attempts
        with self._database.write() as connection:
            found = connection.execute(
                sa.delete(table)
                .where(
                    table.c.digest == digest(state),
                    table.c.browser == digest(browser),
                    table.c.created_at > self._clock() - ATTEMPT_LIFETIME_S,
                )
                .returning(*table.c)
            ).first()
        if found is None or not browser:
            raise OidcError(400, "this sign-in is over, or was begun in another browser: start again")
        return found

    def _admit(self, claims: Mapping[str, Any], next: str, old_session: str, address: str) -> SignedIn:
        self._check_domain(claims)
        role = self._role(claims)
        refusal = None
        with self._database.write() as connection:
            user_id = self._known(connection, claims["sub"])
            if role == "none":
                # Whoever may no longer: what is open is closed, and the refusal comes after the commit.
                if user_id is not None:
                    connection.execute(sa.delete(tables.sessions).where(tables.sessions.c.user_id == user_id))
                refusal = OidcError(403, "your account has no role here: ask an administrator")
            else:
                name = self._follow(connection, user_id, claims, role)
                user_id = self._known(connection, claims["sub"])
                assert user_id is not None
                users.close_session(connection, old_session)
                secret = users.open_session(connection, user_id, address, self._clock())
        if refusal is not None:
            raise refusal
        return SignedIn(str(user_id), name, secret, next)

    def _follow(self, connection: sa.Connection, user_id: str | None, claims: Mapping[str, Any], role: str) -> str:
        """Make the user, or give the one that is there the provider's role; the user's name. Raises OidcError."""
        now, table = self._clock(), tables.users
        if user_id is not None:
            account = users.find(connection, user_id)
            if account.role != role:
                values = {"role": role, "updated_at": now}
                connection.execute(sa.update(table).where(table.c.id == user_id).values(values))
                if account.role == "admin":
                    _check_admin_left(connection)
            return account.name
        name = self._name(claims)
        if connection.scalar(sa.select(table.c.id).where(table.c.name == name)) is not None:
            detail = f"the name {name!r} is a local user's"
            raise OidcError(403, "there is a user of your name who signs in otherwise: ask an administrator", detail)
        row = {"id": str(uuid.uuid4()), "name": name, "password_hash": NO_PASSWORD, "role": role}
        connection.execute(sa.insert(table), {**row, "created_at": now, "updated_at": now})
        identity = {"issuer": self._options.client.issuer, "subject": claims["sub"], "user_id": row["id"]}
        connection.execute(sa.insert(tables.user_identities), identity)
        return name

    def _known(self, connection: sa.Connection, subject: str) -> str | None:
        table = tables.user_identities
        query = sa.select(table.c.user_id).where(
            table.c.issuer == self._options.client.issuer, table.c.subject == subject
        )
        found: str | None = connection.scalar(query)
        return found

    def _name(self, claims: Mapping[str, Any]) -> str:
        name = claims.get(self._options.name_claim)
        is_good = isinstance(name, str) and name.isprintable() and name == name.strip() and ":" not in name
        if not is_good or not 0 < len(str(name)) <= NAME_LENGTH_MAX:
            detail = f"the claim {self._options.name_claim!r} is no name for a user: {str(name)[:100]!r}"
            raise OidcError(403, "the sign-in provider gives you no usable name", detail)
        return str(name)

    def _check_domain(self, claims: Mapping[str, Any]) -> None:
        if not self._options.domains:
            return
        email = claims.get("email")
        domain = email.rpartition("@")[2].lower() if isinstance(email, str) and "@" in email else ""
        if claims.get("email_verified") is not True or domain not in self._options.domains:
            detail = f"{str(email)[:100]!r} is not verified, or not of an allowed domain"
            raise OidcError(403, "your e-mail address is not one that may sign in here", detail)

    def _role(self, claims: Mapping[str, Any]) -> str:
        """The highest role that a group of the person stands for, else the default."""
        shown = claims.get(self._options.roles_claim)
        groups: Iterable[Any] = shown if isinstance(shown, list) else [shown]
        roles = [
            self._options.roles[group] for group in groups if isinstance(group, str) and group in self._options.roles
        ]
        return max((*roles, self._options.default_role), key=lambda role: RANKS[role])


def _check_admin_left(connection: sa.Connection) -> None:
    try:
        users.check_admin_left(connection)
    except AccountError as error:
        raise OidcError(403, str(error)) from None
