"""The audit log: who signed in, who changed accounts, groups, certificates and the catalogue, and who was refused.

Gateway entities are not in it: each of their changes is a revision, which says more. Entries are never changed; they go
when they are a year old. In: what happened; what is looked for.  Out: entries. Cold; called off the event loop.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import Database

KEPT_S = 366 * 86_400.0
TEXT_LENGTH_MAX = 500
# What an action is about; "other" is what is none of these: most of all Gateway entities that somebody was refused.
Kind = Literal[
    "sign-in",
    "user",
    "token",
    "group",
    "node",
    "certificate",
    "service",
    "version",
    "developer",
    "application",
    "portal",
    "other",
]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
# By what was asked for: like one of these, and like none of those.
_KINDS: Mapping[Kind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "sign-in": (("% /v2/session", "% /auth/oidc%", "portal: % /sign-in", "portal: % /sign-out"), ()),
    "user": (("% /v2/users%", "% /v2/me%"), ()),
    "token": (("% /v2/tokens%", "% /v2/control-planes/%/enrolment-tokens"), ()),
    "group": (("% /v2/control-planes%",), ("% /v2/control-planes/%/%",)),
    "node": (("% /v2/control-planes/%/nodes%",), ("%/renew-certificate",)),
    "certificate": (("% /v2/control-planes/%-certificate%",), ()),
    "service": (("% /v2/catalogue/services%",), ("% /v2/catalogue/services/%/versions%",)),
    "version": (("% /v2/catalogue/services/%/versions%", "% /v2/catalogue/versions%"), ("%/app-registration",)),
    "developer": (("% /v2/portal/developers%", "portal: % /sign-up", "portal: % /reset", "portal: % /password"), ()),
    "application": (
        (
            *("% /v2/portal/applications%", "% /v2/portal/registrations%", "%/app-registration"),
            *("portal: % /apps%", "portal: % /services/%/register"),
        ),
        (),
    ),
    "portal": (("% /v2/portal/settings",), ()),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened; `status` is the answer's."""

    at: float
    actor: str
    address: str
    action: str
    status: int


def record(database: Database, entry: Entry) -> None:
    """Append an entry."""
    values = {name: getattr(entry, name) for name in Entry.__slots__}
    for name in ("actor", "address", "action"):
        values[name] = _storable(values[name])
    with database.write() as connection:
        connection.execute(sa.insert(tables.audit), values)


@dataclass(frozen=True, slots=True)
class Filter:
    """What is looked for: what is None counts for nothing. `actor` and `text` are parts of texts, in any case; `text` of who,
    from where, or what. From `start` up to and without `end`, Unix time in s.
    """

    actor: str | None = None
    kind: Kind | None = None
    method: Method | None = None
    text: str | None = None
    start: float | None = None
    end: float | None = None

    def conditions(self) -> Iterator[Any]:
        """As conditions on entries."""
        table = tables.audit
        if self.actor:
            yield _contains(table.c.actor, self.actor)
        if self.text:
            yield sa.or_(*(_contains(each, self.text) for each in (table.c.actor, table.c.address, table.c.action)))
        if self.method is not None:
            yield sa.or_(table.c.action.like(f"{self.method} %"), table.c.action.like(f"portal: {self.method} %"))
        if self.kind == "other":
            yield sa.not_(sa.or_(*(_is_about(kind) for kind in _KINDS)))
        elif self.kind is not None:
            yield _is_about(self.kind)
        if self.start is not None:
            yield table.c.at >= self.start
        if self.end is not None:
            yield table.c.at < self.end


ALL = Filter()


def _contains(column: sa.Column[str], text: str) -> Any:
    return sa.func.lower(column).contains(text.lower(), autoescape=True)


def _is_about(kind: Kind) -> Any:
    action, (these, but_not) = tables.audit.c.action, _KINDS[kind]
    return sa.and_(sa.or_(*(action.like(each) for each in these)), *(action.not_like(each) for each in but_not))


def entries(connection: sa.Connection, wanted: Filter = ALL, *, size: int, skip: int = 0) -> list[Entry]:
    """A page of entries, newest first."""
    table = tables.audit
    columns = [table.c[name] for name in Entry.__slots__]
    query = sa.select(*columns).where(*wanted.conditions()).order_by(table.c.number.desc()).limit(size).offset(skip)
    return [Entry(**row._mapping) for row in connection.execute(query)]


def count(connection: sa.Connection, wanted: Filter = ALL) -> int:
    """How many entries there are."""
    query = sa.select(sa.func.count()).select_from(tables.audit).where(*wanted.conditions())
    return connection.scalar(query) or 0


def purge(connection: sa.Connection, now: float) -> None:
    """Delete what is too old."""
    connection.execute(sa.delete(tables.audit).where(tables.audit.c.at < now - KEPT_S))


def _storable(text: str) -> str:
    """Text that every database takes, of bounded length."""
    return text[:TEXT_LENGTH_MAX].encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
