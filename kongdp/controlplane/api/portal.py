"""Endpoints with which administrators run the developer portal: settings, developers, applications, registrations, keys.

In: HTTP.  Out: JSON without secrets, except a new key's and a new password link's, once; rules are `developers`', `applications`' and
`app_registration`'s. Developers themselves use the portal's own pages. Cold.
Source: walkthrough sections 11 and 12.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from kongdp.controlplane import portal_settings
from kongdp.controlplane.api.actors import actor_of
from kongdp.controlplane.api.parameters import PageInfo, PageNumber, PageSize
from kongdp.controlplane.api.preconditions import IfMatch, check, expected_number, tagged
from kongdp.controlplane.api.problems import ApiError
from kongdp.controlplane.app_registration import AppRegistration, AppRegistrations
from kongdp.controlplane.applications import Application, Applications, Key, Registration
from kongdp.controlplane.developer_passwords import DeveloperPasswords
from kongdp.controlplane.developers import Developer, Developers
from kongdp.controlplane.passwords import PASSWORD_LENGTH_MAX
from kongdp.controlplane.portal_rooms import PortalRooms
from kongdp.controlplane.portal_settings import PortalSettings
from kongdp.controlplane.store.database import Database

ACTOR = "portal API"
Decision = Literal["approved", "rejected", "revoked"]
StatusFilter = Annotated[
    Literal["pending", "approved", "rejected", "revoked"] | None, Query(alias="filter[status][eq]")
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SettingsChange(_Body):
    """What to change of the portal's settings."""

    title: str | None = None
    is_public: bool | None = None
    auto_approve_developers: bool | None = None
    auto_approve_applications: bool | None = None
    proxy_url: str | None = None


class NewDeveloper(_Body):
    """A developer to create, approved."""

    email: str = Field(max_length=256)
    name: str = Field(max_length=256)
    password: str = Field(max_length=PASSWORD_LENGTH_MAX)


class PasswordLink(BaseModel):
    """A way to a new password."""

    path: str
    expires_at: float


class StatusChange(_Body):
    """What an administrator decides."""

    status: Decision


class NewApplication(_Body):
    """An application to create for a developer (id or e-mail address)."""

    developer: str = Field(max_length=256)
    name: str
    reference_id: str
    description: str = ""


class ApplicationChange(_Body):
    """What to change of an application."""

    name: str | None = None
    description: str | None = None


class NewRegistration(_Body):
    """An application that is to be registered with a version; both by id."""

    application: str = Field(max_length=64)
    version: str = Field(max_length=64)


class Registering(_Body):
    """How applications register with a version. `key-auth` is the only kind there is."""

    auth_type: Literal["key-auth"] = "key-auth"
    auto_approve: bool = False


class NewKey(BaseModel):
    """A key; its text is shown only here."""

    id: str
    ending: str
    created_at: float
    key: str


class Keys(BaseModel):
    """Keys without their text."""

    items: list[Key]


class DeveloperPage(BaseModel):
    """Some of the developers."""

    items: list[Developer]
    page: PageInfo


class ApplicationPage(BaseModel):
    """Some of the applications."""

    items: list[Application]
    page: PageInfo


class RegistrationPage(BaseModel):
    """Some of the registrations."""

    items: list[Registration]
    page: PageInfo


def make_router(rooms: PortalRooms) -> APIRouter:
    """The endpoints."""
    router = APIRouter(prefix="/v2", tags=["portal"])
    developers, applications, versions, database = rooms.developers, rooms.applications, rooms.versions, rooms.database
    _add_settings(router, database)
    _add_developers(router, developers, applications, database)
    _add_password_links(router, rooms.developer_passwords, database)
    _add_applications(router, developers, applications, database)
    _add_keys(router, applications, database)
    _add_registrations(router, applications, database)
    _add_versions(router, versions, database)
    return router


def _paged(read: Callable[..., tuple[list[Any], int]], size: int, number: int, **options: Any) -> dict[str, Any]:
    items, total = read(size=size, skip=(number - 1) * size, **options)
    shown: dict[str, Any] = {"total_count": total}
    if number * size < total:
        shown["next_page_num"] = number + 1
    return {"items": [asdict(item) for item in items], "page": shown}


def _edited(value: Any, status: int = 200) -> JSONResponse:
    return tagged(asdict(value), value.edition, status)


