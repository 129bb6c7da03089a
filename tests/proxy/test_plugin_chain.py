"""Plugins of snapshots: what a difference builds anew, and what it leaves alone."""

from typing import Any

import pytest

from kongdp.entities import declarative
from kongdp.entities.table import Table
from kongdp.plugins.base import Handler
from kongdp.plugins.configs import PLUGIN_SCHEMAS
from kongdp.proxy.plan import RoutePlan, Surroundings
from kongdp.proxy.snapshot import empty_snapshot
from tests.proxy.test_snapshot import applied, around, plan, service  # noqa: F401

BOB = "b40c0003-2f75-5879-a3c5-52b1e9b7f6e3"


def table(**more: Any) -> Table:
    """Routes a and b of services of their own, and `more` top-level lists."""
    config = {"_format_version": "3.0", "services": [service("a"), service("b")], **more}
    return declarative.load(config, plugins=PLUGIN_SCHEMAS, now=1.0)


def key_auth(**fields: Any) -> dict[str, Any]:
    """An instance."""
    return {"name": "key-auth", **fields}


BEFORE = {"plugins": [key_auth(route="a"), {"name": "acl", "service": "b", "config": {"allow": ["x"]}}]}


@pytest.mark.parametrize(
    ("plugins", "anew"),
    [
        # what is configured instead, and the routes whose plans are new
        ([key_auth(route="a", config={"realm": "x"}), BEFORE["plugins"][1]], "a"),
        ([BEFORE["plugins"][0]], "b"),
        ([*BEFORE["plugins"], key_auth(service="b")], "b"),
        ([*BEFORE["plugins"], key_auth()], "ab"),
        ([*BEFORE["plugins"], {"name": "prometheus", "consumer": BOB}], "ab"),
    ],
)
def test_plans_when_plugins_change(around: Surroundings, plugins: list[Any], anew: str) -> None:  # noqa: F811
    """Those that a changed instance concerns are built anew, the others are the same objects."""
    consumers = {"consumers": [{"username": "bob", "id": BOB}]}
    first, second = table(**BEFORE, **consumers), table(plugins=plugins, **consumers)
    one = applied(around, empty_snapshot(around), {}, first)
    before = {name: plan(one, b"/" + name.encode()) for name in "ab"}
    two = applied(around, one, first, second)
    assert "".join(name for name in "ab" if plan(two, b"/" + name.encode()) is not before[name]) == anew


def handlers(found: RoutePlan | None) -> list[Any]:
    """A plan's access handlers."""
    assert found is not None
    assert found.plugins is not None
    assert found.plugins.fixed is not None
    return list(found.plugins.fixed.access)


def test_handlers_keep_their_state_while_their_entity_is_unchanged(around: Surroundings) -> None:  # noqa: F811
    """An edit of one instance, or of the route, makes no other handler anew."""
    first = table(**BEFORE)
    second = table(plugins=[*BEFORE["plugins"], {"name": "acl", "route": "a", "config": {"deny": ["y"]}}])
    one = applied(around, empty_snapshot(around), {}, first)
    two = applied(around, one, first, second)
    assert handlers(plan(two, b"/a"))[0] is handlers(plan(one, b"/a"))[0]
    assert handlers(plan(two, b"/b")) == handlers(plan(one, b"/b"))
    assert len(handlers(plan(two, b"/a"))) == 2


def test_handlers_are_told_when_the_configuration_drops_them(
    around: Surroundings,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And only then: one that is kept goes on, until there is no configuration any more."""
    closed: list[str] = []
    monkeypatch.setattr(Handler, "close", lambda handler: closed.append(handler.plugin.name))
    first, second = table(**BEFORE), table(plugins=BEFORE["plugins"][1:])
    one = applied(around, empty_snapshot(around), {}, first)
    two = applied(around, one, first, second)
    one.plugins.close(two.plugins)
    assert closed == ["key-auth"]
    two.plugins.close()
    assert closed == ["key-auth", "acl"]


def test_credentials_change_without_any_new_plan(around: Surroundings) -> None:  # noqa: F811
    """A key, a consumer or a group: every plan, handler and the router are the same objects, only identities are new."""

    def consumers(*keys: str, group: str) -> dict[str, Any]:
        credentials = [{"key": key} for key in keys]
        return {"consumers": [{"username": "bob", "keyauth_credentials": credentials, "acls": [{"group": group}]}]}

    first, second = table(**BEFORE, **consumers("k1", group="x")), table(**BEFORE, **consumers("k2", "k3", group="y"))
    one = applied(around, empty_snapshot(around), {}, first)
    before = {name: plan(one, name) for name in (b"/a", b"/b")}
    two = applied(around, one, first, second)
    assert {name: plan(two, name) for name in (b"/a", b"/b")} == before
    assert all(plan(two, name) is found for name, found in before.items())
    assert (two.router, two.plugins) == (one.router, one.plugins)
    assert (set(one.identities.keys), set(two.identities.keys)) == ({"k1"}, {"k2", "k3"})
    assert two.identities.consumers is not None
    bob = two.identities.consumer("bob")
    assert bob is not None
    assert (one.identities.groups(bob.id), two.identities.groups(bob.id)) == (("x",), ("y",))


def test_plan_has_no_plugins_when_none_ever_acts(around: Surroundings) -> None:  # noqa: F811
    """A prometheus plugin alone, even for a consumer's counts, leaves a route as fast as one without."""
    everywhere = [{"name": "prometheus", "config": {"per_consumer": True}}]
    one = applied(around, empty_snapshot(around), {}, table(plugins=everywhere))
    found = plan(one, b"/a")
    assert found is not None
    assert found.plugins is None
    assert one.plugins.everywhere is None
