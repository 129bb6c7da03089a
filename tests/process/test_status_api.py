"""Status API: Kong's shapes, codes and messages; scrapes compressed and in slices."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from kongdp.process.status_api import (
    EMPTY_HASH,
    Answer,
    Readiness,
    StatusSources,
    accepts_gzip,
    status_api,
    why_unready,
)

HASH = "0123456789abcdef" * 2
NUMBERS = {
    "connections_accepted": 7,
    "connections_active": 6,
    "connections_handled": 5,
    "connections_reading": 4,
    "connections_writing": 3,
    "connections_waiting": 2,
    "requests_total": 1,
    "retries": 99,
}


class Node:
    """An agent's sources with values a test may change."""

    def __init__(self) -> None:
        self.draining = False
        self.readiness = Readiness(2, 2, 2, HASH)
        self.dns: dict[str, Any] | None = None
        self.chunks = [b"", b"a 1\n", b"b 2\n" * 1000]
        self.seconds = iter(range(0, 1000, 5))

    def drain(self) -> None:
        self.draining = True

    def metrics(self) -> Iterator[bytes]:
        yield from self.chunks

    async def upstreams(self, name: str, view: str, query: dict[str, str]) -> Answer | None:
        if name == "broken":
            raise RuntimeError("broken")
        return Answer(200, {"upstream": name, "view": view, **query}) if name == "u" else None

    def ask(self, method: str, path: str, shown: bool = True, **more: Any) -> httpx.Response:
        app = status_api(
            StatusSources(
                numbers=lambda: NUMBERS,
                workers=lambda: [(1234, 50435031)],
                shared_dicts=lambda: {"kong": (40960, 5242880)},
                readiness=lambda: self.readiness,
                is_draining=lambda: self.draining,
                drain=self.drain,
                metrics=self.metrics,
                own_metrics=lambda accept: (b"kongdp_x 1\n", f"text/plain; asked={accept}"),
                sync=lambda: {"connected": True},
                certificates=lambda: {"data": []},
                dns=lambda: self.dns,
                upstreams=self.upstreams,
            ),
            server="kongdp/1" if shown else "",
            latency_tokens=shown,
            clock=lambda: next(self.seconds) / 1000,
        )

        async def exchange() -> httpx.Response:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://status") as client:
                return await client.request(method, path, **more)

        return asyncio.run(exchange())


@pytest.fixture
def node() -> Node:
    return Node()


def test_status_has_kongs_shape(node: Node) -> None:
    """Memory in MiB with two digits, the server's numbers, the configuration's hash."""
    answer = node.ask("GET", "/status")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.json() == {
        "memory": {
            "workers_lua_vms": [{"pid": 1234, "http_allocated_gc": "48.10 MiB"}],
            "lua_shared_dicts": {"kong": {"capacity": "5.00 MiB", "allocated_slabs": "0.04 MiB"}},
        },
        "server": {
            "connections_accepted": 7,
            "connections_active": 6,
            "connections_handled": 5,
            "connections_reading": 4,
            "connections_writing": 3,
            "connections_waiting": 2,
            "total_requests": 1,
        },
        "configuration_hash": HASH,
    }


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("unit=b", 5242880),
        ("unit=B&scale=7", 5242880),
        ("unit=k", "5120.00 KiB"),
        ("unit=K&scale=0", "5120 KiB"),
        ("unit=g&scale=3", "0.005 GiB"),
        ("scale=1", "5.0 MiB"),
    ],
)
def test_status_is_shown_in_the_unit_asked_for(node: Node, query: str, shown: int | str) -> None:
    """Numbers for bytes, text else."""
    memory = node.ask("GET", f"/status?{query}").json()["memory"]
    assert memory["lua_shared_dicts"]["kong"]["capacity"] == shown


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("unit=x", "invalid unit 'x' (expected 'k/K', 'm/M', or 'g/G')"),
        ("scale=-1", "scale must be equal or greater than 0"),
        ("scale=x", "scale must be equal or greater than 0"),
        ("scale=100000", "scale must be equal or greater than 0"),
    ],
)
def test_status_refuses_bad_units_and_scales(node: Node, query: str, message: str) -> None:
    """400 with a message."""
    answer = node.ask("GET", f"/status?{query}")
    assert (answer.status_code, answer.json()) == (400, {"message": message})


