"""What older formats and decK's files ask for before an entity is read: defaults, shared plugin settings, migrated paths.

In: the head of a configuration.  Out: a Preparation to apply to each raw entity, or None in the usual case of nothing.
Cold. Source: kong/db/declarative/migrations/route_path.lua 3.9; decK's file format.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kongdp.entities.paths import migrate_path


@dataclass(frozen=True, slots=True)
class Preparation:
    """What older formats and decK ask for before an entity is read."""

    migrate: bool
    defaults: Mapping[str, Any]
    plugin_configs: Mapping[str, Any]

    def apply(self, collection: str, raw: dict[str, Any]) -> dict[str, Any]:
        """The entity with defaults, shared plugin configuration and paths in today's form."""
        defaults = self.defaults.get(collection.removesuffix("s"))
        if isinstance(defaults, dict):
            raw = {**defaults, **raw}
        if collection == "plugins" and isinstance(raw.get("_config"), str):
            raw = dict(raw)
            shared, own = self.plugin_configs.get(raw["_config"]), raw.get("config")
            if isinstance(shared, dict) and (own is None or isinstance(own, dict)):
                del raw["_config"]
                raw["config"] = {**shared, **(own or {})}
        if self.migrate and collection == "routes" and isinstance(raw.get("paths"), list):
            paths = [migrate_path(path) if isinstance(path, str) else path for path in raw["paths"]]
            raw = {**raw, "paths": paths}
        return raw


def preparation_of(data: Mapping[str, Any]) -> Preparation | None:
    """What must be done to the raw entities of this configuration, or None."""
    info = data.get("_info")
    defaults = info.get("defaults") if isinstance(info, dict) else None
    plugin_configs = data.get("_plugin_configs")
    migrate = data.get("_format_version") in ("1.1", "2.1")
    if not (migrate or isinstance(defaults, dict) or isinstance(plugin_configs, dict)):
        return None
    return Preparation(
        migrate,
        defaults if isinstance(defaults, dict) else {},
        plugin_configs if isinstance(plugin_configs, dict) else {},
    )
