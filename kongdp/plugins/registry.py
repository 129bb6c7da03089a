"""Which plugins this build runs, and their handlers, loaded when a configuration names them.

In: a name, or a Plugin entity.  Out: the class, or an instance.  A plugin that is not in the table is refused with the
configuration that names it: a route must never be served without the authentication somebody configured for it.
Cold: once for each plugin entity of a configuration. Source: ours; priorities are Kong's, on each handler class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module

from kongdp.entities.model import Plugin
from kongdp.plugins.base import Handler, Node, PluginError

PRIORITIES: Mapping[str, int] = {
    "acl": 950,
    "basic-auth": 1100,
    "bot-detection": 2500,
    "correlation-id": 100001,
    "cors": 2000,
    "file-log": 9,
    "http-log": 12,
    "ip-restriction": 990,
    "jwt": 1450,
    "key-auth": 1250,
    "prometheus": 13,
    "proxy-cache": 100,
    "rate-limiting": 910,
    "request-size-limiting": 951,
    "request-termination": 2,
    "request-transformer": 801,
    "response-transformer": 800,
}
"""Name -> priority of every plugin that runs here: what `/` and basic_info list, without loading any."""


def enabled(setting: Sequence[str]) -> tuple[str, ...]:
    """The plugins that the setting `plugins` lets a configuration use: names, `bundled` for all of them, `off` for none.

    Raises PluginError for a name that stands for nothing: as in Kong, such a node does not start.
    """
    unknown = [name for name in setting if name not in PRIORITIES and name not in ("bundled", "off")]
    if unknown:
        raise PluginError(f"'{unknown[0]}' is enabled but not installed; this node has {', '.join(sorted(PRIORITIES))}")
    return tuple(name for name in PRIORITIES if "bundled" in setting or name in setting)


def build(plugin: Plugin, node: Node) -> Handler:
    """The handler of a configured plugin. Raises PluginError."""
    try:
        return load(plugin.name)(plugin, node)
    except PluginError as problem:
        raise PluginError(f"plugin '{plugin.name}' ({plugin.id}): {problem}") from None


@cache
def load(name: str) -> type[Handler]:
    """The handler class of a plugin. Raises PluginError for one that is not in the table."""
    if name not in PRIORITIES:
        raise PluginError(f"this node does not run it; it runs {', '.join(sorted(PRIORITIES)) or 'none'}")
    module = import_module(f"kongdp.plugins.{name.replace('-', '_')}.handler")
    found: type[Handler] = module.HANDLER
    return found
