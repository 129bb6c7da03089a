"""Gateways that are compared do the same work: what an upstream sees from each, and how often it is connected to."""

import http.client
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.whole.configs import Place, Setup
from bench.whole.peers import PEERS
from bench.whole.processes import free_port
from bench.whole.upstream import make_certificate

FIELDS = {
    b"x-real-ip: 127.0.0.1",
    b"x-forwarded-proto: http",
    b"x-forwarded-host: gateway.test",
    b"x-forwarded-prefix: /mock",
    b"x-forwarded-path: /mock/1k",
}
LEAN = {b"x-real-ip: 127.0.0.1"}
OTHERS = [name for name in PEERS if not name.startswith("kongdp")]  # ours are held by the conformance tests
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 990\r\n\r\n" + b"x" * 990


class Upstream(socketserver.ThreadingTCPServer):
    """Remembers connections and heads."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.heads: list[bytes] = []
        self.connections = 0


class Handler(socketserver.StreamRequestHandler):
    """Keeps the connection and gives the answer that peers are asked for at their start."""

    server: Upstream

    def handle(self) -> None:
        self.server.connections += 1
        head = b""
        while line := self.rfile.readline():
            head += line
            if line == b"\r\n":
                self.server.heads.append(head)
                self.wfile.write(ANSWER)
                head = b""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.system
@pytest.mark.parametrize("name", OTHERS)
def test_peer_forwards_what_the_others_do_on_a_kept_connection(name: str, tmp_path: Path, upstream: Upstream) -> None:
    """The stripped path and the fields; and three requests of one client need no new connection to the upstream."""
    kind = PEERS[name]
    if kind.command() is None:
        pytest.skip(f"needs {name}")
    tmp_path.chmod(0o755)
    port = upstream.server_address[1]
    certificate, key, bundle = make_certificate(tmp_path)
    ports = free_port(), free_port(), free_port()
    place = Place(tmp_path / name, *ports, port, port, port, certificate, key, bundle)
    peer = kind(name, Setup(), place, {0})
    peer.start()
    try:
        client = http.client.HTTPConnection("127.0.0.1", place.plain, timeout=30)
        for number in range(3):
            if number == 1:
                before = upstream.connections
            client.request("GET", "/mock/1k", headers={"Host": "gateway.test"})
            assert client.getresponse().read() == b"x" * 990
        client.close()
    finally:
        peer.stop()
    head = upstream.heads[-1].lower().split(b"\r\n")
    assert head[0] == b"get /1k http/1.1"
    assert (LEAN if name == "nginx-lean" else FIELDS) <= set(head), head
    assert any(
        line.startswith(b"x-forwarded-for: ") for line in head
    )  # Envoy names a client of loopback by another address
    assert any(line.startswith(b"x-forwarded-port: ") for line in head) is (name != "nginx-lean")
    assert upstream.connections == before


def test_peer_that_was_not_launched_has_no_processes_to_end(tmp_path: Path) -> None:
    """Pid 0 would be everybody's parent."""
    place = Place(tmp_path, 1, 2, 3, 4, 5, 6, tmp_path, tmp_path, tmp_path)
    for kind in PEERS.values():
        peer = kind("x", Setup(), place, {0})
        assert peer.everyone() == []
        peer.stop()
