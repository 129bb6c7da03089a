"""The forms of an implementation: where the API's complaints are shown."""

from kongdp.controlplane.console.screens.implementation import RouteFields, ServiceFields
from tests.support.console_page import on_a_page


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
        service.way.value = "Add using Protocol, Host and Path"
        assert service.form.moved(dict(problems)) == problems

    on_a_page(act)
