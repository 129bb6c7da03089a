"""The console's door in memory: who comes in, from where, and what every answer carries."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from kongdp.controlplane.api.guard import COOKIE, Guard
from kongdp.controlplane.console.asking import Asking, Caller, RefusedError, at, refused
from kongdp.controlplane.console.door import ASK, Door
from kongdp.controlplane.users import SESSION_IDLE_S
from tests.support.clock import FakeClock
from tests.support.control_plane import ControlPlane, running
from tests.support.control_plane_api import application_of

ORIGIN = "http://console.test"


class House:
    """A door with nothing behind it but a page that says who came in."""

    def __init__(self, plane: ControlPlane, client: httpx.AsyncClient, guarded: Guard, password: str) -> None:
        self.plane = plane
        self.client = client
        self.guarded = guarded
        self.password = password

    async def session(self, name: str = "admin", password: str | None = None) -> str:
        """Sign in by the API inside the process; the session's secret."""
        ask = Asking(self.guarded, Caller("", "10.0.0.9"))
        answer = await ask.answer("POST", "/v2/session", {"name": name, "password": password or self.password})
        assert answer.status == 201, answer.body
        return answer.field(b"set-cookie").partition("=")[2].partition(";")[0]

    def ask(self, session: str) -> Asking:
        """The API as a session's owner."""
        return Asking(self.guarded, Caller(session, "10.0.0.9"))


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    """What stands behind the door."""
    ask: Asking = scope[ASK]
    me = await ask.get("/v2/me")
    body = f"hello {me['name']}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def play(scenario: Callable[[House], Awaitable[None]], tmp_path: Path, **options: Any) -> None:
    async def main() -> None:
        async with running(tmp_path, **options) as plane:
            password = await plane.plane.database.run(plane.plane.accounts.ensure_admin)
            guarded = Guard(application_of(plane.plane, tmp_path), plane.plane, is_open=False)
            transport = httpx.ASGITransport(app=Door(page, guarded, plane.plane))
            async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
                await scenario(House(plane, client, guarded, str(password)))

    asyncio.run(main())


def cookie(session: str, **more: str) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={session}", **{name.replace("_", "-"): value for name, value in more.items()}}


def test_a_stranger_is_sent_to_the_form_and_back(tmp_path: Path) -> None:
    """With the address that was wanted; sockets and NiceGUI's own requests are simply refused."""

    async def scenario(house: House) -> None:
        answer = await house.client.get("/services?q=a%20b&view=list")
        assert answer.status_code == 303
        assert answer.headers["location"] == "/sign-in?next=%2Fservices%3Fq%3Da%2520b%26view%3Dlist"
        assert (await house.client.get("/")).headers["location"] == "/sign-in"
        refused = await house.client.get("/_nicegui_ws/socket.io/?transport=polling", headers={"Origin": ORIGIN})
        assert refused.status_code == 401
        upload = await house.client.post("/_nicegui/client/x/upload/1", headers={"Origin": ORIGIN})
        assert upload.status_code == 401
        forged = await house.client.get("/", headers=cookie("nonsense"))
        assert forged.status_code == 303

    play(scenario, tmp_path)


def test_a_session_comes_in_and_asks_as_itself(tmp_path: Path) -> None:
    """The page behind the door asks the API with the visitor's session; every answer forbids frames and other hosts."""

    async def scenario(house: House) -> None:
        answer = await house.client.get("/", headers=cookie(await house.session()))
        assert (answer.status_code, answer.text) == (200, "hello admin")
        assert answer.headers["x-frame-options"] == "DENY"
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"

    play(scenario, tmp_path)


ELSEWHERE: tuple[dict[str, str], ...] = (
    {},
    {"Origin": "http://evil.test"},
    {"Origin": "http://console.test:8080"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "same-origin"},
)


def test_a_change_from_elsewhere_is_refused(tmp_path: Path) -> None:
    """Also with a session: whoever posts must be a page of this very address."""

    async def scenario(house: House) -> None:
        session = await house.session()
        for fields in ELSEWHERE:
            for path in ("/sign-out", "/sign-in", "/_nicegui/client/x/upload/1"):
                answer = await house.client.post(path, headers=cookie(session, **fields))
                assert answer.status_code == 403, (path, fields)
            polling = {name: value for name, value in fields.items() if name == "Origin"}
            answer = await house.client.get("/_nicegui_ws/socket.io/", headers=cookie(session, **polling))
            assert answer.status_code == 403, fields

    play(scenario, tmp_path)


