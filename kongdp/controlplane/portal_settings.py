"""Settings of the developer portal that administrators change while it runs.

In: changes.  Out: values; a setting without a row is at its default. Private is the default: nobody sees what is published
who has no account. A public portal shows it to everyone and has no application registration (walkthrough section 11), so
neither can be switched on while the other is. Cold; called off the event loop.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from kongdp.controlplane.catalogue_entries import CatalogueError, check_name
from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import Database


@dataclass(frozen=True, slots=True)
class PortalSettings:
    """`proxy_url`: where developers reach the gateway. `auto_approve_applications` counts for all versions."""

    title: str = "Developer portal"
    is_public: bool = False
    auto_approve_developers: bool = False
    auto_approve_applications: bool = False
    proxy_url: str = "http://localhost:8000"


def read(connection: sa.Connection) -> PortalSettings:
    """The settings as they are."""
    rows = connection.execute(sa.select(tables.portal_settings))
    known = asdict(PortalSettings())
    return PortalSettings(**{row.name: row.value for row in rows if row.name in known})


def update(database: Database, change: Mapping[str, Any]) -> PortalSettings:
    """Change what is given. Raises CatalogueError."""
    with database.write() as connection:
        new = replace(read(connection), **change)
        check_name("title", new.title)
        _check_url(new.proxy_url)
        if new.is_public and connection.scalar(sa.select(sa.func.count()).select_from(tables.app_registrations)):
            said = "a public portal has no application registration: disable it for every version first"
            raise CatalogueError(409, f"is_public: {said}", {"is_public": said})
        table = tables.portal_settings
        connection.execute(sa.delete(table).where(table.c.name.in_(list(change))))
        if change:
            connection.execute(sa.insert(table), [{"name": name, "value": getattr(new, name)} for name in change])
    return new


def _check_url(url: str) -> None:
    try:
        parsed = urlsplit(url)
        good = parsed.scheme in ("http", "https") and bool(parsed.hostname) and url.isprintable() and " " not in url
        good = good and len(url) <= 500 and not (parsed.query or parsed.fragment or parsed.username) and '"' not in url
        _port = parsed.port
    except ValueError:
        good = False
    if not good:
        said = "must be an address such as https://api.example:8443"
        raise CatalogueError(400, f"proxy_url: {said}", {"proxy_url": said})
