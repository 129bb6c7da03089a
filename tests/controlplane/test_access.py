"""Roles and needs: what a path takes, what an identity may."""

import pytest

from kongdp.controlplane.access import Identity, Need, need_of


@pytest.mark.parametrize(
    ("method", "path", "need"),
    [
        ("POST", "/v2/session", Need(None)),
        ("GET", "/v2/ready", Need(None)),
        ("POST", "/v2/tokens", Need("none")),
        ("GET", "/v2/tokensx", Need("viewer")),
        ("GET", "/v2/users", Need("admin")),
        ("GET", "/v2/users/ann", Need("admin")),
        ("GET", "/v2/control-planes", Need("none")),
        ("POST", "/v2/control-planes", Need("admin")),
        ("POST", "/v2/control-planes/", Need("admin")),
        ("GET", "/v2/control-planes/a", Need("viewer", "a")),
        ("DELETE", "/v2/control-planes/a", Need("admin", "a")),
        ("PUT", "/v2/control-planes/a/config", Need("editor", "a")),
        ("POST", "/v2/control-planes/a/core-entities/services", Need("editor", "a")),
        ("POST", "/v2/control-planes/a/revisions/1/restore", Need("editor", "a")),
        ("POST", "/v2/control-planes/a/enrolment-tokens", Need("admin", "a")),
        ("POST", "/v2/catalogue/services", Need("editor")),
        ("PATCH", "/v2/portal/developers/x", Need("editor")),
        ("POST", "/v2/portal/developers/x/password-link", Need("admin")),
        ("GET", "/v2/anything", Need("viewer")),
        ("GET", "/services", Need("viewer", "default")),
        ("OPTIONS", "/services", Need("viewer", "default")),
        ("PATCH", "/services/x", Need("editor", "default")),
        ("GET", "/", Need("viewer", "default")),
        ("TRACE", "/services", Need("editor", "default")),
    ],
)
def test_what_a_request_takes(method: str, path: str, need: Need) -> None:
    """Reading takes a viewer, changing an editor, accounts and groups an admin; what is new is not open."""
    assert need_of(method, path) == need


def test_the_higher_of_two_roles_counts_and_a_token_limits_it() -> None:
    """A role in one group does not reach into another, nor a token beyond its limit and its groups."""
    ann = Identity("1", "ann", "viewer", {"a": "admin"})
    assert ann.may("admin", "a")
    assert not ann.may("editor", "b")
    assert ann.may("viewer", "b")
    limited = Identity("1", "ann", "viewer", {"a": "admin"}, limit="editor", groups=frozenset(("a",)))
    assert limited.may("editor", "a")
    assert not limited.may("admin", "a")
    assert not limited.may("viewer", "b")
    assert not limited.may("viewer", None)
