"""What the Admin API asks of a store: one lookup by id, one by a unique field, pages in order of id, and a transaction.

In and out: rows (entities.table). A store keeps rows and nothing else: validation, uniqueness, references and cascades
are decided by `resources`, inside the transaction that `Store.write` opens. A store may enforce uniqueness as well, for
writers of other processes.
House rules: rows handed out are not modified by the caller; rows handed in are not modified later.
Implementations: adminapi.memory (over a table in memory), controlplane.store (SQL).
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from kongdp.entities.table import Row

NOWHERE: Mapping[str, str] = MappingProxyType({})
# What people know an entity by, and look for; none of them is a secret.
NAMING_FIELDS = ("name", "username", "custom_id", "target", "prefix", "instance_name")


@dataclass(frozen=True, slots=True)
class TagFilter:
    """Rows that carry all of `tags` (`every`), or at least one of them."""

    tags: tuple[str, ...]
    every: bool = True

    def accepts(self, tags: list[str] | None) -> bool:
        """Whether a row with these tags passes."""
        own = set(tags or ())
        return own.issuperset(self.tags) if self.every else not own.isdisjoint(self.tags)


class Reader(Protocol):
    """A consistent view of all rows."""

    def get(self, collection: str, id: str) -> Row | None:
        """The row with this id, or None."""

    def find(self, collection: str, field: str, value: Any, where: Mapping[str, str] = NOWHERE) -> Row | None:
        """The row whose `field` (name, username, key, target, ...) equals `value`, or None.

        `where` maps foreign fields to ids and narrows the search: a target is unique within its upstream only.
        """

    def page(
        self,
        collection: str,
        *,
        where: Mapping[str, str] = NOWHERE,
        tags: TagFilter | None = None,
        contains: str = "",
        size: int,
        after: str | None = None,
        skip: int = 0,
    ) -> list[Row]:
        """At most `size` rows in ascending order of id, those after the id `after` and `skip` more, that match `where`
        (foreign field -> id) and `tags`, and have `contains` in one of NAMING_FIELDS, in whatever case."""

    def count(
        self,
        collection: str,
        *,
        where: Mapping[str, str] = NOWHERE,
        tags: TagFilter | None = None,
        contains: str = "",
    ) -> int:
        """How many rows match."""


class Writer(Reader, Protocol):
    """A transaction. What it wrote, it reads."""

    def put(self, collection: str, row: Row) -> None:
        """Insert the row, or replace the one with its id."""

    def delete(self, collection: str, id: str) -> None:
        """Remove the row with this id; silent when there is none."""


class Store(Protocol):
    """Where rows live. `writable` is False on a node without a database: every write is answered 405 there."""

    @property
    def writable(self) -> bool:
        """Whether `write` may be called."""

    def read(self) -> AbstractContextManager[Reader]:
        """A view for one request."""

    def write(self, *, actor: str, summary: str) -> AbstractContextManager[Writer]:
        """One transaction: committed when the block ends, rolled back when it raises.

        `actor` and `summary` say who changed what, for the store's history.
        """
