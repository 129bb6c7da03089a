"""What somebody might try against the API, each refused cleanly: a 4xx, nothing changed, nothing read that is not theirs.

Sessions, guessing and roles are in test_guard; what a declarative file may do, in tests/entities.
"""

import asyncio
import gzip
import json
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from kongdp.adminapi.protocol import HEAD_BYTES_MAX
from tests.controlplane.test_guard import basic, bearer, play, token_of
from tests.support.certificates import make
from tests.support.control_plane_api import BODY_BYTES_MAX, GROUP, Api, served
from tests.support.control_plane_process import Process

OTHERS = "http://evil.example"
QUOTES = (
    "x' OR '1'='1",
    'x"; DROP TABLE groups; --',
    "x%27",
    "%",
    "_",
    "x\\",
    "../../default",
    "x\x00y",
    "x\r\nSet-Cookie: a=b",
)


def open_play(scenario: Callable[[Api], Awaitable[None]], directory: Path, url: str | None = None) -> None:
    async def main() -> None:
        async with served(directory, url) as api:
            await scenario(api)

    asyncio.run(main())


def test_no_text_is_taken_for_sql_or_for_a_field(tmp_path: Path, fresh_url: str) -> None:
    """In paths, filters, offsets, names and bodies: an answer of ours, no match, no field added, every table still there."""

    async def scenario(api: Api) -> None:
        await api.made("/services", {"name": "x", "host": "h", "tags": ["a"]})
        for text in QUOTES:
            quoted = httpx.URL("http://h", params={"q": text}).query.decode().removeprefix("q=")
            for path in (f"/services/{quoted}", f"/services?tags={quoted}", f"/services?offset={quoted}",
                         f"/consumers?custom_id={quoted}", f"/v2/control-planes/{quoted}", f"/tags/{quoted}",
                         f"/v2/control-planes/{quoted}/core-entities/services", f"/v2/catalogue/services/{quoted}",
                         f"/v2/control-planes?filter[name][eq]={quoted}", f"/v2/users/{quoted}"):  # fmt: skip
                response = await api.ask("GET", path)
                assert response.status_code in (200, 400, 404), (path, response.text)
                assert "set-cookie" not in response.headers
                if response.status_code == 200:
                    answer = response.json()
                    assert answer.get("data", answer.get("items")) == [], path
            status, _answer = await api.call("POST", "/consumers", {"username": text, "custom_id": text})
            assert status in (201, 400)
        assert [row["name"] for row in (await api.got("/services"))["data"]] == ["x"]

    open_play(scenario, tmp_path, fresh_url)


def test_fields_that_are_not_the_callers_to_set_are_refused(tmp_path: Path) -> None:
    """Unknown ones by name; roles, owners, groups and editions cannot be slipped in."""

    async def scenario(api: Api) -> None:
        admin = bearer(await token_of(api, role="admin"))
        viewer = bearer(await token_of(api, role="viewer"))
        await api.call("POST", "/v2/control-planes", {"name": "other"}, **admin)
        for path, body in (
            ("/services", {"name": "s", "host": "h", "group_id": "x"}),
            ("/services", {"name": "s", "host": "h", "ws_id": "x"}),
            (f"{GROUP}/core-entities/services", {"name": "s", "host": "h", "edition": 7}),
            ("/v2/users", {"name": "u", "password": "a long password", "role": "viewer", "id": "x"}),
            ("/v2/tokens", {"name": "t", "role": "viewer", "user_id": "x"}),
            ("/v2/catalogue/services", {"name": "c", "published": True}),
            ("/v2/catalogue/services", {"name": "c", "edition": 9}),
            ("/v2/control-planes", {"name": "g", "cluster_id": "x"}),
        ):
            assert (await api.call("POST", path, body, **admin))[0] == 400, path
        assert (await api.call("PATCH", "/v2/me", {"role": "admin"}, **viewer))[0] in (400, 403, 404, 405)
        assert (await api.call("POST", "/v2/tokens", {"name": "t", "role": "admin"}, **viewer))[0] in (201, 403)
        me = (await api.call("GET", "/v2/me", **viewer))[1]
        assert me["role"] == "viewer"

    play(scenario, tmp_path)


