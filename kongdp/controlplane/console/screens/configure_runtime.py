"""**Configure New Runtime**: one command for Docker, a certificate and a script for Linux and Kubernetes, **Done**. Cold.

House rules: the command for Docker has no secret in it (the script asks for the password, or takes a one-time token from
a file). A generated certificate is shown once, with the script that has it; nothing of it is kept but its number.
Source: walkthrough, section 8; the objects for Kubernetes are those of conf/kubernetes.yaml.
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
from kongdp.controlplane.console.parts.declaration import yaml_text
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
# Where a script puts settings and certificate: on a host, and in a pod.
DIRECTORY, MOUNT = "/etc/kongdp", "/etc/kongdp/cluster"
# Ends the files in a script; a line of PEM, of settings or of YAML is never this.
END = "END_OF_FILE"
STATUS_PORT = 8007
LABELS = {"app.kubernetes.io/name": "kongdp", "app.kubernetes.io/component": "data-plane"}


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
    ui.label(
        "Generate the certificate of one data plane. It is shown once: copy the script of step 2 or save the files."
    )
    parts = ui.element("div").classes("form")

    async def generate() -> None:
        made = await visit.ask.post(at("/v2/control-planes/{}/data-plane-certificates", group["id"]))
        parts.clear()
        with parts:
            for key, name, file in FILES:
                code(made[key], label=f"{name}: save as {file}", is_folded=True)
        settings.clear()
        with settings:
            _script(group, place, tab, made)
            _settings(group, place, tab, made["node_id"])
        button.text = "Generate Another Certificate"

    button = main_button("Generate Certificate", generate)
    with ui.element("h2"):
        ui.label("Step 2. Configuration Parameters")
    settings = ui.element("div").classes("form")
    with settings:
        ui.label("Each certificate is for one data plane, whose node_id appears here with it.").classes("hint")
        _settings(group, place, tab, "")


def _script(group: Mapping[str, Any], place: str, tab: str, made: Mapping[str, Any]) -> None:
    """All of it in one piece: run it, and the data plane is there."""
    if tab == "linux":
        ui.label("Run this on the host, where kongdp is installed, as the user that it runs as.")
        code(linux_script(group, place, made), button="Copy Script", label="Script", is_folded=True)
    else:
        ui.label("Run this where kubectl reaches the cluster, in the namespace of your choice.")
        code(kubernetes_script(group, place, made), button="Copy Script", label="Script", is_folded=True)
        ui.label("For several replicas let every pod enrol by itself: conf/kubernetes.yaml does.").classes("hint")


def _settings(group: Mapping[str, Any], place: str, tab: str, node_id: str) -> None:
    if tab == "linux":
        ui.label(
            f"Or by hand: save the files in {DIRECTORY}, put this into kongdp.conf there, and start the node again."
        )
        code(settings_text(group, place, node_id), label="kongdp.conf")
    else:
        ui.label("With Helm: put the files into the secret kong-cluster-cert and this into values.yaml.")
        code(values_text(group, place, node_id), label="values.yaml")
        code(HELM, label="Commands")


HELM = """kubectl create secret generic kong-cluster-cert --from-file=tls.crt --from-file=tls.key --from-file=ca.crt
helm upgrade --install my-kong kong/kong --values ./values.yaml"""


def linux_script(group: Mapping[str, Any], place: str, made: Mapping[str, Any]) -> str:
    """Files that their owner alone reads, and the start; a shell that it is pasted into stays as it was, whatever fails."""
    files = {file: str(made[key]).strip() for key, _name, file in FILES}
    files["kongdp.conf"] = settings_text(group, place, str(made["node_id"]))
    written = [f"cat >{DIRECTORY}/{name} <<'{END}'\n{text}\n{END}" for name, text in files.items()]
    start = f") && kongdp start -c {DIRECTORY}/kongdp.conf"
    return "\n".join(["(", "set -eu", "umask 077", f"mkdir -p {DIRECTORY}", *written, start])


def kubernetes_script(group: Mapping[str, Any], place: str, made: Mapping[str, Any]) -> str:
    """The objects of one data plane, applied."""
    return f"kubectl apply -f - <<'{END}'\n{yaml_text(*kubernetes_objects(group, place, made))}{END}"


def kubernetes_objects(group: Mapping[str, Any], place: str, made: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A secret with the certificate, one pod that has it, and the Service in front of all data planes."""
    name = f"kongdp-data-plane-{str(made['node_id'])[:8]}"
    own = {**LABELS, "app.kubernetes.io/instance": name}
    names = settings_of(group, place, str(made["node_id"]), MOUNT)
    env = [{"name": f"KONG_{key.upper()}", "value": value} for key, value in names.items()]
    env.append({"name": "KONG_STATUS_LISTEN", "value": f"0.0.0.0:{STATUS_PORT}"})
    container = {
        "name": "data-plane",
        "image": "kongdp",
        "args": ["run"],
        "env": env,
        "ports": [
            {"name": "proxy", "containerPort": 8000},
            {"name": "proxy-tls", "containerPort": 8443},
            {"name": "status", "containerPort": STATUS_PORT},
        ],
        "readinessProbe": {"httpGet": {"path": "/status/ready", "port": "status"}},
        "livenessProbe": {"httpGet": {"path": "/status", "port": "status"}, "initialDelaySeconds": 30},
        "volumeMounts": [{"name": "cluster", "mountPath": MOUNT, "readOnly": True}],
    }
    # The image's user, 1000, reads the secret as a member of its group.
    pod = {
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000},
        "containers": [container],
        "volumes": [{"name": "cluster", "secret": {"secretName": name, "defaultMode": 0o440}}],
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": own},
            "stringData": {file: str(made[key]) for key, _name, file in FILES},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "labels": own},
            # Never two at a time: they would be one node.
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": own},
                "template": {"metadata": {"labels": own}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kongdp-proxy"},
            "spec": {
                "type": "LoadBalancer",
                "selector": LABELS,
                "ports": [
                    {"name": "http", "port": 80, "targetPort": "proxy"},
                    {"name": "https", "port": 443, "targetPort": "proxy-tls"},
                ],
            },
        },
    ]


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
    return "\n".join(f"{name} = {value}" for name, value in settings_of(group, place, node_id, DIRECTORY).items())


def values_text(group: Mapping[str, Any], place: str, node_id: str) -> str:
    """As values of Kong's Helm chart."""
    names = settings_of(group, place, node_id, "/etc/secrets/kong-cluster-cert")
    lines = [
        "image:",
        "  repository: kongdp",
        '  tag: "latest"',
        # The chart compares versions, and a tag that is none ends it.
        '  effectiveSemver: "3.9.0"',
        "secretVolumes:",
        "- kong-cluster-cert",
        "admin:",
        "  enabled: false",
        "lifecycle:",
        "  preStop:",
        '    exec: {command: ["sleep", "5"]}',
        "env:",
        *(f'  {name}: "{value}"' for name, value in names.items()),
        "ingressController:",
        "  enabled: false",
        "  installCRDs: false",
    ]
    return "\n".join(lines)
