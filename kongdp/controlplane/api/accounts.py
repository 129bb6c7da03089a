"""Endpoints of accounts: signing in and out, one's own tokens and password, users.

In: HTTP.  Out: JSON without secrets, except a new token's once; rules are `users`' and `access`'. Cold.
"""

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import HTTPConnection

from kongdp.controlplane import users
from kongdp.controlplane.access import Identity
from kongdp.controlplane.api import guard, preconditions
from kongdp.controlplane.api.actors import IDENTITY
from kongdp.controlplane.api.problems import ApiError
from kongdp.controlplane.plane import Plane
from kongdp.controlplane.users import Account, Token

Role = Literal["none", "viewer", "editor", "admin"]
Roles = Annotated[dict[str, Role], Field(max_length=1000, description="by id or name of a runtime group")]
Password = Annotated[str, Field(max_length=users.PASSWORD_LENGTH_MAX)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Credentials(_Body):
    """Name and password."""

    name: str = Field(max_length=1024)
    password: str = Field(max_length=4096)


class NewUser(_Body):
    """A user to create. `role` counts everywhere, `roles` in one group each; the higher one wins."""

    name: str
    password: Password
    role: Role = "none"
    roles: Roles = Field(default_factory=dict)


class UserChange(_Body):
    """What to change of a user."""

    password: Password | None = None
    role: Role | None = None
    roles: Roles | None = None


class PasswordChange(_Body):
    """One's own new password."""

    current: str = Field(max_length=4096)
    password: Password


class NewToken(_Body):
    """A token to create: it may do what its owner may, but no more than `role`, and only in `groups` if given."""

    name: str
    role: Role = "viewer"
    groups: Annotated[list[str], Field(max_length=1000)] | None = None
    lifetime_s: float = Field(default=users.TOKEN_LIFETIME_S, gt=0, le=users.TOKEN_LIFETIME_S_MAX)


class Me(BaseModel):
    """Who asks, and what they may: `limit` and `groups` are a token's."""

    id: str
    name: str
    role: str
    roles: dict[str, str]
    limit: str
    groups: list[str] | None
    via: str


class Session(Me):
    """Who has signed in, and the token that their changes need."""

    csrf_token: str


class Users(BaseModel):
    """Users."""

    items: list[Account]


class Tokens(BaseModel):
    """Tokens, without their secrets."""

    items: list[Token]


@dataclass(frozen=True, slots=True)
class MadeToken(Token):
    """A new token with its secret."""

    token: str


def make_router(plane: Plane) -> APIRouter:
    """The endpoints over a running control plane."""
    router = APIRouter(prefix="/v2", tags=["accounts"])
    _add_session(router, plane)
    _add_own(router, plane)
    _add_users(router, plane)
    return router


def identity_of(request: HTTPConnection) -> Identity:
    """Who asks. Raises ApiError 401 where nobody has signed in (an open listener)."""
    identity = request.scope.get(IDENTITY)
    if not isinstance(identity, Identity):
        raise ApiError(401, "this takes a signed-in user")
    return identity


def _add_session(router: APIRouter, plane: Plane) -> None:
    @router.post("/session", status_code=201, response_model=Session)
    async def sign_in(body: Credentials, request: Request) -> JSONResponse:
        """Sign in: sets the session's cookie and answers the CSRF token that goes with it."""
        address = request.client.host if request.client is not None else "unix socket"
        old = guard.session_of(request.headers)

        def open_session() -> tuple[Identity | None, str]:
            user = plane.accounts.sign_in(body.name, body.password, address)
            with plane.database.write() as connection:
                # What was in the browser before is over: nobody may have planted it there.
                users.close_session(connection, old)
                secret = users.open_session(connection, user.id, address, plane.clock())
            return users.identity_of(plane.database, user.id, via="session"), secret

        identity, secret = await plane.database.run(open_session)
        if identity is None:
            raise ApiError(401, "wrong user name or password")
        request.scope[IDENTITY] = identity
        response = JSONResponse({**_shown_identity(identity), "csrf_token": users.csrf_token(secret)}, 201)
        is_tls = request.url.scheme == "https"
        response.set_cookie(guard.COOKIE, secret, path="/", secure=is_tls, httponly=True, samesite="strict")
        return response

    @router.get("/session", response_model=Session)
    async def get_session(request: Request) -> dict[str, Any]:
        """Who has signed in here, and the CSRF token."""
        secret = guard.session_of(request.headers)
        identity = await plane.database.run(users.try_session, plane.database, secret, plane.clock())
        if identity is None:
            raise ApiError(401, "nobody has signed in")
        return {**_shown_identity(identity), "csrf_token": users.csrf_token(secret)}

    @router.delete("/session", status_code=204)
    async def sign_out(request: Request) -> Response:
        """End the session."""
        secret = guard.session_of(request.headers)

        def close() -> None:
            with plane.database.write() as connection:
                users.close_session(connection, secret)

        await plane.database.run(close)
        response = Response(status_code=204)
        response.delete_cookie(guard.COOKIE, path="/")
        return response


def _add_own(router: APIRouter, plane: Plane) -> None:
    @router.get("/me", response_model=Me)
    async def me(request: Request) -> dict[str, Any]:
        """Who asks, and what they may."""
        return _shown_identity(identity_of(request))

    @router.put("/me/password", status_code=204)
    async def change_password(body: PasswordChange, request: Request) -> Response:
        """Change one's own password; ends all of one's sessions."""
        identity = identity_of(request)
        address = request.client.host if request.client is not None else "unix socket"

        def change() -> None:
            plane.accounts.sign_in(identity.name, body.current, address)
            hasher = plane.accounts.hasher
            with plane.database.write() as connection:
                account = users.find(connection, identity.user_id)
                users.update(connection, hasher, account, now=plane.clock(), password=body.password)

        await plane.database.run(change)
        return Response(status_code=204)

    @router.get("/tokens", response_model=Tokens)
    async def list_tokens(request: Request) -> dict[str, Any]:
        """One's own access tokens, without their secrets."""
        identity = identity_of(request)

        def read() -> list[Token]:
            with plane.database.read() as connection:
                return users.tokens_of(connection, identity.user_id)

        return {"items": [asdict(token) for token in await plane.database.run(read)]}

    @router.post("/tokens", status_code=201, response_model=MadeToken)
    async def create_token(body: NewToken, request: Request) -> MadeToken:
        """Make an access token. It is shown only here."""
        identity = identity_of(request)

        def make() -> tuple[Token, str]:
            with plane.database.write() as connection:
                return users.create_token(
                    connection,
                    identity,
                    name=body.name,
                    role=body.role,
                    group_names=body.groups,
                    lifetime_s=body.lifetime_s,
                    now=plane.clock(),
                )

        token, secret = await plane.database.run(make)
        return MadeToken(**asdict(token), token=secret)

    @router.delete("/tokens/{token}", status_code=204)
    async def delete_token(token: str, request: Request) -> Response:
        """Revoke one of one's tokens."""
        identity = identity_of(request)

        def delete() -> bool:
            with plane.database.write() as connection:
                return users.delete_token(connection, identity.user_id, token)

        if not await plane.database.run(delete):
            raise ApiError(404, f"there is no token {token!r}")
        return Response(status_code=204)


def _add_users(router: APIRouter, plane: Plane) -> None:
    @router.get("/users", response_model=Users)
    async def list_users() -> dict[str, Any]:
        """Every user."""

        def read() -> list[Account]:
            with plane.database.read() as connection:
                return users.all_accounts(connection)

        return {"items": [asdict(account) for account in await plane.database.run(read)]}

    @router.post("/users", status_code=201, response_model=Account)
    async def create_user(body: NewUser) -> JSONResponse:
        """A new user."""

        def create() -> Account:
            hasher = plane.accounts.hasher
            with plane.database.write() as connection:
                values = {"name": body.name, "password": body.password, "role": body.role, "roles": dict(body.roles)}
                return users.create(connection, hasher, **values, now=plane.clock())  # type: ignore[arg-type]

        shown = asdict(await plane.database.run(create))
        return preconditions.tagged(shown, shown, 201)

    @router.get("/users/{user}", response_model=Account)
    async def get_user(user: str) -> JSONResponse:
        """A user by id or name."""

        def read() -> Account:
            with plane.database.read() as connection:
                return users.find(connection, user)

        shown = asdict(await plane.database.run(read))
        return preconditions.tagged(shown, shown)

    @router.patch("/users/{user}", response_model=Account)
    async def update_user(user: str, body: UserChange, if_match: preconditions.IfMatch = None) -> JSONResponse:
        """Change a user's password or roles. A new password ends all of their sessions."""

        def update() -> Account:
            hasher = plane.accounts.hasher
            with plane.database.write() as connection:
                account = users.find(connection, user)
                preconditions.check(if_match, asdict(account))
                roles = None if body.roles is None else dict(body.roles)
                return users.update(
                    connection, hasher, account, now=plane.clock(), password=body.password, role=body.role, roles=roles
                )

        shown = asdict(await plane.database.run(update))
        return preconditions.tagged(shown, shown)

    @router.delete("/users/{user}", status_code=204)
    async def delete_user(user: str) -> Response:
        """Delete a user with sessions and tokens; the last administrator stays."""

        def delete() -> None:
            with plane.database.write() as connection:
                users.delete(connection, users.find(connection, user))

        await plane.database.run(delete)
        return Response(status_code=204)


def _shown_identity(identity: Identity) -> dict[str, Any]:
    return {
        "id": identity.user_id,
        "name": identity.name,
        "role": identity.role,
        "roles": dict(identity.roles),
        "limit": identity.limit,
        "groups": None if identity.groups is None else sorted(identity.groups),
        "via": identity.via,
    }