def test_what_belongs_to_another_group_is_not_there(tmp_path: Path, fresh_url: str) -> None:
    """Its entities, revisions, certificates by their ids; and nothing can be made to refer to them."""

    async def scenario(api: Api) -> None:
        admin = bearer(await token_of(api, role="admin"))
        for name in ("one", "two"):
            assert (await api.call("POST", "/v2/control-planes", {"name": name}, **admin))[0] == 201
        of_two = bearer(await token_of(api, roles={"two": "admin"}))
        one, two = "/v2/control-planes/one", "/v2/control-planes/two"
        made = (await api.call("POST", f"{one}/core-entities/services", {"name": "s", "host": "secret"}, **admin))[1]
        number = (await api.call("GET", f"{one}/revisions", **admin))[1]["items"][0]["number"]
        pin = {"cert": make("pinned").pem.decode()}
        pinned = (await api.call("POST", f"{one}/dp-client-certificates", pin, **admin))[1]["item"]["id"]

        for method, path in (
            ("GET", f"{two}/core-entities/services/{made['id']}"),
            ("GET", f"{two}/core-entities/services/s"),
            ("GET", f"{two}/core-entities/services/{made['id']}/routes"),
            ("GET", f"{two}/revisions/{number}"),
            ("GET", f"{two}/revisions/0/diff?to={number}"),
            ("GET", f"{two}/revisions/{number}/diff"),
            ("POST", f"{two}/revisions/{number}/restore"),
            ("GET", f"{two}/dp-client-certificates/{pinned}"),
            ("DELETE", f"{two}/dp-client-certificates/{pinned}"),
            ("DELETE", f"{two}/nodes/{pinned}"),
        ):
            status, answer = await api.call(method, path, **of_two)
            assert status == 404, (method, path, answer)
            assert "secret" not in json.dumps(answer)
        route = {"name": "r", "paths": ["/"], "service": {"id": made["id"]}}
        assert (await api.call("POST", f"{two}/core-entities/routes", route, **of_two))[0] == 400
        # The same id may be another entity there, and that changes nothing here.
        mine = {"name": "mine", "host": "mine"}
        assert (await api.call("PUT", f"{two}/core-entities/services/{made['id']}", mine, **of_two))[0] == 200
        assert (await api.call("DELETE", f"{two}/core-entities/services/{made['id']}", **of_two))[0] == 204
        assert (await api.call("GET", f"{one}/core-entities/services/s", **admin))[1]["host"] == "secret"
        for path in (one, f"{one}/config", f"{one}/nodes", "/services", "/v2/users", "/v2/audit"):
            assert (await api.call("GET", path, **of_two))[0] == 403, path
        assert [each["name"] for each in (await api.call("GET", "/v2/control-planes", **of_two))[1]["items"]] == ["two"]

    play(scenario, tmp_path, fresh_url)


FORM = {"content_type": "application/x-www-form-urlencoded"}


def test_a_page_somewhere_else_cannot_use_the_browser_of_an_operator(tmp_path: Path) -> None:
    """Neither the open listener on loopback with a form, nor a browser that knows a password; and it reads no answer."""

    async def scenario(api: Api) -> None:
        form = {"content": b"name=s&host=h", "headers": {"content-type": FORM["content_type"], "origin": OTHERS}}
        response = await api.client.post("/services", **form)  # type: ignore[arg-type]
        assert response.status_code == 403
        assert "admin_gui_url" in response.json()["message"]
        for method, path in (("DELETE", "/services/s"), ("PUT", "/services/s"), ("POST", "/v2/control-planes")):
            assert (await api.ask(method, path, {}, origin=OTHERS)).status_code == 403
            assert (await api.ask(method, path, {}, origin="null")).status_code == 403
        response = await api.ask("GET", "/services", origin=OTHERS)
        assert "access-control-allow-origin" not in response.headers
        assert response.json()["data"] == []
        response = await api.ask("OPTIONS", "/services", origin=OTHERS, access_control_request_method="PUT")
        assert "access-control-allow-origin" not in response.headers

    open_play(scenario, tmp_path)

    async def guarded(api: Api) -> None:
        await token_of(api, role="admin")
        fields = basic("user0", "a long password")
        assert (await api.call("POST", "/services", {"host": "h"}, origin=OTHERS, **fields))[0] == 403
        assert (await api.call("POST", "/services", {"host": "h"}, **fields))[0] == 201

    (tmp_path / "guarded").mkdir()
    play(guarded, tmp_path / "guarded")


