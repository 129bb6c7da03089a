"""The audit screen: what its address says is what the API is asked for, and what is looked for becomes the address."""

from typing import get_args

import pytest
from nicegui import ui

from kongdp.controlplane import audit as log
from kongdp.controlplane.console.asking import RefusedError
from kongdp.controlplane.console.parts.dates import CUSTOM
from kongdp.controlplane.console.screens.audit import ASKED, FRAMES, KINDS, Looked, audit
from tests.support.console_page import StubAsking, found, on_a_page, send, texts, visit_of

PATH = "/v2/audit"
ENTRY = {"at": 1_769_860_800.0, "actor": "ann", "address": "10.0.0.1", "action": "POST /v2/session", "status": 201}
START, END = "2026-01-31T12:00Z", "2026-01-31T13:00Z"


def page_of(*entries: object, total: int = 0) -> dict[str, object]:
    return {"items": list(entries), "page": {"total_count": total or len(entries)}}


def test_every_kind_has_its_words() -> None:
    """In the order of the API."""
    assert tuple(KINDS) == get_args(log.Kind)


@pytest.mark.parametrize(
    ("looked", "asked"),
    [
        (Looked(), {}),
        (Looked(frame="24h"), {"start": 1_000_000 - 86_400}),
        (Looked(frame="nonsense"), {}),
        (Looked(frame="24h", start=START), {"start": START}),
        (Looked(end=END), {"end": END}),
        (
            Looked("ann", "user", "POST", "x"),
            {ASKED["who"]: "ann", ASKED["kind"]: "user", ASKED["method"]: "POST", ASKED["text"]: "x"},
        ),
    ],
)
def test_an_address_is_a_question(looked: Looked, asked: dict[str, object]) -> None:
    """A time frame ends now."""
    assert {name: value for name, value in looked.query(1_000_000.5).items() if value is not None} == asked


def test_a_page_of_what_was_looked_for() -> None:
    """Whatever stands in the address stands in the fields, and in the address of the next page."""
    ask = StubAsking({PATH: page_of(ENTRY, total=120)})
    address = {"who": "ann", "kind": "sign-in", "method": "POST", "text": "v2", "start": START, "end": END}

    async def act() -> None:
        await audit(visit_of(ask, "/audit", page=2, **address), **address, page=2)
        assert found(ui.table)[0].rows[0]["action"] == ENTRY["action"]
        held = {each.props["label"]: each.value for each in [*found(ui.input), *found(ui.select)]}
        said = {"Who": "ann", "Text": "v2", "Object": "sign-in", "Method": "POST", "Time frame": CUSTOM}
        assert said.items() <= held.items()

    on_a_page(act)
    [(_path, query)] = ask.asked
    assert query == {"page_size": 50, "page_number": 2, **Looked(**address).query(0)}


def test_what_is_looked_for_becomes_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first page on; a frame takes the place of dates, and dates that of a frame."""
    opened: list[str] = []
    monkeypatch.setattr(ui.navigate, "to", opened.append)
    ask = StubAsking({PATH: page_of(ENTRY)})

    async def act() -> None:
        await audit(visit_of(ask, "/audit", page=3, start=START), start=START, page=3)
        fields = {each.props["label"]: each for each in [*found(ui.input), *found(ui.select)]}
        (find,) = found(ui.button, label="Find")
        fields["Who"].value, fields["Object"].value = "a&b", "user"
        await send(find, "click", [START, END])
        fields["Time frame"].value = "7d"
        await send(find, "click", ["", ""])

    on_a_page(act)
    assert opened == [
        "/audit?start=2026-01-31T12%3A00Z&who=a%26b&kind=user&end=2026-01-31T13%3A00Z",
        "/audit?who=a%26b&kind=user&frame=7d",
    ]
    assert "7d" in FRAMES


def test_nothing_found_is_not_nothing_happened() -> None:
    """And what cannot be looked for is said at its field."""
    ask = StubAsking({PATH: page_of()})

    async def act() -> None:
        await audit(visit_of(ask), who="nobody")
        assert "Nothing found" in texts()
        ask.answers[PATH] = RefusedError(400, "validation error", {ASKED["kind"]: "Input should be"})
        await audit(visit_of(ask), kind="nonsense")
        assert [each.error for each in found(ui.select, label="Object")] == [None, "Input should be"]

    on_a_page(act)
