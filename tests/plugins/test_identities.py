"""Identities: an index after any sequence of differences is the index of the whole."""

from collections.abc import Generator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kongdp.entities.model import Acl, BasicAuthCredential, Consumer, JwtSecret, KeyAuthCredential
from kongdp.plugins.identities import NOBODY, Identities

IDS = ("1", "2", "3")
MAKERS: dict[str, Any] = {
    "consumers": lambda id_, name: Consumer(id_, name, None, ()),
    "keyauth_credentials": lambda id_, name: KeyAuthCredential(id_, name, f"k{name}", None),
    "basicauth_credentials": lambda id_, name: BasicAuthCredential(id_, name, f"k{name}", ""),
    "jwt_secrets": lambda id_, name: JwtSecret(id_, name, f"k{name}", None, None, "HS256"),
    "acls": lambda id_, name: Acl(id_, name, f"g{id_}"),
}
# name None: the row is not there; the same name on two rows at once does not occur (unique), but moves between rows do
rows = st.dictionaries(st.sampled_from(IDS), st.sampled_from("abc"), max_size=3).filter(
    lambda found: len(set(found.values())) == len(found)
)
states = st.lists(st.fixed_dictionaries(dict.fromkeys(MAKERS, rows)), min_size=1, max_size=5)


def table(state: dict[str, dict[str, str]]) -> dict[str, dict[str, Any]]:
    """Entities of one state."""
    return {name: {id_: MAKERS[name](id_, value) for id_, value in found.items()} for name, found in state.items()}


def finish(steps: Generator[None, None, Identities]) -> Identities:
    """Run to the end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Identities = end.value
            return found


def after(identities: Identities, before: dict[str, dict[str, Any]], now: dict[str, dict[str, Any]]) -> Identities:
    """By the difference between two tables."""
    changed = {}
    for name in MAKERS:
        old, new = before.get(name, {}), now[name]
        found = {id_ for id_ in {*old, *new} if old.get(id_) != new.get(id_)}
        if found:
            changed[name] = found
    return finish(identities.after(before, now, changed))


@given(states)
@settings(max_examples=200, deadline=None)
def test_differences_end_where_a_whole_load_does(found: list[dict[str, dict[str, str]]]) -> None:
    """Whatever moved, came or went; and what one collection's change does not touch is the same object as before."""
    identities, before = NOBODY, {}
    for state in found:
        now = table(state)
        fresh = after(identities, before, now)
        if before and now["jwt_secrets"] == before["jwt_secrets"]:
            assert fresh.jwt_keys is identities.jwt_keys
        identities, before = fresh, now
    assert identities == after(NOBODY, {}, before)
    for consumer in before["consumers"].values():
        assert identities.consumer(consumer.id) == identities.consumer(consumer.username) == consumer


def test_groups_when_memberships_change() -> None:
    """In the order of their ids; another consumer's are the same object as before."""
    acls = {id_: Acl(id_, consumer, f"g{id_}") for id_, consumer in (("3", "a"), ("1", "a"), ("2", "b"))}
    one = finish(NOBODY.after({}, {"acls": acls}, {"acls": acls}))
    assert (one.groups("a"), one.groups("b"), one.groups("c")) == (("g1", "g3"), ("g2",), ())
    fewer = {id_: acl for id_, acl in acls.items() if id_ != "1"}
    two = finish(one.after({"acls": acls}, {"acls": fewer}, {"acls": ["1"]}))
    assert (two.groups("a"), one.groups("a")) == (("g3",), ("g1", "g3"))
    assert two.memberships["b"] is one.memberships["b"]