def test_kong_manager_may(tmp_path: Path) -> None:
    """A page on loopback, as Kong's default is: preflight, answer and credentials as a browser wants them."""
    manager = "http://localhost:8002"

    async def scenario(api: Api) -> None:
        asked = {"access_control_request_method": "PATCH", "access_control_request_headers": "content-type"}
        for path in ("/services/x", "/v2/control-planes"):
            response = await api.ask("OPTIONS", path, origin=manager, **asked)
            assert response.status_code == 204
            assert response.headers["access-control-allow-origin"] == manager
            assert "PATCH" in response.headers["access-control-allow-methods"]
            assert "Content-Type" in response.headers["access-control-allow-headers"]
        response = await api.ask("POST", "/services", {"name": "s", "host": "h"}, origin=manager)
        assert response.status_code == 201
        assert response.headers["access-control-allow-origin"] == manager
        assert response.headers.get_list("access-control-allow-origin") == [manager]
        for path in ("/", "/schemas/services", "/schemas/plugins/cors", "/plugins/enabled", "/endpoints", "/status",
                     "/services?size=30&tags=a", "/services/s/plugins?size=30", "/clustering/data-planes"):  # fmt: skip
            response = await api.ask("GET", path, origin=manager)
            assert response.status_code == 200, path
            assert response.headers["access-control-allow-origin"] == manager, path
        assert (await api.ask("GET", "/services")).headers["access-control-allow-origin"] == "*"

    open_play(scenario, tmp_path)


