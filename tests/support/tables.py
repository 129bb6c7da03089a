"""Small tables (collection -> id -> row) with the few fields that labels are made of."""

from typing import Any

Rows = dict[str, dict[str, Any]]


def routes(names: dict[str, str | None], service: str | None = None) -> Rows:
    """Routes by id with these names."""
    reference = {"id": service} if service else None
    return {each: {"id": each, "name": name, "service": reference} for each, name in names.items()}


def services(names: dict[str, str | None]) -> Rows:
    """Services by id with these names; their host is h."""
    return {each: {"id": each, "name": name, "host": "h"} for each, name in names.items()}


def prometheus(identity: str = "p", *, enabled: bool = True, config: tuple[str, ...] = (), **scope: str) -> Rows:
    """One instance of the plugin with these switches on, bound to what `scope` says (route="id" and so on)."""
    bound = {name: {"id": scope[name]} if name in scope else None for name in ("route", "service", "consumer")}
    switches = dict.fromkeys(config, True)
    return {identity: {"id": identity, "name": "prometheus", "enabled": enabled, "config": switches, **bound}}
