"""Fixtures of system tests: a control plane, an upstream, and data planes that are stopped whatever happens."""

import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.cluster import ControlPlane, DataPlane, enrolled_with, kongdp, wait_for


class _Hello(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"{self.command} {self.path} {self.headers['Host']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


@pytest.fixture
def upstream() -> Iterator[str]:
    """URL of an upstream that answers with what it received."""
    server = _Server(("127.0.0.1", 0), _Hello)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def control_plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """A running control plane; stopped at the end if it still runs."""
    plane = ControlPlane(tmp_path / "cp")
    plane.start()
    yield plane
    plane.stop()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Callable[..., DataPlane]]:
    """Makes data planes and stops them at the end; their logs are shown when the test failed."""
    made: list[DataPlane] = []

    def make(settings: dict[str, str], *, workers: int = 1, name: str = "dp") -> DataPlane:
        node = DataPlane(tmp_path / name, settings, workers)
        made.append(node)
        return node

    yield make
    for node in made:
        kongdp("stop", env=node.env)
        print(f"--- {node.prefix.name}\n{node.log()[-6000:]}")


@pytest.fixture
def joined(
    control_plane: ControlPlane, nodes: Callable[..., DataPlane], upstream: str, tmp_path: Path
) -> tuple[ControlPlane, DataPlane, str]:
    """The seed's state: control plane, enrolled data plane in sync, version's id."""
    version = control_plane.make_version(upstream)
    node = nodes(enrolled_with(control_plane, tmp_path / "dp"), workers=2)
    node.start()
    wait_for(
        "node connected and in sync", lambda: control_plane.node()["connected"] and control_plane.node()["in_sync"]
    )
    return control_plane, node, version
