"""Forms of every schema that there is: each field is made, and what nobody touched is in no request."""

import json
from typing import Any

import pytest

from kongdp.controlplane.console.parts.form import Form
from kongdp.controlplane.console.parts.schema_form import SchemaForm, label_of
from kongdp.entities.schemas import SCHEMAS
from kongdp.plugins.configs import PLUGIN_SCHEMAS
from tests.support.console_page import on_a_page

KNOWN: dict[str, Any] = {**SCHEMAS, **{f"plugin {name}": schema for name, schema in PLUGIN_SCHEMAS.items()}}


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
    """The API names the place inside a list; what has no field stands above the buttons."""

    def act() -> None:
        form = Form()
        SchemaForm(form, described("routes"))
        form.problem()
        form.show({"paths[1]": "should start with: /", "@entity": "must set one of"})
        assert form.fields["paths"].element.error == "should start with: /"

    on_a_page(act)


def test_names_become_labels() -> None:
    """As people read them."""
    assert label_of("config.limit_by") == "Limit by"
