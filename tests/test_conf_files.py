"""The files of conf/, of the image and the README say only what kongdp knows: entities, settings, metrics, labels.

conf/kongdp.conf is held by tests/settings.
"""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kongdp import compiled
from kongdp.cli.main import build_parser
from kongdp.controlplane.api.status import render_metrics
from kongdp.controlplane.nodes import NORMAL, Node
from kongdp.entities.declarative import load, parse_text
from kongdp.settings import Settings, environment_name, load_settings
from kongdp.settings.model import ROWS
from kongdp.telemetry.counters import RouteCounters
from kongdp.telemetry.exposition import Exposition
from kongdp.telemetry.families import FAMILIES, DataPlane, NodeFacts, TargetHealth
from kongdp.telemetry.labels import label_sets
from kongdp.telemetry.node_metrics import node_registry, own_text
from kongdp.telemetry.samples import Samples
from kongdp.telemetry.segment import Segment
from kongdp.telemetry.totals import TotalsReader
from tests.support.dockerfile import read_dockerfile
from tests.support.segments import memory
from tests.support.tables import prometheus, routes, services

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
HASH = "0123456789abcdef" * 2
UNITS = [CONF / "kongdp.service", CONF / "kongdp-control-plane.service"]


# -- the sample configuration


def test_sample_configuration_loads_on_a_node() -> None:
    """conf/kong.yml is valid on a node as it is, and shows what a route can ask for."""
    table = load(parse_text((CONF / "kong.yml").read_bytes(), "kong.yml"))
    rows = {row["name"]: row for row in table["routes"].values()}
    assert rows["orders"]["paths"] == ["/orders"]
    assert rows["order-receipts"]["paths"][0].startswith("~/")
    assert {row["host"] for row in table["services"].values()} >= {row["name"] for row in table["upstreams"].values()}
    assert {field for row in rows.values() for field in ("paths", "methods", "hosts", "headers") if row[field]} == {
        "paths",
        "methods",
        "hosts",
        "headers",
    }


# -- settings in environments


def compose_environments() -> Iterator[tuple[str, list[str], dict[str, str]]]:
    """(name, command, environment) of each container in compose.yaml that runs kongdp."""
    for name, service in yaml.safe_load((CONF / "compose.yaml").read_text())["services"].items():
        if "entrypoint" in service and "kongdp run" not in service["command"][0]:
            continue
        yield f"compose {name}", service.get("command", ["run"]), service.get("environment", {})


def kubernetes_documents() -> list[dict[str, Any]]:
    """The objects of kubernetes.yaml that have a specification (a namespace has none)."""
    documents = yaml.safe_load_all((CONF / "kubernetes.yaml").read_text())
    return [document for document in documents if "spec" in document]


def kubernetes_containers() -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, container) of each workload in kubernetes.yaml."""
    for document in kubernetes_documents():
        for container in document["spec"].get("template", {}).get("spec", {}).get("containers", []):
            yield document["metadata"]["name"], container


def kubernetes_environments() -> Iterator[tuple[str, list[str], dict[str, str]]]:
    for name, container in kubernetes_containers():
        # What comes from a Secret is not in the file.
        given = {entry["name"]: entry.get("value", "ab" * 32) for entry in container["env"]}
        yield f"kubernetes {name}", container["args"], given


def read_unit(path: Path) -> dict[str, dict[str, list[str]]]:
    """Section -> key -> values of a unit file."""
    sections: dict[str, dict[str, list[str]]] = {}
    for line in path.read_text().splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, equals, value = line.partition("=")
            assert equals, f"{path.name}: {line!r} is neither a section nor a key"
            section.setdefault(key, []).append(value)
    return sections


def unit_environments() -> Iterator[tuple[str, list[str], dict[str, str]]]:
    for path in UNITS:
        unit = read_unit(path)["Service"]
        given = dict(pair.split("=", 1) for pair in " ".join(unit["Environment"]).split())
        yield path.name, unit["ExecStart"][0].split()[1:], given


ENVIRONMENTS = [*compose_environments(), *kubernetes_environments(), *unit_environments()]


def settings_of(environ: dict[str, str], is_control_plane: bool, prefix: Path) -> Settings:
    given = {name: value for name, value in environ.items() if name.startswith(("KONG_", "KONGDP_"))}
    if "KONGDP_ENROLL_URL" in given and "KONGDP_ENROLL_USER" not in given:
        given["KONGDP_ENROLL_TOKEN"] = "what the container's command asks for"
    if not is_control_plane:
        given.setdefault("KONG_DATABASE", "off")
    role = {"role": "control_plane"} if is_control_plane else {}
    return load_settings(None, {**read_dockerfile(ROOT / "Dockerfile").env, **given}, {**role, "prefix": str(prefix)})


@pytest.mark.parametrize(("name", "command", "environ"), ENVIRONMENTS, ids=[name for name, _, _ in ENVIRONMENTS])
def test_environments_hold_known_settings_that_fit_together(
    name: str, command: list[str], environ: dict[str, str], tmp_path: Path
) -> None:
    """Over the image's ENV every container and unit has valid settings: none unknown, none without effect."""
    is_control_plane = command[0] == "control-plane"
    settings = settings_of(environ, is_control_plane, tmp_path)
    assert [warning for warning in settings.warnings if "unknown" in warning or "no effect" in warning] == []
    has_role = settings.role == ("control_plane" if is_control_plane else "data_plane")
    assert has_role or name == "kongdp.service"


