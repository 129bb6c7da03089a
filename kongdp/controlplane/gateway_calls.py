"""Calls of Kong's Admin API inside a transaction that is open already: what the catalogue writes into a group is
validated like everybody's.

In: a writer, and a request with a JSON body.  Out: the entity, or CatalogueError, which ends the transaction. Cold.
"""

from collections.abc import Callable, Mapping
from typing import Any

from kongdp.adminapi.store import Store
from kongdp.controlplane.catalogue_entries import CatalogueError
from kongdp.controlplane.changes import JoinedStore
from kongdp.controlplane.store.repository import GroupWriter
from kongdp.entities.table import Row

# (store, method, path, JSON body) -> (status, JSON answer).
AdminCall = Callable[[Store, str, str, Mapping[str, Any] | None], tuple[int, Any]]


def call(admin: AdminCall, writer: GroupWriter, method: str, path: str, body: dict[str, Any], *, step: str) -> Row:
    """What the call made or changed. `step` names it in errors: "service", "route", "plugin"."""
    status, answer = admin(JoinedStore(writer), method, path, body)
    if status >= 400:
        message = answer.get("message", "") if isinstance(answer, dict) else str(answer)
        fields = answer.get("fields") or {} if isinstance(answer, dict) else {}
        raise CatalogueError(status, f"{step}: {message}", {step: fields})
    row: Row = answer
    return row
