"""The calls that go-kong and decK make, as far as ours need to be tried without them.

In: a control plane's application.  Out: what decK keeps in memory (collection -> rows), and the calls of a synchronisation:
lists of 1,000 by `offset`, PUT by id for what is new and for what changed, DELETE, parents before children.
Source: go-kong kong/{client,list,request}.go; go-database-reconciler pkg/dump/dump.go, pkg/diff/order.go (2026).
"""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

SIZE = 1000
# What decK asks for, and which refusals it takes for "there are none here".
LISTED: Mapping[str, tuple[int, ...]] = {
    "services": (),
    "routes": (),
    "plugins": (),
    "filter-chains": (404, 400),
    "certificates": (),
    "ca_certificates": (404,),
    "snis": (),
    "upstreams": (),
    "vaults": (404, 403),
    "partials": (404, 403),
    "keys": (404, 403),
    "key-sets": (404, 403),
    "consumer_groups": (404, 403),
    "consumers": (),
    "key-auths": (404,),
    "hmac-auths": (404,),
    "jwts": (404,),
    "basic-auths": (404,),
    "oauth2": (404,),
    "acls": (404,),
    "mtls-auths": (404,),
}
# Not part of what a file says.
OF_THE_SERVER = ("id", "created_at", "updated_at")
ORDER = ("services", "routes", "plugins", "upstreams", "consumers", "key-auths")

# `default_lookup_tags` of a file: what it refers to and does not own.
LOOKED_UP = ("consumer_groups", "consumers", "routes", "services")
NO_LOOKUP: Mapping[str, Sequence[str]] = {}

State = dict[str, dict[str, dict[str, Any]]]


class GoKong:
    """One client; `asked` counts its requests by method."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.asked: Counter[str] = Counter()

    async def call(
        self, method: str, path: str, body: Any = None, params: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """One request, as go-kong writes it."""
        self.asked[method] += 1
        return await self._client.request(method, path, json=body, params=params)

    async def version(self) -> str:
        """What decK asks first, of any Kong."""
        return str((await self.call("GET", "/")).json()["version"])

    async def list_all(
        self, path: str, tags: Sequence[str] = (), none_when: Sequence[int] = ()
    ) -> list[dict[str, Any]]:
        """Every page; `none_when`: statuses that mean there is no such collection here."""
        rows: list[dict[str, Any]] = []
        offset = None
        while True:
            params = {"size": str(SIZE)}
            if offset is not None:
                params["offset"] = offset
            if tags:
                params["tags"] = ",".join(tags)
            response = await self.call("GET", f"/{path}", params=params)
            if response.status_code in none_when:
                return rows
            assert response.status_code == 200, (path, response.text)
            answer = response.json()
            rows.extend(answer["data"])
            offset = answer.get("offset")
            if offset is None:
                return rows

    async def dump(self, tags: Sequence[str] = (), lookup: Mapping[str, Sequence[str]] = NO_LOOKUP) -> State:
        """Everything, or what carries all of the tags; with them, of each collection in `lookup`, what carries all of its tags."""
        state = {
            name: {row["id"]: row for row in await self.list_all(name, tags, none_when)}
            for name, none_when in LISTED.items()
        }
        for name, others in lookup.items():
            for row in await self.list_all(name, others, LISTED[name]):
                state[name].setdefault(row["id"], row)
        targets = [row for id in state["upstreams"] for row in await self.list_all(f"upstreams/{id}/targets", tags)]
        return {**state, "targets": {row["id"]: row for row in targets}}

    async def put(self, collection: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """Create or update: PUT by id."""
        response = await self.call("PUT", f"/{collection}/{row['id']}", dict(row))
        assert response.status_code == 200, response.text
        return dict(response.json())

    async def sync(self, current: State, wanted: State) -> tuple[int, int, int]:
        """Make the control plane what a file says; (created, updated, deleted)."""
        created = updated = deleted = 0
        for name in ORDER:
            for id, row in wanted.get(name, {}).items():
                before = current[name].get(id)
                if before is None:
                    created += 1
                elif told(before) != told(row):
                    updated += 1
                else:
                    continue
                await self.put(name, row)
        for name in reversed(ORDER):
            for id in current[name].keys() - wanted.get(name, {}).keys():
                assert (await self.call("DELETE", f"/{name}/{id}")).status_code == 204
                deleted += 1
        return created, updated, deleted


def told(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as a file says it: without what the server adds and without what is unset."""
    return {name: value for name, value in row.items() if name not in OF_THE_SERVER and value is not None}


def to_file(state: State) -> State:
    """The state as decK writes it to a file and reads it back: ids stay those that names have in the control plane."""
    return {name: {id: {**told(row), "id": id} for id, row in rows.items()} for name, rows in state.items()}


def new_id() -> str:
    """decK makes ids itself."""
    return str(uuid.uuid4())