def _add_settings(router: APIRouter, database: Database) -> None:
    def read() -> PortalSettings:
        with database.read() as connection:
            return portal_settings.read(connection)

    @router.get("/portal/settings", response_model=PortalSettings)
    async def get_settings() -> JSONResponse:
        """The portal's settings."""
        shown = asdict(await database.run(read))
        return tagged(shown, shown)

    @router.patch("/portal/settings", response_model=PortalSettings)
    async def update_settings(body: SettingsChange, if_match: IfMatch = None) -> JSONResponse:
        """Change the portal's settings. It is public or private; a public one has no application registration."""
        change = {name: value for name, value in body.model_dump().items() if value is not None}

        def update() -> PortalSettings:
            check(if_match, asdict(read()))
            return portal_settings.update(database, change)

        shown = asdict(await database.run(update))
        return tagged(shown, shown)


def _add_developers(router: APIRouter, developers: Developers, applications: Applications, database: Database) -> None:
    path = "/portal/developers"

    @router.get(path, response_model=DeveloperPage, response_model_exclude_none=True)
    async def list_developers(
        size: PageSize = 100, number: PageNumber = 1, status: StatusFilter = None
    ) -> dict[str, Any]:
        """Developers by e-mail address, all or those with a status."""
        return await database.run(_paged, developers.page, size, number, status=status)

    @router.post(path, status_code=201, response_model=Developer)
    async def create_developer(body: NewDeveloper) -> JSONResponse:
        """A new developer, approved."""
        made = await database.run(developers.create, body.email, body.name, body.password)
        if made is None:
            raise ApiError(409, "the e-mail address has an account already", {"email": "must be unique"})
        return _edited(made, 201)

    @router.get(path + "/{developer}", response_model=Developer)
    async def get_developer(developer: str) -> JSONResponse:
        """A developer by id or e-mail address."""
        return _edited(await database.run(developers.get, developer))

    @router.patch(path + "/{developer}", response_model=Developer)
    async def decide_developer(
        developer: str, body: StatusChange, request: Request, if_match: IfMatch = None
    ) -> JSONResponse:
        """Approve, reject or revoke a developer. Revoking ends sessions and deletes keys."""
        changed = await database.run(
            applications.decide_developer,
            developer,
            body.status,
            actor=actor_of(request, ACTOR),
            expected=expected_number(if_match),
        )
        return _edited(changed)

    @router.delete(path + "/{developer}", status_code=204)
    async def delete_developer(developer: str, request: Request) -> Response:
        """Delete a developer with applications and keys."""
        await database.run(applications.delete_developer, developer, actor=actor_of(request, ACTOR))
        return Response(status_code=204)


def _add_password_links(router: APIRouter, passwords: DeveloperPasswords, database: Database) -> None:
    @router.post("/portal/developers/{developer}/password-link", status_code=201)
    async def make_password_link(developer: str) -> PasswordLink:
        """A link by which a developer sets a new password, for an administrator to pass on: it works once and for a day, and
        replaces the one before. `path` is below the portal's address, and shown only here.
        """
        secret, until = await database.run(passwords.make_link, developer)
        return PasswordLink(path=f"/reset?link={secret}", expires_at=until)


def _add_applications(
    router: APIRouter, developers: Developers, applications: Applications, database: Database
) -> None:
    path = "/portal/applications"

    @router.get(path, response_model=ApplicationPage, response_model_exclude_none=True)
    async def list_applications(size: PageSize = 100, number: PageNumber = 1) -> dict[str, Any]:
        """Applications of all developers, by reference id."""
        return await database.run(_paged, applications.page, size, number)

    @router.post(path, status_code=201, response_model=Application)
    async def create_application(body: NewApplication) -> JSONResponse:
        """A new application of a developer."""
        values = (body.developer, body.name, body.reference_id, body.description)
        return _edited(await database.run(applications.create, *values), 201)

    @router.get(path + "/{application}", response_model=Application)
    async def get_application(application: str) -> JSONResponse:
        """An application by id."""
        return _edited(await database.run(applications.get, application))

    @router.patch(path + "/{application}", response_model=Application)
    async def update_application(application: str, body: ApplicationChange, if_match: IfMatch = None) -> JSONResponse:
        """Change an application's name or description; its reference id stays."""
        changed = await database.run(
            applications.update,
            application,
            name=body.name,
            description=body.description,
            expected=expected_number(if_match),
        )
        return _edited(changed)

    @router.delete(path + "/{application}", status_code=204)
    async def delete_application(application: str, request: Request, if_match: IfMatch = None) -> Response:
        """Delete an application; its keys are refused from then on."""
        await database.run(
            applications.delete, application, actor=actor_of(request, ACTOR), expected=expected_number(if_match)
        )
        return Response(status_code=204)