@pytest.mark.parametrize(("name", "command", "environ"), ENVIRONMENTS, ids=[name for name, _, _ in ENVIRONMENTS])
def test_commands_are_commands_of_the_command_line(name: str, command: list[str], environ: dict[str, str]) -> None:
    """What containers and units run is what `kongdp` takes."""
    script = re.search(r"exec kongdp (.*)", command[0])
    words = script[1].split() if script else command
    assert build_parser().parse_args(words).action is not None


def test_compose_and_kubernetes_leave_time_to_drain(tmp_path: Path) -> None:
    """A data plane is killed only after KONGDP_DRAIN_TIMEOUT_S and what comes before it."""
    compose = yaml.safe_load((CONF / "compose.yaml").read_text())["services"]["data-plane"]
    drain_s = float(compose["environment"]["KONGDP_DRAIN_TIMEOUT_S"])
    assert int(compose["stop_grace_period"].removesuffix("s")) >= drain_s + 5
    documents = kubernetes_documents()
    pod = next(each for each in documents if each["kind"] == "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (drain,) = [entry["value"] for entry in container["env"] if entry["name"] == "KONGDP_DRAIN_TIMEOUT_S"]
    before_s = float(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] >= before_s + float(drain) + 5


def test_kubernetes_ports_probes_and_volumes_point_at_something() -> None:
    """Services and probes name ports that containers have; mounts name volumes of the pod; selectors find the pods."""
    documents = kubernetes_documents()
    workloads = {each["metadata"]["name"]: each for each in documents if "template" in each["spec"]}
    ports: dict[str, set[str]] = {}
    for name, workload in workloads.items():
        pod = workload["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()
        ports[labels["app.kubernetes.io/component"]] = {port["name"] for port in container["ports"]}
        volumes = {volume["name"] for volume in pod["volumes"]}
        volumes |= {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes, name
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = container.get(probe, {}).get("httpGet", {}).get("port")
            assert asked is None or asked in {port["name"] for port in container["ports"]}
    for service in (each for each in documents if each["kind"] == "Service"):
        component = service["spec"]["selector"]["app.kubernetes.io/component"]
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports[component]


# -- systemd units


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_keep_state_where_systemd_makes_the_directory(path: Path) -> None:
    """KONG_PREFIX is the unit's StateDirectory, and the stop waits longer than the drain."""
    unit = read_unit(path)
    (prefix,) = re.findall(r"KONG_PREFIX=(\S+)", " ".join(unit["Service"]["Environment"]))
    assert prefix == f"/var/lib/{unit['Service']['StateDirectory'][0]}"
    assert float(unit["Service"]["TimeoutStopSec"][0]) >= 30
    assert unit["Install"]["WantedBy"] == ["multi-user.target"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_are_what_systemd_understands(path: Path, tmp_path: Path) -> None:
    """systemd itself finds nothing to complain of, once the program is where the unit says."""
    unit = tmp_path / path.name
    unit.write_text(path.read_text().replace("/opt/kongdp/bin/kongdp", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60)
    ours = [line for line in done.stderr.splitlines() if path.name in line]
    assert ours == []


# -- README


README = (ROOT / "README.md").read_text()


def test_readme_names_files_that_exist() -> None:
    """Every file and link of the README is there, in the checkout or in the package."""
    linked = set(re.findall(r"\]\(([^)#][^)]*)\)", README))
    named = set(re.findall(r"`(\w[\w/.-]*\.(?:py|toml|conf|yml|yaml|json|service))`", README)) - {"kong.yml"}
    assert {name for name in linked if not (ROOT / name).exists()} == set()
    files = {str(path) for path in (ROOT / "kongdp").rglob("*.py")}
    missing = {name for name in named if not (ROOT / name).exists() and not any(f.endswith(f"/{name}") for f in files)}
    assert missing == set()


def test_readme_names_settings_that_exist() -> None:
    """Every variable it tells people to set is a setting's, or the switch of the compiled request path."""
    known = {environment_name(name) for name in ROWS} | {compiled.PURE}
    assert set(re.findall(r"\bKONG(?:DP)?_[A-Z_]*[A-Z]\b(?!>)", README)) <= known


def test_readme_shows_the_import_rule_as_it_is() -> None:
    """Its rows are those of the contract in pyproject.toml."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    rule = README.split("**The import rule**")[1].split("```")[1]
    shown = [set(re.findall(r"\w+", line)) for line in rule.strip().splitlines()]
    assert shown == [{name.strip().removeprefix("kongdp.") for name in layer.split("|")} for layer in layers]


def test_readme_shows_commands_that_exist() -> None:
    """`kongdp` and `make` are called with what they take."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`(?:[A-Z]+=\S+ )?make (\w+)`", README)) <= targets
    for line in re.findall(r"(?:`|\$ (?:KONG_\S+ )*)kongdp ([^`\n]+)", README):
        if not line.endswith("--help"):
            assert build_parser().parse_args(line.split()).action is not None, line


# -- dashboard and alerts


@pytest.fixture(scope="module")
def series() -> dict[str, set[str]]:
    """Every series that a node or a control plane can show -> its labels: full scrapes of both (their text: prometheus-client's
    parser would rename kong_bandwidth_bytes)."""
    table = {
        "services": services({"s": "mock"}),
        "routes": routes({"r": "mock"}, "s"),
        "plugins": prometheus(
            config=("status_code_metrics", "latency_metrics", "bandwidth_metrics", "upstream_health_metrics")
        ),
    }
    with memory(1 << 20) as fd:
        counted, reader, exposition = RouteCounters(Segment.open(fd), "r"), TotalsReader(), Exposition()
        counted.count(401, 10, 20, 1, 30, 40, None)
        reader.attach(0, 1, fd)
        reader.refresh()
        facts = NodeFacts(
            "node-1",
            "3.9.1",
            control_plane_connected=True,
            certificate_expiry=1.0,
            workers=[(1, 1)],
            target_health=[TargetHealth("u", "a:80", "10.0.0.1:80", "healthy")],
            data_planes=[DataPlane("node-2", "host", "10.0.0.2", "3.9.1", True, 1.0, HASH)],
            own=own_text(node_registry(reader.totals, Samples("node-1", "boot-1", now=1.0), exposition)),
        )
        text = b"".join(exposition.render(reader.totals, label_sets(table), facts)).decode()
    node = Node("node-2", "group", "host", "10.0.0.2", "3.9.1", HASH, NORMAL, {}, None, None, 1, None, None, 1, 1)
    found: dict[str, set[str]] = {}
    for shown in (text, render_metrics([node], "node-1", True, 1).decode()):
        for name, labels in re.findall(r"^(\w+)(?:{(.*)})? \S+$", shown, re.MULTILINE):
            found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    assert {name.removesuffix("_bucket") for name in found} >= FAMILIES.keys()
    return found


# What Prometheus adds to every series, and the series it makes of a scrape itself.
SCRAPE_LABELS = {"job", "instance"}
SCRAPE_SERIES = {"up"}
# Labels that an expression makes itself.
MADE_LABELS = {"configuration"}

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)?\s*\{([^}]*)\}")
_RANGE = re.compile(r"\[[^]]*\]")
_WORD = re.compile(r"(?<![\w$.])[a-zA-Z_:][\w:]*(?!\w*\s*\()")
_OPERATORS = {"and", "or", "unless", "bool", "offset"}


def names_in(expression: str) -> set[str]:
    """The series a PromQL expression names."""
    bare = _RANGE.sub("", _SELECTOR.sub(r"\1", _GROUPING.sub("", _TEXT.sub("", expression))))
    return set(_WORD.findall(bare)) - _OPERATORS


def labels_in(expression: str) -> set[str]:
    """The labels it matches and groups by."""
    plain = _TEXT.sub('""', expression)
    matched = {
        label for _, inside in _SELECTOR.findall(plain) for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside)
    }
    grouped = {label.strip() for inside in _GROUPING.findall(plain) for label in inside.split(",")}
    return (matched | grouped) - {""}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CONF / "grafana/kongdp.json").read_text())
    return found


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((CONF / "prometheus/alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    """(where, expression) of every query in the dashboard and the rules."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield f"panel {panel['title']}", target["expr"]
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            inside = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            yield f"variable {variable['name']}", f"sum by ({inside[2]}) ({inside[1]})"
    for rule in alerts():
        yield f"alert {rule['alert']}", rule["expr"]


def test_expressions_are_read_as_prometheus_reads_them() -> None:
    """The two readers above find series and labels in every form that the files use."""
    expression = (
        'histogram_quantile(0.9, sum by (le, route) (rate(a_bucket{i=~"$x",code!~"5..}"}[$__rate_interval]))) / 2 > 1e3'
        ' and on (job) (time() - b < 86400) or count(count_values by (job) ("v", c)) == 14 * 86400'
    )
    assert names_in(expression) == {"a_bucket", "b", "c"}
    assert labels_in(expression) == {"le", "route", "i", "code", "job"}


def test_queries_name_series_and_labels_that_kongdp_shows(series: dict[str, set[str]]) -> None:
    """Every series exists in a scrape of a node or a control plane, and has the labels the query speaks of."""
    strange = []
    for where, expression in expressions():
        names = names_in(expression)
        labels = set().union(*(series.get(name, set()) for name in names))
        strange += [f"{where}: series {name}" for name in names - series.keys() - SCRAPE_SERIES]
        strange += [f"{where}: label {label}" for label in labels_in(expression) - labels - SCRAPE_LABELS - MADE_LABELS]
        assert names, where
    assert strange == []


def test_dashboard_has_what_kongs_has() -> None:
    """Every series of Kong's official dashboard, in the states and percentiles it shows. Source: metrics contract, 3."""
    queries = [expression for where, expression in expressions() if where.startswith("panel ")]
    shown = set().union(*map(names_in, queries))
    assert shown >= {
        "kong_http_requests_total",
        "kong_kong_latency_ms_bucket",
        "kong_request_latency_ms_bucket",
        "kong_upstream_latency_ms_bucket",
        "kong_bandwidth_bytes",
        "kong_memory_lua_shared_dict_bytes",
        "kong_memory_lua_shared_dict_total_bytes",
        "kong_memory_workers_lua_vms_bytes",
        "kong_upstream_target_health",
        "kong_nginx_connections_total",
    }
    for metric in ("kong_kong_latency_ms", "kong_request_latency_ms", "kong_upstream_latency_ms"):
        percentiles = {re.search(r"quantile\(([\d.]+)", query)[1] for query in queries if f"{metric}_bucket" in query}
        assert percentiles == {"0.9", "0.95", "0.99"}
    states = {"active", "reading", "writing", "waiting", "total", "handled", "accepted"}
    assert states == {
        state
        for query in queries
        for found in re.findall(r'kong_nginx_connections_total\{[^}]*state=~"([^"]*)"', query)
        for state in found.split("|")
    }
    variables = {variable["name"] for variable in dashboard()["templating"]["list"]}
    assert variables == {"datasource", "instance", "service", "route", "upstream"}


def test_every_metric_of_our_own_is_on_the_dashboard(series: dict[str, set[str]]) -> None:
    """A kongdp_ metric that nobody sees is not worth its scrape; of the process metrics memory is enough."""
    queries = [expression for _, expression in expressions()]
    ours = {name for name in series if name.startswith("kongdp_") and not name.startswith("kongdp_agent_process_")}
    assert ours - set().union(*map(names_in, queries)) == set()


def test_dashboard_panels_are_where_they_say() -> None:
    """Panel ids are unique, no two panels overlap, and every query asks the chosen data source."""
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        taken = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        assert place["x"] + place["w"] <= 24
        cells |= taken
        for target in panel.get("targets", []):
            assert target["datasource"]["uid"] == "${datasource}"
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= {
                "instance",
                "service",
                "route",
                "upstream",
                "__rate_interval",
            }


def test_alerts_cover_what_operators_must_know() -> None:
    """Errors, latency, out of sync, certificate expiry, node down; each with a severity and a sentence."""
    rules = alerts()
    assert len({rule["alert"] for rule in rules}) == len(rules)
    named = set().union(*(names_in(rule["expr"]) for rule in rules))
    assert named >= {
        "up",
        "kong_http_requests_total",
        "kong_request_latency_ms_bucket",
        "kong_control_plane_connected",
        "kong_data_plane_config_hash",
        "kong_data_plane_cluster_cert_expiry_timestamp",
    }
    for rule in rules:
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert re.fullmatch(r"\d+[mh]", rule.get("for", "1m"))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian package prometheus)")
def test_alerts_are_what_prometheus_understands() -> None:
    """promtool reads every rule."""
    done = subprocess.run(
        ["promtool", "check", "rules", CONF / "prometheus/alerts.yaml"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
