"""A service's overview: what it is, its versions, its traffic. Cold. Source: walkthrough, section 3."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from nicegui import ui

from kongdp.controlplane.access import DEFAULT
from kongdp.controlplane.console import layout
from kongdp.controlplane.console.asking import at, maybe
from kongdp.controlplane.console.parts import states
from kongdp.controlplane.console.parts.buttons import main_button, menu_button, quiet_button
from kongdp.controlplane.console.parts.dialogs import confirm, dialog, open_asked
from kongdp.controlplane.console.parts.facts import facts, moment, number, tag, tile
from kongdp.controlplane.console.parts.form import Form
from kongdp.controlplane.console.parts.inline import InlineText
from kongdp.controlplane.console.parts.labels import HINT, label_lines, read_labels
from kongdp.controlplane.console.parts.markup import markup
from kongdp.controlplane.console.parts.status_codes import Shown, StatusCodes
from kongdp.controlplane.console.parts.upload import upload_button
from kongdp.controlplane.console.visit import Visit, leave, reload, screen

HUB = ("Service Hub", "/services")
UNPUBLISHED = "Keys of applications stay good. Publishing it again brings the page back."


@screen("/services/{service}", title="Service", menu="services")
async def overview(
    visit: Visit,
    service: str,
    frame: str = "",
    start: str = "",
    end: str = "",
    view: str = "",
    zone: str = "",
    by: str = "",
    dialog: str = "",
) -> None:
    """The page."""
    found = await visit.ask.get(at("/v2/catalogue/services/{}", service))
    versions = await versions_of(visit, found["id"])
    if visit.may("editor"):
        actions = layout.heading(
            visit,
            found["name"],
            crumbs=[HUB],
            about=found["description"],
            show_title=lambda text: InlineText(text, "name", lambda typed: _save(visit, found, name=typed), tag="h1"),
            show_about=lambda text: InlineText(
                text,
                "description",
                lambda typed: _save(visit, found, description=typed),
                shown="No description",
                is_long=True,
            ),
        )
        with actions:
            quiet_button("Edit", lambda: edit_service(visit, found), icon="edit")
            publishing = "Unpublish from Portal" if found["published"] else "Publish to Portal"
            menu_button(
                "Actions",
                [
                    (publishing, lambda: publish(visit, found)),
                    ("Add New Version", lambda: new_version(visit, found)),
                    ("Delete Service", lambda: delete_service(visit, found, versions)),
                ],
            )
    else:
        layout.heading(visit, found["name"], crumbs=[HUB], about=found["description"] or "No description")
    follow = await _tiles(visit, found, versions)
    await _facts(visit, found)
    _versions(visit, found, versions)
    await _document(visit, found)
    path = at("/v2/catalogue/services/{}/status-codes", found["id"])
    shown, counted = Shown(frame, start, end, view, zone, by), "matches a route of one of the versions"
    names = version_names(versions)
    await StatusCodes(visit, path, shown, title="Traffic", counted=counted, also=follow, versions=names).show()
    if visit.may("editor"):
        offered = {"edit": lambda: edit_service(visit, found), "version": lambda: new_version(visit, found)}
        await open_asked(dialog, offered)


async def _save(visit: Visit, service: Mapping[str, Any], **change: str) -> None:
    """What was edited in place."""
    path = at("/v2/catalogue/services/{}", service["id"])
    await visit.ask.patch(path, change, if_match=f'"{service["edition"]}"')
    reload()


async def versions_of(visit: Visit, service_id: str) -> list[dict[str, Any]]:
    """A service's versions, oldest first."""
    found: list[dict[str, Any]] = (await visit.ask.get(at("/v2/catalogue/services/{}/versions", service_id)))["items"]
    return found


