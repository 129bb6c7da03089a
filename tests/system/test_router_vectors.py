"""Every request of router.jsonl through real processes: what Kong 3.9.1 did with it, a started node does.

Each table is loaded through POST /config, each request sent as the bytes that were recorded. The reference listened on port
8311 and its upstream on 9950; where those ports are taken here, port_maps shows 8311 all the same and the upstream's port is
put in place of the recorded one. Compared: status, and the request line and the fields the upstream received. Not compared:
Via, Connection and request ids, which name the product and the connection.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import DataPlane, free_port, http
from tests.support.echo_upstream import echo_upstream
from tests.support.raw_client import Seen, ask

pytestmark = pytest.mark.system

VECTORS = Path(__file__).parents[1] / "conformance" / "data" / "router.jsonl"
REQUESTS = 1740
REFERENCE_PORT = 8311
REFERENCE_UPSTREAM = "127.0.0.1:9950"
IGNORED = {"via", "connection", "x-kong-request-id"}
PARALLEL = 8


def port_or_any(port: int) -> int:
    """The port when nobody has it, else a free one."""
    with socket.socket() as sock, contextlib.suppress(OSError):
        sock.bind(("127.0.0.1", port))
        return port
    return free_port()


def comparable(status: Any, upstream: dict[str, Any] | None) -> dict[str, Any]:
    """What must agree of one exchange."""
    if upstream is None:
        return {"status": status}
    fields = sorted((name.lower(), value) for name, value in upstream["headers"] if name.lower() not in IGNORED)
    return {"status": status, "line": upstream["line"], "fields": fields}


def seen_by_us(seen: Seen, upstream: str) -> dict[str, Any]:
    """Our exchange; the upstream's view is its answer's body, with the recorded port in place of ours."""
    view = None
    if "x-echo" in seen.headers and seen.body:
        view = json.loads(seen.body.decode().replace(upstream, REFERENCE_UPSTREAM))
    return comparable(seen.status, view)


async def replay(node: DataPlane, admin_port: int, upstream: str) -> dict[str, Any]:
    """Everything that differs: request id -> (what was recorded, what we did)."""
    different: dict[str, Any] = {}
    count = 0
    gate = asyncio.Semaphore(PARALLEL)

    async def one(name: str, request: dict[str, Any]) -> None:
        async with gate:
            seen = await ask(node.proxy_port, request["raw"].encode("latin-1"))
        observed = request["observed"]
        want, got = comparable(observed["status"], observed["upstream"]), seen_by_us(seen, upstream)
        if want != got:
            different[name] = (request["raw"], want, got)

    for line in VECTORS.read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        config = json.loads(json.dumps(case["config"]).replace(REFERENCE_UPSTREAM, upstream))
        answer = await asyncio.to_thread(http, "POST", f"http://127.0.0.1:{admin_port}/config", config)
        assert answer.status == 201, (case["id"], answer.body)
        await asyncio.gather(*(one(f"{case['id']}/{request['id']}", request) for request in case["requests"]))
        count += len(case["requests"])
    assert count == REQUESTS
    return different


def test_node_agrees_with_kong_when_vectors_are_replayed(nodes: Callable[..., DataPlane]) -> None:
    """Status, upstream request line and received fields are those of the live Kong, for all 1,740 requests."""
    admin_port, proxy_port = free_port(), port_or_any(REFERENCE_PORT)
    settings = {"KONG_ADMIN_LISTEN": f"127.0.0.1:{admin_port}"}
    if proxy_port != REFERENCE_PORT:
        settings["KONG_PORT_MAPS"] = f"{REFERENCE_PORT}:{proxy_port}"
    node = nodes(settings)
    node.proxy_port = proxy_port
    node.start()

    async def story() -> dict[str, Any]:
        async with echo_upstream() as port:
            return await replay(node, admin_port, f"127.0.0.1:{port}")

    different = asyncio.run(story())
    assert different == {}, f"{len(different)} differ, for example {next(iter(different.items()))}"