def test_status_is_200_when_there_is_no_configuration(node: Node) -> None:
    """/status never says 503; the hash is zeros then."""
    node.readiness = Readiness(2, 0, 0, None)
    assert node.ask("GET", "/status").json()["configuration_hash"] == EMPTY_HASH


@pytest.mark.parametrize(
    ("state", "message"),
    # Source: Kong kong/status/ready.lua, in the order of its checks.
    [
        (Readiness(2, 2, 2, HASH), None),
        (Readiness(2, 1, 0, None), "router builds not yet complete, router ready in 1 of 2 workers"),
        (
            Readiness(2, 2, 0, None),
            "plugins iterator builds not yet complete, plugins iterator ready in 0 of 2 workers",
        ),
        (Readiness(2, 2, 2, None), "no configuration available (configuration hash is not initialized)"),
        (Readiness(2, 2, 2, EMPTY_HASH), "no configuration available (empty configuration present)"),
    ],
)
def test_ready_tells_the_first_thing_that_is_missing(node: Node, state: Readiness, message: str | None) -> None:
    """200 only when all is there."""
    node.readiness = state
    answer = node.ask("GET", "/status/ready")
    assert why_unready(state) == message
    assert (answer.status_code, answer.json()) == (
        (503, {"message": message}) if message else (200, {"message": "ready"})
    )


@pytest.mark.parametrize(
    "more",
    [
        {"params": {"status": "draining"}},
        {"data": {"status": "draining"}},
        {"json": {"status": "draining"}},
    ],
)
def test_ready_is_draining_when_told(node: Node, more: dict[str, Any]) -> None:
    """By query, form or JSON: 204, and 503 from then on although the node could serve."""
    answer = node.ask("POST", "/status/ready", **more)
    assert (answer.status_code, answer.content) == (204, b"")
    answer = node.ask("GET", "/status/ready")
    assert (answer.status_code, answer.json()) == (503, {"message": "draining"})


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"data": {"status": "ready"}},
        {"json": ["draining"]},
        {"content": b"{", "headers": {"content-type": "application/json"}},
        {"content": b"\xff\xfe"},
        {"content": b"status=draining&x=" + b"x" * 5000},
    ],
)
def test_ready_refuses_anything_else(node: Node, more: dict[str, Any]) -> None:
    """400 without a body, and nothing changes."""
    answer = node.ask("POST", "/status/ready", **more)
    assert (answer.status_code, answer.content) == (400, b"")
    assert not node.draining


def test_dns_is_not_implemented_without_statistics(node: Node) -> None:
    """Kong's answer for its legacy client; statistics otherwise."""
    answer = node.ask("GET", "/status/dns")
    assert (answer.status_code, answer.json()) == (501, {"message": "not implemented with the legacy DNS client"})
    node.dns = {"worker": {"id": 0}}
    assert node.ask("GET", "/status/dns").json() == {"worker": {"id": 0}}


