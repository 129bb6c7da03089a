"""The paths of the Admin API, derived from the schemas.

In: a path.  Out: what it addresses (a collection, an entity, the children of an entity, the parent of an entity) or
None. For a collection C with a foreign field f to P:  /C  /C/{c}  /C/{c}/f  /P/{p}/C  /P/{p}/C/{c}.
Source: kong/api/endpoints.lua 3.9 (generated endpoints) and kong/api/routes/*.lua (those switched off).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import unquote

from kongdp.entities.schema import Schema

# Collections without paths of their own; targets have them below their upstream only.
_HIDDEN = frozenset(("workspaces", "parameters"))
_NESTED_ONLY = frozenset(("targets",))


@dataclass(frozen=True, slots=True)
class CollectionPath:
    """All entities of a collection."""

    schema: Schema


@dataclass(frozen=True, slots=True)
class EntityPath:
    """One entity by its id or endpoint key."""

    schema: Schema
    key: str


@dataclass(frozen=True, slots=True)
class ChildrenPath:
    """The entities whose foreign `field` names one parent."""

    parent: Schema
    parent_key: str
    schema: Schema
    field: str


@dataclass(frozen=True, slots=True)
class ChildPath:
    """One entity among the children of a parent."""

    parent: Schema
    parent_key: str
    schema: Schema
    field: str
    key: str


@dataclass(frozen=True, slots=True)
class ParentPath:
    """The entity that a foreign `field` of another names."""

    schema: Schema
    key: str
    field: str
    parent: Schema


Address: TypeAlias = CollectionPath | EntityPath | ChildrenPath | ChildPath | ParentPath


class PathTable:
    """Resolves paths against the schemas of a node."""

    def __init__(self, schemas: Mapping[str, Schema]) -> None:
        visible = {name: schema for name, schema in schemas.items() if name not in _HIDDEN}
        self._schemas = schemas
        self._collections = {schema.admin_path: schema for schema in visible.values()}
        # (parent's path, child's path below it) -> (child, foreign field)
        self._children: dict[tuple[str, str], tuple[Schema, str]] = {}
        for schema in visible.values():
            for field, rule in schema.foreign.items():
                parent = schemas[rule.reference or ""]
                self._children.setdefault((parent.admin_path, schema.nested_path), (schema, field))

    def resolve(self, path: str) -> Address | None:
        """What a percent-encoded path addresses. One slash at the end is forgiven."""
        segments = [unquote(segment) for segment in path.removesuffix("/").split("/")[1:]]
        if not 1 <= len(segments) <= 4 or not all(segments):
            return None
        schema = self._collections.get(segments[0])
        if schema is None:
            return None
        if len(segments) <= 2:
            if schema.name in _NESTED_ONLY:
                return None
            return CollectionPath(schema) if len(segments) == 1 else EntityPath(schema, segments[1])
        return self._below(schema, segments)

    def _below(self, schema: Schema, segments: list[str]) -> Address | None:
        child = self._children.get((segments[0], segments[2]))
        if child is not None:
            if len(segments) == 4:
                return ChildPath(schema, segments[1], *child, segments[3])
            return ChildrenPath(schema, segments[1], *child)
        rule = schema.foreign.get(segments[2])
        if rule is None or len(segments) == 4 or schema.name in _NESTED_ONLY:
            return None
        return ParentPath(schema, segments[1], segments[2], self._schemas[rule.reference or ""])

    def listed(self) -> list[str]:
        """Every path, with names in braces, sorted: what GET /endpoints shows."""
        return sorted(path for path, _address in self.addresses())

    def addresses(self) -> Iterator[tuple[str, Address]]:
        """Every path, with names in braces, and what it addresses (by empty keys)."""
        for path, schema in self._collections.items():
            if schema.name in _NESTED_ONLY:
                continue
            yield f"/{path}", CollectionPath(schema)
            yield f"/{path}/{{{schema.name}}}", EntityPath(schema, "")
            for field, rule in schema.foreign.items():
                parent = self._schemas[rule.reference or ""]
                yield f"/{path}/{{{schema.name}}}/{field}", ParentPath(schema, "", field, parent)
        for (path, nested), (child, field) in self._children.items():
            parent = self._schemas[child.foreign[field].reference or ""]
            base = f"/{path}/{{{parent.name}}}/{nested}"
            yield base, ChildrenPath(parent, "", child, field)
            yield f"{base}/{{{child.name}}}", ChildPath(parent, "", child, field, "")
