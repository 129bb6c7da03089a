"""OpenAPI documents are taken in three dialects; what is wrong is named; no document costs more than its size."""

from typing import Any

import pytest
import yaml

from kongdp.controlplane import openapi_text
from kongdp.controlplane.openapi_text import OpenApiError, read
from tests.support.openapi import as_json, openapi, swagger


def refused(document: dict[str, Any] | str) -> list[str]:
    """Why a document is not taken."""
    with pytest.raises(OpenApiError) as caught:
        read(document if isinstance(document, str) else as_json(document))
    return caught.value.reasons


@pytest.mark.parametrize(
    ("document", "dialect"),
    [
        (openapi("3.0.0"), "OpenAPI 3.0"),
        (openapi("3.0.4"), "OpenAPI 3.0"),
        (openapi("3.1.1"), "OpenAPI 3.1"),
        (swagger(), "Swagger 2.0"),
    ],
)
def test_three_dialects_are_taken_as_json_and_as_yaml(document: dict[str, Any], dialect: str) -> None:
    """The same document, the same value; title and dialect are what it says of itself."""
    for text in (as_json(document), yaml.safe_dump(document)):
        found = read(text)
        assert (found.dialect, found.title, found.value) == (dialect, "Pet shop", document)


def test_yaml_keys_and_dates_stay_text() -> None:
    """Status codes without quotes and a version that looks like a date, as people write them."""
    text = "openapi: 3.0.3\ninfo: {title: x, version: 2020-01-01}\npaths:\n  /a:\n    get:\n      responses:\n"
    assert read(text + "        200: {description: ok}\n").value["info"]["version"] == "2020-01-01"


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("", "expected an object"),
        ("[]", "expected an object"),
        ("{", "unexpected"),
        ("a: [", "at line"),
        ("a: !!python/object/apply:os.system [x]", "tag"),
        ({"info": {}}, 'neither "openapi" nor "swagger"'),
        (openapi("4.0.0"), "its version is 4.0.0"),
        (openapi("3.0"), "its version is 3.0"),
        ({**openapi(), "openapi": 3}, "its version is 3"),
        (openapi(info={"title": "x"}), "/info: 'version' is a required property"),
        (openapi(info={"title": 3, "version": "1"}), "/info/title: 3 is not of type 'string'"),
        (openapi(paths=[]), "/paths: [] is not of type 'object'"),
        (openapi(paths={"/a/{id}": {"get": {"responses": {"200": {"description": "x"}}}}}), "Path parameter 'id'"),
        (openapi("3.1.0", components={"schemas": {"Pet": {"type": 3}}}), "/components/schemas/Pet/type: 3"),
        (openapi("3.0.0", components={"schemas": {"Pet": {"type": 3}}}), "/components/schemas/Pet"),
        (openapi(info={"title": "a\0b", "version": "1"}), "NUL"),
        (openapi(info={"title": "\ud800", "version": "1"}), "surrogate"),
    ],
)
def test_what_is_wrong_is_named(document: dict[str, Any] | str, reason: str) -> None:
    """The reason says where and what."""
    assert reason in "\n".join(refused(document))


@pytest.mark.parametrize("reference", ["http://127.0.0.1:1/x", "file:///etc/passwd", "other.json#/a", "//host/x"])
def test_references_to_other_documents_are_refused_and_never_followed(reference: str) -> None:
    """Neither a fetch on the control plane's behalf nor a look into its files."""
    (reason,) = refused(openapi(paths={"/a": {"$ref": reference}}, components={}))
    assert "only references within the document" in reason


@pytest.mark.parametrize("reference", ["#/components/schemas/None", "#/paths/~1pets/get/parameters/7", "#x", "#/"])
def test_references_must_lead_somewhere(reference: str) -> None:
    """A broken reference is named with its place."""
    reasons = refused(openapi(components={"schemas": {"Pet": {"type": "object"}, "A": {"$ref": reference}}}))
    assert reasons == [f"/components/schemas/A: $ref {reference!r} leads nowhere"]


