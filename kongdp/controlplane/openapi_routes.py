"""Routes that an OpenAPI document would have: an offer, never made by itself.

In: a document that openapi_text has accepted, and a prefix for names.  Out: routes in Kong's fields, one for each operation.
A path without variables is matched whole as a regular expression, one with them has a named group for each; the former
wins where both match. The path goes upstream as it came.
Pure. Cold. Source: the manner of decK's `file openapi2kong`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kongdp.controlplane.openapi_view import operations

PLAIN_PRIORITY = 200
VARIABLE_PRIORITY = 100
NAME_LENGTH_MAX = 200
ROUTES_MAX = 1000
_VARIABLE = re.compile(r"\{([^{}]*)\}")
_NAMED = re.compile(r"[^A-Za-z0-9.\-_~]+")
_GROUP = re.compile(r"\W+", re.ASCII)


@dataclass(frozen=True, slots=True)
class ProposedRoute:
    """One route. `method` and `path` are the operation's, `fields` Kong's."""

    method: str
    path: str
    summary: str
    fields: dict[str, Any]


def propose(document: Mapping[str, Any], prefix: str) -> list[ProposedRoute]:
    """The routes of a document, in its order, at most ROUTES_MAX; names are unique among them."""
    proposed: list[ProposedRoute] = []
    taken: set[str] = set()
    for operation in operations(document):
        if len(proposed) == ROUTES_MAX:
            break
        operation_id = operation.value.get("operationId")
        own = operation_id if isinstance(operation_id, str) else f"{operation.method.lower()}{operation.path}"
        name = _unique(_NAMED.sub("-", f"{prefix}-{own}").strip("-")[:NAME_LENGTH_MAX], taken)
        pattern = path_pattern(operation.path)
        fields = {
            "name": name,
            "methods": [operation.method],
            "paths": [pattern],
            "strip_path": False,
            "regex_priority": VARIABLE_PRIORITY if "{" in operation.path else PLAIN_PRIORITY,
        }
        summary = operation.value.get("summary")
        shown = summary[:200] if isinstance(summary, str) else ""
        proposed.append(ProposedRoute(operation.method, operation.path, shown, fields))
    return proposed


def path_pattern(path: str) -> str:
    """Kong's regular expression for an OpenAPI path: "/pets/{id}" -> "~/pets/(?<id>[^#?/]+)$"."""
    pattern = ""
    end = 0
    names: set[str] = set()
    for found in _VARIABLE.finditer(path):
        name = _GROUP.sub("_", found[1])[:32] or "value"
        name = _unique(f"_{name}" if name[0].isdigit() else name, names)
        pattern += re.escape(path[end : found.start()]).replace(r"\-", "-") + f"(?<{name}>[^#?/]+)"
        end = found.end()
    return "~" + pattern + re.escape(path[end:]).replace(r"\-", "-") + "$"


def _unique(name: str, taken: set[str]) -> str:
    """The name, with a number where it is taken."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    taken.add(candidate)
    return candidate
