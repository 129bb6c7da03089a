"""What a child is told when it starts: one JSON object in a memory file that it inherits.

The supervisor writes it with `write_spec`, the child reads it with `read_spec` from the descriptor that `--spec-fd`
names. Not on the command line and not in the environment, because both can be read by other programs and the settings
hold secrets.
Cold. Source: ours.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

SPEC_BYTES_MAX = 16 * 1024 * 1024


def write_spec(spec: Mapping[str, Any]) -> int:
    """A new descriptor (close-on-exec) positioned at the beginning of the JSON of `spec`."""
    fd = os.memfd_create("kongdp-spec")
    with open(fd, "wb", closefd=False) as file:
        file.write(json.dumps(spec).encode())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def read_spec(fd: int) -> dict[str, Any]:
    """The spec behind `fd`, which is closed. Descriptor numbers in it are inherited ones and become close-on-exec
    here.
    """
    with open(fd, "rb") as file:
        spec: dict[str, Any] = json.loads(file.read(SPEC_BYTES_MAX))
    for inherited in descriptors(spec):
        os.set_inheritable(inherited, False)
    return spec


def descriptors(spec: Mapping[str, Any]) -> list[int]:
    """Every descriptor that a spec names: values of `fd` and of keys that end in `_fd`, at any depth outside the
    settings.
    """
    found: list[int] = []
    for key, value in spec.items():
        if key == "fd" or key.endswith("_fd"):
            found.append(int(value))
        elif isinstance(value, list):
            for entry in value:
                found += descriptors(entry) if isinstance(entry, Mapping) else []
    return found
