"""What people write about services: one Markdown document a service, one OpenAPI spec a version.

In: uploads.  Out: values with the text as it was uploaded, or CatalogueError with what is wrong where. A spec is judged
whole before it is kept (openapi_text), outside of any transaction; it is documentation and makes nothing by itself.
Replacing one raises its edition, by which writers notice each other.
Cold; called off the event loop; a large spec takes seconds.
Source: walkthrough sections 3 and 5.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import sqlalchemy as sa

from kongdp.controlplane import openapi_text
from kongdp.controlplane.catalogue_entries import (
    CatalogueError,
    check_edition,
    check_name,
    check_storable,
    find_service,
    find_version,
)
from kongdp.controlplane.openapi_text import OpenApiError
from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import Database

DOCUMENT_ENDINGS = (".md", ".markdown")
SPEC_ENDINGS = (".json", ".yaml", ".yml")
# Rendering takes about a second for this much.
DOCUMENT_BYTES_MAX = 256 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest uploads, in bytes of UTF-8."""

    document_bytes_max: int = DOCUMENT_BYTES_MAX
    spec_bytes_max: int = openapi_text.BYTES_MAX


@dataclass(frozen=True, slots=True)
class ServiceDocument:
    """A service's Markdown document."""

    service_id: str
    name: str
    content: str
    edition: int
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class VersionSpec:
    """A version's OpenAPI document; `title` and `dialect` ("OpenAPI 3.0") are what it says of itself."""

    version_id: str
    name: str
    title: str
    dialect: str
    content: str
    edition: int
    created_at: float
    updated_at: float


class Documents:
    """Documents and specs over the database."""

    def __init__(
        self, database: Database, limits: Limits | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._limits = limits or Limits()
        self._clock = clock

    def try_document(self, service: str) -> ServiceDocument | None:
        """The service's document, or None. Raises CatalogueError for an unknown service."""
        with self._database.read() as connection:
            row = _row(connection, tables.catalogue_documents, find_service(connection, service).id)
            return None if row is None else ServiceDocument(**row._mapping)

    def put_document(self, service: str, name: str, content: str, *, expected: int | None = None) -> ServiceDocument:
        """Upload or replace the service's document. Raises CatalogueError; 412 when `expected` is not its edition."""
        _check_file(name, DOCUMENT_ENDINGS)
        _check_size(content, self._limits.document_bytes_max)
        with self._database.write() as connection:
            owner = find_service(connection, service, lock=True).id
            values = {"name": name, "content": content}
            return ServiceDocument(**self._put(connection, tables.catalogue_documents, owner, values, expected))

    def delete_document(self, service: str, *, expected: int | None = None) -> None:
        """Delete the service's document. Raises CatalogueError."""
        with self._database.write() as connection:
            owner = find_service(connection, service, lock=True).id
            _delete(connection, tables.catalogue_documents, owner, expected, "the service has no document")

    def try_spec(self, version_id: str) -> VersionSpec | None:
        """The version's spec, or None. Raises CatalogueError for an unknown version."""
        with self._database.read() as connection:
            row = _row(connection, tables.catalogue_specs, find_version(connection, version_id).id)
            return None if row is None else VersionSpec(**row._mapping)

    def put_spec(self, version_id: str, name: str, content: str, *, expected: int | None = None) -> VersionSpec:
        """Upload or replace the version's spec. Raises CatalogueError with every reason why it is none."""
        _check_file(name, SPEC_ENDINGS)
        _check_size(content, self._limits.spec_bytes_max)
        try:
            document = openapi_text.read(content, self._limits.spec_bytes_max)
        except OpenApiError as error:
            raise CatalogueError(400, str(error), {"content": error.reasons}) from None
        with self._database.write() as connection:
            owner = find_version(connection, version_id, lock=True).id
            values = {"name": name, "title": document.title, "dialect": document.dialect, "content": content}
            return VersionSpec(**self._put(connection, tables.catalogue_specs, owner, values, expected))

    def delete_spec(self, version_id: str, *, expected: int | None = None) -> None:
        """Delete the version's spec. Raises CatalogueError."""
        with self._database.write() as connection:
            owner = find_version(connection, version_id, lock=True).id
            _delete(connection, tables.catalogue_specs, owner, expected, "the version has no spec")

    def _put(
        self, connection: sa.Connection, table: sa.Table, owner: str, values: Mapping[str, Any], expected: int | None
    ) -> dict[str, Any]:
        """Insert or replace the row of an owner, which the caller has locked."""
        old = _row(connection, table, owner)
        check_edition(0 if old is None else old.edition, expected)
        now = self._clock()
        edited = {"edition": 1, "created_at": now, "updated_at": now}
        if old is not None:
            edited = {"edition": old.edition + 1, "created_at": old.created_at, "updated_at": now}
        row = {_owner(table).name: owner, **values, **edited}
        if old is None:
            connection.execute(sa.insert(table), row)
        else:
            connection.execute(sa.update(table).where(_owner(table) == owner).values(row))
        return row


def _owner(table: sa.Table) -> sa.Column[str]:
    (column,) = table.primary_key.columns
    return column


def _row(connection: sa.Connection, table: sa.Table, owner: str) -> sa.Row[Any] | None:
    return connection.execute(sa.select(table).where(_owner(table) == owner)).first()


def _delete(connection: sa.Connection, table: sa.Table, owner: str, expected: int | None, missing: str) -> None:
    old = _row(connection, table, owner)
    if old is None:
        raise CatalogueError(404, missing)
    check_edition(old.edition, expected)
    connection.execute(sa.delete(table).where(_owner(table) == owner))


def _check_file(name: str, endings: tuple[str, ...]) -> None:
    check_name("name", name)
    if PurePath(name).suffix.lower() not in endings or "/" in name or "\\" in name:
        said = f"must be the name of a file that ends in {' or '.join(endings)}"
        raise CatalogueError(400, f"name: {said}", {"name": said})


def _check_size(content: str, bytes_max: int) -> None:
    check_storable("content", content)
    size = len(content.encode())
    if size > bytes_max:
        said = f"has {size} bytes, at most {bytes_max} are taken"
        raise CatalogueError(413, f"content: {said}", {"content": said})
    if not content.strip():
        raise CatalogueError(400, "content: is empty", {"content": "is empty"})
