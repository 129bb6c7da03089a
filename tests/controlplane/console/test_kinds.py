"""What screens say of entities: names, merged changes, differences, roles; secrets never."""

import pytest

from kongdp.controlplane.console.parts.entity_form import merged
from kongdp.controlplane.console.parts.form import FieldError
from kongdp.controlplane.console.parts.kinds import KINDS, listing, name_of, scope_of
from kongdp.controlplane.console.parts.roles import read_roles, role_lines
from kongdp.controlplane.console.screens.history import HIDDEN, differing

SECRET = "a-secret-that-nobody-may-see"


def test_cells_of_credentials_have_no_secret() -> None:
    """Neither keys nor passwords nor private keys are in a cell of any kind."""
    row = {"id": "1", "key": SECRET, "password": SECRET, "secret": SECRET, "cert": "no PEM", "snis": []}
    for path in ("key-auth", "basic-auth", "certificates"):
        assert SECRET not in str(KINDS[path].cells(row)), path


def test_children_name_kinds_and_have_a_parent() -> None:
    """A table that names what is not there would fail when somebody looks."""
    for kind in KINDS.values():
        assert all(path in KINDS for path in kind.children), kind.path
        assert kind.has_page or kind.parent, kind.path


def test_an_entity_is_called_what_people_call_it() -> None:
    """The first name there is, else its id."""
    assert name_of({"id": "1", "name": None, "username": "alice"}) == "alice"
    assert name_of({"id": "1"}) == "1"
    assert listing(["a", "b", "c", "d", "e", "f"]) == "a, b, c, d and 2 more"
    assert listing(None) == "any"
    assert scope_of({"service": {"id": "1"}, "consumer": {"id": "2"}}) == "service + consumer"
    assert scope_of({"service": None}) == "everywhere"


def test_a_change_keeps_what_was_not_changed() -> None:
    """Nested records are merged; what the control plane sets itself is not sent back."""
    row = {"id": "1", "created_at": 1, "name": "a", "config": {"limit": 1, "by": "ip"}, "service": {"id": "2"}}
    assert merged(row, {"config": {"limit": 5}}) == {
        "name": "a",
        "config": {"limit": 5, "by": "ip"},
        "service": {"id": "2"},
    }
    assert merged(row, {"service": None})["service"] is None


def test_differences_hide_secrets_and_what_always_changes() -> None:
    """In updates, creations and deletions alike."""
    fields = {"key": {"before": SECRET, "after": "x"}, "updated_at": {"before": 1, "after": 2}}
    assert differing({"kind": "update", "fields": fields}) == [("key", HIDDEN, HIDDEN)]
    made = {"kind": "create", "before": None, "after": {"password": SECRET, "name": "a", "tags": None}}
    assert differing(made) == [("password", "–", HIDDEN), ("name", "–", "a")]
    gone = {"kind": "delete", "before": {"paths": ["/a"]}, "after": None}
    assert differing(gone) == [("paths", '["/a"]', "–")]


def test_roles_are_written_as_they_are_read() -> None:
    """By the names of groups, which may have colons; nonsense is refused with the line."""
    text = role_lines({"1": "editor"}, {"1": "a: b"})
    assert text == "a: b: editor"
    assert read_roles(text) == {"a: b": "editor"}
    for line in ("nothing", "group: king", ": viewer"):
        with pytest.raises(FieldError, match="is not group: role"):
            read_roles(line)
