"""Entities as a declarative file (decK's YAML), and requests as curl commands: what can be copied from a screen. Pure."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import yaml

FORMAT = "3.0"
# What the store keeps and a file need not say.
LEFT_OUT = ("created_at", "updated_at", "ws_id")
# What refers to what: child, its field, the parent's collection; children before their parents. Of several the first that a
# child has is what it stands below.
REFERENCES = (
    ("plugins", "route", "routes"),
    ("plugins", "service", "services"),
    ("plugins", "consumer", "consumers"),
    ("routes", "service", "services"),
    ("snis", "certificate", "certificates"),
)
Rows: TypeAlias = Mapping[str, Sequence[Mapping[str, Any]]]


def missing(entities: Rows) -> dict[str, list[str]]:
    """By collection the ids of parents that entities refer to and that are not among them.

    A parent may lack its own: ask again with it.
    """
    found: dict[str, dict[str, None]] = {}
    for child, field, parent in REFERENCES:
        there = {row["id"] for row in entities.get(parent, ())}
        ids = [row[field]["id"] for row in entities.get(child, ()) if row.get(field)]
        found.setdefault(parent, {}).update(dict.fromkeys(each for each in ids if each not in there))
    return {parent: list(ids) for parent, ids in found.items() if ids}


def declaration(entities: Rows) -> str:
    """A file with these entities by collection, each below what it belongs to, as decK writes them.

    With what is `missing` among them it is a whole one; what it needs besides is said at its top.
    """
    rows = {name: [_kept(row) for row in found] for name, found in entities.items()}
    by_id = {name: {row["id"]: row for row in found if "id" in row} for name, found in rows.items()}
    needs = _needs(rows, by_id)
    for row in rows.get("certificates", ()):
        # The names that a certificate has are entities in a file.
        own = {each["name"]: each for each in rows.get("snis", ()) if each["certificate"]["id"] == row["id"]}
        names = dict.fromkeys((*row.pop("snis", ()), *own))
        if names:
            row["snis"] = [_without(own[name], "certificate") if name in own else {"name": name} for name in names]
    below = set()
    for child, field, parent in REFERENCES:
        for row in rows.get(child, ()):
            owner = by_id.get(parent, {}).get(row.get(field, {}).get("id"))
            scopes = [each for each in REFERENCES if each[0] == child and each[1] in row]
            if owner is None or len(scopes) > 1:
                continue
            below.add(row["id"])
            if child != "snis":
                del row[field]
                owner.setdefault(child, []).append(row)
    for row in rows.get("plugins", ()):
        # Of several parents none is the one: all are named.
        for _child, field, parent in REFERENCES[:3]:
            if field in row:
                owner = by_id.get(parent, {}).get(row[field]["id"], row[field])
                row[field] = owner.get("name") or owner.get("username") or owner["id"]
    loose = {name: [row for row in found if row.get("id") not in below] for name, found in rows.items()}
    body = {"_format_version": FORMAT, **{name: found for name, found in loose.items() if found}}
    return "".join(f"# {each}\n" for each in needs) + yaml_text(body)


def _needs(rows: Rows, by_id: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What a file of these rows lacks."""
    found = []
    for name, of_name in rows.items():
        for row in of_name:
            for key, text in (("key", "cert"), ("key_alt", "cert_alt")):
                if name == "certificates" and text in row and key not in row:
                    found.append(f"Needs {key} of certificate {row['id']}: a private key is stored and not shown.")
            for field, value in row.items():
                parent = _COLLECTIONS.get(field)
                if parent is not None and isinstance(value, Mapping) and value["id"] not in by_id.get(parent, ()):
                    found.append(f"Needs the {field.replace('_', ' ')} {value['id']}.")
            found += [f"Needs the CA certificate {each}." for each in row.get("ca_certificates") or ()]
    return list(dict.fromkeys(found))


_COLLECTIONS = {"client_certificate": "certificates", **{field: parent for _child, field, parent in REFERENCES}}


def _without(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {each: value for each, value in row.items() if each != name}


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