def test_metrics_are_plain_unless_gzip_is_accepted(node: Node) -> None:
    """The same text either way; Kong's content type."""
    answer = node.ask("GET", "/metrics", headers={"accept-encoding": "identity"})
    assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in answer.headers
    assert answer.content == b"".join(node.chunks)
    answer = node.ask("GET", "/metrics", headers={"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.content == b"".join(node.chunks)
    assert int(answer.num_bytes_downloaded) < len(answer.content) / 10


@pytest.mark.parametrize(
    ("field", "accepted"),
    # Source: RFC 9110 section 12.5.3.
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*", True),
        ("*;q=0", False),
        ("br, identity", False),
        ("gzip;q=1.2.3", False),
    ],
)
def test_gzip_is_accepted_by_weight(field: str, accepted: bool) -> None:
    """A weight of 0 refuses; a star stands for codings that are not named."""
    assert accepts_gzip(field) == accepted


def test_loop_has_turns_while_metrics_are_sent(node: Node) -> None:
    """Between two chunks of a scrape other work of the agent runs."""
    turns: list[str] = []

    async def other() -> None:
        for _ in range(4):
            turns.append("other")
            await asyncio.sleep(0)

    def chunks() -> Iterator[bytes]:
        asyncio.get_running_loop().create_task(other())
        for number in range(4):
            turns.append("chunk")
            yield b"x %d\n" % number

    node.metrics = chunks
    assert node.ask("GET", "/metrics").status_code == 200
    assert turns[:4] == ["chunk", "other", "chunk", "other"]


def test_metrics_wait_for_names(node: Node) -> None:
    """503 while a new agent reads its configuration: Prometheus misses a scrape instead of seeing other series."""
    node.metrics = lambda: None
    answer = node.ask("GET", "/metrics")
    assert (answer.status_code, answer.json()) == (503, {"message": "the configuration is being read"})


def test_own_metrics_have_a_path_of_their_own(node: Node) -> None:
    """OpenMetrics has no room for Kong's names, so ours can be asked for alone."""
    answer = node.ask("GET", "/metrics/kongdp", headers={"accept": "application/openmetrics-text"})
    assert answer.headers["content-type"] == "text/plain; asked=application/openmetrics-text"
    assert answer.content == b"kongdp_x 1\n"


def test_upstreams_are_answered_by_the_hook(node: Node) -> None:
    """Name, view and query are handed on; None is 404."""
    answer = node.ask("GET", "/upstreams/u/health?balancer_health=1")
    assert answer.json() == {"upstream": "u", "view": "health", "balancer_health": "1"}
    assert node.ask("GET", "/upstreams/u/targets/all").json()["view"] == "targets/all"
    assert node.ask("GET", "/upstreams/x/health").status_code == 404


def test_our_own_pages_are_what_their_sources_say(node: Node) -> None:
    """/status/sync and /status/certificates."""
    assert node.ask("GET", "/status/sync").json() == {"connected": True}
    assert node.ask("GET", "/status/certificates").json() == {"data": []}


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/", 404, "Not found"),
        ("GET", "/statuses", 404, "Not found"),
        ("GET", "/upstreams/u", 404, "Not found"),
        ("POST", "/status", 405, "Method not allowed"),
        ("DELETE", "/metrics", 405, "Method not allowed"),
        ("PUT", "/status/ready", 405, "Method not allowed"),
        ("POST", "/upstreams/u/health", 405, "Method not allowed"),
        ("GET", "/upstreams/broken/health", 500, "An unexpected error occurred"),
    ],
)
def test_refusals_have_kongs_bodies(node: Node, method: str, path: str, status: int, message: str) -> None:
    """JSON with one message, and the same fields as every answer."""
    answer = node.ask(method, path)
    assert (answer.status_code, answer.json()) == (status, {"message": message})
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["server"] == "kongdp/1"


def test_every_answer_names_server_and_latency(node: Node) -> None:
    """Latency in whole milliseconds; both can be switched off."""
    answer = node.ask("GET", "/status")
    assert answer.headers["server"] == "kongdp/1"
    assert answer.headers["x-kong-admin-latency"] == "5"
    answer = node.ask("GET", "/status", shown=False)
    assert not {"server", "x-kong-admin-latency"} & set(answer.headers)


def test_paths_may_end_in_a_slash(node: Node) -> None:
    """As Kong's do."""
    assert node.ask("GET", "/status/").status_code == 200
    assert node.ask("GET", "/status/ready/").json() == {"message": "ready"}
