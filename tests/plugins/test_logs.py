"""file-log and http-log through a gateway: the entry, the file, the requests to a server."""

import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kongdp.entities.model import Plugin
from kongdp.plugins.base import Node, PluginError
from kongdp.plugins.http_log.handler import HttpLog
from kongdp.plugins.outbox import close_all
from tests.support.loops import run
from tests.support.plugged import plugged

KEY = {
    "consumers": [
        {"username": "bob", "keyauth_credentials": [{"id": "92b3571a-cbb7-57b4-bc5c-991cbf85185b", "key": "k"}]},
    ]
}


def lines(path: Path) -> list[dict[str, Any]]:
    """Everything logged so far."""
    close_all(30)
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_entry_when_a_request_was_proxied(tmp_path: Path) -> None:
    """Kong's keys; who asked, where it went, how long it took; no credential of Authorization."""

    async def story() -> None:
        path = tmp_path / "log"
        log = {"name": "file-log", "config": {"path": str(path)}}
        async with plugged(log, {"name": "key-auth", "config": {"hide_credentials": True}}, more=KEY) as p:
            await p.ask("/x?a=1&b", apikey="k", authorization="Basic secret", x_two=["1", "2"])
            entry = lines(path)[0]
            request = entry["request"]
            assert (request["method"], request["uri"], request["querystring"]) == (
                "GET",
                "/x?a=1&b",
                {"a": "1", "b": True},
            )
            assert request["url"] == f"http://gw.test:{p.gateway.port}/x?a=1&b"
            assert (request["headers"]["authorization"], request["headers"]["x-two"]) == ("REDACTED", ["1", "2"])
            assert "apikey" not in request["headers"]
            assert (entry["response"]["status"], entry["source"], entry["upstream_status"]) == (200, "upstream", "200")
            assert entry["upstream_uri"] == "/x?a=1&b"
            assert set(entry["latencies"]) == {"kong", "proxy", "request", "receive"}
            assert (entry["route"]["name"], entry["service"]["name"], entry["consumer"]["username"]) == (
                "r",
                "s",
                "bob",
            )
            assert entry["route"]["service"] == {"id": entry["service"]["id"]}
            assert entry["authenticated_entity"]["id"] == "92b3571a-cbb7-57b4-bc5c-991cbf85185b"
            assert (entry["client_ip"], entry["workspace_name"]) == ("127.0.0.1", "default")
            tries = [{name: each.get(name) for name in ("ip", "port", "state")} for each in entry["tries"]]
            assert tries == [{"ip": "127.0.0.1", "port": p.upstream.port, "state": None}]
            assert request["size"] > 50
            assert entry["response"]["size"] > 50

    run(story())


def test_entry_when_nothing_was_proxied(tmp_path: Path) -> None:
    """A refusal, an upstream that is not there, no route: each has its line."""

    async def story() -> None:
        path = tmp_path / "log"
        log = {"name": "file-log", "config": {"path": str(path)}}
        routes = [{"name": "dead", "paths": ["/dead"]}]
        dead = {"services": [{"name": "dead", "url": "http://127.0.0.1:9", "retries": 1, "routes": routes}]}
        async with plugged({"name": "key-auth"}, route={"paths": ["/key"]}, more={"plugins": [log]}) as p:
            for target in ("/key", "/nowhere"):
                await p.ask(target)
            config = {"_format_version": "3.0", **dead, "plugins": [log]}
            p.gateway.load(config)
            await p.ask("/dead")
            found = lines(path)
            assert [entry["response"]["status"] for entry in found] == [401, 404, 502]
            assert [entry["source"] for entry in found] == ["kong"] * 3
            assert ["route" in entry for entry in found] == [True, False, True]
            assert [entry["latencies"]["proxy"] >= 0 for entry in found] == [False, False, True]
            assert [each["state"] for each in found[2]["tries"]] == ["failed", "failed"]

    run(story())


