"""A recorded conversation with Kong's Admin API, played again in process, and how answers are compared.

Ids, times, keys and offsets are compared by their kind, lists that are not paged as sets, pages by their length.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kongdp.adminapi.messages import Request, Response

RECORDED = Path(__file__).parents[1] / "conformance" / "data" / "admin-api.jsonl"

# Their order or words differ from one run of Kong to the next; only the status counts.
STATUS_ONLY = frozenset(("schema-upstreams", "cert-bad", "ca-bad"))
# Facts of the node, or of its role.
NOT_COMPARED = frozenset(("root", "status", "endpoints", "plugins-enabled", "dps"))

_PLACEHOLDER = re.compile(r"\{([a-z0-9-]+)\.id\}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_BY_KIND = frozenset(("created_at", "updated_at", "offset", "key", "ttl", "last_seen"))


@dataclass(frozen=True)
class Exchange:
    """One recorded step and what was answered now."""

    step: Mapping[str, Any]
    status: int
    answer: Any

    @property
    def compared(self) -> bool:
        """Whether the recording holds an answer to compare with."""
        return "response" in self.step and self.step["id"] not in NOT_COMPARED

    def expected(self) -> tuple[int, Any]:
        """What Kong answered, as far as it is comparable."""
        return self.step["status"], self._comparable(self.step["response"])

    def actual(self) -> tuple[int, Any]:
        """What was answered now, as far as it is comparable."""
        return self.status, self._comparable(self.answer)

    def _comparable(self, answer: Any) -> Any:
        if self.step["id"] in STATUS_ONLY:
            return None
        if isinstance(answer, dict) and isinstance(answer.get("data"), list):
            if "size=" in self.step["path"]:
                return {"count": len(answer["data"]), "more": bool(answer.get("next"))}
            ordered = sorted(answer["data"], key=lambda row: json.dumps(shape(row), sort_keys=True))
            answer = {**answer, "data": ordered}
        return shape(answer)


def shape(value: Any, key: str = "") -> Any:
    """An answer without what differs from run to run."""
    if isinstance(value, dict):
        return {name: shape(item, name) for name, item in sorted(value.items()) if name != "request_id"}
    if isinstance(value, list):
        return [shape(item, key) for item in value]
    if key in _BY_KIND:
        return None if value is None else type(value).__name__
    if isinstance(value, str):
        return "<next>" if key == "next" else _UUID.sub("<uuid>", value)
    return value


def recorded_steps() -> list[dict[str, Any]]:
    """The recorded steps, in order."""
    return [json.loads(line) for line in RECORDED.read_text().splitlines()]


def replay(handle: Callable[[Request], Response]) -> Iterator[Exchange]:
    """Play every step against `handle`; later steps use the ids that earlier ones were answered."""
    ids: dict[str, str] = {}

    def fill(text: str) -> str:
        return _PLACEHOLDER.sub(lambda found: ids.get(found[1], found[0]), text)

    for step in recorded_steps():
        response = handle(_request(step, fill))
        answer = json.loads(response.body) if response.body else None
        if isinstance(answer, dict) and "id" in answer:
            ids[step["id"]] = answer["id"]
        yield Exchange(step, response.status, answer)


def _request(step: Mapping[str, Any], fill: Callable[[str], str]) -> Request:
    body, media_type = b"", "application/json"
    if step["raw"] is not None:
        body = step["raw"].encode()
        media_type = "application/x-www-form-urlencoded" if step["id"] == "form" else media_type
    elif step["body"] is not None:
        body = fill(json.dumps(step["body"])).encode()
    path, _, query = fill(step["path"]).partition("?")
    return Request(step["method"], path, query, {"content-type": media_type} if body else {}, body)
