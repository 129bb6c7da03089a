"""What is looked at has an address: pages of every list, dialogs that are worth a link."""

from collections.abc import Mapping
from typing import Any, cast

import pytest
from nicegui import ui

from kongdp.controlplane.console.parts.entity_form import Place
from kongdp.controlplane.console.parts.entity_table import children
from kongdp.controlplane.console.parts.kinds import KINDS
from kongdp.controlplane.console.screens.accounts import accounts
from kongdp.controlplane.console.screens.history import history
from kongdp.controlplane.console.screens.me import me
from kongdp.controlplane.console.screens.overview import overview
from kongdp.controlplane.console.screens.runtimes import runtimes
from kongdp.controlplane.console.screens.service_hub import service_hub
from tests.support.console_page import StubAsking, found, on_a_page, press, visit_of

GROUPS = [{"id": "g", "name": "default", "description": "", "labels": {}}]


def paged(items: list[Any], total: int = 0) -> dict[str, Any]:
    return {"items": items, "page": {"total_count": total or len(items)}}


NODE = {
    "id": "n",
    "hostname": "node",
    "ip": "10.0.0.1",
    "config_hash": "0" * 32,
    "in_sync": True,
    "connected": True,
    "reason": "",
}
LIVE = {
    "points": [],
    "requests_per_s": 0,
    "latency_ms": {},
    "groups": [
        {"id": str(n), "name": f"g{n}", "nodes": 1, "connected": 1, "in_sync": 1, "requests_per_s": 0, "problems": []}
        for n in range(60)
    ],
}
TOKENS = [
    {"id": str(n), "name": f"t{n}", "role": "viewer", "groups": None, "expires_at": 0, "used_at": None}
    for n in range(60)
]
ANSWERS: Mapping[str, Any] = {
    "/v2/control-planes": paged(GROUPS),
    "/v2/control-planes/g": GROUPS[0],
    "/v2/control-planes/g/nodes": paged([NODE] * 10, 30),
    "/v2/control-planes/g/revisions": paged([], 0),
    "/v2/users": {"items": []},
    "/v2/me": {"name": "admin", "role": "admin", "roles": {}},
    "/v2/tokens": {"items": TOKENS},
    "/v2/live": LIVE,
    "/v2/catalogue/services": {"items": []},
}


@pytest.mark.parametrize(
    ("screen", "arguments", "label", "first", "following"),
    [
        (overview, {}, "Runtime groups", "g25", "/page?page=3"),
        (me, {}, "Access tokens", "t25", "/page?page=3"),
        (history, {"group": "g"}, "Roll-out", "node", "/page?nodes=3"),
    ],
)
def test_a_page_of_a_list_has_an_address(
    screen: Any, arguments: dict[str, str], label: str, first: str, following: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is shown by it, and leads to the next."""
    opened: list[str] = []
    monkeypatch.setattr(ui.navigate, "to", opened.append)
    name = "nodes" if screen is history else "page"
    ask = StubAsking(dict(ANSWERS))

    async def act() -> None:
        await screen(visit_of(ask, **{name: 2}), **arguments, **{name: 2})
        (table,) = [each for each in found(ui.table) if each.props["table-aria-label"] == label]
        assert first in (table.rows[0].get("name"), table.rows[0].get("host"))
        buttons = [each for each in found(ui.button, label="Next") if each.enabled]
        await press(buttons[0])

    on_a_page(act)
    assert opened == [following]


def test_a_page_of_a_list_below_an_entity_has_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which list it is stands beside it; the fragment leads back to the list."""
    opened: list[str] = []
    monkeypatch.setattr(ui.navigate, "to", opened.append)
    path = "/v2/control-planes/g/core-entities/services/s/routes"
    ask = StubAsking({path: paged([{"id": "r", "name": "route", "paths": ["/"]}], 40)})

    async def act() -> None:
        visit = visit_of(ask, below="routes", page=2, frame="7d")
        await children(visit, Place(cast(Any, ask), "g", KINDS["services"], {"id": "s"}), KINDS["routes"], 2)
        await press("Next")
        await press("Previous")

    on_a_page(act)
    assert ask.asked[0][1]["page.number"] == 2
    assert opened == ["/page?below=routes&page=3&frame=7d#routes", "/page?frame=7d#routes"]


@pytest.mark.parametrize(
    ("screen", "key", "title"),
    [
        (service_hub, "new", "New service"),
        (runtimes, "new", "Create Runtime Group"),
        (accounts, "new", "New user"),
        (me, "token", "New access token"),
        (me, "password", "Change password"),
    ],
)
def test_a_dialog_is_opened_by_its_address(screen: Any, key: str, title: str) -> None:
    """Only by that; and it is in no address that leads on from there."""

    async def act() -> None:
        await screen(visit_of(StubAsking(dict(ANSWERS)), dialog="nonsense"), dialog="nonsense")
        assert found(ui.dialog) == []
        visit = visit_of(StubAsking(dict(ANSWERS)), dialog=key)
        await screen(visit, dialog=key)
        assert [each.props["aria-label"] for each in found(ui.dialog)] == [title]
        assert visit.address(page=2) == "/page?page=2"

    on_a_page(act)


def test_who_may_not_is_offered_no_dialog() -> None:
    """Whatever the address says."""

    async def act() -> None:
        for screen in (service_hub, runtimes):
            await screen(visit_of(StubAsking(dict(ANSWERS)), may=lambda role: role == "viewer"), dialog="new")
        assert found(ui.dialog) == []

    on_a_page(act)
