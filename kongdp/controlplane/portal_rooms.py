"""The rooms behind the catalogue and the portal, put together once for all who show them: API, console, portal.

In: a running plane and what calls the Admin API inside a transaction.  Out: one object with the rooms as fields. Cold.
"""

from dataclasses import dataclass

from kongdp.controlplane.app_registration import AppRegistrations
from kongdp.controlplane.applications import Applications
from kongdp.controlplane.catalogue import Catalogue
from kongdp.controlplane.developer_passwords import DeveloperPasswords
from kongdp.controlplane.developers import Developers
from kongdp.controlplane.documents import Documents
from kongdp.controlplane.gateway_calls import AdminCall
from kongdp.controlplane.passwords import Passwords
from kongdp.controlplane.plane import Plane
from kongdp.controlplane.renderings import Renderings
from kongdp.controlplane.store.database import Database


@dataclass(frozen=True, slots=True)
class PortalRooms:
    """What pages and endpoints ask; all of it off the event loop (`database.run`)."""

    database: Database
    catalogue: Catalogue
    documents: Documents
    renderings: Renderings
    developers: Developers
    developer_passwords: DeveloperPasswords
    applications: Applications
    versions: AppRegistrations


def open_rooms(plane: Plane, admin: AdminCall) -> PortalRooms:
    """The rooms over a plane."""
    passwords = Passwords(plane.clock, plane.accounts.hasher)
    return PortalRooms(
        plane.database,
        Catalogue(plane.changes, admin, plane.clock),
        Documents(plane.database, plane.options.uploads, plane.clock),
        Renderings(),
        Developers(plane.database, passwords, plane.clock),
        DeveloperPasswords(plane.database, passwords, plane.clock),
        Applications(plane.changes, admin, plane.clock),
        AppRegistrations(plane.changes, admin, plane.clock),
    )
