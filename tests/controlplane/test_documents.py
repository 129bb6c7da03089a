"""Documents, specs, routes from specs and publishing, through the API."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from kongdp.controlplane import renderings
from kongdp.controlplane.documents import ServiceDocument, VersionSpec
from kongdp.controlplane.renderings import Renderings
from tests.support.control_plane_api import Api, served
from tests.support.openapi import as_json, openapi

SERVICES = "/v2/catalogue/services"
VERSIONS = "/v2/catalogue/versions"
IMPLEMENTATION = {
    "service": {"name": "example_gateway_service", "url": "http://mockbin.org"},
    "route": {"name": "mockbin", "methods": ["GET"], "paths": ["/mock"]},
}


def play(scenario: Callable[[Api], Awaitable[None]], directory: Path, url: str | None = None) -> None:
    async def main() -> None:
        async with served(directory, url) as api:
            await scenario(api)

    asyncio.run(main())


async def version_of(api: Api, service: str = "shop") -> str:
    """The id of a version of a new service."""
    await api.made(SERVICES, {"name": service})
    return str((await api.made(f"{SERVICES}/{service}/versions", {"name": "v.1"}))["id"])


def upload(content: str, name: str = "readme.md") -> dict[str, str]:
    return {"name": name, "content": content}


def test_a_document_is_kept_as_it_was_and_shown_safe(tmp_path: Path, fresh_url: str) -> None:
    """Upload, replace, delete; each edition has its ETag, and who has not seen it cannot replace it."""

    async def scenario(api: Api) -> None:
        await api.made(SERVICES, {"name": "shop"})
        path = f"{SERVICES}/shop/document"
        assert (await api.call("GET", path))[0] == 404
        text = "# Pets\n\n<script>alert(1)</script>\r\n"
        response = await api.ask("PUT", path, upload(text))
        assert (response.status_code, response.headers["etag"]) == (200, '"1"')
        found = await api.got(path)
        assert (found["content"], found["name"], found["edition"]) == (text, "readme.md", 1)
        assert "<h2>Pets</h2>" in found["html"]
        assert "<script" not in found["html"]
        assert (await api.call("PUT", path, upload("b"), if_match='"7"'))[0] == 412
        assert (await api.call("PUT", path, upload("b", "b.MD"), if_match='"1"'))[1]["edition"] == 2
        assert (await api.call("DELETE", path, if_match='"1"'))[0] == 412
        assert (await api.call("DELETE", path))[0] == 204
        assert (await api.call("DELETE", path))[0] == 404
        assert (await api.call("PUT", path, upload("new")))[1]["edition"] == 1

    play(scenario, tmp_path, fresh_url)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (upload("x", "readme.txt"), 400, "name"),
        (upload("x", "../readme.md"), 400, "name"),
        (upload("x", "md"), 400, "name"),
        (upload(" \n"), 400, "content"),
        (upload("a\0b"), 400, "content"),
        (upload("é" * (128 * 1024) + "x"), 413, "content"),
        ({"name": "a.md"}, 400, "content"),
        ({**upload("x"), "html": "<script>"}, 400, "html"),
    ],
)
def test_what_is_no_document_is_refused(tmp_path: Path, body: dict[str, Any], status: int, field: str) -> None:
    """By its name, its size in bytes, its text; the answer names the field."""

    async def scenario(api: Api) -> None:
        await api.made(SERVICES, {"name": "shop"})
        found, answer = await api.call("PUT", f"{SERVICES}/shop/document", body)
        assert (found, answer["details"][0]["field"]) == (status, field)
        assert (await api.call("PUT", f"{SERVICES}/shop/document", upload("é" * (128 * 1024))))[0] == 200

    play(scenario, tmp_path)


def test_a_spec_is_judged_kept_and_shown(tmp_path: Path, fresh_url: str) -> None:
    """What is no spec is refused with its reasons and leaves the one that is there; the view is made of it."""

    async def scenario(api: Api) -> None:
        path = f"{VERSIONS}/{await version_of(api)}/spec"
        assert (await api.call("GET", path))[0] == 404
        assert (await api.call("GET", path + "/view"))[0] == 404
        text = as_json(openapi())
        status, made = await api.call("PUT", path, upload(text, "pets.json"))
        assert (status, made["dialect"], made["title"], made["edition"]) == (200, "OpenAPI 3.0", "Pet shop", 1)
        status, answer = await api.call("PUT", path, upload(as_json(openapi(info={})), "pets.json"))
        assert status == 400
        assert "'title' is a required property" in str(answer["details"])
        assert (await api.call("PUT", path, upload(text, "pets.txt")))[0] == 400
        assert (await api.got(path))["content"] == text
        seen = await api.got(path + "/view")
        assert [each["path"] for each in seen["groups"][0]["operations"]] == ["/pets"]
        assert (await api.call("DELETE", path))[0] == 204
        assert (await api.call("GET", path))[0] == 404

    play(scenario, tmp_path, fresh_url)


def test_a_spec_makes_routes_only_when_asked_to(tmp_path: Path) -> None:
    """The offer makes nothing; the act makes the chosen ones in one revision, or none; what is there stays."""

    async def scenario(api: Api) -> None:
        version = await version_of(api)
        path = f"{VERSIONS}/{version}/spec"
        await api.call("PUT", path, upload(as_json(openapi()), "pets.json"))
        assert (await api.call("POST", path + "/routes"))[0] == 404
        await api.made(f"{VERSIONS}/{version}/implementation", IMPLEMENTATION)
        offered = (await api.got(path + "/routes"))["routes"]
        assert [(each["name"], each["exists"]) for each in offered] == [
            ("shop-v.1-listPets", False),
            ("shop-v.1-createPet", False),
            ("shop-v.1-get-pets-pet-id", False),
        ]
        assert len((await api.got("/routes"))["data"]) == 1
        revisions = (await api.got("/v2/control-planes/default/revisions"))["page"]["total_count"]
        made = await api.made(path + "/routes", {"names": ["shop-v.1-listPets"]})
        assert {route["name"] for route in made["routes"]} == {"mockbin", "shop-v.1-listPets"}
        assert (await api.call("POST", path + "/routes", {"names": ["shop-v.1-listPets"]}))[0] == 409
        assert (await api.call("POST", path + "/routes", {"names": ["other"]}))[0] == 400
        assert (await api.call("POST", path + "/routes", {}, if_match='"9"'))[0] == 412
        status, answer = await api.call(
            "POST", path + "/routes", {"names": ["shop-v.1-createPet", "shop-v.1-listPets"]}
        )
        assert (status, len((await api.got("/routes"))["data"])) == (409, 2), answer
        assert len((await api.made(path + "/routes", None))["routes"]) == 4
        assert (await api.got("/v2/control-planes/default/revisions"))["page"]["total_count"] == revisions + 2
        route = await api.got("/routes/shop-v.1-get-pets-pet-id")
        assert (route["paths"], route["methods"]) == (["~/pets/(?<pet_id>[^#?/]+)$"], ["GET"])
        assert (route["strip_path"], route["regex_priority"]) == (False, 100)

    play(scenario, tmp_path)


def test_publishing_can_be_taken_back(tmp_path: Path) -> None:
    """Doing it twice is doing it once; the edition counts."""

    async def scenario(api: Api) -> None:
        made = await api.made(SERVICES, {"name": "shop"})
        path = f"{SERVICES}/shop/publication"
        for method, published, edition in (("PUT", True, 2), ("PUT", True, 2), ("DELETE", False, 3)):
            status, found = await api.call(method, path)
            assert (status, found["published"], found["edition"]) == (200, published, edition)
        assert made["published"] is False
        assert (await api.call("PUT", path, if_match='"1"'))[0] == 412

    play(scenario, tmp_path)


def test_texts_go_with_what_they_belong_to(tmp_path: Path) -> None:
    """Deleting a version or a service leaves nothing of theirs."""

    async def scenario(api: Api) -> None:
        version = await version_of(api)
        await api.call("PUT", f"{SERVICES}/shop/document", upload("x"))
        await api.call("PUT", f"{VERSIONS}/{version}/spec", upload(as_json(openapi()), "p.json"))
        assert (await api.call("DELETE", f"{VERSIONS}/{version}"))[0] == 204
        assert (await api.call("GET", f"{VERSIONS}/{version}/spec"))[0] == 404
        assert (await api.call("DELETE", f"{SERVICES}/shop"))[0] == 204
        await api.made(SERVICES, {"name": "shop"})
        assert (await api.call("GET", f"{SERVICES}/shop/document"))[0] == 404

    play(scenario, tmp_path)


@pytest.mark.parametrize(
    "labels", [{"": "x"}, {"a": "x" * 201}, {"a" * 201: "x"}, {str(n): "x" for n in range(51)}, {"a\0": "x"}]
)
def test_labels_have_bounds(tmp_path: Path, labels: dict[str, str]) -> None:
    """What is too many or too long is refused at its field; the bounds themselves are taken."""

    async def scenario(api: Api) -> None:
        status, answer = await api.call("POST", SERVICES, {"name": "shop", "labels": labels})
        assert (status, answer["details"][0]["field"]) == (400, "labels")
        fits = {str(number).rjust(200, "k"): "v" * 200 for number in range(50)}
        assert (await api.made(SERVICES, {"name": "shop", "labels": fits}))["labels"] == fits

    play(scenario, tmp_path)


def test_renderings_are_made_once_and_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks again gets what is kept; a new edition is made anew; no more are kept than the bound."""
    made: list[str] = []
    monkeypatch.setattr(renderings.markdown, "render", lambda text: made.append(text) or text)
    kept = Renderings(kept_max=2)
    first, second, third = (ServiceDocument("s", "n", str(n), n, 0.0, 0.0) for n in range(3))
    for document in (first, second, first, third, first, second):
        assert kept.html(document) == document.content
    assert made == ["0", "1", "2", "1"]
    assert kept.view(VersionSpec("v", "n", "t", "d", "no spec", 1, 0.0, 0.0)) is None


def test_renderings_are_made_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten who ask at once for one page make it once."""
    made: list[str] = []
    monkeypatch.setattr(renderings.markdown, "render", lambda text: made.append(text) or text)
    kept = Renderings()
    document = ServiceDocument("s", "n", "x", 1, 0.0, 0.0)
    threads = [threading.Thread(target=kept.html, args=(document,)) for _number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == ["x"]
