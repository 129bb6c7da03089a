"""The card of status codes: what its address says is what the API is asked for."""

from typing import Any

import pytest
from nicegui import ui

from kongdp.controlplane.console.asking import RefusedError
from kongdp.controlplane.console.parts.dates import CUSTOM
from kongdp.controlplane.console.parts.status_codes import Shown, StatusCodes
from kongdp.controlplane.console.screens.service import version_names
from tests.support.console_page import StubAsking, found, on_a_page, press, send, texts, visit_of

PATH = "/v2/catalogue/versions/x/status-codes"
START, END = "2026-01-31T12:00Z", "2026-01-31T13:00Z"
RECORD = {
    "frame": None,
    "start": 1_769_860_800,
    "end": 1_769_864_400,
    "step": 60,
    "total": 3,
    "codes": {"200": 2, "503": 1},
    "points": [{"at": 1_769_860_860, "code": 200, "count": 2}, {"at": 1_769_860_920, "code": 503, "count": 1}],
}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that a page has led to."""
    went: list[str] = []
    monkeypatch.setattr(ui.navigate, "to", went.append)
    return went


@pytest.mark.parametrize("view", ["", "list"])
@pytest.mark.parametrize(
    ("shown", "asked", "said"),
    [
        ({}, {"frame": "6h"}, "3 in the Last 6 Hours"),
        ({"frame": "7d"}, {"frame": "7d"}, "3 in the Last 7 Days"),
        ({"frame": "nonsense"}, {"frame": "6h"}, "3 in the Last 6 Hours"),
        (
            {"start": START, "end": END, "frame": "7d"},
            {"start": START, "end": END},
            "3 from 2026-01-31 12:00:00 UTC to 2026-01-31 13:00:00 UTC",
        ),
        ({"start": START}, {"start": START}, "3 from 2026-01-31 12:00:00 UTC to now"),
    ],
)
def test_graph_list_and_csv_are_of_one_span(view: str, shown: dict[str, str], asked: dict[str, str], said: str) -> None:
    """A usual one, or from one moment to another; the file as well, until another one is chosen for it."""
    ask = StubAsking({PATH: RECORD, f"{PATH}.csv": "start,seconds,status_code,requests\r\n"})

    async def act() -> None:
        await StatusCodes(visit_of(ask), PATH, Shown(view=view, zone="utc", **shown)).show()
        assert said in texts()
        assert {"503", "1", "33.3%"} <= set(texts())
        assert bool(found(ui.echart)) is not bool(view)
        await press("Export")
        await press("Export as CSV")

    on_a_page(act)
    assert ask.asked == [(PATH, asked), (f"{PATH}.csv", asked)]


def test_a_service_is_shown_by_version() -> None:
    """As the graph and the list, those without requests too; another grouping is another address."""
    points = [("1", 120, 3), ("2", 120, 1), ("2", 180, 1)]
    by_version = [{"at": at, "version": version, "count": count} for version, at, count in points]
    codes = {"200": 4, "503": 1}
    record = {
        **RECORD,
        "start": 120,
        "end": 240,
        "total": 5,
        "codes": codes,
        "points": [],
        "version_points": by_version,
    }
    ask = StubAsking({PATH: record})
    names = {"1": "v.1", "2": "v.2", "3": "v.3"}

    async def act() -> None:
        visit = visit_of(ask, frame="7d", by="code")
        await StatusCodes(visit, PATH, Shown(frame="7d"), title="Traffic", versions=names).show()
        (graph,) = found(ui.echart)
        assert {each["name"]: each["data"] for each in graph.options["series"]} == {
            "v.1": [[120_000, 3], [180_000, 0]],
            "v.2": [[120_000, 1], [180_000, 1]],
        }
        assert graph.props["aria-label"] == "Traffic: v.1: 3, v.2: 2, v.3: 0"
        assert {"Version", "v.1", "60.0%", "v.3", "0.0%"} <= set(texts())
        assert not {"Status code", "503"} & set(texts())
        links = {each.props["href"] for each in found(ui.element) if "href" in each.props}
        assert {"/page?frame=7d", "/page?frame=7d&by=code"} <= links

    on_a_page(act)
    assert ask.asked == [(PATH, {"frame": "7d", "by": "version"})]

    async def by_code() -> None:
        await StatusCodes(visit_of(ask), PATH, Shown(by="code"), title="Traffic", versions=names).show()
        assert {"Status code", "503"} <= set(texts())

    on_a_page(by_code)
    assert ask.asked[1:] == [(PATH, {"frame": "6h"})]


def test_versions_of_one_name_are_told_apart() -> None:
    """The same name may exist in two groups."""
    versions = [{"id": f"{number}2345678-", "name": name} for number, name in enumerate(("v.1", "v.1", "v.2"))]
    assert list(version_names(versions).values()) == ["v.1 (02345678)", "v.1 (12345678)", "v.2"]


def test_dates_are_another_address(opened: list[str]) -> None:
    """Moments in UTC, as the browser makes them of its zone; without a first one nothing is asked for."""
    ask = StubAsking({PATH: RECORD})

    async def act() -> None:
        visit = visit_of(ask, frame="7d", view="list", zone="utc")
        await StatusCodes(visit, PATH, Shown(frame="7d", view="list", zone="utc")).show()
        assert "From" not in " ".join(texts())
        frames = found(ui.select)[0]
        frames.value = CUSTOM
        (button,) = found(ui.button, label="Show")
        assert all(each.visible for each in button.ancestors())
        await send(button, "click", ["", END])
        (first,) = found(ui.input, label="From (UTC) *")
        assert (first.error, opened) == ("is required", [])
        await send(button, "click", [START, ""])
        await send(button, "click", [START, END])
        frames.value = "1h"

    on_a_page(act)
    assert opened == [
        "/page?view=list&zone=utc&start=2026-01-31T12%3A00Z",
        "/page?view=list&zone=utc&start=2026-01-31T12%3A00Z&end=2026-01-31T13%3A00Z",
        "/page?frame=1h&view=list&zone=utc",
    ]


def test_the_fields_hold_what_is_shown() -> None:
    """Also of a link that somebody else has sent."""
    ask = StubAsking({PATH: RECORD})

    async def act() -> None:
        await StatusCodes(
            visit_of(ask), PATH, Shown(start="1769860800", end="2026-01-31T14:00+01:00", zone="utc")
        ).show()
        held = {each.props["label"]: each.value for each in found(ui.input)}
        assert held == {"From (UTC) *": "2026-01-31T12:00", "To (UTC)": "2026-01-31T13:00"}

    on_a_page(act)


def test_a_span_that_cannot_be_is_said_at_its_field() -> None:
    """The rest of the page is there."""
    said: dict[str, Any] = {"end": "must be later than start"}
    ask = StubAsking({PATH: RefusedError(400, "end: must be later than start", said)})

    async def act() -> None:
        await StatusCodes(visit_of(ask), PATH, Shown(start=END, end=START)).show()
        (last,) = found(ui.input, label="To")
        assert last.error == "must be later than start"

    on_a_page(act)
