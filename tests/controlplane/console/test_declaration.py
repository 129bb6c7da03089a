"""What can be copied from the entities' screens: a whole file, as our own reader of such files judges it; no private key."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from nicegui import ui

from kongdp.controlplane.console.asking import Asking, Caller
from kongdp.controlplane.console.parts.declaration import declaration, missing
from kongdp.controlplane.console.parts.entity_form import Place, merged
from kongdp.controlplane.console.parts.form import Form
from kongdp.controlplane.console.parts.kinds import KINDS, readable
from kongdp.controlplane.console.parts.schema_form import STORED, SchemaForm
from kongdp.controlplane.console.parts.status_codes import Shown
from kongdp.controlplane.console.screens import entities
from kongdp.entities.declarative import DeclarativeError, load, parse_text
from kongdp.entities.schemas.certificates import CERTIFICATES
from kongdp.plugins.configs import PLUGIN_SCHEMAS
from tests.support.certificates import make
from tests.support.console_page import a_page, found, on_a_page, visit_of
from tests.support.control_plane import running
from tests.support.control_plane_api import GROUP, application_of

PAIR = make("tls.test")
KEY = PAIR.key_pem.decode()
PARENTS = ("service", "route", "consumer", "certificate")
CORE = f"{GROUP}/core-entities"
Story = Callable[[Asking, str], Awaitable[None]]


def with_a_plane(directory: Path, story: Story) -> None:
    """A story of a control plane's API and the id of its group."""

    async def main() -> None:
        async with running(directory) as plane:
            ask = Asking(application_of(plane.plane, directory), Caller("", "127.0.0.1"))
            await story(ask, (await ask.get(GROUP))["id"])

    asyncio.run(main())


async def fill(ask: Asking) -> str:
    """An entity of every kind with a page, in all its relations; the id of the only certificate."""
    made: dict[str, Any] = await ask.post(
        f"{CORE}/certificates", {"cert": PAIR.pem.decode(), "key": KEY, "snis": ["tls.test", "b.test"]}
    )
    await ask.post(f"{CORE}/services", {"name": "orders", "url": "http://orders.test"})
    await ask.post(f"{CORE}/services", {"name": "secure", "url": "https://h", "client_certificate": {"id": made["id"]}})
    await ask.post(f"{CORE}/services/orders/routes", {"name": "orders", "paths": ["/orders"]})
    await ask.post(f"{CORE}/services/orders/routes", {"paths": ["/nameless"]})
    await ask.post(f"{CORE}/routes", {"name": "loose", "paths": ["/loose"]})
    await ask.post(f"{CORE}/consumers", {"username": "alice"})
    await ask.post(f"{CORE}/upstreams", {"name": "pool"})
    for below in ("", "/routes/orders", "/services/orders", "/consumers/alice"):
        await ask.post(f"{CORE}{below}/plugins", {"name": "rate-limiting", "config": {"minute": 5}})
    both = {"consumer": {"username": "alice"}, "route": {"name": "orders"}}
    await ask.post(f"{CORE}/plugins", {"name": "request-size-limiting", **both})
    return str(made["id"])


