"""The table of plugins that run: it agrees with the handlers and with the schemas."""

import pytest

from kongdp.entities.model import Plugin
from kongdp.plugins import registry
from kongdp.plugins.base import Node, PluginError
from kongdp.plugins.configs import PLUGIN_SCHEMAS


@pytest.mark.parametrize("name", sorted(registry.PRIORITIES))
def test_table_agrees_with_the_handler(name: str) -> None:
    """Its priority is the class's; its settings are known."""
    assert registry.PRIORITIES[name] == registry.load(name).PRIORITY
    assert name in PLUGIN_SCHEMAS


def test_unknown_plugin_is_refused_by_name() -> None:
    """With what there is instead."""
    plugin = Plugin("1", "oauth2", None, None, None, None, (), True, {}, ())
    with pytest.raises(PluginError, match=r"plugin 'oauth2' \(1\): this node does not run it; it runs acl, "):
        registry.build(plugin, Node())


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        (("bundled",), set(registry.PRIORITIES)),
        (("acl", "key-auth"), {"acl", "key-auth"}),
        (("bundled", "acl"), set(registry.PRIORITIES)),
        (("off",), set()),
    ],
)
def test_setting_says_which_plugins_there_are(setting: tuple[str, ...], names: set[str]) -> None:
    """KONG_PLUGINS: a list, all, or none."""
    assert set(registry.enabled(setting)) == names


def test_setting_that_names_nothing_stops_the_start() -> None:
    """With the name, and with what there is."""
    with pytest.raises(PluginError, match="'my-plugin' is enabled but not installed; this node has acl, "):
        registry.enabled(("bundled", "my-plugin"))


def test_every_plugin_whose_settings_are_known_runs() -> None:
    """So `/` and basic_info list what a control plane may send."""
    assert set(registry.PRIORITIES) == set(PLUGIN_SCHEMAS)
