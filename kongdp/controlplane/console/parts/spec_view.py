"""An OpenAPI spec as people read it.

In: the API's view of it.  Out: elements. Texts are text, or Markdown that is rendered as the portal renders it. Cold.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui

from kongdp.controlplane.console.parts.code import code
from kongdp.controlplane.console.parts.facts import tag
from kongdp.controlplane.console.parts.markup import markup
from kongdp.controlplane.markdown import render

# Without one of these a text looks the same rendered; a long one is not worth the time.
MARKS = frozenset("*_`#[>|-")
RENDERED_MAX = 4_000


def spec_view(view: Mapping[str, Any]) -> None:
    """The whole."""
    with ui.element("div").classes("actions"):
        tag(f"Version {view['version']}")
        for server in view["servers"]:
            tag(server)
    _prose(view["description"])
    for group in view["groups"]:
        with ui.element("h2"):
            ui.label(group["name"])
        _prose(group["description"])
        for operation in group["operations"]:
            _operation(operation)
    if view["is_cut"]:
        ui.label("There is more than a page can show: the file has all of it.").classes("hint")


def _prose(text: str) -> None:
    """What OpenAPI means as Markdown."""
    if not text:
        return
    if len(text) > RENDERED_MAX or not MARKS.intersection(text):
        ui.label(text).classes("pre-line")
    else:
        markup(render(text))


def _operation(operation: Mapping[str, Any]) -> None:
    with ui.element("details").classes("advanced"):
        with ui.element("summary").classes("operation"):
            ui.label(operation["method"].upper()).classes("method")
            ui.label(operation["path"]).classes("path")
            ui.label(operation["summary"]).classes("hint")
            if operation["is_deprecated"]:
                tag("deprecated")
        with ui.element("div").classes("form"):
            _prose(operation["description"])
            if operation["parameters"]:
                rows = [
                    (
                        each["name"] + (" *" if each["required"] else ""),
                        each["place"],
                        each["kind"],
                        each["description"],
                    )
                    for each in operation["parameters"]
                ]
                _table("Parameters", ("Name", "In", "Type", "Description"), rows)
            _contents("Body" + (" *" if operation["body_required"] else ""), operation["body"])
            for response in operation["responses"]:
                _response(response)


def _response(response: Mapping[str, Any]) -> None:
    with ui.element("h3"):
        ui.label(f"Response {response['status']}")
    _prose(response["description"])
    _contents("", response["contents"])


def _contents(title: str, contents: Sequence[Mapping[str, Any]]) -> None:
    for content in contents:
        name = f"{title} {content['media_type']}".strip()
        if content["rows"]:
            rows = [
                (
                    "· " * each["depth"] + each["name"] + (" *" if each["required"] else ""),
                    each["kind"],
                    each["description"],
                )
                for each in content["rows"]
            ]
            _table(f"{name} ({content['kind']})", ("Name", "Type", "Description"), rows)
        if content["example"]:
            code(content["example"], label=f"Example, {name}")


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with ui.element("h3"):
        ui.label(title)
    with ui.element("div").classes("scroll-x"), ui.element("table").classes("plain-table"):
        with ui.element("thead"), ui.element("tr"):
            for text in heads:
                with ui.element("th").props("scope=col"):
                    ui.label(text)
        with ui.element("tbody"):
            for row in rows:
                with ui.element("tr"):
                    for text in row:
                        with ui.element("td"):
                            ui.label(text)
