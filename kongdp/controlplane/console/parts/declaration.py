"""Entities as a declarative file (decK's YAML), and requests as curl commands: what can be copied from a screen. Pure."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

FORMAT = "3.0"
# What the store keeps and a file need not say.
LEFT_OUT = ("created_at", "updated_at", "ws_id")


def declaration(entities: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """A file with these entities by collection; routes of a service in it stand below their service."""
    rows = {name: [_kept(row) for row in found] for name, found in entities.items()}
    services = {row["id"]: row for row in rows.get("services", []) if "id" in row}
    loose = []
    for route in rows.pop("routes", []):
        service = services.get((route.get("service") or {}).get("id"))
        if service is None:
            loose.append(route)
        else:
            route.pop("service")
            service.setdefault("routes", []).append(route)
    if loose:
        rows["routes"] = loose
    body = {"_format_version": FORMAT, **{name: found for name, found in rows.items() if found}}
    return yaml_text(body)


def yaml_text(*documents: Mapping[str, Any]) -> str:
    """YAML as people write it: a text of several lines (a certificate, say) line by line, nothing by reference."""
    text: str = yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True)
    return text


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.Node:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _Dumper.represent_text)


def curl(method: str, url: str, body: str = "") -> str:
    """A command that does the same by the API; the token is the reader's."""
    # Double quotes: the shell is to put the token in.
    parts = ["curl", "-X", method, shlex.quote(url), "-H", '"Authorization: Bearer $KONGDP_TOKEN"']
    if body:
        parts += ["-H", shlex.quote("Content-Type: application/json"), "-d", shlex.quote(body)]
    return " ".join(parts)


def _kept(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None and name not in LEFT_OUT}
