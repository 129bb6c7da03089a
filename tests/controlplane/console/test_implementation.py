"""The forms of an implementation: where the API's complaints are shown."""

from nicegui import ui

from kongdp.controlplane.console.asking import RefusedError
from kongdp.controlplane.console.screens.implementation import BY_PARTS, RouteFields, ServiceFields, create
from tests.support.console_page import StubAsking, found, on_a_page, press, texts, visit_of

STORED = {
    "name": "orders",
    "protocol": "https",
    "host": "orders.test",
    "port": 8443,
    "path": "/v1",
    "retries": 0,
    "connect_timeout": 1000,
    "write_timeout": 2000,
    "read_timeout": 3000,
    "client_certificate": {"id": "1"},
    "ca_certificates": ["2", "3"],
    "tls_verify": False,
    "tls_verify_depth": 2,
    "tags": ["_KonnectService:orders", "team"],
    "enabled": False,
}
VALIDATION = "/v2/control-planes/g/core-entities/schemas/services/validate"


def test_a_complaint_stands_at_its_path_or_host() -> None:
    """The API counts what it was sent, which empty fields are not; the next attempt begins without complaints."""

    def act() -> None:
        route = RouteFields({"name": "r", "paths": ["", "/a", "b"], "hosts": ["a", "b c"]})
        body = route.read()
        assert body is not None
        assert (body["paths"], body["hosts"]) == (["/a", "b"], ["a", "b c"])
        route.form.show({"paths[1]": "should start with: /", "hosts[1]": "invalid value: b c"})
        paths, hosts = route.form.lists["paths"](), route.form.lists["hosts"]()
        assert [each.error for each in paths] == [None, "should start with: /"]
        assert [each.error for each in hosts] == [None, "invalid value: b c"]
        route.form.clear()
        assert [each.error for each in (*paths, *hosts)] == [None] * 4

    on_a_page(act)


def test_a_complaint_about_a_part_of_a_url_stands_at_the_url() -> None:
    """Where the parts are fields of their own, at those."""

    def act() -> None:
        service = ServiceFields()
        problems = {"host": "required field missing", "retries": "too many"}
        assert service.form.moved(dict(problems)) == {
            "url": "Error: invalid URL (host: required field missing)",
            "retries": "too many",
        }
        service.way.value = BY_PARTS
        assert service.form.moved(dict(problems)) == problems

    on_a_page(act)


def test_an_edited_service_is_there_as_it_is_stored() -> None:
    """By its URL as by its parts, with every advanced field; what of its place was not touched is not sent."""

    def act() -> None:
        service = ServiceFields(STORED)
        kept = {name: value for name, value in STORED.items() if name not in ("protocol", "host", "port", "path")}
        kept["tags"] = ["team"]
        assert service.form.value("url") == "https://orders.test:8443/v1"
        assert service.read() == kept
        service.form.fields["url"].element.value = "http://[::1]"
        assert service.read() == {**kept, "url": "http://[::1]", "path": None}
        service.way.value = BY_PARTS
        assert service.read() == {**STORED, "tags": ["team"]}

    on_a_page(act)


def test_a_service_of_any_protocol_can_be_edited() -> None:
    """Also of one that is not offered here, and with an address for a host."""

    def act() -> None:
        service = ServiceFields({**STORED, "protocol": "grpc", "host": "::1", "path": None})
        assert service.form.value("url") == "grpc://[::1]:8443"
        service.way.value = BY_PARTS
        body = service.read()
        assert body is not None
        assert (body["protocol"], body["host"], body["path"]) == ("grpc", "::1", None)

    on_a_page(act)


def test_nothing_leads_on_from_a_service_that_the_api_would_refuse() -> None:
    """Its complaint stands at the field that is shown; with it mended the route is next."""
    ask = StubAsking({VALIDATION: RefusedError(400, "validation error", {"host": "invalid value: mock bin"})})

    async def act() -> None:
        await create(visit_of(ask), {"id": "v", "group_id": "g"})
        name, url = (found(ui.input, label=label)[0] for label in ("Name *", "URL *"))
        await press("Next")
        assert (name.error, url.error, ask.asked) == ("is required", "is required", [])
        name.value, url.value = "orders", "http://mock bin"
        await press("Next")
        assert (name.error, url.error) == (None, "Error: invalid URL (host: invalid value: mock bin)")
        assert "Add a Route" not in texts()
        ask.answers[VALIDATION] = {"message": "schema validation successful"}
        url.value = "http://mockbin"
        await press("Next")
        assert "Add a Route" in texts()
        assert [body["url"] for _path, body in ask.asked] == ["http://mock bin", "http://mockbin"]

    on_a_page(act)