@pytest.mark.parametrize("one_by_one_max", [0, entities.ONE_BY_ONE_MAX])
def test_every_snippet_is_a_whole_file(one_by_one_max: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One entity or a page of them, with what it belongs to: our own reader finds the same rows in it. What no snippet may
    have is asked for at its top; with that, the file is whole.
    """

    monkeypatch.setattr(entities, "ONE_BY_ONE_MAX", one_by_one_max)
    # Parents are looked for on several pages.
    monkeypatch.setattr(entities, "PAGE_SIZE", 1)

    async def story(ask: Asking, group_id: str) -> None:
        certificate = await fill(ask)
        place = Place(ask, group_id)
        for kind in entities.PAGES:
            rows = (await ask.get(place.path(kind)))["items"]
            for chosen in (*([row] for row in rows), rows):
                text = declaration(await entities.with_parents(place, kind, chosen))
                assert "PRIVATE KEY" not in text
                file = dict(parse_text(text.encode()))
                if text.startswith("#"):
                    with pytest.raises(DeclarativeError):
                        load(file, plugins=PLUGIN_SCHEMAS)
                    assert certificate in text.partition("\n")[0]
                    (row,) = file.setdefault("certificates", [{"id": certificate, "cert": PAIR.pem.decode()}])
                    row["key"] = KEY
                table = load(file, plugins=PLUGIN_SCHEMAS)
                for row in chosen:
                    read = table[kind.path][row["id"]]
                    assert all(read[name] == row[name] for name in PARENTS if name in row), text

    with_a_plane(tmp_path, story)


def test_entities_stand_below_what_they_belong_to() -> None:
    """As decK writes them; of several parents each is named."""
    orders = {"id": "1", "name": "orders", "created_at": 1}
    route = {"id": "2", "name": "r", "service": {"id": "1"}}
    plugin = {"id": "3", "name": "cors", "route": {"id": "2"}, "service": None}
    both = {"id": "4", "name": "cors", "route": {"id": "2"}, "consumer": {"id": "5"}}
    rows: dict[str, list[dict[str, Any]]] = {"plugins": [plugin, both], "routes": [route]}
    assert missing(rows) == {"consumers": ["5"], "services": ["1"]}
    alice = {"id": "5", "username": "alice"}
    assert yaml.safe_load(declaration({**rows, "consumers": [alice], "services": [orders]})) == {
        "_format_version": "3.0",
        "plugins": [{"id": "4", "name": "cors", "route": "r", "consumer": "alice"}],
        "consumers": [alice],
        "services": [
            {
                "id": "1",
                "name": "orders",
                "routes": [{"id": "2", "name": "r", "plugins": [{"id": "3", "name": "cors"}]}],
            }
        ],
    }


def test_a_stored_private_key_is_on_no_page(tmp_path: Path) -> None:
    """Neither where it is stored nor where it could be changed, whoever looks."""

    async def story(ask: Asking, group_id: str) -> None:
        certificate = await fill(ask)
        sni = (await ask.get(f"{CORE}/snis"))["items"][0]["id"]
        for path, entity in (("certificates", certificate), ("snis", sni)):

            async def act(path: str = path, entity: str = entity) -> None:
                visit = visit_of(cast(Any, ask), admin="http://127.0.0.1:8001")
                await entities._one(visit, KINDS[path], group_id, entity, Shown(), {}, "edit")
                shown = "".join(f"{each.props}{each._text}" for each in ui.context.client.elements.values())
                assert "BEGIN CERTIFICATE" in shown
                assert "curl -X PUT" in shown
                assert "PRIVATE KEY" not in shown
                if path == "certificates":
                    (field,) = found(ui.textarea, label="Key")
                    assert (field.value, field.props["hint"]) == ("", STORED)

            await a_page(act)

    with_a_plane(tmp_path, story)


def test_a_stored_private_key_stays_until_another_is_typed() -> None:
    """It goes with the certificate it belongs to; a reference to a vault is shown, as it is no secret."""
    fields = json.loads(json.dumps(CERTIFICATES.describe()))["fields"]
    row: dict[str, Any] = {
        "id": "1",
        "cert": "c",
        "key": "k",
        "cert_alt": "c2",
        "key_alt": "k2",
        "snis": [],
        "tags": None,
    }
    assert readable(KINDS["certificates"], {**row, "key": "{vault://env/key}"}).keys() == row.keys() - {"key_alt"}

    def act() -> None:
        made = SchemaForm(Form(), fields, row, stored=KINDS["certificates"].write_only)
        held = made.form.fields
        assert (made.body(), held["key"].element.value) == ({}, "")
        held["cert"].element.value = "c3"
        held["key"].element.value = "k3"
        change = made.body()
        assert change == {"cert": "c3", "key": "k3"}
        assert merged(row, change)["key_alt"] == "k2"
        held["cert_alt"].element.value = ""
        assert made.body() == {"cert": "c3", "key": "k3", "cert_alt": None, "key_alt": None}

    on_a_page(act)
