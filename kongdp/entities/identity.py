"""Ids for entities of declarative files that have none.

In: an entity as written, and its parent's id where it is nested.  Out: a UUID that is the same whenever the same is
written.
Source: kong/db/schema/others/declarative_config.lua 3.9 (namespaces, keys). Ours: an entity without any key, which Kong
numbers at random, is numbered by its content.
"""

import json
import uuid
from collections.abc import Mapping
from functools import cache
from typing import Any

from kongdp.entities.schema import Schema

_ENTITIES = uuid.UUID("fd02801f-0957-4a15-a55a-c8d9606f30b5")
# Kong writes this for an entity that names no workspace.
_NO_WORKSPACE = "*"


@cache
def _namespace(collection: str) -> uuid.UUID:
    return uuid.uuid5(_ENTITIES, collection)


def named_id(collection: str, key: str) -> str:
    """The id of the entity with this key in a collection."""
    return str(uuid.uuid5(_namespace(collection), key))


def derive_id(
    schema: Schema, raw: Mapping[str, Any], parent_field: str, parent_id: str | None, content_ids: set[str]
) -> str:
    """The id of an entity written without one. `content_ids` holds those given by content so far, to number equal ones
    apart."""
    key = _cache_key(schema, raw, parent_field, parent_id) if schema.cache_key else _endpoint_key(schema, raw)
    if key is not None:
        return named_id(schema.name, _encodable(key))
    content = json.dumps([parent_id, raw], sort_keys=True, default=str)
    count = 0
    while (id := named_id(schema.name, f"{count}:{_encodable(content)}")) in content_ids:
        count += 1
    content_ids.add(id)
    return id


def _cache_key(schema: Schema, raw: Mapping[str, Any], parent_field: str, parent_id: str | None) -> str | None:
    parts = [schema.name, _workspace(raw)]
    for name in schema.cache_key:
        rule, value = schema.shape.fields[name], raw.get(name)
        if rule.auto:
            return None
        if isinstance(value, str):
            parts.append(value)
        elif name not in raw:
            if name == parent_field and parent_id is not None:
                parts.append(parent_id)
            elif rule.required:
                return None
            else:
                parts.append("")
    return ":".join(parts)


def _endpoint_key(schema: Schema, raw: Mapping[str, Any]) -> str | None:
    """Collections that come here have endpoint keys that are unique everywhere, so the key stands alone."""
    value = raw.get(schema.endpoint_key or "")
    return value if isinstance(value, str) else None


def _workspace(raw: Mapping[str, Any]) -> str:
    workspace = raw.get("ws_id")
    return workspace if isinstance(workspace, str) else _NO_WORKSPACE


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
