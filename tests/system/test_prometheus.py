"""A real Prometheus reads /metrics, and promtool finds nothing to object to but Kong's own names. Skipped where neither is."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cluster import DataPlane, free_port, wait_for
from tests.support.cluster import http as ask

pytestmark = pytest.mark.system

# promtool's opinions on names that are Kong's (tests/conformance/data/metrics-3.9.1.txt); any other fails.
KNOWN_OPINIONS = {
    "kong_bandwidth_bytes": 'counter metrics should have "_total" suffix',
    "kong_nginx_connections_total": 'non-counter metrics should not have "_total" suffix',
    "kong_nginx_requests_total": 'non-counter metrics should not have "_total" suffix',
    "kong_kong_latency_ms": "metric names should not contain abbreviated units",
    "kong_upstream_latency_ms": "metric names should not contain abbreviated units",
    "kong_request_latency_ms": "metric names should not contain abbreviated units",
}


@pytest.fixture
def node(tmp_path: Path, nodes: Callable[..., DataPlane], upstream: str) -> DataPlane:
    """A DB-less node with one route, every group of metrics, and ten requests."""
    path = tmp_path / "kong.yml"
    plugin = (
        "{status_code_metrics: true, latency_metrics: true, bandwidth_metrics: true, upstream_health_metrics: true}"
    )
    path.write_text(
        f"_format_version: '3.0'\nservices:\n- name: s\n  url: {upstream}\n  routes:\n  - name: r\n    paths: [/r]\n"
        f"plugins:\n- name: prometheus\n  config: {plugin}\n"
    )
    made = nodes({"KONG_DECLARATIVE_CONFIG": str(path)}, workers=2)
    made.start()
    for _ in range(10):
        assert ask("GET", made.proxy + "/r").status == 200
    return made


def found(name: str) -> str:
    """The path of a program, or the test is skipped."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def test_promtool_objects_to_nothing_but_kongs_names(node: DataPlane) -> None:
    """No parse error; opinions only on the names that are listed."""
    promtool = found("promtool")
    text = ask("GET", node.status + "/metrics").body
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, timeout=60, check=False)
    opinions = (done.stdout + done.stderr).decode().splitlines()
    assert done.returncode in (0, 3), opinions
    known = {f"{name} {said}" for name, said in KNOWN_OPINIONS.items()}
    assert [opinion for opinion in opinions if opinion not in known] == []


def test_prometheus_scrapes_the_node(node: DataPlane, tmp_path: Path) -> None:
    """Up, every sample stored, and a query over the counter gives the ten requests."""
    prometheus = found("prometheus")
    port = free_port()
    job = {"job_name": "kong", "static_configs": [{"targets": [f"127.0.0.1:{node.status_port}"]}]}
    settings = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [job]}
    config = tmp_path / "prometheus.yml"
    config.write_text(json.dumps(settings))  # every JSON document is YAML
    arguments = [
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    log = tmp_path / "prometheus.log"
    with log.open("wb") as out:
        process = subprocess.Popen([prometheus, *arguments], stdout=out, stderr=subprocess.STDOUT)
    try:

        def value(query: str) -> float | None:
            answer = ask("GET", f"http://127.0.0.1:{port}/api/v1/query?query={query}").json()
            result = answer["data"]["result"]
            return float(result[0]["value"][1]) if result else None

        counted = "sum(kong_http_requests_total%7Broute=%22r%22,code=%22200%22%7D)"
        wait_for("Prometheus knows the requests", lambda: value(counted) == 10)
        assert value("up") == 1
        exposed = sum(
            1
            for line in ask("GET", node.status + "/metrics").body.decode().splitlines()
            if line and not line.startswith("#")
        )
        assert value("scrape_samples_scraped") == exposed
        for _ in range(5):
            ask("GET", node.proxy + "/r")
        wait_for("and the next ones", lambda: value(counted) == 15)
        assert value("scrape_samples_scraped") == value("scrape_samples_post_metric_relabeling")
    finally:
        process.terminate()
        process.wait(30)
        print(log.read_text()[-2000:])
