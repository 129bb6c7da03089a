"""Who may show what: consumers, their credentials and groups, indexed for look-ups of a request.

In: what changed of those collections.  Out: a new Identities that shares every index whose collection did not change.
House rules: never changed after it is returned; an index is copied once for a change of its collection, whatever the number of rows,
and no plan depends on it: a new key needs no new plan. Look-ups are one hash look-up each; secrets are keys of a dictionary, whose
keyed hash (SipHash) tells a prober nothing about how much of a guess was right.
Cold, but for the look-ups. Source: Kong's plugins look credentials up by their unique field; ours is the index.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kongdp.entities.model import Acl, BasicAuthCredential, Consumer, JwtSecret, KeyAuthCredential

Collections = Mapping[str, Mapping[str, Any]]

COLLECTIONS = ("consumers", "keyauth_credentials", "basicauth_credentials", "jwt_secrets", "acls")

ROWS_PER_STEP = 500
"""Rows looked at between two yields."""


@dataclass(frozen=True, slots=True)
class Identities:
    """`consumers` by id; `usernames`, `keys`, `basic_names` and `jwt_keys` by the field of that name."""

    consumers: Mapping[str, Consumer] = field(default_factory=dict)
    usernames: Mapping[str, Consumer] = field(default_factory=dict)
    keys: Mapping[str, KeyAuthCredential] = field(default_factory=dict)
    basic_names: Mapping[str, BasicAuthCredential] = field(default_factory=dict)
    jwt_keys: Mapping[str, JwtSecret] = field(default_factory=dict)
    memberships: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def consumer(self, name: str) -> Consumer | None:
        """A consumer by id or username, as settings name one."""
        return self.consumers.get(name) or self.usernames.get(name)

    def owner(self, credential: KeyAuthCredential | BasicAuthCredential | JwtSecret) -> Consumer | None:
        """Whose credential it is."""
        return self.consumers.get(credential.consumer_id or "")

    def groups(self, consumer_id: str) -> tuple[str, ...]:
        """The groups of a consumer, in the order of their memberships' ids."""
        found = self.memberships.get(consumer_id)
        return tuple(found[id_] for id_ in sorted(found)) if found else ()

    def after(
        self, before: Collections, now: Collections, changed: Mapping[str, Iterable[str]]
    ) -> Generator[None, None, Identities]:
        """The identities of `now`, which differs from `before` in the ids `changed` names; yields between steps."""
        found = self
        if changed.get("consumers"):
            rows = [(before.get("consumers"), now.get("consumers"), changed["consumers"])]
            usernames = yield from _reindexed(self.usernames, *rows[0], "username")
            found = replace(found, consumers=now.get("consumers") or {}, usernames=usernames)
        for collection, attribute, key in _INDICES:
            ids = changed.get(collection)
            if ids:
                index = getattr(self, attribute)
                index = yield from _reindexed(index, before.get(collection), now.get(collection), ids, key)
                found = replace(found, **{attribute: index})
        if changed.get("acls"):
            memberships = yield from _regrouped(
                self.memberships, before.get("acls") or {}, now.get("acls") or {}, changed["acls"]
            )
            found = replace(found, memberships=memberships)
        return found


_INDICES = (
    ("keyauth_credentials", "keys", "key"),
    ("basicauth_credentials", "basic_names", "username"),
    ("jwt_secrets", "jwt_keys", "key"),
)

NOBODY = Identities()


def _reindexed(
    index: Mapping[str, Any],
    before: Mapping[str, Any] | None,
    now: Mapping[str, Any] | None,
    ids: Iterable[str],
    key: str,
) -> Generator[None, None, dict[str, Any]]:
    """A copy of the index with the rows `ids` as they are now. Removals first: a key may have moved to another row."""
    fresh = dict(index)
    yield
    before, now = before or {}, now or {}
    changed = list(ids)
    for count, id_ in enumerate(changed):
        if count % ROWS_PER_STEP == ROWS_PER_STEP - 1:
            yield
        if id_ in before:
            fresh.pop(getattr(before[id_], key), None)
    for count, id_ in enumerate(changed):
        if count % ROWS_PER_STEP == ROWS_PER_STEP - 1:
            yield
        name = getattr(now[id_], key) if id_ in now else None
        if name is not None:
            fresh[name] = now[id_]
    return fresh


def _regrouped(
    memberships: Mapping[str, Mapping[str, str]], before: Mapping[str, Acl], now: Mapping[str, Acl], ids: Iterable[str]
) -> Generator[None, None, dict[str, Mapping[str, str]]]:
    """A copy of consumer id -> (acl id -> group) in which only the consumers of changed rows have new entries."""
    fresh = dict(memberships)
    touched: dict[str, dict[str, str]] = {}
    yield

    def of(consumer_id: str) -> dict[str, str]:
        if consumer_id not in touched:
            fresh[consumer_id] = touched[consumer_id] = dict(memberships.get(consumer_id, ()))
        return touched[consumer_id]

    for count, id_ in enumerate(ids):
        if count % ROWS_PER_STEP == ROWS_PER_STEP - 1:
            yield
        old, new = before.get(id_), now.get(id_)
        if old is not None:
            of(old.consumer_id or "").pop(id_, None)
        if new is not None:
            of(new.consumer_id or "")[id_] = new.group
    for consumer_id, groups in touched.items():
        if not groups:
            del fresh[consumer_id]
    return fresh
