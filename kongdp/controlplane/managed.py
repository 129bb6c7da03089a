"""What application registration manages in a group: plugins, and the consumers, keys and acl groups of applications.

They carry tags, as Konnect's do, and are changed by `registration` alone: an edit of any other kind that would touch one is
refused, wherever it comes from (Admin API, import, restored revision), because the portal's rows and the entities would
say different things afterwards. Two things pass: what its owner's deletion takes along, and wholes (an import, a
restore), which leave managed rows as they are.
Pure: rows in, a decision out. Cold. Source: walkthrough, "Objects and their relations" and section 12.
"""

from collections.abc import Iterable, Sequence

from kongdp.controlplane.store.repository import EntityChange
from kongdp.entities.table import Row
from kongdp.errors import KongdpError, Source

PLUGIN_TAG = "konnect-managed-plugin"
REGISTRATION_TAG = "konnect-app-registration"
TAGS = frozenset((PLUGIN_TAG, REGISTRATION_TAG))
# Fields that name the entity which one belongs to, and its collection.
OWNERS = {"service": "services", "route": "routes", "consumer": "consumers"}


class ManagedError(KongdpError):
    """An ordinary edit would change what application registration manages."""

    source = Source.CLIENT

    def __init__(self, change: EntityChange) -> None:
        row = change.after or change.before or {}
        verb = "created" if change.before is None else "deleted" if change.after is None else "changed"
        name = row.get("name") or row.get("username") or change.id
        super().__init__(
            f"{change.collection} {name}: managed by application registration (tag {REGISTRATION_TAG}) and cannot be"
            f" {verb} here; disable app registration of its version, or use the portal's applications"
        )


def is_managed(row: Row | None) -> bool:
    """Whether a row carries one of the tags."""
    return row is not None and not TAGS.isdisjoint(row.get("tags") or ())


def check(changes: Iterable[EntityChange]) -> None:
    """Raise ManagedError for the first change that only application registration may make."""
    changes = list(changes)
    gone = _freely_gone(changes)
    for change in changes:
        if _touches(change) and not _goes_along(change, gone):
            raise ManagedError(change)


def spared(changes: Sequence[EntityChange]) -> list[EntityChange]:
    """The changes of a whole configuration without those that would touch managed rows, except what goes along.

    Raises ManagedError where what stays would be in the way: a plugin of the same name on the same service.
    """
    gone = _freely_gone(changes)
    kept: list[EntityChange] = []
    left: set[tuple[object, ...]] = set()
    for change in changes:
        if not _touches(change) or _goes_along(change, gone):
            kept.append(change)
        elif change.collection == "plugins" and change.before is not None:
            left.add(_place(change.before))
    for change in kept:
        if change.collection == "plugins" and change.after is not None and _place(change.after) in left:
            raise ManagedError(change)
    return kept


def _touches(change: EntityChange) -> bool:
    return is_managed(change.before) or is_managed(change.after)


def _freely_gone(changes: Iterable[EntityChange]) -> set[tuple[str, str]]:
    """What is deleted that anybody may delete; a managed consumer takes nothing along, for it stays itself."""
    return {(change.collection, change.id) for change in changes if change.after is None and not _touches(change)}


def _goes_along(change: EntityChange, gone: set[tuple[str, str]]) -> bool:
    """Whether it is deleted together with the entity that it belongs to."""
    if change.after is not None:
        return False
    owners = ((OWNERS[field], ((change.before or {}).get(field) or {}).get("id")) for field in OWNERS)
    return any(owner in gone for owner in owners)


def _place(row: Row) -> tuple[object, ...]:
    """What no two plugins of a group have in common."""
    return (row.get("name"), *(((row.get(field) or {}).get("id")) for field in OWNERS))
