"""The dialog **Create Implementation** in two steps, and the forms that edit what it made.

In: a version.  Out: one call of the catalogue: Gateway service and route are made together or not at all. Cold.
Source: walkthrough, section 6.
"""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from kongdp.controlplane.console.asking import RefusedError, at
from kongdp.controlplane.console.parts.buttons import icon_button, main_button, quiet_button
from kongdp.controlplane.console.parts.dialogs import dialog
from kongdp.controlplane.console.parts.form import Form, split_lines
from kongdp.controlplane.console.parts.kinds import endpoint
from kongdp.controlplane.console.visit import Visit, reload

BY_URL, BY_PARTS = "Add using URL", "Add using Protocol, Host and Path"
NAME_HINT = "Letters, digits and . - _ ~ :"
PROTOCOLS = ("http", "https")
# What a URL is to the API.
URL_PARTS = ("protocol", "host", "path", "port")
REDIRECT_CODES = (426, 301, 302, 307, 308)
TIMEOUT_HINT = "In milliseconds"
TLS_VERIFY = {"": "Use default system setting", "on": "On", "off": "Off"}
USUAL_SERVICE: Mapping[str, Any] = {
    "protocol": "http",
    "port": 80,
    "retries": 5,
    "connect_timeout": 60_000,
    "write_timeout": 60_000,
    "read_timeout": 60_000,
    "enabled": True,
}
USUAL_ROUTE: Mapping[str, Any] = {
    "https_redirect_status_code": 426,
    "regex_priority": 0,
    "strip_path": True,
    "preserve_host": False,
}


class ServiceFields:
    """Step 1: the upstream service."""

    def __init__(self, service: Mapping[str, Any] | None = None) -> None:
        self.form = Form()
        self.form.moved = self._moved
        self._is_new = service is None
        row = {**USUAL_SERVICE, **{key: value for key, value in (service or {}).items() if value is not None}}
        self._url = "" if service is None else endpoint(service)
        form = self.form
        with ui.element("div").classes("form"):
            form.text("name", "Name", row.get("name", ""), hint=NAME_HINT, is_required=True)
            self.way = ui.radio([BY_URL, BY_PARTS], value=BY_URL).props("inline")
            with ui.element("div").classes("form").bind_visibility_from(self.way, "value", lambda way: way == BY_URL):
                form.text("url", "URL", self._url, hint="protocol://host[:port][/path]", is_required=True)
            with (
                ui.element("div")
                .classes("form-row")
                .bind_visibility_from(self.way, "value", lambda way: way == BY_PARTS)
            ):
                # Elsewhere a service may have been given another one.
                protocols = dict.fromkeys((*PROTOCOLS, row["protocol"]))
                form.choice("protocol", "Protocol", list(protocols), row["protocol"])
                form.text("host", "Host", row.get("host", ""), is_required=True)
                form.text("path", "Path", row.get("path", ""))
                form.number("port", "Port", row["port"])
            self._advanced(row)
            form.problem()

    def _advanced(self, row: Mapping[str, Any]) -> None:
        form = self.form
        with advanced("View 6 Advanced Fields"):
            form.number("retries", "Retries", row["retries"], hint="How often to try again when the upstream fails")
            form.number("connect_timeout", "Connection Timeout", row["connect_timeout"], hint=TIMEOUT_HINT)
            between = f"{TIMEOUT_HINT}, between two successive operations"
            form.number("write_timeout", "Write Timeout", row["write_timeout"], hint=between)
            form.number("read_timeout", "Read Timeout", row["read_timeout"], hint=between)
            client = (row.get("client_certificate") or {}).get("id", "")
            form.text("client_certificate", "Client Certificate", client, hint="A certificate ID; only for https")
            authorities = ", ".join(row.get("ca_certificates") or ())
            hint = "Comma-separated CA certificate IDs; only for https. Empty: the system's"
            form.text("ca_certificates", "CA Certificates", authorities, hint=hint)
        with advanced("View 4 More Fields"):
            verify = {None: "", True: "on", False: "off"}[row.get("tls_verify")]
            form.choice("tls_verify", "TLS Verify", TLS_VERIFY, verify)
            form.number("tls_verify_depth", "TLS Verify Depth", row.get("tls_verify_depth"))
            tags = [each for each in row.get("tags") or () if not each.startswith("_KonnectService:")]
            form.lines("tags", "Tags", tags)
            form.switch("enabled", "Enabled", row["enabled"])

    def _moved(self, problems: dict[str, str]) -> dict[str, str]:
        """Complaints about parts of a URL, where it is one field."""
        parts = [f"{name}: {problems[name]}" for name in URL_PARTS if name in problems]
        if not parts or self.way.value != BY_URL:
            return problems
        others = {name: text for name, text in problems.items() if name not in URL_PARTS}
        return {"url": f"Error: invalid URL ({'; '.join(parts)})", **others}

    def read(self) -> dict[str, Any] | None:
        """The Gateway service as the API takes it; None when something is wrong, which is shown."""
        values = self.form.values()
        if values is None:
            return None
        is_url = self.way.value == BY_URL
        missing = {name: "is required" for name in ("name", "url" if is_url else "host") if not values[name]}
        if missing:
            self.form.show(missing)
            return None
        if not is_url:
            place = {name: values[name] or None for name in URL_PARTS}
        else:
            # One that was not touched changes nothing: not every service's parts can be read back from a URL. Without a path in
            # it the old path goes.
            place = {} if values["url"] == self._url else {"path": None, "url": values["url"]}
        client = values["client_certificate"].strip()
        authorities = split_lines(values["ca_certificates"].replace(",", "\n"))
        row = {
            "name": values["name"],
            **place,
            **{name: values[name] for name in ("retries", "connect_timeout", "write_timeout", "read_timeout")},
            "client_certificate": {"id": client} if client else None,
            "ca_certificates": authorities or None,
            "tls_verify": {"": None, "on": True, "off": False}[values["tls_verify"]],
            "tls_verify_depth": values["tls_verify_depth"],
            "tags": values["tags"] or None,
            "enabled": values["enabled"],
        }
        # What is empty says nothing when something is made, and takes something away when it is edited.
        return {name: value for name, value in row.items() if value is not None} if self._is_new else row