def test_references_that_go_in_circles_end() -> None:
    """A pure circle leads nowhere; schemas that contain each other are ordinary."""
    schemas: dict[str, Any] = {"Pet": {"type": "object"}, "A": {"$ref": "#/components/schemas/A"}}
    assert "leads nowhere" in refused(openapi(components={"schemas": schemas}))[0]
    schemas["A"] = {"allOf": [{"$ref": "#/components/schemas/B"}]}
    schemas["B"] = {"allOf": [{"$ref": "#/components/schemas/A"}]}
    assert read(as_json(openapi(components={"schemas": schemas})))


@pytest.mark.parametrize("version", ["3.0.3", "3.1.0"])
def test_references_that_double_at_each_step_are_not_followed(version: str) -> None:
    """Forty schemas that stand for 3**40: taken, at the cost of forty."""
    schemas: dict[str, Any] = {"Pet": {"type": "object"}, "S40": {"type": "object"}}
    for number in range(40):
        schemas[f"S{number}"] = {"allOf": [{"$ref": f"#/components/schemas/S{number + 1}"}] * 3}
    assert read(as_json(openapi(version, components={"schemas": schemas})))


@pytest.mark.parametrize("version", ["2.0", "3.0.3", "3.1.0"])
def test_regular_expressions_of_a_document_are_not_run(version: str) -> None:
    """A pattern that would take for ever on its own default."""
    evil = {"type": "string", "pattern": "^(a+)+$", "default": "a" * 60 + "!"}
    document = openapi(version, components={"schemas": {"Pet": evil}})
    if version == "2.0":
        document = swagger()
        document["definitions"]["Pet"] = evil
        document["paths"]["/form"]["post"]["parameters"][0] |= evil
    assert read(as_json(document))


def test_aliases_count_as_often_as_they_are_used() -> None:
    """Nine lines of YAML that stand for a billion values; and one that contains itself."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    assert "values" in refused("\n".join(lines))[0]
    few = "\n".join(lines[:5])
    assert refused(few) == [f"it has more than {openapi_text.VALUES_MAX} values"]
    assert "alias" in refused("a: &a [*a]")[0]


def test_the_bounds_hold_at_the_bound() -> None:
    """Size, depth and number of values: the last that is taken, the first that is not."""
    text = as_json(openapi())
    assert read(text, len(text))
    with pytest.raises(OpenApiError, match=f"more than {len(text) - 1} bytes"):
        read(text, len(text) - 1)
    for depth, fits in ((openapi_text.DEPTH_MAX - 2, True), (openapi_text.DEPTH_MAX - 1, False)):
        value = "1"
        for _level in range(depth):
            value = f"[{value}]"
        document = f'{{"x": {value}}}'
        if fits:
            assert openapi_text.parse(document)
        else:
            with pytest.raises(OpenApiError, match="nested more than"):
                openapi_text.parse(document)
    assert openapi_text.parse(f'{{"x": [{",".join("1" * (openapi_text.VALUES_MAX - 2))}]}}')
    with pytest.raises(OpenApiError, match="values"):
        openapi_text.parse(f'{{"x": [{",".join("1" * (openapi_text.VALUES_MAX - 1))}]}}')
    assert "depth" in refused("[" * 100_000)[0]


def test_judging_keeps_no_document() -> None:
    """The library's own entry point has a cache without bound; ours does not go through it."""
    import gc

    from openapi_spec_validator import OpenAPIV30SpecValidator

    for _time in range(3):
        read(as_json(openapi()))
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, OpenAPIV30SpecValidator)]


def test_a_faster_validator_that_is_installed_is_left_alone() -> None:
    """Its errors are of another kind, which would make an internal error of every document that is wrong."""
    from openapi_spec_validator.schemas.backend import get_validator_backend

    assert get_validator_backend() == "jsonschema"
    with pytest.raises(OpenApiError) as caught:
        read("openapi: 3.0.3")
    assert any("info" in reason for reason in caught.value.reasons)
