"""**Configure New Runtime**: one command for Docker, certificates and settings for Linux and Kubernetes, **Done**. Cold.

House rules: the command has no secret in it (the script asks for the password, or takes a one-time token from a file).
A generated certificate is shown once; nothing of it is kept but its number. Source: walkthrough, section 8.
"""

import re
import shlex
import socket
from collections.abc import Mapping
from typing import Any

from nicegui import ui

from kongdp.controlplane.console import layout
from kongdp.controlplane.console.asking import at
from kongdp.controlplane.console.parts.buttons import main_button, main_link
from kongdp.controlplane.console.parts.code import code
from kongdp.controlplane.console.parts.form import Form
from kongdp.controlplane.console.screens.group import MANAGER
from kongdp.controlplane.console.visit import Visit, screen

TABS = (("docker", "Docker"), ("linux", "Linux"), ("kubernetes", "Kubernetes"))
FILES = (
    ("cert", "Certificate", "tls.crt"),
    ("key", "Private Key", "tls.key"),
    ("ca_cert", "Root CA Certificate", "ca.crt"),
)
PORT = 8000
# A name or an address, with or without a port.
HOST = re.compile(r"[A-Za-z0-9_.-]+(:\d+)?|\[[0-9A-Fa-f:.]+\]:\d+")
# Where a data plane takes the counter listener to be when nothing is said.
TELEMETRY_PORT = 8006
NAME_INSIDE = "kongdp-control-plane"


@screen("/runtimes/{group}/configure", title="Configure New Runtime", menu="runtimes")
async def configure(visit: Visit, group: str, tab: str = "docker", host: str = "", port: int = PORT) -> None:
    """The form."""
    found = await visit.ask.get(at("/v2/control-planes/{}", group))
    crumbs = [MANAGER, (found["name"], at("/runtimes/{}", found["id"]))]
    layout.heading(visit, "Configure New Runtime", crumbs=crumbs, about=f"A data plane of {found['name']}")
    current = tab if tab in dict(TABS) else "docker"
    layout.tabs(
        visit,
        [(key, text, visit.address(tab=None if key == "docker" else key)) for key, text in TABS],
        current,
        label="Platform",
    )
    place = place_of(visit, found, host)
    with layout.card(dict(TABS)[current]), ui.element("div").classes("form"):
        _where(visit, place, port if current == "docker" else None)
        if current == "docker":
            _docker(visit, found, place, port)
        else:
            _by_hand(visit, found, place, current)
    with ui.element("div").classes("actions"):
        main_link("Done", at("/runtimes/{}", found["id"]))


def place_of(visit: Visit, group: Mapping[str, Any], host: str) -> str:
    """Where data planes reach this control plane: what was typed, else the name it was given, else the browser's."""
    usual = str(group["config"]["control_plane_endpoint"])
    if not host and usual.rpartition(":")[0] != socket.gethostname():
        return usual
    if not HOST.fullmatch(host):
        # Out of an address that anybody could have sent: it ends in a command and in files.
        host = visit.host
    return host if ":" in host else f"{host}:{usual.rpartition(':')[2]}"


def _where(visit: Visit, place: str, port: int | None) -> None:
    """Addresses that the command has in it; without a port it has none: the settings are the operator's to complete."""
    form = Form()
    with ui.element("div").classes("form-row"):
        shown = [form.text("host", "Control plane", place, hint="As the data plane reaches it: host and port")]
        if port is not None:
            shown.append(form.number("port", "Proxy port", port, hint="Where the data plane takes requests"))

    def change() -> None:
        values = form.values()
        if values is None:
            return
        if values["host"] and not HOST.fullmatch(values["host"]):
            form.show({"host": "must be a host and a port, such as gateway.example:8005"})
            return
        ui.navigate.to(visit.address(**values))

    for field in shown:
        field.on("keydown.enter", change)
        field.on("blur", lambda field=field, was=field.value: change() if field.value != was else None)


