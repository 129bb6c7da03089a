"""acl behind key-auth: the spec's table, and what the upstream is told of groups."""

from typing import Any

import pytest

from tests.support.loops import run
from tests.support.plugged import plugged

CONSUMERS = {
    "consumers": [
        {
            "username": "two",
            "keyauth_credentials": [{"key": "k2"}],
            "acls": [
                {"group": "a", "id": "00000000-0000-4000-8000-000000000001"},
                {"group": "b c", "id": "00000000-0000-4000-8000-000000000002"},
            ],
        },
        {"username": "none", "keyauth_credentials": [{"key": "k0"}]},
        {"username": "anon"},
        {"username": "anon-a", "acls": [{"group": "a"}]},
    ]
}

CASES: list[tuple[dict[str, Any], str | None, str | None, int, str | None]] = [
    # (acl, anonymous of key-auth, key, status, X-Consumer-Groups); source: spec/plugins.md, acl
    ({"allow": ["a"]}, None, "k2", 200, "a, b c"),
    ({"allow": ["x", "b c"]}, None, "k2", 200, "a, b c"),
    ({"allow": ["x"]}, None, "k2", 403, None),
    ({"allow": ["a"]}, None, "k0", 403, None),
    ({"deny": ["a"]}, None, "k2", 403, None),
    ({"deny": ["x"]}, None, "k2", 200, "a, b c"),
    ({"deny": ["a"]}, None, "k0", 200, None),
    ({"allow": ["a"], "hide_groups_header": True}, None, "k2", 200, None),
    ({"allow": ["a"]}, "anon", None, 401, None),
    ({"allow": ["a"]}, "anon-a", None, 200, "a"),
    ({"deny": ["a"]}, "anon", None, 200, None),
    ({"deny": ["a"]}, "anon-a", None, 403, None),
]


@pytest.mark.parametrize(("acl", "anonymous", "key", "status", "groups"), CASES)
def test_acl_when_a_consumer_is_known(
    acl: dict[str, Any], anonymous: str | None, key: str | None, status: int, groups: str | None
) -> None:
    """Allowed or not by its groups; the upstream hears them from us alone."""

    async def story() -> None:
        key_auth = {"name": "key-auth", "config": {"anonymous": anonymous}}
        async with plugged(key_auth, {"name": "acl", "config": acl}, more=CONSUMERS) as p:
            keys = {"apikey": key} if key else {}
            seen = await p.ask(X_Consumer_Groups="admins", X_Authenticated_Groups="admins", **keys)
            assert seen.status == status
            if status == 200:
                assert p.passed().get("x-consumer-groups") == (None if groups is None else [groups])
                assert "x-authenticated-groups" not in p.passed()
            else:
                text = b"You cannot consume this service" if status == 403 else b"Unauthorized"
                assert b'"message":"%b"' % text in seen.body
                assert p.gateway.counts() == {("r", status, 0): 1}

    run(story())


def test_acl_when_nobody_is_known() -> None:
    """Without any authentication it is 401, whatever it says."""

    async def story() -> None:
        for acl in ({"allow": ["a"]}, {"deny": ["a"]}):
            async with plugged({"name": "acl", "config": acl}, more=CONSUMERS) as p:
                assert (await p.ask()).status == 401

    run(story())