class RouteFields:
    """Step 2: **Add a Route**."""

    def __init__(self, route: Mapping[str, Any] | None = None) -> None:
        self.form = Form()
        self._is_new = route is None
        row = {**USUAL_ROUTE, **{key: value for key, value in (route or {}).items() if value is not None}}
        form = self.form
        with ui.element("div").classes("form"):
            form.text("name", "Name", row.get("name", ""), hint=NAME_HINT, is_required=True)
            methods = ", ".join(row.get("methods") or ())
            form.text("methods", "Method", methods, hint="One or several, such as GET, POST; empty: any")
            self._paths = TextList("Path(s)", "Path", "Add Path", row.get("paths") or [""])
            self._hosts = TextList("Host(s)", "Host", "Add Host", row.get("hosts") or ())
            form.lists |= {"paths": self._paths.filled, "hosts": self._hosts.filled}
            with advanced("View 4 Advanced Fields"):
                form.choice(
                    "https_redirect_status_code",
                    "HTTPS Redirect Status Code",
                    REDIRECT_CODES,
                    row["https_redirect_status_code"],
                )
                form.number("regex_priority", "Regex Priority", row["regex_priority"])
                form.switch("strip_path", "Strip Path", row["strip_path"])
                form.switch("preserve_host", "Preserve Host", row["preserve_host"])
            form.problem()

    def read(self) -> dict[str, Any] | None:
        """The route as the API takes it; None when something is wrong, which is shown."""
        values = self.form.values()
        if values is None:
            return None
        if not values["name"]:
            self.form.show({"name": "is required"})
            return None
        row = {
            **values,
            "methods": split_lines(values["methods"].upper().replace(",", "\n")) or None,
            "paths": self._paths.values() or None,
            "hosts": self._hosts.values() or None,
        }
        return {name: value for name, value in row.items() if value is not None} if self._is_new else row


class TextList:
    """Several texts, each in a field of its own, with a button that adds one."""

    def __init__(self, title: str, label: str, add: str, values: Any) -> None:
        self._label = label
        self._fields: list[ui.input] = []
        with ui.element("fieldset"):
            with ui.element("legend"):
                ui.label(title)
            self._box = ui.element("div").classes("form")
            for value in values:
                self._add(value)
            quiet_button(add, lambda: self._add("", is_focused=True), icon="add").style("margin-top:10px")

    def values(self) -> list[str]:
        """What is not empty."""
        return [str(field.value).strip() for field in self.filled() if str(field.value or "").strip()]

    def filled(self) -> list[ui.input]:
        """The fields of `values`; the first field while all are empty."""
        found = [field for field in self._fields if str(field.value or "").strip()]
        return found or self._fields[:1]

    def _add(self, value: str, *, is_focused: bool = False) -> None:
        with self._box, ui.element("div").classes("text-row") as row:
            name = self._label if not self._fields else f"{self._label} {len(self._fields) + 1}"
            field = ui.input(name, value=value).props("outlined dense hide-bottom-space")
            self._fields.append(field)

            def remove() -> None:
                self._fields.remove(field)
                row.delete()

            if len(self._fields) > 1:
                icon_button("close", f"Remove {name}", remove)
        if is_focused:
            field.run_method("focus")