def test_entry_shows_no_credential(tmp_path: Path) -> None:
    """Whatever a plugin of the configuration takes credentials from: fields, arguments, also of refused requests."""

    async def story() -> None:
        path = tmp_path / "log"
        log = {"name": "file-log", "config": {"path": str(path)}}
        auth = [
            {"name": "key-auth", "config": {"key_names": ["X-Own"]}},
            {"name": "jwt", "config": {"cookie_names": ["c"]}},
        ]
        async with plugged(log, *auth, more=KEY) as p:
            await p.ask(
                "/?X-Own=secret-1&jwt=secret-2&a=1", x_own="secret-3", cookie="c=secret-4", authorization="secret-5"
            )
            await p.ask("/?X-Own=secret-6")
            text = json.dumps(lines(path))
            assert "secret" not in text
            assert "/?X-Own=REDACTED&jwt=REDACTED&a=1" in text

    run(story())


def test_file_when_it_is_rotated_or_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With `reopen` a moved file is made anew; lines that cannot be written are lost and said, never a request."""

    async def story() -> None:
        path = tmp_path / "log"
        async with plugged({"name": "file-log", "config": {"path": str(path), "reopen": True}}) as p:
            await p.ask("/1")
            assert [entry["request"]["uri"] for entry in lines(path)] == ["/1"]
            path.rename(tmp_path / "old")
            await p.ask("/2")
            assert [entry["request"]["uri"] for entry in lines(path)] == ["/2"]
            assert os.stat(path).st_mode & 0o777 == 0o644 & ~_umask()
        async with plugged({"name": "file-log", "config": {"path": str(tmp_path / "no" / "log")}}) as p:
            assert (await p.ask()).status == 200
            close_all(30)
        assert "log: No such file or directory" in caplog.text

    run(story())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


class Server(http.server.ThreadingHTTPServer):
    """Takes entries; answers `statuses` first, then 200."""

    daemon_threads = True
    url = ""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], Any]] = []
        self.statuses: list[int] = []
        self.arrived = threading.Semaphore(0)
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        self.server.seen.append((self.command, self.path, dict(self.headers), body))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.arrived.release()

    do_PUT = do_POST

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A running one."""
    found = Server()
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()


def test_entries_when_they_are_sent(server: Server) -> None:
    """One object in each request, with method, fields and the URL's user; again after an error."""

    async def story() -> None:
        server.statuses = [500, 503]
        endpoint = server.url.replace("//", "//u:p%40@") + "/in?x=1"
        config = {
            "http_endpoint": endpoint,
            "method": "PUT",
            "headers": {"X-A": "1"},
            "queue": {"initial_retry_delay": 0.001},
        }
        async with plugged({"name": "http-log", "config": config}) as p:
            await p.ask("/1")
            for _ in range(3):
                assert server.arrived.acquire(timeout=30)
            close_all(30)
        assert [(method, path, body["request"]["uri"]) for method, path, _, body in server.seen] == [
            ("PUT", "/in?x=1", "/1")
        ] * 3
        fields = server.seen[0][2]
        assert (fields["Content-Type"], fields["X-A"], fields["Authorization"]) == (
            "application/json",
            "1",
            "Basic dTpwQA==",
        )

    run(story())


def test_entries_when_they_are_sent_in_batches(server: Server) -> None:
    """An array of as many as came, at most the batch's size."""

    async def story() -> None:
        config = {"http_endpoint": server.url, "queue": {"max_batch_size": 2, "max_coalescing_delay": 30}}
        async with plugged({"name": "http-log", "config": config}) as p:
            for number in range(4):
                await p.ask(f"/{number}")
            for _ in range(2):
                assert server.arrived.acquire(timeout=30)
        bodies = [body for _, _, _, body in server.seen]
        assert [[entry["request"]["uri"] for entry in body] for body in bodies] == [["/0", "/1"], ["/2", "/3"]]

    run(story())


def test_lua_in_a_log_is_refused() -> None:
    """Fields that would silently be missing are no option."""
    config = {"http_endpoint": "http://x", "custom_fields_by_lua": {"a": "return 1"}}
    with pytest.raises(PluginError, match="custom_fields_by_lua: this node runs no Lua"):
        HttpLog(Plugin("1", "http-log", None, None, None, None, (), True, config, ()), Node())