def version_names(versions: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Names by id. Versions in different groups may have the same: the id tells them apart then."""
    count = Counter(version["name"] for version in versions)
    return {
        version["id"]: version["name"] if count[version["name"]] == 1 else f"{version['name']} ({version['id'][:8]})"
        for version in versions
    }


def mean_latency(record: Mapping[str, Any]) -> str:
    """How long a request took from end to end, on average."""
    mean = record["latency_ms_mean"]
    return "–" if mean is None else f"{mean:,.0f} ms" if mean >= 10 else f"{mean:.1f} ms"


async def _tiles(
    visit: Visit, service: Mapping[str, Any], versions: Sequence[Mapping[str, Any]]
) -> Callable[[], Awaitable[None]]:
    """The figures; what it returns reads them again."""
    path = at("/v2/catalogue/services/{}/status-codes", service["id"])

    def figures(record: Mapping[str, Any]) -> tuple[str, ...]:
        return number(record["total"]), mean_latency(record), number(sum(record["ever"].values()))

    names = ("Request Count (24 hours)", "Avg. Latency (24 hours)", "Requests ever")
    texts = figures(await visit.ask.get(path, frame="24h"))
    with ui.element("div").classes("tiles"):
        shown = [tile(name, text) for name, text in zip(names, texts, strict=True)]
        tile("Versions", number(len(versions)))

    async def read() -> None:
        record = await visit.ask.unattended().get(path, frame="24h")
        for label, text in zip(shown, figures(record), strict=True):
            label.text = text

    return read


async def _facts(visit: Visit, service: Mapping[str, Any]) -> None:
    proxy_url = (await visit.ask.get("/v2/portal/settings"))["proxy_url"]
    with layout.card("Facts"):
        portal = "Published" if service["published"] else "Not published"
        times = [("Created", moment(service["created_at"])), ("Modified", moment(service["updated_at"]))]
        facts([("Proxy URL", proxy_url), ("Dev Portal", portal), *times], copied=("Proxy URL",))
        if service["labels"]:
            with ui.element("div").classes("actions").style("margin-top:12px"):
                for key, value in service["labels"].items():
                    tag(f"{key}: {value}")


def _versions(visit: Visit, service: Mapping[str, Any], versions: Sequence[Mapping[str, Any]]) -> None:
    with layout.card("Versions"):
        with layout.section("Versions"):
            if visit.may("editor") and versions:
                quiet_button("New Version", lambda: new_version(visit, service), icon="add")
        if not versions:
            states.empty(
                "No versions yet",
                "A version is what runs: it belongs to one runtime group and gets an implementation.",
                icon="layers",
                action="New Version" if visit.may("editor") else "",
                on_click=lambda: new_version(visit, service),
            )
            return
        with ui.element("table").classes("plain-table"):
            with ui.element("thead"), ui.element("tr"):
                for text in ("Version", "Created", "Modified"):
                    with ui.element("th").props("scope=col"):
                        ui.label(text)
            with ui.element("tbody"):
                for version in versions:
                    _version_row(service, version)


async def _document(visit: Visit, service: Mapping[str, Any]) -> None:
    """Section **Service Document**: one Markdown file, shown as the portal shows it."""
    path = at("/v2/catalogue/services/{}/document", service["id"])
    found = await maybe(visit.ask.get(path))
    may_edit = visit.may("editor")

    async def upload(name: str, content: str) -> None:
        await visit.ask.put(path, {"name": name, "content": content})
        reload()

    async def delete() -> None:
        await visit.ask.delete(path)
        reload()

    with layout.card("Service Document"):
        with layout.section("Service Document"):
            if may_edit:
                text = "Upload Document" if found is None else "Replace"
                upload_button(text, ".md,.markdown", upload, is_main=found is None)
                if found is not None:
                    goes = [f"the document {found['name']}"]
                    quiet_button("Delete", lambda: confirm("Delete document", delete, goes=goes), icon="delete")
        if found is None:
            ui.label("A Markdown file (.md) that introduces the service, here and in the Dev Portal.").classes("hint")
        else:
            ui.label(found["name"]).classes("hint")
            markup(found["html"])


async def publish(visit: Visit, service: Mapping[str, Any]) -> None:
    """**Publish to Portal**, or **Unpublish from Portal**: description, document, and the specs of all versions."""
    path = at("/v2/catalogue/services/{}/publication", service["id"])
    if not service["published"]:
        await visit.ask.put(path)
        reload()
        return

    async def unpublish() -> None:
        await visit.ask.delete(path)
        reload()

    goes = [f"the page of {service['name']} in the Dev Portal, with its document and specs"]
    confirm("Unpublish from Portal", unpublish, goes=goes, stays=UNPUBLISHED, action="Unpublish")


def _version_row(service: Mapping[str, Any], version: Mapping[str, Any]) -> None:
    with ui.element("tr"):
        with ui.element("td"), layout.link(version_address(service["id"], version["id"])):
            ui.label(version["name"])
        for at_s in (version["created_at"], version["updated_at"]):
            with ui.element("td"):
                ui.label(moment(at_s))


def version_address(service_id: str, version_id: str) -> str:
    """Where a version is shown."""
    return at("/services/{}/versions/{}", service_id, version_id)


def edit_service(visit: Visit, service: Mapping[str, Any]) -> None:
    """Name, description and labels."""
    form = Form()
    with dialog("Edit service", key="edit") as shown:
        with ui.element("div").classes("form"):
            form.text("name", "Display name", service["name"], is_required=True)
            form.text("description", "Description", service["description"], is_long=True)
            labels = ui.textarea("Labels", value=label_lines(service["labels"])).props("outlined dense autogrow")
            labels.props["hint"] = HINT
            form.custom("labels", labels, read_labels)
            form.problem()

        async def save() -> None:
            values = form.values()
            path = at("/v2/catalogue/services/{}", service["id"])
            seen = f'"{service["edition"]}"'
            if values is not None and await form.submit(lambda: visit.ask.patch(path, values, if_match=seen)):
                reload()

        with ui.element("div").classes("dialog-actions"):
            quiet_button("Cancel", shown.close)
            main_button("Save", save)


async def new_version(visit: Visit, service: Mapping[str, Any]) -> None:
    """The dialog **New Version**: a name, and the runtime group, where it stays."""
    groups = (await visit.ask.get("/v2/control-planes", page_size=1000))["items"]
    form = Form()
    with dialog("New Version", key="version") as shown:
        with ui.element("div").classes("form"):
            form.text("name", "Version Name", hint="Any text, such as v.1", is_required=True)
            choices = {group["id"]: group["name"] for group in groups}
            default = next((group["id"] for group in groups if group["name"] == DEFAULT), None)
            form.choice("group", "Runtime group", choices, default, hint="Cannot be changed later")
            form.problem()

        async def create() -> None:
            values = form.values()
            if values is None:
                return
            made: dict[str, Any] = {}

            async def call() -> None:
                made.update(await visit.ask.post(at("/v2/catalogue/services/{}/versions", service["id"]), values))

            if await form.submit(call):
                leave(version_address(service["id"], made["id"]))

        with ui.element("div").classes("dialog-actions"):
            quiet_button("Cancel", shown.close)
            main_button("Create", create)


def delete_service(visit: Visit, service: Mapping[str, Any], versions: Sequence[Mapping[str, Any]]) -> None:
    """Asks, naming everything that goes."""

    async def delete() -> None:
        await visit.ask.delete(at("/v2/catalogue/services/{}", service["id"]))
        ui.navigate.to(HUB[1])

    goes = [f"the service {service['name']}"]
    goes += [f"its version {each['name']}, with implementation, routes and plugins" for each in versions]
    confirm("Delete Service", delete, goes=goes, stays="What was counted stays in the record of its runtime group.")
