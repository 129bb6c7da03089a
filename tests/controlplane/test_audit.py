"""The audit log: what is looked for is found, and nothing else."""

import asyncio
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlencode

import pytest

from kongdp.controlplane import audit
from tests.support.control_plane_api import served

CHANGING = ("post", "put", "patch", "delete")
# Each action with what it is about.
LOG = (
    ("ann", "10.0.0.1", "POST /v2/session", 201, "sign-in"),
    ("sign-in", "10.0.0.2", "GET /auth/oidc/return", 403, "sign-in"),
    ("anonymous", "10.0.0.2", "portal: POST /sign-in", 403, "sign-in"),
    ("ann", "10.0.0.1", "PATCH /v2/users/bob", 200, "user"),
    ("bob", "10.0.0.1", "PUT /v2/me/password", 204, "user"),
    ("bob", "10.0.0.1", "DELETE /v2/tokens/1", 204, "token"),
    ("ann", "10.0.0.1", "POST /v2/control-planes/default/enrolment-tokens", 201, "token"),
    ("ann", "10.0.0.1", "POST /v2/control-planes", 201, "group"),
    ("ann", "10.0.0.1", "DELETE /v2/control-planes/100%_x", 204, "group"),
    ("ann", "10.0.0.1", "DELETE /v2/control-planes/x/nodes/1", 204, "node"),
    ("ann", "10.0.0.1", "POST /v2/control-planes/x/nodes/1/renew-certificate", 202, "certificate"),
    ("ann", "10.0.0.1", "POST /v2/control-planes/x/data-plane-certificates", 201, "certificate"),
    ("Ann", "10.0.0.1", "POST /v2/catalogue/services", 201, "service"),
    ("ann", "10.0.0.1", "PUT /v2/catalogue/services/x/document", 200, "service"),
    ("ann", "10.0.0.1", "POST /v2/catalogue/services/x/versions", 201, "version"),
    ("ann", "10.0.0.1", "DELETE /v2/catalogue/versions/x/implementation", 204, "version"),
    ("ann", "10.0.0.1", "PUT /v2/catalogue/versions/x/app-registration", 200, "application"),
    ("ann", "10.0.0.1", "POST /v2/portal/developers/x/password-link", 201, "developer"),
    ("dev@example.com", "10.0.0.3", "portal: POST /apps/new", 303, "application"),
    ("dev@example.com", "10.0.0.3", "portal: POST /sign-up", 303, "developer"),
    ("ann", "10.0.0.1", "PATCH /v2/portal/settings", 200, "portal"),
    ("eve", "10.0.0.4", "DELETE /v2/control-planes/x/core-entities/routes/1", 403, "other"),
    ("eve", "10.0.0.4", "POST /services", 403, "other"),
)


def test_what_is_looked_for_is_found(tmp_path: Path, fresh_url: str) -> None:
    """Who, what kind, how, a text anywhere, when; all that is said must hold; pages are of what is found."""

    async def main() -> None:
        async with served(tmp_path, fresh_url) as api:
            for place, (actor, address, action, status, _kind) in enumerate(LOG):
                entry = audit.Entry(1_000.0 + place, actor, address, action, status)
                await api.plane.plane.database.run(audit.record, api.plane.plane.database, entry)

            async def found(size: int = 100, **asked: Any) -> list[str]:
                names = {"actor": "contains", "text": "contains", "kind": "eq", "method": "eq"}
                query = {f"filter[{name}][{names[name]}]" if name in names else name: asked[name] for name in asked}
                answer = await api.got(f"/v2/audit?{urlencode({'page.size': size, **query})}")
                assert answer["page"]["total_count"] >= len(answer["items"])
                return [each["action"] for each in answer["items"]]

            newest = [action for _actor, _address, action, _status, _kind in reversed(LOG)]
            assert await found() == newest
            for kind in get_args(audit.Kind):
                assert await found(kind=kind) == [each[2] for each in reversed(LOG) if each[4] == kind], kind
            assert await found(actor="EVE") == newest[:2]
            assert len(await found(actor="ann")) == sum(each[0].lower() == "ann" for each in LOG)
            assert await found(method="GET") == ["GET /auth/oidc/return"]
            assert set(await found(method="POST", kind="application")) == {"portal: POST /apps/new"}
            assert await found(text="0%_X") == ["DELETE /v2/control-planes/100%_x"]
            assert len(await found(text="10.0.0.2")) == 2
            assert await found(start="1021", end="1022") == [newest[1]]
            assert await found(start="1970-01-01T00:17:02Z") == newest[:1]
            page = await api.got("/v2/audit?filter[kind][eq]=version&page.size=1&page.number=2")
            assert [each["action"] for each in page["items"]] == ["POST /v2/catalogue/services/x/versions"]
            assert page["page"] == {"total_count": 2}

    asyncio.run(main())


def test_whatever_is_changed_is_of_one_kind(tmp_path: Path) -> None:
    """Every endpoint that changes something; "other" are those of Gateway entities alone, which are there when refused."""

    async def main() -> None:
        async with served(tmp_path) as api:
            paths = (await api.got("/v2/openapi.json"))["paths"]
            asked = [f"{how.upper()} {path}" for path in paths for how in paths[path] if how in CHANGING]
            ours = [each for each in asked if " /v2/" in each]

            def made() -> dict[str, list[str]]:
                for action in ours:
                    audit.record(api.plane.plane.database, audit.Entry(1.0, "ann", "", action, 200))
                with api.plane.plane.database.read() as connection:
                    wanted = {kind: audit.Filter(kind=kind) for kind in get_args(audit.Kind)}
                    return {
                        kind: [each.action for each in audit.entries(connection, wanted[kind], size=1000)]
                        for kind in wanted
                    }

            found = await api.plane.plane.database.run(made)
            assert len(ours) > 40
            assert sorted(action for actions in found.values() for action in actions) == sorted(ours)
            entities = ("/core-entities", "/config", "/revisions")
            assert [each for each in found["other"] if not any(part in each for part in entities)] == []

    asyncio.run(main())


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("filter[kind][eq]=nonsense", "filter[kind][eq]"),
        ("filter[method][eq]=BREW", "filter[method][eq]"),
        ("start=yesterday", "start"),
        ("end=-1", "end"),
        ("start=20&end=10", "end"),
        (f"filter[text][contains]={'x' * 257}", "filter[text][contains]"),
    ],
)
def test_what_cannot_be_looked_for_is_said(tmp_path: Path, query: str, field: str) -> None:
    """With the name of what is wrong."""

    async def main() -> None:
        async with served(tmp_path) as api:
            status, answer = await api.call("GET", f"/v2/audit?{query}")
            assert (status, [each["field"] for each in answer["details"]]) == (400, [field])

    asyncio.run(main())