def test_a_proxy_may_end_tls_but_nobody_may_take_it_away(tmp_path: Path) -> None:
    """A page by https may speak to us by http (the proxy does); a page by http may not speak to us by https."""

    async def scenario(house: House) -> None:
        session = await house.session()
        answer = await house.client.post("/x", headers=cookie(session, Origin="https://console.test"))
        assert answer.status_code == 200
        secure = "https://console.test/x"
        assert (await house.client.post(secure, headers=cookie(session, Origin=ORIGIN))).status_code == 403
        assert (
            await house.client.post(secure, headers=cookie(session, Origin="https://console.test"))
        ).status_code == 200

    play(scenario, tmp_path)


def test_a_socket_from_elsewhere_is_closed_before_it_opens(tmp_path: Path) -> None:
    """WebSockets know no same-origin rule: the door has it."""

    async def closed(house: House, origin: str, session: str) -> bool:
        sent: list[dict[str, Any]] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def accepting(scope: Scope, _receive: Receive, sending: Send) -> None:
            await sending({"type": "websocket.accept"})

        door = Door(accepting, house.guarded, house.plane.plane)
        headers = [
            (b"host", b"console.test"),
            (b"origin", origin.encode()),
            (b"cookie", f"{COOKIE}={session}".encode()),
        ]
        scope = {"type": "websocket", "path": "/_nicegui_ws/socket.io/", "query_string": b"", "headers": headers}
        await door({**scope, "scheme": "ws", "client": ("10.0.0.9", 1)}, receive, send)
        return sent[0]["type"] == "websocket.close"

    async def scenario(house: House) -> None:
        session = await house.session()
        assert await closed(house, "http://evil.test", session)
        assert await closed(house, ORIGIN, "nonsense")
        assert not await closed(house, ORIGIN, session)

    play(scenario, tmp_path)


def test_a_click_on_another_site_asks_again_from_here(tmp_path: Path) -> None:
    """A strict cookie does not come with it; the second request, of our own page, has it."""

    async def scenario(house: House) -> None:
        answer = await house.client.get("/services", headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 200
        assert 'http-equiv="refresh"' in answer.text

    play(scenario, tmp_path)


def test_a_page_that_asks_by_itself_keeps_no_session_alive(tmp_path: Path) -> None:
    """An open tab is no person: after the idle time the session is over, however often the tab has asked."""
    clock = FakeClock(time.time())

    async def scenario(house: House) -> None:
        idle, used = await house.session(), await house.session()
        for _ in range(4):
            clock.advance(SESSION_IDLE_S / 3)
            await house.ask(used).get("/v2/me")
            if clock.wall() - start < SESSION_IDLE_S:
                await house.ask(idle).unattended().get("/v2/me")
        with pytest.raises(RefusedError) as caught:
            await house.ask(idle).unattended().get("/v2/me")
        assert caught.value.status == 401

    start = clock.wall()
    play(scenario, tmp_path, clock=clock)


def test_what_the_api_refuses_has_its_fields(tmp_path: Path) -> None:
    """Complaints come with dotted names, also those of the Admin API inside the catalogue's."""

    async def scenario(house: House) -> None:
        ask = house.ask(await house.session())
        with pytest.raises(RefusedError) as caught:
            await ask.post("/v2/catalogue/services", {"name": "a/b"})
        assert list(caught.value.fields) == ["name"]
        service = await ask.post("/v2/catalogue/services", {"name": "shop"})
        version = await ask.post(at("/v2/catalogue/services/{}/versions", service["id"]), {"name": "v.1"})
        body = {"service": {"name": "shop", "url": "http://a"}, "route": {"name": "r", "paths": ["/a", "b"]}}
        with pytest.raises(RefusedError) as caught:
            await ask.post(at("/v2/catalogue/versions/{}/implementation", version["id"]), body)
        assert caught.value.status == 400
        assert list(caught.value.fields) == ["route.paths[1]"]

    play(scenario, tmp_path)


def test_names_are_quoted_in_paths() -> None:
    """Whatever a name holds, it stays one part of the path."""
    assert at("/v2/things/{}/x/{}", "a/b?c", "ä") == "/v2/things/a%2Fb%3Fc/x/%C3%A4"


def test_an_unreadable_answer_is_an_error_too() -> None:
    """Never an exception of the parser."""
    from kongdp.controlplane.console.asking import Answer

    assert refused(Answer(502, (), b"<html>")).status == 502