def command(visit: Visit, group: Mapping[str, Any], place: str, port: int) -> str:
    """The one command. The fingerprint proves the control plane before anything is sent to it."""
    fingerprint = group["config"]["ca_fingerprint"]
    telemetry = _telemetry(group, place)
    script = ["sh", "runtime-setup.sh", "-c", place, "-f", fingerprint, "-u", visit.identity.name, "-g", group["id"]]
    script += ["-pp", str(port)]
    if not telemetry.endswith(f":{TELEMETRY_PORT}"):
        script += ["-te", telemetry]
    fetch = ["curl", "-fsSk", f"https://{place}/runtime-setup.sh", "-o", "runtime-setup.sh"]
    # A name may have any character; in the shell it is one word.
    return f"{shlex.join(fetch)} && {shlex.join(script)}"


def _telemetry(group: Mapping[str, Any], place: str) -> str:
    return f"{place.rpartition(':')[0]}:{str(group['config']['telemetry_endpoint']).rpartition(':')[2]}"


def _docker(visit: Visit, group: Mapping[str, Any], place: str, port: int) -> None:
    ui.label("Run this on a host with Docker, curl and openssl. It asks for your password and starts a data plane.")
    code(command(visit, group, place, port), button="Copy Script", label="Quick setup", is_folded=True)
    ui.label(
        "Without Docker, with an installed kongdp: add --local. Instead of a password, --token-file takes a one-time token."
    ).classes("hint")


def _by_hand(visit: Visit, group: Mapping[str, Any], place: str, tab: str) -> None:
    with ui.element("h2"):
        ui.label("Step 1. Create Certificates")
    ui.label("Generate the certificate, copy its parts and save them on the host. They are shown once.")
    parts = ui.element("div").classes("form")

    async def generate() -> None:
        made = await visit.ask.post(at("/v2/control-planes/{}/data-plane-certificates", group["id"]))
        parts.clear()
        with parts:
            for key, name, file in FILES:
                code(made[key], label=f"{name}: save as {file}")
        settings.clear()
        with settings:
            _settings(group, place, tab, made["node_id"])
        button.text = "Generate Another Certificate"

    button = main_button("Generate Certificate", generate)
    with ui.element("h2"):
        ui.label("Step 2. Configuration Parameters")
    settings = ui.element("div").classes("form")
    with settings:
        _settings(group, place, tab, "")


def _settings(group: Mapping[str, Any], place: str, tab: str, node_id: str) -> None:
    if not node_id:
        ui.label("Each certificate is for one data plane, whose node_id appears here with it.").classes("hint")
    if tab == "linux":
        ui.label("Put this into kongdp.conf, then start the node again.")
        code(settings_text(group, place, node_id), label="kongdp.conf")
    else:
        ui.label("Put the files into the secret kong-cluster-cert and this into values.yaml, then run helm upgrade.")
        code(values_text(group, place, node_id), label="values.yaml")
        ui.label("For several replicas let every pod enrol by itself: conf/kubernetes.yaml does.").classes("hint")


def settings_of(group: Mapping[str, Any], place: str, node_id: str, directory: str) -> dict[str, str]:
    """The settings of a data plane with files in a directory."""
    return {
        "role": "data_plane",
        "database": "off",
        **({"node_id": node_id} if node_id else {}),
        "cluster_mtls": "pki",
        "cluster_control_plane": place,
        "cluster_server_name": NAME_INSIDE,
        "cluster_telemetry_endpoint": _telemetry(group, place),
        "cluster_telemetry_server_name": NAME_INSIDE,
        "cluster_cert": f"{directory}/tls.crt",
        "cluster_cert_key": f"{directory}/tls.key",
        "cluster_ca_cert": f"{directory}/ca.crt",
    }


def settings_text(group: Mapping[str, Any], place: str, node_id: str) -> str:
    """As a settings file."""
    return "\n".join(f"{name} = {value}" for name, value in settings_of(group, place, node_id, "/etc/kongdp").items())


def values_text(group: Mapping[str, Any], place: str, node_id: str) -> str:
    """As values of Kong's Helm chart."""
    names = settings_of(group, place, node_id, "/etc/secrets/kong-cluster-cert")
    lines = [
        "image:",
        "  repository: kongdp",
        '  tag: "latest"',
        "secretVolumes:",
        "- kong-cluster-cert",
        "admin:",
        "  enabled: false",
        "env:",
        *(f'  {name}: "{value}"' for name, value in names.items()),
        "ingressController:",
        "  enabled: false",
        "  installCRDs: false",
    ]
    return "\n".join(lines)