def test_nothing_is_fetched_because_an_entity_names_it(tmp_path: Path) -> None:
    """Wherever an address can be written, also one of this machine's: nobody calls there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        place = f"127.0.0.1:{listener.getsockname()[1]}"
        url = f"http://{place}/latest/meta-data"

        async def scenario(api: Api) -> None:
            for path, body in (
                ("/services", {"name": "s", "url": url}),
                ("/schemas/services/validate", {"url": url}),
                ("/upstreams", {"name": "u", "healthchecks": {"active": {"http_path": "/", "type": "http"}}}),
                ("/upstreams/u/targets", {"target": place}),
                ("/plugins", {"name": "http-log", "config": {"http_endpoint": url}}),
                ("/key-sets", {"name": "k"}),
                ("/certificates", {"cert": url, "key": url}),
                ("/v2/catalogue/services", {"name": "c", "description": f"![x]({url})"}),
            ):
                status, answer = await api.call("POST", path, body)
                assert status in (200, 201, 400), (path, answer)
            await api.got("/upstreams/u/health")
            await api.got("/v2/control-planes/default/expected-config-hash")
            for text in (f'_format_version: "3.0"\nservices: !include {url}\n', f'{{"$ref": "{url}"}}'):
                response = await api.client.put(f"{GROUP}/config", content=text)
                assert response.status_code == 400

        open_play(scenario, tmp_path)
        with pytest.raises(BlockingIOError):
            listener.accept()


def deep(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
)


def test_bodies_that_are_too_large_or_too_deep_are_refused(tmp_path: Path) -> None:
    """Announced or not, JSON, YAML, forms and parts, on every kind of endpoint; in bounded time and memory."""

    async def drip(size: int) -> Any:
        for _ in range(size // 65_536 + 1):
            yield b" " * 65_536

    async def scenario(api: Api) -> None:
        places = [("POST", "/services"), ("POST", "/v2/control-planes"), ("POST", "/v2/users"), ("PUT", f"{GROUP}/config"),
                  ("POST", f"{GROUP}/core-entities/services"), ("POST", "/v2/catalogue/services"),
                  ("POST", "/v2/session")]  # fmt: skip
        kind = {"content-type": "application/json"}
        for method, path in places:
            response = await api.client.request(method, path, content=b" " * (BODY_BYTES_MAX + 1), headers=kind)
            assert response.status_code == 413, path
            response = await api.client.request(method, path, content=drip(BODY_BYTES_MAX), headers=kind)
            assert response.status_code == 413, path
            for levels in (200, 300, 1100, 100_000):
                response = await api.client.request(method, path, content=deep(levels), headers=kind)
                assert response.status_code in (400, 401), (path, levels, response.text[:200])
            response = await api.client.request(method, path, content=b"[" * 100_000, headers=kind)
            assert response.status_code in (400, 401), path
        for levels in (200, 300, 1000):
            config = b'{"name":"cors","config":' + deep(levels) + b"}"
            response = await api.client.post("/plugins", content=config, headers=kind)
            assert response.status_code == 400, levels
            labels = b'{"name":"g","labels":' + deep(levels) + b"}"
            response = await api.client.post("/v2/control-planes", content=labels, headers=kind)
            assert response.status_code == 400, levels
            service = b'{"service":' + deep(levels) + b',"route":' + deep(levels) + b"}"
            response = await api.client.post("/v2/catalogue/versions/x/implementation", content=service, headers=kind)
            assert response.status_code in (400, 404), levels
        response = await api.client.put(f"{GROUP}/config", content=BOMB, headers={"content-type": "application/yaml"})
        assert response.status_code == 400
        response = await api.client.put(f"{GROUP}/config", content="[" * 100_000)
        assert response.status_code == 400

    open_play(scenario, tmp_path)


def test_a_compressed_body_is_not_unpacked(tmp_path: Path) -> None:
    """Ten megabytes of nothing in ten kilobytes are ten kilobytes of something that is no JSON."""
    body = gzip.compress(b'{"name": "' + b" " * 10_000_000 + b'"}')

    async def scenario(api: Api) -> None:
        fields = {"content-type": "application/json", "content-encoding": "gzip"}
        for method, path in (("POST", "/services"), ("POST", "/v2/control-planes"), ("PUT", f"{GROUP}/config"),
                             ("POST", f"{GROUP}/core-entities/services")):  # fmt: skip
            response = await api.client.request(method, path, content=body, headers=fields)
            assert response.status_code == 400, (path, response.text)

    open_play(scenario, tmp_path)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data; boundary=b", b"--b\r\n\r\n\r\n" * 300_000 + b"--b--"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 100_000),
        ("multipart/form-data; boundary=" + "b" * 1000, b"--" * 1_000_000),
        ("application/x-www-form-urlencoded", b"a=1&" * 1_000_000),
        ("application/x-www-form-urlencoded", b"a." * 1_000_000 + b"b=1"),
        ("application/x-www-form-urlencoded", b"a[]=1&" * 900),
        ("application/json", b'{"tags":[' + b'"a",' * 1_000_000 + b'"a"]}'),
        ("application/json", b'{"name":"' + b"a" * 5_000_000 + b'"}'),
        ("application/json", b'{"host":"h","port":' + b"9" * 1_000_000 + b"}"),
    ],
)
def test_a_body_costs_no_more_than_its_size(kind: str, body: bytes, tmp_path: Path) -> None:
    """Many parts, many fields, one field in a million steps, a number without end: refused, and soon."""

    async def scenario(api: Api) -> None:
        began = time.process_time()
        response = await api.client.post("/services", content=body, headers={"content-type": kind})
        assert response.status_code in (400, 413), response.text[:200]
        assert len(response.content) < 2 * len(body) + 10_000
        # No bar for speed: what this catches took minutes.
        assert time.process_time() - began < 20

    open_play(scenario, tmp_path)


def test_a_head_without_end_is_cut_off(tmp_path: Path) -> None:
    """On the listener itself: the connection is closed after the bound, whether it is one field or many, and others are
    served.
    """
    process = Process(tmp_path).until_ready()
    try:
        host, port = process.admin.removeprefix("http://").split(":")
        for filling in (b"a" * 4096, b"x-a: b\r\n" * 512):
            with socket.create_connection((host, int(port)), timeout=60) as client:
                client.sendall(b"GET /services HTTP/1.1\r\nHost: h\r\nx-long: ")
                sent, answer = 0, b""
                try:
                    while sent <= 8 * HEAD_BYTES_MAX:
                        client.sendall(filling)
                        sent += len(filling)
                except OSError:
                    pass
                try:
                    answer = client.recv(4096)
                except OSError:
                    pass
                assert answer == b"" or answer.startswith(b"HTTP/1.1 400 "), answer
                assert client_is_closed(client)
            large = b"x-large: " + b"a" * (HEAD_BYTES_MAX // 2) + b"\r\n"
            with socket.create_connection((host, int(port)), timeout=60) as client:
                client.sendall(b"GET /v2/health HTTP/1.1\r\nHost: h\r\n" + large + b"\r\n")
                assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
    finally:
        process.kill()


def client_is_closed(client: socket.socket) -> bool:
    """Whether the other side has ended the connection."""
    try:
        while client.recv(65_536):
            pass
    except OSError:
        pass
    return True