def _add_keys(router: APIRouter, applications: Applications, database: Database) -> None:
    path = "/portal/applications/{application}/credentials"

    @router.get(path, response_model=Keys)
    async def list_keys(application: str) -> dict[str, Any]:
        """An application's keys, newest first, by their last characters."""
        return {"items": [asdict(key) for key in await database.run(applications.keys, application)]}

    @router.post(path, status_code=201, response_model=NewKey)
    async def generate_key(application: str, request: Request) -> dict[str, Any]:
        """Generate a key. Its text is shown only here."""
        key, text = await database.run(applications.generate_key, application, actor=actor_of(request, ACTOR))
        return {**asdict(key), "key": text}

    @router.delete(path + "/{key}", status_code=204)
    async def revoke_key(application: str, key: str, request: Request) -> Response:
        """Revoke a key."""
        await database.run(applications.revoke_key, application, key, actor=actor_of(request, ACTOR))
        return Response(status_code=204)


def _add_registrations(router: APIRouter, applications: Applications, database: Database) -> None:
    path = "/portal/registrations"

    @router.get(path, response_model=RegistrationPage, response_model_exclude_none=True)
    async def list_registrations(
        size: PageSize = 100, number: PageNumber = 1, status: StatusFilter = None
    ) -> dict[str, Any]:
        """Registrations of all applications, newest first, all or those with a status."""
        return await database.run(_paged, applications.requests, size, number, status=status)

    @router.post(path, status_code=201, response_model=Registration)
    async def request_access(body: NewRegistration, request: Request) -> JSONResponse:
        """Register an application with a version, as its developer would: approved at once, or pending."""
        made = await database.run(
            applications.request_access, body.application, body.version, actor=actor_of(request, ACTOR)
        )
        return _edited(made, 201)

    @router.patch(path + "/{registration}", response_model=Registration)
    async def decide_registration(
        registration: str, body: StatusChange, request: Request, if_match: IfMatch = None
    ) -> JSONResponse:
        """Approve, reject or revoke a registration."""
        changed = await database.run(
            applications.decide,
            registration,
            body.status,
            actor=actor_of(request, ACTOR),
            expected=expected_number(if_match),
        )
        return _edited(changed)

    @router.delete(path + "/{registration}", status_code=204)
    async def delete_registration(registration: str, request: Request) -> Response:
        """Delete a registration; the application may ask again."""
        await database.run(applications.withdraw, registration, actor=actor_of(request, ACTOR))
        return Response(status_code=204)


def _add_versions(router: APIRouter, versions: AppRegistrations, database: Database) -> None:
    path = "/catalogue/versions/{version}/app-registration"

    @router.get(path, response_model=AppRegistration)
    async def get_app_registration(version: str) -> JSONResponse:
        """How applications register with a version; 404 where it is not enabled."""
        found = await database.run(versions.try_get, version)
        if found is None:
            raise ApiError(404, "application registration is not enabled for this version")
        return _edited(found)

    @router.put(path, response_model=AppRegistration)
    async def enable_app_registration(
        version: str, request: Request, body: Registering | None = None, if_match: IfMatch = None
    ) -> JSONResponse:
        """Enable application registration: adds key-auth and acl to the version's Gateway service."""
        made = await database.run(
            versions.enable,
            version,
            actor=actor_of(request, ACTOR),
            auto_approve=body is not None and body.auto_approve,
            expected=expected_number(if_match),
        )
        return _edited(made)

    @router.delete(path, status_code=204)
    async def disable_app_registration(version: str, request: Request, if_match: IfMatch = None) -> Response:
        """Disable application registration: the version answers without a key again."""
        await database.run(
            versions.disable, version, actor=actor_of(request, ACTOR), expected=expected_number(if_match)
        )
        return Response(status_code=204)
