"""The portal's screen: a developer's password link, and what a question about a request names."""

from dataclasses import replace

import pytest
from nicegui import ui

from kongdp.controlplane.console.asking import RefusedError
from kongdp.controlplane.console.screens.portal import portal
from tests.support.console_page import StubAsking, found, on_a_page, press, send, texts, visit_of

ONE = {"id": "1", "email": "ann@example.com", "name": "Ann", "status": "approved", "created_at": 0.0}
LIST, DEVELOPER = "/v2/portal/developers", "/v2/portal/developers/1"
LINK = f"{DEVELOPER}/password-link"
ANSWERS = {LIST: {"items": [ONE], "page": {"total_count": 1}}, DEVELOPER: ONE}
MADE = {"path": "/reset?link=s3cret", "expires_at": 1_769_860_800.0}


@pytest.mark.parametrize("address", ["http://portal.example:8004/", ""])
def test_a_password_link_is_asked_for_and_shown_once(address: str) -> None:
    """With its end; nothing is made before the answer to the question."""
    ask = StubAsking({**ANSWERS, LINK: MADE})

    async def act() -> None:
        await portal(replace(visit_of(ask), portal=address), tab="developers")
        (table,) = found(ui.table)
        assert table.rows[0]["actions"][0] == {"key": "password-link", "text": "Password link"}
        await send(table, "act", {"act": "password-link", "key": "1"})
        assert any("ann@example.com can set a new password" in text for text in texts())
        assert LINK not in [path for path, _query in ask.asked]
        await press("Make link")
        (code,) = [each for each in found(ui.element) if each.tag == "code"]
        assert code.props["textContent"] == f"{address.rstrip('/')}/reset?link=s3cret"
        assert "It works once, until 2026-01-31 12:00:00 UTC." in texts()
        assert ("This is the part below the portal's address: kongdp_portal_listen is off." in texts()) is not bool(
            address
        )
        await press("Done")
        (shown,) = found(ui.dialog)
        assert shown.value is False
        await send(shown, "hide", None)
        assert not any("s3cret" in str(each.props.get("textContent")) for each in found(ui.element))

    on_a_page(act)


def test_a_password_link_that_is_refused_is_said_in_its_dialog() -> None:
    """The developer may have gone meanwhile."""
    ask = StubAsking({**ANSWERS, LINK: RefusedError(404, "there is no developer '1'")})

    async def act() -> None:
        await portal(visit_of(ask), tab="developers")
        await send(found(ui.table)[0], "act", {"act": "password-link", "key": "1"})
        await press("Make link")
        assert "there is no developer '1'" in texts()

    on_a_page(act)


@pytest.mark.parametrize(("role", "offered"), [("admin", True), ("editor", False), ("viewer", False)])
def test_a_password_link_is_offered_to_administrators(role: str, offered: bool) -> None:
    """The API takes it from nobody else."""

    async def act() -> None:
        order = ("none", "viewer", "editor", "admin")
        visit = visit_of(StubAsking(ANSWERS), may=lambda needed: order.index(needed) <= order.index(role))
        await portal(visit, tab="developers")
        keys = [each["key"] for each in found(ui.table)[0].rows[0]["actions"]]
        assert ("password-link" in keys) is offered
        assert ("delete" in keys) is (role != "viewer")

    on_a_page(act)


@pytest.mark.parametrize("act", ["delete", "revoked"])
def test_a_question_about_a_request_names_who_loses_what(act: str) -> None:
    """The application and the version, not their ids."""
    request = {"id": "r", "application_id": "a", "version_id": "v", "status": "approved", "created_at": 0.0}
    answers = {
        "/v2/portal/registrations": {"items": [request], "page": {"total_count": 1}},
        "/v2/portal/applications/a": {"name": "Shop"},
        "/v2/catalogue/versions/v": {"name": "v.1", "service_id": "s"},
        "/v2/catalogue/services/s": {"id": "s", "name": "orders"},
    }

    async def run() -> None:
        await portal(visit_of(StubAsking(answers)), tab="requests")
        await send(found(ui.table)[0], "act", {"act": act, "key": "r"})
        assert "the access of Shop to orders v.1: requests with its keys are refused" in texts()

    on_a_page(run)
