"""The dialogs that make, change and delete a Gateway entity, with fields from its schema.

In: a kind, a group, and the row or the parent.  Out: one call of the API; what it complains about is at its field.
House rule: a changed entity is sent back whole (the API has no PATCH here), with what was seen as its condition. Cold.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nicegui import ui

from kongdp.controlplane.console.asking import Asking, at
from kongdp.controlplane.console.parts.buttons import OnClick, main_button, quiet_button
from kongdp.controlplane.console.parts.code import code
from kongdp.controlplane.console.parts.dialogs import confirm, dialog
from kongdp.controlplane.console.parts.form import Form
from kongdp.controlplane.console.parts.kinds import KINDS, Entity, Kind, is_secret, name_of
from kongdp.controlplane.console.parts.schema_form import AUTOMATIC, SchemaForm

Done = Callable[[], Awaitable[None]]
SCOPES = ("service", "route", "consumer")


@dataclass(frozen=True, slots=True)
class Place:
    """Where entities are: a group, and the entity they are below, if they are below one."""

    ask: Asking
    group_id: str
    parent: Kind | None = None
    parent_row: Entity | None = None

    def path(self, kind: Kind, row: Entity | None = None) -> str:
        """The API's address of a list, or of one entity."""
        path = at("/v2/control-planes/{}/core-entities", self.group_id)
        if self.parent is not None and self.parent_row is not None and row is None:
            path += at("/{}/{}", self.parent.path, self.parent_row["id"])
        elif row is not None and not kind.has_page and self.parent is not None and self.parent_row is not None:
            # Credentials and targets are addressed below what they belong to.
            path += at("/{}/{}", self.parent.path, self.parent_row["id"])
        return path + at("/{}", kind.path) + (at("/{}", row["id"]) if row is not None else "")

    @property
    def scope(self) -> str:
        """The field of a child that names the parent, such as "service"."""
        return "" if self.parent is None else self.parent.path.removesuffix("s")

    async def schema(self, kind: Kind, plugin: str = "") -> list[Mapping[str, Any]]:
        """The fields of a kind; those of a plugin's config in place of the general one."""
        path = at("/v2/control-planes/{}/core-entities/schemas/{}", self.group_id, kind.schema)
        fields: list[Mapping[str, Any]] = (await self.ask.get(path))["fields"]
        if not plugin:
            return fields
        path = at("/v2/control-planes/{}/core-entities/schemas/plugins/{}", self.group_id, plugin)
        own = {name: shape for each in (await self.ask.get(path))["fields"] for name, shape in each.items()}
        return [each for each in fields if "config" not in each] + [{"config": own["config"]}]


async def create(place: Place, kind: Kind, done: Done, *, key: str = "") -> None:
    """Make one; for a plugin its name is chosen first. `key`: as of a dialog."""
    if kind.path == "plugins":
        await _choose_plugin(place, kind, done, key)
    else:
        await _edit(place, kind, None, done, key=key)


async def change(place: Place, kind: Kind, row: Entity, done: Done, *, key: str = "") -> None:
    """Change one."""
    await _edit(place, kind, row, done, plugin=row["name"] if kind.path == "plugins" else "", key=key)


async def _choose_plugin(place: Place, kind: Kind, done: Done, key: str) -> None:
    path = at("/v2/control-planes/{}/core-entities/plugins/enabled", place.group_id)
    names = (await place.ask.get(path))["enabled_plugins"]
    client = ui.context.client
    with dialog("Add plugin", key=key) as shown:
        form = Form()
        with ui.element("div").classes("form"):
            form.choice("name", "Plugin *", names, names[0] if names else None)
            form.problem()

        async def go_on() -> None:
            # Beside this dialog and not in it: what is in it goes when it closes.
            with client:
                await _edit(place, kind, None, done, plugin=form.value("name"))
            shown.close()

        with ui.element("div").classes("dialog-actions"):
            quiet_button("Cancel", shown.close)
            main_button("Next", go_on)


async def _edit(place: Place, kind: Kind, row: Entity | None, done: Done, *, plugin: str = "", key: str = "") -> None:
    schema = await place.schema(kind, plugin)
    held: dict[str, Any] | None = None
    etag: str | None = None
    if row is not None:
        held, etag = await _seen(place, kind, row)
    what = f"{plugin} plugin" if plugin else kind.one
    with dialog(f"Edit {what}" if row is not None else f"New {what}", is_wide=True, key=key) as shown:
        form = Form()
        skip = {name for name in ("name",) if plugin} | ({place.scope} if place.parent is not None else set())
        with ui.element("div").classes("form") as fields:
            stored = {name: text for name, text in kind.write_only.items() if is_secret((held or {}).get(name))}
            made = SchemaForm(form, schema, held, skip=skip, stored=stored)
            form.problem()

        async def save() -> None:
            body = made.body()
            if body is None:
                return
            if plugin:
                body["name"] = plugin
            sent: dict[str, Any] = {}

            async def send() -> None:
                sent.update(await _send(place, kind, held, body, etag))

            if not await form.submit(send):
                return
            await done()
            if held is None and sent.get(kind.secret):
                _show_once(fields, buttons, kind, sent[kind.secret], shown.close)
            else:
                shown.close()

        with ui.element("div").classes("dialog-actions") as buttons:
            quiet_button("Cancel", shown.close)
            main_button("Save" if row is not None else "Create", save)


async def _seen(place: Place, kind: Kind, row: Entity) -> tuple[dict[str, Any], str | None]:
    """An entity as it is now, and its ETag."""
    answer = await place.ask.answer("GET", place.path(kind, row))
    return answer.json(), answer.field(b"etag") or None


async def _send(place: Place, kind: Kind, held: Entity | None, body: dict[str, Any], etag: str | None) -> Any:
    """What the API answers: the entity as it is now."""
    if held is None:
        return await place.ask.post(place.path(kind), body)
    return await place.ask.put(place.path(kind, held), merged(held, body), if_match=etag)


def _show_once(fields: ui.element, buttons: ui.element, kind: Kind, secret: str, close: OnClick) -> None:
    """A secret in place of the form that made it."""
    fields.clear()
    with fields:
        ui.label("Copy it now: it is not shown again.").props('role="status"')
        code(secret, label=f"The {kind.one}'s {kind.secret}")
    buttons.clear()
    with buttons:
        main_button("Done", close)


def merged(row: Entity, change: Entity) -> dict[str, Any]:
    """A row with changes in it, as it can be sent back: without what the control plane sets itself.

    Records are merged; a reference ({"id": ...}) is replaced, since the new one may be a name.
    """
    whole = {name: value for name, value in row.items() if name not in AUTOMATIC}
    for name, value in change.items():
        before = whole.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping) and set(before) != {"id"}:
            whole[name] = merged(before, value)
        else:
            whole[name] = value
    return whole


async def delete(place: Place, kind: Kind, row: Entity, done: Done) -> None:
    """Ask, naming what goes with it."""
    goes = [f"the {kind.one} {name_of(row)}"]
    own = Place(place.ask, place.group_id, kind, row)
    for path in kind.children:
        child = KINDS[path]
        count = (await place.ask.get(own.path(child), **{"page.size": 1}))["page"]["total_count"]
        if count:
            goes.append(f"{count} {child.one if count == 1 else child.title.lower()} below it")

    async def run() -> None:
        await place.ask.delete(place.path(kind, row))
        await done()

    confirm(f"Delete {kind.one}", run, goes=goes)
