"""The OpenAPI document: complete, consistent, and no request that it describes is answered with a 500."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from starlette.routing import Route

from kongdp.adminapi.api import AdminApi
from kongdp.adminapi.context import NodeInfo
from kongdp.adminapi.memory import MemoryStore
from kongdp.entities.schemas import build_schemas
from kongdp.plugins.configs import PLUGIN_SCHEMAS
from tests.support.control_plane_api import application_of, served
from tests.support.control_plane_process import Process

METHODS = {"get", "put", "post", "delete", "patch"}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The document, as a client gets it, and (under "routes") the application's own paths with their methods."""

    async def fetch() -> dict[str, Any]:
        directory = tmp_path_factory.mktemp("document")
        async with served(directory) as api:
            app = application_of(api.plane.plane, directory)
            routes = [(route.path, set(route.methods or ())) for route in app.routes if isinstance(route, Route)]
            return {**await api.got("/v2/openapi.json"), "routes": routes}

    return asyncio.run(fetch())


def test_every_path_that_is_answered_is_in_it(document: dict[str, Any]) -> None:
    """Ours with their methods; Kong's as GET /endpoints lists them; entities below groups as well."""
    paths = document["paths"]
    for path, methods in document["routes"]:
        if path.startswith("/v2/") and path != "/v2/openapi.json" and "{path:path}" not in path:
            plain = path.replace(":path}", "}")
            assert {method.lower() for method in methods} & METHODS <= set(paths[plain]), path
    info = NodeInfo(node_id="x", version="3.9.1", plugins=PLUGIN_SCHEMAS, configuration={"role": "control_plane"})
    kong = AdminApi(MemoryStore(writable=True), build_schemas(plugins=PLUGIN_SCHEMAS), info)
    assert set(kong.paths) <= set(paths)
    below = {path for path in paths if "/core-entities/" in path}
    assert {path.partition("/core-entities")[2] for path in below} == {path for path, _address in kong.addresses()}


def test_answers_of_ours_say_what_is_in_them(document: dict[str, Any]) -> None:
    """A generated client gets types, not "an object"."""
    vague = []
    for path, item in document["paths"].items():
        if not path.startswith("/v2/") or "/core-entities/" in path:
            continue
        for method, operation in item.items():
            if method not in METHODS:
                continue
            for status, response in operation["responses"].items():
                schema = response.get("content", {}).get("application/json", {}).get("schema")
                if status.startswith("2") and schema is not None and not says_something(schema):
                    vague.append(f"{method} {path}")
    assert not vague, "\n".join(vague)


def says_something(schema: dict[str, Any]) -> bool:
    """Whether a schema names fields, or a type that has none."""
    if schema.get("type", "object") == "array":
        return says_something(schema["items"])
    return "$ref" in schema or "properties" in schema or schema.get("type") not in (None, "object")


def test_its_references_lead_somewhere_and_its_names_are_told_apart(document: dict[str, Any]) -> None:
    """What a generator of clients needs."""
    for reference in references(document["paths"]) | references(document["components"]):
        found: Any = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
    names = [
        operation["operationId"]
        for item in document["paths"].values()
        for method, operation in item.items()
        if method in METHODS
    ]
    assert len(names) == len(set(names)) > 400


def references(value: Any) -> set[str]:
    if isinstance(value, list):
        return {found for item in value for found in references(item)}
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own | {found for item in value.values() for found in references(item)}
    return set()


def test_fields_are_described_as_they_are_judged(document: dict[str, Any]) -> None:
    """Types, bounds, words, defaults and shorthands come from the schemas."""
    given = document["components"]["schemas"]["new-services"]["properties"]
    assert given["port"] == {"type": "integer", "minimum": 0, "maximum": 65535, "default": 80}
    assert "https" in given["protocol"]["enum"]
    assert given["url"]["type"] == ["string", "null"]
    assert given["client_certificate"]["properties"]["id"] == {"type": "string", "format": "uuid"}
    shown = document["components"]["schemas"]["services"]
    assert "url" not in shown["properties"]
    assert {"id", "host", "created_at", "tags"} <= set(shown["required"])
    by_name = document["components"]["schemas"]["new-plugins"]["oneOf"]
    assert {each["properties"]["name"]["const"] for each in by_name} == set(PLUGIN_SCHEMAS)
    assert "minute" in document["components"]["schemas"]["plugin-config-rate-limiting"]["properties"]


@pytest.fixture
def process(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Process]:
    """A control plane over a fresh database."""
    environment = {}
    if kind == "postgresql":
        environment["KONGDP_DATABASE_URL"] = request.getfixturevalue("postgres").create_migrated()
    process = Process(tmp_path, **environment)
    yield process.until_ready()
    process.kill()


@pytest.mark.system
def test_no_generated_request_is_answered_with_a_500(process: Process) -> None:
    """Some operations, some requests each, the same in every run."""
    hunt(process, share=0.05, count=1, number=1)


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_no_generated_request_of_many_is_answered_with_a_500(process: Process) -> None:
    """All operations."""
    hunt(process, share=1.0, count=15, number=2)


def hunt(process: Process, *, share: float, count: int, number: int) -> None:
    from tests.support.generated_requests import Target, failures, operations

    target = Target(process.admin)
    target.plant()
    random = Random(number)
    asked = [operation for operation in operations(process.admin) if random.random() < share]
    assert len(asked) > 15
    found = []
    for operation in asked:
        found.extend(failures(target, operation, count, number))
        if operation.method.upper() == "DELETE":
            target.plant()
    assert found == [], "\n\n".join(found)
