"""Labels of services and groups: `key: value`, one a line. Pure."""

from collections.abc import Mapping
from typing import Any

from kongdp.controlplane.console.parts.form import FieldError, split_lines

HINT = "key: value, one a line"


def label_lines(labels: Mapping[str, str]) -> str:
    """Labels as text."""
    return "\n".join(f"{key}: {value}" for key, value in labels.items())


def read_labels(raw: Any) -> dict[str, str]:
    """Labels as typed. Raises FieldError."""
    found = {}
    for line in split_lines(raw):
        key, colon, value = line.partition(":")
        if not colon or not key.strip():
            raise FieldError(f"“{line}” is not key: value")
        found[key.strip()] = value.strip()
    return found