def advanced(title: str) -> ui.element:
    """Fields that are folded away; use it as a block."""
    details = ui.element("details").classes("advanced")
    with details, ui.element("summary"):
        ui.label(title)
    with details:
        return ui.element("div").classes("form")


async def create(visit: Visit, version: Mapping[str, Any]) -> None:
    """Both steps; the second one's **Create** makes everything, or nothing. **Next** leads on from what the API would take."""
    validation = at("/v2/control-planes/{}/core-entities/schemas/services/validate", version["group_id"])
    with dialog("Create Implementation", is_wide=True, key="implementation") as shown:
        with ui.element("ol").classes("steps"):
            marks = [_step("1. Upstream service"), _step("2. Add a Route")]
        with ui.element("div").classes("form") as first:
            service = ServiceFields()
        with ui.element("div").classes("form") as second:
            with ui.element("h3"):
                ui.label("Add a Route")
            route = RouteFields()

        def show(step: int) -> None:
            for number, (box, mark) in enumerate(((first, marks[0]), (second, marks[1])), start=1):
                box.visible = number == step
                mark.props(
                    "aria-current=step" if number == step else "", remove="" if number == step else "aria-current"
                )
            going_on.visible, making.visible, back.visible = step == 1, step == 2, step == 2
            (service if step == 1 else route).form.fields["name"].element.run_method("focus")

        async def go_on() -> None:
            body = service.read()
            if body is not None and await service.form.submit(lambda: visit.ask.post(validation, body)):
                show(2)

        async def make() -> None:
            body = {"service": service.read(), "route": route.read()}
            if body["service"] is None:
                show(1)
                return
            if body["route"] is None:
                return
            try:
                await visit.ask.post(at("/v2/catalogue/versions/{}/implementation", version["id"]), body)
            except RefusedError as error:
                _show_refusal(error, service, route, show)
            else:
                ui.navigate.to(visit.address(dialog=None))

        with ui.element("div").classes("dialog-actions"):
            quiet_button("Cancel", shown.close)
            back = quiet_button("Back", lambda: show(1))
            going_on = main_button("Next", go_on)
            making = main_button("Create", make)
        show(1)


def _step(text: str) -> ui.element:
    with ui.element("li") as element:
        ui.label(text)
    return element


def _show_refusal(error: RefusedError, service: ServiceFields, route: RouteFields, show: Any) -> None:
    """Complaints at their fields, in the step that has them."""
    if error.status == 401:
        raise error
    of_service = any(name.partition(".")[0] == "service" for name in error.fields)
    show(1 if of_service else 2)
    form = service.form if of_service else route.form
    form.refused(error, below="service" if of_service else "route")


def edit(visit: Visit, version: Mapping[str, Any], made: Mapping[str, Any]) -> None:
    """The Gateway service of an implementation."""
    _edit(visit, version, made, "Edit implementation", "service", ServiceFields, made["service"])


def edit_route(visit: Visit, version: Mapping[str, Any], made: Mapping[str, Any], route: Mapping[str, Any]) -> None:
    """One of its routes."""
    _edit(visit, version, made, "Edit route", "route", RouteFields, route)


def _edit(
    visit: Visit,
    version: Mapping[str, Any],
    made: Mapping[str, Any],
    title: str,
    part: str,
    make_fields: type[ServiceFields] | type[RouteFields],
    row: Mapping[str, Any],
) -> None:
    # Which route is edited, the address does not say.
    with dialog(title, is_wide=True, key="edit" if part == "service" else "") as shown:
        fields = make_fields(row)

        async def save() -> None:
            values = fields.read()
            if values is None:
                return
            body = {part: {**values, "id": row["id"]} if part == "route" else values}
            path, seen = at("/v2/catalogue/versions/{}/implementation", version["id"]), f'"{made["edition"]}"'
            if await fields.form.submit(lambda: visit.ask.patch(path, body, if_match=seen), below=part):
                reload()

        with ui.element("div").classes("dialog-actions"):
            quiet_button("Cancel", shown.close)
            main_button("Save", save)


def add_route(visit: Visit, made: Mapping[str, Any]) -> None:
    """Another route of the implementation."""
    with dialog("New Route", is_wide=True) as shown:
        fields = RouteFields()

        async def save() -> None:
            values = fields.read()
            group, service = made["group_id"], made["service"]["id"]
            path = at("/v2/control-planes/{}/core-entities/services/{}/routes", group, service)
            if values is not None and await fields.form.submit(lambda: visit.ask.post(path, values)):
                reload()

        with ui.element("div").classes("dialog-actions"):
            quiet_button("Cancel", shown.close)
            main_button("Create", save)
