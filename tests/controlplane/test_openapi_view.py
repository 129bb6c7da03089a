"""A spec as people read it, and the routes it would have."""

import json
from typing import Any

import pytest

from kongdp.controlplane import openapi_view
from kongdp.controlplane.openapi_routes import ROUTES_MAX, path_pattern, propose
from kongdp.controlplane.openapi_view import Operation, SpecView, view
from kongdp.entities.regex import regex_problem
from kongdp.routing.pattern import Regex
from tests.support.openapi import openapi, swagger


def operation(seen: SpecView, method: str, path: str) -> Operation:
    (found,) = [
        each for group in seen.groups for each in group.operations if (each.method, each.path) == (method, path)
    ]
    return found


@pytest.mark.parametrize("version", ["3.0.3", "3.1.0"])
def test_a_view_has_what_a_page_shows(version: str) -> None:
    """Title, servers with their variables, groups by tag in the document's order, operations with all their parts."""
    seen = view(openapi(version))
    assert (seen.title, seen.version, seen.description) == ("Pet shop", "1.0", "Sells **pets**")
    assert seen.servers == ("https://eu.pets.example/v1",)
    assert [(group.name, group.description) for group in seen.groups] == [
        ("pets", "All about pets"),
        ("Operations", ""),
    ]
    listed = operation(seen, "GET", "/pets")
    assert (listed.operation_id, listed.summary) == ("listPets", "All pets")
    (limit,) = listed.parameters
    assert (limit.name, limit.place, limit.kind, limit.required) == ("limit", "query", "integer", False)
    (content,) = listed.responses[0].contents
    assert content.kind == "array of object"
    assert json.loads(content.example)[0]["name"] == "Rex"
    one = operation(seen, "GET", "/pets/{pet-id}")
    assert (one.is_deprecated, one.parameters[0].place, one.responses[0].status) == (True, "path", "default")
    assert not seen.is_cut


def test_a_body_shows_the_properties_of_its_schema() -> None:
    """Nested ones deeper, a schema that contains itself once."""
    created = operation(view(openapi()), "POST", "/pets")
    assert created.body_required
    rows = [(row.depth, row.name, row.kind, row.required) for row in created.body[0].rows]
    assert rows == [
        (0, "name", "string", True),
        (0, "owner", "object", False),
        (1, "email", "string (email)", False),
        (0, "friends", "array of object", False),
    ]


def test_swagger_bodies_and_forms_look_the_same() -> None:
    """Parameters "in body" and "in formData" are a body."""
    seen = view(swagger())
    assert seen.servers == ("https://pets.example/v1",)
    created = operation(seen, "POST", "/pets")
    assert [row.name for row in created.body[0].rows] == ["name"]
    assert created.responses[0].contents[0].kind == "object"
    form = operation(seen, "POST", "/form")
    assert (form.body[0].media_type, form.body[0].rows[0].required) == ("application/x-www-form-urlencoded", True)


def test_schemas_that_stand_for_endlessly_many_are_cut() -> None:
    """Three to the fortieth properties cost no more than a page."""
    schemas: dict[str, Any] = {"S40": {"type": "object", "properties": {"x": {"type": "string"}}}}
    for number in range(40):
        schemas[f"S{number}"] = {"allOf": [{"$ref": f"#/components/schemas/S{number + 1}"}] * 3}
    schemas["Pet"] = schemas["S0"]
    seen = view(openapi(components={"schemas": schemas}))
    rows = operation(seen, "POST", "/pets").body[0].rows
    assert len(rows) <= openapi_view.SCHEMA_ROWS_MAX


def test_a_schema_shows_so_many_rows_and_says_that_there_are_more() -> None:
    """The bound is at the last row that is shown."""
    limit = openapi_view.SCHEMA_ROWS_MAX
    for count, is_cut in ((limit, False), (limit + 1, True)):
        pet = {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(count)}}
        seen = view(openapi(components={"schemas": {"Pet": pet}}))
        assert (len(operation(seen, "POST", "/pets").body[0].rows), seen.is_cut) == (limit, is_cut)


@pytest.mark.parametrize(
    "odd",
    [
        {"paths": {"/a": {"get": {"parameters": [3, {"$ref": "#/x"}], "responses": {"200": None}, "tags": "x"}}}},
        {"paths": {"/a": {"post": {"requestBody": {"content": {"a/json": None}}, "responses": []}}}},
        {"paths": None, "tags": [3], "servers": [None, {"url": 3}]},
        {"paths": {"/a": {"get": {"parameters": [{"content": {}}], "responses": {"1": {"content": {"json": {
            "schema": {"type": ["null"], "enum": [None, 1], "items": True, "properties": []}}}}}}}}},
    ],
)  # fmt: skip
def test_odd_documents_are_shown_as_far_as_they_make_sense(odd: dict[str, Any]) -> None:
    """A view trusts nothing that the judging does not look at."""
    assert view(openapi(**odd)).title == "Pet shop"


@pytest.mark.parametrize(
    ("path", "pattern", "matches", "misses"),
    [
        ("/pets", "~/pets$", "/pets", "/pets/1"),
        ("/pets/{id}", "~/pets/(?<id>[^#?/]+)$", "/pets/1", "/pets/1/2"),
        ("/a.b/{x-y}/{1}", "~/a\\.b/(?<x_y>[^#?/]+)/(?<_1>[^#?/]+)$", "/a.b/1/2", "/acb/1/2"),
        ("/a/{x}/{x}", "~/a/(?<x>[^#?/]+)/(?<x_2>[^#?/]+)$", "/a/1/2", "/a/1"),
        ("/a-b(c)", "~/a-b\\(c\\)$", "/a-b(c)", "/a-bc"),
        ("/r/{}.json", "~/r/(?<value>[^#?/]+)\\.json$", "/r/x.json", "/r/xjson"),
    ],
)
def test_a_path_becomes_an_expression_that_the_router_takes(path: str, pattern: str, matches: str, misses: str) -> None:
    """Variables become named groups, everything else stands for itself."""
    assert path_pattern(path) == pattern
    assert regex_problem(pattern[1:]) is None
    compiled = Regex(pattern[1:], as_pcre=True, path=True)
    assert compiled.search(matches.encode())
    assert not compiled.search(misses.encode())


def test_routes_are_named_after_operations() -> None:
    """By operationId, else by method and path; no two alike; plain paths before those with variables."""
    proposed = propose(openapi(), "shop-v.1")
    assert [(route.fields["name"], route.fields["regex_priority"]) for route in proposed] == [
        ("shop-v.1-listPets", 200),
        ("shop-v.1-createPet", 200),
        ("shop-v.1-get-pets-pet-id", 100),
    ]
    twice = {f"/{name}": {"get": {"responses": {}, "operationId": f"a{name}b"}} for name in ("/", " ", "//")}
    names = [route.fields["name"] for route in propose(openapi(paths=twice), "p")]
    assert names == ["p-a-b", "p-a-b_2", "p-a-b_3"]


def test_so_many_routes_are_offered_at_most() -> None:
    """A spec cannot fill the group."""
    paths = {f"/{number}": {"get": {"responses": {}}} for number in range(ROUTES_MAX + 1)}
    assert len(propose(openapi(paths=paths), "p")) == ROUTES_MAX
