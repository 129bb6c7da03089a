"""Labels: names as Kong shows them, and the most specific plugin instance decides the switches."""

import pytest

from kongdp.telemetry.counters import OVERFLOW_ROUTE
from kongdp.telemetry.labels import RouteLabels, Switches, label_sets
from tests.support.tables import prometheus, routes, services


def test_labels_are_names_or_what_stands_for_them() -> None:
    """Service by name or host, route by name or id, "" without service; consumers by username only."""
    table = {
        "services": services({"s1": "svc", "s2": None}),
        "routes": {
            **routes({"r1": "one", "r2": None}, "s1"),
            **routes({"r3": "three"}, "s2"),
            **routes({"r4": "four"}),
        },
        "consumers": {"c1": {"username": "bob"}, "c2": {"username": None, "custom_id": "x"}},
    }
    found = label_sets(table)
    shown = {each: (found.route(each).service, found.route(each).route) for each in ("r1", "r2", "r3", "r4", "gone")}
    assert shown == {
        "r1": ("svc", "one"),
        "r2": ("svc", "r2"),
        "r3": ("h", "three"),
        "r4": ("", "four"),
        "gone": ("", "gone"),
    }
    assert found.consumers == {"c1": "bob", "c2": ""}
    assert found.route(OVERFLOW_ROUTE).route == "kongdp_overflow"


def test_only_status_codes_are_on_when_no_plugin_is_configured() -> None:
    """Ours: status counters need no plugin, unless the node switches them off; disabled instances do not count."""
    table = {"routes": routes({"r": "r"}), "plugins": prometheus(enabled=False, config=("latency_metrics",))}
    found = label_sets(table)
    assert found.route("r").switches == Switches(status_codes=True)
    assert not found.plugin
    assert not found.upstream_health
    assert label_sets(table, status_codes=False).route("r").switches == Switches(status_codes=False)


LATENCY = ("latency_metrics",)


@pytest.mark.parametrize(
    ("plugins", "latency"),
    # Order of instances: Kong runloop/plugins_iterator.lua.
    [
        (prometheus(config=LATENCY), True),
        ({**prometheus("a", config=LATENCY), **prometheus("b", service="s")}, False),
        ({**prometheus("a", config=LATENCY, service="s"), **prometheus("b", route="r")}, False),
        ({**prometheus("a", config=LATENCY, route="r", service="s"), **prometheus("b", route="r")}, True),
        (prometheus(config=LATENCY, route="other"), False),
        (prometheus(config=LATENCY, service="other"), False),
        ({**prometheus("a"), **prometheus("b", config=LATENCY, consumer="c")}, True),
        ({**prometheus("a"), **prometheus("b", config=LATENCY, consumer="c", route="other")}, False),
    ],
)
def test_most_specific_instance_decides(plugins: dict[str, dict[str, object]], latency: bool) -> None:
    """Route and service, route, service, global; an instance for a consumer only adds."""
    found = label_sets({"services": services({"s": "s"}), "routes": routes({"r": "r"}, "s"), "plugins": plugins})
    assert found.route("r").switches == Switches(latency=latency)
    assert found.plugin


def test_groups_are_switched_one_by_one() -> None:
    """Each switch of the plugin reaches its own group; health is on for the node when any instance wants it."""
    plugins = {
        **prometheus("a", config=("bandwidth_metrics", "per_consumer")),
        **prometheus("b", config=("upstream_health_metrics",), route="other"),
    }
    found = label_sets({"routes": routes({"r": "r"}), "plugins": plugins})
    assert found.route("r").switches == Switches(bandwidth=True, per_consumer=True)
    assert found.upstream_health


def test_deleted_routes_keep_their_names() -> None:
    """A series goes on when its route or consumer is deleted; a renamed route is called by its new name."""
    first = label_sets({"routes": routes({"a": "one", "b": "two"}), "consumers": {"c": {"username": "bob"}}})
    second = label_sets({"routes": routes({"b": "renamed"}), "plugins": prometheus(config=LATENCY)}, first)
    assert second.route("a") == RouteLabels("", "one", Switches(latency=True))
    assert second.route("b").route == "renamed"
    assert second.consumers == {"c": "bob"}
    assert label_sets({}, second).route("a") == RouteLabels("", "one", Switches())


def test_deleted_routes_that_nobody_asked_for_are_forgotten() -> None:
    """Any number of routes and consumers may come and go; only those that have a series keep their names."""
    first = label_sets({"routes": routes({"a": "one", "b": "two"}), "consumers": {"c": {}, "d": {"username": "eve"}}})
    second = label_sets({}, first, is_counted={"a", "d"}.__contains__)
    assert set(second.routes) == {"a", OVERFLOW_ROUTE}
    assert second.consumers == {"d": "eve"}


def test_status_codes_follow_the_plugin_when_the_node_does_not_show_them_anyway() -> None:
    """As in Kong: shown where the instance that decides asks for them."""
    table = {
        "routes": routes({"r": "r", "other": "other"}),
        "plugins": prometheus(config=("status_code_metrics",), route="r"),
    }
    found = label_sets(table, status_codes=False)
    assert found.route("r").switches.status_codes
    assert not found.route("other").switches.status_codes
    assert label_sets(table).route("other").switches.status_codes
