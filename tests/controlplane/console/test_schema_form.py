"""Forms of every schema that there is: each field is made, and what nobody touched is in no request."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from nicegui import ui

from kongdp.controlplane.api.core_entities import problem_of
from kongdp.controlplane.console.asking import Answer, RefusedError, refused
from kongdp.controlplane.console.parts.entity_form import merged
from kongdp.controlplane.console.parts.form import Form
from kongdp.controlplane.console.parts.schema_form import AUTOMATIC, SchemaForm, label_of
from kongdp.entities.schemas import SCHEMAS
from kongdp.entities.schemas.plugins import plugins_schema
from kongdp.plugins.configs import PLUGIN_SCHEMAS
from tests.support.console_page import on_a_page

KNOWN: dict[str, Any] = {**SCHEMAS, **{f"plugin {name}": schema for name, schema in PLUGIN_SCHEMAS.items()}}


PLUGINS = plugins_schema(PLUGIN_SCHEMAS)


def described(name: str) -> list[dict[str, Any]]:
    """A schema's fields as the Admin API describes them."""
    fields: list[dict[str, Any]] = json.loads(json.dumps(KNOWN[name].describe()))["fields"]
    return fields


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_an_untouched_form_asks_for_nothing(name: str) -> None:
    """Defaults are shown and not sent: the control plane sets them itself."""

    def act() -> None:
        made = SchemaForm(Form(), described(name))
        assert made.form.fields
        assert made.body() == {}

    on_a_page(act)


def test_only_what_was_typed_is_sent() -> None:
    """With the API's types, nested ones in their records."""

    def act() -> None:
        form = Form()
        made = SchemaForm(form, described("plugin rate-limiting"))
        form.fields["config.minute"].element.value = "20"
        form.fields["config.policy"].element.value = "redis"
        form.fields["config.redis.host"].element.value = "redis.test"
        form.fields["config.fault_tolerant"].element.value = False
        assert made.body() == {
            "config": {"minute": 20, "policy": "redis", "redis": {"host": "redis.test"}, "fault_tolerant": False}
        }

    on_a_page(act)


def test_an_edited_row_sends_its_changes() -> None:
    """What was emptied is taken away; lists and references are read back as they were."""
    row = {
        "id": "1",
        "name": "mockbin",
        "paths": ["/a", "/b"],
        "methods": ["GET"],
        "headers": {"x-a": ["1"]},
        "strip_path": True,
        "service": {"id": "8c2c8f3e-0d2b-4a4e-9d5b-111111111111"},
    }

    def act() -> None:
        form = Form()
        made = SchemaForm(form, described("routes"), row)
        assert made.body() == {}
        form.fields["paths"].element.value = "/a\n\n/c\n"
        form.fields["methods"].element.value = ""
        form.fields["service"].element.value = ""
        assert made.body() == {"paths": ["/a", "/c"], "methods": None, "service": None}
        form.fields["service"].element.value = "orders"
        change = made.body()
        assert change is not None
        assert change["service"] == {"name": "orders"}
        assert merged(row, change)["service"] == {"name": "orders"}

    on_a_page(act)


def test_what_cannot_be_read_is_said_at_its_field() -> None:
    """And nothing is sent."""

    def act() -> None:
        form = Form()
        made = SchemaForm(form, described("routes"))
        form.fields["regex_priority"].element.value = "many"
        form.fields["headers"].element.value = "{"
        assert made.body() is None
        assert form.fields["regex_priority"].element.error == "must be a whole number"
        assert form.fields["headers"].element.error.startswith("is no JSON")

    on_a_page(act)


def test_complaints_of_parts_are_shown_at_their_field() -> None:
    """The API names the place inside a list: all are told; what has no field stands above the buttons."""

    def act() -> None:
        form = Form()
        SchemaForm(form, described("routes"))
        form.problem()
        form.show({"paths[1]": "should start with: /", "paths[2]": "no", "headers.x-a[0]": "no", "@entity": "must set"})
        assert form.fields["paths"].element.error == "entry 2: should start with: /; entry 3: no"
        assert form.fields["headers"].element.error == "x-a, entry 1: no"
        assert shown(form.problem_element) == "must set"

    on_a_page(act)


def wrong_ones(shape: Mapping[str, Any]) -> Iterator[Any]:
    """A value of the wrong kind for what a schema describes, and for each thing inside it."""
    kind = shape["type"]
    yield "x" if kind not in ("string", "foreign") else {"x": [5]}
    if kind == "record":
        for name, inner in (pair for each in shape.get("fields", ()) for pair in each.items()):
            yield from ({name: wrong} for wrong in wrong_ones(inner))
    elif kind in ("set", "array"):
        yield from ([wrong] for wrong in wrong_ones(shape["elements"]))
    elif kind == "map":
        yield from ({"x": wrong} for wrong in wrong_ones(shape["values"]))


def refusals(name: str) -> Iterator[RefusedError]:
    """What the API says of each wrong value in turn."""
    kind = {"plugins": "key-auth", "vaults": "env"}.get(name, name.removeprefix("plugin "))
    schema = PLUGINS if name == "plugins" or name.startswith("plugin ") else KNOWN[name]
    named = {"name": kind} if schema.variants is not None and schema.variants.key == "name" else {}
    for field, shape in (pair for each in described(name) for pair in each.items()):
        for wrong in wrong_ones(shape) if field not in AUTOMATIC else ():
            found = schema.validate({**named, field: wrong})
            assert field in found, (field, wrong)
            # Not what is missing besides.
            answer = problem_of(400, {"code": 2, "message": "schema violation", "fields": {field: found[field]}})
            yield refused(Answer(400, (), bytes(answer.body)))


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_every_complaint_of_the_api_stands_at_its_field(name: str) -> None:
    """Whatever control it is (switches, too), and however deep in records, lists and maps."""

    def act() -> None:
        form = Form()
        SchemaForm(form, described(name))
        form.problem()
        for refusal in refusals(name):
            form.refused(refusal)
            assert shown(form.problem_element) is None, refusal.fields
            form.clear()

    on_a_page(act)


def shown(label: ui.label | None) -> str | None:
    """What a line says; None when it is not there."""
    return label.text if label is not None and label.visible else None


def test_a_complaint_about_a_switch_goes_with_its_change() -> None:
    """It stands beside the switch, which tells those who do not see it; so does one about a group of fields."""

    def act() -> None:
        form = Form()
        SchemaForm(form, described("plugin rate-limiting"))
        switch = form.fields["config.fault_tolerant"].element
        form.show({"config.fault_tolerant": "expected a boolean", "config.redis": "expected a record"})
        lines = [each for each in ui.context.client.elements.values() if "complaint" in each.classes and each.visible]
        assert [each.text for each in lines] == ["expected a boolean", "expected a record"]  # type: ignore[attr-defined]
        beside = switch.parent_slot.children
        assert beside[beside.index(switch) + 1] is lines[0]
        assert (switch.props["aria-invalid"], switch.props["aria-describedby"]) == ("true", lines[0].html_id)
        assert lines[1].parent_slot.parent.tag == "fieldset"
        switch.value = not switch.value
        assert [each.visible for each in lines] == [False, True]
        assert "aria-invalid" not in switch.props

    on_a_page(act)


def test_names_become_labels() -> None:
    """As people read them."""
    assert label_of("config.limit_by") == "Limit by"
    assert label_of("https_redirect_status_code") == "HTTPS redirect status code"
    assert label_of("custom_id") == "Custom ID"
