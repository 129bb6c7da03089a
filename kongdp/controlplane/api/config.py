"""Endpoint of a runtime group's whole configuration in the declarative format: GET exports, PUT replaces.

In: JSON or YAML.  Out: the configuration, or what was created, updated and deleted; with `Accept:
application/x-ndjson` a line of JSON for each piece of progress, of which the last is the result or the error. The
ETag is the number of the newest revision. Cold.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

import orjson
import yaml
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from kongdp.controlplane import importing
from kongdp.controlplane.api import admin, preconditions
from kongdp.controlplane.api.actors import actor_of
from kongdp.controlplane.api.parameters import GroupName, find_group
from kongdp.controlplane.api.problems import ApiError, body_of, described
from kongdp.controlplane.importing import Imported
from kongdp.controlplane.plane import Plane
from kongdp.entities.declarative import parse_text
from kongdp.entities.schema import Schema

LINES = "application/x-ndjson"
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml")
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "application/yaml": {"schema": {"type": "string"}},
        },
    }
}
EXPORTED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "the declarative format of Kong's entities",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"_format_version": {"type": "string"}},
                    "additionalProperties": {"type": "array", "items": {"type": "object"}},
                }
            },
            "application/yaml": {"schema": {"type": "string"}},
        },
    }
}
DryRun = Annotated[bool, Query(description="only say what would change")]


class ImportReport(BaseModel):
    """What an import did, or would do: counts by collection, the newest revision afterwards, what was passed over."""

    revision: int
    dry_run: bool
    created: dict[str, int]
    updated: dict[str, int]
    deleted: dict[str, int]
    warnings: list[str]


def make_router(plane: Plane, schemas: Mapping[str, Schema], body_bytes_max: int) -> APIRouter:
    """The endpoints over a running control plane."""
    router = APIRouter(prefix="/v2/control-planes/{group}/config", tags=["configuration"])

    @router.get("", responses=EXPORTED)
    async def export(group: GroupName, request: Request) -> Response:
        """The configuration of the group; YAML when the caller accepts nothing else."""
        found = await find_group(plane, group)
        revision, config = await plane.database.run(importing.export_config, plane.changes, found.id)
        accepted = request.headers.get("accept", "")
        if any(kind in accepted for kind in YAML_TYPES):
            text = await asyncio.to_thread(_yaml, config)
            return Response(text, media_type=YAML_TYPES[0], headers={"ETag": preconditions.etag(revision)})
        return Response(
            orjson.dumps(config), media_type="application/json", headers={"ETag": preconditions.etag(revision)}
        )

    @router.put("", openapi_extra=BODY, response_model=ImportReport)
    async def replace(
        group: GroupName, request: Request, dry_run: DryRun = False, if_match: preconditions.IfMatch = None
    ) -> Response:
        """Make the configuration of the group this one, all or nothing, in one revision."""
        found = await find_group(plane, group)
        body = await admin.read_body(request, body_bytes_max)
        if body is None:
            raise ApiError(413, f"the configuration has more than {body_bytes_max} bytes")
        job = _Import(
            plane, found.id, body, schemas, actor_of(request), preconditions.expected_number(if_match), dry_run
        )
        if LINES in request.headers.get("accept", ""):
            return StreamingResponse(job.lines(), media_type=LINES)
        imported = await plane.database.run(job.run)
        return preconditions.tagged(_shown(imported, dry_run), imported.revision)

    return router


class _Import:
    """One import, with or without an audience."""

    def __init__(
        self,
        plane: Plane,
        group_id: str,
        body: bytes,
        schemas: Mapping[str, Schema],
        actor: str,
        expected: int | None,
        is_trial: bool,
    ) -> None:
        self._plane = plane
        self._group_id = group_id
        self._body = body
        self._schemas = schemas
        self._actor = actor
        self._expected = expected
        self._is_trial = is_trial
        # One slot and the newest wins: a slow reader of the progress holds nobody up.
        self._latest: dict[str, Any] | None = None
        self._lock = threading.Lock()

    def run(self, on_progress: importing.Progress = lambda stage, done, total: None) -> Imported:
        """Read, check and write; called off the event loop."""
        on_progress("read", 0, len(self._body))
        config = parse_text(self._body)
        return importing.import_config(
            self._plane.changes,
            self._group_id,
            config,
            self._schemas,
            actor=self._actor,
            expected=self._expected,
            is_trial=self._is_trial,
            on_progress=on_progress,
        )

    async def lines(self) -> AsyncIterator[bytes]:
        """Progress, then the end."""
        loop = asyncio.get_running_loop()
        news = asyncio.Event()

        def tell(stage: str, done: int, total: int) -> None:
            with self._lock:
                self._latest = {"stage": stage, "done": done, "total": total}
            loop.call_soon_threadsafe(news.set)

        work = asyncio.ensure_future(self._plane.database.run(self.run, tell))
        work.add_done_callback(lambda _done: news.set())
        while not work.done():
            await news.wait()
            news.clear()
            with self._lock:
                latest, self._latest = self._latest, None
            if latest is not None:
                yield orjson.dumps(latest) + b"\n"
        try:
            last: dict[str, Any] = {"result": _shown(work.result(), self._is_trial)}
        except Exception as error:
            # A boundary: the status line has gone out, so that errors of every kind are told in the last line.
            status, message, fields = described(error)
            last = {"status": status, "error": body_of(status, message, fields)}
        yield orjson.dumps(last) + b"\n"


def _shown(imported: Imported, is_trial: bool) -> dict[str, Any]:
    return {
        "revision": imported.revision,
        "dry_run": is_trial,
        "created": dict(imported.created),
        "updated": dict(imported.updated),
        "deleted": dict(imported.deleted),
        "warnings": list(imported.warnings),
    }


def _yaml(config: Mapping[str, Any]) -> str:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(config, Dumper=dumper, sort_keys=False, allow_unicode=True)
    return text
