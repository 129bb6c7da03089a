"""Roles of people: one for the whole control plane, one for each runtime group. Pure but for the fields' texts."""

from collections.abc import Mapping
from typing import Any

from kongdp.controlplane.access import ROLES
from kongdp.controlplane.console.parts.form import FieldError, split_lines

TEXTS = {
    "none": "None: only where a group says otherwise",
    "viewer": "Viewer: may look",
    "editor": "Editor: may change services and Gateway entities",
    "admin": "Administrator: may do everything",
}
HINT = "group: role, one a line (viewer, editor, admin)"


def role_lines(roles: Mapping[str, str], names: Mapping[str, str]) -> str:
    """Roles by group id as text, with the groups' names."""
    return "\n".join(f"{names.get(group, group)}: {role}" for group, role in sorted(roles.items()))


def read_roles(raw: Any) -> dict[str, str]:
    """Roles as typed. Raises FieldError."""
    found = {}
    for line in split_lines(raw):
        # A group's name may have colons.
        group, colon, role = (part.strip() for part in line.rpartition(":"))
        if not colon or not group or role not in ROLES:
            raise FieldError(f"“{line}” is not group: role with a role of {', '.join(ROLES)}")
        found[group] = role
    return found
